//! `bs9 save` and `bs9 resurrect`: which services there are and which of them run,
//! kept in a file of its own, so that they come back where everything else is gone.

use std::{collections::BTreeMap, fs, io, path::PathBuf};

use bs9_api::types::{ResurrectServices, SCHEMA, SaveServices, SavedService, SavedServices};
use bs9_config::edit;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Insist, ServiceError, Services,
    change::Report,
    recover::{Aim, Note, Way},
};

/// The file. Its earlier texts are kept beside it.
const FILE: &str = "saved.json";

/// What is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    schema: u32,
    saved_at: Timestamp,
    services: BTreeMap<String, Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    /// The text of `services/NAME.toml`.
    definition: String,
    running: bool,
}

impl Services {
    /// Remembers services. Those that were saved before and are not asked about stay
    /// saved; a list is never replaced by an empty one.
    pub(crate) async fn save(&self, asked: &SaveServices) -> Result<SavedServices, ServiceError> {
        let names = match asked.services.is_empty() {
            true => self.book.names()?,
            false => asked.services.clone(),
        };
        let mut entries = BTreeMap::new();
        for name in names {
            let definition = self.book.text(&name)?.ok_or_else(|| self.book.unknown(&name))?;
            let running = self.any_running(&name).await?;
            entries.insert(name, Entry { definition, running });
        }
        if entries.is_empty() {
            return Err(ServiceError::Refused(
                "there is no service to save; what was saved before stays".to_owned(),
            ));
        }
        let mut saved = Saved { schema: SCHEMA, saved_at: Timestamp::now(), services: entries };
        if !asked.services.is_empty()
            && let Some(before) = self.read_saved()?
        {
            for (name, entry) in before.services {
                saved.services.entry(name).or_insert(entry);
            }
        }
        self.write_saved(&saved)?;
        let services = saved.services.iter().map(|(name, entry)| SavedService {
            service: name.clone(),
            running: entry.running,
            steps: Vec::new(),
            error: None,
        });
        Ok(SavedServices { schema: SCHEMA, saved_at: saved.saved_at, services: services.collect() })
    }

    /// Brings back what was saved: a description where there is none, and running
    /// what ran. What is described now wins over what was.
    pub(crate) async fn resurrect(
        &self,
        asked: &ResurrectServices,
    ) -> Result<SavedServices, ServiceError> {
        let mut saved = self.read_saved()?.ok_or_else(|| {
            ServiceError::Refused("nothing was saved; `bs9 save` does that".to_owned())
        })?;
        if let Some(name) = asked.services.iter().find(|name| !saved.services.contains_key(*name)) {
            return Err(ServiceError::Refused(format!("`{name}` was not saved")));
        }
        if !asked.services.is_empty() {
            saved.services.retain(|name, _| asked.services.contains(name));
        }
        let mut services = Vec::new();
        for (name, entry) in saved.services {
            let mut report = Report::default();
            let result = self.bring_back(&name, &entry, &mut report).await;
            services.push(SavedService {
                service: name,
                running: entry.running,
                steps: report.steps,
                error: result.err().map(|error| error.to_string()),
            });
        }
        Ok(SavedServices { schema: SCHEMA, saved_at: saved.saved_at, services })
    }

    async fn bring_back(
        &self,
        name: &str,
        entry: &Entry,
        report: &mut Report,
    ) -> Result<(), ServiceError> {
        let _claim = self.claim(name)?;
        if self.book.text(name)?.is_none() {
            self.book.write(name, &entry.definition)?;
            report.step(format!("wrote {}", self.book.path(name).display()));
        }
        match entry.running {
            true => {
                let aim = Aim::Described(Way::Start);
                let change = self.bring_to(name, aim, Insist::No, report);
                self.noted(name, Note::of(aim), change).await
            }
            false => Ok(()),
        }
    }

    fn saved_file(&self) -> PathBuf {
        self.state_folder.join(FILE)
    }

    fn read_saved(&self) -> Result<Option<Saved>, ServiceError> {
        let path = self.saved_file();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ServiceError::Read { path, source }),
        };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| ServiceError::Read { path, source: io::Error::other(error) })
    }

    fn write_saved(&self, saved: &Saved) -> Result<(), ServiceError> {
        let path = self.saved_file();
        let failed = |source| ServiceError::Write { path: path.clone(), source };
        let text =
            serde_json::to_string_pretty(saved).map_err(|error| failed(io::Error::other(error)))?;
        fs::create_dir_all(&self.state_folder).map_err(failed)?;
        edit::put(&path, &text).map_err(failed)
    }
}
