//! `bs9 audit`: who changed what through the manager.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use bs9_api::{
    ClientError,
    types::{
        AuditPage, AuditPhase, AuditRecord, AuditVerdict, AuditVerifyQuery, PageQuery, SCHEMA,
        SealedRecord,
    },
};
use clap::{Args, Subcommand};
use comfy_table::Cell;

use crate::{
    cli::Global,
    exit::{Exit, Failure},
    history, runtime,
    terminal::{self, BAD, FAINT, GOOD, Verdict, number, say, verdict},
};

const EXAMPLES: &str = "\
Examples:
  bs9 audit list                        the newest changes: who, from where, what, what came of it
  bs9 audit verify                      whether every record is there and as it was written
  bs9 audit verify --head HASH          and whether it still holds a record published earlier
  bs9 audit verify --folder DIR         without a manager: DIR is state_folder/audit
  bs9 audit export -o audit.jsonl       every record, sealed as it is

Each record carries the hash of the one before, so a change in the middle shows. Records cut off the
end show by a head that was published before: with bs9 status --json, in /metrics
(bs9_audit_head_info), in the log. Keep one elsewhere.";

/// What to do with the log of changes.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Action {
    /// Show the newest changes.
    List(ListArguments),
    /// Check that every record is there and as it was written; exit code 1 when not.
    Verify(VerifyArguments),
    /// Write every record out, one JSON object a line.
    Export(ExportArguments),
}

/// Which records.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// As many records at most, 1,000 at most.
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 50)]
    lines: u32,
    /// Only those after the record with this number.
    #[arg(long, value_name = "SEQUENCE")]
    after: Option<u64>,
}

/// What is expected of the log.
#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// A hash that was published earlier; the log must hold it.
    #[arg(long, value_name = "HASH")]
    head: Option<String>,
    /// Read the files in this folder instead of asking a manager.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Where it goes.
#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    /// Write to this file instead of standard output.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(action: &Action, global: &Global) -> Result<(), Failure> {
    match action {
        Action::List(arguments) => list(arguments, global),
        Action::Verify(arguments) => verify(arguments, global),
        Action::Export(arguments) => export(arguments, global),
    }
}

fn list(arguments: &ListArguments, global: &Global) -> Result<(), Failure> {
    let query = PageQuery { after: arguments.after, limit: Some(arguments.lines) };
    let page = ask(query, global)?;
    if global.json {
        return terminal::json(&page);
    }
    if page.records.is_empty() {
        return say("nothing was changed through the manager so far");
    }
    let ended: HashMap<u64, &AuditRecord> = page
        .records
        .iter()
        .filter_map(|sealed| Some((sealed.record.begun?, &sealed.record)))
        .collect();
    let mut table =
        terminal::table(["SEQ", "AT", "WHO", "ROLE", "FROM", "OPERATION", "TARGET", "RESULT"]);
    for SealedRecord { record, .. } in &page.records {
        // An end stands with its beginning, unless that is on an earlier page.
        let (first, last) = (page.records[0].record.sequence, page.head.sequence);
        let result = match record.phase {
            AuditPhase::Ended if record.begun.is_some_and(|begun| begun >= first) => continue,
            AuditPhase::Begun => match ended.get(&record.sequence) {
                Some(end) => result(end),
                None if page.records.last().is_some_and(|l| l.record.sequence < last) => {
                    Cell::new("see the next page")
                }
                None => verdict("unknown: under way, or the manager was killed", Verdict::Note),
            },
            AuditPhase::Ended | AuditPhase::Refused => result(record),
            AuditPhase::Upkeep => Cell::new(record.message.as_deref().unwrap_or_default()),
        };
        table.add_row([
            number(record.sequence),
            Cell::new(record.at.strftime("%Y-%m-%d %H:%M:%S")),
            Cell::new(&record.who),
            Cell::new(record.role.as_deref().unwrap_or("-")),
            Cell::new(&record.from),
            Cell::new(&record.operation),
            Cell::new(&record.target),
            result,
        ]);
    }
    say(terminal::text(&table))?;
    say(format_args!("{FAINT}head {} {}{FAINT:#}", page.head.sequence, page.head.hash))
}

fn result(record: &AuditRecord) -> Cell {
    match (record.phase, record.ok) {
        (AuditPhase::Refused, _) => {
            verdict(format!("refused: {}", record.message.as_deref().unwrap_or("")), Verdict::Bad)
        }
        (_, Some(true)) => verdict("done", Verdict::Good),
        _ => verdict(
            format!(
                "failed: {}",
                record.message.as_deref().or(record.code.as_deref()).unwrap_or("")
            ),
            Verdict::Bad,
        ),
    }
}

fn ask(query: PageQuery, global: &Global) -> Result<AuditPage, Failure> {
    let client = history::manager(global);
    runtime::block_on(async { Ok(client.audit(&query).await?) })
}

fn verify(arguments: &VerifyArguments, global: &Global) -> Result<(), Failure> {
    let answer: AuditVerdict = match &arguments.folder {
        Some(folder) => {
            if !folder.is_dir() {
                let message = format!("there is no folder {}", folder.display());
                return Err(Failure::new(Exit::NotFound, message));
            }
            bs9_manager::verify_log(folder, arguments.head.as_deref(), None).map_err(|error| {
                Failure::io(format!("the log in {} cannot be read", folder.display()), error)
            })?
        }
        None => {
            let client = history::manager(global);
            let query = AuditVerifyQuery { head: arguments.head.clone() };
            runtime::block_on(async { client.audit_verify(&query).await.map_err(no_manager) })?
        }
    };
    if global.json {
        terminal::json(&answer)?;
    } else {
        show(&answer)?;
    }
    if answer.intact { Ok(()) } else { Err(Failure::silent(Exit::Error)) }
}

fn no_manager(error: ClientError) -> Failure {
    let silent = matches!(error, ClientError::NotRunning { .. });
    let failure = Failure::from(error);
    match silent {
        true => failure.hint("without a manager: bs9 audit verify --folder STATE_FOLDER/audit"),
        false => failure,
    }
}

fn show(answer: &AuditVerdict) -> Result<(), Failure> {
    if answer.intact {
        say(format_args!("{GOOD}intact{GOOD:#}  {} records", answer.records))?;
    } else {
        say(format_args!("{BAD}not intact{BAD:#}  {} records read", answer.records))?;
    }
    if let Some(first) = answer.first_sequence.filter(|first| *first > 1) {
        say(format_args!("begins with record {first}: older ones were given up"))?;
    }
    for problem in &answer.problems {
        match problem.line {
            Some(line) => say(format_args!("  {}:{line}: {}", problem.file, problem.message))?,
            None => say(format_args!("  {}: {}", problem.file, problem.message))?,
        }
    }
    say(format_args!("head {} {}", answer.head.sequence, answer.head.hash))
}

fn export(arguments: &ExportArguments, global: &Global) -> Result<(), Failure> {
    const PAGE: u32 = 1_000;

    let client = history::manager(global);
    let out: Box<dyn Write> = match &arguments.output {
        None => Box::new(io::stdout().lock()),
        Some(path) => Box::new(
            File::create(path)
                .map_err(|error| Failure::io(format!("cannot write {}", path.display()), error))?,
        ),
    };
    let mut out = BufWriter::new(out);
    let unwritten = |error: io::Error| Failure::io("the export cannot be written", error);
    runtime::block_on(async {
        let mut after = 0;
        loop {
            let query = PageQuery { after: Some(after), limit: Some(PAGE) };
            let page = client.audit(&query).await?;
            let Some(last) = page.records.last() else { break };
            after = last.record.sequence;
            for sealed in &page.records {
                let line = serde_json::to_string(&Exported { schema: SCHEMA, sealed })
                    .map_err(|error| unwritten(error.into()))?;
                writeln!(out, "{line}").map_err(unwritten)?;
            }
        }
        out.flush().map_err(unwritten)
    })
}

#[derive(serde::Serialize)]
struct Exported<'a> {
    schema: u32,
    #[serde(flatten)]
    sealed: &'a SealedRecord,
}
