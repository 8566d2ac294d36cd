//! The configurations of the sample, as a person would write them.

use std::net::SocketAddr;

use super::postgres::Login;
use crate::from_flags::quoted;

/// Where everything listens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addresses {
    pub(super) http: SocketAddr,
    pub(super) tcp: SocketAddr,
    pub(super) pool: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) endpoints: [SocketAddr; 2],
}

/// `bs9.toml`; with a pool when there is a PostgreSQL server.
pub(super) fn data_plane(addresses: &Addresses, login: Option<&Login>) -> String {
    let Addresses { http, tcp, admin, endpoints: [one, two], .. } = addresses;
    let proxy = format!(
        r#"# Written by `bs9 quickstart`. Change it while it runs: it is put in force as soon as it is saved.

[runtime]
drain_timeout = "5s"

[admin]
socket = "dataplane.sock"
listen = "{admin}"                  # /metrics and /health/*

[listeners.web]
bind = ["{http}"]
protocol = "http"

[[listeners.web.routes]]
cluster = "sample"

[listeners.tcp]
bind = ["{tcp}"]
protocol = "tcp"
cluster = "sample"

[clusters.sample]
balance = "round-robin"
endpoints = ["{one}", "{two}"]
health_check = {{ path = "/healthz", interval = "1s" }}
"#
    );
    match login {
        Some(login) => proxy + &pool(addresses, login),
        None => proxy,
    }
}

fn pool(addresses: &Addresses, login: &Login) -> String {
    let host = quoted(&login.socket_folder.display().to_string());
    format!(
        r#"
[listeners.db]
bind = ["{pool}"]
protocol = "postgres"

[postgres]
auth = "scram-sha-256"
pool_mode = "transaction"
pool_size = 10

[postgres.databases.{database}]
host = {host}
port = {port}

[postgres.users.{user}]
password = "file:{password_file}"
"#,
        pool = addresses.pool,
        database = login.database,
        port = login.port,
        user = login.user,
        password_file = login.password_file,
    )
}

/// `manager.toml`.
pub(super) fn manager() -> &'static str {
    r#"# Written by `bs9 quickstart`.
state_folder = "manager"

[admin]
socket = "manager.sock"

[dataplane]
socket = "dataplane.sock"
"#
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Addresses {
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Addresses {
            http: local(8080),
            tcp: local(6380),
            pool: local(6432),
            admin: local(9901),
            endpoints: [local(3001), local(3002)],
        }
    }

    #[test]
    fn what_is_written_is_valid() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("password"), "secret\n").unwrap();
        let login = Login {
            socket_folder: folder.path().to_owned(),
            port: 5433,
            user: "app",
            database: "app",
            password: "secret".to_owned(),
            password_file: "password",
            version: "15".to_owned(),
        };
        let name = folder.path().join("bs9.toml").display().to_string();
        for login in [None, Some(&login)] {
            let config = bs9_config::parse_str(&name, &data_plane(&addresses(), login)).unwrap();
            assert_eq!(config.listeners.len(), if login.is_some() { 3 } else { 2 });
            assert_eq!(config.postgres.is_some(), login.is_some());
        }
        bs9_config::parse_manager_str(&name, manager()).unwrap();
    }
}
