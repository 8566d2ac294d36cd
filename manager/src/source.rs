//! The audit of a service's source, before it is started.
//!
//! It reads the script and what that takes in from its own folder, looks who else can change
//! them, and at what surrounds the service: its environment, the folders of its PATH, whose
//! privileges it has. A finding blocks the start, or is a warning. What is secret is never
//! told, only where it stands.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
};

use bs9_api::types::{SCHEMA, SourceAudit, SourceFinding, SourceSeverity};
use bs9_config::{Relaxation, Service, ServiceScope};

mod accepted;
mod call;
mod environment;
mod language;
mod mask;
mod place;
mod reach;
mod rule;
mod secret;

pub(crate) use accepted::Accepted;
use mask::Masked;
use place::{Noticed, Runner};
use reach::Reach;
use rule::{Source, Spotted};

use crate::unit::{Program, Surroundings, search_path};

/// Findings of one service that are told.
const MAX_FINDINGS: usize = 500;

/// Looks at a service as it would be started. Reads files: not for the runtime's thread.
pub(crate) fn examine(
    service: &Service,
    definition: Option<(&Path, &str)>,
    around: &Surroundings,
    accepted: &Accepted,
) -> SourceAudit {
    let mut findings = Vec::new();
    let reach = Reach::of(service);
    let runner = runner(service);
    let mut told = BTreeSet::new();
    for file in &reach.files {
        let masked = Masked::new(&file.text, file.language);
        let source = Source { text: &file.text, masked: &masked, language: file.language };
        let spotted = rule::look(&source).into_iter().chain(secret::look(&file.text, &masked));
        findings.extend(spotted.map(|spotted| at(&file.path, &file.text, spotted)));
        findings.extend(place::writable(&file.path, runner, &mut told).into_iter().map(whole));
        findings.extend(place::privileged(&file.path, false, false).map(whole));
    }
    findings.extend(program(service, around, runner, &mut told).into_iter().map(whole));
    findings.extend(environment::look(service, definition, runner, &mut told));
    findings.extend(root(service, reach::entry(service).as_deref(), definition));
    findings.sort_by(|a, b| {
        (a.severity, &a.file, a.line, a.column).cmp(&(b.severity, &b.file, b.line, b.column))
    });
    findings.dedup();
    let mut left_out = reach.left_out;
    if findings.len() > MAX_FINDINGS {
        left_out.push(format!("{} more findings", findings.len() - MAX_FINDINGS));
        findings.truncate(MAX_FINDINGS);
    }
    for finding in &mut findings {
        finding.accepted = accepted.has(finding);
    }
    SourceAudit {
        schema: SCHEMA,
        service: service.name.to_string(),
        startable: !findings.iter().any(blocks),
        findings,
        files: reach.files.iter().map(|file| file.path.display().to_string()).collect(),
        left_out,
    }
}

/// The same of a description that is not kept yet, on this machine and by this user.
///
/// # Errors
///
/// Every error of the description.
pub fn examine_text(path: &Path, text: &str) -> Result<SourceAudit, bs9_config::Report> {
    let service = bs9_config::parse_service(path, text)?;
    let around = Surroundings::new(service.scope, bs9_config::default_state_folder());
    Ok(examine(&service, None, &around, &Accepted::default()))
}

/// Whether a finding keeps the service from being started.
pub(crate) fn blocks(finding: &SourceFinding) -> bool {
    finding.severity == SourceSeverity::Blocking && !finding.accepted
}

/// Where a finding is: `file:line`, or the file.
pub(crate) struct Where<'f>(pub(crate) &'f SourceFinding);

impl fmt::Display for Where<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.file)?;
        self.0.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

fn runner(service: &Service) -> Runner {
    let own = rustix::process::geteuid().as_raw();
    let uid = match (service.scope, &service.user) {
        (ServiceScope::User, _) => Some(own),
        (ServiceScope::System, None) => Some(0),
        (ServiceScope::System, Some(_)) => None,
    };
    Runner { uid }
}

fn at(path: &Path, text: &str, spotted: Spotted) -> SourceFinding {
    let before = &text.as_bytes()[..spotted.at];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let number = |value: usize| u32::try_from(value).ok();
    SourceFinding {
        rule: spotted.rule.to_owned(),
        severity: spotted.severity,
        file: path.display().to_string(),
        line: number(line),
        column: number(spotted.at - start + 1),
        message: spotted.message,
        hint: spotted.hint.to_owned(),
        accepted: false,
    }
}

fn whole(noticed: Noticed) -> SourceFinding {
    SourceFinding {
        rule: noticed.rule.to_owned(),
        severity: noticed.severity,
        file: noticed.path.display().to_string(),
        line: None,
        column: None,
        message: noticed.message,
        hint: noticed.hint,
        accepted: false,
    }
}

/// The program that runs it, and where others are looked for.
fn program(
    service: &Service,
    around: &Surroundings,
    runner: Runner,
    told: &mut BTreeSet<PathBuf>,
) -> Vec<Noticed> {
    let Ok(program) = Program::of(service, around) else {
        // Why it cannot run is told by the start itself.
        return Vec::new();
    };
    let relaxed = &service.hardening.relax;
    let allowed = [Relaxation::Privileges, Relaxation::Everything];
    let allowed = allowed.iter().any(|relaxation| relaxed.contains(relaxation));
    let mut found = place::writable(&program.path, runner, told);
    found.extend(place::privileged(&program.path, true, allowed));
    let own: Vec<_> = std::env::split_paths(&search_path(&program)).collect();
    found.extend(place::search_path(&own, SourceSeverity::Blocking));
    // Where the manager itself looked before it found the program.
    let folder = program.path.parent();
    let looked = around.path.iter().take_while(|looked| Some(looked.as_path()) != folder);
    let looked: Vec<_> = looked.filter(|looked| !own.contains(looked)).cloned().collect();
    found.extend(place::search_path(&looked, SourceSeverity::Warning));
    found
}

/// Running as root without need.
fn root(
    service: &Service,
    entry: Option<&Path>,
    definition: Option<(&Path, &str)>,
) -> Option<SourceFinding> {
    let (message, hint) = match service.scope {
        ServiceScope::System if service.user.is_none() => (
            "it runs as root",
            "add `user`; a port below 1024 needs no root but hardening.relax = [\"low-ports\"]",
        ),
        ServiceScope::User if rustix::process::geteuid().is_root() => (
            "the manager runs as root, and so does the service",
            "run the manager as another user, or make it a system service with `user`",
        ),
        _ => return None,
    };
    let file = definition.map(|(path, _)| path).or(entry).unwrap_or(&service.working_folder);
    Some(whole(Noticed {
        rule: "runs-as-root",
        severity: SourceSeverity::Warning,
        path: file.to_owned(),
        message: message.to_owned(),
        hint: hint.to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn findings_have_their_place_and_what_blocks_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let token = ["gh", "p_aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5"].concat();
        let text = format!("// é\nimport './b.js'\neval(x)\n  const t = '{token}'\n");
        fs::write(folder.path().join("a.js"), text).unwrap();
        fs::write(folder.path().join("b.js"), "eval(req.body.x)").unwrap();
        let path = folder.path().join("app.toml");
        let audit = examine_text(&path, "script = \"a.js\"").unwrap();
        let rows: Vec<_> = audit
            .findings
            .iter()
            .filter(|finding| finding.line.is_some())
            .map(|f| (f.rule.as_str(), f.file.rsplit('/').next().unwrap(), f.line, f.column))
            .collect();
        assert_eq!(
            rows,
            [
                ("secret-in-source", "a.js", Some(4), Some(3)),
                ("eval-with-input", "b.js", Some(1), Some(1)),
                ("eval", "a.js", Some(3), Some(1)),
            ]
        );
        assert!(!audit.startable);
        assert_eq!(audit.files.len(), 2);
        let told = format!("{audit:?}");
        assert!(!told.contains(&token[4..]), "{told}");
        assert!(examine_text(&path, "scrpt = \"a.js\"").is_err());
    }

    #[test]
    fn what_was_accepted_blocks_no_more_until_the_line_changes() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("a.js");
        let service =
            bs9_config::parse_service(&folder.path().join("app.toml"), "script = \"a.js\"")
                .unwrap();
        let around = Surroundings::new(ServiceScope::User, folder.path().join("state"));
        let state = folder.path().join("state");
        let look = |text: &str| {
            fs::write(&script, text).unwrap();
            examine(&service, None, &around, &Accepted::load(&state, "app"))
        };
        let audit = look("eval(req.body.x)\n");
        assert!(!audit.startable);
        Accepted::load(&state, "app").add(&audit.findings).save(&state, "app").unwrap();
        // It may move.
        assert!(look("let a\n\n  eval(req.body.x)\n").startable);
        assert!(!look("eval(req.body.y)\n").startable);
        Accepted::forget(&state, "app").unwrap();
        assert!(!look("eval(req.body.x)\n").startable);
    }
}
