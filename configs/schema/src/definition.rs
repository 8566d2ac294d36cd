//! What can be written in a configuration, as data.
//!
//! Definitions are not written by hand: the code that reads a table leaves them
//! behind when it runs in describing mode (see [`crate::read`]), so they cannot
//! disagree with what is read. The JSON Schema and the reference come from here.

use std::time::Duration;

use crate::raw::Value;

/// A table and its keys, in the order they are read.
#[derive(Debug, Clone, Default)]
pub(crate) struct TableDefinition {
    pub(crate) keys: Vec<KeyDefinition>,
}

/// One key.
#[derive(Debug, Clone)]
pub(crate) struct KeyDefinition {
    pub(crate) name: &'static str,
    /// Full sentences for people, in Markdown.
    pub(crate) doc: &'static str,
    pub(crate) presence: Presence,
    /// Only with these values of `protocol`; empty: with all.
    pub(crate) only: &'static [&'static str],
    pub(crate) kind: Kind,
}

/// Whether a key has to be there.
#[derive(Debug, Clone)]
pub(crate) enum Presence {
    Required,
    Optional,
    Default(Value),
}

/// What a key's value can be.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Bool,
    Integer {
        min: i64,
        max: i64,
    },
    /// One of these integers.
    Numbers(&'static [i64]),
    Float {
        min: f64,
        max: f64,
    },
    Duration {
        min: Duration,
        max: Duration,
    },
    Size {
        min: u64,
        max: u64,
    },
    Text(TextForm),
    Words(Vec<WordDefinition>),
    Secret,
    List {
        of: Box<Kind>,
        at_least: usize,
    },
    Table(TableDefinition),
    /// A table of tables, by name.
    Named {
        name: TextForm,
        of: TableDefinition,
    },
    /// A table of strings, by name.
    Pairs {
        name: TextForm,
        value: TextForm,
    },
    /// A table of values of one kind, by name.
    Map {
        name: TextForm,
        of: Box<Kind>,
    },
    Either(Box<Kind>, Box<Kind>),
}

/// How a string is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TextForm {
    /// What it is, after "expected": "an address (`host:port`)".
    pub(crate) what: &'static str,
    /// A regular expression that every valid string matches, for editors.
    pub(crate) pattern: Option<&'static str>,
}

/// One word of a choice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WordDefinition {
    pub(crate) text: &'static str,
    pub(crate) doc: &'static str,
    /// Part of the contract, yet refused by this version.
    pub(crate) unsupported: bool,
}

impl Kind {
    /// What it is, in a few words: "a duration such as \"15s\"".
    pub(crate) fn what(&self) -> String {
        match self {
            Self::Bool => "true or false".to_owned(),
            Self::Integer { .. } => "an integer".to_owned(),
            Self::Numbers(numbers) => {
                let numbers: Vec<_> = numbers.iter().map(i64::to_string).collect();
                format!("one of {}", numbers.join(", "))
            }
            Self::Float { .. } => "a number".to_owned(),
            Self::Duration { .. } => "a duration such as \"15s\"".to_owned(),
            Self::Size { .. } => "a size such as \"16KiB\"".to_owned(),
            Self::Text(form) => form.what.to_owned(),
            Self::Words(words) => match words.as_slice() {
                [word] => format!("\"{}\"", word.text),
                words => {
                    let words = words.iter().filter(|word| !word.unsupported);
                    let words: Vec<_> = words.map(|word| format!("\"{}\"", word.text)).collect();
                    format!("one of {}", words.join(", "))
                }
            },
            Self::Secret => "a secret (a string, \"env:NAME\" or \"file:PATH\")".to_owned(),
            Self::List { .. } => "a list".to_owned(),
            Self::Table(_) => "a table".to_owned(),
            Self::Named { .. } => "a table of tables".to_owned(),
            Self::Pairs { .. } => "a table of strings".to_owned(),
            Self::Map { .. } => "a table".to_owned(),
            Self::Either(a, b) => format!("{} or {}", a.what(), b.what()),
        }
    }
}
