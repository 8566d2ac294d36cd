//! A PostgreSQL server of the sample's own: in its folder, on a port nobody uses.

use std::{
    env, fs,
    io::{self, Read as _},
    os::unix::fs::{OpenOptionsExt as _, chown},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Signal, geteuid};
use tokio::{
    process::Command,
    time::{Instant, sleep},
};
use tokio_postgres::{Client, NoTls};

use super::{PATIENCE, folder::Folder, port::Port};
use crate::{
    child::Child,
    exit::{Exit, Failure},
    tether::{self, Account},
};

/// Where Debian and its kin keep the programs of each version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// Who may run the server when this process is root, best first; it refuses root.
const ACCOUNTS: [&str; 2] = ["postgres", "nobody"];
/// PostgreSQL's fast shutdown: it does not wait for clients.
const STOP: Signal = Signal::INT;
const PASSWORD_FILE: &str = "password";
const SUPERUSER: &str = "postgres";

/// How clients and the pool log in.
#[derive(Debug, Clone)]
pub(super) struct Login {
    pub(super) socket_folder: PathBuf,
    pub(super) port: u16,
    pub(super) user: &'static str,
    pub(super) database: &'static str,
    pub(super) password: String,
    /// Holds the password; in the sample's folder.
    pub(super) password_file: &'static str,
    pub(super) version: String,
}

/// The programs of an installed PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Programs(PathBuf);

impl Programs {
    /// In the search path, else the newest version installed.
    pub(super) fn find() -> Option<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        Self::find_in(env::split_paths(&path).chain(installed(Path::new(VERSIONS))))
    }

    fn find_in(folders: impl Iterator<Item = PathBuf>) -> Option<Self> {
        let complete = |folder: &PathBuf| {
            ["initdb", "postgres"].iter().all(|name| folder.join(name).is_file())
        };
        folders.into_iter().find(complete).map(Self)
    }

    /// Ends when this process does.
    fn command(
        &self,
        name: &str,
        account: Option<Account>,
        folder: &Path,
    ) -> Result<Command, Failure> {
        let mut command = tether::command(self.0.join(name), STOP, account)
            .map_err(|error| Failure::io(format!("cannot run {name}"), error))?;
        // The folder this process is in may be closed to the other user.
        command.current_dir(folder).env("LC_ALL", "C").kill_on_drop(true);
        if account.is_some() {
            command.env("HOME", folder);
        }
        Ok(command)
    }
}

/// `VERSION/bin`, newest first.
fn installed(versions: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(versions).into_iter().flatten().flatten();
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<f64>().ok();
    let mut found: Vec<_> =
        entries.map(|entry| entry.path()).filter_map(|path| Some((number(&path)?, path))).collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found.into_iter().map(|(_, path)| path.join("bin"))
}

/// Who runs the server; `None`: this user.
fn account() -> Result<Option<Account>, Failure> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")
        .map_err(|error| Failure::io("cannot read /etc/passwd", error))?;
    let found = ACCOUNTS.iter().find_map(|name| account_called(name, &users));
    let none = || {
        Failure::new(
            Exit::Dependency,
            "PostgreSQL refuses to run as root, and there is no other user for it",
        )
        .hint("run `bs9 quickstart` as an ordinary user")
    };
    found.map(Some).ok_or_else(none)
}

/// From the text of passwd(5).
fn account_called(name: &str, users: &str) -> Option<Account> {
    let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some(Account { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
}

/// Makes the server's files and starts it; `keep` holds on to the process as soon as
/// there is one.
///
/// # Errors
/// The server cannot be set up; its own words say why.
pub(super) async fn start(
    programs: &Programs,
    folder: &Folder,
    keep: &mut Vec<Child>,
) -> Result<Login, Failure> {
    let account = account()?;
    let home = folder.join("postgres");
    fs::create_dir(&home)
        .map_err(|error| Failure::io("cannot make a folder for PostgreSQL", error))?;
    give(&home, account)?;
    let password =
        random_password().map_err(|error| Failure::io("cannot make up a password", error))?;
    write_private(&folder.join(PASSWORD_FILE), &password)?;
    let for_setup = home.join("password");
    write_private(&for_setup, &password)?;
    give(&for_setup, account)?;

    initialize(programs, account, &home).await?;
    let port = Port::any("PostgreSQL")
        .map_err(|error| Failure::io("there is no free port", error))?
        .address
        .port();
    let mut command = programs.command("postgres", account, &home)?;
    command
        .args(["-D", "data", "-h", "127.0.0.1", "-k"])
        .arg(&home)
        .args(["-p", &port.to_string()])
        // A sample is thrown away: it need not survive a power cut, and should start at once.
        .args(["-c", "fsync=off", "-c", "shared_buffers=32MB", "-c", "max_connections=50"]);
    let child = Child::start("PostgreSQL", command, &folder.join("postgres.log"), STOP)
        .map_err(|error| Failure::io("cannot start PostgreSQL", error))?;
    keep.push(child);
    let server = keep.last_mut().expect("it was just put there");
    let client = log_in(server, &home, port, &password).await?;
    let version = furnish(&client, &password).await.map_err(|error| {
        Failure::new(Exit::Error, "the sample database cannot be made").because(error)
    })?;
    Ok(Login {
        socket_folder: home,
        port,
        user: "app",
        database: "app",
        password,
        password_file: PASSWORD_FILE,
        version,
    })
}

async fn initialize(
    programs: &Programs,
    account: Option<Account>,
    home: &Path,
) -> Result<(), Failure> {
    let mut command = programs.command("initdb", account, home)?;
    command
        .args(["-D", "data", "-U", SUPERUSER, "--auth=scram-sha-256", "--pwfile=password"])
        .args(["--encoding=UTF8", "--no-locale", "--no-sync"])
        .stdin(Stdio::null());
    let output = command.output().await.map_err(|error| Failure::io("cannot run initdb", error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(
        Exit::Dependency,
        format!("initdb failed:\n  {}", said.trim().replace('\n', "\n  ")),
    ))
}

/// Waits until the server lets somebody in.
async fn log_in(
    server: &mut Child,
    home: &Path,
    port: u16,
    password: &str,
) -> Result<Client, Failure> {
    let mut config = tokio_postgres::Config::new();
    config.host_path(home).port(port).user(SUPERUSER).password(password).dbname("postgres");
    let deadline = Instant::now() + PATIENCE;
    loop {
        match config.connect(NoTls).await {
            Ok((client, connection)) => {
                tokio::task::spawn_local(async move {
                    // The client sees the same error.
                    let _ended = connection.await;
                });
                return Ok(client);
            }
            Err(error) if server.has_ended() || Instant::now() > deadline => {
                let log = server.last_lines(20).join("\n  ");
                return Err(Failure::new(
                    Exit::Dependency,
                    format!("PostgreSQL did not start:\n  {log}"),
                )
                .because(error));
            }
            Err(_) => sleep(Duration::from_millis(25)).await,
        }
    }
}

/// Makes user and database; returns the server's version.
async fn furnish(client: &Client, password: &str) -> Result<String, tokio_postgres::Error> {
    // The password is made of hexadecimal digits: there is nothing to quote.
    client.batch_execute(&format!("CREATE ROLE app LOGIN PASSWORD '{password}'")).await?;
    client.batch_execute("CREATE DATABASE app OWNER app").await?;
    let row = client.query_one("SHOW server_version", &[]).await?;
    let version: String = row.get(0);
    Ok(version.split_whitespace().next().unwrap_or_default().to_owned())
}

fn give(path: &Path, account: Option<Account>) -> Result<(), Failure> {
    let Some(account) = account else { return Ok(()) };
    chown(path, Some(account.uid), Some(account.gid))
        .map_err(|error| Failure::io(format!("cannot give {} away", path.display()), error))
}

fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    use io::Write as _;

    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| Failure::io(format!("cannot write {}", path.display()), error))
}

/// 128 bits of the kernel's randomness, as hexadecimal digits.
fn random_password() -> io::Result<String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_complete_version_is_found() {
        let place = tempfile::tempdir().unwrap();
        for (version, programs) in [
            ("9.6", &["initdb", "postgres"][..]),
            ("13", &["initdb", "postgres"]),
            ("16", &["psql"]),
        ] {
            let bin = place.path().join(version).join("bin");
            fs::create_dir_all(&bin).unwrap();
            for program in programs {
                fs::write(bin.join(program), "").unwrap();
            }
        }
        let found = Programs::find_in(installed(place.path()));
        assert_eq!(found, Some(Programs(place.path().join("13/bin"))));
        assert_eq!(Programs::find_in(installed(&place.path().join("13"))), None);
    }

    #[test]
    fn accounts_are_found_by_their_whole_name() {
        let users = "root:x:0:0::/root:/bin/sh\npostgresql:x:7:8::/:/bin/sh\npostgres:x:101:104::/:/bin/sh\n";
        assert_eq!(account_called("postgres", users), Some(Account { uid: 101, gid: 104 }));
        assert_eq!(account_called("nobody", users), None);
    }

    #[test]
    fn passwords_differ() {
        let (one, two) = (random_password().unwrap(), random_password().unwrap());
        assert_eq!(one.len(), 32);
        assert_ne!(one, two);
    }
}
