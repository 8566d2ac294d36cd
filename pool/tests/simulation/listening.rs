//! LISTEN and NOTIFY: what a server has of them, and what a client must hear.

use std::collections::{BTreeMap, BTreeSet};

use bs9_wire::encode::backend;

use super::text::{ALL_CHANNELS, Word, verb_of};

/// What a session listens to, and has notified.
#[derive(Clone, Default)]
pub(super) struct Listening {
    pub(super) channels: BTreeSet<String>,
    /// What the transaction asks for: with which channel, and by which text.
    asked: Vec<(Word, String, String)>,
    /// The pool's note, and what it was before the transaction.
    note: String,
    before: Option<String>,
    /// Channels and payloads of transactions that are over, to be given out.
    pub(super) notified: Vec<(String, String)>,
}

impl Listening {
    /// Runs what a client wants, if it is about a channel. Returns what is answered.
    pub(super) fn run(&mut self, told: &str) -> Option<&'static str> {
        let (word, channel) = Word::by(verb_of(told))?;
        self.asked.push((word, channel.to_owned(), told.to_owned()));
        Some(word.sql())
    }

    /// Runs a query of the pool's own; false: it is none that is about channels.
    pub(super) fn run_own(&mut self, query: &str, described: bool, out: &mut Vec<u8>) -> bool {
        if query.is_empty() {
            backend::empty_query_response(out);
            return true;
        }
        if query.starts_with("SELECT 'note'") {
            self.tell(out);
            return true;
        }
        if query.contains("set_config('bs9.unlistened'") {
            let noted = query.split("true),'").nth(1).and_then(|rest| rest.split('\'').next());
            self.before.get_or_insert_with(|| self.note.clone());
            self.note += noted.expect("notes");
            if described {
                backend::row_description(out, [("set_config", 25)].into_iter());
            }
            backend::data_row(out, [Some(&*self.note)].into_iter());
            backend::command_complete(out, "SELECT 1");
            return true;
        }
        let commands = query.split(';').map(str::trim).filter(|command| !command.is_empty());
        for command in commands {
            let (first, rest) = command.split_once(' ').unwrap_or((command, ""));
            let channel = rest.trim_matches('"').to_owned();
            let asked = |word: Word| (word, channel.clone(), String::new());
            match first {
                "LISTEN" => self.asked.push(asked(Word::Listen)),
                "UNLISTEN" => self.asked.push(asked(Word::Unlisten)),
                "RESET" => (self.note, self.before) = (String::new(), None),
                _ => return false,
            }
            backend::command_complete(out, first);
        }
        true
    }

    /// Answers what it listens to, and what was noted.
    fn tell(&self, out: &mut Vec<u8>) {
        backend::row_description(out, [("what", 25), ("name", 25)].into_iter());
        let note = Some(&*self.note).filter(|note| !note.is_empty());
        backend::data_row(out, [Some("note"), note].into_iter());
        for channel in &self.channels {
            backend::data_row(out, [Some("channel"), Some(&**channel)].into_iter());
        }
        backend::command_complete(out, &format!("SELECT {}", 1 + self.channels.len()));
    }

    /// The transaction is over.
    pub(super) fn commit(&mut self) {
        for (word, channel, told) in self.asked.drain(..) {
            match word {
                Word::Listen => drop(self.channels.insert(channel)),
                Word::Unlisten if channel == ALL_CHANNELS => self.channels.clear(),
                Word::Unlisten => drop(self.channels.remove(&channel)),
                Word::Notify => self.notified.push((channel, told)),
            }
        }
        self.before = None;
    }

    /// The transaction is over, and has not been.
    pub(super) fn roll_back(&mut self) {
        self.asked.clear();
        if let Some(before) = self.before.take() {
            self.note = before;
        }
    }
}

/// Something that was notified.
pub(super) struct Notice {
    pub(super) database: usize,
    pub(super) channel: String,
    /// Nothing else has it.
    pub(super) payload: String,
    /// When.
    pub(super) at: u64,
    /// The pool was certainly able to hear it.
    pub(super) sure: bool,
}

/// What a client has heard, and what it listens to. Notices are known by their number.
#[derive(Default)]
pub(super) struct Hearing {
    spans: Vec<Span>,
    heard: BTreeSet<usize>,
    /// What it need not hear.
    excused: BTreeSet<usize>,
    /// The last of each channel. Between channels there is no order: of one that it begins to
    /// listen to it may hear from its server, of others by the shared connection.
    last: BTreeMap<String, usize>,
}

/// For how long a client listens to a channel.
struct Span {
    channel: String,
    /// It may hear from here on: it has asked to.
    from: usize,
    /// It must hear from here on: it has been told that it does.
    surely: Option<usize>,
    /// It has been told that it does no more.
    over: Option<usize>,
}

impl Hearing {
    /// The client asks to listen. `next`: the number of what is notified next.
    pub(super) fn ask(&mut self, channel: &str, next: usize) {
        let channel = channel.to_owned();
        self.spans.push(Span { channel, from: next, surely: None, over: None });
    }

    /// The client asks to listen no more: it may be that something escapes it.
    pub(super) fn doubt(&mut self, channel: &str) {
        let all = channel == ALL_CHANNELS;
        for span in self.spans.iter_mut().filter(|span| all || span.channel == channel) {
            span.surely = None;
        }
    }

    /// The client has been told that it listens to these and nothing else.
    pub(super) fn settle(&mut self, channels: &BTreeSet<String>, next: usize) {
        for span in self.spans.iter_mut().filter(|span| span.over.is_none()) {
            if channels.contains(&span.channel) {
                span.surely.get_or_insert(next);
            } else {
                span.over = Some(next);
            }
        }
    }

    /// Takes note of what is heard: why it ought not to be. `twice`: it may be heard again.
    pub(super) fn hear(
        &mut self,
        number: usize,
        notice: &Notice,
        twice: bool,
    ) -> Option<&'static str> {
        let may = self.spans.iter().any(|span| {
            span.channel == notice.channel
                && span.from <= number
                && span.over.is_none_or(|over| number < over)
        });
        if !may {
            return Some("it does not listen");
        }
        let last = self.last.entry(notice.channel.clone()).or_default();
        let later = number < *last;
        *last = number.max(*last);
        if !self.heard.insert(number) && !twice {
            return Some("it has heard that");
        }
        (later && !twice).then_some("it has heard what came later")
    }

    /// The client may have been moved to a server of its own since `instant`: what was notified
    /// meanwhile may have been lost on the way.
    pub(super) fn excuse(&mut self, notices: &[Notice], instant: u64) {
        let late = notices.iter().enumerate().rev().take_while(|(_, notice)| notice.at >= instant);
        self.excused.extend(late.map(|(number, _)| number));
    }

    /// What it must have heard that was notified before `instant`, and has not.
    pub(super) fn misses(&self, notices: &[Notice], database: usize, instant: u64) -> Vec<usize> {
        let must = |number: usize, notice: &Notice| {
            self.spans.iter().any(|span| {
                span.channel == notice.channel
                    && span.over.is_none()
                    && span.surely.is_some_and(|surely| number >= surely)
            })
        };
        let numbered = notices.iter().enumerate();
        numbered
            .filter(|(_, notice)| notice.sure && notice.database == database && notice.at < instant)
            .filter(|(number, notice)| must(*number, notice) && !self.has_heard(*number))
            .map(|(number, _)| number)
            .collect()
    }

    pub(super) fn has_heard(&self, number: usize) -> bool {
        self.heard.contains(&number) || self.excused.contains(&number)
    }
}
