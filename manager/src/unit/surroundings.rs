//! What a unit file depends on beside the service's description.

use std::{
    env,
    num::NonZeroU32,
    path::{Path, PathBuf},
    thread,
};

use bs9_config::ServiceScope;

/// Where services of one scope are put, and on what machine.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    pub(crate) scope: ServiceScope,
    /// systemd's major version; 0 when it is not known.
    pub(crate) systemd_version: u32,
    /// The home of the user the manager runs as.
    pub(crate) home: Option<PathBuf>,
    /// Folders that are searched for programs.
    pub(crate) path: Vec<PathBuf>,
    /// Environments of services are kept here.
    pub(crate) state_folder: PathBuf,
    pub(crate) cores: NonZeroU32,
}

impl Surroundings {
    pub(crate) fn new(scope: ServiceScope, state_folder: PathBuf) -> Self {
        let cores = thread::available_parallelism().ok();
        let cores = cores.and_then(|count| NonZeroU32::try_from(count).ok());
        let home = env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
        let path = search_path(home.as_deref());
        Self {
            scope,
            systemd_version: 0,
            home,
            path,
            state_folder,
            cores: cores.unwrap_or(NonZeroU32::MIN),
        }
    }

    /// Where systemd looks for unit files that people made.
    pub(crate) fn unit_folder(&self) -> Option<PathBuf> {
        if self.scope == ServiceScope::System {
            return Some(PathBuf::from("/etc/systemd/system"));
        }
        let config = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
        Some(config.or_else(|| Some(self.home.as_ref()?.join(".config")))?.join("systemd/user"))
    }

    /// The file with the secret part of a service's environment.
    pub(crate) fn environment_file(&self, service: &str) -> PathBuf {
        self.state_folder.join("environment").join(format!("{service}.env"))
    }

    /// A program by name, or by its own path.
    pub(crate) fn find(&self, program: &str) -> Option<PathBuf> {
        if program.contains('/') {
            let path = PathBuf::from(program);
            return is_executable(&path).then_some(path);
        }
        self.path.iter().map(|folder| folder.join(program)).find(|path| is_executable(path))
    }
}

/// `$PATH`, and where installers of interpreters put them when a shell's own
/// settings, which a manager does not read, would have added the folder.
fn search_path(home: Option<&Path>) -> Vec<PathBuf> {
    const OWN: [&str; 4] = [".bun/bin", ".deno/bin", ".local/bin", ".cargo/bin"];
    const USUAL: [&str; 6] =
        ["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"];
    let mut folders: Vec<PathBuf> = env::var_os("PATH")
        .map(|path| env::split_paths(&path).filter(|folder| folder.is_absolute()).collect())
        .unwrap_or_default();
    folders.extend(home.iter().flat_map(|home| OWN.map(|folder| home.join(folder))));
    folders.extend(USUAL.map(PathBuf::from));
    let mut seen = std::collections::BTreeSet::new();
    folders.retain(|folder| seen.insert(folder.clone()));
    folders
}

pub(crate) fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
