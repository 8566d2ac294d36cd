//! What a suite is run against.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use crate::fixture::{
    DataPlane,
    postgres::{Cluster, PASSWORD},
    write,
};

/// Where suites have their tables.
pub(crate) const DATABASE: &str = "drivers";

/// How users prove who they are, to the server and to the pool alike. Everybody else is let in.
const RULES: &str = "local all all trust\n\
    host all md5_user all md5\nhost all scram_user all scram-sha-256\nhost all all all trust\n";

/// A server of its own, and perhaps a pool in front of it.
pub(crate) struct Side {
    cluster: Cluster,
    data_plane: Option<DataPlane>,
    folder: tempfile::TempDir,
}

impl Side {
    /// `mode`: of the pool; `None`: without.
    pub(crate) fn start(mode: Option<&str>) -> Self {
        let cluster = Cluster::start();
        cluster.rule(RULES);
        cluster.sql("postgres", &format!("alter role postgres password '{PASSWORD}'"));
        cluster.sql("postgres", &format!("create database {DATABASE}"));
        for user in ["pass_user", "scram_user"] {
            cluster.sql("postgres", &format!("create role {user} login password 'password'"));
        }
        cluster.sql(
            "postgres",
            "set password_encryption = 'md5'; create role md5_user login password 'password'",
        );
        // What tokio-postgres's suite finds there.
        for extension in ["citext", "hstore", "ltree"] {
            cluster.sql("postgres", &format!("create extension {extension}"));
        }
        let folder = tempfile::tempdir().unwrap();
        let data_plane = mode.map(|mode| pool(&cluster, mode, folder.path()));
        Self { cluster, data_plane, folder }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match &self.data_plane {
            Some(data_plane) => data_plane.running.address("db"),
            None => SocketAddr::from(([127, 0, 0, 1], self.cluster.port())),
        }
    }

    /// Room for what a run leaves behind.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// What leads each of the suites here.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let address = self.address();
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let dsn = format!("host={host} port={port} user=postgres dbname={DATABASE}");
        vec![
            ("PGHOST", host),
            ("PGPORT", port),
            ("PGUSER", "postgres".into()),
            ("PGDATABASE", DATABASE.into()),
            ("PSYCOPG2_TESTDB", DATABASE.into()),
            ("PSYCOPG2_TEST_FAST", "1".into()),
            ("PSYCOPG_TEST_DSN", dsn),
            ("SCRAM_TEST_PGUSER", "scram_user".into()),
            ("SCRAM_TEST_PGPASSWORD", "password".into()),
        ]
    }
}

fn pool(cluster: &Cluster, mode: &str, folder: &Path) -> DataPlane {
    let rules = folder.join("rules");
    write(&rules, RULES);
    let users: String = ["postgres", "pass_user", "md5_user", "scram_user"]
        .map(|user| {
            let password = if user == "postgres" { PASSWORD } else { "password" };
            format!("[postgres.users.{user}]\npassword = \"{password}\"\n")
        })
        .concat();
    DataPlane::serve(&format!(
        "[listeners.db]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"postgres\"\n\
         [postgres]\nauth = \"hba:{}\"\npool_mode = \"{mode}\"\npool_size = 100\n\
         auth_user = \"postgres\"\nauth_dbname = \"postgres\"\n{users}\
         [postgres.databases.\"*\"]\nhost = \"127.0.0.1\"\nport = {}\n",
        rules.display(),
        cluster.port()
    ))
}
