//! What an audit of a service's source found, for people and programs.

use bs9_api::types::{SourceAudit, SourceSeverity};

use crate::{
    cli::Global,
    exit::{Exit, Failure},
    terminal::{self, BAD, FAINT, GOOD, NOTE, STRONG},
};

/// Shows audits; ends badly when one of them keeps its service from being started.
pub(super) fn show(audits: &[SourceAudit], global: &Global) -> Result<(), Failure> {
    match (audits, global.json) {
        ([only], true) => terminal::json(only)?,
        (all, true) => terminal::json(&all)?,
        (all, false) => all.iter().try_for_each(told)?,
    }
    match audits.iter().all(|audit| audit.startable) {
        true => Ok(()),
        false => Err(Failure::silent(Exit::Error)),
    }
}

fn told(audit: &SourceAudit) -> Result<(), Failure> {
    for finding in &audit.findings {
        let style = match finding.severity {
            SourceSeverity::Blocking => BAD,
            SourceSeverity::Warning => NOTE,
        };
        let place = match (finding.line, finding.column) {
            (Some(line), Some(column)) => format!("{}:{line}:{column}", finding.file),
            (Some(line), None) => format!("{}:{line}", finding.file),
            _ => finding.file.clone(),
        };
        let accepted = if finding.accepted { ", accepted by --force" } else { "" };
        terminal::say(format_args!(
            "{style}{}{style:#} {STRONG}{place}{STRONG:#}: {} {FAINT}[{}{accepted}]{FAINT:#}\n  → {}",
            finding.severity.as_str(),
            finding.message,
            finding.rule,
            finding.hint
        ))?;
    }
    for left_out in &audit.left_out {
        terminal::say(format_args!("{FAINT}not read: {left_out}{FAINT:#}"))?;
    }
    terminal::say(summary(audit))
}

fn summary(audit: &SourceAudit) -> String {
    let count = |severity| audit.findings.iter().filter(|f| f.severity == severity).count();
    let (blocking, warnings) = (count(SourceSeverity::Blocking), count(SourceSeverity::Warning));
    let files = audit.files.len();
    let read = format!("{files} file{} read", if files == 1 { "" } else { "s" });
    let name = &audit.service;
    match audit.startable {
        true if blocking + warnings == 0 => {
            format!("{GOOD}{name}{GOOD:#}: nothing found, {read}")
        }
        true => format!(
            "{GOOD}{name}{GOOD:#}: can be started; {blocking} accepted, {warnings} warnings, {read}"
        ),
        false => format!(
            "{BAD}{name}{BAD:#}: is not started; {blocking} blocking, {warnings} warnings, {read}. \
             `bs9 start … --force` starts it all the same, and is recorded"
        ),
    }
}
