//! Chains that are whole, cut, changed and torn.

use std::{fs, io::Write};

use bs9_api::types::AuditPhase;

use super::{
    log::{Draft, Log, files},
    verify::{page, verify},
};

fn log_with(records: usize) -> (tempfile::TempDir, Log) {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(folder.path(), 1 << 30).unwrap();
    for number in 0..records {
        log.append(Draft::upkeep("test", format!("record {number}"))).unwrap();
    }
    (folder, log)
}

fn text_of(folder: &tempfile::TempDir) -> (std::path::PathBuf, String) {
    let path = files(folder.path()).unwrap().pop().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    (path, text)
}

#[test]
fn a_log_that_nobody_touched_is_intact() {
    let (folder, log) = log_with(5);
    let verdict = verify(folder.path(), None, Some(log.head())).unwrap();
    assert!(verdict.intact, "{verdict:?}");
    assert_eq!((verdict.records, verdict.first_sequence), (5, Some(1)));
    assert_eq!(verdict.head, *log.head());
    let pages: Vec<u64> =
        page(folder.path(), Some(2), 2).unwrap().iter().map(|r| r.record.sequence).collect();
    assert_eq!(pages, [3, 4]);
    let newest: Vec<u64> =
        page(folder.path(), None, 2).unwrap().iter().map(|r| r.record.sequence).collect();
    assert_eq!(newest, [4, 5]);
}

#[test]
fn an_empty_log_is_intact() {
    let folder = tempfile::tempdir().unwrap();
    assert!(verify(folder.path(), None, None).unwrap().intact);
}

#[test]
fn every_change_of_a_byte_is_noticed() {
    let (folder, _log) = log_with(3);
    let (path, text) = text_of(&folder);
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert!(!verify(folder.path(), None, None).unwrap().intact, "byte {at}");
    }
}

#[test]
fn a_record_taken_out_or_moved_is_noticed() {
    let (folder, _log) = log_with(4);
    let (path, text) = text_of(&folder);
    let lines: Vec<&str> = text.lines().collect();
    for order in [vec![0, 1, 3], vec![0, 2, 1, 3], vec![0, 1, 1, 2, 3]] {
        let changed: String = order.iter().map(|at| format!("{}\n", lines[*at])).collect();
        fs::write(&path, changed).unwrap();
        assert!(!verify(folder.path(), None, None).unwrap().intact, "{order:?}");
    }
}

#[test]
fn cutting_off_the_end_shows_by_a_head_that_was_published() {
    let (folder, log) = log_with(4);
    let published = log.head().clone();
    let (path, text) = text_of(&folder);
    let cut: String = text.lines().take(3).map(|line| format!("{line}\n")).collect();
    fs::write(&path, cut).unwrap();
    assert!(verify(folder.path(), None, None).unwrap().intact, "the chain alone cannot tell");
    assert!(!verify(folder.path(), Some(&published.hash), None).unwrap().intact);
    assert!(!verify(folder.path(), None, Some(&published)).unwrap().intact);
}

#[test]
fn half_a_record_is_set_aside_and_the_chain_goes_on() {
    let (folder, log) = log_with(3);
    let before = log.head().clone();
    drop(log);
    let (path, text) = text_of(&folder);
    let line = text.lines().last().unwrap();
    for length in [1, line.len() / 2, line.len() - 1] {
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&line.as_bytes()[..length]).unwrap();
        let (log, opening) = Log::open(folder.path(), 1 << 30).unwrap();
        assert_eq!(*log.head(), before);
        let torn = opening.torn.unwrap();
        assert_eq!(fs::read(&torn).unwrap(), &line.as_bytes()[..length]);
        fs::remove_file(torn).unwrap();
        assert!(verify(folder.path(), None, None).unwrap().intact);
    }
    let (mut log, _) = Log::open(folder.path(), 1 << 30).unwrap();
    assert_eq!(log.append(Draft::upkeep("test", "on".to_owned())).unwrap(), 4);
    assert!(verify(folder.path(), None, Some(log.head())).unwrap().intact);
}

#[test]
fn a_changed_last_record_is_told_and_stays_told() {
    let (folder, log) = log_with(2);
    drop(log);
    let (path, text) = text_of(&folder);
    fs::write(&path, text.replace("record 1", "record 7")).unwrap();
    let (mut log, opening) = Log::open(folder.path(), 1 << 30).unwrap();
    assert!(opening.flaw.is_some() && opening.torn.is_none());
    log.append(Draft::upkeep("test", "on".to_owned())).unwrap();
    let verdict = verify(folder.path(), None, None).unwrap();
    assert!(!verdict.intact);
    assert_eq!(verdict.problems[0].line, Some(2));
}

#[test]
fn a_record_that_is_too_long_is_shortened() {
    let (folder, mut log) = log_with(1);
    let mut draft = Draft::upkeep("test", "long".to_owned());
    draft.request = Some(vec!["x".repeat(1_000); 1_000].into());
    log.append(draft).unwrap();
    let records = page(folder.path(), None, 1).unwrap();
    assert_eq!(records[0].record.request, None);
    assert_eq!(records[0].record.phase, AuditPhase::Upkeep);
    assert!(verify(folder.path(), None, Some(log.head())).unwrap().intact);
}

#[test]
fn the_oldest_file_is_given_up_and_that_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(folder.path(), 20 << 20).unwrap();
    let first = {
        log.append(Draft::upkeep("test", "first".to_owned())).unwrap();
        log.head().hash.clone()
    };
    let mut given_up = None;
    // Files of 16 MiB, of which two are more than the limit.
    while given_up.is_none() {
        let mut draft = Draft::upkeep("test", String::new());
        draft.request = Some("x".repeat(200 << 10).into());
        log.append(draft).unwrap();
        given_up = log.make_room().unwrap();
    }
    log.append(given_up.unwrap()).unwrap();
    let verdict = verify(folder.path(), None, Some(log.head())).unwrap();
    assert!(verdict.intact, "{verdict:?}");
    assert!(verdict.first_sequence.unwrap() > 1);
    assert!(!verify(folder.path(), Some(&first), None).unwrap().intact, "it is gone");
}
