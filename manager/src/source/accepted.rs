//! What somebody has accepted with `--force`: the finding in that line of that file, not the
//! rule. When the line changes, it is found anew.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use bs9_api::types::{SourceFinding, SourceSeverity};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::whole;

/// Findings that are remembered of one service at most; older ones are asked about anew.
const MAX_ACCEPTED: usize = 4_096;

/// See the module.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Accepted {
    fingerprints: BTreeSet<String>,
}

impl Accepted {
    /// What was accepted for a service; nothing, where nothing can be read.
    pub(crate) fn load(state_folder: &Path, service: &str) -> Self {
        whole::recall(&file(state_folder, service)).unwrap_or_default()
    }

    pub(crate) fn save(&self, state_folder: &Path, service: &str) -> io::Result<()> {
        whole::keep(&file(state_folder, service), self)
    }

    /// Forgets everything about a service.
    pub(crate) fn forget(state_folder: &Path, service: &str) -> io::Result<()> {
        whole::forget(&file(state_folder, service))
    }

    pub(crate) fn has(&self, finding: &SourceFinding) -> bool {
        !self.fingerprints.is_empty() && self.fingerprints.contains(&fingerprint(finding))
    }

    /// With what blocks of these.
    pub(crate) fn add(mut self, findings: &[SourceFinding]) -> Self {
        let blocking = findings.iter().filter(|f| f.severity == SourceSeverity::Blocking);
        self.fingerprints.extend(blocking.map(fingerprint));
        while self.fingerprints.len() > MAX_ACCEPTED {
            self.fingerprints.pop_first();
        }
        self
    }
}

fn file(state_folder: &Path, service: &str) -> PathBuf {
    state_folder.join("accepted").join(format!("{service}.json"))
}

/// The rule, the file, and the line as it reads.
fn fingerprint(finding: &SourceFinding) -> String {
    let mut hash = Sha256::new();
    for part in [finding.rule.as_str(), "\0", &finding.file, "\0"] {
        hash.update(part);
    }
    if let Some(line) = finding.line {
        let text = fs::read_to_string(&finding.file).unwrap_or_default();
        hash.update(text.lines().nth(line as usize - 1).unwrap_or_default().trim());
    }
    let digest = hash.finalize();
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
