//! Which configuration is in force, and how it relates to the files.

use std::sync::Arc;

use bs9_api::types::{ConfigError, GenerationStatus, ReloadFailure};
use bs9_config::difference;
use bs9_config::{Config, Generation};
use jiff::Timestamp;

/// The books on configurations.
#[derive(Debug, Clone)]
pub(super) struct Generations {
    /// In force.
    pub(super) current: Arc<Config>,
    /// What the files held when they were last read, or written by bs9 itself.
    pub(super) saved: Arc<Config>,
    number: Generation,
    since: Timestamp,
    unsaved: Vec<String>,
    last_failure: Option<ReloadFailure>,
    /// Configurations put in force since the start, the first one aside.
    applied: u64,
    /// Reloads that were refused.
    refused: u64,
}

impl Generations {
    /// With the first configuration.
    pub(super) fn new(config: &Arc<Config>) -> Self {
        Self {
            current: Arc::clone(config),
            saved: Arc::clone(config),
            number: Generation(1),
            since: Timestamp::now(),
            unsaved: Vec::new(),
            last_failure: None,
            applied: 0,
            refused: 0,
        }
    }

    /// `config` was read from the files and is in force now.
    pub(super) fn reloaded(&mut self, config: Arc<Config>, number: Generation) {
        self.saved = Arc::clone(&config);
        self.unsaved.clear();
        self.last_failure = None;
        self.put_in_force(config, number);
    }

    /// The files hold what is in force anyway.
    pub(super) fn confirmed(&mut self, config: Arc<Config>) {
        self.current = Arc::clone(&config);
        self.saved = config;
        self.unsaved.clear();
        self.last_failure = None;
    }

    /// `config` came about by a change through the API.
    pub(super) fn changed(
        &mut self,
        config: Arc<Config>,
        number: Generation,
        unsaved: Option<String>,
    ) {
        self.unsaved.extend(unsaved);
        if difference(&config, &self.saved).is_empty() {
            // Changes that undid each other, such as an endpoint that stood in for a while.
            self.unsaved.clear();
        }
        self.put_in_force(config, number);
    }

    /// bs9 wrote to the files itself; they hold `config` now.
    pub(super) fn wrote(&mut self, config: Arc<Config>) {
        self.saved = config;
    }

    /// A reload was refused, for these reasons.
    pub(super) fn refused(&mut self, errors: Vec<ConfigError>) {
        self.refused += 1;
        self.last_failure = Some(ReloadFailure { at: Timestamp::now(), errors });
    }

    fn put_in_force(&mut self, config: Arc<Config>, number: Generation) {
        self.current = config;
        self.number = number;
        self.since = Timestamp::now();
        self.applied += 1;
    }

    /// The number in force.
    pub(super) fn number(&self) -> Generation {
        self.number
    }

    /// Configurations put in force since the start, the first one aside.
    pub(super) fn applied(&self) -> u64 {
        self.applied
    }

    /// Reloads that were refused since the start.
    pub(super) fn refusals(&self) -> u64 {
        self.refused
    }

    /// Whether changes would be lost by a reload.
    pub(super) fn has_unsaved(&self) -> bool {
        !self.unsaved.is_empty()
    }

    /// For the admin API.
    pub(super) fn status(&self) -> GenerationStatus {
        GenerationStatus {
            generation: self.number.0,
            since: self.since,
            sources: self.current.sources.iter().map(|path| path.display().to_string()).collect(),
            unsaved_changes: self.unsaved.clone(),
            last_failure: self.last_failure.clone(),
        }
    }
}
