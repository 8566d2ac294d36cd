//! `bs9 doctor`: what this machine has of what bs9 can use.

use std::path::{Path, absolute};

use bs9_api::{ClientError, DataPlaneClient, ManagerClient, Process, socket::find, types::SCHEMA};
use bs9_config::ServiceDraft;
use bs9_manager::{
    audit_source,
    doctor::{Finding, Verdict, examine},
};
use clap::Args;
use comfy_table::Cell;
use serde::Serialize;

use super::{client, resolve, source};
use crate::{
    cli::Global,
    exit::{Exit, Failure},
    runtime, terminal,
};

const EXAMPLES: &str = "\
Examples:
  bs9 doctor                   exit code 7 when something that services need is missing
  bs9 doctor --json
  bs9 doctor api               the audit of a service's source: exit code 1 when it keeps it from starting
  bs9 doctor server.js         the same of a file, before there is a service

Without a name it needs neither a manager nor a data plane. The audit reads .js, .ts, .py and .sh: text
that is run as code, commands put together for a shell, secrets, files and folders that others can
write, setuid programs, root without need. `bs9 start` makes it each time.";

/// What is looked at.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Services, or files with source, to audit [default: this machine].
    #[arg(value_name = "NAME|FILE")]
    names: Vec<String>,
}

/// The answer.
#[derive(Debug, Serialize)]
struct Examination {
    schema: u32,
    findings: Vec<Finding>,
}

pub(crate) fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    match arguments.names.is_empty() {
        true => machine(global),
        false => sources(&arguments.names, global),
    }
}

/// Audits services, which the manager knows, and files, which are here.
fn sources(names: &[String], global: &Global) -> Result<(), Failure> {
    let (files, services): (Vec<_>, Vec<_>) =
        names.iter().cloned().partition(|name| Path::new(name).is_file());
    let mut audits = Vec::new();
    for file in files {
        let path = absolute(&file)
            .map_err(|error| Failure::io("cannot tell which folder this is", error))?;
        let draft = ServiceDraft { script: Some(path.clone()), ..ServiceDraft::default() };
        let definition = path.with_extension("toml");
        audits.push(audit_source(&definition, &draft.to_toml()).map_err(Failure::report)?);
    }
    if !services.is_empty() {
        let client = client(global);
        audits.extend(runtime::block_on(async {
            let mut audits = Vec::new();
            for name in resolve(&client, &services).await? {
                audits.push(client.audit_source(&name).await?);
            }
            Ok(audits)
        })?);
    }
    source::show(&audits, global)
}

fn machine(global: &Global) -> Result<(), Failure> {
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
