//! TOML as a tree that remembers where everything stood.
//!
//! Several files make one tree. What is only a heading (`[listeners]`,
//! `[postgres.users]`) may appear in each of them; what has a meaning of its own
//! is given once.

use std::cmp::Ordering;

use toml::{
    Spanned,
    de::{DeFloat, DeInteger, DeTable, DeValue},
};

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

/// A table's entries by key. Most tables are small, and a large configuration has many of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    /// Sorted by name; each is there once.
    entries: Vec<(String, Entry)>,
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

/// Entries up to which a table is searched from its beginning.
const FEW: usize = 8;

impl Table {
    pub(crate) fn get(&self, name: &str) -> Option<&Entry> {
        // Of the few keys of a section most differ in length from the one that is asked for, and
        // many are asked for in each of thousands of routes.
        if self.entries.len() <= FEW {
            return self.entries.iter().find(|(own, _)| own == name).map(|(_, entry)| entry);
        }
        let found = self.entries.binary_search_by(|(own, _)| own.as_str().cmp(name)).ok()?;
        Some(&self.entries[found].1)
    }

    /// In the order of their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Entry)> {
        self.entries.iter().map(|(name, entry)| (name, entry))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.entries.iter().map(|(name, _)| name)
    }
}

/// From entries of which no two have the same name.
impl FromIterator<(String, Entry)> for Table {
    fn from_iter<I: IntoIterator<Item = (String, Entry)>>(entries: I) -> Self {
        let mut entries: Vec<_> = entries.into_iter().collect();
        entries.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Self { entries }
    }
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
        let convert = |document: DeTable<'_>, findings: &mut Findings| {
            Conversion { file, findings }.table(document)
        };
        let (table, found) = syntax::recover(file, source, findings, convert);
        if found == Coverage::Partial {
            coverage = Coverage::Partial;
        }
        if let Some(table) = table {
            root = merge(root, table, &mut Vec::new(), findings);
        }
    }
    (root, coverage)
}

/// From what the parser made of one file.
struct Conversion<'f> {
    file: usize,
    findings: &'f mut Findings,
}

impl Conversion<'_> {
    fn table(&mut self, table: DeTable<'_>) -> Table {
        let entries = table.into_iter().map(|(name, value)| {
            let key = self.spot(&name);
            let mut node = self.node(value);
            // Under a header, whose own place is many lines.
            if node.spot.start <= key.start {
                node.spot = key;
            }
            (name.into_inner().into_owned(), Entry { key, node })
        });
        entries.collect()
    }

    fn node(&mut self, value: Spanned<DeValue<'_>>) -> Node {
        let spot = self.spot(&value);
        let value = match value.into_inner() {
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Integer(number) => Value::Integer(self.integer(&number, spot)),
            DeValue::Float(number) => Value::Float(self.float(&number, spot)),
            DeValue::Boolean(yes) => Value::Bool(yes),
            DeValue::Datetime(_) => Value::Time,
            DeValue::Array(list) => {
                Value::List(list.into_iter().map(|value| self.node(value)).collect())
            }
            DeValue::Table(table) => Value::Table(self.table(table)),
        };
        Node { spot, value }
    }

    /// TOML 1.1, Integer: 64 bits with a sign; what does not fit is an error.
    fn integer(&mut self, number: &DeInteger<'_>, spot: Spot) -> i64 {
        i64::from_str_radix(number.as_str(), number.radix()).unwrap_or_else(|_| {
            self.too_large("an integer", spot);
            0
        })
    }

    fn float(&mut self, number: &DeFloat<'_>, spot: Spot) -> f64 {
        let text = number.as_str();
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() || text.contains("inf") || text.contains("nan") => value,
            _ => {
                self.too_large("a float", spot);
                0.0
            }
        }
    }

    fn too_large(&mut self, what: &str, spot: Spot) {
        let message = format!("not valid TOML: {what} that does not fit into 64 bits");
        self.findings.push(Finding::error(message).at(spot, ""));
    }

    fn spot<T>(&self, spanned: &Spanned<T>) -> Spot {
        let span = spanned.span();
        Spot { file: self.file, start: span.start, end: span.end }
    }
}

/// Both together; a key that both have is an error unless it is a heading.
fn merge(one: Table, other: Table, path: &mut Vec<String>, findings: &mut Findings) -> Table {
    let mut merged = Vec::with_capacity(one.entries.len() + other.entries.len());
    let mut ones = one.entries.into_iter().peekable();
    let mut others = other.entries.into_iter().peekable();
    loop {
        let order = match (ones.peek(), others.peek()) {
            (Some((one, _)), Some((other, _))) => one.cmp(other),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return Table { entries: merged },
        };
        match order {
            Ordering::Less => merged.extend(ones.next()),
            Ordering::Greater => merged.extend(others.next()),
            Ordering::Equal => {
                let pair = ones.next().zip(others.next());
                merged.extend(pair.map(|((name, first), (_, second))| {
                    path.push(name);
                    let entry = merge_entry(first, second, path, findings);
                    (path.pop().unwrap_or_default(), entry)
                }));
            }
        }
    }
}

/// The last of `path` is the key that both have.
fn merge_entry(
    mut first: Entry,
    second: Entry,
    path: &mut Vec<String>,
    findings: &mut Findings,
) -> Entry {
    match (first.node.value, second.node.value) {
        (Value::Table(one), Value::Table(other)) if is_heading(path) => {
            first.node.value = Value::Table(merge(one, other, path, findings));
        }
        (value, _) => {
            first.node.value = value;
            let name = path.last().map_or("", String::as_str);
            findings.push(
                Finding::error(format!("`{name}` is given twice"))
                    .at(second.key, &path.join("."))
                    .related(first.key, "first given here")
                    .hint("give it in one file only"),
            );
        }
    }
    first
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
