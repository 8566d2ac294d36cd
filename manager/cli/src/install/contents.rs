//! The files of an installation.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap_complete::Shell;

use super::{
    place::{Place, Scope},
    settings::Settings,
    unit::{self, ACCOUNT},
};
use crate::{completions, exit::Failure, man};

/// A file that is to be there.
#[derive(Debug)]
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) content: Vec<u8>,
    pub(super) mode: u32,
    pub(super) kind: Kind,
    pub(super) note: &'static str,
}

/// What becomes of a file that is there already, and at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Replaced, and taken away.
    Program,
    Unit,
    Other,
    /// Written where there is none; somebody's own from then on.
    Beginning,
}

/// All of them.
///
/// # Errors
/// The own program cannot be read.
pub(super) fn all(
    place: &Place,
    settings: &Settings,
    program: Option<&Path>,
) -> Result<Vec<File>, Failure> {
    let mut files = Vec::new();
    for (path, text) in &settings.beginnings {
        files.push(File {
            path: path.clone(),
            content: text.as_bytes().to_vec(),
            mode: 0o644,
            kind: Kind::Beginning,
            note: "a configuration to begin with",
        });
    }
    let program = match program {
        Some(own) => {
            let cannot = |error| Failure::io(format!("cannot run {}", own.display()), error);
            own.canonicalize().map_err(cannot)?
        }
        None => {
            files.push(own_program(place)?);
            place.program()
        }
    };
    let mut add = |kind, path, content: Vec<u8>, note| {
        files.push(File { path, content, mode: 0o644, kind, note });
    };
    for unit in unit::all(place, settings, &program) {
        add(Kind::Unit, place.unit(unit.name), unit.text.into_bytes(), "");
    }
    if place.scope == Scope::System {
        let (accounts, folders) = account(place, settings);
        add(Kind::Other, accounts_file(), accounts.into_bytes(), "the account of the data plane");
        add(Kind::Other, folders_file(), folders.into_bytes(), "");
    }
    for page in man::pages()? {
        add(Kind::Other, place.man_page(&page.name), page.text, "");
    }
    let shells = [
        (Shell::Bash, place.bash_completions()),
        (Shell::Zsh, place.zsh_completions()),
        (Shell::Fish, place.fish_completions()),
    ];
    for (shell, path) in shells {
        add(Kind::Other, path, completions::script(shell), "");
    }
    Ok(files)
}

/// By the link that the kernel keeps: the file may have been replaced since this started.
fn own_program(place: &Place) -> Result<File, Failure> {
    let content = fs::read("/proc/self/exe")
        .map_err(|error| Failure::io("cannot read the own program", error))?;
    Ok(File { path: place.program(), content, mode: 0o755, kind: Kind::Program, note: "" })
}

/// sysusers.d(5): makes the account.
pub(super) fn accounts_file() -> PathBuf {
    "/etc/sysusers.d/bs9.conf".into()
}

/// tmpfiles.d(5): gives it its folders.
pub(super) fn folders_file() -> PathBuf {
    "/etc/tmpfiles.d/bs9.conf".into()
}

fn account(place: &Place, settings: &Settings) -> (String, String) {
    let said = "# Written by `bs9 install`.\n";
    let accounts = format!("{said}u {ACCOUNT} - \"bs9 data plane\"\n");
    let folders = match settings.has_own_folder(place) {
        true => {
            let folder = unit::literal(settings.folder());
            // Root's, so that systemd-tmpfiles follows the way to files of another owner.
            format!(
                "{said}d {folder} 0770 root {ACCOUNT} -\n\
                 z {folder}/*.toml 0640 {ACCOUNT} {ACCOUNT} -\n"
            )
        }
        false => said.to_owned(),
    };
    (accounts, folders)
}
