//! Where a running program is found.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::endpoints::Program;

/// Where sockets are when there is no `$XDG_RUNTIME_DIR`.
const SYSTEM_FOLDER: &str = "/run/bs9";

impl Program {
    /// The environment variable that names its socket.
    pub fn socket_variable(self) -> &'static str {
        match self {
            Self::DataPlane => "BS9_SOCKET",
            Self::Manager => "BS9_MANAGER_SOCKET",
        }
    }

    /// The name of its socket's file.
    pub fn socket_name(self) -> &'static str {
        match self {
            Self::DataPlane => "dataplane.sock",
            Self::Manager => "manager.sock",
        }
    }
}

/// Where `program` listens when its configuration does not say:
/// `$XDG_RUNTIME_DIR/bs9/`, else `/run/bs9/`.
pub fn default_socket(program: Program) -> PathBuf {
    default_in(program, runtime_folder().as_deref())
}

/// Where a caller looks for `program`: `option` (`--socket`), else the
/// environment variable, else the first default place where there is one, else
/// the first default place.
pub fn find(program: Program, option: Option<&Path>) -> PathBuf {
    let variable = env::var_os(program.socket_variable()).filter(|value| !value.is_empty());
    find_in(program, option, variable.as_deref().map(Path::new), runtime_folder().as_deref())
}

/// `$XDG_RUNTIME_DIR`; a relative path is ignored, as the XDG Base Directory
/// specification says.
fn runtime_folder() -> Option<PathBuf> {
    env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute())
}

fn default_in(program: Program, runtime_folder: Option<&Path>) -> PathBuf {
    runtime_folder
        .map_or_else(|| PathBuf::from(SYSTEM_FOLDER), |folder| folder.join("bs9"))
        .join(program.socket_name())
}

fn find_in(
    program: Program,
    option: Option<&Path>,
    variable: Option<&Path>,
    runtime_folder: Option<&Path>,
) -> PathBuf {
    if let Some(path) = option.or(variable) {
        return path.to_owned();
    }
    let own = default_in(program, runtime_folder);
    // A user with a runtime folder still finds the system's program.
    let system = default_in(program, None);
    if !own.exists() && system.exists() { system } else { own }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_explicit_word_wins() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = Some(folder.path());
        let option = Some(Path::new("/option.sock"));
        let variable = Some(Path::new("/variable.sock"));
        let find = |option, variable| find_in(Program::Manager, option, variable, runtime);
        assert_eq!(find(option, variable), Path::new("/option.sock"));
        assert_eq!(find(None, variable), Path::new("/variable.sock"));
        let own = folder.path().join("bs9/manager.sock");
        std::fs::create_dir_all(own.parent().unwrap()).unwrap();
        std::fs::write(&own, "").unwrap();
        assert_eq!(find(None, None), own);
    }

    #[test]
    fn without_a_runtime_folder_it_is_the_system_one() {
        assert_eq!(default_in(Program::DataPlane, None), Path::new("/run/bs9/dataplane.sock"));
        assert_eq!(
            default_in(Program::DataPlane, Some(Path::new("/run/user/7"))),
            Path::new("/run/user/7/bs9/dataplane.sock")
        );
    }
}
