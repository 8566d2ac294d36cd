//! Dialogues as data: what a client sends, and what it waits for before it goes on.
//!
//! A file holds dialogues, each begun by a line `= its name`, which may end in `@transaction` (it
//! needs transactions over several batches) or `@session` (it needs its session). Each further
//! line is a message, by the letter it has on the wire:
//!
//! ```text
//! Q text                  Query             S             Sync
//! P name/23,25|text       Parse, types      H             Flush
//! B portal|name|1|null|0x2a >b   Bind: parameters as text, NULL, binary; results in binary
//! E portal/2              Execute, 2 rows   D s:name      Describe of a statement, p: of a portal
//! F 177|1|2 >b            FunctionCall      C s:name      Close, likewise
//! d text                  CopyData          c             CopyDone
//! f reason                CopyFail          M Q 5300      any message, its body in hexadecimal
//! T text                  Parse, Bind, Describe, Execute without names
//! R name|1|2              Bind and Execute without a portal's name
//! <                       sends it all and waits for a ReadyForQuery for each Q, S and F
//! < GZ                    sends it all and waits until these have come, in this order
//! < end                   sends it all and waits for the end of the connection
//! !                       sends it all, waits until the server sleeps, and cancels that
//! ```
//!
//! In texts, `\n`, `\t` and `\\` mean what they do in C. `#` begins a comment.

use bs9_wire::{
    message::frontend::Target,
    tag::{FrontendTag, Tag as _},
};

use crate::postgres::{Batch, Value, batch};

/// What a dialogue needs of its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Needs {
    Statement,
    Transaction,
    Session,
}

#[derive(Debug, Clone)]
pub(super) struct Script {
    pub(super) name: String,
    pub(super) needs: Needs,
    pub(super) steps: Vec<Step>,
}

#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) bytes: Vec<u8>,
    pub(super) until: Until,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Until {
    /// So many ReadyForQuery.
    Ready(usize),
    /// These types of messages, others in between.
    Tags(String),
    /// The end of the connection.
    End,
    /// The server sleeps, and is told to stop.
    Cancelled,
}

impl Script {
    pub(super) fn new(name: &str, needs: Needs) -> Self {
        Self { name: name.to_owned(), needs, steps: Vec::new() }
    }

    /// Adds a step that `ready` ReadyForQuery end.
    pub(super) fn step(mut self, batch: Batch, ready: usize) -> Self {
        self.steps.push(Step { bytes: batch.0, until: Until::Ready(ready) });
        self
    }

    /// Adds a step whose end an empty query marks: how many ReadyForQuery come before that is
    /// not known.
    pub(super) fn step_of_any_length(mut self, batch: Batch) -> Self {
        let bytes = batch.sync().query("").0;
        self.steps.push(Step { bytes, until: Until::Tags("IZ".into()) });
        self
    }

    /// All dialogues of a file.
    pub(super) fn read_all(text: &str) -> Vec<Self> {
        let mut scripts = Vec::<Reading>::new();
        for (number, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(title) = line.strip_prefix("= ") {
                scripts.push(Reading::begin(title));
                continue;
            }
            let reading = scripts.last_mut().expect("a name comes first");
            let read = reading.line(line);
            assert!(read.is_some(), "line {}: {line}", number + 1);
        }
        scripts.into_iter().map(Reading::end).collect()
    }
}

/// A dialogue of which not all lines are read.
struct Reading {
    script: Script,
    batch: Batch,
    /// ReadyForQuery not waited for yet.
    owed: usize,
}

impl Reading {
    fn begin(title: &str) -> Self {
        let (name, needs) = match title.rsplit_once(" @") {
            Some((name, "transaction")) => (name, Needs::Transaction),
            Some((name, "session")) => (name, Needs::Session),
            Some((_, other)) => panic!("no mode is called {other}"),
            None => (title, Needs::Statement),
        };
        Self { script: Script::new(name, needs), batch: batch(), owed: 0 }
    }

    fn end(mut self) -> Script {
        if !self.batch.0.is_empty() || self.owed > 0 {
            self.finish_step(Until::Ready(self.owed));
        }
        self.script
    }

    fn finish_step(&mut self, until: Until) {
        let bytes = std::mem::take(&mut self.batch).0;
        if until != Until::Cancelled {
            self.owed = 0;
        }
        self.script.steps.push(Step { bytes, until });
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let words = unescaped(rest);
        let batch = std::mem::take(&mut self.batch);
        self.batch = match word {
            "Q" => batch.query(&words),
            "P" => {
                let (name, query) = words.split_once('|')?;
                let (name, types) = name.split_once('/').unwrap_or((name, ""));
                let types: Option<Vec<u32>> = types
                    .split(',')
                    .filter(|id| !id.is_empty())
                    .map(|id| id.parse().ok())
                    .collect();
                batch.parse_typed(name, query, &types?)
            }
            "B" => {
                let (words, binary) = formats(&words);
                let mut fields = words.split('|');
                let (portal, name) = (fields.next()?, fields.next()?);
                batch.bind_values(portal, name, &values(fields)?, binary)
            }
            "R" => {
                let mut fields = words.split('|');
                let name = fields.next()?;
                batch.bind_values("", name, &values(fields)?, false).execute()
            }
            "E" => {
                let (portal, rows) = words.split_once('/').unwrap_or((&words, "0"));
                batch.execute_some(portal, rows.parse().ok()?)
            }
            "D" => batch.describe_target(target(&words)?),
            "C" => batch.close_target(target(&words)?),
            "F" => {
                let (words, binary) = formats(&words);
                let mut fields = words.split('|');
                let function = fields.next()?.parse().ok()?;
                batch.call(function, &values(fields)?, binary)
            }
            "T" => batch.extended(&words),
            "d" => batch.copy_data(&words),
            "c" => batch.copy_done(),
            "f" => batch.copy_fail(&words),
            "S" => batch.sync(),
            "H" => batch.flush(),
            "M" => {
                let (tag, body) = rest.split_once(' ').unwrap_or((rest, ""));
                let tag = FrontendTag::from_byte(tag.bytes().next()?)?;
                batch.message(tag, &hexadecimal(&body.replace(' ', ""))?)
            }
            "<" | "!" => {
                self.batch = batch;
                let until = match (word, rest) {
                    ("!", "") => Until::Cancelled,
                    ("<", "") => Until::Ready(self.owed),
                    ("<", "end") => Until::End,
                    ("<", tags) => Until::Tags(tags.to_owned()),
                    _ => return None,
                };
                self.finish_step(until);
                return Some(());
            }
            _ => return None,
        };
        self.owed += usize::from(matches!(word, "Q" | "S" | "F"));
        Some(())
    }
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        out.push(match letter {
            '\\' => match letters.next().expect("something behind a backslash") {
                'n' => '\n',
                't' => '\t',
                other => other,
            },
            letter => letter,
        });
    }
    out
}

/// What comes before ` >b`, and whether that is there.
fn formats(words: &str) -> (&str, bool) {
    words.strip_suffix(" >b").map_or((words, false), |words| (words, true))
}

fn values<'a>(fields: impl Iterator<Item = &'a str>) -> Option<Vec<Value>> {
    let value = |field: &str| {
        Some(match field.strip_prefix("0x") {
            Some(digits) => Value::Binary(hexadecimal(digits)?),
            None if field == "null" => Value::Null,
            None => Value::Text(field.to_owned()),
        })
    };
    fields.map(value).collect()
}

fn hexadecimal(digits: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

fn target(words: &str) -> Option<Target<'_>> {
    match words.split_once(':')? {
        ("s", name) => Some(Target::Statement(name.as_bytes())),
        ("p", name) => Some(Target::Portal(name.as_bytes())),
        _ => None,
    }
}
