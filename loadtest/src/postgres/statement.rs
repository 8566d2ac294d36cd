//! A query as it goes on the wire. Places in it are parameters, whatever the mode.

use std::sync::Arc;

use bs9_wire::{
    encode::{self, frontend},
    message::frontend::Target,
    tag::FrontendTag,
};

use super::QueryMode;
use crate::{
    feed::{Feeder, Rows},
    template::{Part, Template},
};

/// One query of the mix.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    shape: Shape,
    /// The feeds its parameters come from, each once.
    used: Arc<[usize]>,
}

#[derive(Debug, Clone)]
enum Shape {
    /// The same bytes each time.
    Fixed(Arc<[u8]>),
    /// Simple: parameters become literals.
    Literals(Arc<Template>),
    /// Otherwise: they are bound. Before them goes the text, unless it was prepared.
    Bound(Arc<Parameters>),
}

/// A statement with parameters, and the feed and the column of each of them.
#[derive(Debug)]
struct Parameters {
    bound: Bound,
    sources: Vec<(usize, usize)>,
}

/// A statement whose parameters are bound.
#[derive(Debug)]
pub(super) struct Bound {
    /// The Parse message, or nothing.
    parse: Vec<u8>,
    /// The statement's name.
    name: Vec<u8>,
}

// === impl Statement ===

impl Statement {
    /// Statement `number` of the mix. What each connection has to send once for it is appended to
    /// `preparation`.
    pub(super) fn new(
        number: usize,
        query: &Template,
        mode: QueryMode,
        preparation: &mut Vec<u8>,
    ) -> Self {
        let used: Arc<[usize]> = query.used().into();
        let shape = match mode {
            QueryMode::Simple => Shape::Literals(query.clone().into()),
            QueryMode::Extended | QueryMode::Prepared => {
                Shape::Bound(Parameters::new(number, query, mode, preparation).into())
            }
        };
        if !used.is_empty() {
            return Self { shape, used };
        }
        let feeder = Feeder::new(Arc::new([]));
        let mut bytes = Vec::new();
        Self { shape, used: Arc::clone(&used) }.fill(&feeder, &feeder.no_rows(), &mut bytes);
        Self { shape: Shape::Fixed(bytes.into()), used }
    }

    /// The message or messages, where they are the same each time; empty otherwise.
    #[inline]
    pub(super) fn fixed(&self) -> &[u8] {
        match &self.shape {
            Shape::Fixed(bytes) => bytes,
            Shape::Literals(_) | Shape::Bound(_) => &[],
        }
    }

    #[inline]
    pub(super) fn used(&self) -> &[usize] {
        &self.used
    }

    /// Appends them with these values, where they are others each time.
    pub(super) fn fill(&self, feeder: &Feeder, rows: &Rows, out: &mut Vec<u8>) {
        match &self.shape {
            Shape::Fixed(_) => {}
            Shape::Literals(template) => encode::message(out, FrontendTag::Query, |out| {
                for part in template.parts() {
                    match *part {
                        Part::Text(ref text) => out.extend_from_slice(text),
                        Part::Value { feed, column, .. } => {
                            quote(feeder.value(rows, feed, column), out);
                        }
                    }
                }
                out.push(0);
            }),
            Shape::Bound(parameters) => {
                let Parameters { bound, sources } = &**parameters;
                let value = |&(feed, column): &(usize, usize)| feeder.value(rows, feed, column);
                bound.fill(sources.iter().map(value), out);
            }
        }
    }
}

// === impl Parameters ===

impl Parameters {
    fn new(number: usize, template: &Template, mode: QueryMode, preparation: &mut Vec<u8>) -> Self {
        let (mut text, mut sources) = (Vec::new(), Vec::new());
        for part in template.parts() {
            match *part {
                Part::Text(ref literal) => text.extend_from_slice(literal),
                Part::Value { feed, column, .. } => {
                    sources.push((feed, column));
                    text.extend_from_slice(format!("${}", sources.len()).as_bytes());
                }
            }
        }
        Self { bound: Bound::new(number, &text, mode, preparation), sources }
    }
}

// === impl Bound ===

impl Bound {
    /// Statement `number`. What each connection has to send once for it is appended to
    /// `preparation`.
    pub(super) fn new(
        number: usize,
        text: &[u8],
        mode: QueryMode,
        preparation: &mut Vec<u8>,
    ) -> Self {
        let mut parse = Vec::new();
        let name = match mode {
            QueryMode::Prepared => {
                let name = format!("bs9_loadtest_{number}").into_bytes();
                frontend::parse(preparation, &name, text, &[]);
                name
            }
            QueryMode::Simple | QueryMode::Extended => {
                frontend::parse(&mut parse, b"", text, &[]);
                Vec::new()
            }
        };
        Self { parse, name }
    }

    /// Parse perhaps, then Bind, Describe, Execute, Sync: what libpq sends. Values and results
    /// are text.
    pub(super) fn fill<'v>(
        &self,
        values: impl ExactSizeIterator<Item = &'v [u8]> + Clone,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(&self.parse);
        // No parameter formats, the number of parameters, no result formats: an Int16 each.
        let lengths = values.clone().map(|value| 4 + value.len());
        frontend::bind_head(out, b"", &self.name, 6 + lengths.sum::<usize>());
        out.extend_from_slice(&[0; 2]);
        // More than there can be is the server's to refuse.
        let count = u16::try_from(values.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&count.to_be_bytes());
        for value in values {
            out.extend_from_slice(&(value.len() as u32).to_be_bytes());
            out.extend_from_slice(value);
        }
        out.extend_from_slice(&[0; 2]);
        frontend::describe(out, Target::Portal(b""));
        encode::message(out, FrontendTag::Execute, |out| {
            // The unnamed portal, and no limit of rows.
            out.extend_from_slice(&[0; 5]);
        });
        frontend::sync(out);
    }
}

/// A literal of SQL. A quote is written twice; a backslash stands for itself unless a server is
/// told otherwise (standard_conforming_strings).
fn quote(value: &[u8], out: &mut Vec<u8>) {
    out.push(b'\'');
    for &byte in value {
        if byte == b'\'' {
            out.push(byte);
        }
        out.push(byte);
    }
    out.push(b'\'');
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        feed::{Feed, FeedFormat, FeedHold, FeedOrder},
        template::Context,
    };

    fn filled(mode: QueryMode) -> (Vec<u8>, String) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rows.csv");
        fs::write(&file, "id,name\n7,o'neil\n").unwrap();
        let (order, hold) = (FeedOrder::Sequential, FeedHold::Request);
        let feed = Feed::read("t", &file, FeedFormat::Csv, order, hold).unwrap();
        let feeds = [feed];
        let query = b"SELECT {{t.id}}::int, {{ t.name }}";
        let query = Template::new(query, Context::Query, &feeds).unwrap();
        let mut preparation = Vec::new();
        let statement = Statement::new(3, &query, mode, &mut preparation);
        assert!(statement.fixed().is_empty());
        let mut feeder = Feeder::new(Arc::new(feeds));
        let mut rows = feeder.no_rows();
        feeder.advance(&mut rows, statement.used());
        let mut out = Vec::new();
        statement.fill(&feeder, &rows, &mut out);
        (preparation, String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn places_become_parameters() {
        let (preparation, sent) = filled(QueryMode::Simple);
        assert!(preparation.is_empty());
        assert_eq!(sent, "Q\0\0\0\x1fSELECT '7'::int, 'o''neil'\0");
        let bind = "\0\0\0\x02\0\0\0\x017\0\0\0\x06o'neil\0\0";
        let (preparation, sent) = filled(QueryMode::Extended);
        assert!(preparation.is_empty());
        assert!(sent.starts_with("P\0\0\0\x1a\0SELECT $1::int, $2\0"), "{sent:?}");
        assert!(sent.contains(bind), "{sent:?}");
        let (preparation, sent) = filled(QueryMode::Prepared);
        let preparation = String::from_utf8(preparation).unwrap();
        assert!(preparation.contains("bs9_loadtest_3\0SELECT $1::int, $2\0"), "{preparation:?}");
        assert!(sent.contains(&format!("\0bs9_loadtest_3\0{bind}")), "{sent:?}");
    }
}
