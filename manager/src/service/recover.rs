//! Changes that were cut off: noted while they are under way, carried to their end at
//! the next start of the manager.
//!
//! Whoever asked is told nothing any more, and would not know what came of it; so a
//! change ends as it was asked for, or, where that fails, as it was before, just as
//! without the interruption.

use std::{
    convert::Infallible,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::time;

use super::{Claim, Insist, ServiceError, Services, change::Report, ready, wiring};
use crate::{
    systemd::{SystemdError, Verb},
    unit::parse_unit_name,
    whole,
};

/// Between two looks whether what is fronted is what runs, and before systemd is asked
/// again after it could not be.
const AGAIN: Duration = Duration::from_secs(5);
/// The folder of the notes.
const FOLDER: &str = "under_way";
const ENDING: &str = ".json";

/// What a change is to come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Aim {
    /// It is as described.
    Described(Way),
    /// So many instances run.
    Scale(u32),
    /// None runs, and none will at the next boot.
    Stop,
    /// There are no units.
    Remove,
    /// There are neither units nor a description.
    Delete,
}

/// How a service comes to be as described.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Way {
    /// Every instance runs.
    Start,
    /// Every instance was started anew.
    Restart,
    /// The same, one after the other.
    Roll,
    /// The units are written, and stay down.
    Fit,
}

/// A note that a service is being changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    aim: Aim,
    /// The description that it is to have; absent when that stays.
    definition: Option<String>,
    /// The one that it has again when the change fails; absent when it keeps what it has then.
    back: Option<String>,
}

impl Note {
    pub(super) fn of(aim: Aim) -> Self {
        Self { aim, definition: None, back: None }
    }

    /// With another description, and what is put back when that fails.
    pub(super) fn describing(aim: Aim, definition: &str, back: Option<&str>) -> Self {
        Self { aim, definition: Some(definition.to_owned()), back: back.map(str::to_owned) }
    }

    /// With what is put back when it fails.
    pub(super) fn or_back(aim: Aim, back: &str) -> Self {
        Self { aim, definition: None, back: Some(back.to_owned()) }
    }
}

fn file(state_folder: &Path, service: &str) -> PathBuf {
    state_folder.join(FOLDER).join(format!("{service}{ENDING}"))
}

/// Services whose change was cut off.
pub(super) fn cut_off(state_folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(state_folder.join(FOLDER)) else { return Vec::new() };
    let service = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let service = name.strip_suffix(ENDING)?;
        (!service.starts_with('.')).then(|| service.to_owned())
    };
    entries.filter_map(|entry| service(entry.ok()?)).collect()
}

impl Services {
    /// Carries out a change with a note of it for as long as it is under way. The note is
    /// gone when the change is over, however it ended; it stays when the change is cut
    /// off, by whatever end of the manager.
    pub(super) async fn noted<T>(
        &self,
        service: &str,
        note: Note,
        change: impl Future<Output = Result<T, ServiceError>>,
    ) -> Result<T, ServiceError> {
        let file = file(&self.state_folder, service);
        whole::keep(&file, &note)
            .map_err(|source| ServiceError::Write { path: file.clone(), source })?;
        let result = change.await;
        tear_up(&file);
        result
    }

    /// Ends what was cut off, and keeps what is fronted in step with what runs.
    pub(crate) async fn tend(self: Arc<Self>) -> Infallible {
        self.sweep();
        let ended = async {
            join_all(cut_off(&self.state_folder).iter().map(|service| self.end(service))).await;
        };
        let ((), never) = tokio::join!(ended, self.keep_wired());
        never
    }

    /// Removes what was being written when the manager was killed: nothing reads it.
    fn sweep(&self) {
        let units = [bs9_config::ServiceScope::User, bs9_config::ServiceScope::System]
            .into_iter()
            .filter_map(|scope| self.around_offline(scope).unit_folder());
        let folders = units.chain([self.book.folder().to_owned(), self.state_folder.join(FOLDER)]);
        for folder in folders {
            let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
            for path in entries.map(|entry| entry.path()) {
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                if is_leftover(name)
                    && let Err(error) = fs::remove_file(&path)
                {
                    tracing::warn!(path = %path.display(), %error, "half a file stays");
                }
            }
        }
    }

    /// Ends one, as soon as systemd can be asked. It is claimed from the start on.
    async fn end(&self, service: &str) {
        let mut claim = Ok(Claim { services: self, service: service.to_owned() });
        loop {
            let path = file(&self.state_folder, service);
            // Whoever changes it now, or did since, has put another note in its place.
            let Ok(held) = claim else { return };
            let Some(note) = whole::recall::<Note>(&path) else { return tear_up(&path) };
            match self.carry_on(service, &note).await {
                Err(ServiceError::Systemd(error @ SystemdError::Unreachable { .. })) => {
                    tracing::debug!(service, %error, "a change that was cut off has to wait");
                }
                ended => {
                    match ended {
                        Ok(()) => {
                            tracing::info!(service, aim = ?note.aim, "a change that was cut off is done");
                        }
                        Err(error) => tracing::warn!(
                            service, aim = ?note.aim, %error, "a change that was cut off is not done"
                        ),
                    }
                    return tear_up(&path);
                }
            }
            drop(held);
            time::sleep(AGAIN).await;
            claim = self.claim(service);
        }
    }

    /// The whole change again: what is done already is not done a second time, or does no harm.
    async fn carry_on(&self, service: &str, note: &Note) -> Result<(), ServiceError> {
        let result = self.carry_on_now(service, note).await;
        let again = matches!(
            &result,
            Ok(()) | Err(ServiceError::Systemd(SystemdError::Unreachable { .. }))
        );
        if let (false, Some(back)) = (again, &note.back) {
            self.book.write(service, back)?;
            if let Aim::Scale(_) = note.aim {
                self.retire_surplus(service).await?;
            }
        }
        result
    }

    async fn carry_on_now(&self, service: &str, note: &Note) -> Result<(), ServiceError> {
        if let Some(definition) = &note.definition {
            self.book.write(service, definition)?;
        }
        let report = &mut Report::default();
        match note.aim {
            Aim::Scale(instances) => self.book.set_instances(service, instances)?,
            Aim::Described(Way::Roll) => self.bring_up(&self.book.get(service)?, report).await?,
            _ => {}
        }
        match self.bring_to(service, note.aim, Insist::No, report).await {
            Err(ServiceError::Unknown { .. }) if note.aim == Aim::Delete => Ok(()),
            ended => ended,
        }
    }

    /// What a reload stopped runs, and who stood in for it does not.
    async fn bring_up(
        &self,
        service: &bs9_config::Service,
        report: &mut Report,
    ) -> Result<(), ServiceError> {
        let systemd = self.systemd(service.scope);
        let former = self.former_route(&service.name)?;
        let count = self.wanted(service);
        for unit in self.deployed(&service.name)? {
            let state = systemd.state(&unit.unit).await?;
            // A reload stops nothing for good: what is enabled is what is wanted.
            if unit.marker.instance <= count
                && state.is_enabled()
                && !state.is_wanted()
                && let Err(error) =
                    ready::start(systemd, service, unit.marker.instance, Verb::Start).await
            {
                // The reload that follows replaces it.
                tracing::info!(unit = unit.unit, %error, "does not run yet");
            }
        }
        self.wire(service, former.clone(), report).await;
        let surplus = self.surplus(&service.name, count)?;
        self.retire_units(service, &surplus, report).await?;
        self.wire(service, former, report).await;
        Ok(())
    }

    async fn keep_wired(&self) -> Infallible {
        let mut ticks = time::interval(AGAIN);
        ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.rewire().await {
                tracing::debug!(%error, "what is fronted could not be compared");
            }
        }
    }

    /// Clusters of services that a data plane does not have as they should be: one
    /// that has just been started, or was given another configuration.
    async fn rewire(&self) -> Result<(), ServiceError> {
        for service in self.book.names()? {
            if self.is_busy(&service) {
                continue;
            }
            let Ok(Some(described)) = self.book.read(&service) else { continue };
            let Some(cluster) = wiring::cluster_of(&described) else { continue };
            let units = self.deployed(&service)?;
            // What is not applied yet is not fronted yet.
            if units.is_empty()
                || units.iter().any(|unit| unit.marker.cluster.as_ref() != Some(&cluster))
            {
                continue;
            }
            let mut wanted = Vec::new();
            for unit in &units {
                if self.systemd(unit.scope).state(&unit.unit).await?.is_wanted() {
                    wanted.extend(unit.marker.endpoint.clone());
                }
            }
            let present: Vec<String> = match self.wiring.cluster(&cluster).await? {
                Some(found) => found.endpoints.into_iter().map(|e| e.address).collect(),
                None => vec![String::new()],
            };
            let (mut a, mut b) = (wanted.clone(), present);
            a.sort();
            b.sort();
            if a == b || self.is_busy(&service) {
                continue;
            }
            let _claim = self.claim(&service)?;
            match self.wiring.set(&described, wanted, None).await {
                Ok(()) => tracing::info!(service, cluster, "fronted by what runs"),
                Err(error) => tracing::warn!(service, cluster, %error, "not fronted"),
            }
        }
        Ok(())
    }
}

fn tear_up(note: &Path) {
    if let Err(error) = whole::forget(note) {
        tracing::warn!(path = %note.display(), %error, "a note of a change stays");
    }
}

/// Whether a file is one that was not whole yet: of a unit, a note or a description.
fn is_leftover(name: &str) -> bool {
    let Some(inner) = name.strip_prefix('.').and_then(|name| name.strip_suffix(".tmp")) else {
        return false;
    };
    // A description's, and a unit's, have the number of the process that wrote them.
    let numbered = inner.rsplit_once('.').is_some_and(|(file, number)| {
        let known = file.ends_with(".toml") || parse_unit_name(file).is_some();
        known && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    numbered || inner.ends_with(ENDING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_tell_what_was_under_way() {
        let folder = tempfile::tempdir().unwrap();
        assert!(cut_off(folder.path()).is_empty());
        let notes = [
            ("web", Note::of(Aim::Stop)),
            ("a.b", Note::or_back(Aim::Scale(3), "instances = 1")),
            ("new", Note::describing(Aim::Described(Way::Roll), "port = 2", Some("port = 1"))),
        ];
        for (service, note) in &notes {
            whole::keep(&file(folder.path(), service), note).unwrap();
        }
        fs::write(folder.path().join(FOLDER).join(".web.json.tmp"), "{").unwrap();
        let mut found = cut_off(folder.path());
        found.sort();
        assert_eq!(found, ["a.b", "new", "web"]);
        for (service, note) in notes {
            assert_eq!(whole::recall(&file(folder.path(), service)), Some(note));
        }
    }

    #[test]
    fn only_what_was_being_written_is_swept() {
        for name in [".web@1.service.4711.tmp", ".web.toml.4711.tmp", ".web.json.tmp"] {
            assert!(is_leftover(name), "{name}");
        }
        for name in ["web.toml", "web.toml.~1~", ".web.toml.swp", ".web.toml.x1.tmp", ".mine.tmp"] {
            assert!(!is_leftover(name), "{name}");
        }
    }
}
