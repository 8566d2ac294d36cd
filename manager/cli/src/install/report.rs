//! What is told about an installation.

use serde::Serialize;

use super::{
    place::{Place, Scope},
    plan::{Plan, Step},
    settings::Settings,
};
use crate::{
    exit::Failure,
    terminal::{self, FAINT, GOOD, NOTE, STRONG},
};

const SCHEMA: u32 = 1;

/// The plan, for people and programs.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    schema: u32,
    scope: &'static str,
    /// Nothing was done.
    dry_run: bool,
    /// Whether there was anything to do.
    changed: bool,
    steps: Vec<Told>,
}

#[derive(Debug, Serialize)]
struct Told {
    /// `create`, `replace`, `keep`, `unchanged`, `remove` or `run`.
    action: &'static str,
    /// A path, or a command line.
    what: String,
    /// Why, or what it is.
    note: String,
}

impl Report {
    pub(super) fn of(plan: &Plan, place: &Place, dry_run: bool) -> Self {
        let steps: Vec<_> = plan.steps().iter().filter_map(|step| told(step, place)).collect();
        let changed = plan.steps().iter().any(Step::changes);
        Self { schema: SCHEMA, scope: place.scope.word(), dry_run, changed, steps }
    }

    pub(super) fn show(&self, json: bool) -> Result<(), Failure> {
        if json {
            return terminal::json(self);
        }
        if self.dry_run {
            terminal::say(format_args!("{NOTE}nothing is done{NOTE:#}; this would be:"))?;
        }
        for Told { action, what, note } in &self.steps {
            if *action == "unchanged" {
                continue;
            }
            let note = match note.is_empty() {
                true => String::new(),
                false => format!("  {FAINT}{note}{FAINT:#}"),
            };
            terminal::say(format_args!("{STRONG}{action:<9}{STRONG:#}{what}{note}"))?;
        }
        let same = self.steps.iter().filter(|step| step.action == "unchanged").count();
        if same > 0 {
            terminal::say(format_args!("{FAINT}{same} files are as they should be{FAINT:#}"))?;
        }
        Ok(())
    }
}

/// Folders that are empty go without a word.
fn told(step: &Step, place: &Place) -> Option<Told> {
    let (action, what, note) = match step {
        Step::Write { path, replaces, note, .. } => {
            let action = if *replaces { "replace" } else { "create" };
            (action, place.on_disk(path).display().to_string(), note.clone())
        }
        Step::Same { path } => {
            ("unchanged", place.on_disk(path).display().to_string(), String::new())
        }
        Step::Keep { path, note } => {
            ("keep", place.on_disk(path).display().to_string(), note.clone())
        }
        Step::Folder { path } => {
            ("create", place.on_disk(path).display().to_string(), String::new())
        }
        Step::Remove { path, note } => {
            ("remove", place.on_disk(path).display().to_string(), note.clone())
        }
        Step::RemoveEmpty { .. } => return None,
        Step::Run { command, .. } => ("run", command.join(" "), String::new()),
    };
    Some(Told { action, what, note })
}

/// What to do with it now.
pub(super) fn next_steps(place: &Place, settings: &Settings, started: bool) -> Result<(), Failure> {
    let systemctl = match place.scope {
        Scope::User => "systemctl --user",
        Scope::System => "systemctl",
    };
    let state = match started {
        true => "bs9 is installed and runs",
        false => "bs9 is installed",
    };
    terminal::say(format_args!("\n{GOOD}{state}{GOOD:#}\n"))?;
    let rows = [
        (format!("edit {}", settings.path.display()), "saving it puts it in force"),
        ("bs9 status".to_owned(), "what is going on"),
        (format!("{systemctl} status bs9 bs9-manager"), "what systemd says"),
        (format!("{systemctl} restart bs9"), "a new process; no connection is refused"),
        (
            format!("{systemctl} stop bs9.socket bs9"),
            "without the first, the next connection starts it again",
        ),
    ];
    for (what, why) in rows {
        terminal::say(format_args!("  {STRONG}{what:<44}{STRONG:#} {FAINT}{why}{FAINT:#}"))?;
    }
    if place.scope == Scope::User && !lingers() {
        terminal::say(format_args!(
            "\n{NOTE}note{NOTE:#}: your units end when you log out; `loginctl enable-linger` keeps \
             them, and starts them at boot"
        ))?;
    }
    Ok(())
}

/// Whether units of this user outlive its sessions (loginctl(1)).
fn lingers() -> bool {
    let Some(user) = std::env::var_os("USER").or_else(|| std::env::var_os("LOGNAME")) else {
        return false;
    };
    std::path::Path::new("/var/lib/systemd/linger").join(user).exists()
}
