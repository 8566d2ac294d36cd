//! Where things are when nobody says.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The two roles bs9 runs in, each with files of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Process {
    /// `bs9 serve`.
    DataPlane,
    /// `bs9 manager`.
    Manager,
}

impl Process {
    fn config_name(self) -> &'static str {
        match self {
            Self::DataPlane => "bs9",
            Self::Manager => "manager",
        }
    }

    fn socket_name(self) -> &'static str {
        match self {
            Self::DataPlane => "dataplane.sock",
            Self::Manager => "manager.sock",
        }
    }
}

/// Where a configuration is looked for, best first: `bs9/NAME.toml` or the
/// folder `bs9/NAME.d` in `$XDG_CONFIG_HOME` (`~/.config` when that is unset),
/// then in `/etc`. NAME is `bs9` for the data plane, `manager` for the manager.
pub fn config_candidates(process: Process) -> Vec<PathBuf> {
    let home = variable("XDG_CONFIG_HOME").or_else(|| Some(variable("HOME")?.join(".config")));
    candidates(process, home.as_deref())
}

/// The first of [`config_candidates`] that exists.
pub fn default_config_path(process: Process) -> Option<PathBuf> {
    config_candidates(process).into_iter().find(|path| path.exists())
}

/// The admin socket when the configuration names none:
/// `$XDG_RUNTIME_DIR/bs9/NAME.sock`, else `/run/bs9/NAME.sock`. NAME is
/// `dataplane` or `manager`.
pub fn default_socket(process: Process) -> PathBuf {
    socket(process, variable("XDG_RUNTIME_DIR").as_deref())
}

/// Where the manager keeps what has to outlive it when the configuration names
/// no folder: `$STATE_DIRECTORY` (systemd.exec(5)), else `$XDG_STATE_HOME/bs9`
/// (`~/.local/state/bs9`) in a user's session, else `/var/lib/bs9`.
pub fn default_state_folder() -> PathBuf {
    state_folder(&variable)
}

fn state_folder(variable: &dyn Fn(&str) -> Option<PathBuf>) -> PathBuf {
    // With several folders systemd separates them by colons; ours is the first.
    let given = variable("STATE_DIRECTORY").and_then(|given| {
        given.to_str().and_then(|given| given.split(':').next()).map(PathBuf::from)
    });
    let of_user = || {
        variable("XDG_RUNTIME_DIR")?;
        let home =
            variable("XDG_STATE_HOME").or_else(|| Some(variable("HOME")?.join(".local/state")))?;
        Some(home.join("bs9"))
    };
    given.or_else(of_user).unwrap_or_else(|| "/var/lib/bs9".into())
}

fn candidates(process: Process, config_home: Option<&Path>) -> Vec<PathBuf> {
    let folders = config_home.into_iter().chain([Path::new("/etc")]);
    let name = process.config_name();
    folders
        .map(|folder| folder.join("bs9"))
        .flat_map(|folder| [folder.join(format!("{name}.toml")), folder.join(format!("{name}.d"))])
        .collect()
}

fn socket(process: Process, runtime: Option<&Path>) -> PathBuf {
    runtime.unwrap_or(Path::new("/run")).join("bs9").join(process.socket_name())
}

/// A folder from the environment. The XDG specification has relative paths ignored.
fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_persons_own_folder_comes_first() {
        let expected = ["/h/bs9/bs9.toml", "/h/bs9/bs9.d", "/etc/bs9/bs9.toml", "/etc/bs9/bs9.d"];
        let found = candidates(Process::DataPlane, Some(Path::new("/h")));
        assert_eq!(found, expected.map(PathBuf::from));
        assert_eq!(candidates(Process::Manager, None)[0], Path::new("/etc/bs9/manager.toml"));
    }

    #[test]
    fn sockets() {
        let runtime = Path::new("/run/user/1000");
        let found = socket(Process::Manager, Some(runtime));
        assert_eq!(found, Path::new("/run/user/1000/bs9/manager.sock"));
        assert_eq!(socket(Process::DataPlane, None), Path::new("/run/bs9/dataplane.sock"));
    }
}
