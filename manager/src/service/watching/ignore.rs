//! What is not looked at while watching a service's source.

use std::path::{Path, PathBuf};

use bs9_config::Service;

use crate::pattern::fits;

/// Names that never are source: what editors, version control and runtimes leave behind.
const ALWAYS: [&str; 10] = [
    ".*",
    "node_modules",
    "__pycache__",
    "*.log",
    "*.tmp",
    "*.swp",
    "*.pyc",
    "*.pid",
    "*~",
    "4913",
];

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ignore {
    patterns: Vec<String>,
    /// What the service may write is its own business.
    folders: Vec<PathBuf>,
}

impl Ignore {
    /// `state_folder` is the manager's.
    pub(super) fn of(service: &Service, state_folder: &Path) -> Self {
        let own = service.watch.as_ref().map(|watch| watch.ignore.clone()).unwrap_or_default();
        let mut folders = service.hardening.writable.clone();
        folders.push(state_folder.to_owned());
        Self { patterns: own, folders }
    }

    /// Whether to look past `path`, which stands at `below` in what is watched.
    pub(super) fn has(&self, path: &Path, below: &Path) -> bool {
        if self.folders.iter().any(|folder| path.starts_with(folder)) {
            return true;
        }
        let whole = below.to_string_lossy();
        let mut names = below.iter().map(|name| name.to_string_lossy());
        names.any(|name| {
            ALWAYS.iter().any(|pattern| fits(pattern, &name))
                || self.patterns.iter().any(|pattern| fits(pattern, &name))
        }) || self.patterns.iter().any(|pattern| {
            let folder = pattern.trim_end_matches('/');
            fits(pattern, &whole) || whole.strip_prefix(folder).is_some_and(|r| r.starts_with('/'))
        })
    }
}

#[cfg(test)]
mod tests {
    use bs9_config::parse_service;

    use super::*;

    #[test]
    fn what_is_no_source_is_not_looked_at() {
        let text = "command = [\"x\"]\nhardening.writable = [\"/srv/app/data\"]\n\
                    [watch]\nignore = [\"*.md\", \"tests/fixtures\"]";
        let service = parse_service(Path::new("/srv/app/app.toml"), text).unwrap();
        let ignore = Ignore::of(&service, Path::new("/state"));
        let has = |below: &str| ignore.has(&Path::new("/srv/app").join(below), Path::new(below));
        for below in [
            "README.md",
            "docs/a.md",
            ".git/HEAD",
            "node_modules/x/a.js",
            "a.log",
            "src/a.py~",
            "data/db",
            "tests/fixtures/a",
            "src/__pycache__/a.pyc",
        ] {
            assert!(has(below), "{below}");
        }
        for below in ["src/a.py", "tests/a.py", "main.js", "datafile"] {
            assert!(!has(below), "{below}");
        }
    }
}
