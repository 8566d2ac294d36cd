//! A change of a service's source is brought in, as `bs9 reload` does it.
//!
//! The kernel's notices (inotify) only say when to look; what decides is how the files look
//! beside how they looked when the service was last started or reloaded, which is kept on
//! disk. So a change that is made while the manager is dead is brought in when it is back, and
//! a notice that was lost is no harm. systemd's path units do neither: they do not look into
//! folders below, know nothing to ignore, trigger at once, forget what happened while they were
//! stopped, and what they trigger would have to ask the manager for a rolling reload anyway.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bs9_api::types::{ReloadService, WatchStatus};
use bs9_config::{Service, SourceWatch};
use futures_util::future::join_all;
use jiff::Timestamp;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::{sync::Notify, time};

use super::{ServiceError, Services};
use crate::whole;

mod ignore;
mod strikes;
mod tree;

use ignore::Ignore;
use strikes::Strikes;
use tree::Tree;

/// Which services are watched is looked at so often.
const ROUND: Duration = Duration::from_secs(2);
/// What cannot be watched is looked at so often; and everything, for a notice that got lost.
const LOOK: Duration = Duration::from_secs(30);
/// The same where the kernel tells of nothing.
const LOOK_WITHOUT_NOTICES: Duration = Duration::from_secs(2);
/// A change is looked at after so many times `debounce`, quiet or not.
const PATIENCE: u32 = 10;
/// Files that are named in a message.
const NAMED: usize = 3;

/// What is watched, as the rest of the manager sees it.
#[derive(Debug, Default)]
pub(super) struct Watching {
    told: Mutex<BTreeMap<String, WatchStatus>>,
}

impl Watching {
    fn tell(&self, service: &str, change: impl FnOnce(&mut WatchStatus)) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        change(told.entry(service.to_owned()).or_default());
    }

    fn forget(&self, service: &str) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).remove(service);
    }

    /// How the watching of a service is going.
    pub(super) fn status(&self, service: &Service) -> Option<WatchStatus> {
        service.watch.as_ref()?;
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let mut status = told.get(&*service.name).cloned().unwrap_or_default();
        status.paths = roots(service).iter().map(|path| path.display().to_string()).collect();
        Some(status)
    }
}

impl Services {
    /// Remembers how what is watched looks, before a service is started with it.
    pub(super) async fn remember_source(&self, service: &Service) -> Result<(), ServiceError> {
        let file = remembered(&self.state_folder, &service.name);
        if service.watch.is_none() {
            let forgotten = self.forget_watch(&service.name);
            return forgotten.map_err(|source| ServiceError::Write { path: file, source });
        }
        let (roots, ignore) = (roots(service), Ignore::of(service, &self.state_folder));
        let path = file.clone();
        let kept = tokio::task::spawn_blocking(move || {
            let tree = Tree::look(&roots, &ignore, &whole::recall(&file).unwrap_or_default());
            whole::keep(&file, &tree)
        });
        let kept = kept.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        kept.map_err(|source| ServiceError::Write { path, source })
    }

    /// Forgets how the source of a service looked.
    pub(super) fn forget_watch(&self, service: &str) -> io::Result<()> {
        self.watching.forget(service);
        whole::forget(&remembered(&self.state_folder, service))
    }

    /// Watches every service that wants it, for as long as it is let.
    pub(crate) async fn watch_sources(self: Arc<Self>) -> Infallible {
        let mut watched: BTreeMap<String, Watched> = BTreeMap::new();
        let noticed = Arc::new(Notify::new());
        loop {
            if let Err(error) = self.follow(&mut watched, &noticed) {
                tracing::debug!(%error, "which services are watched cannot be read");
            }
            let due = watched.iter_mut().filter(|(_, watch)| watch.is_due());
            join_all(due.map(|(name, watch)| self.bring_in(name, watch))).await;
            let next = watched.values().filter_map(Watched::due_in).min().unwrap_or(ROUND);
            let _either = time::timeout(next.min(ROUND), noticed.notified()).await;
        }
    }

    /// Brings what is watched in line with what the files of services say.
    fn follow(
        &self,
        watched: &mut BTreeMap<String, Watched>,
        noticed: &Arc<Notify>,
    ) -> Result<(), ServiceError> {
        let mut wanted = BTreeSet::new();
        for name in self.book.names()? {
            let Ok(Some(service)) = self.book.read(&name) else { continue };
            let Some(watch) = &service.watch else { continue };
            let plan = Plan {
                roots: roots(&service),
                ignore: Ignore::of(&service, &self.state_folder),
                watch: watch.clone(),
            };
            if watched.get(&name).is_none_or(|present| present.plan != plan) {
                let started = Watched::start(plan, noticed);
                self.watching.tell(&name, |status| {
                    status.by_notices = started.watcher.is_some();
                });
                watched.insert(name.clone(), started);
            }
            wanted.insert(name);
        }
        watched.retain(|name, _| wanted.contains(name));
        Ok(())
    }

    /// Looks whether something changed, and reloads the service for it.
    async fn bring_in(&self, name: &str, watch: &mut Watched) {
        watch.looked();
        let file = remembered(&self.state_folder, name);
        let plan = watch.plan.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let before: Tree = whole::recall(&file)?;
            let now = Tree::look(&plan.roots, &plan.ignore, &before);
            Some((now.changed_since(&before), now.cut_off))
        });
        // Never started with a watch: there is nothing to compare with.
        let Ok(Some((changed, cut_off))) = looked.await else { return };
        if cut_off {
            tracing::warn!(service = name, "more files than are looked at; ignore some of them");
        }
        if changed.is_empty() {
            return;
        }
        if !self.any_running(name).await.unwrap_or(false) {
            // It takes in what changed whenever it is started.
            return;
        }
        let due = watch.strikes.count(&changed, Instant::now());
        let left_out: Vec<String> =
            watch.strikes.left_out().map(|path| path.display().to_string()).collect();
        if !due {
            self.watching.tell(name, |status| {
                if status.left_out != left_out {
                    tracing::warn!(
                        service = name, files = ?left_out,
                        "changed right after each reload, so the service seems to write them; they \
                         are left out of watching. Put them in watch.ignore"
                    );
                }
                status.left_out = left_out;
            });
            return;
        }
        let why = named(&changed);
        tracing::info!(service = name, changed = why, "its source changed; it is reloaded");
        let result = self.reload(name, ReloadService { back: 0 }).await;
        if let Err(ServiceError::Busy { .. }) = &result {
            watch.again();
            return;
        }
        watch.strikes.reloaded(Instant::now());
        let error = result.err().map(|error| error.to_string());
        if let Some(error) = &error {
            tracing::warn!(service = name, error, "the change was not brought in");
            self.remember_attempt(name).await;
        }
        self.watching.tell(name, |status| {
            status.reloads_total += 1;
            status.last_at = Some(Timestamp::now());
            status.last_change = Some(why);
            status.last_error = error;
            status.left_out = left_out;
        });
    }

    /// What could not be brought in is not tried again until it changes again.
    async fn remember_attempt(&self, name: &str) {
        if let Ok(Some(service)) = self.book.read(name)
            && let Err(error) = self.remember_source(&service).await
        {
            tracing::warn!(service = name, %error, "how its source looks is not remembered");
        }
    }
}

/// What is watched of a service, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Plan {
    roots: Vec<PathBuf>,
    ignore: Ignore,
    watch: SourceWatch,
}

/// A service that is watched.
struct Watched {
    plan: Plan,
    /// `None`: the kernel tells of nothing.
    watcher: Option<RecommendedWatcher>,
    /// The first and the last notice that was not looked at yet.
    notices: Arc<Mutex<Option<(Instant, Instant)>>>,
    last_look: Option<Instant>,
    strikes: Strikes,
}

impl Watched {
    fn start(plan: Plan, noticed: &Arc<Notify>) -> Self {
        let notices = Arc::new(Mutex::new(None));
        let watcher = watcher(&plan, Arc::clone(&notices), Arc::clone(noticed));
        let watcher = watcher
            .inspect_err(|error| {
                tracing::warn!(
                    %error,
                    "the source of a service cannot be watched; it is looked at every two seconds"
                );
            })
            .ok();
        Self { plan, watcher, notices, last_look: None, strikes: Strikes::default() }
    }

    fn notices(&self) -> Option<(Instant, Instant)> {
        *self.notices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long until it has to be looked at; `None` while nothing happened.
    fn due_in(&self) -> Option<Duration> {
        let (first, last) = self.notices()?;
        let debounce = self.plan.watch.debounce;
        let quiet = (last + debounce).min(first + debounce * PATIENCE);
        Some(quiet.saturating_duration_since(Instant::now()))
    }

    fn is_due(&self) -> bool {
        let every = if self.watcher.is_some() { LOOK } else { LOOK_WITHOUT_NOTICES };
        self.due_in() == Some(Duration::ZERO)
            || self.notices().is_none() && self.last_look.is_none_or(|at| at.elapsed() >= every)
    }

    fn looked(&mut self) {
        *self.notices.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.last_look = Some(Instant::now());
    }

    /// As if something had just changed.
    fn again(&mut self) {
        let now = Instant::now();
        *self.notices.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, now));
    }
}

fn watcher(
    plan: &Plan,
    notices: Arc<Mutex<Option<(Instant, Instant)>>>,
    noticed: Arc<Notify>,
) -> notify::Result<RecommendedWatcher> {
    let (roots, ignore) = (plan.roots.clone(), plan.ignore.clone());
    let matters = move |path: &Path| {
        let root = roots.iter().find(|root| path.starts_with(root));
        let below = root.and_then(|root| path.strip_prefix(root).ok()).unwrap_or(path);
        below.as_os_str().is_empty() || !ignore.has(path, below)
    };
    let mut watcher =
        notify::recommended_watcher(move |event: notify::Result<notify::Event>| match event {
            // Reading the files is an event too.
            Ok(event) if event.kind.is_access() => {}
            Ok(event) if !event.paths.is_empty() && !event.paths.iter().any(|p| matters(p)) => {}
            // An error is a reason to look as well.
            Ok(_) | Err(_) => {
                let now = Instant::now();
                let mut notices = notices.lock().unwrap_or_else(PoisonError::into_inner);
                *notices = Some((notices.map_or(now, |(first, _)| first), now));
                noticed.notify_one();
            }
        })?;
    for root in &plan.roots {
        // Of a file the folder: editors put a new file in the place of the old one.
        match root.is_dir() {
            true => watcher.watch(root, RecursiveMode::Recursive)?,
            false => watcher
                .watch(root.parent().unwrap_or(Path::new("/")), RecursiveMode::NonRecursive)?,
        }
    }
    Ok(watcher)
}

/// What is watched: as described, else the working folder.
fn roots(service: &Service) -> Vec<PathBuf> {
    match &service.watch {
        Some(watch) if !watch.paths.is_empty() => watch.paths.clone(),
        _ => vec![service.working_folder.clone()],
    }
}

fn remembered(state_folder: &Path, service: &str) -> PathBuf {
    state_folder.join("watched").join(format!("{service}.json"))
}

/// A few of many files, for people.
fn named(changed: &[PathBuf]) -> String {
    let names = changed.iter().take(NAMED).map(|path| path.display().to_string());
    let mut text = names.collect::<Vec<_>>().join(", ");
    if changed.len() > NAMED {
        text.push_str(&format!(" and {} more", changed.len() - NAMED));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_few_files_stand_for_many() {
        let paths: Vec<PathBuf> = ["a", "b", "c", "d", "e"].iter().map(PathBuf::from).collect();
        assert_eq!(named(&paths[..1]), "a");
        assert_eq!(named(&paths), "a, b, c and 2 more");
    }

    #[tokio::test]
    async fn notices_say_when_to_look_and_what_is_ignored_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let text = "command = [\"x\"]\n[watch]\nignore = [\"*.md\"]\ndebounce = \"10ms\"";
        let service = bs9_config::parse_service(&folder.path().join("a.toml"), text).unwrap();
        let plan = Plan {
            roots: roots(&service),
            ignore: Ignore::of(&service, Path::new("/state")),
            watch: service.watch.clone().unwrap(),
        };
        let noticed = Arc::new(Notify::new());
        let mut watch = Watched::start(plan, &noticed);
        assert!(watch.is_due(), "it is looked at once, for what happened before");
        watch.looked();
        assert!(!watch.is_due());
        fs::write(folder.path().join("README.md"), "x").unwrap();
        fs::create_dir(folder.path().join("lib")).unwrap();
        time::timeout(Duration::from_secs(20), noticed.notified()).await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while !watch.is_due() {
            assert!(Instant::now() < deadline);
            time::sleep(watch.due_in().unwrap_or_default()).await;
        }
    }
}
