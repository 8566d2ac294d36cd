//! A client of HTTP/2: the `h2` crate on a runtime of its own.

use std::{
    future::{Future, poll_fn},
    time::Duration,
};

use bs9_config::BindAddress;
use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    client::{self, ResponseFuture, SendRequest},
};
use http::{HeaderMap, Request, Response, request::Builder};
use tokio::net::TcpStream;

use crate::{fixture::Proxy, wire::PATIENCE};

/// Runs a test's client side.
pub(crate) fn on_a_runtime<F: Future>(work: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await.expect("an end in time") })
}

/// A connection to the listener `web`.
pub(crate) struct Session {
    requests: SendRequest<Bytes>,
    pub(crate) ended: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

/// A response, whole.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Whole {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A request for `path` at `site.test`.
pub(crate) fn request(method: &str, path: &str) -> Builder {
    Request::builder().method(method).uri(format!("http://site.test{path}"))
}

impl Session {
    pub(crate) async fn open(proxy: &Proxy) -> Self {
        let BindAddress::Tcp(address) = proxy.address("web") else { unreachable!() };
        let socket = TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let (requests, connection) = client::handshake(socket).await.unwrap();
        Self { requests, ended: tokio::spawn(connection) }
    }

    /// Begins a request; with `ended`, it has no body.
    pub(crate) async fn begin(
        &self,
        request: Builder,
        ended: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let mut requests = self.requests.clone().ready().await.expect("room for a stream");
        requests.send_request(request.body(()).unwrap(), ended).unwrap()
    }

    pub(crate) fn knows_extended_connect(&self) -> bool {
        self.requests.is_extended_connect_protocol_enabled()
    }

    pub(crate) async fn get(&self, path: &str) -> Whole {
        self.ask(request("GET", path)).await
    }

    pub(crate) async fn ask(&self, request: Builder) -> Whole {
        let (response, _) = self.begin(request, true).await;
        whole(response.await.expect("a response")).await.expect("a whole response")
    }
}

/// Reads a response to its end.
pub(crate) async fn whole(response: Response<RecvStream>) -> Result<Whole, h2::Error> {
    let (parts, mut stream) = response.into_parts();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    let trailers = stream.trailers().await?;
    Ok(Whole { status: parts.status.as_u16(), headers: parts.headers, body, trailers })
}

/// Sends `bytes` as the windows allow.
pub(crate) async fn upload(
    stream: &mut SendStream<Bytes>,
    mut bytes: Bytes,
    ended: bool,
) -> Result<(), h2::Error> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        // What is there already is no news to be waited for.
        let capacity = match stream.capacity() {
            0 => poll_fn(|cx| stream.poll_capacity(cx)).await.unwrap_or(Ok(0))?,
            capacity => capacity,
        };
        let piece = bytes.split_to(capacity.min(bytes.len()));
        let last = ended && bytes.is_empty();
        stream.send_data(piece, last)?;
    }
    Ok(())
}

/// Waits for what other threads do.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    waited.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}
