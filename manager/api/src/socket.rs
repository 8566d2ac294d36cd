//! Where a caller finds a running data plane or manager.

use std::{
    env,
    path::{Path, PathBuf},
};

use bs9_config::{Process, default_socket};

/// Where the sockets of the system's own data plane and manager are.
const SYSTEM_FOLDER: &str = "/run/bs9";

/// The environment variable that names the socket of `process`.
pub fn variable(process: Process) -> &'static str {
    match process {
        Process::DataPlane => "BS9_SOCKET",
        Process::Manager => "BS9_MANAGER_SOCKET",
    }
}

/// Where to look for `process`: `option` (`--socket`), else the environment
/// [`variable`], else the default place. A user with a runtime folder but
/// nothing running in it is led to the system's own.
pub fn find(process: Process, option: Option<&Path>) -> PathBuf {
    let variable = env::var_os(variable(process)).filter(|value| !value.is_empty());
    option
        .or(variable.as_deref().map(Path::new))
        .map_or_else(|| nearest(default_socket(process), SYSTEM_FOLDER.as_ref()), Path::to_owned)
}

/// `own`, unless it is missing and a socket of that name is in `system`.
fn nearest(own: PathBuf, system: &Path) -> PathBuf {
    let Some(name) = own.file_name() else {
        return own;
    };
    let systems = system.join(name);
    if !own.exists() && systems.exists() { systems } else { own }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_taken_as_it_is() {
        let said = Path::new("/nowhere/x.sock");
        assert_eq!(find(Process::Manager, Some(said)), said);
    }

    #[test]
    fn the_systems_own_is_found_when_the_users_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("own/manager.sock");
        let system = folder.path().join("system");
        assert_eq!(nearest(own.clone(), &system), own);

        std::fs::create_dir(&system).unwrap();
        std::fs::write(system.join("manager.sock"), "").unwrap();
        assert_eq!(nearest(own.clone(), &system), system.join("manager.sock"));

        std::fs::create_dir(own.parent().unwrap()).unwrap();
        std::fs::write(&own, "").unwrap();
        assert_eq!(nearest(own.clone(), &system), own);
    }
}
