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
    access::{Door, Guard, Way},
    tls::Sealing,
    witness::Pending,
};

/// After an accept that failed for want of something (descriptors, memory).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// For a connection that is to close and has no call under way: what is left of
/// an answer may still go out.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// What HTTP is spoken over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A listening socket that knows how its callers come in.
pub(super) trait Accept {
    type Stream: Send + 'static;
    /// Makes a stream that HTTP can be spoken over.
    type Opening: Future<Output = io::Result<Box<dyn Stream>>> + Send + 'static;

    async fn accept(&self) -> io::Result<(Self::Stream, Way)>;

    fn open(&self, stream: Self::Stream) -> Self::Opening;
}

impl Accept for UnixListener {
    type Stream = UnixStream;
    type Opening = std::future::Ready<io::Result<Box<dyn Stream>>>;

    async fn accept(&self) -> io::Result<(UnixStream, Way)> {
        let (stream, _) = Self::accept(self).await?;
        let way = Way::of_peer(&stream.peer_cred()?);
        Ok((stream, way))
    }

    fn open(&self, stream: UnixStream) -> Self::Opening {
        std::future::ready(Ok(Box::new(stream)))
    }
}

impl Accept for (TcpListener, Option<Sealing>) {
    type Stream = TcpStream;
    type Opening = Pending<'static, io::Result<Box<dyn Stream>>>;

    async fn accept(&self) -> io::Result<(TcpStream, Way)> {
        let (stream, from) = self.0.accept().await?;
        // Answers are written whole; an error here only costs latency.
        let _ = stream.set_nodelay(true);
        Ok((stream, Way::Tcp { from }))
    }

    fn open(&self, stream: TcpStream) -> Self::Opening {
        let sealing = self.1.clone();
        Box::pin(async move {
            match sealing {
                None => Ok(Box::new(stream) as Box<dyn Stream>),
                Some(sealing) => {
                    let accept = async { sealing.acceptor().await.accept(stream).await };
                    let sealed = time::timeout(HEAD_TIMEOUT, accept).await;
                    Ok(Box::new(sealed.map_err(|_| io::ErrorKind::TimedOut)??) as _)
                }
            }
        })
    }
}

/// Accepts and serves until `stopped`, then closes: idle connections at once,
/// busy ones after their call, all of them after [`CLOSE_TIMEOUT`]. Returns when
/// the last one is closed.
pub(super) async fn accept_all<L: Accept>(
    listener: L,
    guard: Arc<Guard>,
    router: Router,
    mut stopped: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop(&mut stopped) => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTION_LIMIT => match accepted {
                Ok((stream, way)) => {
                    let door = Door { way, guard: Arc::clone(&guard) };
                    let (opening, router) = (listener.open(stream), router.clone());
                    let mut stopped = stopped.clone();
                    connections.spawn(async move {
                        let opened = tokio::select! {
                            opened = opening => opened,
                            () = stop(&mut stopped) => return,
                        };
                        match opened {
                            Ok(stream) => serve(stream, door, router, stopped).await,
                            Err(error) => tracing::debug!(%error, "an admin handshake failed"),
                        }
                    });
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
