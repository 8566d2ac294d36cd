//! Text with places, `{{feed.column}}`, that are filled anew for each request. Two braces that are
//! none are written `{{"{{"}}`.

use crate::feed::{Feed, Feeder, Rows};

/// Where a text goes, which decides what a value may hold and how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Context {
    /// A path of a URL: values are percent-encoded (RFC 3986 section 2.1).
    Path,
    /// A header field: values hold no control characters (RFC 9110 section 5.5).
    Field,
    /// A query: values hold no NUL, which would end it.
    Query,
    /// Anything else: as they are.
    Body,
}

/// A text with places, taken apart.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    parts: Box<[Part]>,
    /// The feeds its places take values of, each once.
    used: Box<[usize]>,
}

/// A piece of a template.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    Text(Box<[u8]>),
    /// A place, and whether its values are percent-encoded.
    Value {
        feed: usize,
        column: usize,
        encoded: bool,
    },
}

/// A place that cannot be filled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// Braces that are opened only.
    #[error("`{{{{` is never closed")]
    Open,
    /// Something else than `feed.column` between braces.
    #[error("`{{{{{text}}}}}` does not name a feed and a column")]
    Form {
        /// What stands there.
        text: String,
    },
    /// A feed that does not exist.
    #[error("there is no feed `{name}`")]
    NoFeed {
        /// Its name.
        name: String,
    },
    /// A column that does not exist.
    #[error("the feed `{feed}` has no column `{name}`")]
    NoColumn {
        /// The feed.
        feed: String,
        /// The column's name.
        name: String,
    },
    /// A value that would end its header or its query.
    #[error("a value of `{feed}.{column}` holds a control character, which cannot be sent here")]
    Control {
        /// The feed.
        feed: String,
        /// The column.
        column: String,
    },
}

// === impl Template ===

impl Template {
    /// Takes a text apart whose places are filled from `feeds`.
    pub(crate) fn new(text: &[u8], context: Context, feeds: &[Feed]) -> Result<Self, PlaceError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(start) = memchr::memmem::find(rest, b"{{") {
            let behind = &rest[start + 2..];
            let len = memchr::memmem::find(behind, b"}}").ok_or(PlaceError::Open)?;
            if start > 0 {
                parts.push(Part::Text(rest[..start].into()));
            }
            parts.push(place(&behind[..len], context, feeds)?);
            rest = &behind[len + 2..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        Ok(Self::of(parts))
    }

    /// A text as it is, whatever it holds.
    pub(crate) fn verbatim(text: &[u8]) -> Self {
        Self::of(vec![Part::Text(text.into())])
    }

    /// One behind the other.
    pub(crate) fn concatenated(templates: impl IntoIterator<Item = Self>) -> Self {
        Self::of(templates.into_iter().flat_map(|template| template.parts).collect())
    }

    fn of(parts: Vec<Part>) -> Self {
        let mut used: Vec<_> = parts.iter().filter_map(Part::feed).collect();
        used.sort_unstable();
        used.dedup();
        Self { parts: parts.into(), used: used.into() }
    }

    /// The feeds that have to have a row before it is filled.
    pub(crate) fn used(&self) -> &[usize] {
        &self.used
    }

    /// Its pieces, in order.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The text, when there is nothing to fill in.
    pub(crate) fn fixed(&self) -> Option<Vec<u8>> {
        let text = |part: &Part| match part {
            Part::Text(text) => Some(text.to_vec()),
            Part::Value { .. } => None,
        };
        let texts: Option<Vec<_>> = self.parts.iter().map(text).collect();
        texts.map(|texts| texts.concat())
    }

    /// How long it is with these values, where none is encoded.
    pub(crate) fn len(&self, feeder: &Feeder, rows: &Rows) -> usize {
        let len = |part: &Part| match *part {
            Part::Text(ref text) => text.len(),
            Part::Value { feed, column, .. } => feeder.value(rows, feed, column).len(),
        };
        self.parts.iter().map(len).sum()
    }

    /// Appends it with these values.
    pub(crate) fn fill(&self, feeder: &Feeder, rows: &Rows, out: &mut Vec<u8>) {
        for part in &self.parts {
            match *part {
                Part::Text(ref text) => out.extend_from_slice(text),
                Part::Value { feed, column, encoded: false } => {
                    out.extend_from_slice(feeder.value(rows, feed, column));
                }
                Part::Value { feed, column, encoded: true } => {
                    encode(feeder.value(rows, feed, column), out);
                }
            }
        }
    }
}

impl Part {
    fn feed(&self) -> Option<usize> {
        match self {
            Self::Text(_) => None,
            Self::Value { feed, .. } => Some(*feed),
        }
    }
}

fn place(text: &[u8], context: Context, feeds: &[Feed]) -> Result<Part, PlaceError> {
    let text = String::from_utf8_lossy(text);
    let quoted = text.trim().strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    if let Some(quoted) = quoted {
        return Ok(Part::Text(quoted.as_bytes().into()));
    }
    let form = || PlaceError::Form { text: text.trim().to_owned() };
    let (name, column_name) = text.trim().split_once('.').ok_or_else(form)?;
    let (name, column_name) = (name.trim(), column_name.trim());
    let feed = feeds
        .iter()
        .position(|feed| feed.name == name)
        .ok_or_else(|| PlaceError::NoFeed { name: name.to_owned() })?;
    let column = feeds[feed].columns().position(|column| column == column_name);
    let column = column.ok_or_else(|| PlaceError::NoColumn {
        feed: name.to_owned(),
        name: column_name.to_owned(),
    })?;
    let forbidden = |byte: &u8| match context {
        Context::Field => byte.is_ascii_control() && *byte != b'\t',
        Context::Query => *byte == 0,
        Context::Path | Context::Body => false,
    };
    if feeds[feed].values(column).any(|value| value.iter().any(forbidden)) {
        let (feed, column) = (name.to_owned(), column_name.to_owned());
        return Err(PlaceError::Control { feed, column });
    }
    Ok(Part::Value { feed, column, encoded: context == Context::Path })
}

/// Percent-encoding of everything but unreserved characters (RFC 3986 section 2.3).
fn encode(value: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in value {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte);
        } else {
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
            out.extend_from_slice(&[b'%', DIGITS[high], DIGITS[low]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use super::*;
    use crate::feed::{FeedFormat, FeedHold, FeedOrder};

    fn feeds() -> Vec<Feed> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("users.csv");
        fs::write(&file, "id,name,note\n7,ann b,\"x\ny\"\n8,zoë,\n").unwrap();
        let (order, hold) = (FeedOrder::Sequential, FeedHold::Request);
        vec![Feed::read("users", &file, FeedFormat::Csv, order, hold).unwrap()]
    }

    #[test]
    fn places_are_filled() {
        let template = |text: &str, context| Template::new(text.as_bytes(), context, &feeds());
        let path = template("/u/{{users.id}}/{{ users.name }}?", Context::Path).unwrap();
        let body = template("{\"note\": \"{{users.note}}\"}", Context::Body).unwrap();
        assert_eq!(path.used(), [0]);
        let mut feeder = Feeder::new(Arc::from(feeds()));
        let mut rows = feeder.no_rows();
        let mut filled = Vec::new();
        for _ in 0..2 {
            feeder.advance(&mut rows, path.used());
            let mut out = Vec::new();
            path.fill(&feeder, &rows, &mut out);
            let before = out.len();
            body.fill(&feeder, &rows, &mut out);
            assert_eq!(out.len() - before, body.len(&feeder, &rows));
            filled.push(String::from_utf8(out).unwrap());
        }
        assert_eq!(filled, ["/u/7/ann%20b?{\"note\": \"x\ny\"}", "/u/8/zo%C3%AB?{\"note\": \"\"}"]);
        let fixed = Template::concatenated([
            template("a{{\"{{\"}}", Context::Field).unwrap(),
            Template::verbatim(b"{{b"),
        ]);
        let mut out = Vec::new();
        fixed.fill(&feeder, &rows, &mut out);
        assert_eq!((fixed.used().len(), out), (0, b"a{{{{b".to_vec()));
    }

    #[test]
    fn places_that_cannot_be_filled_say_why() {
        for (text, said) in [
            ("a {{users.id", "`{{` is never closed"),
            ("{{id}}", "`{{id}}` does not name a feed and a column"),
            ("{{user.id}}", "there is no feed `user`"),
            ("{{users.no}}", "the feed `users` has no column `no`"),
            ("{{users.note}}", "a value of `users.note` holds a control character"),
        ] {
            let error = Template::new(text.as_bytes(), Context::Field, &feeds()).unwrap_err();
            assert!(error.to_string().starts_with(said), "{error}");
        }
    }
}
