//! An endpoint that speaks HTTP/2: the `h2` crate on a thread of its own.

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    server::{self, SendResponse},
};
use http::{HeaderMap, Request, Response};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use crate::http2::session::upload;

type Answering = Pin<Box<dyn Future<Output = ()> + Send>>;
type Answer = dyn Fn(Asked, SendResponse<Bytes>) -> Answering + Send + Sync;

/// A request that an endpoint was asked.
pub(crate) struct Asked {
    pub(crate) request: Request<RecvStream>,
}

impl Asked {
    pub(crate) fn path(&self) -> &str {
        self.request.uri().path()
    }

    /// Reads the body, and its trailers.
    pub(crate) async fn read(&mut self) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
        let stream = self.request.body_mut();
        let mut body = Vec::new();
        while let Some(data) = stream.data().await {
            let data = data?;
            stream.flow_control().release_capacity(data.len())?;
            body.extend_from_slice(&data);
        }
        Ok((body, stream.trailers().await?))
    }
}

/// How connections are served.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    /// Streams of a connection at once.
    pub(crate) streams: Option<u32>,
    pub(crate) window: Option<u32>,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) extended_connect: bool,
}

/// A listening endpoint; ends when dropped.
pub(crate) struct H2Origin {
    address: SocketAddr,
    seen: Arc<Seen>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    open: AtomicUsize,
    requests: Mutex<Vec<(usize, Request<()>)>>,
}

impl H2Origin {
    /// Answers every request with what `answer` does.
    pub(crate) fn answering<F: Future<Output = ()> + Send + 'static>(
        answer: impl Fn(Asked, SendResponse<Bytes>) -> F + Send + Sync + 'static,
    ) -> Self {
        Self::with(Settings::default(), answer)
    }

    /// Answers every request with a 200 and this body.
    pub(crate) fn named(name: &'static str) -> Self {
        Self::answering(move |_, respond| ok(respond, name))
    }

    pub(crate) fn with<F: Future<Output = ()> + Send + 'static>(
        settings: Settings,
        answer: impl Fn(Asked, SendResponse<Bytes>) -> F + Send + Sync + 'static,
    ) -> Self {
        let listening = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listening.set_nonblocking(true).unwrap();
        let address = listening.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let answer: Arc<Answer> =
            Arc::new(move |asked, respond| -> Answering { Box::pin(answer(asked, respond)) });
        let accepting = accept(listening, settings, Arc::clone(&seen), answer);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                tokio::select! {
                    () = accepting => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, seen, stop: Some(stop) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(SeqCst)
    }

    /// Connections open now.
    pub(crate) fn open(&self) -> usize {
        self.seen.open.load(SeqCst)
    }

    /// Heads of the requests so far, with the number of the connection each came on.
    pub(crate) fn requests(&self) -> Vec<(usize, Request<()>)> {
        self.seen.requests.lock().unwrap().clone()
    }

    pub(crate) fn only_request(&self) -> Request<()> {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.into_iter().next().unwrap().1
    }
}

impl Drop for H2Origin {
    fn drop(&mut self) {
        self.stop.take();
    }
}

async fn accept(
    listening: std::net::TcpListener,
    settings: Settings,
    seen: Arc<Seen>,
    answer: Arc<Answer>,
) {
    let listening = TcpListener::from_std(listening).unwrap();
    loop {
        let (socket, _) = listening.accept().await.unwrap();
        socket.set_nodelay(true).unwrap();
        let number = seen.connections.fetch_add(1, SeqCst);
        let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
        let settings = settings.clone();
        tokio::spawn(async move {
            seen.open.fetch_add(1, SeqCst);
            match settings.tls.clone() {
                None => serve(socket, settings, number, &seen, &answer).await,
                Some(tls) => {
                    if let Ok(socket) = tls.accept(socket).await {
                        serve(socket, settings, number, &seen, &answer).await;
                    }
                }
            }
            seen.open.fetch_sub(1, SeqCst);
        });
    }
}

async fn serve(
    socket: impl AsyncRead + AsyncWrite + Unpin,
    settings: Settings,
    number: usize,
    seen: &Seen,
    answer: &Arc<Answer>,
) {
    let mut builder = server::Builder::new();
    if let Some(streams) = settings.streams {
        builder.max_concurrent_streams(streams);
    }
    if let Some(window) = settings.window {
        builder.initial_window_size(window);
    }
    if settings.extended_connect {
        builder.enable_connect_protocol();
    }
    let Ok(mut connection) = builder.handshake(socket).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let (parts, body) = request.into_parts();
        let mut head = Request::new(());
        *head.method_mut() = parts.method.clone();
        *head.uri_mut() = parts.uri.clone();
        *head.headers_mut() = parts.headers.clone();
        seen.requests.lock().unwrap().push((number, head));
        let request = Request::from_parts(parts, body);
        tokio::spawn(answer(Asked { request }, respond));
    }
}

/// Answers 200 with a body of this length.
pub(crate) async fn ok(mut respond: SendResponse<Bytes>, body: impl Into<Bytes>) {
    let body = body.into();
    let response = Response::builder().header("content-length", body.len()).body(()).unwrap();
    // Whoever asked may have given up.
    let Ok(mut stream) = respond.send_response(response, false) else { return };
    let _given_up = upload(&mut stream, body, true).await;
}

/// Begins an answer with a head of its own.
pub(crate) fn begin(
    respond: &mut SendResponse<Bytes>,
    head: http::response::Builder,
) -> SendStream<Bytes> {
    respond.send_response(head.body(()).unwrap(), false).unwrap()
}
