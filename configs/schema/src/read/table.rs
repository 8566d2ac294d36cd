//! Formats of tables.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use super::{
    At, Fault, Format, Reader, Scope, definition,
    format::wrong_type,
    scope::{child_path, describe},
};
use crate::{
    definition::{Kind, TextForm},
    model::Secret,
    raw::{Entry, Value},
    report::Finding,
};

/// See [`table`].
pub(crate) struct TableFormat<T>(fn(&mut Scope<'_>) -> Option<T>);

/// A table, read by a section.
pub(crate) fn table<T>(section: fn(&mut Scope<'_>) -> Option<T>) -> TableFormat<T> {
    TableFormat(section)
}

impl<T> Format for TableFormat<T> {
    type Output = T;

    fn kind(&self) -> Kind {
        Kind::Table(definition(self.0))
    }

    fn fits(&self, value: &Value) -> bool {
        matches!(value, Value::Table(_))
    }

    fn read(&self, at: At<'_>, reader: &Reader<'_>) -> Option<T> {
        let Value::Table(table) = &at.node.value else {
            wrong_type(at, reader, &self.kind());
            return None;
        };
        let mut scope = Scope::new(reader, table, at.node.spot, at.path);
        let value = (self.0)(&mut scope);
        scope.finish();
        value
    }
}

/// Reads one entry of a [`named`] table.
type NamedSection<T> = fn(&mut Scope<'_>, Arc<str>) -> Option<T>;
/// Says why a name is not acceptable.
type NameRule = fn(&str) -> Result<(), Fault>;

/// See [`named`].
pub(crate) struct Named<T> {
    name: TextForm,
    rule: NameRule,
    section: NamedSection<T>,
}

/// A table of tables by name, each read by a section that is told the name.
pub(crate) fn named<T>(name: TextForm, rule: NameRule, section: NamedSection<T>) -> Named<T> {
    Named { name, rule, section }
}

impl<T> Format for Named<T> {
    type Output = BTreeMap<Arc<str>, T>;

    fn kind(&self) -> Kind {
        let of = describe(|scope| {
            (self.section)(scope, Arc::from(""));
        });
        Kind::Named { name: self.name, of }
    }

    fn fits(&self, value: &Value) -> bool {
        matches!(value, Value::Table(_))
    }

    fn read(&self, at: At<'_>, reader: &Reader<'_>) -> Option<Self::Output> {
        let Value::Table(table) = &at.node.value else {
            wrong_type(at, reader, &self.kind());
            return None;
        };
        let entries = table.iter().filter_map(|(name, entry)| {
            let path = child_path(at.path, name);
            check_name(name, entry, &path, self.rule, reader);
            let name: Arc<str> = name.as_str().into();
            let Value::Table(table) = &entry.node.value else {
                // A password instead of the table that holds it is a likely mistake.
                reader.hide(entry.node.spot);
                let what = at.path.rsplit('.').next().unwrap_or(at.path);
                let found = entry.node.value.type_name();
                let finding = Finding::error(format!("expected a table, found {found}"));
                let hint = format!("each entry of `{what}` is a table: [{path}]");
                reader.push(finding.at(entry.node.spot, &path).hint(hint));
                return None;
            };
            let mut scope = Scope::new(reader, table, entry.node.spot, &path);
            let value = (self.section)(&mut scope, Arc::clone(&name));
            scope.finish();
            Some((name, value?))
        });
        Some(entries.collect())
    }
}

fn check_name(name: &str, entry: &Entry, path: &str, rule: NameRule, reader: &Reader<'_>) {
    if let Err(fault) = rule(name) {
        reader.push(Finding::error(fault.message).at(entry.key, path).maybe_hint(fault.hint));
    }
}

/// Turns a name and its string into something, or says why not.
type PairRule<T> = fn(&str, &str) -> Result<T, Fault>;

/// See [`pairs`].
pub(crate) struct Pairs<T> {
    name: TextForm,
    value: TextForm,
    rule: PairRule<T>,
}

/// A table of strings by name.
pub(crate) fn pairs<T>(name: TextForm, value: TextForm, rule: PairRule<T>) -> Pairs<T> {
    Pairs { name, value, rule }
}

impl<T> Format for Pairs<T> {
    type Output = Vec<T>;

    fn kind(&self) -> Kind {
        Kind::Pairs { name: self.name, value: self.value }
    }

    fn fits(&self, value: &Value) -> bool {
        matches!(value, Value::Table(_))
    }

    fn read(&self, at: At<'_>, reader: &Reader<'_>) -> Option<Vec<T>> {
        let Value::Table(table) = &at.node.value else {
            wrong_type(at, reader, &self.kind());
            return None;
        };
        let value = super::text(self.value.what, self.value.pattern, |text: &str, _: &Path| {
            Ok(text.to_owned())
        });
        let pairs = table.iter().filter_map(|(name, entry)| {
            let path = child_path(at.path, name);
            let at = At { node: &entry.node, path: &path };
            let text = value.read(at, reader)?;
            (self.rule)(name, &text).map_err(|fault| reader.fault(at, fault)).ok()
        });
        Some(pairs.collect())
    }
}

/// See [`secrets`].
pub(crate) struct Secrets {
    name: TextForm,
    rule: NameRule,
}

/// A table of secrets by name. An empty one is allowed here: it is what sets a
/// variable to nothing.
pub(crate) fn secrets(name: TextForm, rule: NameRule) -> Secrets {
    Secrets { name, rule }
}

impl Format for Secrets {
    type Output = Vec<(String, Secret)>;

    fn kind(&self) -> Kind {
        Kind::Pairs { name: self.name, value: TextForm { what: "a secret", pattern: None } }
    }

    fn fits(&self, value: &Value) -> bool {
        matches!(value, Value::Table(_))
    }

    fn read(&self, at: At<'_>, reader: &Reader<'_>) -> Option<Self::Output> {
        let Value::Table(table) = &at.node.value else {
            reader.hide(at.node.spot);
            wrong_type(at, reader, &self.kind());
            return None;
        };
        let pairs = table.iter().filter_map(|(name, entry)| {
            let path = child_path(at.path, name);
            check_name(name, entry, &path, self.rule, reader);
            let at = At { node: &entry.node, path: &path };
            let value = match &entry.node.value {
                Value::Text(text) if text.is_empty() => Secret::new(String::new()),
                _ => super::secret().read(at, reader)?,
            };
            Some((name.clone(), value))
        });
        Some(pairs.collect())
    }
}
