//! Builds: what a compiler made of a service's script, kept apart from the source.
//!
//! Each build has a folder of its own, `builds/SERVICE/NUMBER` in the manager's state, and is
//! never changed again; a unit names the one it runs. So what ran before stays as it was until
//! the new one runs, and can be gone back to.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use bs9_api::types::BuildStatus;
use bs9_config::Service;
use serde::{Deserialize, Serialize};

mod command;
mod compiler;
mod run;

pub(crate) use run::{BuildError, compile};

use crate::whole;

/// Builds that are kept of a service, beside those that run.
const KEPT: usize = 3;

/// A build that is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Build {
    pub(crate) status: BuildStatus,
    /// The file that is run, below the build's folder.
    pub(crate) entry: PathBuf,
}

/// The builds of one service.
#[derive(Debug, Clone)]
pub(crate) struct Builds {
    folder: PathBuf,
}

impl Builds {
    pub(crate) fn of(state_folder: &Path, service: &str) -> Self {
        Self { folder: state_folder.join("builds").join(service) }
    }

    /// Where all of them are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn place(&self, number: u64) -> PathBuf {
        self.folder.join(number.to_string())
    }

    fn current_file(&self) -> PathBuf {
        self.folder.join("current.json")
    }

    /// The one that is run from now on.
    pub(crate) fn current(&self) -> Option<Build> {
        whole::recall(&self.current_file())
    }

    /// The file that is run; before the first build, where that will be.
    pub(crate) fn entry(&self, script: &Path) -> PathBuf {
        match self.current() {
            Some(build) => self.place(build.status.number).join(build.entry),
            None => {
                let stem = script.file_stem().unwrap_or_default().to_string_lossy();
                self.place(1).join(format!("{stem}.js"))
            }
        }
    }

    /// The number of the next one.
    fn next(&self) -> u64 {
        self.numbers().last().map_or(1, |last| last + 1)
    }

    /// In order.
    fn numbers(&self) -> Vec<u64> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().filter_map(Result::ok);
        let mut numbers: Vec<u64> =
            entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Makes a build the one that is run, until the change it is for has failed.
    pub(crate) fn try_out(&self, build: &Build) -> io::Result<Trial> {
        let before = self.current();
        whole::keep(&self.current_file(), build)?;
        Ok(Trial { builds: self.clone(), before, kept: false })
    }

    /// Removes what is neither among the last few nor named in one of these texts.
    pub(crate) fn prune(&self, units: &[String]) {
        let current = self.current().map(|build| build.status.number);
        let numbers = self.numbers();
        let old = numbers.len().saturating_sub(KEPT);
        for number in &numbers[..old] {
            let folder = self.place(*number);
            let named = format!("{}/", folder.display());
            if Some(*number) == current || units.iter().any(|text| text.contains(&named)) {
                continue;
            }
            if let Err(error) = fs::remove_dir_all(&folder) {
                tracing::warn!(folder = %folder.display(), %error, "an old build stays");
            }
        }
    }

    /// Removes all of them.
    pub(crate) fn forget(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// What is run of a service that is compiled; `None` for one that is run as it is.
pub(crate) fn entry(service: &Service, state_folder: &Path) -> Option<PathBuf> {
    service.build?;
    Some(Builds::of(state_folder, &service.name).entry(service.run.script()?))
}

/// Folders that a service which is compiled has to see: its builds, and its packages.
pub(crate) fn needs(service: &Service, state_folder: &Path) -> Vec<PathBuf> {
    let Some(script) = service.build.and(service.run.script()) else { return Vec::new() };
    let builds = Builds::of(state_folder, &service.name).folder;
    std::iter::once(builds).chain(compiler::packages(script)).collect()
}

/// A build that is run for the first time. Unless that is found to have gone well, the one
/// before is the current one again.
#[derive(Debug)]
#[must_use]
pub(crate) struct Trial {
    builds: Builds,
    before: Option<Build>,
    kept: bool,
}

impl Trial {
    /// It runs.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let file = self.builds.current_file();
        let undone = match &self.before {
            Some(before) => whole::keep(&file, before),
            None => whole::forget(&file),
        };
        if let Err(error) = undone {
            tracing::warn!(file = %file.display(), %error, "a build that failed is still current");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(builds: &Builds) -> Build {
        let number = builds.next();
        fs::create_dir_all(builds.place(number)).unwrap();
        let status = BuildStatus { number, ..BuildStatus::default() };
        Build { status, entry: "app.cjs".into() }
    }

    #[test]
    fn a_build_that_fails_is_undone_and_what_runs_is_never_removed() {
        let folder = tempfile::tempdir().unwrap();
        let builds = Builds::of(folder.path(), "app");
        let script = Path::new("/srv/app.ts");
        assert!(builds.entry(script).ends_with("builds/app/1/app.js"));
        drop(builds.try_out(&build(&builds)).unwrap());
        assert_eq!(builds.current(), None);
        builds.try_out(&build(&builds)).unwrap().keep();
        assert!(builds.entry(script).ends_with("builds/app/2/app.cjs"));
        drop(builds.try_out(&build(&builds)).unwrap());
        assert_eq!(builds.current().unwrap().status.number, 2);
        for _ in 0..4 {
            build(&builds);
        }
        builds.prune(&[format!("ExecStart=node {}/1/app.cjs", builds.folder().display())]);
        assert_eq!(builds.numbers(), [1, 2, 5, 6, 7]);
        builds.forget().unwrap();
        builds.forget().unwrap();
        assert!(builds.numbers().is_empty());
    }
}
