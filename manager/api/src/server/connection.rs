//! Accepting connections and speaking HTTP/1.1 on them, within limits.

use std::{io, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::watch,
    task::JoinSet,
    time,
};
use tower::ServiceExt;

use super::{
    CLOSE_TIMEOUT, CONNECTION_AGE_LIMIT, CONNECTION_LIMIT, HEAD_LIMIT_BYTES, HEAD_TIMEOUT,
    access::Door,
};

/// After an accept that failed for want of something (descriptors, memory).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// For a connection that is to close and has no call under way: what is left of
/// an answer may still go out.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// A listening socket that knows how its callers are identified.
pub(super) trait Accept {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    async fn accept(&self) -> io::Result<(Self::Stream, Door)>;
}

impl Accept for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, Door)> {
        let (stream, _) = Self::accept(self).await?;
        let door = Door::of_peer(&stream.peer_cred()?);
        Ok((stream, door))
    }
}

impl Accept for (TcpListener, Door) {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, Door)> {
        let (stream, _) = self.0.accept().await?;
        // Answers are written whole; an error here only costs latency.
        let _ = stream.set_nodelay(true);
        Ok((stream, self.1.clone()))
    }
}

/// Accepts and serves until `stopped`, then closes: idle connections at once,
/// busy ones after their call, all of them after [`CLOSE_TIMEOUT`]. Returns when
/// the last one is closed.
pub(super) async fn accept_all<L: Accept>(
    listener: L,
    router: Router,
    mut stopped: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop(&mut stopped) => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTION_LIMIT => match accepted {
                Ok((stream, door)) => {
                    connections.spawn(serve(stream, door, router.clone(), stopped.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept on the admin socket");
                    time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve<S>(stream: S, door: Door, router: Router, mut stopped: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let calls = Arc::new(());
    let service = {
        let calls = Arc::clone(&calls);
        service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(door.clone());
            let call = (Arc::clone(&calls), router.clone().oneshot(request.map(Body::new)));
            async move {
                let (_under_way, answer) = call;
                answer.await
            }
        })
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_header_size(HEAD_LIMIT_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => Ok(result),
        () = time_to_close(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            // One count is ours, one the service's; more are calls.
            let limit = if Arc::strong_count(&calls) > 2 { CLOSE_TIMEOUT } else { FLUSH_TIMEOUT };
            time::timeout(limit, connection).await
        }
    };
    match result {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an admin connection ended in an error"),
        Err(_) => tracing::debug!("an admin connection was cut: it did not close in time"),
    }
}

async fn time_to_close(stopped: &mut watch::Receiver<bool>) {
    tokio::select! {
        () = stop(stopped) => {}
        () = time::sleep(CONNECTION_AGE_LIMIT) => {}
    }
}

/// Completes once the server is to stop, or is gone.
async fn stop(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
