//! One table while it is read, or described.

use super::{At, Format, Located, Reader, nearest};
use crate::{
    definition::{KeyDefinition, Kind, Presence, TableDefinition},
    raw::{Coverage, Entry, Node, Table, Value},
    report::{Finding, Findings},
    source::Spot,
};

/// A default has no place; nothing is ever reported about one.
const NOWHERE: Spot = Spot { file: usize::MAX, start: 0, end: 0 };

/// Keys that most tables are asked for at most.
const USUAL_KEYS: usize = 16;

/// A key's name and meaning.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    only: &'static [&'static str],
}

impl Key {
    pub(crate) const fn new(name: &'static str, doc: &'static str) -> Self {
        Self { name, doc, only: &[] }
    }

    /// The key has a meaning with these values of `protocol` only.
    pub(crate) const fn only(mut self, protocols: &'static [&'static str]) -> Self {
        self.only = protocols;
        self
    }
}

/// A table being read. Each key is asked for once; what was not asked for is
/// reported as unknown by [`Scope::finish`].
pub(crate) struct Scope<'a> {
    reader: &'a Reader<'a>,
    table: &'a Table,
    spot: Spot,
    path: &'a str,
    asked: Vec<&'static str>,
    /// Required keys that are not there.
    missing: Vec<(&'static str, Finding)>,
    protocol: Option<&'static str>,
    /// `Some` in describing mode.
    definition: Option<TableDefinition>,
}

/// Runs a section in describing mode.
pub(crate) fn describe(section: impl FnOnce(&mut Scope<'_>)) -> TableDefinition {
    let table = Table::default();
    let reader = Reader::new(&[], &table, Coverage::Partial, Findings::default());
    let mut scope = Scope::new(&reader, &table, NOWHERE, "");
    scope.definition = Some(TableDefinition::default());
    section(&mut scope);
    scope.definition.unwrap_or_default()
}

impl<'a> Scope<'a> {
    pub(crate) fn new(reader: &'a Reader<'a>, table: &'a Table, spot: Spot, path: &'a str) -> Self {
        Self {
            reader,
            table,
            spot,
            path,
            asked: Vec::with_capacity(USUAL_KEYS),
            missing: Vec::new(),
            protocol: None,
            definition: None,
        }
    }

    /// A key that may be absent.
    pub(crate) fn optional<F: Format>(&mut self, key: Key, format: F) -> Option<F::Output> {
        self.ask(key, || Presence::Optional, || format.kind());
        self.read(key, &format)
    }

    /// A key that has to be there; `None` has been reported.
    pub(crate) fn required<F: Format>(&mut self, key: Key, format: F) -> Option<F::Output> {
        self.ask(key, || Presence::Required, || format.kind());
        if !self.has(key.name) {
            self.require(key, &format.kind());
        }
        self.read(key, &format)
    }

    /// A key with a default, which also stands in for a value that is wrong (and
    /// has been reported).
    ///
    /// # Panics
    ///
    /// When the format refuses the default: a mistake in the definition, which
    /// describing it in a test brings to light.
    pub(crate) fn or<F: Format>(
        &mut self,
        key: Key,
        format: F,
        default: impl Into<Value>,
    ) -> F::Output {
        let default = Node { spot: NOWHERE, value: default.into() };
        self.ask(key, || Presence::Default(default.value.clone()), || format.kind());
        self.read(key, &format).unwrap_or_else(|| {
            let at = At { node: &default, path: key.name };
            format.read(at, self.reader).expect("a definition's default has its format")
        })
    }

    /// A table that need not be there when all of its keys have defaults.
    pub(crate) fn section<F: Format>(&mut self, key: Key, format: F) -> Option<F::Output> {
        self.ask(key, || Presence::Optional, || format.kind());
        if self.has(key.name) {
            return self.read(key, &format);
        }
        let empty = Node { spot: self.spot, value: Value::Table(Table::default()) };
        let path = self.path_of(key.name);
        format.read(At { node: &empty, path: &path }, self.reader)
    }

    /// From here on, keys for another protocol are reported.
    pub(crate) fn speaks(&mut self, protocol: Option<&'static str>) {
        self.protocol = protocol;
    }

    /// Reports a key that is not there.
    pub(crate) fn require(&mut self, key: Key, kind: &Kind) {
        let hint = match kind {
            Kind::List { of, .. } if matches!(of.as_ref(), Kind::Table(_)) => {
                format!("add [[{}]]", self.path_of(key.name))
            }
            Kind::List { of, .. } => {
                format!("add `{} = […]`; each entry is {}", key.name, of.what())
            }
            kind => format!("add `{}`: {}", key.name, kind.what()),
        };
        let finding = Finding::error(format!("`{}` is missing", key.name))
            .at(self.spot, self.path)
            .hint(hint);
        self.missing.push((key.name, finding));
    }

    /// Whether the file has this key.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.table.get(name).is_some()
    }

    /// Where a key of this table stands.
    pub(crate) fn key_spot(&self, name: &str) -> Option<Spot> {
        self.table.get(name).map(|entry| entry.key)
    }

    /// Where an entry of one of this table's tables stands.
    pub(crate) fn entry_spot(&self, name: &str, entry: &str) -> Option<Spot> {
        match &self.table.get(name)?.node.value {
            Value::Table(table) => table.get(entry).map(|entry| entry.key),
            _ => None,
        }
    }

    pub(crate) fn path_of(&self, name: &str) -> String {
        child_path(self.path, name)
    }

    /// Where the table as a whole stands.
    pub(crate) fn spot(&self) -> Spot {
        self.spot
    }

    pub(crate) fn path(&self) -> &str {
        self.path
    }

    pub(crate) fn reader(&self) -> &'a Reader<'a> {
        self.reader
    }

    /// A value of this table, with its place.
    pub(crate) fn locate<T>(&self, value: T) -> Located<T> {
        Located { value, spot: self.spot, path: self.path.to_owned() }
    }

    /// Reports every key that was never asked for, and those that are missing.
    pub(crate) fn finish(mut self) {
        for (name, entry) in self.table.iter() {
            if !self.asked.contains(&name.as_str()) {
                let near = nearest(name, self.asked.iter().copied());
                // A misspelt key is told once: it is not missing as well.
                self.missing.retain(|(missing, _)| near != Some(missing));
                self.unknown(name, entry, near);
            }
        }
        for (_, finding) in self.missing {
            self.reader.missing(finding);
        }
    }

    fn unknown(&self, name: &str, entry: &Entry, near: Option<&str>) {
        // What a misspelt key holds may well be a secret.
        if self.asked.contains(&"password") || self.asked.contains(&"token") {
            self.reader.hide(entry.node.spot);
        }
        let hint = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known keys are {}", self.asked.join(", ")),
        };
        let finding = Finding::error(format!("unknown key `{name}`"));
        self.reader.push(finding.at(entry.key, &self.path_of(name)).hint(hint));
    }

    fn read<F: Format>(&self, key: Key, format: &F) -> Option<F::Output> {
        let entry = self.table.get(key.name)?;
        let path = self.path_of(key.name);
        if let Some(protocol) = self.protocol
            && !key.only.is_empty()
            && !key.only.contains(&protocol)
        {
            self.misplaced(key, entry, &path, protocol);
            return None;
        }
        format.read(At { node: &entry.node, path: &path }, self.reader)
    }

    fn misplaced(&self, key: Key, entry: &Entry, path: &str, protocol: &str) {
        let hint = match (key.name, protocol) {
            ("routes", "tcp" | "udp") => format!("a {protocol} listener has one `cluster`"),
            ("cluster", "http") => {
                "an http listener names its clusters in `routes`, or use protocol = \"tcp\""
                    .to_owned()
            }
            ("routes" | "cluster", "postgres") => {
                "what a postgres listener does is in [postgres]".to_owned()
            }
            _ => format!("remove it, or use protocol = {}", quoted(key.only, " or ")),
        };
        self.reader.push(
            Finding::error(format!("`{}` has no meaning for protocol = \"{protocol}\"", key.name))
                .at(entry.key, path)
                .hint(hint),
        );
    }

    fn ask(&mut self, key: Key, presence: impl FnOnce() -> Presence, kind: impl FnOnce() -> Kind) {
        debug_assert!(!self.asked.contains(&key.name), "`{}` is asked for twice", key.name);
        self.asked.push(key.name);
        if let Some(definition) = &mut self.definition {
            let Key { name, doc, only } = key;
            let (presence, kind) = (presence(), kind());
            definition.keys.push(KeyDefinition { name, doc, presence, only, kind });
        }
    }
}

/// `"a" or "b"`.
pub(crate) fn quoted(words: &[&str], between: &str) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(between)
}

/// `parent.name`, the name quoted as TOML would need it.
pub(crate) fn child_path(parent: &str, name: &str) -> String {
    let bare =
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    // Made for every key of thousands of routes: without the machinery of `format!`.
    let mut path = String::with_capacity(parent.len() + 1 + name.len());
    path.push_str(parent);
    if !parent.is_empty() {
        path.push('.');
    }
    match bare {
        true => path.push_str(name),
        false => path.push_str(&format!("{name:?}")),
    }
    path
}
