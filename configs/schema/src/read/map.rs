//! Tables whose names are the user's own, and whose values have one format.

use super::{At, Fault, Format, Reader, format::wrong_type, scope::child_path};
use crate::{
    definition::{Kind, TextForm},
    raw::Value,
};

/// Turns a name and its value into something, or says why not.
type EntryRule<V, T> = fn(&str, V) -> Result<T, Fault>;

/// See [`map_of`].
pub(crate) struct MapOf<F: Format, T> {
    name: TextForm,
    of: F,
    rule: EntryRule<F::Output, T>,
}

/// A table of values of one format by name, in the order of the file.
pub(crate) fn map_of<F: Format, T>(
    name: TextForm,
    of: F,
    rule: EntryRule<F::Output, T>,
) -> MapOf<F, T> {
    MapOf { name, of, rule }
}

impl<F: Format, T> Format for MapOf<F, T> {
    type Output = Vec<T>;

    fn kind(&self) -> Kind {
        Kind::Map { name: self.name, of: Box::new(self.of.kind()) }
    }

    fn fits(&self, value: &Value) -> bool {
        matches!(value, Value::Table(_))
    }

    fn read(&self, at: At<'_>, reader: &Reader<'_>) -> Option<Vec<T>> {
        let Value::Table(table) = &at.node.value else {
            wrong_type(at, reader, &self.kind());
            return None;
        };
        let entries = table.iter().filter_map(|(name, entry)| {
            let path = child_path(at.path, name);
            let at = At { node: &entry.node, path: &path };
            let value = self.of.read(at, reader)?;
            (self.rule)(name, value).map_err(|fault| reader.fault(at, fault)).ok()
        });
        Some(entries.collect())
    }
}
