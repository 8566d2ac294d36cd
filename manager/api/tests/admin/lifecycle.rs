//! Starting, stopping, and what is under way meanwhile.

use std::{
    future::pending,
    sync::{Arc, atomic::Ordering},
};

use bs9_api::{
    AdminServer, BindError, DataPlaneClient, endpoints::data_plane_router, server::CONNECTION_LIMIT,
};
use tokio::{
    io::AsyncWriteExt,
    net::UnixStream,
    time::{Instant, timeout},
};

use crate::fake::FakeDataPlane;
use crate::harness::{DEADLINE, Served, address, converse, head};

#[tokio::test]
async fn a_second_server_on_the_same_socket_is_told_so() {
    let (served, _) = Served::data_plane();
    let error = AdminServer::bind(address(served.socket.clone())).unwrap_err();
    assert!(matches!(error, BindError::InUse { .. }), "{error:?}");
    DataPlaneClient::unix(&served.socket).status().await.unwrap();
}

#[tokio::test]
async fn a_taken_tcp_address_leaves_no_socket_behind() {
    let (served, _) = Served::data_plane();
    let mut second = address(served.folder.path().join("second.sock"));
    second.listen = Some(served.tcp);
    let path = second.socket.clone();
    let error = AdminServer::bind(second).unwrap_err();
    assert!(matches!(error, BindError::Tcp { .. }), "{error:?}");
    assert!(!path.exists());
}

#[tokio::test]
async fn calls_wait_between_binding_and_serving() {
    let folder = tempfile::tempdir().unwrap();
    let server = AdminServer::bind(address(folder.path().join("x.sock"))).unwrap();
    let client = DataPlaneClient::unix(server.socket());
    let mut call = Box::pin(client.status());
    assert!(is_pending(call.as_mut()).await);
    let serving = server.serve(data_plane_router(Arc::<FakeDataPlane>::default()), pending());
    tokio::select! {
        result = call => drop(result.unwrap()),
        result = serving => panic!("{result:?}"),
    }
}

/// Polls once; true when it is still pending.
async fn is_pending<F: Future + Unpin>(future: F) -> bool {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(future.as_mut().poll(context).is_pending())
    })
    .await
}

#[tokio::test]
async fn stopping_finishes_what_is_under_way_and_removes_the_socket() {
    let (served, api) = Served::data_plane();
    api.slow_reload.store(true, Ordering::SeqCst);
    let socket = served.socket.clone();
    // An idle connection does not hold up the end.
    let mut idle = UnixStream::connect(&socket).await.unwrap();
    idle.write_all(b"GET /health").await.unwrap();
    let client = DataPlaneClient::unix(&socket);
    let call = tokio::spawn(async move { client.reload().await });
    api.reload_begun.notified().await;
    let (ended, _folder) = served.stop();
    api.release.notify_one();
    assert_eq!(call.await.unwrap().unwrap().generation, 2);
    timeout(DEADLINE, ended).await.unwrap().unwrap().unwrap();
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_change_is_carried_out_even_when_its_caller_hangs_up() {
    let (served, api) = Served::data_plane();
    api.slow_reload.store(true, Ordering::SeqCst);
    let client = DataPlaneClient::unix(&served.socket);
    let call = tokio::spawn(async move { client.reload().await });
    api.reload_begun.notified().await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    // The server has seen the hang-up once it has answered someone else.
    DataPlaneClient::unix(&served.socket).status().await.unwrap();
    api.release.notify_one();
    let deadline = Instant::now() + DEADLINE;
    while api.reloads_done.load(Ordering::SeqCst) == 0 {
        assert!(Instant::now() < deadline, "the reload was dropped");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_connection_serves_many_calls() {
    let (served, _) = Served::data_plane();
    let keep_alive = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n".repeat(3);
    let stream = UnixStream::connect(&served.socket).await.unwrap();
    let request = keep_alive + &head("GET", "/health/live", &[]);
    let answer = converse(stream, request.as_bytes()).await;
    assert_eq!(answer.body.matches("HTTP/1.1 200 OK").count(), 3);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let (served, _) = Served::data_plane();
    let mut idle = Vec::new();
    for _ in 0..CONNECTION_LIMIT {
        idle.push(UnixStream::connect(&served.socket).await.unwrap());
    }
    // The last of them is served, so all of them are accepted.
    let last = idle.pop().unwrap();
    let last = keep_open(last).await;
    let client = DataPlaneClient::unix(&served.socket);
    let mut call = Box::pin(client.health_live());
    tokio::select! {
        biased;
        result = &mut call => panic!("served beyond the limit: {result:?}"),
        () = settle() => {}
    }
    drop(last);
    timeout(DEADLINE, call).await.unwrap().unwrap();
}

/// Makes a call on `stream` and keeps it.
async fn keep_open(mut stream: UnixStream) -> UnixStream {
    use tokio::io::AsyncReadExt;
    stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut buffer = [0; 4096];
    let read = timeout(DEADLINE, stream.read(&mut buffer)).await.unwrap();
    assert!(read.unwrap() > 0);
    stream
}

/// Lets everything that is ready run, many times over.
async fn settle() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}
