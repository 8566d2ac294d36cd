//! `bs9 doctor`: what this machine has of what bs9 can use. Asks no manager.

use std::{fs, path::Path};

use bs9_config::ServiceScope;
use serde::Serialize;

use crate::{
    service::linger,
    systemd::{Systemd, scope_word},
    unit::Surroundings,
};

/// Versions from which on something works by itself.
const KNOWS_RESTART_STEPS: u32 = 254;
/// The oldest that is tried.
const OLDEST: u32 = 247;

/// What was found of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub what: String,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// How good a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Something does not work as well as it could.
    Note,
    /// Something does not work.
    Bad,
}

impl Finding {
    fn new(what: &str, verdict: Verdict, found: impl Into<String>) -> Self {
        Self { what: what.to_owned(), verdict, found: found.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Looks at everything.
pub async fn examine() -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.push(systemd(ServiceScope::User).await);
    if rustix::process::geteuid().is_root() {
        findings.push(systemd(ServiceScope::System).await);
    }
    let around = Surroundings::new(ServiceScope::User, bs9_config::default_state_folder());
    findings.push(lingering());
    findings.push(control_groups());
    for (program, what) in [
        ("journalctl", "logs of services"),
        ("systemd-analyze", "security scores in `bs9 inspect`"),
    ] {
        findings.push(match around.find(program) {
            Some(path) => Finding::new(program, Verdict::Good, path.display().to_string()),
            None => Finding::new(program, Verdict::Note, format!("missing; no {what}"))
                .hint("it comes with the systemd package"),
        });
    }
    findings.push(interpreters(&around));
    findings.push(low_ports());
    findings
}

async fn systemd(scope: ServiceScope) -> Finding {
    let what = format!("{} systemd", scope_word(scope));
    match Systemd::new(scope).version().await {
        Ok(version) if version < OLDEST => {
            Finding::new(&what, Verdict::Note, format!("version {version}"))
                .hint(format!("bs9 is made for {OLDEST} and later"))
        }
        Ok(version) if version < KNOWS_RESTART_STEPS => Finding::new(
            &what,
            Verdict::Good,
            format!("version {version}; delays between restarts grow by the manager's hand"),
        ),
        Ok(version) => Finding::new(&what, Verdict::Good, format!("version {version}")),
        Err(error) => Finding::new(&what, Verdict::Bad, error.to_string()).hint(match scope {
            ServiceScope::User => {
                "log in as the user (not by `su` or `sudo`), so that XDG_RUNTIME_DIR is set and the \
                 user's systemd runs; on Debian the package dbus-user-session is needed"
            }
            ServiceScope::System => "this machine was not booted with systemd",
        }),
    }
}

fn lingering() -> Finding {
    let uid = rustix::process::getuid().as_raw();
    let user = linger::user_name(uid).unwrap_or_else(|| uid.to_string());
    match linger::is_on(&user) {
        true => Finding::new("lingering", Verdict::Good, format!("on for {user}")),
        false => Finding::new(
            "lingering",
            Verdict::Note,
            format!("off for {user}: user services stop at logout and do not start at boot"),
        )
        .hint(format!("sudo loginctl enable-linger {user}")),
    }
}

/// Whether limits of memory and CPU take effect.
fn control_groups() -> Finding {
    const WHAT: &str = "control groups";
    let unified = Path::new("/sys/fs/cgroup/cgroup.controllers");
    match fs::read_to_string(unified) {
        Ok(controllers) => {
            let has = |name: &str| controllers.split_whitespace().any(|found| found == name);
            match ["memory", "cpu", "pids"].iter().all(|name| has(name)) {
                true => Finding::new(WHAT, Verdict::Good, "version 2 with memory, cpu and pids"),
                false => Finding::new(
                    WHAT,
                    Verdict::Note,
                    format!("version 2 with {} only", controllers.trim()),
                )
                .hint("limits of what is missing have no effect"),
            }
        }
        Err(_) => Finding::new(WHAT, Verdict::Note, "version 1 or hybrid").hint(
            "limits of user services have no effect here, those of system services have; boot with \
             systemd.unified_cgroup_hierarchy=1",
        ),
    }
}

fn interpreters(around: &Surroundings) -> Finding {
    let all = ["node", "bun", "deno", "python3", "bash"];
    let found: Vec<_> = all
        .into_iter()
        .filter_map(|name| Some(format!("{name} ({})", around.find(name)?.display())))
        .collect();
    match found.is_empty() {
        true => Finding::new("interpreters", Verdict::Note, "none; only programs can be started"),
        false => Finding::new("interpreters", Verdict::Good, found.join(", ")),
    }
}

fn low_ports() -> Finding {
    let path = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
    let first = fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u16>().ok());
    let first = first.unwrap_or(1024);
    Finding::new("ports", Verdict::Good, format!("from {first} on everybody may take them"))
}
