//! Certificates whose files changed are taken up, each by itself.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use bs9_config::{Config, Renewal, StaleFile};
use tokio::task;

use super::{fault, owner::Owner};

/// What is in force and what the files hold, both with renewed certificates.
struct Renewed {
    current: Renewal,
    saved: Config,
}

impl Owner {
    /// The files of certificates that are to be watched now.
    pub(super) fn certificate_files(&self) -> BTreeSet<PathBuf> {
        let config = &self.books.current;
        if config.runtime.watch { config.certificate_files() } else { BTreeSet::new() }
    }

    /// Files of certificates changed, or look like it. What can be used is used from now on;
    /// connections that are open go on. What cannot is said, and what was there before stays.
    pub(super) async fn certificates_changed(&mut self) {
        let (current, saved) = (Arc::clone(&self.books.current), Arc::clone(&self.books.saved));
        let read = move || Renewed { current: current.renewed(), saved: saved.renewed().config };
        let Renewed { current, saved } = match task::spawn_blocking(read).await {
            Ok(renewed) => renewed,
            Err(error) => {
                return tracing::error!(%error, "the files of certificates could not be read");
            }
        };
        let Renewal { config, renewed, mut stale } = current;
        if !renewed.is_empty() {
            stale.extend(self.take_up(config, saved, &renewed).await);
        }
        for StaleFile { key, path, message, hint } in self.books.stale(stale) {
            tracing::error!(
                key, file = %path.display(), reason = message, hint,
                "a file of a certificate cannot be used; what it held before stays in force"
            );
        }
        self.publish();
    }

    /// Gives what cannot be used after all.
    async fn take_up(
        &mut self,
        config: Config,
        saved: Config,
        renewed: &BTreeSet<PathBuf>,
    ) -> Vec<StaleFile> {
        let (config, saved) = (Arc::new(config), Arc::new(saved));
        match self.host.reload(Arc::clone(&config)).await {
            Ok(summary) => {
                let number = summary.generation;
                self.books.renewed(config, saved, number);
                for file in renewed {
                    let file = file.display();
                    tracing::info!(%file, generation = %number, "a certificate's file was taken up");
                }
                Vec::new()
            }
            Err(error) => {
                let error = fault::of_refusal(&error);
                let file = |path: &Path| StaleFile {
                    key: error.key.clone().unwrap_or_default(),
                    path: path.to_owned(),
                    message: error.message.clone(),
                    hint: error.hint.clone(),
                };
                renewed.iter().map(|path| file(path)).collect()
            }
        }
    }
}
