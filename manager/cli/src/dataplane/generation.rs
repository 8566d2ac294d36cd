//! Which configuration is in force, and how it relates to the files.

use std::{path::Path, sync::Arc};

use bs9_api::types::{ConfigError, GenerationStatus, ReloadFailure, StaleCertificate};
use bs9_config::{Config, Generation, StaleFile, difference};
use jiff::Timestamp;

/// How often changed files of certificates were taken up, or could not be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Renewals {
    pub(super) applied: u64,
    pub(super) refused: u64,
}

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
    /// Files of certificates that cannot be used any more.
    stale: Vec<StaleCertificate>,
    renewals: Renewals,
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
            stale: Vec::new(),
            renewals: Renewals::default(),
            applied: 0,
            refused: 0,
        }
    }

    /// `config` was read from the files and is in force now.
    pub(super) fn reloaded(&mut self, config: Arc<Config>, number: Generation) {
        self.saved = Arc::clone(&config);
        self.unsaved.clear();
        self.last_failure = None;
        self.stale.clear();
        self.put_in_force(config, number);
    }

    /// The files hold what is in force anyway.
    pub(super) fn confirmed(&mut self, config: Arc<Config>) {
        self.current = Arc::clone(&config);
        self.saved = config;
        self.unsaved.clear();
        self.last_failure = None;
        self.stale.clear();
    }

    /// Certificates were renewed, as `current` and `saved` have them; `number` is theirs.
    pub(super) fn renewed(&mut self, current: Arc<Config>, saved: Arc<Config>, number: Generation) {
        self.renewals.applied += 1;
        self.saved = saved;
        self.current = current;
        self.number = number;
        self.since = Timestamp::now();
    }

    /// These files cannot be used, and no others. Gives those of which that is news.
    pub(super) fn stale(&mut self, files: Vec<StaleFile>) -> Vec<StaleFile> {
        let is_known = |file: &StaleFile, known: &StaleCertificate| {
            known.key == file.key
                && Path::new(&known.file) == file.path
                && known.reason == file.message
        };
        let (mut stale, mut news) = (Vec::new(), Vec::new());
        for file in files {
            match self.stale.iter().find(|known| is_known(&file, known)) {
                Some(known) => stale.push(known.clone()),
                None => {
                    stale.push(StaleCertificate {
                        key: file.key.clone(),
                        file: file.path.display().to_string(),
                        reason: file.message.clone(),
                        since: Timestamp::now(),
                    });
                    news.push(file);
                }
            }
        }
        self.renewals.refused += u64::from(!news.is_empty());
        self.stale = stale;
        news
    }

    /// How often certificates were renewed by themselves.
    pub(super) fn renewals(&self) -> Renewals {
        self.renewals
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
            stale_certificates: self.stale.clone(),
        }
    }
}
