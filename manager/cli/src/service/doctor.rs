//! `bs9 doctor`: what this machine has of what bs9 can use.

use bs9_api::{ClientError, DataPlaneClient, ManagerClient, Process, socket::find, types::SCHEMA};
use bs9_manager::doctor::{Finding, Verdict, examine};
use clap::Args;
use comfy_table::Cell;
use serde::Serialize;

use crate::{
    cli::Global,
    exit::{Exit, Failure},
    runtime, terminal,
};

const EXAMPLES: &str = "\
Examples:
  bs9 doctor                   exit code 7 when something that services need is missing
  bs9 doctor --json

It needs neither a manager nor a data plane.";

/// Nothing to choose.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {}

/// The answer.
#[derive(Debug, Serialize)]
struct Examination {
    schema: u32,
    findings: Vec<Finding>,
}

pub(crate) fn run(_: &Arguments, global: &Global) -> Result<(), Failure> {
    let findings = runtime::block_on(async {
        let mut findings = examine().await;
        findings.extend(processes(global).await);
        Ok(findings)
    })?;
    let bad = findings.iter().any(|finding| finding.verdict == Verdict::Bad);
    if global.json {
        terminal::json(&Examination { schema: SCHEMA, findings })?;
    } else {
        show(&findings)?;
    }
    if bad { Err(Failure::silent(Exit::Dependency)) } else { Ok(()) }
}

fn show(findings: &[Finding]) -> Result<(), Failure> {
    let mut table = terminal::table(["", "WHAT", "FOUND"]);
    for finding in findings {
        let mark = match finding.verdict {
            Verdict::Good => terminal::verdict("ok", terminal::Verdict::Good),
            Verdict::Note => terminal::verdict("note", terminal::Verdict::Note),
            Verdict::Bad => terminal::verdict("bad", terminal::Verdict::Bad),
        };
        table.add_row([mark, Cell::new(&finding.what), Cell::new(&finding.found)]);
        if let Some(hint) = &finding.hint {
            table.add_row([Cell::new(""), Cell::new(""), Cell::new(format!("→ {hint}"))]);
        }
    }
    terminal::say(terminal::text(&table))
}

/// Whether somebody answers on the two sockets; it is no fault when not.
async fn processes(global: &Global) -> [Finding; 2] {
    let manager = find(Process::Manager, global.socket.as_deref());
    let data_plane = find(Process::DataPlane, None);
    let manager_said = ManagerClient::unix(&manager).health_live().await;
    let data_plane_said = DataPlaneClient::unix(&data_plane).health_live().await;
    let finding = |what: &str, said: Result<_, ClientError>, hint: &str| match said {
        Ok(_) => Finding {
            what: what.to_owned(),
            verdict: Verdict::Good,
            found: "answers".to_owned(),
            hint: None,
        },
        Err(error) => Finding {
            what: what.to_owned(),
            verdict: Verdict::Note,
            found: error.to_string(),
            hint: Some(hint.to_owned()),
        },
    };
    [
        finding("manager", manager_said.map(drop), "start it with `bs9 manager`"),
        finding("data plane", data_plane_said.map(drop), "start it with `bs9 serve --config FILE`"),
    ]
}
