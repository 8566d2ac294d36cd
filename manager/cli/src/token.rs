//! `bs9 token`: who may come in over TCP.

use bs9_api::types::{CreateToken, RoleName, TokenSummary};
use clap::{Args, Subcommand, ValueEnum};
use comfy_table::Cell;
use jiff::Timestamp;

use crate::{
    cli::Global,
    exit::Failure,
    history, runtime,
    span::Span,
    terminal::{self, FAINT, STRONG, Verdict, say, verdict},
};

const EXAMPLES: &str = "\
Examples:
  bs9 token create grafana --role viewer
  bs9 token create deploy --role operator --expires 90d
  bs9 token list
  bs9 token revoke deploy

Tokens open the manager's TCP address (admin.listen): Authorization: Bearer TOKEN. Only a hash of
each is kept. A token that is revoked or has expired opens nothing from that moment on.";

/// What to do with tokens.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Action {
    /// Make a token; it is shown once.
    Create(CreateArguments),
    /// List tokens, those that were revoked included.
    List,
    /// Revoke a token.
    Revoke(RevokeArguments),
}

/// The token to make.
#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    /// Who it is, for logs and audit.
    name: String,
    /// What it allows; each role includes the ones before it.
    #[arg(long, value_enum)]
    role: Role,
    /// How long it works: 12h, 90d [default: until it is revoked].
    #[arg(long, value_name = "SPAN")]
    expires: Option<Span>,
}

/// The token to revoke.
#[derive(Debug, Args)]
pub(crate) struct RevokeArguments {
    /// Its name.
    name: String,
}

/// What a token allows.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Role {
    /// Read.
    Viewer,
    /// Read, and operate.
    Operator,
    /// Everything.
    Admin,
}

impl From<Role> for RoleName {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Viewer,
            Role::Operator => Self::Operator,
            Role::Admin => Self::Admin,
        }
    }
}

pub(crate) fn run(action: Action, global: &Global) -> Result<(), Failure> {
    let client = history::manager(global);
    match action {
        Action::Create(CreateArguments { name, role, expires }) => {
            let expires_in_seconds = expires.map(|Span(seconds)| seconds);
            let asked = CreateToken { name, role: role.into(), expires_in_seconds };
            let made = runtime::block_on(async { Ok(client.create_token(&asked).await?) })?;
            if global.json {
                return terminal::json(&made);
            }
            say(format_args!("{STRONG}{}{STRONG:#}", made.token))?;
            let until = made.summary.expires_at;
            let until =
                until.map_or_else(|| "until it is revoked".to_owned(), |at| format!("until {at}"));
            say(format_args!("{FAINT}works {until}; it is not shown again{FAINT:#}"))
        }
        Action::List => {
            let tokens = runtime::block_on(async { Ok(client.tokens().await?) })?;
            if global.json {
                return terminal::json(&tokens);
            }
            if tokens.tokens.is_empty() {
                return say("no tokens; `bs9 token create NAME --role viewer` makes one");
            }
            list(&tokens.tokens)
        }
        Action::Revoke(RevokeArguments { name }) => {
            let outcome = runtime::block_on(async { Ok(client.revoke_token(&name).await?) })?;
            if global.json {
                return terminal::json(&outcome);
            }
            say(format_args!("{name} opens nothing any more"))
        }
    }
}

fn list(tokens: &[TokenSummary]) -> Result<(), Failure> {
    let mut table = terminal::table(["NAME", "ROLE", "STATE", "CREATED", "EXPIRES"]);
    let now = Timestamp::now();
    for token in tokens {
        let state = match (token.revoked_at, token.expires_at) {
            (Some(_), _) => verdict("revoked", Verdict::Bad),
            (None, Some(expires)) if expires <= now => verdict("expired", Verdict::Note),
            _ => verdict("works", Verdict::Good),
        };
        let role = match token.role {
            RoleName::Viewer => "viewer",
            RoleName::Operator => "operator",
            RoleName::Admin => "admin",
        };
        let date = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M").to_string();
        table.add_row([
            Cell::new(&token.name),
            Cell::new(role),
            state,
            Cell::new(date(token.created_at)),
            Cell::new(token.expires_at.map_or_else(|| "never".to_owned(), date)),
        ]);
    }
    say(terminal::text(&table))
}
