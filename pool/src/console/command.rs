//! The commands of the console.

use std::{rc::Rc, time::Duration};

use bs9_api::types::PoolOrder;
use bs9_wire::sqlstate::SqlState;

use super::{
    Access,
    answer::{Answer, Fault},
    figures,
    table::{self, Column},
};
use crate::{
    orders::OrderError,
    shard::PoolShard,
    sql::{Kind, Lexer, Quoting},
};

/// How long `PAUSE` and `KILL` wait for server connections to be gone.
const PATIENCE: Duration = Duration::from_secs(3600);

const HELP: &str = "Console usage
  SHOW HELP|CONFIG|DATABASES|USERS|POOLS|CLIENTS|SERVERS|LISTS|STATE|VERSION
  SHOW STATS|STATS_TOTALS|STATS_AVERAGES|TOTALS
  RELOAD
  PAUSE [<db>]
  RESUME [<db>]
  DISABLE <db>
  ENABLE <db>
  RECONNECT [<db>]
  KILL [<db>]";

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Show(Show),
    Order(PoolOrder, Option<String>),
    Reload,
    /// What drivers say at the start: it changes nothing here.
    Set,
}

/// What can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    Help,
    Version,
    Pools,
    Clients,
    Servers,
    Stats,
    StatsTotals,
    StatsAverages,
    Totals,
    Databases,
    Users,
    Config,
    Lists,
    State,
}

const SHOWS: [(&str, Show); 14] = [
    ("HELP", Show::Help),
    ("VERSION", Show::Version),
    ("POOLS", Show::Pools),
    ("CLIENTS", Show::Clients),
    ("SERVERS", Show::Servers),
    ("STATS", Show::Stats),
    ("STATS_TOTALS", Show::StatsTotals),
    ("STATS_AVERAGES", Show::StatsAverages),
    ("TOTALS", Show::Totals),
    ("DATABASES", Show::Databases),
    ("USERS", Show::Users),
    ("CONFIG", Show::Config),
    ("LISTS", Show::Lists),
    ("STATE", Show::State),
];

const ORDERS: [PoolOrder; 6] = [
    PoolOrder::Pause,
    PoolOrder::Resume,
    PoolOrder::Reconnect,
    PoolOrder::Disable,
    PoolOrder::Enable,
    PoolOrder::Kill,
];

impl Command {
    /// # Errors
    /// When there is no such command.
    pub(super) fn read(text: &str) -> Result<Self, Fault> {
        let tokens: Vec<_> = Lexer::new(text.as_bytes(), Quoting::default())
            .filter(|token| token.kind != Kind::Space)
            .collect();
        let unknown = || {
            let shown: String = text.chars().take(100).collect();
            Fault::new(SqlState::SYNTAX_ERROR, format!("unknown command: {shown}"))
                .hint("SHOW HELP lists the commands.")
        };
        let Some((first, rest)) = tokens.split_first() else { return Err(unknown()) };
        if first.is_word("SHOW") {
            let [what] = rest else { return Err(unknown()) };
            let found = SHOWS.iter().find(|(word, _)| what.is_word(word));
            return found.map(|(_, show)| Self::Show(*show)).ok_or_else(unknown);
        }
        if first.is_word("SET") && !rest.is_empty() {
            return Ok(Self::Set);
        }
        if first.is_word("RELOAD") && rest.is_empty() {
            return Ok(Self::Reload);
        }
        let order = ORDERS.into_iter().find(|order| first.is_word(order.name()));
        let order = order.ok_or_else(unknown)?;
        match rest {
            [] if matches!(order, PoolOrder::Disable | PoolOrder::Enable) => {
                let message = format!("{} needs a database", order.name().to_uppercase());
                Err(Fault::new(SqlState::SYNTAX_ERROR, message))
            }
            [] => Ok(Self::Order(order, None)),
            [name] => {
                let name = name.identifier().or_else(|| name.string()).ok_or_else(unknown)?;
                Ok(Self::Order(order, Some(name)))
            }
            _ => Err(unknown()),
        }
    }

    /// The columns of its answer, if that has any.
    pub(super) fn columns(&self) -> Option<&'static [Column]> {
        let Self::Show(show) = self else { return None };
        Some(match show {
            Show::Help => return None,
            Show::Version => table::VERSION,
            Show::Pools => table::POOLS,
            Show::Clients | Show::Servers => table::SOCKETS,
            Show::Stats => table::STATS,
            Show::StatsTotals => table::STATS_TOTALS,
            Show::StatsAverages => table::STATS_AVERAGES,
            Show::Totals => table::TOTALS,
            Show::Databases => table::DATABASES,
            Show::Users => table::USERS,
            Show::Config => table::CONFIG,
            Show::Lists => table::LISTS,
            Show::State => table::STATE,
        })
    }

    /// # Errors
    /// When the user may not, or it does not work out.
    pub(super) async fn carry_out(
        self,
        home: &Rc<PoolShard>,
        access: Access,
    ) -> Result<Answer, Fault> {
        if matches!(self, Self::Order(..) | Self::Reload) && access != Access::Order {
            return Err(Fault::new(SqlState::INSUFFICIENT_PRIVILEGE, "admin access needed"));
        }
        let columns = self.columns();
        let show = match self {
            Self::Set => return Ok(Answer::Done { tag: "SET" }),
            Self::Reload => return reload(home).await,
            Self::Order(order, database) => return carry_out(home, order, database).await,
            Self::Show(show) => show,
        };
        let rows = match show {
            Show::Help => return Ok(Answer::Notice { message: HELP.to_owned(), tag: "SHOW" }),
            Show::Version => vec![vec![Some(version())]],
            Show::Pools => figures::pools(&home.registry),
            Show::Clients => figures::clients(&home.registry).await,
            Show::Servers => figures::servers(&home.registry).await,
            Show::Stats => figures::stats(&home.registry),
            Show::StatsTotals => figures::stats_totals(&home.registry),
            Show::StatsAverages => figures::stats_averages(&home.registry),
            Show::Totals => figures::totals(&home.registry),
            Show::Databases => figures::databases(&home.registry),
            Show::Users => figures::users(&home.registry),
            Show::Config => figures::config(&home.registry),
            Show::Lists => figures::lists(&home.registry).await,
            Show::State => figures::state(&home.registry),
        };
        Ok(Answer::Rows { columns: columns.unwrap_or_default(), rows })
    }
}

/// As exporters expect it: they read PgBouncer's version out of it.
fn version() -> String {
    format!("PgBouncer 1.25.0 (bs9 {})", env!("CARGO_PKG_VERSION"))
}

async fn carry_out(
    home: &Rc<PoolShard>,
    order: PoolOrder,
    database: Option<String>,
) -> Result<Answer, Fault> {
    let done =
        home.registry.carry_out(order, database.as_deref(), bs9_net::time::sleep(PATIENCE)).await;
    done.map_err(|error| {
        let sqlstate = match error {
            OrderError::UnknownDatabase(_) => SqlState::UNDEFINED_DATABASE,
            _ => SqlState::OBJECT_NOT_IN_STATE,
        };
        Fault::new(sqlstate, error.to_string())
    })?;
    let tag = match order {
        PoolOrder::Pause => "PAUSE",
        PoolOrder::Resume => "RESUME",
        PoolOrder::Reconnect => "RECONNECT",
        PoolOrder::Disable => "DISABLE",
        PoolOrder::Enable => "ENABLE",
        PoolOrder::Kill => "KILL",
    };
    Ok(Answer::Done { tag })
}

async fn reload(home: &Rc<PoolShard>) -> Result<Answer, Fault> {
    let Some(reload) = home.registry.reload.get() else {
        let message = "this data plane cannot reload from here";
        return Err(Fault::new(SqlState::FEATURE_NOT_SUPPORTED, message));
    };
    match reload().await {
        Ok(()) => Ok(Answer::Done { tag: "RELOAD" }),
        Err(message) => Err(Fault::new(SqlState::CONFIGURATION_LIMIT, message)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read() {
        for (text, wanted) in [
            ("SHOW POOLS", Some(Command::Show(Show::Pools))),
            ("show /* x */ version", Some(Command::Show(Show::Version))),
            ("PAUSE", Some(Command::Order(PoolOrder::Pause, None))),
            ("pause App", Some(Command::Order(PoolOrder::Pause, Some("app".into())))),
            ("KILL \"App\"", Some(Command::Order(PoolOrder::Kill, Some("App".into())))),
            ("ENABLE 'x y'", Some(Command::Order(PoolOrder::Enable, Some("x y".into())))),
            ("RELOAD", Some(Command::Reload)),
            ("SET application_name = 'x'", Some(Command::Set)),
            ("DISABLE", None),
            ("SHOW", None),
            ("SHOW NOTHING", None),
            ("SHOW POOLS please", None),
            ("SELECT 1", None),
            ("PAUSE a b", None),
            ("", None),
        ] {
            assert_eq!(Command::read(text).ok(), wanted, "{text}");
        }
    }
}
