//! Carrying a dialogue on, and writing down what was heard.

use std::net::SocketAddr;

use bs9_wire::startup::cancel_request;

use super::script::{Script, Step, Until};
use crate::postgres::{Dialogue, Reply, batch, eventually};

/// What was heard: for each step, each message in words.
pub(super) type Heard = Vec<Vec<String>>;

/// A client on one side: of the pool, or of the server itself.
pub(super) struct Player<'a> {
    pub(super) client: Dialogue,
    pub(super) address: SocketAddr,
    /// Bytes that are sent at once; `None`: all of a step.
    pub(super) piece: Option<usize>,
    /// Looks at the server from outside.
    pub(super) asleep: &'a mut dyn FnMut() -> bool,
    /// Called between two steps, when no transaction is open.
    pub(super) between: &'a mut dyn FnMut(),
}

/// Says which dialogue it was, should it never end.
struct Title<'a>(&'a str, usize);

impl Drop for Title<'_> {
    #[expect(clippy::print_stderr, reason = "it is shown with the panic that it goes with")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in the dialogue {:?}, step {}", self.0, self.1);
        }
    }
}

impl Player<'_> {
    /// Plays it, and then asks whether all is in step. True: the connection can be used again.
    pub(super) fn play(&mut self, script: &Script) -> (Heard, bool) {
        let mut tables = Vec::new();
        let mut heard = Heard::new();
        let last = Step { bytes: batch().query("").0, until: Until::Tags("IZ".into()) };
        for step in script.steps.iter().chain([&last]) {
            let title = Title(&script.name, heard.len());
            let (replies, ended) = self.step(step);
            let idle = replies.last().is_some_and(|last| last.tag == 'Z' && last.body == b"I");
            heard.push(replies.iter().map(|reply| words(reply, &mut tables)).collect());
            drop(title);
            if ended {
                return (heard, false);
            }
            if idle {
                (self.between)();
            }
        }
        let idle = heard.last().and_then(|step| step.last()).is_some_and(|last| last == "Z I");
        (heard, idle)
    }

    /// What was heard, and whether the connection has ended.
    fn step(&mut self, step: &Step) -> (Vec<Reply>, bool) {
        let mut pieces = step.bytes.chunks(self.piece.unwrap_or(usize::MAX));
        // Whoever is told to end may do so before all has been said, and has said why.
        while pieces.next().is_some_and(|piece| self.client.try_send(piece)) {}
        let mut replies = Vec::new();
        let mut awaited: Vec<char> = match &step.until {
            Until::Ready(count) => vec!['Z'; *count],
            Until::Tags(tags) => tags.chars().rev().collect(),
            Until::End => {
                replies.extend(std::iter::from_fn(|| self.client.next()));
                return (replies, true);
            }
            Until::Cancelled => {
                self.cancel();
                return (replies, false);
            }
        };
        while let Some(next) = awaited.last() {
            let Some(reply) = self.client.next() else { return (replies, true) };
            if reply.tag == *next {
                awaited.pop();
            }
            replies.push(reply);
        }
        (replies, false)
    }

    fn cancel(&mut self) {
        eventually("the server sleeps", &mut *self.asleep);
        let mut request = Vec::new();
        cancel_request(&mut request, self.client.process_id, &self.client.secret);
        let mut canceller = Dialogue::open(self.address);
        canceller.send(&request);
        assert_eq!(canceller.next(), None, "a cancel request is not answered");
    }
}

/// The first number that can be a user's table; those below are the same everywhere.
const FIRST_NORMAL_OID: u32 = 16384;

/// A message in words. Of all that it says, only this is left out: which number a table has
/// that was made after the database (the first is told from the second, though), which process
/// a notification came from, the place in the server's source where an error arose (of those
/// that the pool reports in its stead, there is none), and what a statement is called that was
/// given too many parameters or too few: the server knows it by the pool's name for it.
fn words(reply: &Reply, tables: &mut Vec<u32>) -> String {
    let mut body = reply.body.clone();
    match reply.tag {
        'A' => body[..4].fill(0),
        'T' => number_tables(&mut body, tables),
        'E' | 'N' => leave_places_out(&mut body),
        _ => {}
    }
    let text: String = body.escape_ascii().map(char::from).collect();
    let text = if reply.tag == 'E' { without_name(&text) } else { text };
    format!("{} {text}", reply.tag)
}

fn leave_places_out(report: &mut Vec<u8>) {
    let fields = report.split_inclusive(|byte| *byte == 0);
    let kept = fields.filter(|field| !matches!(field[0], b'F' | b'L' | b'R'));
    *report = kept.collect::<Vec<_>>().concat();
}

fn without_name(report: &str) -> String {
    let parts = report.split_once("but prepared statement \\\"").and_then(|(before, behind)| {
        let (_name, behind) = behind.split_once("\\\" requires")?;
        Some(format!("{before}but prepared statement requires{behind}"))
    });
    parts.unwrap_or_else(|| report.to_owned())
}

fn number_tables(body: &mut [u8], tables: &mut Vec<u32>) {
    let mut at = 2;
    while at < body.len() {
        at += body[at..].iter().position(|byte| *byte == 0).expect("a name ends") + 1;
        let field = body[at..].first_chunk_mut::<4>().expect("a table's number");
        let table = u32::from_be_bytes(*field);
        if table >= FIRST_NORMAL_OID {
            let known = tables.iter().position(|known| *known == table);
            let number = known.unwrap_or_else(|| {
                tables.push(table);
                tables.len() - 1
            });
            *field = (FIRST_NORMAL_OID + number as u32).to_be_bytes();
        }
        at += 18;
    }
}
