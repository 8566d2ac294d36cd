//! Becoming another program, one that ends when the process that started it does.
//!
//! The kernel sends a signal at the end of a parent when it is asked to
//! (`PR_SET_PDEATHSIG`, prctl(2)), and forgets the request when a process changes its
//! user. So it has to be made after that and before the program begins: by this
//! program, which then becomes the other one.

use std::{
    convert::Infallible,
    env,
    ffi::{OsStr, OsString},
    fmt, io,
    os::unix::process::CommandExt as _,
    str::FromStr,
};

use clap::Args;
use rustix::{
    process::{Gid, Pid, Signal, Uid, getpid, getppid, set_parent_process_death_signal},
    thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};
use tokio::process::Command;

use crate::exit::{Exit, Failure};

/// What to become, and with whom to end.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The process to end with; it has to be the one that started this one.
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    parent: i32,
    /// The number of the signal to end by.
    #[arg(long, value_name = "NUMBER", value_parser = signal)]
    signal: Signal,
    /// Whom to become; takes root.
    #[arg(long, value_name = "UID:GID")]
    account: Option<Account>,
    /// The program and its arguments.
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    program: Vec<OsString>,
}

/// A user of this machine, and the one group it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

impl FromStr for Account {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| text.parse().map_err(|_| "not a number");
        let (uid, gid) = text.split_once(':').ok_or("two numbers with a colon between them")?;
        Ok(Self { uid: number(uid)?, gid: number(gid)? })
    }
}

fn signal(text: &str) -> Result<Signal, &'static str> {
    text.parse().ok().and_then(Signal::from_named_raw).ok_or("not the number of a signal")
}

/// `program` as a command that gets `signal` when the thread that starts it ends.
/// Arguments are to be added.
///
/// # Errors
/// The own program cannot be found.
pub(crate) fn command(
    program: impl AsRef<OsStr>,
    signal: Signal,
    account: Option<Account>,
) -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.arg("tethered");
    command.args(["--parent", &getpid().as_raw_nonzero().to_string()]);
    command.args(["--signal", &signal.as_raw().to_string()]);
    if let Some(account) = account {
        command.args(["--account", &account.to_string()]);
    }
    command.arg("--").arg(program);
    Ok(command)
}

/// Becomes the program; returns only when it cannot.
pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    match attach_and_become(arguments)? {}
}

fn attach_and_become(arguments: Arguments) -> Result<Infallible, Failure> {
    if let Some(account) = arguments.account {
        become_account(account)
            .map_err(|error| Failure::io(format!("cannot become user {account}"), error.into()))?;
    }
    set_parent_process_death_signal(Some(arguments.signal))
        .map_err(|error| Failure::io("cannot follow the parent process", error.into()))?;
    // The parent may have ended before this was in place.
    if getppid().map(Pid::as_raw_pid) != Some(arguments.parent) {
        return Err(Failure::new(Exit::Error, "the process that started this one has ended"));
    }
    let (program, rest) = arguments.program.split_first().expect("the parser requires a program");
    let error = std::process::Command::new(program).args(rest).exec();
    Err(Failure::io(format!("cannot run {}", program.display()), error))
}

/// For the calling thread, which is the only one so far.
fn become_account(account: Account) -> rustix::io::Result<()> {
    let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
    set_thread_groups(&[])?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_read_as_they_are_written() {
        let account = Account { uid: 101, gid: 104 };
        assert_eq!(account.to_string().parse(), Ok(account));
        for text in ["", "1", "1:", ":1", "a:1", "1:2:3", "-1:1"] {
            assert!(text.parse::<Account>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn only_signals_are_signals() {
        assert_eq!(signal("2"), Ok(Signal::INT));
        for text in ["", "0", "INT", "999"] {
            assert!(signal(text).is_err(), "{text:?}");
        }
    }
}
