//! A PostgreSQL server of a test's own, at a Unix socket.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bs9_config::{PostgresStore, ServerAddress};

/// Generous: only a test that fails gets there.
const PATIENCE: Duration = Duration::from_secs(60);
/// Runs the server until standard input ends, as it does with the test's process.
const KEEPER: &str = "\"$@\" & read -r _; kill -QUIT $!; wait";

/// Ends with this, and its folder with it.
pub(super) struct Cluster {
    keeper: Child,
    folder: tempfile::TempDir,
}

impl Cluster {
    pub(super) fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("bs9-pg-").tempdir().unwrap();
        if let Some((user, group)) = account() {
            chown(folder.path(), Some(user), Some(group)).unwrap();
        }
        let data = folder.path().join("data");
        let made = command("initdb")
            .args(["--no-sync", "--auth=trust", "--username=bs9", "--encoding=UTF8", "--no-locale"])
            .arg("-D")
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let this = Self { keeper: launch(folder.path()), folder };
        let deadline = Instant::now() + PATIENCE;
        while !this.socket().exists() || !this.takes_connections() {
            assert!(Instant::now() < deadline, "PostgreSQL does not take connections");
            std::thread::sleep(Duration::from_millis(10));
        }
        this
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join(".s.PGSQL.5432")
    }

    fn takes_connections(&self) -> bool {
        let asked = command("pg_isready").args(["-q", "-h"]).arg(self.folder.path()).status();
        asked.unwrap().success()
    }

    /// A store on it, of a machine of this name.
    pub(super) fn store(&self, host_name: &str) -> PostgresStore {
        PostgresStore {
            address: ServerAddress::Unix(self.socket()),
            dbname: "postgres".into(),
            user: "bs9".into(),
            password: None,
            schema: "bs9".into(),
            host_name: Some(host_name.into()),
            connections: 2,
            spool_bytes: 64 << 20,
            timeout: PATIENCE,
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _reaped_already = self.keeper.wait();
    }
}

fn launch(folder: &Path) -> Child {
    let mut keeper = as_account("sh");
    keeper
        .args(["-c", KEEPER, "sh"])
        .arg(binaries().join("postgres"))
        .arg("-D")
        .arg(folder.join("data"))
        .arg("-k")
        .arg(folder)
        .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=32MB"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(fs::File::create(folder.join("log")).unwrap());
    keeper.spawn().unwrap()
}

/// PostgreSQL refuses to run as root: then the account of the Debian package is used.
fn account() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let accounts = fs::read_to_string("/etc/passwd").unwrap();
    let line = accounts.lines().find(|line| line.starts_with("postgres:"));
    let mut fields = line.expect("an account called postgres (make deps)").split(':').skip(2);
    let mut number = || fields.next().and_then(|id| id.parse().ok()).unwrap();
    Some((number(), number()))
}

/// The programs of the newest PostgreSQL installed.
fn binaries() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL (make deps)");
    let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.flatten().map(|entry| entry.path()).max_by_key(version);
    newest.expect("PostgreSQL (make deps)").join("bin")
}

fn command(program: &str) -> Command {
    let mut command = as_account(binaries().join(program));
    command.stdin(Stdio::null());
    command
}

fn as_account(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    if let Some((user, group)) = account() {
        command.uid(user).gid(group);
    }
    command.current_dir("/").env("LC_ALL", "C").env_remove("PGHOST").env_remove("PGPORT");
    command
}
