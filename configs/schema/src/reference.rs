//! The definitions as Markdown: `docs/CONFIGURATION.md`.

use std::fmt::Write as _;

use crate::{
    definition::{KeyDefinition, Kind, Presence, TableDefinition},
    raw::Value,
    read::definition,
    sections,
    unit::{format_duration, format_size},
};

const HEADER: &str = "| key | value | default | meaning |\n|---|---|---|---|\n";
const PREAMBLE: &str = include_str!("reference/preamble.md");

/// The reference of every key of `bs9.toml` and `manager.toml`, in Markdown.
pub fn reference_markdown() -> String {
    let mut text = PREAMBLE.to_owned();
    text.push_str("\n## `bs9.toml`\n\nWhat `bs9 serve` reads.\n");
    tables(&mut text, &definition(sections::config_sections));
    text.push_str("\n## `manager.toml`\n\nWhat `bs9 manager` reads.\n");
    tables(&mut text, &definition(sections::manager));
    text.push_str("\n## `services/NAME.toml`\n\nOne service that the manager keeps running, named as its file.\n\n");
    whole_file(&mut text, &definition(sections::service));
    text
}

/// A file whose keys stand at its top.
fn whole_file(text: &mut String, root: &TableDefinition) {
    text.push_str(HEADER);
    for key in &root.keys {
        row(text, key);
    }
    tables(text, root);
}

/// The tables at the top of a file; at the top itself there are only these.
fn tables(text: &mut String, root: &TableDefinition) {
    for key in &root.keys {
        nested(text, key, key.name, Nesting::Header);
    }
}

/// How a table below a table is best written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nesting {
    /// `[path]`.
    Header,
    /// `{ … }` after `path =`.
    Inline,
}

/// A section for each table that a key's value may be.
fn nested(text: &mut String, key: &KeyDefinition, path: &str, nesting: Nesting) {
    let heading = match nesting {
        Nesting::Header => format!("[{path}]"),
        Nesting::Inline => format!("{path} = {{ … }}"),
    };
    match &key.kind {
        Kind::Table(of) => section(text, &heading, key.doc, of, path),
        Kind::Named { of, .. } => {
            let path = format!("{path}.NAME");
            section(text, &format!("[{path}]"), key.doc, of, &path);
        }
        Kind::List { of, .. } => match of.as_ref() {
            Kind::Table(of) => section(text, &format!("[[{path}]]"), key.doc, of, path),
            Kind::Either(_, b) => {
                if let Kind::Table(of) = b.as_ref() {
                    section(
                        text,
                        &format!("{path} = [{{ … }}]"),
                        "An entry of the list, written as a table.",
                        of,
                        path,
                    );
                }
            }
            _ => {}
        },
        Kind::Either(_, b) => {
            if let Kind::Table(of) = b.as_ref() {
                section(text, &format!("{path} = {{ … }}"), key.doc, of, path);
            }
        }
        Kind::Map { of, .. } => {
            if let Some(of) = table_within(of) {
                let (path, doc) = (format!("{path}.NAME"), "A value, written as a table.");
                section(text, &format!("{path} = {{ … }}"), doc, of, &path);
            }
        }
        _ => {}
    }
}

/// The last way to write a value, if that is a table.
fn table_within(kind: &Kind) -> Option<&TableDefinition> {
    match kind {
        Kind::Table(of) => Some(of),
        Kind::Either(_, b) => table_within(b),
        _ => None,
    }
}

fn section(text: &mut String, heading: &str, doc: &str, of: &TableDefinition, path: &str) {
    let _ = write!(text, "\n### `{heading}`\n\n{doc}\n\n");
    text.push_str(HEADER);
    for key in &of.keys {
        row(text, key);
    }
    for key in &of.keys {
        let path = format!("{path}.{}", key.name);
        nested(text, key, &path, Nesting::Inline);
    }
}

fn row(text: &mut String, key: &KeyDefinition) {
    let default = match &key.presence {
        Presence::Required => "**required**".to_owned(),
        Presence::Optional => String::new(),
        Presence::Default(Value::Table(_)) => String::new(),
        Presence::Default(value) => format!("`{}`", toml(value)),
    };
    let mut meaning = String::new();
    if !key.only.is_empty() {
        let _ = write!(meaning, "*Only for `{}`.* ", key.only.join("`, `"));
    }
    meaning.push_str(key.doc);
    if let Kind::Words(words) = &key.kind {
        for word in words {
            let refused = if word.unsupported { " *Not supported by this version.*" } else { "" };
            let _ = write!(meaning, "<br>`\"{}\"`: {}{refused}", word.text, word.doc);
        }
    }
    let value = value(&key.kind);
    let cells =
        [value.as_str(), default.as_str(), meaning.as_str()].map(|cell| cell.replace('|', "\\|"));
    let _ = writeln!(text, "| `{}` | {} |", key.name, cells.join(" | "));
}

/// What a value looks like, limits included.
fn value(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "`true` or `false`".to_owned(),
        Kind::Integer { min, max } => format!("integer, {min} to {max}"),
        Kind::Numbers(numbers) => {
            let numbers: Vec<_> = numbers.iter().map(|n| format!("`{n}`")).collect();
            numbers.join(", ")
        }
        Kind::Float { min, max } => format!("number, {min} to {max}"),
        Kind::Duration { min, max } => {
            format!("duration, `\"{}\"` to `\"{}\"`", format_duration(*min), format_duration(*max))
        }
        Kind::Size { min, max } => {
            format!("size, `\"{}\"` to `\"{}\"`", format_size(*min), format_size(*max))
        }
        Kind::Text(_) => "string".to_owned(),
        Kind::Words(words) => match words.as_slice() {
            [word] => format!("`\"{}\"`", word.text),
            _ => "word".to_owned(),
        },
        Kind::Secret => "secret".to_owned(),
        Kind::List { of, .. } => format!("list of: {}", value(of)),
        Kind::Table(_) | Kind::Named { .. } => "table".to_owned(),
        Kind::Pairs { .. } => "table of strings".to_owned(),
        Kind::Map { of, .. } => format!("table of: {}", value(of)),
        Kind::Either(a, b) => format!("{}, or {}", value(a), value(b)),
    }
}

/// A default as it would be written.
fn toml(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("{text:?}"),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Bool(yes) => yes.to_string(),
        Value::List(nodes) => {
            let entries: Vec<_> = nodes.iter().map(|node| toml(&node.value)).collect();
            format!("[{}]", entries.join(", "))
        }
        Value::Time | Value::Table(_) => "{}".to_owned(),
    }
}
