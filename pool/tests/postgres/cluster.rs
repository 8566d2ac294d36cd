//! A private PostgreSQL cluster in a temporary folder.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use super::{Certificates, eventually};

/// Users by the way the server has them log in over TCP; everyone else is trusted.
const HBA: &str = "\
local all all trust
host all by_md5 all md5
host all by_scram all scram-sha-256
host all by_password all password
hostssl all by_tls all scram-sha-256
hostnossl all by_tls all reject
hostssl all without_tls all reject
hostnossl all without_tls all trust
hostssl all by_cert all cert
host all all all trust
";

/// Everybody's password.
pub(crate) const PASSWORD: &str = "correct horse";

/// A running cluster; stopped and removed when dropped.
pub(crate) struct Cluster {
    folder: Folder,
    port: u16,
    child: Option<Child>,
}

enum Folder {
    /// This process's, removed with it.
    Own(tempfile::TempDir),
    /// Other processes use it, too.
    Shared(PathBuf),
}

impl Cluster {
    /// The password of every user of the cluster that has one.
    pub(crate) const PASSWORD: &str = PASSWORD;

    /// One for all tests, whichever process they run in. It outlives this process, and is
    /// stopped and removed a few seconds after the last one that uses it has ended.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(Self::share)
    }

    fn share() -> Self {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let open = |name: &str| {
            let file = fs::OpenOptions::new().create(true).append(true).open(place.join(name));
            file.expect("a file in the target folder")
        };
        // Held until the process ends: the cluster is in use.
        let in_use = Box::leak(Box::new(open("pool-tls-cluster.users")));
        in_use.lock_shared().expect("a lock");
        let starting = open("pool-tls-cluster.start");
        starting.lock().expect("a lock");
        let note = place.join("pool-tls-cluster.place");
        let known = fs::read_to_string(&note).unwrap_or_default();
        if let Some((port, folder)) = known.split_once(' ')
            && let Ok(port) = port.parse()
            && is_ready(port)
            && Path::new(folder).exists()
        {
            return Self { folder: Folder::Shared(folder.into()), port, child: None };
        }
        let mut cluster = Self::start();
        cluster.make_pgbench_tables();
        let folder = cluster.path().to_owned();
        if let Folder::Own(own) = &mut cluster.folder {
            own.disable_cleanup(true);
        }
        stop_when_unused(open("pool-tls-cluster.users"), &folder);
        fs::write(&note, format!("{} {}", cluster.port, folder.display())).expect("a note");
        // Dropped without stopping: it is everybody's now.
        cluster.child = None;
        Self { folder: Folder::Shared(folder), port: cluster.port, child: None }
    }

    /// Makes a cluster with the users of [`HBA`] and starts it.
    pub(crate) fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("bs9-pool-").tempdir().expect("a folder");
        let owner = server_account();
        if let Some((user, group)) = owner {
            std::os::unix::fs::chown(folder.path(), Some(user), Some(group)).expect("chown");
        }
        let data = folder.path().join("data");
        let made = command("initdb")
            .args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8"])
            .args(["--locale=C", "-D"])
            .arg(&data)
            .stdout(Stdio::null())
            .status()
            .expect("initdb runs");
        assert!(made.success(), "initdb failed");
        fs::write(data.join("pg_hba.conf"), HBA).expect("pg_hba.conf");
        Certificates::issue(folder.path(), owner);
        let port = free_port();
        let child = Some(Self::launch(folder.path(), port));
        let cluster = Self { folder: Folder::Own(folder), port, child };
        cluster.wait_until_ready();
        cluster.make_users();
        cluster
    }

    fn launch(folder: &Path, port: u16) -> Child {
        let log = fs::File::create(folder.join("log")).expect("a log");
        command("postgres")
            .arg("-D")
            .arg(folder.join("data"))
            .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-k"])
            .arg(folder)
            .args(["-c", "ssl=on", "-c"])
            .arg(format!("ssl_cert_file={}", folder.join("server.pem").display()))
            .arg("-c")
            .arg(format!("ssl_key_file={}", folder.join("server.key").display()))
            .arg("-c")
            .arg(format!("ssl_ca_file={}", folder.join("ca.pem").display()))
            .args(["-c", "fsync=off", "-c", "max_connections=60", "-c", "shared_buffers=16MB"])
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("postgres runs")
    }

    fn wait_until_ready(&self) {
        eventually("the cluster takes connections", || is_ready(self.port));
    }

    fn make_users(&self) {
        self.sql(&format!(
            "CREATE DATABASE app;
             CREATE ROLE alice SUPERUSER LOGIN;
             CREATE ROLE bob LOGIN;
             CREATE ROLE crowd LOGIN;
             CREATE ROLE mortal LOGIN;
             SET password_encryption = 'md5';
             CREATE ROLE by_md5 LOGIN PASSWORD '{PASSWORD}';
             SET password_encryption = 'scram-sha-256';
             CREATE ROLE by_scram LOGIN PASSWORD '{PASSWORD}';
             CREATE ROLE by_password LOGIN PASSWORD '{PASSWORD}';
             CREATE ROLE by_tls LOGIN PASSWORD '{PASSWORD}';
             CREATE ROLE without_tls LOGIN;
             CREATE ROLE by_cert LOGIN;"
        ));
    }

    fn make_pgbench_tables(&self) {
        let made = command("pgbench")
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "alice"])
            .args(["-q", "-i", "-s", "1", "app"])
            .output()
            .expect("pgbench runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// Runs statements as the superuser, past the pool; returns what the last one printed.
    pub(crate) fn sql(&self, statements: &str) -> String {
        let mut arguments = vec!["-XqAt", "-v", "ON_ERROR_STOP=1"];
        let statements: Vec<&str> =
            statements.split(';').map(str::trim).filter(|one| !one.is_empty()).collect();
        for statement in &statements {
            arguments.extend(["-c", statement]);
        }
        let output = command("psql")
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres"])
            .args(["-d", "postgres"])
            .args(arguments)
            .output()
            .expect("psql runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Makes these roles anew.
    pub(crate) fn make_roles(&self, roles: &[impl AsRef<str>]) {
        let again = |role| format!("DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN;");
        self.sql(&roles.iter().map(AsRef::as_ref).map(again).collect::<String>());
    }

    /// Connections these roles have; of one that was closed only now the server may know no end yet.
    pub(crate) fn connections_of(&self, roles: &[&str]) -> usize {
        let among = format!("'{}'", roles.join("','"));
        let count = format!("SELECT count(*) FROM pg_stat_activity WHERE usename IN ({among})");
        self.sql(&count).parse().expect("a number")
    }

    /// Ends the connections of a role, and waits until they have ended.
    pub(crate) fn end_connections_of(&self, role: &str) {
        let staying = self.sql(&format!(
            "SELECT count(*) FILTER (WHERE NOT pg_terminate_backend(pid, 20000))
             FROM pg_stat_activity WHERE usename = '{role}'"
        ));
        assert_eq!(staying, "0", "connections of {role}");
    }

    /// Where it listens itself, past any pool.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Where it listens on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where its Unix socket is.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path().join(format!(".s.PGSQL.{}", self.port))
    }

    /// A program that comes with the server.
    pub(crate) fn tool(name: &str) -> Command {
        command(name)
    }

    /// Stops the server at once, without goodbye.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            stop(&self.path().join("data"));
            let _ended = child.wait();
        }
    }

    /// Its folder, with the certificates of [`Certificates`].
    pub(crate) fn path(&self) -> &Path {
        match &self.folder {
            Folder::Own(folder) => folder.path(),
            Folder::Shared(folder) => folder,
        }
    }

    /// Starts it again on the same port.
    pub(crate) fn start_again(&mut self) {
        self.child = Some(Self::launch(self.path(), self.port));
        self.wait_until_ready();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

fn is_ready(port: u16) -> bool {
    command("pg_isready")
        .args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()])
        .status()
        .is_ok_and(|status| status.success())
}

/// Leaves somebody behind who stops and removes a cluster when nobody has held a lock on
/// `users` for a while. Whoever comes meanwhile waits, and then starts another.
fn stop_when_unused(users: fs::File, folder: &Path) {
    let script = "\
        unused=0
        while sleep 1; do
            if ! flock -n -x 0; then unused=0; continue; fi
            unused=$((unused + 1))
            if [ $unused -ge 5 ]; then break; fi
            flock -u 0
        done
        \"$1\" stop -D \"$2/data\" -m immediate -s
        rm -rf \"$2\"";
    let mut watcher = Command::new("sh");
    if let Some((user, group)) = server_account() {
        watcher.uid(user).gid(group);
    }
    let watcher = watcher
        .args(["-c", script, "sh"])
        .arg(binaries().join("pg_ctl"))
        .arg(folder)
        .current_dir("/")
        .stdin(users)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn();
    drop(watcher.expect("sh runs"));
}

fn stop(data: &Path) {
    let _stopped_already = command("pg_ctl")
        .args(["stop", "-m", "immediate", "-s", "-D"])
        .arg(data)
        .stderr(Stdio::null())
        .status();
}

/// PostgreSQL refuses to run as root: then the account of the Debian package is used.
fn server_account() -> Option<(u32, u32)> {
    let own = fs::metadata("/proc/self").expect("/proc").uid();
    if own != 0 {
        return None;
    }
    let accounts = fs::read_to_string("/etc/passwd").expect("accounts");
    let line = accounts.lines().find(|line| line.starts_with("postgres:"));
    let mut fields = line.expect("an account called postgres").split(':').skip(2);
    let mut number = || fields.next().and_then(|id| id.parse().ok()).expect("an id");
    Some((number(), number()))
}

/// The newest PostgreSQL installed.
fn binaries() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
    let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.flatten().map(|entry| entry.path()).max_by_key(version);
    newest.expect("a version of PostgreSQL").join("bin")
}

fn command(program: &str) -> Command {
    let mut command = Command::new(binaries().join(program));
    if let Some((user, group)) = server_account() {
        command.uid(user).gid(group);
    }
    command.current_dir("/").env("LC_ALL", "C").env_remove("PGHOST").env_remove("PGPORT");
    // What past the pool is done needs none; who wants it says so.
    command.env("PGSSLMODE", "disable").env("PGPASSWORD", PASSWORD);
    // Nobody's own certificates.
    command.env("HOME", "/");
    command
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("its number").port();
    drop(listener);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "the port is in use");
    port
}
