//! `bs9 dbpool start`: a pool from flags.

use std::net::SocketAddr;

use bs9_config::Config;
use clap::Args;

use super::{Server, measure};
use crate::{
    cli::Global,
    dataplane::Ready,
    exit::Failure,
    from_flags,
    terminal::{self, STRONG},
};

const EXAMPLES: &str = "\
Examples:
  PGPASSWORD=secret bs9 dbpool start --host db.internal --database app --username app
  bs9 dbpool start --host /var/run/postgresql --database app --username app --max-connections 40
  psql -h 127.0.0.1 -p 6432 -U app -d app           clients connect to the pool like this

Clients log in with the same user and password. For more than one database or user, write a file
and use `bs9 serve --config FILE`. -h is help; the server is --host.";

/// A pool in flags.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    server: Server,
    /// Where clients connect.
    #[arg(long, default_value = "127.0.0.1:6432", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
}

pub(super) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    let config = configuration(&arguments)?;
    let server = arguments.server;
    from_flags::serve(config, global, async move |ready: Ready| announce(&server, &ready).await)
}

async fn announce(server: &Server, ready: &Ready) -> Result<(), Failure> {
    let Some((_, address)) = ready.addresses.first() else { return Ok(()) };
    terminal::say(format_args!(
        "{STRONG}pool{STRONG:#} on {address}, database {}, user {}",
        server.database, server.username
    ))?;
    terminal::say(format_args!("  bs9 dbpool stats --socket {}", ready.socket.display()))?;
    let Ok(address) = address.parse() else { return Ok(()) };
    // Not a reason to stop: the server may come up later.
    match measure::warm_up(&server.pooled_config(&reachable(address)), server.min_connections())
        .await
    {
        Ok(()) => tracing::info!(connections = server.min_connections(), "connected to the server"),
        Err(error) => {
            tracing::warn!(%error, "the server cannot be used yet; clients will wait for it")
        }
    }
    Ok(())
}

/// Where this machine reaches something that listens on `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    let ip = match address {
        SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}

fn configuration(arguments: &Arguments) -> Result<Config, Failure> {
    from_flags::configuration("pool", &arguments.server.pool_configuration(&arguments.listen))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn familiar_flags_make_a_configuration() {
        let line = Line::parse_from([
            "start",
            "--host",
            "db",
            "--port",
            "5433",
            "--database",
            "my app",
            "--username",
            "o'hara",
            "--password",
            "a\"b\\c",
            "--max-connections",
            "7",
            "--min-connections",
            "9",
        ]);
        let config = configuration(&line.arguments).unwrap();
        let postgres = config.postgres.unwrap();
        let database = &postgres.databases["my app"];
        assert_eq!(database.pool_size, 7);
        let secret = postgres.users["o'hara"].secret.clone().unwrap();
        assert_eq!(secret, bs9_config::UserSecret::Plain(bs9_config::Secret::new("a\"b\\c")));
        assert_eq!(line.arguments.server.min_connections(), 7);
    }
}
