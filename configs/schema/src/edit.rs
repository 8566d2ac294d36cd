//! Changes to the files a person edits. Comments and layout stay.
//!
//! Each change reads the configuration, edits the file that holds the cluster,
//! checks the result as a whole, and only then replaces the file: written beside
//! it, synced, renamed over it. The texts before it are kept as `NAME.~1~` (the
//! latest) to `NAME.~5~`. Changes made at the same time by several processes wait
//! for each other.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use toml_edit::{DocumentMut, TableLike};

use crate::{
    change::{ChangeError, unknown_cluster},
    load::read_config,
    model::EndpointAddress,
    report::{Findings, Report},
    source::{self, Source},
};

mod cluster;
mod endpoints;
mod entry;
mod service;
mod write;

pub use cluster::{remove_cluster, set_cluster};
pub use service::{earlier_text, remove_service, set_instances, write_service};
pub use write::put;

/// Why a configuration was not changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The configuration is invalid, or would be.
    #[error("the configuration would not be valid")]
    Invalid(#[source] Report),
    /// The change does not fit what is there.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// A file could not be read or written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Sets an endpoint's weight in the configuration at `path` (a file or folder).
///
/// # Errors
///
/// When there is no such cluster or endpoint, the configuration is not valid, or
/// it cannot be written. Nothing has changed then.
pub fn set_weight(
    path: &Path,
    cluster: &str,
    address: &EndpointAddress,
    weight: u16,
) -> Result<(), EditError> {
    edit(path, cluster, |table, folder| {
        endpoints::set_weight(table, folder, cluster, address, weight)
    })
}

/// Disables an endpoint in the configuration at `path` (a file or folder), or
/// enables it: its key `disabled` is set, or removed.
///
/// # Errors
///
/// When there is no such cluster or endpoint, the configuration is not valid, or
/// it cannot be written. Nothing has changed then.
pub fn set_disabled(
    path: &Path,
    cluster: &str,
    address: &EndpointAddress,
    disabled: bool,
) -> Result<(), EditError> {
    edit(path, cluster, |table, folder| {
        endpoints::set_disabled(table, folder, cluster, address, disabled)
    })
}

/// Adds an endpoint at the end of a cluster in the configuration at `path` (a
/// file or folder).
///
/// # Errors
///
/// When there is no such cluster, it has the endpoint already, the configuration
/// is not valid, or it cannot be written. Nothing has changed then.
pub fn add_endpoint(
    path: &Path,
    cluster: &str,
    address: &EndpointAddress,
    weight: u16,
) -> Result<(), EditError> {
    edit(path, cluster, |table, folder| endpoints::add(table, folder, cluster, address, weight))
}

/// Removes an endpoint from a cluster in the configuration at `path` (a file or
/// folder).
///
/// # Errors
///
/// When there is no such cluster or endpoint, the configuration is not valid, or
/// it cannot be written. Nothing has changed then.
pub fn remove_endpoint(
    path: &Path,
    cluster: &str,
    address: &EndpointAddress,
) -> Result<(), EditError> {
    edit(path, cluster, |table, folder| endpoints::remove(table, folder, cluster, address))
}

fn edit(
    path: &Path,
    cluster: &str,
    change: impl FnOnce(&mut dyn TableLike, &Path) -> Result<(), ChangeError>,
) -> Result<(), EditError> {
    let failed = |source| EditError::Write { path: path.to_owned(), source };
    // A symbolic link stays one: what it points at is replaced.
    let path = fs::canonicalize(path).map_err(failed)?;
    let _lock = lock(&path).map_err(failed)?;
    let mut sources = read_valid(&path)?;
    let (index, mut document) = holder(&sources, cluster)?;
    let folder = sources[index].folder().to_owned();
    let table =
        cluster_table(&mut document, cluster).ok_or_else(|| unknown_cluster(cluster, []))?;
    change(table, &folder)?;

    let file = sources[index].path.clone();
    sources[index] = Source::new(file.clone(), document.to_string());
    validate(&sources, Findings::default())?;
    write::replace(&file, &sources[index].text)
        .map_err(|source| EditError::Write { path: file, source })
}

/// Held until it is dropped. The folder is locked rather than the file, because
/// the file is replaced.
fn lock(path: &Path) -> io::Result<File> {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("/")) };
    let folder = File::open(folder)?;
    folder.lock()?;
    Ok(folder)
}

fn read_valid(path: &Path) -> Result<Vec<Source>, EditError> {
    let mut findings = Findings::default();
    let sources = source::read(path, &mut findings);
    validate(&sources, findings)?;
    Ok(sources)
}

fn validate(sources: &[Source], findings: Findings) -> Result<(), EditError> {
    let checked = read_config(sources, findings);
    match checked.config {
        Some(_) => Ok(()),
        None => Err(EditError::Invalid(checked.report)),
    }
}

/// The file that holds a cluster, ready to be edited.
fn holder(sources: &[Source], cluster: &str) -> Result<(usize, DocumentMut), EditError> {
    let mut names = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        // Every source has just been found valid.
        let Ok(mut document) = source.text.parse::<DocumentMut>() else { continue };
        if cluster_table(&mut document, cluster).is_some() {
            return Ok((index, document));
        }
        if let Some(clusters) = document.get("clusters").and_then(|item| item.as_table_like()) {
            names.extend(clusters.iter().map(|(name, _)| name.to_owned()));
        }
    }
    Err(unknown_cluster(cluster, names.iter().map(String::as_str)).into())
}

fn cluster_table<'d>(
    document: &'d mut DocumentMut,
    cluster: &str,
) -> Option<&'d mut dyn TableLike> {
    document.get_mut("clusters")?.as_table_like_mut()?.get_mut(cluster)?.as_table_like_mut()
}
