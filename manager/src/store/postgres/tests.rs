//! History in a real PostgreSQL: written, read back, partitioned, shared.

mod cluster;

use std::time::{Duration, Instant};

use bs9_api::types::{Happening, SeriesAnswer, SeriesQuery};
use bs9_config::Retention;
use tokio_postgres::types::Type;

use super::*;
use crate::store::{Level, Opened, Place, Point, Rollup, Store};
use cluster::Cluster;

/// A full hour, and a full block of every level but the coarsest.
const BEGIN: i64 = 1_700_006_400;

fn settings(to: PostgresStore) -> HistoryStore {
    let hours = |hours: u64| Duration::from_secs(hours * 3_600);
    HistoryStore {
        size_limit_bytes: 1 << 30,
        max_series: 100,
        keep: Retention {
            second: hours(2),
            ten_seconds: hours(48),
            minute: hours(720),
            hour: hours(17_520),
        },
        postgres: Some(to),
    }
}

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn open(to: PostgresStore, now: i64) -> Opened {
    let folder = std::path::Path::new("/nowhere");
    Store::open(folder, Some(&settings(to)), 1_024, time(now), Box::new(|_, _| {})).unwrap()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "never came about: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn event(at: i64) -> Event {
    let what = Happening::UnitGone { unit: "x".to_owned() };
    Event { id: at as u64, at: time(at), what }
}

/// Samples of two series, a batch a second; no faster than the database takes them.
fn run(opened: &mut Opened, seconds: std::ops::Range<i64>) {
    let (store, rollup) = (&opened.store, &mut opened.rollup);
    for at in seconds {
        let mut batch = rollup.tick(at);
        rollup.add(at, "bs9_service_tasks", "web.service", &Point::of((at - BEGIN) as f64));
        rollup.add(at, "bs9_endpoint_response_seconds", "api/a", &Point::of_latency(0.5, 2));
        rollup.seal(&mut batch);
        store.write(batch, vec![event(at)], Vec::new());
        // The channel has room for a few that the thread has not looked at yet.
        until("there is room", || {
            let Place::Postgres(postgres) = &store.place else { panic!() };
            postgres.batches().as_ref().unwrap().capacity() > 1
        });
    }
}

/// Everything that was handed over is in the database.
fn settle(opened: &Opened, written: u64) {
    until("it is written", || opened.store.status().batches_total >= written);
    let status = opened.store.status();
    assert_eq!((status.batches_lost_total, &status.reason), (0, &None), "{status:?}");
}

/// An orderly end.
fn end(opened: Opened, at: i64) {
    let Opened { store, mut rollup, writer, .. } = opened;
    store.write(rollup.finish(at), Vec::new(), Vec::new());
    store.stop();
    writer.unwrap().join().unwrap();
}

fn asked(store: &Store, resolution: u32, name: &str) -> SeriesAnswer {
    let query = SeriesQuery {
        name: Some(name.to_owned()),
        from: Some(time(BEGIN)),
        to: Some(time(BEGIN + 100_000)),
        resolution_seconds: Some(resolution),
        ..SeriesQuery::default()
    };
    store.series(query, time(BEGIN + 700)).unwrap()
}

#[test]
fn what_was_measured_comes_back_at_every_resolution() {
    let cluster = Cluster::start();
    let mut opened = open(cluster.store("one"), BEGIN);
    run(&mut opened, BEGIN..BEGIN + 661);
    settle(&opened, 661);
    let store = opened.store.clone();
    assert_eq!(store.catalog().unwrap().series.len(), 2);
    // Of the hour, there is what its minutes have come to.
    for (resolution, points, values) in [(1, 660, 1), (10, 66, 10), (60, 11, 60), (3_600, 1, 660)] {
        let answer = asked(&store, resolution, "bs9_service_*");
        let found = &answer.series[0].points;
        assert_eq!(found.len(), points, "{resolution}");
        for (nth, point) in found.iter().enumerate() {
            let first = nth as i64 * i64::from(resolution);
            let last = first + values - 1;
            assert_eq!(point.at, time(BEGIN + first));
            assert_eq!((point.min, point.max), (first as f64, last as f64));
            assert_eq!(point.sum, (first..=last).sum::<i64>() as f64);
            assert_eq!(point.count, values as u64);
        }
    }
    let answer = asked(&store, 60, "bs9_endpoint_response_seconds");
    let point = &answer.series[0].points[0];
    assert_eq!((point.count, point.mean()), (120, 0.5));
    assert!((point.p99.unwrap() - 0.5).abs() < 0.02, "{point:?}");
    let limited = SeriesQuery { limit: Some(7), ..SeriesQuery::default() };
    let limited = SeriesQuery { from: Some(time(BEGIN)), to: Some(time(BEGIN + 600)), ..limited };
    let answer = store.series(limited, time(BEGIN + 661)).unwrap();
    assert!(answer.truncated);
    assert_eq!(answer.series.iter().map(|series| series.points.len()).sum::<usize>(), 7);

    let ids = |events: Vec<Event>| -> Vec<i64> {
        events.iter().map(|event| event.id as i64 - BEGIN).collect()
    };
    assert_eq!(ids(store.events(None, 3).unwrap()), [658, 659, 660]);
    assert_eq!(ids(store.events(Some(BEGIN as u64 + 5), 2).unwrap()), [6, 7]);
    end(opened, BEGIN + 661);
}

#[test]
fn a_run_goes_on_where_the_one_before_ended() {
    let cluster = Cluster::start();
    let mut opened = open(cluster.store("one"), BEGIN);
    run(&mut opened, BEGIN..BEGIN + 95);
    end(opened, BEGIN + 94);
    let mut opened = open(cluster.store("one"), BEGIN + 95);
    run(&mut opened, BEGIN + 95..BEGIN + 121);
    settle(&opened, 26);
    let sum = |resolution| -> Vec<(f64, u64)> {
        let answer = asked(&opened.store, resolution, "bs9_service_tasks");
        answer.series[0].points.iter().map(|point| (point.sum, point.count)).collect()
    };
    let of = |seconds: std::ops::Range<i64>| {
        (seconds.clone().sum::<i64>() as f64, seconds.count() as u64)
    };
    assert_eq!(sum(10)[9], of(90..100), "ten seconds of two runs");
    assert_eq!(sum(60), [of(0..60), of(60..120)]);
    assert_eq!(sum(3_600), [of(0..120)]);
    end(opened, BEGIN + 121);
}

#[test]
fn machines_share_a_store_and_see_their_own() {
    let cluster = Cluster::start();
    let mut one = open(cluster.store("one"), BEGIN);
    let mut two = open(cluster.store("two"), BEGIN);
    run(&mut one, BEGIN..BEGIN + 21);
    run(&mut two, BEGIN + 10..BEGIN + 21);
    settle(&one, 21);
    settle(&two, 11);
    for (opened, points) in [(&one, 20), (&two, 10)] {
        let answer = asked(&opened.store, 1, "bs9_service_tasks");
        assert_eq!((answer.series.len(), answer.series[0].points.len()), (1, points));
        assert_eq!(opened.store.events(Some(0), 100).unwrap().len(), points + 1);
    }
    end(one, BEGIN + 21);
    end(two, BEGIN + 21);
}

/// Runs against the database itself, as one manager does.
fn beside(cluster: &Cluster, scene: impl AsyncFnOnce(&Link)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(scene(&Link::new(&cluster.store("beside")).unwrap()));
}

async fn partitions(link: &Link) -> Vec<String> {
    let client = link.client().await.unwrap();
    let rows = client
        .query_typed(
            "SELECT relname::text FROM pg_class WHERE relispartition AND relkind = 'r' ORDER BY relname",
            &[],
        )
        .await;
    rows.unwrap().iter().map(|row| row.get(0)).collect()
}

#[test]
fn partitions_are_made_ahead_and_dropped_when_all_in_them_is_too_old() {
    let cluster = Cluster::start();
    let mut opened = open(cluster.store("one"), BEGIN);
    run(&mut opened, BEGIN..BEGIN + 302);
    settle(&opened, 302);
    end(opened, BEGIN + 302);
    beside(&cluster, async |link| {
        let hour = BEGIN - BEGIN.rem_euclid(3_600);
        let there = partitions(link).await;
        assert_eq!(there.len(), 15, "{there:?}");
        for ahead in 0..3 {
            let name = format!("block_1s_{}", hour + ahead * 3_600);
            assert!(there.contains(&name), "{name}: {there:?}");
        }
        let mut client = link.client().await.unwrap();
        let rows = async |client: &deadpool_postgres::Object, table: &str| -> i64 {
            let sql = format!("SELECT count(*) FROM bs9.{table}");
            client.query_typed_one(&sql, &[]).await.unwrap().get(0)
        };
        assert_eq!(rows(&client, "block_1s").await, 2, "a block of each series");
        // A second is kept for two hours, ten of them for two days.
        let later = hour + 3 * 3_600 - 1;
        assert!(schema::maintain(&mut client, link, later).await.unwrap());
        assert_eq!(rows(&client, "block_1s").await, 2);
        assert!(schema::maintain(&mut client, link, later + 1).await.unwrap());
        assert_eq!(rows(&client, "block_1s").await, 0);
        let there = partitions(link).await;
        assert!(!there.contains(&format!("block_1s_{hour}")), "{there:?}");
        assert!(there.contains(&format!("block_1s_{}", hour + 5 * 3_600)), "{there:?}");
        assert_eq!(rows(&client, "event").await, 302);
        assert!(schema::maintain(&mut client, link, BEGIN + 40 * 86_400).await.unwrap());
        assert_eq!(rows(&client, "event").await, 0);
    });
}

#[test]
fn one_manager_at_a_time_sees_to_the_tables_and_none_undoes_a_newer_one() {
    let cluster = Cluster::start();
    beside(&cluster, async |link| {
        let (mut one, mut two) = (link.client().await.unwrap(), link.client().await.unwrap());
        schema::migrate(&mut one, link).await.unwrap();
        schema::migrate(&mut two, link).await.unwrap();
        let key = "bs9 history in bs9";
        let held = one.transaction().await.unwrap();
        held.query_typed(
            "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))",
            &[(&key, Type::TEXT)],
        )
        .await
        .unwrap();
        assert!(!schema::maintain(&mut two, link, BEGIN).await.unwrap(), "another leads");
        held.commit().await.unwrap();
        assert!(schema::maintain(&mut two, link, BEGIN).await.unwrap());
        two.batch_execute("INSERT INTO bs9.migration VALUES (99)").await.unwrap();
        let refused = schema::migrate(&mut two, link).await;
        assert!(matches!(refused, Err(PostgresError::Newer { found: 99, .. })), "{refused:?}");
    });
}

#[test]
fn a_commit_nobody_heard_of_is_not_done_again() {
    let cluster = Cluster::start();
    beside(&cluster, async |_| {
        let account = Account::default();
        let writer = || {
            let spool = Rc::new(RefCell::new(Spool::new(1 << 20)));
            let link = Rc::new(Link::new(&cluster.store("one")).unwrap());
            let keep = settings(cluster.store("one")).keep;
            let more = Rc::new(Notify::new());
            (Writer::new(link, keep, 7, Rc::clone(&spool), more, account.clone()), spool)
        };
        let mut rollup = Rollup::new(10, []);
        rollup.add(BEGIN, "m", "a", &Point::of(3.0));
        let mut batch = rollup.tick(BEGIN + 1);
        rollup.seal(&mut batch);
        let (steps, series) = (batch.steps, batch.series);
        let again = || {
            let steps = steps.iter().map(|step| crate::store::Step {
                level: step.level,
                at: step.at,
                points: step.points.clone(),
            });
            Batch { at: BEGIN, series: series.clone(), steps: steps.collect() }
        };
        // The second of them knows nothing of what the first has written.
        for _ in 0..2 {
            let (writer, spool) = writer();
            spool.borrow_mut().push(Entry::new(again(), vec![event(BEGIN)], Vec::new()));
            spool.borrow_mut().close();
            writer.run().await;
        }
        let link = Link::new(&cluster.store("one")).unwrap();
        let range = Range { level: Level::Second, from: BEGIN, to: BEGIN + 1, limit: 10 };
        let found = read::series(&link, &Selection::default(), &range).await.unwrap();
        assert_eq!(found.series[0].points[0].count, 1);
    });
}
