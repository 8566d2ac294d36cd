//! What a person is told: where things are, and what to try.

use std::{
    env,
    fmt::Display,
    path::{Path, PathBuf},
};

use super::{configuration::Addresses, postgres::Login};
use crate::{
    exit::Failure,
    terminal::{self, FAINT, GOOD, STRONG},
};

/// Everything worth saying.
pub(super) struct Guide {
    pub(super) addresses: Addresses,
    pub(super) login: Option<Login>,
    pub(super) manager_socket: PathBuf,
    pub(super) folder: PathBuf,
    pub(super) kept: bool,
}

/// The first line.
pub(super) fn starting(folder: &Path) -> impl Display {
    format!("{FAINT}starting in {}{FAINT:#}", folder.display())
}

impl Guide {
    pub(super) fn print(&self) -> Result<(), Failure> {
        let Addresses { http, tcp, pool, admin, .. } = &self.addresses;
        terminal::say(format_args!("\n{GOOD}bs9 is running{GOOD:#}\n"))?;
        row("http", format!("http://{http}/"), "two sample endpoints, in turn")?;
        row("tcp", tcp.to_string(), "the same endpoints, as plain TCP")?;
        if let Some(login) = &self.login {
            let note = format!("a pool in front of PostgreSQL {}", login.version);
            row("pool", pool.to_string(), &note)?;
        }
        row("metrics", format!("http://{admin}/metrics"), "for Prometheus")?;
        let end = if self.kept { "stays" } else { "removed at the end" };
        row(
            "folder",
            self.folder.display().to_string(),
            &format!("bs9.toml, manager.toml and logs; {end}"),
        )?;
        terminal::say(format_args!("\n{STRONG}Try, in another terminal:{STRONG:#}\n"))?;
        for command in self.commands() {
            terminal::say(format_args!("  {command}"))?;
        }
        terminal::say(format_args!("\n{FAINT}Ctrl-C ends everything.{FAINT:#}\n"))
    }

    /// Commands that work as they stand.
    fn commands(&self) -> Vec<String> {
        let mut commands = vec![format!("curl http://{}/", self.addresses.http)];
        if let Some(login) = &self.login {
            commands.push(format!(
                "psql postgres://{}:{}@{}/{} -c 'select version()'",
                login.user, login.password, self.addresses.pool, login.database
            ));
        }
        commands.push(format!(
            "{} status --socket {}",
            own_program(),
            self.manager_socket.display()
        ));
        commands
    }
}

fn row(what: &str, place: String, note: &str) -> Result<(), Failure> {
    terminal::say(format_args!(
        "  {STRONG}{what:<8}{STRONG:#}  {place:<32}  {FAINT}{note}{FAINT:#}"
    ))
}

/// How this program is called from here: `bs9` when the shell finds it.
fn own_program() -> String {
    let Ok(own) = env::current_exe() else { return "bs9".to_owned() };
    let path = env::var_os("PATH").unwrap_or_default();
    let found =
        env::split_paths(&path).map(|folder| folder.join("bs9")).find(|program| program.is_file());
    if found.and_then(|found| found.canonicalize().ok()) == own.canonicalize().ok() {
        return "bs9".to_owned();
    }
    let here = env::current_dir().unwrap_or_default();
    match own.strip_prefix(&here) {
        // Without a slash a shell would look for it in the search path.
        Ok(path) if path.components().count() == 1 => format!("./{}", path.display()),
        Ok(path) => path.display().to_string(),
        Err(_) => own.display().to_string(),
    }
}
