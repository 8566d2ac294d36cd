//! `bs9 dbpool`: run a PostgreSQL pool from flags, watch it, measure it.

use std::net::SocketAddr;

use bs9_api::types::PoolOrder;
use clap::{Args, Subcommand};

mod bench;
mod measure;
mod order;
mod people;
mod start;
mod stats;
mod top;

use crate::{cli::Global, exit::Failure, from_flags::quoted};

/// What to do with a pool.
#[derive(Debug, Subcommand)]
#[command(arg_required_else_help = true)]
pub(crate) enum Action {
    /// Run a pool from flags, in the foreground.
    Start(start::Arguments),
    /// Show the pools of a running data plane.
    Stats(stats::Arguments),
    /// Show the busiest pools, with rates and times, until interrupted.
    Top(top::Arguments),
    /// Show who is connected.
    Clients(people::Arguments),
    /// Show the connections to servers.
    Servers(people::Arguments),
    /// Hand out no server connection; wait until all are back.
    Pause(order::PauseArguments),
    /// Undo a pause or a kill.
    Resume(order::Arguments),
    /// Replace each server connection as soon as its transaction ends.
    Reconnect(order::Arguments),
    /// Let no new client in.
    Disable(order::Arguments),
    /// Let clients in again.
    Enable(order::Arguments),
    /// Disconnect every client and server at once, and pause.
    Kill(order::PauseArguments),
    /// Measure a server directly and through the pool.
    Test(bench::Arguments),
}

pub(crate) fn run(action: Action, global: &Global) -> Result<(), Failure> {
    match action {
        Action::Start(arguments) => start::run(arguments, global),
        Action::Stats(arguments) => stats::run(&arguments, global),
        Action::Top(arguments) => top::run(&arguments, global),
        Action::Clients(arguments) => people::clients(&arguments, global),
        Action::Servers(arguments) => people::servers(&arguments, global),
        Action::Pause(arguments) => order::pause(PoolOrder::Pause, arguments, global),
        Action::Resume(arguments) => order::run(PoolOrder::Resume, arguments, global),
        Action::Reconnect(arguments) => order::run(PoolOrder::Reconnect, arguments, global),
        Action::Disable(arguments) => order::run(PoolOrder::Disable, arguments, global),
        Action::Enable(arguments) => order::run(PoolOrder::Enable, arguments, global),
        Action::Kill(arguments) => order::pause(PoolOrder::Kill, arguments, global),
        Action::Test(arguments) => bench::run(&arguments, global),
    }
}

/// A PostgreSQL server, and who logs in to it.
#[derive(Debug, Clone, Args)]
struct Server {
    /// Name or address of the server, or the folder of its unix socket.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Its port.
    #[arg(long, default_value_t = 5432)]
    port: u16,
    /// The database.
    #[arg(long, default_value = "testdb")]
    database: String,
    /// Who logs in.
    #[arg(long, default_value = "user")]
    username: String,
    /// The password; better in the environment, where `ps` does not show it.
    #[arg(
        long,
        env = "PGPASSWORD",
        hide_env_values = true,
        default_value = "password",
        hide_default_value = true
    )]
    password: String,
    /// Most connections to the server.
    #[arg(long, default_value_t = 10, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    max_connections: u16,
    /// Connections to the server that are made at once at the start, and kept.
    #[arg(long, default_value_t = 2, value_name = "COUNT")]
    min_connections: u16,
}

impl Server {
    /// Never more than there may be.
    fn min_connections(&self) -> u16 {
        self.min_connections.min(self.max_connections)
    }

    /// The configuration of a data plane that pools this server on `listen`.
    fn pool_configuration(&self, listen: &SocketAddr) -> String {
        format!(
            "[listeners.dbpool]\nbind = [\"{listen}\"]\nprotocol = \"postgres\"\n\
             [postgres]\npool_mode = \"transaction\"\n\
             [postgres.databases.{database}]\nhost = {host}\nport = {port}\npool_size = {size}\nmin_pool_size = {least}\n\
             [postgres.users.{user}]\npassword = {password}\n",
            database = quoted(&self.database),
            host = quoted(&self.host),
            port = self.port,
            size = self.max_connections,
            least = self.min_connections(),
            user = quoted(&self.username),
            password = quoted(&self.password),
        )
    }

    /// How a client logs in to this server.
    fn client_config(&self) -> tokio_postgres::Config {
        let mut config = self.login();
        config.host(&self.host).port(self.port);
        config
    }

    /// How a client logs in to the pool in front of it.
    fn pooled_config(&self, pool: &SocketAddr) -> tokio_postgres::Config {
        let mut config = self.login();
        config.host(pool.ip().to_string()).port(pool.port());
        config
    }

    fn login(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config
            .dbname(&self.database)
            .user(&self.username)
            .password(&self.password)
            .application_name("bs9 dbpool")
            .connect_timeout(std::time::Duration::from_secs(10));
        config
    }
}
