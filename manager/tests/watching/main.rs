//! The manager beside a data plane that comes, goes, restarts and hangs: a real
//! admin server with made-up answers, a real manager, the typed client.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

mod fake;
mod harness;

use std::{
    os::unix::net::UnixListener,
    sync::atomic::{AtomicBool, Ordering},
};

use bs9_api::{ManagerClient, types::HistoryQuery};
use bs9_manager::{Manager, ManagerError};

use fake::FakeDataPlane;
use harness::{Place, beside};

const ALL: HistoryQuery = HistoryQuery { seconds: None };

#[tokio::test]
async fn a_data_plane_is_seen_to_come_go_and_return() {
    let place = Place::new();
    beside(&place, async |client| {
        let status = place.wait_for(client, |status| status.data_plane.reason.is_some()).await;
        assert!(!status.data_plane.reachable);
        assert!(status.data_plane.status.is_none());

        let running = place.start(FakeDataPlane::new(11));
        let status = place.wait_for(client, |status| status.data_plane.reachable).await;
        assert_eq!(status.data_plane.status.unwrap().pid, 11);
        assert_eq!(status.data_plane.reason, None);

        running.stop().await;
        let status = place.wait_for(client, |status| !status.data_plane.reachable).await;
        let view = status.data_plane;
        assert!(view.reason.unwrap().contains("nothing is running"));
        assert!(view.seen_at.unwrap() <= view.since);
        assert_eq!(view.status.unwrap().pid, 11, "the last answer is kept");
        assert_eq!(view.rates, None);

        let _running = place.start(FakeDataPlane::new(11));
        place.wait_for(client, |status| status.data_plane.reachable).await;
    })
    .await;
}

#[tokio::test]
async fn a_restart_is_seen_and_never_makes_a_negative_rate() {
    let place = Place::new();
    beside(&place, async |client| {
        let first = place.start(FakeDataPlane::new(21));
        let before = place.wait_for_rates(client, 1).await.len();
        first.stop().await;
        let _second = place.start(FakeDataPlane::new(22));
        let restarted = |status: &bs9_api::types::ManagerStatus| {
            let view = &status.data_plane;
            view.rates.is_some() && view.status.as_ref().is_some_and(|status| status.pid == 22)
        };
        let status = place.wait_for(client, restarted).await;
        let rates = status.data_plane.rates.unwrap();
        assert!(rates.requests_per_second > 0.0, "{rates:?}");

        let rates = place.wait_for_rates(client, before + 1).await;
        for rate in rates.iter().map(|rates| rates.requests_per_second) {
            assert!(rate >= 0.0 && rate.is_finite(), "{rates:?}");
        }
        let metrics = client.metrics().await.unwrap().0;
        assert!(metrics.contains("bs9_manager_dataplane_restarts_total 1\n"), "{metrics}");
    })
    .await;
}

#[tokio::test]
async fn a_data_plane_that_hangs_counts_as_gone() {
    let place = Place::new();
    // It accepts (the kernel does), and says nothing.
    let _silent = UnixListener::bind(place.data_plane()).unwrap();
    beside(&place, async |client| {
        let timed_out = |status: &bs9_api::types::ManagerStatus| {
            let reason = status.data_plane.reason.as_deref();
            reason.is_some_and(|reason| reason.contains("no answer"))
        };
        let status = place.wait_for(client, timed_out).await;
        assert!(!status.data_plane.reachable);
    })
    .await;
}

#[tokio::test]
async fn history_shows_the_outage() {
    let place = Place::new();
    beside(&place, async |client| {
        let running = place.start(FakeDataPlane::new(31));
        place.wait_for(client, |status| status.data_plane.reachable).await;
        running.stop().await;
        place.wait_for(client, |status| !status.data_plane.reachable).await;
        let _running = place.start(FakeDataPlane::new(31));
        place.wait_for(client, |status| status.data_plane.reachable).await;

        let mut seen: Vec<bool> = client
            .history(&ALL)
            .await
            .unwrap()
            .points
            .iter()
            .map(|point| point.reachable)
            .collect();
        seen.dedup();
        // Whether the first poll came before the first start is the scheduler's choice.
        assert!(seen.ends_with(&[true, false, true]), "{seen:?}");
        let status = client.status().await.unwrap().history;
        assert!(status.points >= 3 && status.points <= status.capacity_points, "{status:?}");
    })
    .await;
}

#[tokio::test]
async fn it_is_ready_once_it_has_asked() {
    let place = Place::new();
    beside(&place, async |client| {
        assert!(client.health_live().await.unwrap().ok);
        place.wait_for(client, |status| status.history.points > 0).await;
        assert!(client.health_ready().await.unwrap().ok);
    })
    .await;
}

#[tokio::test]
async fn two_managers_do_not_share_a_socket() {
    let place = Place::new();
    beside(&place, async |client| {
        let error = Manager::bind(&place.config()).unwrap_err();
        assert!(matches!(error, ManagerError::Bind(_)), "{error:?}");
        client.status().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn the_socket_a_killed_manager_left_is_replaced() {
    let place = Place::new();
    // std does not remove the file: what `kill -9` leaves.
    drop(UnixListener::bind(place.manager()).unwrap());
    assert!(place.manager().exists());
    beside(&place, async |client| {
        client.status().await.unwrap();
    })
    .await;
    assert!(!place.manager().exists(), "an orderly end removes it");
}

#[tokio::test]
async fn asking_takes_nothing_but_status() {
    let place = Place::new();
    let fake = FakeDataPlane::new(41);
    let asked_for_more = fake.asked_for_more();
    let _running = place.start(fake);
    beside(&place, async |client: &ManagerClient| {
        place.wait_for(client, |status| status.data_plane.rates.is_some()).await;
    })
    .await;
    let asked: &AtomicBool = &asked_for_more;
    assert!(!asked.load(Ordering::SeqCst), "the manager only ever reads the status");
}
