//! Something for each host name: exact names before wildcards.

use std::sync::Arc;

use bs9_config::ServerName;
use rustc_hash::FxHashMap;

/// A table by the name a client asks for (SNI).
#[derive(Debug, Clone)]
pub struct ServerNames<T> {
    exact: FxHashMap<Arc<str>, T>,
    /// By what follows the `*.`.
    wildcard: FxHashMap<Arc<str>, T>,
}

impl<T> Default for ServerNames<T> {
    fn default() -> Self {
        Self { exact: FxHashMap::default(), wildcard: FxHashMap::default() }
    }
}

impl<T> ServerNames<T> {
    /// What is there for `name`, put there by `make` when there was nothing.
    pub fn entry_or(&mut self, name: &ServerName, make: impl FnOnce() -> T) -> &mut T {
        let (table, name) = match name {
            ServerName::Exact(name) => (&mut self.exact, name),
            ServerName::Wildcard(name) => (&mut self.wildcard, name),
        };
        table.entry(Arc::clone(name)).or_insert_with(make)
    }

    /// What a client gets that asks for `name`, which is in lower case. A wildcard stands
    /// for one label (RFC 6125 section 6.4.3).
    pub fn lookup(&self, name: &str) -> Option<&T> {
        let name = name.strip_suffix('.').unwrap_or(name);
        self.exact.get(name).or_else(|| {
            let (first, parent) = name.split_once('.')?;
            if first.is_empty() { None } else { self.wildcard.get(parent) }
        })
    }

    /// Whether there is nothing for any name.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcard.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_names_come_before_wildcards_and_a_wildcard_is_one_label() {
        let mut names = ServerNames::default();
        let exact = |name: &str| ServerName::Exact(name.into());
        let wildcard = |name: &str| ServerName::Wildcard(name.into());
        names.entry_or(&wildcard("example.com"), || "any");
        names.entry_or(&exact("api.example.com"), || "api");
        for (name, found) in [
            ("api.example.com", Some("api")),
            ("api.example.com.", Some("api")),
            ("www.example.com", Some("any")),
            ("example.com", None),
            ("a.b.example.com", None),
            (".example.com", None),
            ("", None),
        ] {
            assert_eq!(names.lookup(name).copied(), found, "{name:?}");
        }
    }
}
