//! Reading the log back, and checking it.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use bs9_api::types::{AuditHead, AuditPhase, AuditProblem, AuditVerdict, SCHEMA, SealedRecord};

use super::{
    log::{LINE_BYTES, files},
    seal::{Flaw, NOTHING, opened},
};

/// Problems that are told.
const MAX_PROBLEMS: usize = 100;

/// A line as it was found.
struct Line {
    file: String,
    number: u64,
    /// Whether a line break ends it.
    whole: bool,
    record: Result<SealedRecord, Flaw>,
}

/// Reads every line of the log in `folder`, oldest first, until `take` says stop.
fn read(folder: &Path, mut take: impl FnMut(Line) -> bool) -> io::Result<()> {
    for path in files(folder)? {
        let file = path.display().to_string();
        let mut lines = BufReader::new(File::open(&path)?);
        let mut number = 0;
        loop {
            let mut line = Vec::new();
            let limit = 2 * LINE_BYTES as u64;
            if (&mut lines).take(limit).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            number += 1;
            let whole = line.last() == Some(&b'\n');
            let text = std::str::from_utf8(&line).map_err(|_| Flaw::NoRecord);
            let record = text.and_then(|text| opened(text.trim_end_matches('\n')));
            if !take(Line { file: file.clone(), number, whole, record }) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Checks the whole log. `expected` is a hash that was published earlier, and must
/// be in it; `running` is the head a running manager knows.
pub fn verify(
    folder: &Path,
    expected: Option<&str>,
    running: Option<&AuditHead>,
) -> io::Result<AuditVerdict> {
    let mut check = Check::new(expected);
    read(folder, |line| {
        check.take(line);
        true
    })?;
    Ok(check.verdict(folder, running))
}

struct Check<'a> {
    expected: Option<&'a str>,
    seen_expected: bool,
    records: u64,
    first: Option<u64>,
    head: AuditHead,
    /// Whether the record before is one that the next must follow.
    linked: bool,
    problems: Vec<AuditProblem>,
}

impl<'a> Check<'a> {
    fn new(expected: Option<&'a str>) -> Self {
        Self {
            expected,
            seen_expected: expected.is_none(),
            records: 0,
            first: None,
            head: AuditHead { sequence: 0, hash: NOTHING.to_owned(), at: None },
            linked: true,
            problems: Vec::new(),
        }
    }

    fn problem(&mut self, file: &str, line: Option<u64>, message: impl Into<String>) {
        if self.problems.len() < MAX_PROBLEMS {
            let file = file.to_owned();
            self.problems.push(AuditProblem { file, line, message: message.into() });
        }
    }

    fn take(&mut self, Line { file, number, whole, record }: Line) {
        let at = Some(number);
        let SealedRecord { hash, record } = match record {
            Ok(sealed) => sealed,
            Err(flaw) if !whole => {
                return self.problem(&file, at, format!("the last line is torn: {flaw}"));
            }
            Err(flaw) => {
                self.linked = false;
                return self.problem(&file, at, flaw.to_string());
            }
        };
        if self.first.is_none() {
            self.first = Some(record.sequence);
            if record.sequence == 1 && record.previous != NOTHING {
                self.problem(&file, at, "the first record follows one that is not there");
            }
        } else if self.linked {
            if record.sequence != self.head.sequence + 1 {
                let message = format!(
                    "record {} follows record {}: some are missing",
                    record.sequence, self.head.sequence
                );
                self.problem(&file, at, message);
            } else if record.previous != self.head.hash {
                self.problem(&file, at, "it does not follow the record before it");
            }
        }
        self.linked = true;
        self.records += 1;
        self.seen_expected |= self.expected == Some(hash.as_str());
        if record.phase == AuditPhase::Upkeep
            && let (Some(expected), Some(message)) = (self.expected, &record.message)
        {
            // A head that was published before the oldest files were given up.
            self.seen_expected |= message.contains(expected);
        }
        self.head = AuditHead { sequence: record.sequence, hash, at: Some(record.at) };
    }

    fn verdict(mut self, folder: &Path, running: Option<&AuditHead>) -> AuditVerdict {
        let place = folder.display().to_string();
        if let (false, Some(expected)) = (self.seen_expected, self.expected) {
            let message = format!(
                "no record has the hash {expected}: the log was cut off after it was published, or begun anew"
            );
            self.problem(&place, None, message);
        }
        // What was written since the manager was asked is no defect.
        if let Some(running) = running.filter(|running| running.sequence > self.head.sequence) {
            let message = format!(
                "the running manager wrote {} records, the files end at {}: the log was cut off",
                running.sequence, self.head.sequence
            );
            self.problem(&place, None, message);
        }
        AuditVerdict {
            schema: SCHEMA,
            intact: self.problems.is_empty(),
            records: self.records,
            first_sequence: self.first,
            head: self.head,
            problems: self.problems,
        }
    }
}

/// Records after `after`, oldest first; the newest ones when it is `None`. Lines
/// that are no records are left out: verifying tells of them.
pub fn page(folder: &Path, after: Option<u64>, limit: usize) -> io::Result<Vec<SealedRecord>> {
    let mut records = std::collections::VecDeque::new();
    read(folder, |line| {
        if let Ok(sealed) = line.record
            && after.is_none_or(|after| sealed.record.sequence > after)
        {
            records.push_back(sealed);
            if records.len() > limit {
                if after.is_some() {
                    records.pop_back();
                    return false;
                }
                records.pop_front();
            }
        }
        true
    })?;
    Ok(records.into())
}
