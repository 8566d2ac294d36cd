//! What an installation wrote, so that exactly that is taken away again.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::place::Place;
use crate::exit::{Exit, Failure};

const SCHEMA: u32 = 1;

/// `install.json` in the state folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    schema: u32,
    /// Who wrote it.
    version: String,
    /// Files, and the SHA-256 of what was written into them.
    pub(super) files: BTreeMap<PathBuf, String>,
    /// Folders that were not there before.
    pub(super) folders: Vec<PathBuf>,
    /// Units that were enabled.
    pub(super) units: Vec<String>,
}

impl Record {
    pub(super) fn new() -> Self {
        Self { schema: SCHEMA, version: env!("CARGO_PKG_VERSION").to_owned(), ..Self::default() }
    }

    /// Of an earlier installation, if there was one.
    ///
    /// # Errors
    /// It cannot be read, or is of a later version.
    pub(super) fn read(place: &Place) -> Result<Option<Self>, Failure> {
        let path = place.on_disk(&place.record());
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(Failure::io(format!("cannot read {}", path.display()), error));
            }
        };
        let unreadable = || format!("{} does not say what was installed", path.display());
        let record: Self = serde_json::from_slice(&text)
            .map_err(|error| Failure::new(Exit::Error, unreadable()).because(error))?;
        if record.schema != SCHEMA {
            return Err(Failure::new(Exit::Error, unreadable())
                .hint(format!("bs9 {} wrote it: use that one", record.version)));
        }
        Ok(Some(record))
    }

    /// As it is written.
    pub(super) fn to_text(&self) -> Result<Vec<u8>, Failure> {
        let mut text = serde_json::to_vec_pretty(self).map_err(|error| {
            Failure::new(Exit::Error, "the record cannot be written").because(error)
        })?;
        text.push(b'\n');
        Ok(text)
    }

    /// Notes a file that was written.
    pub(super) fn wrote(&mut self, path: &Path, content: &[u8]) {
        self.files.insert(path.to_owned(), hash(content));
    }

    /// Whether a file still holds what was written into it.
    pub(super) fn is_unchanged(&self, path: &Path, content: &[u8]) -> bool {
        self.files.get(path).is_some_and(|known| *known == hash(content))
    }
}

fn hash(content: &[u8]) -> String {
    use std::fmt::Write as _;

    Sha256::digest(content).iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}
