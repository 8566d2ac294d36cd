//! Queries that take long, for the log. A client has this only while they are logged.

use std::{collections::VecDeque, time::Duration};

use bs9_config::QueryLog;
use bs9_wire::{
    frame::{HEADER_LEN, Header},
    message::frontend::{Bind, Parse},
    tag::FrontendTag,
};

use crate::{
    prepared::names::Statements,
    sql::{self, Quoting},
};

/// Requests under way whose texts are kept; further ones are logged without.
const MAX_TEXTS: usize = 16;

/// What a client asks.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Bytes of a text that are kept.
    limit: usize,
    /// The text of the batch that is being sent.
    batch: Option<Text>,
    /// Texts of requests that end with a ReadyForQuery, in order.
    asked: VecDeque<Option<Text>>,
}

/// A text, and how the server reads it.
type Text = (Box<[u8]>, Quoting);

impl Watch {
    pub(crate) fn new(log: &QueryLog) -> Self {
        // Literals and spaces that are drawn together leave room for more.
        Self { limit: log.max_bytes.saturating_mul(4), batch: None, asked: VecDeque::new() }
    }

    /// A message was entered in the ledger, of which `message` is here.
    pub(crate) fn note(
        &mut self,
        header: Header<FrontendTag>,
        message: &[u8],
        statements: Option<&Statements>,
        quoting: Quoting,
    ) {
        let body = message.get(HEADER_LEN..).unwrap_or_default();
        match header.tag {
            FrontendTag::Query => self.end(Some((self.cut(body), quoting))),
            FrontendTag::Parse if self.batch.is_none() => {
                let text = Parse::read(body).map(|parse| parse.query);
                // Not all there: the name comes first, the text behind it.
                let text = text.unwrap_or_else(|_| after_nul(body));
                self.batch = Some((self.cut(text), quoting));
            }
            FrontendTag::Bind if self.batch.is_none() => {
                let Ok(bind) = Bind::read(body) else { return };
                let known = statements.and_then(|known| match bind.statement {
                    b"" => known.unnamed.as_ref(),
                    name => known.get(name),
                });
                self.batch = known.map(|statement| (self.cut(statement.body()), quoting));
            }
            FrontendTag::Sync | FrontendTag::FunctionCall => {
                let text = self.batch.take();
                self.end(text);
            }
            _ => {}
        }
    }

    fn cut(&self, text: &[u8]) -> Box<[u8]> {
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        text[..end.min(self.limit)].into()
    }

    fn end(&mut self, text: Option<Text>) {
        let text = text.filter(|_| self.asked.len() < MAX_TEXTS);
        self.asked.push_back(text);
    }

    /// The conversation starts over, or a new one begins.
    pub(crate) fn start_over(&mut self) {
        self.batch = None;
        self.asked.clear();
    }

    /// The first request under way has been answered, which took `took`. What is to be logged of
    /// it, if anything.
    pub(crate) fn answered(&mut self, took: Duration, log: &QueryLog) -> Option<String> {
        let text = self.asked.pop_front()?;
        let threshold = log.slow_query?;
        if took < threshold || log.sample < 1.0 && rand::random::<f64>() >= log.sample {
            return None;
        }
        let (text, quoting) = text.unwrap_or_default();
        Some(sql::redact(&text, quoting, log.max_bytes, log.literals))
    }
}

fn after_nul(bytes: &[u8]) -> &[u8] {
    let name = bytes.iter().position(|byte| *byte == 0);
    name.map_or(&[], |at| &bytes[at + 1..])
}

#[cfg(test)]
mod tests {
    use bs9_wire::encode::frontend;

    use super::*;

    fn note(watch: &mut Watch, message: &[u8]) {
        let header = Header::parse(message).unwrap().unwrap();
        watch.note(header, message, None, Quoting::default());
    }

    fn log(threshold: u64, sample: f64) -> QueryLog {
        let slow_query = Some(Duration::from_millis(threshold));
        QueryLog { slow_query, sample, ..QueryLog::default() }
    }

    #[test]
    fn each_request_is_told_by_its_first_text() {
        let mut watch = Watch::new(&log(10, 1.0));
        let mut out = Vec::new();
        frontend::query(&mut out, "SELECT 'a'");
        note(&mut watch, &out);
        for text in [&b"UPDATE t SET a = 1"[..], b"SELECT 2"] {
            out.clear();
            frontend::parse(&mut out, b"s", text, &[]);
            note(&mut watch, &out);
        }
        out.clear();
        frontend::sync(&mut out);
        note(&mut watch, &out);
        let (slow, fast) = (Duration::from_millis(10), Duration::from_millis(9));
        let log = log(10, 1.0);
        assert_eq!(watch.answered(slow, &log).as_deref(), Some("SELECT ?"));
        assert_eq!(watch.answered(slow, &log).as_deref(), Some("UPDATE t SET a = ?"));
        assert_eq!(watch.answered(slow, &log), None, "nothing was asked");
        note(&mut watch, &out);
        assert_eq!(watch.answered(fast, &log), None);
    }

    #[test]
    fn a_sample_of_nothing_is_nothing() {
        let mut watch = Watch::new(&log(1, 0.0));
        let mut out = Vec::new();
        frontend::query(&mut out, "SELECT 1");
        note(&mut watch, &out);
        assert_eq!(watch.answered(Duration::from_secs(1), &log(1, 0.0)), None);
    }
}
