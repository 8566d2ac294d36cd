//! Rules about files and folders: who else can change what will run.

use std::{
    collections::BTreeSet,
    fs::{self, Metadata},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use bs9_api::types::SourceSeverity;

/// Something found about a file or folder as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Noticed {
    pub(super) rule: &'static str,
    pub(super) severity: SourceSeverity,
    pub(super) path: PathBuf,
    pub(super) message: String,
    pub(super) hint: String,
}

const OTHERS_WRITE: u32 = 0o002;
const GROUP_WRITES: u32 = 0o020;
const STICKY: u32 = 0o1000;
const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;

/// Who runs the service, as far as owning files goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Runner {
    /// `None`: another user, by a name that is not known here.
    pub(super) uid: Option<u32>,
}

/// Whether others can change a file, or put another in its place.
pub(super) fn writable(path: &Path, runner: Runner, told: &mut BTreeSet<PathBuf>) -> Vec<Noticed> {
    let mut found = Vec::new();
    let Ok(file) = fs::metadata(path) else { return found };
    found.extend(file_writable(path, &file, runner));
    for folder in path.ancestors().skip(1) {
        if told.contains(folder) {
            break;
        }
        told.insert(folder.to_owned());
        let Ok(meta) = fs::metadata(folder) else { continue };
        // In a sticky folder nobody replaces what is another's.
        if meta.mode() & OTHERS_WRITE != 0 && meta.mode() & STICKY == 0 {
            found.push(Noticed {
                rule: "folder-writable-by-others",
                severity: SourceSeverity::Blocking,
                path: folder.to_owned(),
                message: "everybody on this machine can put another file in the place of one here"
                    .to_owned(),
                hint: format!("chmod o-w {}", folder.display()),
            });
        }
    }
    found
}

fn file_writable(path: &Path, meta: &Metadata, runner: Runner) -> Option<Noticed> {
    let (rule, severity, message, hint) = if meta.mode() & OTHERS_WRITE != 0 {
        (
            "writable-by-others",
            SourceSeverity::Blocking,
            "everybody on this machine can change what will run".to_owned(),
            format!("chmod o-w {}", path.display()),
        )
    } else if meta.mode() & GROUP_WRITES != 0 && meta.gid() != meta.uid() && meta.gid() != 0 {
        // Where each user has a group of their own, the group is the owner.
        (
            "writable-by-group",
            SourceSeverity::Warning,
            format!("everybody in the group {} can change what will run", meta.gid()),
            format!("chmod g-w {}", path.display()),
        )
    } else if meta.uid() != 0 && runner.uid.is_some_and(|uid| uid != meta.uid()) {
        (
            "owned-by-another",
            SourceSeverity::Warning,
            format!("the user {} owns it, and can change what will run as another", meta.uid()),
            format!("chown it to root or to who runs the service: {}", path.display()),
        )
    } else {
        return None;
    };
    Some(Noticed { rule, severity, path: path.to_owned(), message, hint })
}

/// A program that gains privileges by being run.
pub(super) fn privileged(path: &Path, is_program: bool, allowed: bool) -> Option<Noticed> {
    let meta = fs::metadata(path).ok()?;
    if !meta.is_file() || meta.mode() & (SETUID | SETGID) == 0 {
        return None;
    }
    let bit = if meta.mode() & SETUID != 0 { "setuid" } else { "setgid" };
    let severity = match is_program && !allowed {
        true => SourceSeverity::Blocking,
        false => SourceSeverity::Warning,
    };
    let hint = match is_program {
        true => "make it a system service (scope = \"system\") with the user it needs, instead of a program that gains privileges; hardening.relax = [\"privileges\"] says that it is meant so".to_owned(),
        false => format!("the kernel ignores it for scripts: chmod ug-s {}", path.display()),
    };
    Some(Noticed {
        rule: "setuid",
        severity,
        path: path.to_owned(),
        message: format!("it has the {bit} bit, and runs with privileges of another"),
        hint,
    })
}

/// Folders of a search path that everybody can put programs in.
pub(super) fn search_path(folders: &[PathBuf], severity: SourceSeverity) -> Vec<Noticed> {
    let open = |folder: &&PathBuf| {
        fs::metadata(folder).is_ok_and(|meta| meta.is_dir() && meta.mode() & OTHERS_WRITE != 0)
    };
    let noticed = |folder: &PathBuf| Noticed {
        rule: "path-writable-by-others",
        severity,
        path: folder.clone(),
        message: "programs are looked for in this folder, and everybody can put some there"
            .to_owned(),
        hint: format!("chmod o-w {}, or take it out of PATH", folder.display()),
    };
    folders.iter().filter(open).map(noticed).collect()
}

/// A file with secrets that others can read.
pub(super) fn readable(path: &Path) -> Option<Noticed> {
    let mode = fs::metadata(path).ok()?.mode();
    (mode & 0o004 != 0).then(|| Noticed {
        rule: "secrets-readable-by-others",
        severity: SourceSeverity::Warning,
        path: path.to_owned(),
        message: "it has secrets in it, and everybody on this machine can read it".to_owned(),
        hint: format!("chmod 600 {}", path.display()),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            let place = Self(tempfile::tempdir().unwrap());
            fs::create_dir(place.0.path().join("app")).unwrap();
            fs::write(place.file(), "").unwrap();
            place.mode("app", 0o755).mode("app/a.sh", 0o644)
        }

        fn file(&self) -> PathBuf {
            self.0.path().join("app/a.sh")
        }

        fn mode(self, name: &str, mode: u32) -> Self {
            let path = self.0.path().join(name);
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            self
        }

        fn rules(&self) -> Vec<&'static str> {
            let runner = Runner { uid: Some(rustix::process::geteuid().as_raw()) };
            let found = writable(&self.file(), runner, &mut BTreeSet::new());
            found.into_iter().map(|noticed| noticed.rule).collect()
        }
    }

    #[test]
    fn what_others_can_change_is_noticed() {
        assert_eq!(Place::new().rules(), [""; 0]);
        assert_eq!(Place::new().mode("app/a.sh", 0o666).rules(), ["writable-by-others"]);
        assert_eq!(Place::new().mode("app", 0o777).rules(), ["folder-writable-by-others"]);
        assert_eq!(Place::new().mode("app", 0o1777).rules(), [""; 0]);
        // Its group is the owner's own, or root's.
        assert_eq!(Place::new().mode("app/a.sh", 0o664).rules(), [""; 0]);
    }

    #[test]
    fn a_file_of_another_is_noticed() {
        let place = Place::new();
        let owner = rustix::process::geteuid().as_raw();
        let rules = |uid| {
            let found = writable(&place.file(), Runner { uid }, &mut BTreeSet::new());
            found.into_iter().map(|noticed| noticed.rule).collect::<Vec<_>>()
        };
        assert_eq!(rules(None), [""; 0]);
        if owner != 0 {
            assert_eq!(rules(Some(owner + 1)), ["owned-by-another"]);
        } else {
            // What root owns is changed by nobody else.
            assert_eq!(rules(Some(1)), [""; 0]);
            std::os::unix::fs::chown(place.file(), Some(12_345), Some(12_345)).unwrap();
            assert_eq!(rules(Some(0)), ["owned-by-another"]);
            std::os::unix::fs::chown(place.file(), Some(0), Some(54_321)).unwrap();
            let place = place.mode("app/a.sh", 0o664);
            let found = writable(&place.file(), Runner { uid: None }, &mut BTreeSet::new());
            assert_eq!(found[0].rule, "writable-by-group");
        }
    }

    #[test]
    fn privileges_that_come_with_a_program_are_noticed() {
        let place = Place::new().mode("app/a.sh", 0o4755);
        let severity =
            |is_program, allowed| privileged(&place.file(), is_program, allowed).unwrap().severity;
        assert_eq!(severity(true, false), SourceSeverity::Blocking);
        assert_eq!(severity(true, true), SourceSeverity::Warning);
        assert_eq!(severity(false, false), SourceSeverity::Warning);
        assert_eq!(privileged(&Place::new().file(), true, false), None);
    }

    #[test]
    fn open_folders_of_the_path_are_noticed() {
        let place = Place::new().mode("app", 0o1777);
        let folders = [place.0.path().join("app"), place.0.path().join("none"), "/usr/bin".into()];
        let found = search_path(&folders, SourceSeverity::Blocking);
        assert_eq!(found.len(), 1, "a sticky folder takes new programs all the same: {found:?}");
        assert_eq!(found[0].path, folders[0]);
    }

    #[test]
    fn files_of_secrets_are_for_their_owner() {
        assert!(readable(&Place::new().file()).is_some());
        assert!(readable(&Place::new().mode("app/a.sh", 0o600).file()).is_none());
    }
}
