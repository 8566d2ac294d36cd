//! What a reload has to touch.

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

use crate::model::{Admin, Config, Postgres, Runtime};

/// What differs between two configurations. What is not named here is equal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// Keys of `[runtime]`; these need a new process.
    pub runtime: Vec<&'static str>,
    /// Something in `[admin]`.
    pub admin: bool,
    /// `[listeners]`.
    pub listeners: Changes,
    /// `[clusters]`.
    pub clusters: Changes,
    /// Something in `[postgres]` besides databases and users, or the section
    /// came or went.
    pub postgres: bool,
    /// `[postgres.databases]`.
    pub databases: Changes,
    /// `[postgres.users]`.
    pub users: Changes,
}

/// Names that came, went or mean something else, each in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Only in the new configuration.
    pub added: Vec<Arc<str>>,
    /// Only in the old configuration.
    pub removed: Vec<Arc<str>>,
    /// In both, not the same.
    pub changed: Vec<Arc<str>>,
}

/// Compares two configurations. The files they came from do not count.
pub fn difference(old: &Config, new: &Config) -> Difference {
    let empty_databases = BTreeMap::new();
    let empty_users = BTreeMap::new();
    let (was, is) = (old.postgres.as_ref(), new.postgres.as_ref());
    Difference {
        runtime: runtime(&old.runtime, &new.runtime),
        admin: settings_of(&old.admin) != settings_of(&new.admin),
        listeners: Changes::between(&old.listeners, &new.listeners),
        clusters: Changes::between(&old.clusters, &new.clusters),
        postgres: settings(was) != settings(is),
        databases: Changes::between(
            was.map_or(&empty_databases, |p| &p.databases),
            is.map_or(&empty_databases, |p| &p.databases),
        ),
        users: Changes::between(
            was.map_or(&empty_users, |p| &p.users),
            is.map_or(&empty_users, |p| &p.users),
        ),
    }
}

/// `[admin]` without what the files of its certificate hold: its server reads them again by itself.
fn settings_of(admin: &Admin) -> (Admin, Option<[&Path; 2]>) {
    let files = admin.tls.as_ref().map(|tls| [&*tls.path, &*tls.key_path]);
    (Admin { tls: None, ..admin.clone() }, files)
}

/// `[postgres]` without its databases and users.
fn settings(postgres: Option<&Postgres>) -> Option<Postgres> {
    postgres.map(|postgres| Postgres {
        databases: BTreeMap::new(),
        users: BTreeMap::new(),
        ..postgres.clone()
    })
}

fn runtime(old: &Runtime, new: &Runtime) -> Vec<&'static str> {
    // Taken apart so that a new field cannot be forgotten here.
    let Runtime { shards, pin, drain_timeout, buffer_bytes, max_connections, coalesce, watch } =
        old;
    let keys = [
        ("shards", *shards != new.shards),
        ("pin", *pin != new.pin),
        ("drain_timeout", *drain_timeout != new.drain_timeout),
        ("buffer_size", *buffer_bytes != new.buffer_bytes),
        ("max_connections", *max_connections != new.max_connections),
        ("coalesce", *coalesce != new.coalesce),
        ("watch", *watch != new.watch),
    ];
    keys.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
}

// === impl Difference ===

impl Difference {
    /// The two configurations mean the same.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Something changed that only a new process can take on.
    pub fn needs_new_process(&self) -> bool {
        !self.runtime.is_empty()
    }
}

/// `listeners: +web ~api -old; clusters: ~api`, or `no change`.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.runtime.is_empty() {
            parts.push(format!("runtime: {} (needs a new process)", self.runtime.join(", ")));
        }
        if self.admin {
            parts.push("admin".to_owned());
        }
        let tables = [("listeners", &self.listeners), ("clusters", &self.clusters)];
        let databases = [("databases", &self.databases), ("users", &self.users)];
        let named = |(name, changes): (&str, &Changes)| {
            (!changes.is_empty()).then(|| format!("{name}: {changes}"))
        };
        parts.extend(tables.into_iter().filter_map(named));
        if self.postgres {
            parts.push("postgres".to_owned());
        }
        parts.extend(databases.into_iter().filter_map(named));
        match parts.as_slice() {
            [] => f.write_str("no change"),
            parts => f.write_str(&parts.join("; ")),
        }
    }
}

// === impl Changes ===

impl Changes {
    fn between<T: PartialEq>(old: &BTreeMap<Arc<str>, T>, new: &BTreeMap<Arc<str>, T>) -> Self {
        let only = |a: &BTreeMap<Arc<str>, T>, b: &BTreeMap<Arc<str>, T>| {
            a.keys().filter(|name| !b.contains_key(*name)).cloned().collect()
        };
        let changed = old.iter().filter(|(name, was)| new.get(*name).is_some_and(|is| is != *was));
        Self {
            added: only(new, old),
            removed: only(old, new),
            changed: changed.map(|(name, _)| Arc::clone(name)).collect(),
        }
    }

    /// Nothing came, went or changed.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// `+added ~changed -removed`.
impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signs = [('+', &self.added), ('~', &self.changed), ('-', &self.removed)];
        let names = signs
            .iter()
            .flat_map(|(sign, names)| names.iter().map(move |name| format!("{sign}{name}")));
        f.write_str(&names.collect::<Vec<_>>().join(" "))
    }
}
