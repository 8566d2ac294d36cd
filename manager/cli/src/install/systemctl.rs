//! systemd's own tool, by which units are made known, enabled and started.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use super::place::Scope;
use crate::exit::{Exit, Failure};

/// systemd of one scope, which runs.
#[derive(Debug)]
pub(super) struct Systemctl {
    scope: Scope,
}

impl Systemctl {
    /// # Errors
    /// There is no systemd, or it does not answer this user.
    pub(super) fn find(scope: Scope) -> Result<Self, Failure> {
        let this = Self { scope };
        let missing = |why: String| {
            Failure::new(Exit::Dependency, why).hint(match scope {
                Scope::User => {
                    "`bs9 install` needs a systemd that runs your units (log in with a session of \
                     your own, not by su or sudo); `bs9 serve` and `bs9 manager` need none"
                }
                Scope::System => {
                    "with --root FOLDER a tree of files is prepared without it; `bs9 serve` and \
                     `bs9 manager` need none"
                }
            })
        };
        if !Path::new("/run/systemd/system").is_dir() {
            return Err(missing("this machine does not run systemd".to_owned()));
        }
        // `show-environment` asks the manager and changes nothing.
        this.run(&["show-environment"]).map_err(|failure| {
            let said = failure.render().unwrap_or_default();
            let said = anstream::adapter::strip_str(&said).to_string();
            missing(format!(
                "systemd does not answer ({})",
                said.lines().last().unwrap_or_default().trim()
            ))
        })?;
        Ok(this)
    }

    /// The words before a verb.
    pub(super) fn words(&self) -> Vec<&'static str> {
        match self.scope {
            Scope::User => vec!["systemctl", "--user"],
            Scope::System => vec!["systemctl"],
        }
    }

    /// Whether a unit is active.
    pub(super) fn is_active(&self, unit: &str) -> bool {
        self.run(&["is-active", "--quiet", unit]).is_ok()
    }

    /// Runs one of its verbs.
    ///
    /// # Errors
    /// It failed; what it said, and what the units themselves say, is told.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<(), Failure> {
        let words = self.words();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg("--no-pager").args(arguments).stdin(Stdio::null());
        let output = command.output().map_err(|error| {
            Failure::new(Exit::Dependency, "cannot run systemctl").because(error)
        })?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let what = format!("`{} {}` failed", words.join(" "), arguments.join(" "));
        Err(Failure::new(Exit::System, what).because(anyhow::anyhow!(said)))
    }

    /// The last lines that a unit wrote.
    pub(super) fn last_words(&self, unit: &str) -> String {
        let scope = match self.scope {
            Scope::User => "--user-unit",
            Scope::System => "--unit",
        };
        let output = Command::new("journalctl")
            .args(["--quiet", "--no-pager", "--output=cat", "--lines=5", scope, unit])
            .stdin(Stdio::null())
            .output();
        output
            .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
            .unwrap_or_default()
    }
}
