//! Which file or folder a process reads its configuration from.

use std::path::PathBuf;

use bs9_config::Process;

use crate::exit::{Exit, Failure};

/// The path that was given, or the first default place where there is one.
///
/// # Errors
/// When there is none.
pub(crate) fn required(given: Option<PathBuf>, process: Process) -> Result<PathBuf, Failure> {
    optional(given, process).ok_or_else(|| {
        let places: Vec<_> = bs9_config::config_candidates(process)
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        Failure::new(Exit::NotFound, "there is no configuration").hint(format!(
            "name one, or put it in one of: {}; `bs9 quickstart` needs none",
            places.join(", ")
        ))
    })
}

/// The same, for a process that can do without.
pub(crate) fn optional(given: Option<PathBuf>, process: Process) -> Option<PathBuf> {
    given.or_else(|| bs9_config::default_config_path(process))
}
