//! Clients that check every word they hear.

use std::{collections::VecDeque, rc::Rc};

use bs9_net::Stream;
use bs9_wire::{
    encode::frontend,
    frame::Frame,
    message::{Report, backend::TransactionStatus},
    startup::{ProtocolVersion, StartupParameters, cancel_request, startup_message},
    tag::{BackendTag, FrontendTag, Tag as _},
};

use super::{
    scenario::{Dice, Mode},
    session::Session,
    world::{World, dice, sleep},
};
use crate::postgres::{Batch, batch};

/// Sessions that a client begins, when the ones before were cut off.
const MOST_LOGINS: usize = 5;

/// What is said in one go.
struct Turn {
    bytes: Vec<u8>,
    /// A query that sleeps, alone: it may be cancelled.
    sleeps: bool,
}

/// Why a session is over.
enum Over {
    /// The pool said why, and might.
    CutOff,
    /// The client has left by itself.
    Left,
}

struct Client {
    world: Rc<World>,
    number: usize,
    dice: Dice,
    /// A server of its own: what it ought to hear.
    ideal: Session,
    stream: Stream,
    received: Vec<u8>,
    process_id: i32,
    secret: Vec<u8>,
    /// Names it has prepared.
    prepared: Vec<&'static str>,
}

/// Lives its life: logs in, takes its turns, leaves.
pub(super) async fn live(world: Rc<World>, number: usize) {
    let mut dice = dice(&world, 1 + number as u64);
    let mut turns = world.scenario.turns;
    sleep(dice.below(60)).await;
    for _ in 0..MOST_LOGINS {
        // Refused when the simulation has ended: then nobody counts who is done.
        let Ok(stream) = Stream::connect_unix(&world.folder.join("pool")).await else { return };
        let mut client = Client {
            world: Rc::clone(&world),
            number,
            dice: dice.clone(),
            ideal: Session::default(),
            stream,
            received: Vec::new(),
            process_id: 0,
            secret: Vec::new(),
            prepared: Vec::new(),
        };
        let over = client.session(&mut turns).await;
        dice = client.dice.clone();
        let standing = &world.clients[number];
        standing.asked.set(None);
        standing.dawdles.set(false);
        world.note(|| format!("client {number} is out"));
        if turns == 0 || matches!(over, Err(Over::Left)) && dice.once_in(2) {
            break;
        }
    }
    world.clients[number].done.set(true);
}

/// A message in words, without what is another every time.
fn words(tag: BackendTag, body: &[u8]) -> String {
    let text = match tag {
        BackendTag::ErrorResponse => {
            let report = Report::read(body).expect("a report");
            String::from_utf8_lossy(report.sqlstate().unwrap_or_default()).into_owned()
        }
        _ => String::from_utf8_lossy(body).into_owned(),
    };
    format!("{} {text}", char::from(tag.byte()))
}

fn all_words(mut stream: &[u8]) -> VecDeque<String> {
    let mut heard = VecDeque::new();
    while let Some(frame) = Frame::<BackendTag>::parse(stream).expect("a message") {
        heard.push_back(words(frame.tag, frame.body));
        stream = &stream[frame.bytes.len()..];
    }
    heard
}

impl Client {
    async fn session(&mut self, turns: &mut u64) -> Result<(), Over> {
        self.log_in().await?;
        while *turns > 0 {
            *turns -= 1;
            sleep(self.dice.pick(&[0, 0, 10, 40, 150])).await;
            self.turn().await?;
        }
        if self.ideal.status != TransactionStatus::Idle {
            let text = self.text("commit");
            self.say(Turn { bytes: batch().query(&text).0, sleeps: false }).await?;
        }
        let mut out = Vec::new();
        frontend::terminate(&mut out);
        let _nobody_listens = self.stream.write_all(&out).await;
        Ok(())
    }

    async fn log_in(&mut self) -> Result<(), Over> {
        let user = format!("u{}", self.world.clients[self.number].user);
        let mut out = Vec::new();
        let session = StartupParameters { user: &user, database: "app" };
        startup_message(&mut out, ProtocolVersion::V3_0, session, []);
        self.write(&out).await?;
        loop {
            let (tag, body) = self.next().await?;
            match tag {
                BackendTag::ReadyForQuery => return Ok(()),
                BackendTag::BackendKeyData => {
                    self.process_id = i32::from_be_bytes(body[..4].try_into().expect("a number"));
                    self.secret = body[4..].to_vec();
                }
                BackendTag::ErrorResponse => return Err(self.cut_off(&words(tag, &body))),
                _ => {}
            }
        }
    }

    /// The connection is at its end, or was told to be.
    fn cut_off(&self, why: &str) -> Over {
        self.world.note(|| format!("client {} is cut off: {why}", self.number));
        if !why.strip_prefix("E ").is_some_and(|sqlstate| self.world.scenario.allows(sqlstate)) {
            self.world.violated(format!("client {} was cut off: {why}", self.number));
        }
        Over::CutOff
    }

    async fn write(&self, bytes: &[u8]) -> Result<(), Over> {
        // What the pool says last is still to be read.
        let _nobody_listens = self.stream.write_all(bytes).await;
        Ok(())
    }

    /// The next message that is an answer.
    async fn next(&mut self) -> Result<(BackendTag, Vec<u8>), Over> {
        loop {
            if let Some(frame) = Frame::<BackendTag>::parse(&self.received).expect("a message") {
                let (tag, body) = (frame.tag, frame.body.to_vec());
                let length = frame.bytes.len();
                self.received.drain(..length);
                if !matches!(tag, BackendTag::NoticeResponse | BackendTag::ParameterStatus) {
                    return Ok((tag, body));
                }
                continue;
            }
            let mut buffer = self.world.buffers.take();
            match self.stream.read(&mut buffer).await {
                Ok(1..) => {
                    self.world.note(|| format!("client {} hears something", self.number));
                    self.received.extend_from_slice(buffer.filled());
                }
                Ok(0) | Err(_) if self.world.scenario.kills => return Err(Over::CutOff),
                Ok(0) | Err(_) => return Err(self.cut_off("without a word")),
            }
        }
    }

    // === What is said ===

    fn text(&mut self, verb: &str) -> String {
        format!("c{} n{} {verb}", self.number, self.world.number())
    }

    async fn turn(&mut self) -> Result<(), Over> {
        let idle = self.ideal.status == TransactionStatus::Idle;
        let turn = if idle && self.dice.once_in(5) {
            let verb = format!("sleep{}", self.dice.pick(&[5, 30, 100, 300]));
            Turn { bytes: batch().query(&self.text(&verb)).0, sleeps: true }
        } else {
            let mut batch = batch();
            for _ in 0..1 + self.dice.below(4) {
                batch = self.piece(batch);
            }
            Turn { bytes: batch.0, sleeps: false }
        };
        self.say(turn).await
    }

    /// Something whole: a query, a batch, a COPY.
    fn piece(&mut self, batch: Batch) -> Batch {
        let transactions = self.world.scenario.mode != Mode::Statement;
        match self.dice.below(12) {
            0..3 => batch.query(&self.text("echo")),
            3 => batch.query(&self.text("fail")),
            4 => batch.query(&self.text("big")),
            5 if transactions => batch.query(&self.text("begin")),
            6 if transactions => batch.query(&self.text("commit")),
            7 => {
                let batch = batch.query(&self.text("copy")).copy_data("1\n");
                if self.dice.once_in(2) { batch.copy_done() } else { batch.copy_fail("no") }
            }
            _ => self.extended(batch),
        }
    }

    fn extended(&mut self, mut batch: Batch) -> Batch {
        for _ in 0..1 + self.dice.below(3) {
            let name = self.dice.pick(&["", "one", "two"]);
            if !self.prepared.contains(&name) || name.is_empty() || self.dice.once_in(8) {
                batch = batch.parse(name, self.dice.pick(&["work", "work harder"]));
                self.prepared.push(name);
            }
            let text = match self.dice.below(8) {
                0 => self.text("fail"),
                1 => self.text("big"),
                _ => self.text("echo"),
            };
            batch = batch.run(name, &[&text]);
            if self.dice.once_in(6) {
                batch = batch.close(name);
                self.prepared.retain(|known| *known != name);
            }
            if self.dice.once_in(6) {
                batch = batch.flush();
            }
        }
        batch.sync()
    }

    // === Saying it, and hearing the answer ===

    async fn say(&mut self, turn: Turn) -> Result<(), Over> {
        let idle = self.ideal.status == TransactionStatus::Idle;
        let mut wanted = VecDeque::new();
        let mut rest = &turn.bytes[..];
        let (mut in_first_cycle, mut can_be_told) = (true, false);
        while let Some(frame) = Frame::<FrontendTag>::parse(rest).expect("a message") {
            can_be_told |= in_first_cycle && self.ideal.sender_of(&frame).is_some();
            in_first_cycle &= !matches!(frame.tag, FrontendTag::Query | FrontendTag::Sync);
            wanted.extend(all_words(&self.ideal.hear(&frame, false)));
            rest = &rest[frame.bytes.len()..];
        }
        let world = Rc::clone(&self.world);
        let standing = &world.clients[self.number];
        standing.cancels.set(false);
        let mut said = &turn.bytes[..];
        if self.dice.once_in(5) {
            let cut = 1 + self.dice.below(said.len() as u64 - 1) as usize;
            standing.dawdles.set(true);
            self.write(&said[..cut]).await?;
            sleep(self.dice.pick(&[0, 20, 100])).await;
            said = &said[cut..];
        }
        if world.scenario.vanishing && self.dice.once_in(12) {
            // In the middle of what it says.
            return Err(Over::Left);
        }
        // What was begun already is not waited for.
        let begun = standing.dawdles.replace(false);
        let (vanishes, cancels) = (
            world.scenario.vanishing && self.dice.once_in(12),
            turn.sleeps && world.scenario.cancels && self.dice.once_in(2),
        );
        // Nor what the pool may refuse while the client does not listen.
        let listens = !vanishes && !cancels;
        if idle && !begun && can_be_told && listens && world.scenario.mode != Mode::Session {
            standing.asked.set(Some(world.now()));
        }
        world.note(|| format!("client {} says {}", self.number, turn.bytes.escape_ascii()));
        self.write(said).await?;
        if vanishes {
            sleep(self.dice.pick(&[0, 10, 50])).await;
            return Err(Over::Left);
        }
        if cancels {
            sleep(self.dice.pick(&[0, 10, 40, 120])).await;
            self.cancel().await;
        }
        self.hear(wanted, turn.sleeps).await
    }

    async fn cancel(&self) {
        let mut out = Vec::new();
        cancel_request(&mut out, self.process_id, &self.secret);
        self.world.clients[self.number].cancels.set(true);
        let stream = Stream::connect_unix(&self.world.folder.join("pool")).await;
        let Ok(stream) = stream else { return };
        let _nobody_listens = stream.write_all(&out).await;
        let mut buffer = self.world.buffers.take();
        let _closed = stream.read(&mut buffer).await;
    }

    async fn hear(&mut self, mut wanted: VecDeque<String>, sleeps: bool) -> Result<(), Over> {
        while let Some(next) = wanted.pop_front() {
            let (tag, body) = self.next().await?;
            let heard = words(tag, &body);
            if heard == next {
                continue;
            }
            let fatal = tag == BackendTag::ErrorResponse
                && Report::read(&body).is_ok_and(|report| report.is_fatal());
            if fatal {
                return Err(self.cut_off(&heard));
            }
            let world = &self.world;
            let may_be_cancelled = self.world.clients[self.number].cancels.get()
                || world.scenario.query_timeout.is_some();
            if sleeps && may_be_cancelled && heard == "E 57014" {
                // In place of everything but ReadyForQuery.
                wanted.drain(..wanted.len() - 1);
                continue;
            }
            let line = |text: &str| text.chars().take(80).collect::<String>();
            let (heard, next) = (line(&heard), line(&next));
            world.violated(format!("client {} heard {heard}, not {next}", self.number));
            return Err(Over::CutOff);
        }
        Ok(())
    }
}
