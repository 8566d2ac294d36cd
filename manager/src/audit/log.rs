//! The files of the log.
//!
//! `audit-0000000001.jsonl` and so on, named after the first record in each. A
//! record is on disk (`fdatasync`) before anything that depends on it happens.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use bs9_api::types::{AuditHead, AuditPhase, AuditRecord, SealedRecord};
use jiff::Timestamp;

use super::seal::{NOTHING, opened, sealed};

/// A file is not continued beyond this.
const FILE_BYTES: u64 = 16 << 20;
/// Bytes of one line; longer ones are not written.
pub(super) const LINE_BYTES: usize = 256 << 10;

/// The log, open for writing. There is one writer: the state folder is locked.
#[derive(Debug)]
pub(super) struct Log {
    folder: PathBuf,
    size_limit_bytes: u64,
    file: Option<(File, u64)>,
    head: AuditHead,
}

/// What opening the log found.
#[derive(Debug, Default)]
pub(super) struct Opening {
    /// Where half a line went that a crash had left.
    pub(super) torn: Option<PathBuf>,
    /// Why the last record cannot be trusted.
    pub(super) flaw: Option<String>,
}

/// A record without what the log itself knows.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) phase: AuditPhase,
    pub(super) begun: Option<u64>,
    pub(super) who: String,
    pub(super) role: Option<String>,
    pub(super) from: String,
    pub(super) operation: String,
    pub(super) target: String,
    pub(super) request: Option<serde_json::Value>,
    pub(super) before: Option<serde_json::Value>,
    pub(super) after: Option<serde_json::Value>,
    pub(super) ok: Option<bool>,
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
}

impl Draft {
    /// Something the log itself did.
    pub(super) fn upkeep(operation: &str, message: String) -> Self {
        Self {
            phase: AuditPhase::Upkeep,
            begun: None,
            who: format!("manager pid {}", std::process::id()),
            role: None,
            from: "manager".to_owned(),
            operation: operation.to_owned(),
            target: "audit".to_owned(),
            request: None,
            before: None,
            after: None,
            ok: None,
            code: None,
            message: Some(message),
        }
    }

    fn record(self, sequence: u64, at: Timestamp, previous: String) -> AuditRecord {
        AuditRecord {
            sequence,
            at,
            phase: self.phase,
            begun: self.begun,
            who: self.who,
            role: self.role,
            from: self.from,
            operation: self.operation,
            target: self.target,
            request: self.request,
            before: self.before,
            after: self.after,
            ok: self.ok,
            code: self.code,
            message: self.message,
            previous,
        }
    }

    /// Without what can be long.
    fn shortened(mut self) -> Self {
        self.request = None;
        self.before = None;
        self.after = None;
        if let Some(message) = &mut self.message {
            message.truncate(message.floor_char_boundary(1_024));
        }
        self.target.truncate(self.target.floor_char_boundary(1_024));
        self
    }
}

impl Log {
    /// Opens the log in `folder`, which is made when it is missing. Half a line
    /// that a crash left at the end is set aside.
    pub(super) fn open(folder: &Path, size_limit_bytes: u64) -> io::Result<(Self, Opening)> {
        fs::create_dir_all(folder)?;
        let mut opening = Opening::default();
        let mut log = Self {
            folder: folder.to_owned(),
            size_limit_bytes,
            file: None,
            head: AuditHead { sequence: 0, hash: NOTHING.to_owned(), at: None },
        };
        // A file that was begun and never written to says nothing.
        for path in files(folder)?.iter().rev() {
            if log.take_up(path, &mut opening)? {
                break;
            }
        }
        Ok((log, opening))
    }

    /// Goes on after the last record in the file at `path`; `false` when it has none.
    fn take_up(&mut self, path: &Path, opening: &mut Opening) -> io::Result<bool> {
        let mut file = OpenOptions::new().read(true).append(true).open(path)?;
        let length = file.metadata()?.len();
        let whole = set_torn_line_aside(path, &mut file, length, opening)?;
        let Some(line) = last_line(&mut file, whole)? else { return Ok(false) };
        match opened(&line) {
            Ok(SealedRecord { hash, record }) => {
                self.head = AuditHead { sequence: record.sequence, hash, at: Some(record.at) };
            }
            Err(flaw) => {
                // Somebody changed it: the chain goes on from what is there, so that
                // verifying finds the place and nothing is hidden.
                opening.flaw = Some(format!("the last record of {}: {flaw}", path.display()));
                self.head = head_of_changed(&line, path);
            }
        }
        self.file = Some((file, whole));
        Ok(true)
    }

    pub(super) fn head(&self) -> &AuditHead {
        &self.head
    }

    /// Writes a record; it is on disk when this returns.
    pub(super) fn append(&mut self, draft: Draft) -> io::Result<u64> {
        if self.file.as_ref().is_none_or(|(_, length)| *length >= FILE_BYTES) {
            self.begin_file()?;
        }
        let sequence = self.head.sequence + 1;
        let at = Timestamp::now();
        let previous = self.head.hash.clone();
        let (mut line, mut hash) = sealed(&draft.clone().record(sequence, at, previous.clone()))?;
        if line.len() > LINE_BYTES {
            (line, hash) = sealed(&draft.shortened().record(sequence, at, previous))?;
        }
        let Some((file, length)) = &mut self.file else {
            return Err(io::Error::other("the audit log has no file"));
        };
        if let Err(error) = file.write_all(line.as_bytes()).and_then(|()| file.sync_data()) {
            // What may be there of the line must not stand before the next one.
            let _ = file.set_len(*length);
            return Err(error);
        }
        *length += line.len() as u64;
        self.head = AuditHead { sequence, hash, at: Some(at) };
        Ok(sequence)
    }

    fn begin_file(&mut self) -> io::Result<()> {
        let path = self.folder.join(format!("audit-{:010}.jsonl", self.head.sequence + 1));
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
        let length = file.metadata()?.len();
        // The file's name is on disk before the first record in it is.
        File::open(&self.folder)?.sync_all()?;
        self.file = Some((file, length));
        Ok(())
    }

    /// Gives up the oldest files when all together are too large, and returns what
    /// to record about it.
    pub(super) fn make_room(&mut self) -> io::Result<Option<Draft>> {
        let files = files(&self.folder)?;
        let size = |path: &PathBuf| fs::metadata(path).map(|metadata| metadata.len());
        let mut total: u64 = files.iter().filter_map(|path| size(path).ok()).sum();
        let mut given_up = None;
        // The newest file is never given up.
        for path in files.iter().take(files.len().saturating_sub(1)) {
            if total <= self.size_limit_bytes {
                break;
            }
            let mut file = File::open(path)?;
            let length = file.metadata()?.len();
            let last = last_line(&mut file, length)?.and_then(|line| opened(&line).ok());
            fs::remove_file(path)?;
            total = total.saturating_sub(length);
            given_up = last.or(given_up);
        }
        Ok(given_up.map(|last| {
            Draft::upkeep(
                "give_up_oldest",
                format!(
                    "records up to {} (hash {}) were given up: audit.size_limit is reached",
                    last.record.sequence, last.hash
                ),
            )
        }))
    }
}

/// The files of a log, oldest first.
pub(super) fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| {
            let name = entry.file_name();
            let number =
                name.to_str().and_then(|name| name.strip_prefix("audit-")?.strip_suffix(".jsonl"));
            number.is_some_and(|n| n.len() >= 10 && n.bytes().all(|b| b.is_ascii_digit()))
        })
        .map(|entry| entry.path())
        .collect();
    files.sort();
    Ok(files)
}

/// Cuts off what stands after the last line break, and keeps it elsewhere. Returns
/// how long the file is then.
fn set_torn_line_aside(
    path: &Path,
    file: &mut File,
    length: u64,
    opening: &mut Opening,
) -> io::Result<u64> {
    let (tail, begin) = tail(file, length)?;
    let after = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    if after == tail.len() {
        return Ok(length);
    }
    let aside = path.with_extension(format!("torn-{}", Timestamp::now().as_millisecond()));
    let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    copy.write_all(&tail[after..])?;
    copy.sync_all()?;
    let whole = begin + after as u64;
    file.set_len(whole)?;
    file.sync_all()?;
    opening.torn = Some(aside);
    Ok(whole)
}

/// The last line of a file that is `length` long and ends in a line break.
fn last_line(file: &mut File, length: u64) -> io::Result<Option<String>> {
    let (tail, _) = tail(file, length)?;
    let text = tail.strip_suffix(b"\n").unwrap_or(&tail);
    let line = text.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok((!line.is_empty()).then(|| String::from_utf8_lossy(line).into_owned()))
}

/// Enough of a file's end to hold a line, and where that begins.
fn tail(file: &mut File, length: u64) -> io::Result<(Vec<u8>, u64)> {
    let begin = length.saturating_sub(2 * LINE_BYTES as u64);
    file.seek(SeekFrom::Start(begin))?;
    let mut tail = Vec::new();
    file.take(length - begin).read_to_end(&mut tail)?;
    Ok((tail, begin))
}

/// What can be known of a last record that was changed: enough to go on.
fn head_of_changed(line: &str, path: &Path) -> AuditHead {
    let value: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    let named =
        path.file_stem().and_then(|stem| stem.to_str()?.strip_prefix("audit-")?.parse().ok());
    let sequence = value["record"]["sequence"].as_u64().or(named).unwrap_or(0);
    let hash = value["hash"].as_str().unwrap_or(NOTHING).to_owned();
    AuditHead { sequence, hash, at: None }
}
