//! What the manager measures, remembers, records and whom it lets in, through its
//! public door: a real manager, a made-up tree of control groups, the typed client.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

mod harness;

use std::{fs, io::Write};

use bs9_api::{
    ClientError, DataPlaneClient, ManagerClient,
    types::{
        AuditPhase, AuditVerifyQuery, CreateToken, EventStreamQuery, Happening, PageQuery,
        RoleName, SeriesQuery,
    },
};
use bs9_config::Secret;
use bs9_manager::{Manager, ManagerError, verify_log};
use tokio::net::TcpStream;

use harness::{Place, beside, eventually};

#[tokio::test]
async fn units_are_measured_and_what_is_not_known_has_a_reason() {
    let place = Place::new();
    place.unit("web.service", 1_000_000, 4_096);
    beside(&place, async |client| {
        let unit = eventually(async || {
            let units = client.units().await.unwrap();
            assert_eq!(units.hierarchy, "unified");
            units.units.into_iter().find(|unit| unit.cpu_ratio.value.is_some())
        })
        .await;
        assert_eq!(unit.unit, "web.service");
        assert_eq!(unit.memory_bytes.value, Some(4_096.0));
        assert_eq!(unit.cpu_seconds_total.value, Some(1.0));
        assert_eq!(unit.memory_limit_bytes.value, None);
        let reason = unit.io_pressure_ratio.reason.unwrap();
        assert!(reason.contains("io.pressure"), "{reason}");

        let detail = client.unit("web").await.unwrap();
        assert_eq!(detail.processes[0].pid, std::process::id());
        let error = client.unit("nobody").await.unwrap_err();
        assert!(matches!(error, ClientError::NotFound { .. }), "{error:?}");
        let host = client.host().await.unwrap();
        assert!(host.memory_bytes.value.unwrap() > 0.0);
        let metrics = client.metrics().await.unwrap().0;
        assert!(metrics.contains("bs9_service_memory_bytes{service=\"web.service\"} 4096\n"));
        assert!(!metrics.contains("bs9_service_oom_kills_total{"), "{metrics}");
    })
    .await;
}

#[tokio::test]
async fn comings_goings_and_restarts_are_events() {
    let place = Place::new();
    beside(&place, async |client| {
        eventually(async || client.units().await.unwrap().at).await;
        let from = client.events(&PageQuery::default()).await.unwrap().events[0].id;
        let mut follower =
            client.event_stream(&EventStreamQuery { after: Some(from) }).await.unwrap();
        let mut next = async || loop {
            let event = follower.next().await.unwrap().unwrap();
            // There is no data plane, which is an event of its own.
            if !matches!(event.what, Happening::DataPlaneLost { .. }) {
                break event.what;
            }
        };
        let unit = || "late.service".to_owned();
        place.unit("late.service", 1, 1);
        assert_eq!(next().await, Happening::UnitAppeared { unit: unit() });
        place.restart_unit("late.service");
        assert_eq!(next().await, Happening::UnitRestarted { unit: unit(), restarts: 1 });
        place.remove_unit("late.service");
        assert_eq!(next().await, Happening::UnitGone { unit: unit() });
    })
    .await;
}

#[tokio::test]
async fn history_and_events_outlive_the_manager() {
    let place = Place::new();
    place.unit("web.service", 7, 12_288);
    let query = || SeriesQuery {
        name: Some("bs9_service_memory_bytes".to_owned()),
        subject: Some("web".to_owned()),
        ..SeriesQuery::default()
    };
    let mut first = None;
    beside(&place, async |client| {
        eventually(async || {
            let answer = client.series(&query()).await.unwrap();
            (!answer.series.is_empty()).then_some(())
        })
        .await;
        first = Some(client.events(&PageQuery::default()).await.unwrap().events[0].clone());
    })
    .await;
    let first = first.unwrap();
    beside(&place, async |client| {
        let answer = client.series(&query()).await.unwrap();
        assert_eq!(answer.series[0].points[0].max, 12_288.0);
        assert_eq!(answer.series[0].of.subject, "web.service");
        let events = client.events(&PageQuery::default()).await.unwrap().events;
        assert_eq!(events[0], first, "the first event of the first run");
        assert!(events.is_sorted_by_key(|event| event.id));
        let after = PageQuery { after: Some(first.id), limit: Some(1) };
        assert!(client.events(&after).await.unwrap().events[0].id > first.id);
        let refused = client.series(&SeriesQuery { resolution_seconds: Some(7), ..query() }).await;
        assert!(matches!(refused, Err(ClientError::Problem { status: 422, .. })), "{refused:?}");
    })
    .await;
}

#[tokio::test]
async fn a_damaged_history_stops_nothing() {
    let place = Place::new();
    fs::create_dir_all(place.state()).unwrap();
    fs::write(place.state().join("history.db"), [0x5a; 8_192]).unwrap();
    beside(&place, async |client| {
        let status =
            eventually(async || Some(client.status().await.unwrap().store).filter(|s| s.working))
                .await;
        assert_eq!(status.set_aside.len(), 1);
        let events = client.events(&PageQuery::default()).await.unwrap().events;
        let told =
            |event: &&bs9_api::types::Event| matches!(event.what, Happening::SetAside { .. });
        assert_eq!(events.iter().filter(told).count(), 1, "{events:?}");
    })
    .await;
}

fn token(name: &str, role: RoleName) -> CreateToken {
    CreateToken { name: name.to_owned(), role, expires_in_seconds: None }
}

#[tokio::test]
async fn a_token_opens_tcp_until_it_is_revoked_and_all_of_it_is_recorded() {
    let place = Place::new();
    beside(&place, async |client| {
        let made = client.create_token(&token("deploy", RoleName::Operator)).await.unwrap();
        let by_tcp = ManagerClient::tcp(place.tcp(), Some(Secret::new(made.token.as_str())));
        assert!(by_tcp.status().await.is_ok());
        let denied = by_tcp.create_token(&token("more", RoleName::Admin)).await.unwrap_err();
        assert!(matches!(denied, ClientError::Denied { .. }), "{denied:?}");
        client.revoke_token("deploy").await.unwrap();
        assert!(matches!(by_tcp.status().await, Err(ClientError::Denied { .. })));
        let again = client.revoke_token("deploy").await.unwrap_err();
        assert!(matches!(again, ClientError::NotFound { .. }), "{again:?}");

        let page = client.audit(&PageQuery::default()).await.unwrap();
        let shown: Vec<_> = page
            .records
            .iter()
            .map(|sealed| (sealed.record.operation.as_str(), sealed.record.phase, sealed.record.ok))
            .collect();
        use AuditPhase::{Begun, Ended, Refused};
        assert_eq!(
            shown,
            [
                ("create_token", Begun, None),
                ("create_token", Ended, Some(true)),
                ("create_token", Refused, Some(false)),
                ("revoke_token", Begun, None),
                ("revoke_token", Ended, Some(true)),
                ("revoke_token", Begun, None),
                ("revoke_token", Ended, Some(false)),
            ]
        );
        let text = serde_json::to_string(&page).unwrap();
        assert!(!text.contains(&made.token), "no secret is in the log");
        let refused = &page.records[2].record;
        assert_eq!(refused.who, "token deploy");
        assert!(refused.from.starts_with("127.0.0.1:"), "{refused:?}");
        let revoked = &page.records[4].record;
        assert_eq!(revoked.before.as_ref().unwrap()["revoked_at"], serde_json::Value::Null);
        assert!(revoked.after.as_ref().unwrap()["revoked_at"].is_string());
        assert!(page.records[0].record.who.starts_with("uid "));

        let verdict = client.audit_verify(&AuditVerifyQuery::default()).await.unwrap();
        assert!(verdict.intact && verdict.records == 7, "{verdict:?}");
        let status = client.status().await.unwrap();
        assert_eq!(status.audit, page.head);
        let metrics = client.metrics().await.unwrap().0;
        assert!(metrics.contains(&format!("hash=\"{}\"", page.head.hash)));
        let events = client.events(&PageQuery::default()).await.unwrap().events;
        let changes = events.iter().filter(|e| matches!(e.what, Happening::Change { .. })).count();
        assert_eq!(changes, 3);
    })
    .await;
}

#[tokio::test]
async fn records_cut_off_show_to_the_running_manager_and_to_whoever_kept_the_head() {
    let place = Place::new();
    beside(&place, async |client| {
        for name in ["a", "b"] {
            client.create_token(&token(name, RoleName::Viewer)).await.unwrap();
        }
        let head = client.status().await.unwrap().audit;
        let file = place.state().join("audit/audit-0000000001.jsonl");
        let text = fs::read_to_string(&file).unwrap();
        let cut: String = text.lines().take(2).map(|line| format!("{line}\n")).collect();
        fs::write(&file, cut).unwrap();
        let verdict = client.audit_verify(&AuditVerifyQuery::default()).await.unwrap();
        assert!(!verdict.intact);
        assert!(verdict.problems[0].message.contains("cut off"), "{verdict:?}");
        let offline = |head: Option<&str>| {
            verify_log(&place.state().join("audit"), head, None).unwrap().intact
        };
        assert!(offline(None), "the chain alone cannot tell");
        assert!(!offline(Some(&head.hash)));
    })
    .await;
}

#[tokio::test]
async fn a_change_that_cannot_be_recorded_is_not_done() {
    let place = Place::new();
    // A folder stands where the log's first file is to be.
    fs::create_dir_all(place.state().join("audit/audit-0000000001.jsonl")).unwrap();
    let bound = Manager::bind(&place.config());
    let Err(ManagerError::State { source, .. }) = bound else { panic!("{bound:?}") };
    assert!(source.kind() == std::io::ErrorKind::IsADirectory, "{source:?}");
}

#[tokio::test]
async fn half_a_record_is_set_aside_when_the_manager_starts() {
    let place = Place::new();
    beside(&place, async |client| {
        client.create_token(&token("a", RoleName::Viewer)).await.unwrap();
    })
    .await;
    let file = place.state().join("audit/audit-0000000001.jsonl");
    let mut log = fs::OpenOptions::new().append(true).open(&file).unwrap();
    log.write_all(b"{\"hash\":\"12").unwrap();
    drop(log);
    beside(&place, async |client| {
        let verdict = client.audit_verify(&AuditVerifyQuery::default()).await.unwrap();
        assert!(verdict.intact && verdict.records == 3, "{verdict:?}");
        let page = client.audit(&PageQuery::default()).await.unwrap();
        assert_eq!(page.records[2].record.phase, AuditPhase::Upkeep);
        let torn = fs::read_dir(place.state().join("audit")).unwrap().count();
        assert_eq!(torn, 2, "the log, and what was torn off");
    })
    .await;
}

#[tokio::test]
async fn two_managers_do_not_share_a_state_folder() {
    let place = Place::new();
    beside(&place, async |_| {
        let mut config = place.config();
        config.admin.socket = Some(place.folder().join("other.sock"));
        config.admin.listen = None;
        let error = Manager::bind(&config).unwrap_err();
        let ManagerError::State { source, .. } = error else { panic!("{error:?}") };
        assert!(source.to_string().contains("another manager"), "{source}");
    })
    .await;
}

#[tokio::test]
async fn followers_do_not_hold_up_the_end() {
    let place = Place::new();
    beside(&place, async |client| {
        let mut follower = client.event_stream(&EventStreamQuery { after: Some(0) }).await.unwrap();
        assert!(follower.next().await.unwrap().is_some());
        // A client of another kind: it asks, and reads nothing.
        let stream = TcpStream::connect(place.tcp()).await.unwrap();
        std::mem::forget(follower);
        drop(stream);
    })
    .await;
}

#[tokio::test]
async fn the_manager_is_no_data_plane() {
    let place = Place::new();
    beside(&place, async |_| {
        let asked = DataPlaneClient::unix(place.socket()).pools().await;
        assert!(matches!(asked, Err(ClientError::NotFound { .. })), "{asked:?}");
    })
    .await;
}
