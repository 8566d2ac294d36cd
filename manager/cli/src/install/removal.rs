//! Taking an installation away again.

use std::path::PathBuf;

use super::{
    place::{Place, Scope},
    plan::{Plan, Step, in_tree, read},
    record::Record,
    systemctl::Systemctl,
    unit::{self, ACCOUNT},
};
use crate::exit::Failure;

/// Everything on record, but for what was changed since; with `purge` what was made
/// by and for the two processes as well.
pub(super) fn plan(
    place: &Place,
    record: &Record,
    purge: bool,
    systemctl: Option<&Systemctl>,
) -> Result<Plan, Failure> {
    let mut steps = Vec::new();
    if let Some(systemctl) = systemctl {
        // Sockets first: a service whose socket is left would be started again.
        let mut units: Vec<&str> = record.units.iter().map(String::as_str).collect();
        units.sort_by_key(|name| !unit::is_socket(name));
        steps.push(run(&[&systemctl.words()[..], &["stop"], &units].concat()));
        steps.push(run(&[&systemctl.words()[..], &["disable", "--quiet"], &units].concat()));
    }
    if let Some(root) = place.root() {
        steps.push(in_tree(root, "disable", record));
    }
    let mut left = Vec::new();
    for path in record.files.keys() {
        match read(&place.on_disk(path))? {
            None => {}
            Some(content) if record.is_unchanged(path, &content) => {
                steps.push(Step::Remove { path: path.clone(), note: String::new() });
            }
            Some(_) => {
                let note = "changed since it was installed".to_owned();
                left.push(Step::Keep { path: path.clone(), note });
            }
        }
    }
    if let Some(systemctl) = systemctl {
        steps.push(run(&[&systemctl.words()[..], &["daemon-reload"]].concat()));
    }
    let kept = [(place.configuration(), "configuration"), (place.state(), "what was kept")];
    for (path, what) in kept.into_iter().filter(|(path, _)| place.on_disk(path).exists()) {
        match purge {
            true => steps.push(Step::Remove { path: path.to_owned(), note: what.to_owned() }),
            false => left.push(Step::Keep {
                path: path.to_owned(),
                note: format!("{what}; --purge takes it away"),
            }),
        }
    }
    if place.scope == Scope::System {
        match (purge, systemctl) {
            (true, Some(_)) => steps.push(run(&["userdel", ACCOUNT])),
            _ => left.push(Step::Keep {
                path: PathBuf::from("/etc/passwd"),
                note: format!("the account {ACCOUNT}; files may belong to it"),
            }),
        }
    }
    steps.push(Step::Remove { path: place.record(), note: String::new() });
    steps.extend(empty_folders(record));
    steps.extend(left);
    Ok(Plan::new(steps, None))
}

/// Folders that were made for it, deepest first; they go if nothing else came into them.
fn empty_folders(record: &Record) -> impl Iterator<Item = Step> {
    let mut folders = record.folders.clone();
    folders.sort_by_key(|folder| std::cmp::Reverse(folder.components().count()));
    folders.into_iter().map(|path| Step::RemoveEmpty { path })
}

fn run(words: &[&str]) -> Step {
    // What is gone already must not keep the rest from going.
    Step::Run { command: words.iter().map(|word| (*word).to_owned()).collect(), required: false }
}
