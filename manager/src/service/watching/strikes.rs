//! Files that a service writes itself, where it is watched.
//!
//! A service that writes below its own source would be reloaded for that, write again, be
//! reloaded again… Nobody says who wrote a file; but a person does not change the same one
//! right after each reload. So a file that does so time and again is left out, until it has
//! been quiet for a while.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// A change this soon after a reload may be the reloaded service's.
const SOON: Duration = Duration::from_secs(5);
/// So often in a row, and it is.
const STRIKES: u32 = 3;
/// Without a change for so long, a file counts again.
const QUIET: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Strikes {
    reloaded: Option<Instant>,
    files: BTreeMap<PathBuf, Strike>,
}

#[derive(Debug)]
struct Strike {
    count: u32,
    last: Instant,
}

impl Strikes {
    /// The service was reloaded for a change.
    pub(super) fn reloaded(&mut self, now: Instant) {
        self.reloaded = Some(now);
    }

    /// Whether a reload is due to one of these files, which have changed.
    pub(super) fn count(&mut self, changed: &[PathBuf], now: Instant) -> bool {
        self.files.retain(|_, strike| now.duration_since(strike.last) < QUIET);
        let soon = self.reloaded.is_some_and(|at| now.duration_since(at) <= SOON);
        let mut due = false;
        for path in changed {
            let strike = self.files.entry(path.clone()).or_insert(Strike { count: 0, last: now });
            strike.last = now;
            if strike.count < STRIKES {
                strike.count = if soon { strike.count + 1 } else { 0 };
            }
            due |= strike.count < STRIKES;
        }
        due
    }

    /// Files that are left out now.
    pub(super) fn left_out(&self) -> impl Iterator<Item = &Path> {
        let out = self.files.iter().filter(|(_, strike)| strike.count >= STRIKES);
        out.map(|(path, _)| path.as_path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_writes_its_own_folder_is_not_reloaded_for_ever() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let data = [PathBuf::from("data.json")];
        let both = [PathBuf::from("data.json"), PathBuf::from("main.py")];
        let mut strikes = Strikes::default();
        assert!(strikes.count(&data, at(0)));
        for second in [1, 3] {
            strikes.reloaded(at(second));
            assert!(strikes.count(&data, at(second + 1)), "{second}");
        }
        strikes.reloaded(at(5));
        assert!(!strikes.count(&data, at(6)));
        assert_eq!(strikes.left_out().count(), 1);
        // A person's file brings about a reload all the same.
        assert!(strikes.count(&both, at(7)));
        // However late it comes, as long as it does not stop.
        assert!(!strikes.count(&data, at(60)));
        assert!(!strikes.count(&data, at(110)));
        assert!(strikes.count(&data, at(200)));
        assert_eq!(strikes.left_out().count(), 0);
    }

    #[test]
    fn a_person_may_save_the_same_file_again_and_again() {
        let start = Instant::now();
        let mut strikes = Strikes::default();
        let file = [PathBuf::from("main.py")];
        for round in 0..20 {
            let now = start + Duration::from_secs(round * 8);
            assert!(strikes.count(&file, now), "{round}");
            strikes.reloaded(now + Duration::from_secs(1));
        }
    }
}
