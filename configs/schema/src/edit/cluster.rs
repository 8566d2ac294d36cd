//! A whole cluster in a TOML document, and the route to it.

use std::path::Path;

use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, TableLike};

use super::{EditError, cluster_table, lock, read_valid, validate, write};
use crate::{
    change::{ChangeError, unknown_cluster},
    cluster_change::{ClusterChange, ClusterRoute},
    load::read_config,
    report::Findings,
    source::Source,
};

/// Puts a cluster, and the route to it, into the configuration at `path` (a file or
/// folder). What the change does not speak of stays.
///
/// # Errors
///
/// When it is no valid cluster or route, the configuration is not valid, or it
/// cannot be written. Nothing has changed then.
pub fn set_cluster(path: &Path, change: &ClusterChange) -> Result<(), EditError> {
    rewrite(path, |files| {
        let holder = files.position(|document| cluster_table(document, &change.cluster).is_some());
        let at = holder.unwrap_or(0);
        let table = files.cluster(at, &change.cluster)?;
        for (name, item) in change.settings() {
            set(table, name, item);
        }
        if let Some(former) =
            change.former_route.as_ref().filter(|_| change.route != change.former_route)
            && let Ok(routes) = files.routes(former)
        {
            routes.retain(|route| !is_route(route, former, &change.cluster));
        }
        if let Some(wanted) = &change.route {
            let routes = files.routes(wanted)?;
            if !routes.iter().any(|route| is_route(route, wanted, &change.cluster)) {
                routes.push(wanted.to_toml(&change.cluster));
            }
        }
        Ok(())
    })
}

/// Takes a cluster, and the routes that lead to it alone, out of the configuration
/// at `path` (a file or folder).
///
/// # Errors
///
/// When there is no such cluster, the rest is not valid without it, or it cannot be
/// written. Nothing has changed then.
pub fn remove_cluster(path: &Path, cluster: &str) -> Result<(), EditError> {
    rewrite(path, |files| {
        let Some(at) = files.position(|document| cluster_table(document, cluster).is_some()) else {
            return Err(unknown_cluster(cluster, []));
        };
        if let Some(clusters) =
            files.documents[at].get_mut("clusters").and_then(Item::as_table_like_mut)
        {
            clusters.remove(cluster);
        }
        for document in &mut files.documents {
            let listeners = document.get_mut("listeners").and_then(Item::as_table_like_mut);
            for (_, listener) in listeners.into_iter().flat_map(|table| table.iter_mut()) {
                if let Some(Item::ArrayOfTables(routes)) =
                    listener.as_table_like_mut().and_then(|table| table.get_mut("routes"))
                {
                    routes.retain(|route| text(route, "cluster") != Some(cluster));
                }
            }
        }
        Ok(())
    })
}

/// Every file of a configuration, ready to be edited.
struct Files {
    documents: Vec<DocumentMut>,
    /// The HTTP listener that is meant when none is named.
    only_listener: Result<std::sync::Arc<str>, ChangeError>,
}

fn rewrite(
    path: &Path,
    change: impl FnOnce(&mut Files) -> Result<(), ChangeError>,
) -> Result<(), EditError> {
    let failed = |source| EditError::Write { path: path.to_owned(), source };
    // A symbolic link stays one: what it points at is replaced.
    let path = std::fs::canonicalize(path).map_err(failed)?;
    let _lock = lock(&path).map_err(failed)?;
    let sources = read_valid(&path)?;
    let checked = read_config(&sources, Findings::default());
    let only_listener = match &checked.config {
        Some(config) => config.only_http_listener(),
        None => Err(ChangeError::WhichListener { candidates: Vec::new() }),
    };
    // Every source has just been found valid.
    let documents = sources.iter().map(|source| source.text.parse().unwrap_or_default()).collect();
    let mut files = Files { documents, only_listener };
    change(&mut files)?;

    let edited: Vec<Source> = sources
        .iter()
        .zip(&files.documents)
        .map(|(source, document)| Source::new(source.path.clone(), document.to_string()))
        .collect();
    validate(&edited, Findings::default())?;
    for (old, new) in sources.iter().zip(&edited).filter(|(old, new)| old.text != new.text) {
        write::replace(&old.path, &new.text)
            .map_err(|source| EditError::Write { path: old.path.clone(), source })?;
    }
    Ok(())
}

impl Files {
    fn position(&mut self, holds: impl Fn(&mut DocumentMut) -> bool) -> Option<usize> {
        self.documents.iter_mut().position(holds)
    }

    /// The table of a cluster, made when it is missing.
    fn cluster(&mut self, at: usize, name: &str) -> Result<&mut dyn TableLike, ChangeError> {
        let unfit = || ChangeError::NotACluster { reason: "`clusters` is not a table".to_owned() };
        let document = self.documents.get_mut(at).ok_or_else(unfit)?;
        let clusters = document.entry("clusters").or_insert_with(|| {
            let mut table = Table::new();
            table.set_implicit(true);
            Item::Table(table)
        });
        let clusters = clusters.as_table_like_mut().ok_or_else(unfit)?;
        let cluster = clusters.entry(name).or_insert_with(|| Item::Table(Table::new()));
        cluster.as_table_like_mut().ok_or_else(unfit)
    }

    /// The routes of the listener that `route` is for.
    fn routes(&mut self, route: &ClusterRoute) -> Result<&mut ArrayOfTables, ChangeError> {
        let name = match &route.listener {
            Some(name) => name.clone(),
            None => self.only_listener.clone()?.to_string(),
        };
        let unknown = || ChangeError::UnknownListener { listener: name.clone() };
        let listener = self
            .documents
            .iter_mut()
            .find_map(|document| document.get_mut("listeners")?.as_table_like_mut()?.get_mut(&name))
            .and_then(Item::as_table_like_mut)
            .ok_or_else(unknown)?;
        let routes =
            listener.entry("routes").or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
        // A list of inline tables is the same thing in another dress.
        if let Item::Value(list) = routes {
            let tables = std::mem::take(list.as_array_mut().ok_or_else(unknown)?);
            let tables = tables.into_iter().filter_map(|entry| match entry {
                toml_edit::Value::InlineTable(table) => Some(table.into_table()),
                _ => None,
            });
            *routes = Item::ArrayOfTables(tables.collect());
        }
        routes.as_array_of_tables_mut().ok_or_else(unknown)
    }
}

/// Whether a route of a file is this one.
fn is_route(route: &Table, wanted: &ClusterRoute, cluster: &str) -> bool {
    const ELSE: [&str; 3] = ["methods", "headers", "query"];
    text(route, "cluster") == Some(cluster)
        && text(route, "host") == wanted.host.as_deref()
        && text(route, "path") == wanted.path.as_deref()
        && !ELSE.iter().any(|name| route.contains_key(name))
}

fn text<'t>(table: &'t Table, name: &str) -> Option<&'t str> {
    table.get(name).and_then(Item::as_str)
}

/// Sets a key; what stands around an old value stays.
fn set(table: &mut dyn TableLike, name: &str, mut item: Item) {
    if let (Some(old), Some(new)) = (table.get(name).and_then(Item::as_value), item.as_value_mut())
    {
        *new.decor_mut() = old.decor().clone();
    }
    table.insert(name, item);
}
