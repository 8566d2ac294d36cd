//! Changes to `services/NAME.toml`.

use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, value};

use super::{EditError, lock, write};
use crate::load::parse_service;

/// Writes `text` to the service file at `path`, which need not exist yet. The
/// texts before it are kept as in [every edit](super).
///
/// # Errors
///
/// When the text is not valid, or cannot be written. Nothing has changed then.
pub fn write_service(path: &Path, text: &str) -> Result<(), EditError> {
    let failed = |source| EditError::Write { path: path.to_owned(), source };
    parse_service(path, text).map_err(EditError::Invalid)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let _lock = lock(folder).map_err(failed)?;
    if std::fs::read_to_string(path).is_ok_and(|present| present == text) {
        return Ok(());
    }
    write::put(path, text).map_err(failed)
}

/// Sets `instances` of the service file at `path`; comments and layout stay.
///
/// # Errors
///
/// When the file is not valid or cannot be written. Nothing has changed then.
pub fn set_instances(path: &Path, instances: u32) -> Result<(), EditError> {
    let failed = |source| EditError::Write { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(failed)?;
    parse_service(path, &text).map_err(EditError::Invalid)?;
    // It has just been found valid.
    let Ok(mut document) = text.parse::<DocumentMut>() else { return Ok(()) };
    let mut new = value(i64::from(instances));
    if let (Some(old), Some(new)) =
        (document.get("instances").and_then(|item| item.as_value()), new.as_value_mut())
    {
        *new.decor_mut() = old.decor().clone();
    }
    document.insert("instances", new);
    write_service(path, &document.to_string())
}

/// The text `back` generations before the present one, counted from 1.
///
/// # Errors
///
/// When there is none.
pub fn earlier_text(path: &Path, back: u32) -> Result<String, EditError> {
    let file = generation_path(path, back);
    std::fs::read_to_string(&file).map_err(|source| EditError::Write { path: file, source })
}

/// Where an earlier text is kept.
fn generation_path(path: &Path, back: u32) -> PathBuf {
    write::generation(path, back)
}

/// Removes the service file at `path`; its text is kept as the latest generation.
///
/// # Errors
///
/// When it cannot be removed.
pub fn remove_service(path: &Path) -> Result<(), EditError> {
    let failed = |source| EditError::Write { path: path.to_owned(), source };
    let _lock = lock(path).map_err(failed)?;
    write::retire(path).map_err(failed)
}
