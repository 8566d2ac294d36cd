//! What is to be done, and doing it.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::{
    contents::{self, File, Kind},
    place::{Place, Scope},
    record::Record,
    settings::Settings,
    systemctl::Systemctl,
    unit,
};
use crate::{
    exit::{Exit, Failure},
    terminal,
};

/// One thing to do, or not to do.
#[derive(Debug)]
pub(super) enum Step {
    Write {
        path: PathBuf,
        content: Vec<u8>,
        mode: u32,
        replaces: bool,
        note: String,
    },
    /// It is as it should be.
    Same {
        path: PathBuf,
    },
    /// It is somebody's own.
    Keep {
        path: PathBuf,
        note: String,
    },
    Folder {
        path: PathBuf,
    },
    Remove {
        path: PathBuf,
        note: String,
    },
    /// A folder that goes if nothing is in it.
    RemoveEmpty {
        path: PathBuf,
    },
    /// A program to run; without `required`, its failure is only told.
    Run {
        command: Vec<String>,
        required: bool,
    },
}

impl Step {
    /// Whether it changes anything.
    pub(super) fn changes(&self) -> bool {
        matches!(self, Self::Write { .. } | Self::Folder { .. } | Self::Remove { .. })
    }
}

/// Steps in order, and the record of what is there afterwards.
#[derive(Debug)]
pub(super) struct Plan {
    steps: Vec<Step>,
    /// `None`: nothing is left to take away.
    record: Option<Record>,
}

impl Plan {
    pub(super) fn new(steps: Vec<Step>, record: Option<Record>) -> Self {
        Self { steps, record }
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Brings what is there to `files`.
    ///
    /// # Errors
    /// A file is there that bs9 did not write, or cannot be read.
    pub(super) fn to_install(
        place: &Place,
        settings: &Settings,
        files: Vec<File>,
        before: Option<Record>,
        systemctl: Option<&Systemctl>,
    ) -> Result<Self, Failure> {
        let mut record = Record::new();
        record.folders = before.as_ref().map(|before| before.folders.clone()).unwrap_or_default();
        let mut steps = Vec::new();
        let mut changed = Changed::default();
        // A folder that is not there when the manager starts, its unit keeps it from making.
        let own = [settings.services_folder(place), settings.state_folder(place)];
        let mut folders = vec![settings.folder(), place.configuration(), place.state()];
        folders.extend(own.iter().map(PathBuf::as_path));
        folders.sort();
        folders.dedup();
        for folder in folders {
            if !place.on_disk(folder).is_dir() {
                steps.push(Step::Folder { path: folder.to_owned() });
            }
        }
        for file in files {
            let name = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let kind = file.kind;
            if kind == Kind::Unit {
                record.units.push(name.clone());
            }
            let step = step(place, file, before.as_ref(), &mut record)?;
            if step.changes() {
                changed.note(kind, name, matches!(step, Step::Write { replaces: true, .. }));
            }
            steps.push(step);
        }
        steps.extend(obsolete(place, before.as_ref(), &record, &mut changed)?);
        match (systemctl, place.root()) {
            (Some(systemctl), _) => steps.extend(commands(place, &record, &changed, systemctl)),
            (None, Some(root)) => steps.push(in_tree(root, "enable", &record)),
            (None, None) => {}
        }
        Ok(Self { steps, record: Some(record) })
    }

    /// Does it. What was installed is on record before the first file is written, so that
    /// an end in the middle leaves nothing that `uninstall` does not know.
    ///
    /// # Errors
    /// The first step that fails; running `bs9 install` again goes on from there.
    pub(super) fn carry_out(
        mut self,
        place: &Place,
        systemctl: Option<&Systemctl>,
    ) -> Result<(), Failure> {
        let mut made = Vec::new();
        if let Some(record) = &mut self.record {
            for folder in self.steps.iter().filter_map(|step| match step {
                Step::Write { path, .. } => path.parent(),
                Step::Folder { path } => Some(path.as_path()),
                _ => None,
            }) {
                note_missing(place, folder, &mut made);
            }
            for wants in ["default.target.wants", "multi-user.target.wants", "sockets.target.wants"]
            {
                note_missing(place, &place.units().join(wants), &mut made);
            }
            made.retain(|folder| !record.folders.contains(folder));
            record.folders.extend(made);
            write(&place.on_disk(&place.record()), &record.to_text()?, 0o600)?;
        }
        for step in &self.steps {
            self.one(step, place, systemctl)?;
        }
        Ok(())
    }

    fn one(
        &self,
        step: &Step,
        place: &Place,
        systemctl: Option<&Systemctl>,
    ) -> Result<(), Failure> {
        match step {
            Step::Same { .. } | Step::Keep { .. } => Ok(()),
            Step::Write { path, content, mode, .. } => write(&place.on_disk(path), content, *mode),
            Step::Folder { path } => {
                let path = place.on_disk(path);
                fs::create_dir_all(&path)
                    .map_err(|error| Failure::io(format!("cannot make {}", path.display()), error))
            }
            // One with something in it stays.
            Step::RemoveEmpty { path } => {
                let _not_empty = fs::remove_dir(place.on_disk(path));
                Ok(())
            }
            Step::Remove { path, .. } => remove(&place.on_disk(path)),
            Step::Run { command, required } => {
                match run(command).map_err(|failure| with_last_words(failure, command, systemctl)) {
                    Err(failure) if *required => Err(failure),
                    Err(failure) => {
                        failure.render().into_iter().for_each(terminal::remark);
                        Ok(())
                    }
                    Ok(()) => Ok(()),
                }
            }
        }
    }
}

/// What of it systemd has to hear.
#[derive(Debug, Default)]
struct Changed {
    program: bool,
    units: Vec<String>,
    /// Sockets that were another way before.
    sockets: Vec<String>,
}

impl Changed {
    fn note(&mut self, kind: Kind, name: String, replaced: bool) {
        match kind {
            Kind::Program => self.program = true,
            Kind::Unit => {
                if replaced && unit::is_socket(&name) {
                    self.sockets.push(name.clone());
                }
                self.units.push(name);
            }
            Kind::Other | Kind::Beginning => {}
        }
    }
}

fn step(
    place: &Place,
    file: File,
    before: Option<&Record>,
    record: &mut Record,
) -> Result<Step, Failure> {
    let File { path, content, mode, kind, note } = file;
    let there = read(&place.on_disk(&path))?;
    let known = before.is_some_and(|before| before.files.contains_key(&path));
    if kind == Kind::Beginning {
        return Ok(Step::Write { path, content, mode, replaces: false, note: note.to_owned() });
    }
    let Some(there) = there else {
        record.wrote(&path, &content);
        return Ok(Step::Write { path, content, mode, replaces: false, note: note.to_owned() });
    };
    if there == content {
        // One that was there by itself stays at the end.
        if known {
            record.wrote(&path, &content);
        }
        return Ok(Step::Same { path });
    }
    if !known {
        let what =
            format!("{} is there, and not from `bs9 install`", place.on_disk(&path).display());
        let failure = Failure::new(Exit::Error, what);
        return Err(failure.hint(match kind {
            Kind::Program => "move it away, or have it run as it is with --program PATH",
            _ => "move it away, or into a drop-in (`systemctl edit`)",
        }));
    }
    let own = before.is_some_and(|before| !before.is_unchanged(&path, &there));
    let note = if own { "its changes by hand are gone" } else { note };
    record.wrote(&path, &content);
    Ok(Step::Write { path, content, mode, replaces: true, note: note.to_owned() })
}

/// What an earlier version installed and this one does not.
fn obsolete(
    place: &Place,
    before: Option<&Record>,
    record: &Record,
    changed: &mut Changed,
) -> Result<Vec<Step>, Failure> {
    let mut steps = Vec::new();
    let files = before.map(|before| before.files.keys()).into_iter().flatten();
    for path in files.filter(|path| !record.files.contains_key(*path)) {
        if read(&place.on_disk(path))?.is_some() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.starts_with(place.units()) {
                changed.note(Kind::Unit, name, true);
            }
            let note = "not needed any more".to_owned();
            steps.push(Step::Remove { path: path.clone(), note });
        }
    }
    Ok(steps)
}

fn commands(place: &Place, record: &Record, changed: &Changed, systemctl: &Systemctl) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut run = |words: &[&str]| {
        let command = words.iter().map(|word| (*word).to_owned()).collect();
        steps.push(Step::Run { command, required: true });
    };
    if place.scope == Scope::System {
        run(&["systemd-sysusers", &contents::accounts_file().to_string_lossy()]);
        run(&["systemd-tmpfiles", "--create", &contents::folders_file().to_string_lossy()]);
    }
    let systemd = systemctl.words();
    let mut ask = |words: &[&str]| run(&[&systemd, words].concat());
    // Sockets cannot be made anew while a service has them.
    let active: Vec<&str> = changed
        .sockets
        .iter()
        .map(String::as_str)
        .filter(|socket| systemctl.is_active(socket))
        .collect();
    if !active.is_empty() {
        ask(&[&["stop"], &active[..], &["bs9.service", "bs9-manager.service"]].concat());
    }
    if !changed.units.is_empty() {
        ask(&["daemon-reload"]);
    }
    let units: Vec<&str> = record.units.iter().map(String::as_str).collect();
    let (sockets, services): (Vec<_>, Vec<_>) =
        units.iter().partition(|name| unit::is_socket(name));
    ask(&[&["enable", "--quiet"], &units[..]].concat());
    ask(&[&["start"], &sockets[..]].concat());
    let new = changed.program || !changed.units.is_empty();
    ask(&[&[if new { "restart" } else { "start" }], &services[..]].concat());
    steps
}

/// Links, made or taken away in a tree of files; systemd need not run for it.
pub(super) fn in_tree(root: &Path, verb: &str, record: &Record) -> Step {
    let root = format!("--root={}", root.display());
    let mut command = vec!["systemctl".to_owned(), root, verb.to_owned(), "--quiet".to_owned()];
    command.extend(record.units.iter().cloned());
    Step::Run { command, required: verb == "enable" }
}

fn with_last_words(failure: Failure, command: &[String], systemctl: Option<&Systemctl>) -> Failure {
    let starts = command.iter().any(|word| word == "start" || word == "restart");
    let Some(systemctl) = systemctl.filter(|_| starts) else { return failure };
    let failed = command.iter().filter(|word| word.ends_with(".service"));
    for unit in failed.filter(|unit| !systemctl.is_active(unit)) {
        let words = systemctl.last_words(unit);
        if !words.is_empty() {
            return failure.hint(format!("the last words of {unit}:\n{words}"));
        }
    }
    failure
}

fn run(command: &[String]) -> Result<(), Failure> {
    let (program, rest) = command.split_first().expect("every command has a program");
    let output = std::process::Command::new(program)
        .args(rest)
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|error| {
            Failure::new(Exit::Dependency, format!("cannot run {program}")).because(error)
        })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Failure::new(Exit::System, format!("`{}` failed", command.join(" ")))
        .because(anyhow::anyhow!(said)))
}

/// The bytes of a file, if it is there.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::io(format!("cannot read {}", path.display()), error)),
    }
}

/// Replaces a file whole.
fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), Failure> {
    let replace = || -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder)?;
        let mut new = tempfile::NamedTempFile::new_in(folder)?;
        new.write_all(content)?;
        new.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
        new.as_file().sync_all()?;
        new.persist(path).map_err(|error| error.error)?;
        fs::File::open(folder)?.sync_all()
    };
    replace().map_err(|error| Failure::io(format!("cannot write {}", path.display()), error))
}

fn remove(path: &Path) -> Result<(), Failure> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::io(format!("cannot remove {}", path.display()), error))
        }
        _ => Ok(()),
    }
}

/// Notes every folder above and with `folder` that is not there yet, the highest first.
fn note_missing(place: &Place, folder: &Path, made: &mut Vec<PathBuf>) {
    let missing: Vec<_> = folder
        .ancestors()
        .take_while(|folder| !place.on_disk(folder).exists())
        .map(Path::to_owned)
        .collect();
    for folder in missing.into_iter().rev() {
        if !made.contains(&folder) {
            made.push(folder);
        }
    }
}
