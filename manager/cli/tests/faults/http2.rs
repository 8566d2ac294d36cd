//! What a faulty endpoint says in HTTP/2: right answers are those of the `h2` crate; what it would never say is made by
//! hand and put between its frames.

use std::{
    future::pending,
    io,
    net::{Shutdown, TcpStream},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream,
    server::{self, SendResponse},
};
use http::{Request, Response};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf, ReadHalf},
    sync::Notify,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    endpoint::{Fault, Shared, body_of, reset},
    http1::noise,
};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// The last stream of a client that can be: none has been opened when it comes.
const NOBODYS: u32 = (1 << 31) - 1;

/// Answers on a connection until it ends.
pub(crate) fn converse(shared: &Arc<Shared>, raw: TcpStream) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // However it ended.
    let _ended = runtime.block_on(begin(shared, raw));
}

async fn begin(shared: &Arc<Shared>, raw: TcpStream) -> io::Result<()> {
    raw.set_nonblocking(true)?;
    let stream = tokio::net::TcpStream::from_std(raw.try_clone()?)?;
    match &shared.tls {
        None => serve(shared, raw, stream).await,
        Some(config) => {
            let stream = TlsAcceptor::from(Arc::clone(config)).accept(stream).await?;
            serve(shared, raw, stream).await;
        }
    }
    Ok(())
}

async fn serve<S>(shared: &Arc<Shared>, raw: TcpStream, stream: S)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (reading, writing) = tokio::io::split(stream);
    let talk = Arc::new(Talk {
        shared: Arc::clone(shared),
        raw,
        held: Mutex::default(),
        filled: Notify::new(),
    });
    let sending = Arc::clone(&talk);
    tokio::spawn(async move { sending.send(writing).await });
    let wire = Wire { reading, talk: Arc::clone(&talk) };
    let Ok(mut connection) = server::handshake(wire).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(exchange(Arc::clone(&talk), request, respond));
    }
}

/// A connection.
struct Talk {
    shared: Arc<Shared>,
    /// What carries it, below TLS.
    raw: TcpStream,
    held: Mutex<Held>,
    filled: Notify,
}

/// What has yet to be sent: whole frames, whenever somebody else than the library looks at it.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    /// Nothing follows.
    over: bool,
    /// The connection ends behind it.
    cut: bool,
}

impl Talk {
    fn put(&self, bytes: &[u8]) {
        let mut held = self.held.lock().unwrap();
        if !held.over {
            held.bytes.extend_from_slice(bytes);
            self.filled.notify_one();
        }
    }

    /// Sends this and nothing more; with `cut` that is the end of the connection, without a `close_notify` where it has
    /// TLS. False: the last has been said before.
    fn put_last(&self, bytes: &[u8], cut: bool) -> bool {
        let mut held = self.held.lock().unwrap();
        if held.over {
            return false;
        }
        held.bytes.extend_from_slice(bytes);
        (held.over, held.cut) = (true, cut);
        self.filled.notify_one();
        true
    }

    /// Sends what is held, all that is there in one piece. One thread does everything on a connection, and the library
    /// writes all it has at once, so that the frames of an answer are there together: whoever resets the connection,
    /// from whichever thread, leaves none half sent.
    async fn send(&self, mut into: impl AsyncWrite + Unpin) -> io::Result<()> {
        loop {
            self.filled.notified().await;
            let (bytes, cut) = {
                let mut held = self.held.lock().unwrap();
                (std::mem::take(&mut held.bytes), held.cut)
            };
            into.write_all(&bytes).await?;
            into.flush().await?;
            if cut {
                return self.raw.shutdown(Shutdown::Both);
            }
        }
    }
}

/// A connection as the library sees it. All that it writes is taken at once.
struct Wire<S> {
    reading: ReadHalf<S>,
    talk: Arc<Talk>,
}

impl<S: AsyncRead> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reading).poll_read(cx, into)
    }
}

impl<S> AsyncWrite for Wire<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.talk.put(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

async fn exchange(talk: Arc<Talk>, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    // Whoever asked may have given up.
    let _given_up = answer(&talk, request, &mut respond).await;
}

async fn answer(
    talk: &Talk,
    request: Request<RecvStream>,
    respond: &mut SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let Talk { shared, raw, .. } = talk;
    let (head, mut stream) = request.into_parts();
    let (method, target) = (head.method.as_str(), head.uri.path());
    if target == "/healthz" {
        if shared.fault() == Some(Fault::Stalled) {
            return pending().await;
        }
        let mut body = respond.send_response(Response::new(()), false)?;
        return body.send_data(Bytes::from_static(b"ok"), true);
    }
    let id = shared.note(method, target);
    let mut sent = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        sent.extend_from_slice(&data);
    }
    shared.check(id, method, &sent);
    let fault = shared.fault();
    let hit = shared.count(fault);
    let (number, on) = (shared.number, respond.stream_id().as_u32());
    match fault {
        None => give(respond, id, number)?,
        // Until somebody ends the connection.
        Some(Fault::Stalled) => pending().await,
        Some(Fault::Reset) if hit.is_multiple_of(2) => respond.send_reset(Reason::INTERNAL_ERROR),
        Some(Fault::Killed | Fault::Reset) => reset(raw),
        Some(Fault::Garbage) => {
            talk.put_last(&noise(id, number), false);
        }
        Some(Fault::Half) => {
            let body = body_of(id);
            let half = frame(DATA, 0, on, &body[..body.len() / 2]);
            talk.put_last(&[begun(on, id, number), half].concat(), true);
        }
        Some(Fault::Extra) => {
            let more = [whole(on, id, number), whole(NOBODYS, id + 1, number)].concat();
            // Behind the first that is too much nothing is read any more.
            if talk.put_last(&more, false) {
                shared.books.give(id);
            }
        }
    }
    Ok(())
}

/// Right answers differ in body, length and whether they say it. All frames leave together.
fn give(respond: &mut SendResponse<Bytes>, id: u64, endpoint: usize) -> Result<(), h2::Error> {
    let mut rest = Bytes::from(body_of(id));
    let mut head = Response::builder().header("x-id", id).header("x-endpoint", endpoint);
    if !id.is_multiple_of(3) {
        head = head.header("content-length", rest.len());
    }
    let mut body = respond.send_response(head.body(()).unwrap(), false)?;
    while !rest.is_empty() {
        let piece = rest.split_to(rest.len().min(700));
        body.send_data(piece, rest.is_empty())?;
    }
    Ok(())
}

/// The same, made by hand.
fn whole(stream: u32, id: u64, endpoint: usize) -> Vec<u8> {
    [begun(stream, id, endpoint), frame(DATA, END_STREAM, stream, &body_of(id))].concat()
}

/// What a right answer begins with.
fn begun(stream: u32, id: u64, endpoint: usize) -> Vec<u8> {
    // `:status: 200` of the static table, then fields that neither side remembers (RFC 7541 section 6.2.2).
    let mut block = vec![0x88];
    let mut field = |name: &str, value: String| {
        block.push(0);
        for text in [name, value.as_str()] {
            block.push(text.len() as u8);
            block.extend(text.as_bytes());
        }
    };
    field("x-id", id.to_string());
    field("x-endpoint", endpoint.to_string());
    if !id.is_multiple_of(3) {
        field("content-length", body_of(id).len().to_string());
    }
    frame(HEADERS, END_HEADERS, stream, &block)
}

/// A frame (RFC 9113 section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}
