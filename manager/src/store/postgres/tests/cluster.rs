//! A PostgreSQL server of a test's own, at a Unix socket.

use std::{
    io::{BufRead as _, BufReader, Read},
    process::{Child, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use bs9_config::{PostgresStore, ServerAddress};

#[path = "../../../../cli/tests/fixture/postgres/programs.rs"]
#[allow(unreachable_pub, reason = "whole-program tests use it, too")]
mod programs;

/// Generous: only a test that fails gets there.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends with this, and its folder with it.
pub(super) struct Cluster {
    keeper: Child,
    folder: tempfile::TempDir,
}

impl Cluster {
    pub(super) fn start() -> Self {
        let folder = programs::initdb("bs9");
        let settings = ["listen_addresses=", "shared_buffers=32MB"];
        let mut keeper = programs::launch(folder.path(), &settings, Stdio::piped());
        let log = keeper.stderr.take().unwrap();
        let this = Self { keeper, folder };
        until_ready(log);
        this
    }

    /// A store on it, of a machine of this name.
    pub(super) fn store(&self, host_name: &str) -> PostgresStore {
        PostgresStore {
            address: ServerAddress::Unix(self.folder.path().join(".s.PGSQL.5432")),
            dbname: "postgres".into(),
            user: "bs9".into(),
            password: None,
            tls: None,
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

/// Waits for the server's word that it takes connections; its log is read to the end.
fn until_ready(log: impl Read + Send + 'static) {
    let (said, heard) = mpsc::channel();
    thread::spawn(move || {
        // Nobody listens any more once it is ready.
        BufReader::new(log).lines().map_while(Result::ok).for_each(|line| drop(said.send(line)));
    });
    let mut lines = String::new();
    loop {
        match heard.recv_timeout(PATIENCE) {
            Ok(line) if line.contains("ready to accept connections") => return,
            Ok(line) => lines.extend([&line, "\n"]),
            Err(_) => panic!("PostgreSQL does not take connections:\n{lines}"),
        }
    }
}
