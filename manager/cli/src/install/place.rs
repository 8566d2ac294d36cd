//! Where an installation puts things.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::exit::{Exit, Failure};

/// Whose systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    User,
    System,
}

impl Scope {
    /// For people and JSON.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::System => "system",
        }
    }
}

/// The folders of one installation. Paths are as the installed programs see them;
/// [`on_disk`](Self::on_disk) is where they are now.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) scope: Scope,
    root: Option<PathBuf>,
    programs: PathBuf,
    shared: PathBuf,
    units: PathBuf,
    configuration: PathBuf,
    state: PathBuf,
    fish: PathBuf,
}

impl Place {
    /// # Errors
    /// A user without a home folder; a root that is not there.
    pub(super) fn new(scope: Scope, root: Option<&Path>) -> Result<Self, Failure> {
        match scope {
            Scope::System => Self::of_system(root),
            Scope::User => Self::of_user(&variable),
        }
    }

    fn of_system(root: Option<&Path>) -> Result<Self, Failure> {
        let root = root
            .map(|root| {
                root.canonicalize().map_err(|error| {
                    Failure::io(format!("cannot work in {}", root.display()), error)
                })
            })
            .transpose()?;
        Ok(Self {
            scope: Scope::System,
            root,
            programs: "/usr/local/bin".into(),
            shared: "/usr/local/share".into(),
            units: "/etc/systemd/system".into(),
            configuration: "/etc/bs9".into(),
            state: "/var/lib/bs9".into(),
            fish: "/usr/local/share/fish/vendor_completions.d".into(),
        })
    }

    fn of_user(variable: &dyn Fn(&str) -> Option<PathBuf>) -> Result<Self, Failure> {
        let home = variable("HOME").ok_or_else(|| {
            Failure::new(Exit::System, "there is no home folder ($HOME)")
                .hint("set it, or install for the machine with --system")
        })?;
        let or_else = |name, folder: &str| variable(name).unwrap_or_else(|| home.join(folder));
        let config = or_else("XDG_CONFIG_HOME", ".config");
        let shared = or_else("XDG_DATA_HOME", ".local/share");
        Ok(Self {
            scope: Scope::User,
            root: None,
            programs: home.join(".local/bin"),
            units: config.join("systemd/user"),
            configuration: config.join("bs9"),
            state: or_else("XDG_STATE_HOME", ".local/state").join("bs9"),
            fish: shared.join("fish/vendor_completions.d"),
            shared,
        })
    }

    /// Where a path of the installation is now.
    pub(super) fn on_disk(&self, path: &Path) -> PathBuf {
        match &self.root {
            None => path.to_owned(),
            Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
        }
    }

    /// The tree that is worked in, unless it is the machine itself.
    pub(super) fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    pub(super) fn program(&self) -> PathBuf {
        self.programs.join("bs9")
    }

    pub(super) fn unit(&self, name: &str) -> PathBuf {
        self.units.join(name)
    }

    pub(super) fn units(&self) -> &Path {
        &self.units
    }

    pub(super) fn man_page(&self, name: &str) -> PathBuf {
        self.shared.join("man/man1").join(name)
    }

    pub(super) fn bash_completions(&self) -> PathBuf {
        self.shared.join("bash-completion/completions/bs9")
    }

    pub(super) fn zsh_completions(&self) -> PathBuf {
        self.shared.join("zsh/site-functions/_bs9")
    }

    pub(super) fn fish_completions(&self) -> PathBuf {
        self.fish.join("bs9.fish")
    }

    /// The folder of both configurations.
    pub(super) fn configuration(&self) -> &Path {
        &self.configuration
    }

    /// What the manager keeps.
    pub(super) fn state(&self) -> &Path {
        &self.state
    }

    /// What was installed.
    pub(super) fn record(&self) -> PathBuf {
        self.state.join("install.json")
    }

    /// An admin socket when the configuration names none; `%t` is systemd's word for
    /// `$XDG_RUNTIME_DIR`.
    pub(super) fn admin_socket(&self, name: &str) -> String {
        match self.scope {
            Scope::User => format!("%t/bs9/{name}"),
            Scope::System => format!("/run/bs9/{name}"),
        }
    }
}

fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_a_home() {
        let home = |name: &str| (name == "HOME").then(|| PathBuf::from("/home/ann"));
        let place = Place::of_user(&home).unwrap();
        assert_eq!(place.unit("x"), Path::new("/home/ann/.config/systemd/user/x"));
        assert_eq!(place.record(), Path::new("/home/ann/.local/state/bs9/install.json"));
        assert_eq!(place.on_disk(&place.program()), Path::new("/home/ann/.local/bin/bs9"));
        assert!(Place::of_user(&|_| None).is_err());
    }

    #[test]
    fn a_tree_is_worked_in_and_not_spoken_of() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(Scope::System, Some(folder.path())).unwrap();
        assert_eq!(place.unit("x"), Path::new("/etc/systemd/system/x"));
        assert!(place.on_disk(&place.unit("x")).starts_with(folder.path().canonicalize().unwrap()));
    }
}
