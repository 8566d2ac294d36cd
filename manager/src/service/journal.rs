//! What services wrote, out of the journal (`journalctl --output=json`).

use std::{process::Stdio, time::Duration};

use bs9_api::types::{LogLine, LogQuery, SCHEMA, ServiceLogs};
use bs9_config::ServiceScope;
use jiff::Timestamp;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader, Lines},
    process::{Child, Command},
    time::{self, Instant},
};

use super::{ServiceError, Services};
use crate::unit::unit_name;

/// Lines of one answer.
const MAX_LINES: u32 = 10_000;
/// syslog(3): debug.
const MAX_PRIORITY: u8 = 7;
const DEFAULT_LINES: u32 = 50;
/// How long a follower may be kept waiting.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// When a line came, others that are on their way are waited for this long.
const GATHER: Duration = Duration::from_millis(100);
/// What journalctl says of a pattern when no unit like it has written anything.
const NO_UNIT_YET: &str = "No data available";
/// How often the last words of a service are looked for.
const LAST_WORDS_LOOKS: u32 = 20;
/// Reading what is there already.
const READ_LIMIT: Duration = Duration::from_secs(30);

impl Services {
    /// What a service wrote. Its description may be gone; the journal is not.
    pub(crate) async fn logs(
        &self,
        service: &str,
        query: &LogQuery,
    ) -> Result<ServiceLogs, ServiceError> {
        if let Some(priority) = query.priority.filter(|priority| *priority > MAX_PRIORITY) {
            return Err(ServiceError::Senseless(format!(
                "there is no priority {priority}; they go from 0 (emergency) to {MAX_PRIORITY} (debug)"
            )));
        }
        let described = self.book.read(service);
        let deployed = self.deployed(service)?;
        let scope = match (&described, deployed.first()) {
            (_, Some(unit)) => unit.scope,
            (Ok(Some(described)), None) => described.scope,
            (Ok(None), None) => return Err(self.book.unknown(service)),
            (Err(_), None) => return described.map(|_| empty()),
        };
        let unit = match query.instance {
            Some(instance) => unit_name(service, instance),
            None => format!("{service}@*.service"),
        };
        let waits = query.after.is_some() && query.wait_seconds.is_some_and(|wait| wait > 0);
        match waits {
            true => follow(scope, &unit, query).await,
            false => read(scope, &unit, None, query).await,
        }
    }
}

fn empty() -> ServiceLogs {
    ServiceLogs { schema: SCHEMA, lines: Vec::new(), cursor: None }
}

/// The last lines of a unit since it was started, without anything else.
pub(super) async fn last_words(
    scope: ServiceScope,
    unit: &str,
    begun: Timestamp,
    main_pid: Option<u64>,
    lines: u32,
) -> Vec<String> {
    let since = Some(format!("@{}", begun.as_second()));
    let query = LogQuery { lines: Some(lines), since, ..LogQuery::default() };
    // What was written last may still be on its way to the journal. Only root may have it
    // hurried; others wait for it.
    let mut hurry = Command::new("journalctl");
    hurry.arg("--sync").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _hurried = time::timeout(READ_LIMIT, hurry.kill_on_drop(true).status()).await;
    for _ in 0..LAST_WORDS_LOOKS {
        match read(scope, unit, main_pid, &query).await {
            Ok(logs) if logs.lines.is_empty() => time::sleep(GATHER).await,
            Ok(logs) => return logs.lines.into_iter().map(|line| line.message).collect(),
            Err(_) => break,
        }
    }
    Vec::new()
}

fn journalctl(scope: ServiceScope, unit: &str, main_pid: Option<u64>, query: &LogQuery) -> Command {
    let mut command = Command::new("journalctl");
    command.args(["--quiet", "--no-pager", "--output=json", "--all"]);
    // systemd's own lines about the unit would be there too; those that a person
    // wants to see of it are what it wrote and what systemd says of its end.
    match (scope, main_pid) {
        (ServiceScope::User, Some(pid)) => drop(command.args(of_user_unit(unit, pid))),
        (ServiceScope::User, None) => drop(command.arg(format!("--user-unit={unit}"))),
        (ServiceScope::System, _) => drop(command.arg(format!("--unit={unit}"))),
    }
    if let Some(after) = &query.after {
        command.arg(format!("--after-cursor={after}"));
    }
    if let Some(priority) = query.priority {
        command.arg(format!("--priority={priority}"));
    }
    if let Some(since) = &query.since {
        command.arg(format!("--since={since}"));
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// What `--user-unit` matches (journalctl's own, but for what others say of it), and what the
/// unit's main process wrote: of a process that is gone when journald looks at it, it knows the
/// number, but no user's unit.
fn of_user_unit(unit: &str, main_pid: u64) -> Vec<String> {
    let user = format!("_UID={}", rustix::process::geteuid().as_raw());
    let mut fields = vec![format!("_PID={main_pid}"), "_TRANSPORT=stdout".to_owned(), user.clone()];
    for field in ["_SYSTEMD_USER_UNIT", "USER_UNIT", "COREDUMP_USER_UNIT"] {
        fields.extend(["+".to_owned(), format!("{field}={unit}"), user.clone()]);
    }
    fields
}

fn limit(query: &LogQuery) -> u32 {
    query.lines.unwrap_or(DEFAULT_LINES).clamp(1, MAX_LINES)
}

async fn read(
    scope: ServiceScope,
    unit: &str,
    main_pid: Option<u64>,
    query: &LogQuery,
) -> Result<ServiceLogs, ServiceError> {
    let mut command = journalctl(scope, unit, main_pid, query);
    let lines = match query.after {
        // Going on from a cursor, the oldest come first.
        Some(_) => format!("--lines=+{}", limit(query)),
        None => format!("--lines={}", limit(query)),
    };
    if query.after.is_none() {
        command.arg(lines);
    }
    let output = time::timeout(READ_LIMIT, command.output()).await;
    let output = output
        .map_err(|_| ServiceError::Away("the journal does not answer".to_owned()))?
        .map_err(|error| not_run(&error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if said.ends_with(NO_UNIT_YET) {
            return Ok(empty());
        }
        let asked = query.after.is_some() || query.since.is_some();
        let wrong = if asked { ServiceError::Senseless } else { ServiceError::Away };
        return Err(wrong(format!("journalctl: {said}")));
    }
    let mut logs = empty();
    logs.cursor.clone_from(&query.after);
    for line in output.stdout.split(|byte| *byte == b'\n').take(limit(query) as usize) {
        logs.add(line);
    }
    Ok(logs)
}

/// It is not there, or what was asked has a NUL byte, which no argument can have.
fn not_run(error: &std::io::Error) -> ServiceError {
    if error.kind() == std::io::ErrorKind::InvalidInput {
        return ServiceError::Senseless(format!("journalctl: {error}"));
    }
    ServiceError::Away(format!("journalctl cannot be run: {error}; it comes with systemd"))
}

/// Waits for the first line after a cursor, and takes those that come with it.
async fn follow(
    scope: ServiceScope,
    unit: &str,
    query: &LogQuery,
) -> Result<ServiceLogs, ServiceError> {
    let wait = Duration::from_secs(u64::from(query.wait_seconds.unwrap_or(0))).min(MAX_WAIT);
    let mut command = journalctl(scope, unit, None, query);
    command.args(["--follow", "--no-tail"]).stderr(Stdio::null());
    let mut child: Child = command.spawn().map_err(|error| not_run(&error))?;
    let mut logs = empty();
    logs.cursor.clone_from(&query.after);
    if let Some(output) = child.stdout.take() {
        gather(BufReader::new(output).lines(), &mut logs, wait, limit(query)).await;
    }
    // It would go on for ever.
    if let Err(error) = child.kill().await {
        tracing::debug!(%error, "journalctl had ended already");
    }
    Ok(logs)
}

async fn gather<R: AsyncRead + Unpin>(
    mut lines: Lines<BufReader<R>>,
    logs: &mut ServiceLogs,
    wait: Duration,
    limit: u32,
) {
    let mut until = Instant::now() + wait;
    while logs.lines.len() < limit as usize {
        match time::timeout_at(until, lines.next_line()).await {
            Ok(Ok(Some(line))) => {
                logs.add(line.as_bytes());
                if logs.lines.len() == 1 {
                    until = Instant::now() + GATHER;
                }
            }
            _ => return,
        }
    }
}

/// Takes a line of `journalctl --output=json` in.
trait Take {
    fn add(&mut self, line: &[u8]);
}

impl Take for ServiceLogs {
    fn add(&mut self, line: &[u8]) {
        let Ok(Value::Object(entry)) = serde_json::from_slice::<Value>(line) else { return };
        let word = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        if let Some(cursor) = entry.get("__CURSOR").and_then(Value::as_str) {
            self.cursor = Some(cursor.to_owned());
        }
        let at = word("__REALTIME_TIMESTAMP").parse().ok();
        let Some(at) = at.and_then(|at| Timestamp::from_microsecond(at).ok()) else { return };
        let unit = ["_SYSTEMD_USER_UNIT", "USER_UNIT", "_SYSTEMD_UNIT", "UNIT"]
            .into_iter()
            .map(word)
            .find(|unit| unit.contains('@') && !unit.starts_with("user@"))
            .unwrap_or_default();
        self.lines.push(LogLine {
            at,
            unit: unit.to_owned(),
            priority: word("PRIORITY").parse().unwrap_or(6),
            pid: word("_PID").parse().ok(),
            message: message(entry.get("MESSAGE")),
        });
    }
}

/// Bytes that are not text come as a list of numbers.
fn message(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(bytes)) => {
            let bytes: Vec<u8> =
                bytes.iter().filter_map(|byte| u8::try_from(byte.as_u64()?).ok()).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_no_argument_can_be_is_the_callers_fault() {
        for query in [
            LogQuery { since: Some("a\0b".to_owned()), ..LogQuery::default() },
            LogQuery { after: Some("\0".to_owned()), ..LogQuery::default() },
        ] {
            let refused = read(ServiceScope::System, "api@1.service", None, &query).await;
            assert!(matches!(refused, Err(ServiceError::Senseless(_))), "{refused:?}");
        }
    }

    #[test]
    fn lines_of_the_journal_are_read() {
        let mut logs = empty();
        logs.add(br#"{"__CURSOR":"c1","__REALTIME_TIMESTAMP":"1700000000000000","MESSAGE":"hi","PRIORITY":"3","_PID":"7","_SYSTEMD_USER_UNIT":"api@1.service","_SYSTEMD_UNIT":"user@0.service"}"#);
        logs.add(br#"{"__CURSOR":"c2","__REALTIME_TIMESTAMP":"1700000000000001","MESSAGE":[104,255],"USER_UNIT":"api@2.service","_SYSTEMD_UNIT":"user@0.service"}"#);
        logs.add(b"not json");
        assert_eq!(logs.cursor.as_deref(), Some("c2"));
        let [first, second] = logs.lines.as_slice() else { panic!("{logs:?}") };
        assert_eq!((first.message.as_str(), first.priority, first.pid), ("hi", 3, Some(7)));
        assert_eq!(first.unit, "api@1.service");
        assert_eq!((second.message.as_str(), second.unit.as_str()), ("h\u{fffd}", "api@2.service"));
    }
}
