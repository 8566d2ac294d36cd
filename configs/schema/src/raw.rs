//! TOML as a tree that remembers where everything stood.
//!
//! Several files make one tree. What is only a heading (`[listeners]`,
//! `[postgres.users]`) may appear in each of them; what has a meaning of its own
//! is given once.

use std::collections::{BTreeMap, btree_map};

use toml_edit::{Document, Item, TableLike};

use crate::{
    report::{Finding, Findings},
    source::{Source, Spot},
};

mod syntax;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) spot: Spot,
    pub(crate) value: Value,
}

/// A TOML value.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    /// bs9 has no key of this type.
    Time,
    List(Vec<Node>),
    Table(Table),
}

/// A table's entries by key.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    pub(crate) entries: BTreeMap<String, Entry>,
}

/// One key of a table, and its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Where the key stands.
    pub(crate) key: Spot,
    pub(crate) node: Node,
}

/// How much of the text the tree holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coverage {
    Whole,
    /// Text that is not TOML was left out; what seems to be missing may be there.
    Partial,
}

impl Value {
    /// How the type is called in messages.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Bool(_) => "a boolean",
            Self::Time => "a date or time",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Self::Bool(yes)
    }
}

/// Parses every source and merges them in order.
pub(crate) fn tree(sources: &[Source], findings: &mut Findings) -> (Table, Coverage) {
    let mut root = Table::default();
    let mut coverage = Coverage::Whole;
    for (file, source) in sources.iter().enumerate() {
        let (text, found) = syntax::recover(file, source, findings);
        if found == Coverage::Partial {
            coverage = Coverage::Partial;
        }
        let Ok(document) = Document::parse(text.as_ref()) else { continue };
        let table = convert_table(document.as_table(), file, whole(file, source));
        merge(&mut root, table, &mut Vec::new(), findings);
    }
    (root, coverage)
}

fn whole(file: usize, source: &Source) -> Spot {
    Spot { file, start: 0, end: source.text.len().min(1) }
}

fn convert_table(table: &dyn TableLike, file: usize, fallback: Spot) -> Table {
    let entries = table.iter().filter_map(|(name, item)| {
        let span = table.key(name).and_then(toml_edit::Key::span);
        let key = span.map_or(fallback, |s| Spot { file, start: s.start, end: s.end });
        Some((name.to_owned(), Entry { key, node: convert(item, file, key)? }))
    });
    Table { entries: entries.collect() }
}

/// `key` is where the key stands: that is also the place of a table with a
/// header, whose own span would be many lines.
fn convert(item: &Item, file: usize, key: Spot) -> Option<Node> {
    let spot = match item.span() {
        Some(span) => Spot { file, start: span.start, end: span.end },
        None => key,
    };
    match item {
        Item::None => None,
        Item::Value(value) => Some(convert_value(value, file, spot)),
        Item::Table(table) => {
            Some(Node { spot: key, value: Value::Table(convert_table(table, file, key)) })
        }
        Item::ArrayOfTables(tables) => {
            let nodes = tables.iter().map(|table| {
                let spot = table.span().map_or(key, |s| Spot { file, start: s.start, end: s.end });
                Node { spot, value: Value::Table(convert_table(table, file, spot)) }
            });
            Some(Node { spot: key, value: Value::List(nodes.collect()) })
        }
    }
}

fn convert_value(value: &toml_edit::Value, file: usize, fallback: Spot) -> Node {
    let spot = value.span().map_or(fallback, |s| Spot { file, start: s.start, end: s.end });
    let value = match value {
        toml_edit::Value::String(text) => Value::Text(text.value().clone()),
        toml_edit::Value::Integer(number) => Value::Integer(*number.value()),
        toml_edit::Value::Float(number) => Value::Float(*number.value()),
        toml_edit::Value::Boolean(yes) => Value::Bool(*yes.value()),
        toml_edit::Value::Datetime(_) => Value::Time,
        toml_edit::Value::Array(list) => {
            Value::List(list.iter().map(|item| convert_value(item, file, spot)).collect())
        }
        toml_edit::Value::InlineTable(table) => Value::Table(convert_table(table, file, spot)),
    };
    Node { spot, value }
}

/// Adds `from` to `into`; a key that both have is an error unless it is a heading.
fn merge(into: &mut Table, from: Table, path: &mut Vec<String>, findings: &mut Findings) {
    for (name, entry) in from.entries {
        let first = match into.entries.entry(name.clone()) {
            btree_map::Entry::Vacant(vacant) => {
                vacant.insert(entry);
                continue;
            }
            btree_map::Entry::Occupied(occupied) => occupied.into_mut(),
        };
        path.push(name);
        match (&mut first.node.value, entry.node.value) {
            (Value::Table(into), Value::Table(from)) if is_heading(path) => {
                merge(into, from, path, findings);
            }
            _ => {
                let name = path.last().map_or("", String::as_str);
                findings.push(
                    Finding::error(format!("`{name}` is given twice"))
                        .at(entry.key, &path.join("."))
                        .related(first.key, "first given here")
                        .hint("give it in one file only"),
                );
            }
        }
        path.pop();
    }
}

/// Whether a table only groups others, so that several files may add to it.
fn is_heading(path: &[String]) -> bool {
    match path {
        [_] => true,
        [section, group] => {
            section == "postgres" && matches!(group.as_str(), "databases" | "users")
        }
        _ => false,
    }
}
