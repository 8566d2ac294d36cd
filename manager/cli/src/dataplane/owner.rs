//! The one task that may touch the host.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bs9_api::{
    ApiError,
    types::{ChangeOutcome, ConfigError, DataPlaneState, DrainOutcome, SCHEMA},
};
use bs9_config::{Config, Generation, difference, edit::EditError};
use bs9_net::Host;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::{self, JoinHandle},
};

use super::{
    Origin,
    change::{self, Change},
    command::{Command, Durability},
    endpoint_change::Standing,
    engines::Engines,
    fault,
    generation::Generations,
    summary,
    view::ViewCell,
    watch::{self, FileWatch, Watched},
};
use crate::{
    exit::Failure,
    runtime::Stop,
    systemd::{self, Watchdog},
};

/// How the data plane ended.
pub(super) enum Ending {
    /// What was open is finished, or its deadline has passed.
    Drained,
    /// A second signal came first.
    CutOff,
    /// What was to be done once it served could not be done.
    NotReady(Failure),
}

/// Owns the host and the books.
pub(super) struct Owner {
    pub(super) host: Host,
    pub(super) books: Generations,
    origin: Origin,
    view: Arc<ViewCell>,
    engines: Arc<Engines>,
}

impl Owner {
    pub(super) fn new(
        host: Host,
        config: Arc<Config>,
        origin: Origin,
        view: Arc<ViewCell>,
        engines: Arc<Engines>,
    ) -> Self {
        Self { host, books: Generations::new(&config), origin, view, engines }
    }

    /// Carries out orders, signals and changes of the files until it is told to
    /// stop; then drains.
    pub(super) async fn run(
        mut self,
        mut orders: mpsc::Receiver<Command>,
        mut stop: Stop,
        mut files: Option<FileWatch>,
        mut announced: JoinHandle<Result<(), Failure>>,
    ) -> Ending {
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => hangup,
            Err(error) => return Ending::NotReady(Failure::io("cannot take over SIGHUP", error)),
        };
        systemd::ready(&self.one_line());
        let mut watchdog = Watchdog::new();
        let mut announcing = true;
        let mut certificates = FileWatch::start(Watched::Files(self.certificate_files()));
        loop {
            let before = Arc::clone(&self.books.current);
            tokio::select! {
                signal = stop.wait() => {
                    tracing::info!(signal, "draining; a second signal ends at once");
                    break;
                }
                // Not while it drains: systemd has been told that it stops, and waits for that.
                () = watchdog.due() => self.show_life(),
                _ = hangup.recv() => self.reload_and_log("SIGHUP").await,
                () = watch::changed(files.as_mut()) => self.files_changed().await,
                () = certificates.changed() => self.certificates_changed().await,
                Some(order) = orders.recv() => match order {
                    Command::Drain(reply) => {
                        let _nobody_waits = reply.send(Ok(self.drain_outcome()));
                        tracing::info!("draining, as the admin API was asked to");
                        break;
                    }
                    Command::Reload(reply) => {
                        let _nobody_waits = reply.send(self.reload("the admin API").await);
                    }
                    Command::Change { change, durability, reply } => {
                        let _nobody_waits = reply.send(self.change(change, durability).await);
                    }
                },
                result = &mut announced, if announcing => {
                    announcing = false;
                    match result {
                        Ok(Ok(())) => {}
                        Ok(Err(failure)) => {
                            self.drain(&mut orders, &mut stop).await;
                            return Ending::NotReady(failure);
                        }
                        Err(error) => tracing::error!(%error, "a task of the start did not finish"),
                    }
                }
            }
            if !Arc::ptr_eq(&before, &self.books.current) {
                certificates.follow(self.certificate_files());
            }
        }
        announced.abort();
        self.drain(&mut orders, &mut stop).await
    }

    /// Tells the service manager that this loop and every shard's turn.
    fn show_life(&self) {
        let turned = self.host.turn_of_every_shard();
        task::spawn_local(async {
            if turned.await {
                systemd::alive();
            }
        });
    }

    // === reload from files ===

    async fn reload_and_log(&mut self, cause: &str) {
        // The reasons are in the log already.
        let _refused = self.reload(cause).await;
    }

    /// Reads the files again and puts them in force.
    async fn reload(&mut self, cause: &str) -> Result<ChangeOutcome, ApiError> {
        let path = self.files()?;
        systemd::reloading();
        let outcome = match read(path).await {
            Ok(config) => self.take(Arc::new(config)).await,
            Err(errors) => Err(errors),
        };
        let outcome = outcome.map_err(|errors| self.refuse(errors));
        if let Ok(outcome) = &outcome {
            tracing::info!(cause, generation = outcome.generation, changes = ?outcome.changes, "configuration reloaded");
            for warning in &outcome.warnings {
                tracing::warn!(warning, "reloaded only in part");
            }
        }
        self.publish();
        systemd::ready(&self.one_line());
        outcome
    }

    /// The files changed, or look like it: acts only when they mean something else
    /// than before. What bs9 wrote itself is known already.
    async fn files_changed(&mut self) {
        let Origin::Files(path) = &self.origin else { return };
        if !self.books.current.runtime.watch {
            return;
        }
        match read(path.clone()).await {
            Ok(config) if same(&config, &self.books.saved) && !self.failed() => {
                tracing::debug!("the files changed, their meaning did not");
            }
            _ => self.reload_and_log("a changed file").await,
        }
    }

    fn failed(&self) -> bool {
        self.books.status().last_failure.is_some()
    }

    fn files(&self) -> Result<PathBuf, ApiError> {
        match &self.origin {
            Origin::Files(path) => Ok(path.clone()),
            Origin::Flags => Err(no_files()),
        }
    }

    /// Puts what the files say in force.
    async fn take(&mut self, config: Arc<Config>) -> Result<ChangeOutcome, Vec<ConfigError>> {
        let difference = difference(&self.books.current, &config);
        if difference.is_empty() {
            self.books.confirmed(config);
            return Ok(self.outcome(Vec::new(), Vec::new()));
        }
        let summary = self
            .host
            .reload(Arc::clone(&config))
            .await
            .map_err(|error| vec![fault::of_refusal(&error)])?;
        self.books.reloaded(config, summary.generation);
        Ok(self.outcome(summary::lines(&difference, &summary), summary::warnings(&difference)))
    }

    fn refuse(&mut self, errors: Vec<ConfigError>) -> ApiError {
        fault::log(&errors);
        self.books.refused(errors.clone());
        let count = errors.len();
        let said = if count == 1 { "an error".to_owned() } else { format!("{count} errors") };
        ApiError::invalid_config(
            format!("the configuration has {said}; the one in force stays"),
            errors,
        )
    }

    // === changes through the API ===

    async fn change(
        &mut self,
        change: Change,
        durability: Durability,
    ) -> Result<ChangeOutcome, ApiError> {
        let refusal = |error| change::refusal(&error);
        let before = Arc::clone(&self.books.current);
        let change = change.keeping(&before);
        let standing = change.standing();
        let stood = standing.as_ref().and_then(|wanted| self.engines.standing(wanted));
        let next = Arc::new(change.apply(&before).map_err(refusal)?);
        // What the files will hold; also tells whether the change fits them at all.
        let files = match durability {
            Durability::InMemory => None,
            Durability::Persisted => Some((
                self.files()?,
                Arc::new(change.apply(&self.books.saved).map_err(|e| unsaved_refusal(&e))?),
            )),
        };
        let number = self.put_in_force(&next).await?;
        let unsaved = match &files {
            None => Some(change.to_string()),
            Some((path, saved)) => {
                if let Err(error) = write(&change, path).await {
                    self.roll_back(&before).await;
                    self.set_standing(stood.as_ref());
                    return Err(error);
                }
                self.books.wrote(Arc::clone(saved));
                None
            }
        };
        // The configuration may have said so before, and an operator otherwise.
        self.set_standing(standing.as_ref());
        tracing::info!(%change, saved = unsaved.is_none(), generation = %number, "configuration changed");
        self.books.changed(next, number, unsaved);
        self.publish();
        systemd::ready(&self.one_line());
        Ok(self.outcome(vec![change.to_string()], Vec::new()))
    }

    async fn put_in_force(&mut self, next: &Arc<Config>) -> Result<Generation, ApiError> {
        let summary = self.host.reload(Arc::clone(next)).await.map_err(|error| {
            ApiError::invalid_config(
                "the change cannot be carried out",
                vec![fault::of_refusal(&error)],
            )
        })?;
        Ok(summary.generation)
    }

    fn set_standing(&self, standing: Option<&Standing>) {
        if let Some(standing) = standing
            && let Err(error) = self.engines.set_standing(standing)
        {
            tracing::error!(%error, "an endpoint went while it was changed");
        }
    }

    /// Undoes a change that could not be saved.
    async fn roll_back(&mut self, before: &Arc<Config>) {
        match self.host.reload(Arc::clone(before)).await {
            Ok(summary) => self.books.changed(Arc::clone(before), summary.generation, None),
            Err(error) => {
                tracing::error!(%error, "a change that could not be saved could not be undone either")
            }
        }
        self.publish();
    }

    // === the end ===

    /// Finishes what is open. Orders are refused meanwhile; reads go on.
    async fn drain(&mut self, orders: &mut mpsc::Receiver<Command>, stop: &mut Stop) -> Ending {
        let timeout = self.drain_timeout();
        self.set_state(DataPlaneState::Draining);
        let open = self.view.load().open_connections();
        systemd::stopping(&format!("draining {open} connections"));
        tracing::info!(
            open_connections = open,
            timeout_seconds = timeout.as_secs_f64(),
            "draining"
        );
        let drained = self.host.drain(timeout);
        tokio::pin!(drained);
        loop {
            tokio::select! {
                biased;
                () = &mut drained => {
                    tracing::info!("drained");
                    return Ending::Drained;
                }
                signal = stop.wait() => {
                    tracing::warn!(signal, "second signal; what is open is cut off");
                    return Ending::CutOff;
                }
                Some(order) = orders.recv() => order.refuse(),
            }
        }
    }

    fn drain_outcome(&self) -> DrainOutcome {
        DrainOutcome {
            schema: SCHEMA,
            state: DataPlaneState::Draining,
            open_connections: self.view.load().open_connections(),
            timeout_seconds: self.drain_timeout().as_secs_f64(),
        }
    }

    fn drain_timeout(&self) -> Duration {
        self.books.current.runtime.drain_timeout
    }

    // === what is published ===

    fn outcome(&self, changes: Vec<String>, warnings: Vec<String>) -> ChangeOutcome {
        ChangeOutcome { schema: SCHEMA, generation: self.books.number().0, changes, warnings }
    }

    pub(super) fn publish(&self) {
        let next = self.view.load().next(&self.host, &self.books);
        self.view.store(Arc::new(next));
    }

    fn set_state(&self, state: DataPlaneState) {
        let next = self.view.load().in_state(state);
        self.view.store(Arc::new(next));
    }

    /// For `systemctl status`.
    fn one_line(&self) -> String {
        let config = &self.books.current;
        let unsaved = if self.books.has_unsaved() { ", unsaved changes" } else { "" };
        let failed = if self.failed() { ", last reload refused" } else { "" };
        format!(
            "generation {}: {} listeners, {} clusters{unsaved}{failed}",
            self.books.number(),
            config.listeners.len(),
            config.clusters.len()
        )
    }
}

/// Reads the files on a thread that may wait for a disk.
async fn read(path: PathBuf) -> Result<Config, Vec<ConfigError>> {
    match task::spawn_blocking(move || bs9_config::load(&path)).await {
        Ok(result) => result.map_err(|report| fault::of_report(&report)),
        Err(error) => {
            let message = format!("the configuration could not be read: {error}");
            Err(vec![ConfigError {
                file: None,
                line: None,
                column: None,
                key: None,
                message,
                hint: None,
            }])
        }
    }
}

/// Writes a change to the files, on a thread that may wait for a disk and a lock.
async fn write(change: &Change, path: &Path) -> Result<(), ApiError> {
    let (change, path) = (change.clone(), path.to_owned());
    let written = task::spawn_blocking(move || change.write(&path)).await;
    let undone = "; nothing was changed";
    match written {
        Ok(Ok(())) => Ok(()),
        Ok(Err(EditError::Invalid(report))) => Err(ApiError::invalid_config(
            format!("the files are not valid as they are{undone}"),
            fault::of_report(&report),
        )),
        Ok(Err(EditError::Change(error))) => {
            let refusal = unsaved_refusal(&error);
            Err(ApiError { message: format!("{}{undone}", refusal.message), ..refusal })
        }
        Ok(Err(EditError::Write { path, source })) => {
            Err(ApiError::internal(format!("cannot write {}: {source}{undone}", path.display())))
        }
        Err(error) => {
            Err(ApiError::internal(format!("the change could not be saved: {error}{undone}")))
        }
    }
}

/// The change fits what is in force, not what the files hold.
fn unsaved_refusal(error: &bs9_config::ChangeError) -> ApiError {
    let refusal = change::refusal(error);
    ApiError { message: format!("in the files, {}", refusal.message), ..refusal }
}

fn no_files() -> ApiError {
    ApiError::conflict(
        "this data plane was started from flags; there are no files to read or write",
    )
}

/// Whether two configurations mean the same; which files they came from does not count.
fn same(one: &Config, other: &Config) -> bool {
    difference(one, other).is_empty()
}
