//! The typed client: every method, every kind of error.

use std::{os::unix::net::UnixListener, sync::atomic::Ordering, time::Duration};

use bs9_api::{
    Client, ClientError, DataPlaneClient, ManagerClient,
    types::{
        AddEndpoint, DataPlaneState, DrainEndpoint, HistoryQuery, MetricsText, RemoveEndpoint,
        SetWeight,
    },
};
use bs9_config::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{ADMIN, Served, VIEWER};

#[tokio::test]
async fn every_call_reaches_the_data_plane() {
    let (served, api) = Served::data_plane();
    let client = DataPlaneClient::unix(&served.socket);
    assert_eq!(client.status().await.unwrap().pid, 7);
    assert!(client.listeners().await.unwrap().listeners.is_empty());
    assert_eq!(client.clusters().await.unwrap().clusters[0].name, "web");
    assert_eq!(client.cluster("web").await.unwrap().cluster.name, "web");
    assert!(client.pools().await.unwrap().pools.is_empty());
    assert_eq!(client.generation().await.unwrap().status.generation, 1);
    assert_eq!(client.reload().await.unwrap().generation, 2);
    assert_eq!(client.metrics().await.unwrap(), MetricsText("bs9_up 1\n".to_owned()));
    assert!(client.health_live().await.unwrap().ok);
    assert!(client.health_ready().await.unwrap().ok);
    changes(&client).await;
    assert_eq!(client.drain().await.unwrap().state, DataPlaneState::Draining);
    assert_eq!(
        api.calls(),
        ["add a:1 1", "weight a:1 0", "drain a:1 true persist", "remove a:1", "drain"]
    );
}

async fn changes(client: &DataPlaneClient) {
    let address = || "a:1".to_owned();
    let add: AddEndpoint = serde_json::from_str(r#"{"address":"a:1"}"#).unwrap();
    client.add_endpoint("web", &add).await.unwrap();
    let weight = SetWeight { address: address(), weight: 0, persist: false };
    client.set_weight("web", &weight).await.unwrap();
    let drain: DrainEndpoint = serde_json::from_str(r#"{"address":"a:1","drain":true}"#).unwrap();
    assert!(!drain.persist, "only when it is asked for");
    client.drain_endpoint("web", &DrainEndpoint { persist: true, ..drain }).await.unwrap();
    let remove = RemoveEndpoint { address: address(), persist: false };
    client.remove_endpoint("web", &remove).await.unwrap();
}

#[tokio::test]
async fn every_call_reaches_the_manager() {
    let (served, api) = Served::manager();
    let client = ManagerClient::unix(&served.socket);
    assert_eq!(client.status().await.unwrap().pid, 8);
    for seconds in [None, Some(60)] {
        client.history(&HistoryQuery { seconds }).await.unwrap();
    }
    assert_eq!(
        *api.asked.lock().unwrap(),
        [None, Some(60)].map(|seconds| HistoryQuery { seconds })
    );
    client.metrics().await.unwrap();
    client.health_live().await.unwrap();
    client.health_ready().await.unwrap();
}

#[tokio::test]
async fn a_token_opens_tcp() {
    let (served, _) = Served::data_plane();
    let client = |token: Option<&str>| DataPlaneClient::tcp(served.tcp, token.map(Secret::new));
    client(Some(ADMIN)).drain().await.unwrap();
    client(None).metrics().await.unwrap();
    for token in [None, Some(VIEWER), Some("wrong")] {
        let error = client(token).drain().await.unwrap_err();
        assert!(matches!(error, ClientError::Denied { .. }), "{error:?}");
    }
    let error = client(Some("line\nbreak")).status().await.unwrap_err();
    assert!(matches!(error, ClientError::Protocol { .. }), "{error:?}");
}

#[tokio::test]
async fn refusals_keep_their_kind() {
    let (served, api) = Served::data_plane();
    let client = DataPlaneClient::unix(&served.socket);
    for cluster in ["none", "no/ne", "", "..", "é"] {
        let error = client.cluster(cluster).await.unwrap_err();
        assert!(matches!(error, ClientError::NotFound { .. }), "{cluster:?}: {error:?}");
    }
    api.not_ready.store(true, Ordering::SeqCst);
    match client.health_ready().await.unwrap_err() {
        ClientError::Problem { status, problem } => {
            assert_eq!((status, problem.code.as_str()), (503, "unavailable"));
        }
        error => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn nobody_there_is_told_apart_from_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.sock");
    let client = || DataPlaneClient::unix(&path);
    let missing = client().status().await.unwrap_err();
    assert!(matches!(missing, ClientError::NotRunning { .. }), "{missing:?}");

    let listener = UnixListener::bind(&path).unwrap();
    let impatient = Client::unix(&path).with_timeout(Duration::from_millis(20));
    let silent = DataPlaneClient::new(impatient).status().await.unwrap_err();
    assert!(matches!(silent, ClientError::Timeout { .. }), "{silent:?}");

    drop(listener);
    let stale = client().status().await.unwrap_err();
    assert!(matches!(stale, ClientError::NotRunning { .. }), "{stale:?}");
}

#[tokio::test]
async fn something_else_that_answers_is_an_error() {
    let answers = [
        "",
        "SSH-2.0-OpenSSH\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope",
    ];
    for answer in answers {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            assert!(stream.read(&mut buffer).await.unwrap() > 0);
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let client = DataPlaneClient::unix(&path);
        let (result, ()) = tokio::join!(client.status(), server);
        let error = result.unwrap_err();
        assert!(matches!(error, ClientError::Protocol { .. }), "{answer:?}: {error:?}");
    }
}
