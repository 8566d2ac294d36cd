//! History on disk: written, read back, killed, damaged, full.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex, mpsc::TrySendError},
};

use bs9_api::types::{Event, Happening, SeriesQuery};
use bs9_config::{HistoryStore, Retention};
use jiff::Timestamp;
use rusqlite::Connection;

use super::{sqlite::Order, *};

/// A full hour, and a full block of every level but the coarsest.
const BEGIN: i64 = 1_700_006_400;

fn settings(size_limit_bytes: u64) -> HistoryStore {
    let days = |days: u64| std::time::Duration::from_secs(days * 86_400);
    HistoryStore {
        size_limit_bytes,
        max_series: 100,
        keep: Retention {
            second: days(1),
            ten_seconds: days(2),
            minute: days(30),
            hour: days(730),
        },
        postgres: None,
    }
}

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn open(folder: &Path, now: i64) -> (Opened, Arc<Mutex<Vec<String>>>) {
    let aside: Arc<Mutex<Vec<String>>> = Arc::default();
    let told = Arc::clone(&aside);
    let on_set_aside =
        Box::new(move |path: &Path, _: &str| told.lock().unwrap().push(path.display().to_string()));
    let opened =
        Store::open(folder, Some(&settings(1 << 30)), 1_024, time(now), on_set_aside).unwrap();
    (opened, aside)
}

/// Samples of two series for so many seconds, one batch a second, all written.
fn run(opened: Opened, from: i64, seconds: i64) {
    let Opened { store, mut rollup, writer, .. } = opened;
    for at in from..from + seconds {
        let mut batch = rollup.tick(at);
        rollup.add(at, "bs9_service_tasks", "web.service", &Point::of((at - BEGIN) as f64));
        rollup.add(at, "bs9_endpoint_response_seconds", "api/a", &Point::of_latency(0.5, 2));
        rollup.seal(&mut batch);
        let event = Event {
            id: at as u64,
            at: time(at),
            what: Happening::UnitGone { unit: "x".to_owned() },
        };
        while store.sqlite().orders().as_ref().is_some_and(|orders| {
            let order =
                Order::Write(Box::new(std::mem::take(&mut batch)), vec![event.clone()], Vec::new());
            match orders.try_send(order) {
                Err(TrySendError::Full(Order::Write(back, ..))) => {
                    batch = *back;
                    true
                }
                _ => false,
            }
        }) {
            std::thread::yield_now();
        }
    }
    // What a kill would lose is lost: no finish.
    store.stop();
    writer.unwrap().join().unwrap();
    assert_eq!(store.status().batches_lost_total, 0);
}

fn asked(resolution: u32, name: &str) -> SeriesQuery {
    SeriesQuery {
        name: Some(name.to_owned()),
        from: Some(time(BEGIN)),
        to: Some(time(BEGIN + 100_000)),
        resolution_seconds: Some(resolution),
        ..SeriesQuery::default()
    }
}

#[test]
fn what_was_measured_comes_back_at_every_resolution() {
    let folder = tempfile::tempdir().unwrap();
    let (opened, _) = open(folder.path(), BEGIN);
    let store = opened.store.clone();
    run(opened, BEGIN, 7_201);
    assert_eq!(store.catalog().unwrap().series.len(), 2);
    for (resolution, many) in [(1, 7_200), (10, 720), (60, 120), (3_600, 2)] {
        let answer = store.series(asked(resolution, "bs9_service_*"), time(BEGIN + 7_201)).unwrap();
        let points = &answer.series[0].points;
        assert_eq!(points.len(), many, "{resolution}");
        let step = i64::from(resolution);
        for (nth, point) in points.iter().enumerate() {
            let first = nth as i64 * step;
            let values = first..first + step;
            assert_eq!(point.at, time(BEGIN + first));
            assert_eq!((point.min, point.max), (first as f64, (first + step - 1) as f64));
            assert_eq!(point.sum, values.clone().sum::<i64>() as f64);
            assert_eq!(point.count, values.count() as u64);
        }
    }
    let answer =
        store.series(asked(60, "bs9_endpoint_response_seconds"), time(BEGIN + 7_201)).unwrap();
    let point = &answer.series[0].points[0];
    assert_eq!((point.count, point.mean()), (120, 0.5));
    assert!((point.p99.unwrap() - 0.5).abs() < 0.02, "{point:?}");
    let limited = SeriesQuery { limit: Some(7), ..asked(10, "*") };
    let answer = store.series(limited, time(BEGIN)).unwrap();
    assert!(answer.truncated);
    assert_eq!(answer.series.iter().map(|series| series.points.len()).sum::<usize>(), 7);
}

#[test]
fn questions_that_make_no_sense_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (opened, _) = open(folder.path(), BEGIN);
    for query in [
        SeriesQuery { resolution_seconds: Some(7), ..SeriesQuery::default() },
        SeriesQuery { from: Some(time(9)), to: Some(time(9)), ..SeriesQuery::default() },
        SeriesQuery { seconds: Some(0), to: Some(time(9)), ..SeriesQuery::default() },
    ] {
        let refused = opened.store.series(query, time(BEGIN));
        assert!(matches!(refused, Err(StoreError::Question(_))), "{refused:?}");
    }
}

#[test]
fn the_resolution_that_fits_is_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let (opened, _) = open(folder.path(), BEGIN);
    for (seconds, resolution) in
        [(60, 1), (900, 1), (3_600, 10), (40_000, 60), (86_400 * 20, 3_600), (86_400 * 400, 3_600)]
    {
        let query = SeriesQuery { seconds: Some(seconds), ..SeriesQuery::default() };
        let answer = opened.store.series(query, time(BEGIN)).unwrap();
        assert_eq!(answer.resolution_seconds, resolution, "{seconds}");
    }
}

/// Killed in the middle of an hour, a minute and ten seconds, and away for a while:
/// the coarser points are added up from the finer ones.
#[test]
fn a_run_that_was_killed_is_taken_up() {
    let folder = tempfile::tempdir().unwrap();
    let (opened, _) = open(folder.path(), BEGIN);
    run(opened, BEGIN, 3_500);
    let (opened, aside) = open(folder.path(), BEGIN + 3_505);
    assert_eq!(opened.last_event, (BEGIN + 3_499) as u64);
    let store = opened.store.clone();
    let events = store.events(Some((BEGIN + 3_497) as u64), 4).unwrap();
    let ids: Vec<i64> = events.iter().map(|event| event.id as i64 - BEGIN).collect();
    assert_eq!(ids, [3_498, 3_499]);
    run(opened, BEGIN + 3_505, 3_695);
    assert!(aside.lock().unwrap().is_empty());
    // The second that was open when it was killed is lost; five were not measured.
    let expected = [(1, 7_200 - 6 - 1, 7_200 - 6), (60, 119, 7_200 - 60 - 6), (3_600, 1, 3_594)];
    for (resolution, points, values) in expected {
        let answer =
            store.series(asked(resolution, "bs9_service_tasks"), time(BEGIN + 9_000)).unwrap();
        let found = &answer.series[0].points;
        let count: u64 = found.iter().map(|point| point.count).sum();
        let slack = u64::from(resolution == 1);
        assert_eq!((found.len(), count), (points, values - slack), "{resolution}");
    }
}

#[test]
fn a_file_that_is_no_database_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    fs::write(
        &path,
        "this is not a database, and longer than its header of a hundred bytes ".repeat(9),
    )
    .unwrap();
    let (opened, aside) = open(folder.path(), BEGIN);
    let moved = aside.lock().unwrap().clone();
    assert_eq!(moved.len(), 1);
    assert!(fs::read(&moved[0]).unwrap().starts_with(b"this is not"));
    assert_eq!(opened.store.status().set_aside, moved);
    let store = opened.store.clone();
    run(opened, BEGIN, 20);
    assert_eq!(store.catalog().unwrap().series.len(), 2);
}

#[test]
fn of_many_damaged_databases_the_newest_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    for number in 0..5 {
        fs::write(&path, format!("damaged {number}")).unwrap();
        database::set_aside(&path, 1_000 + number).unwrap();
    }
    let kept = database::found_aside(&path).unwrap();
    let texts: Vec<String> = kept.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    assert_eq!(texts, ["damaged 3", "damaged 4"]);
}

#[test]
fn a_database_damaged_while_it_is_used_is_set_aside_and_writing_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (opened, _) = open(folder.path(), BEGIN);
    run(opened, BEGIN, 400);
    // Every page after the first is overwritten, the log is gone: as after a disk fault.
    let path = folder.path().join("history.db");
    let mut bytes = fs::read(&path).unwrap();
    bytes[4_096..].fill(0x5a);
    fs::write(&path, bytes).unwrap();
    let _ = fs::remove_file(folder.path().join("history.db-wal"));
    let (opened, aside) = open(folder.path(), BEGIN + 400);
    let store = opened.store.clone();
    run_until_it_works(opened, BEGIN + 400, &store);
    assert_eq!(aside.lock().unwrap().len(), 1);
    assert!(store.status().working);
}

fn run_until_it_works(opened: Opened, from: i64, store: &Store) {
    let Opened { mut rollup, writer, .. } = opened;
    for at in from..from + 60 {
        let mut batch = rollup.tick(at);
        rollup.add(at, "bs9_service_tasks", "web.service", &Point::of(1.0));
        rollup.seal(&mut batch);
        store.write(batch, Vec::new(), Vec::new());
        std::thread::yield_now();
    }
    store.stop();
    writer.unwrap().join().unwrap();
}

#[test]
fn at_the_size_limit_the_oldest_goes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let limit = 1 << 20;
    let mut database = Database::open(&path, &settings(limit), 10).unwrap();
    let mut noise = 1_u64;
    for block in 0..40 {
        for minute in 0..5 {
            let at = BEGIN + block * 300 + minute * 60;
            let steps = (0..60).map(|second| Step {
                level: Level::Second,
                at: at + second,
                points: (1..40)
                    .map(|series| {
                        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        (series, Point::of(noise as f64 / 3.0))
                    })
                    .collect(),
            });
            let series = (1..40)
                .map(|id| {
                    (
                        id,
                        bs9_api::types::SeriesName {
                            name: format!("m{id}"),
                            subject: String::new(),
                        },
                    )
                })
                .collect();
            let batch = Batch { at, series, steps: steps.collect() };
            database.write(&batch, &[]).unwrap();
        }
        database.upkeep(BEGIN + block * 300 + 299).unwrap();
    }
    let size = database.size_bytes().unwrap();
    assert!(size <= limit + limit / 4, "{size}");
    let mut reader = Database::reader(&path).unwrap();
    let range = Range { level: Level::Second, from: 0, to: i64::MAX / 2, limit: 1 << 20 };
    let selection = Selection { name: Some("m1".to_owned()), subject: None };
    let found = query::series(&mut reader, &selection, &range).unwrap();
    let times: Vec<i64> = found.series[0].points.iter().map(|point| point.at.as_second()).collect();
    assert_eq!(*times.last().unwrap(), BEGIN + 40 * 300 - 1, "the newest is there");
    assert!(times[0] > BEGIN, "the oldest is not");
    assert!(times.windows(2).all(|pair| pair[1] == pair[0] + 1), "without gaps");
}

#[test]
fn what_is_too_old_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let (opened, _) = open(folder.path(), BEGIN);
    run(opened, BEGIN, 700);
    let path = folder.path().join("history.db");
    let mut database = Database::open(&path, &settings(1 << 30), 10).unwrap();
    database.upkeep(BEGIN + 2 * 86_400).unwrap();
    let mut reader = Database::reader(&path).unwrap();
    let many = |reader: &mut Connection, level| {
        let range = Range { level, from: 0, to: i64::MAX / 2, limit: 1 << 20 };
        let found = query::series(reader, &Selection::default(), &range).unwrap();
        found.series.iter().map(|series| series.points.len()).sum::<usize>()
    };
    assert_eq!(many(&mut reader, Level::Second), 0);
    assert!(many(&mut reader, Level::TenSeconds) > 0);
    assert_eq!(query::events(&reader, None, 100).unwrap().len(), 10);
    drop(reader);
    database.upkeep(BEGIN + 3_000 * 86_400).unwrap();
    assert!(database.series().unwrap().is_empty());
}

#[test]
fn switched_off_it_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let opened = Store::open(folder.path(), None, 10, time(BEGIN), Box::new(|_, _| {})).unwrap();
    assert!(matches!(opened.store.catalog(), Err(StoreError::Off)));
    assert!(opened.store.status().reason.unwrap().contains("history.persist"));
    assert!(!folder.path().join("history.db").exists());
}
