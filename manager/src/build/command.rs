//! How a compiler is started: by the manager itself, or, where the manager is confined, by
//! systemd outside of its confinement.

use std::{
    ffi::{OsStr, OsString},
    fs,
    path::Path,
    process::Stdio,
    time::Duration,
};

use bs9_config::ServiceScope;
use tokio::process::Command;

use crate::unit::Surroundings;

/// After this long beyond its limit systemd ends what nobody waits for any more.
const GRACE: Duration = Duration::from_secs(5);

/// A program that gets nothing of the manager's environment, as that could be secret. It is
/// ended after `limit` by whoever started it.
pub(super) fn command(
    program: &Path,
    arguments: &[&str],
    folder: &Path,
    around: &Surroundings,
    limit: Duration,
) -> Command {
    let mut environment = vec![
        ("PATH", std::env::join_paths(&around.path).unwrap_or_default()),
        ("NO_COLOR", OsString::from("1")),
    ];
    if let Some(home) = &around.home {
        environment.push(("HOME", home.into()));
    }
    let mut command = match is_confined() {
        false => Command::new(program),
        true => by_systemd(program, folder, around.scope, &environment, limit),
    };
    match is_confined() {
        false => command.args(arguments).current_dir(folder).env_clear().envs(environment),
        // systemd would put variables in place of what begins with a dollar sign.
        true => command.args(arguments.iter().map(|text| text.replace('$', "$$"))),
    };
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// A transient unit of systemd's (systemd-run(1)), whose output comes here and whose end is
/// waited for.
fn by_systemd(
    program: &Path,
    folder: &Path,
    scope: ServiceScope,
    environment: &[(&str, OsString)],
    limit: Duration,
) -> Command {
    let mut command = Command::new("systemd-run");
    command
        .arg(match scope {
            ServiceScope::User => "--user",
            ServiceScope::System => "--system",
        })
        .args(["--quiet", "--pipe", "--wait", "--collect", "--service-type=exec"])
        .arg("--description=compiles a service of bs9's")
        .arg("--property=NoNewPrivileges=yes")
        .arg(format!("--property=RuntimeMaxSec={}", (limit + GRACE).as_secs()))
        .arg(joined("--working-directory=", folder.as_os_str()));
    for (name, value) in environment {
        command.arg(joined(&format!("--setenv={name}="), value));
    }
    command.arg("--").arg(program);
    command
}

fn joined(option: &str, value: &OsStr) -> OsString {
    let mut whole = OsString::from(option);
    whole.push(value);
    whole
}

/// Whether system calls of this process, and of what it starts, are filtered: seccomp's mode 2
/// (proc(5)), as in the unit that `bs9 install` makes. Then it may not make code while it runs
/// either, nor write where compilers keep what they remember.
fn is_confined() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2"))
}
