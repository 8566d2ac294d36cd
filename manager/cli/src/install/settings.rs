//! What the configurations say that units depend on.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use bs9_config::{Admin, Config, LogOutput, ManagerConfig};

use super::place::{Place, Scope};
use crate::exit::Failure;

/// What the data plane starts with when there is no configuration yet.
const BEGINNING: &str = "\
# The data plane's configuration. Saving it is enough: what is valid is put in force at
# once, what is not changes nothing, and `bs9 status` says why. `bs9 check FILE` checks it.
# After a change of addresses, `bs9 install` has systemd listen on the new ones.

[listeners.web]
bind = [\"127.0.0.1:8080\"]
protocol = \"http\"

[[listeners.web.routes]]
respond = { status = 200, body = \"bs9 works\\n\" }

# What is at work behind it:
#
# [[listeners.web.routes]]
# path = \"/api/\"
# cluster = \"api\"
#
# [clusters.api]
# endpoints = [\"127.0.0.1:3001\", \"127.0.0.1:3002\"]
# health_check = { path = \"/healthz\" }
";
const MANAGER_BEGINNING: &str = "\
# The manager's configuration; every setting is at its default. It is read when the
# manager starts.
";

/// A configuration and where it stands.
#[derive(Debug)]
pub(super) struct Settings {
    /// As `bs9 serve --config` takes it.
    pub(super) path: PathBuf,
    pub(super) config: Config,
    /// As `bs9 manager --config` takes it.
    pub(super) manager_path: PathBuf,
    pub(super) manager: ManagerConfig,
    /// Files to begin with, where there were none.
    pub(super) beginnings: Vec<(PathBuf, &'static str)>,
}

impl Settings {
    /// Reads both, or makes those to begin with.
    ///
    /// # Errors
    /// A configuration is not valid, or cannot be read.
    pub(super) fn read(place: &Place, given: Option<PathBuf>) -> Result<Self, Failure> {
        let mut beginnings = Vec::new();
        let given = given
            .map(std::path::absolute)
            .transpose()
            .map_err(|error| Failure::io("cannot find the current folder", error))?;
        let folder = place.configuration();
        let path = given.clone().unwrap_or_else(|| first(place, "bs9"));
        let config = match exists(&place.on_disk(&path))? {
            true => bs9_config::load(&place.on_disk(&path)).map_err(Failure::report)?,
            false if given.is_some() => {
                let what = format!("there is no configuration {}", path.display());
                return Err(Failure::io(what, io::ErrorKind::NotFound.into()));
            }
            false => {
                let file = match path.extension().is_some_and(|extension| extension == "d") {
                    true => path.join("main.toml"),
                    false => path.clone(),
                };
                beginnings.push((file, BEGINNING));
                bs9_config::parse_str("bs9.toml", BEGINNING).map_err(Failure::report)?
            }
        };
        let manager_path = match exists(&place.on_disk(&folder.join("manager.d")))? {
            true => folder.join("manager.d"),
            false => folder.join("manager.toml"),
        };
        let manager = match exists(&place.on_disk(&manager_path))? {
            true => {
                bs9_config::load_manager(&place.on_disk(&manager_path)).map_err(Failure::report)?
            }
            false => {
                beginnings.push((manager_path.clone(), MANAGER_BEGINNING));
                bs9_config::parse_manager_str("manager.toml", MANAGER_BEGINNING)
                    .map_err(Failure::report)?
            }
        };
        Ok(Self { path, config, manager_path, manager, beginnings })
    }

    /// The folder in which `--persist` puts files in place of others.
    pub(super) fn folder(&self) -> &Path {
        match self.path.extension().is_some_and(|extension| extension == "toml") {
            true => self.path.parent().unwrap_or(&self.path),
            false => &self.path,
        }
    }

    /// Whether that folder holds nothing but the data plane's business, so that its account may
    /// write there.
    pub(super) fn has_own_folder(&self, place: &Place) -> bool {
        let (folder, all) = (self.folder(), place.configuration());
        folder != all && folder.starts_with(all)
    }

    /// Folders of access logs.
    pub(super) fn log_folders(&self) -> BTreeSet<&Path> {
        let outputs = self.config.listeners.values().filter_map(|listener| {
            match &listener.access_log.as_ref()?.output {
                LogOutput::File { path, .. } => path.parent(),
                LogOutput::Stdout | LogOutput::Journald => None,
            }
        });
        outputs.collect()
    }

    /// The data plane's admin socket, as a unit takes it.
    pub(super) fn admin_socket(&self, place: &Place) -> String {
        socket(&self.config.admin, place, "dataplane.sock")
    }

    /// Where services are described.
    pub(super) fn services_folder(&self, place: &Place) -> PathBuf {
        let given = self.manager.services.folder.clone();
        given.unwrap_or_else(|| place.configuration().join("services"))
    }

    /// What the manager keeps.
    pub(super) fn state_folder(&self, place: &Place) -> PathBuf {
        self.manager.state_folder.clone().unwrap_or_else(|| place.state().to_owned())
    }

    /// The manager's.
    pub(super) fn manager_socket(&self, place: &Place) -> String {
        socket(&self.manager.admin, place, "manager.sock")
    }
}

fn socket(admin: &Admin, place: &Place, name: &str) -> String {
    match &admin.socket {
        Some(path) => super::unit::literal(path),
        None => place.admin_socket(name),
    }
}

/// The configuration that is there, else the one to be. The machine's is a folder: it
/// belongs to the data plane's account, while what the manager reads, which is root,
/// must not.
fn first(place: &Place, name: &str) -> PathBuf {
    let folder = place.configuration();
    let (file, merged) = (folder.join(format!("{name}.toml")), folder.join(format!("{name}.d")));
    match place.scope {
        _ if place.on_disk(&file).exists() => file,
        _ if place.on_disk(&merged).exists() => merged,
        Scope::System => merged,
        Scope::User => file,
    }
}

/// Whether there is something; a folder without a configuration counts as nothing.
fn exists(path: &Path) -> Result<bool, Failure> {
    let found = match fs::metadata(path) {
        Ok(found) if found.is_dir() => fs::read_dir(path).map(|entries| {
            entries.flatten().any(|entry| entry.path().extension().is_some_and(|end| end == "toml"))
        }),
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    };
    found.map_err(|error| Failure::io(format!("cannot read {}", path.display()), error))
}
