//! Servers that speak HTTP/2: one by the book, and one that does as it is told, frame by frame.

use std::{
    io::{Read, Write},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

/// A request, and what came with it.
pub(crate) struct Request {
    pub(crate) head: http::request::Parts,
    pub(crate) body: Vec<u8>,
}

/// Somebody else's implementation, until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    most_at_once: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

type Respond = dyn Fn(Request) -> http::Response<Vec<u8>> + Send + Sync;

impl Server {
    pub(crate) fn start(
        builder: Builder,
        respond: impl Fn(Request) -> http::Response<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let most_at_once = Arc::new(AtomicUsize::new(0));
        let most = Arc::clone(&most_at_once);
        let respond: Arc<Respond> = Arc::new(respond);
        let serve = async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (builder, respond) = (builder.clone(), Arc::clone(&respond));
                tokio::spawn(connection(stream, builder, respond, Arc::clone(&most)));
            }
        };
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! { () = serve => {}, _ = stopped => {} }
            });
        });
        Self { address, most_at_once, stop: Some(stop), thread: Some(thread) }
    }

    /// Most streams of a connection at the same time.
    pub(crate) fn most_at_once(&self) -> usize {
        self.most_at_once.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

async fn connection(
    stream: TcpStream,
    builder: Builder,
    respond: Arc<Respond>,
    most: Arc<AtomicUsize>,
) {
    // Some only look whether somebody is there.
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
    let open = Arc::new(AtomicUsize::new(0));
    while let Some(Ok((request, send))) = connection.accept().await {
        most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let (respond, open) = (Arc::clone(&respond), Arc::clone(&open));
        tokio::spawn(async move {
            let _client_may_be_gone = exchange(request, send, &*respond).await;
            open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn exchange(
    request: http::Request<h2::RecvStream>,
    mut send: SendResponse<Bytes>,
    respond: &Respond,
) -> Result<(), h2::Error> {
    let (head, mut stream) = request.into_parts();
    let mut body = Vec::new();
    while let Some(piece) = stream.data().await {
        let piece = piece?;
        stream.flow_control().release_capacity(piece.len())?;
        body.extend_from_slice(&piece);
    }
    let (head, body) = respond(Request { head, body }).into_parts();
    let mut stream = send.send_response(http::Response::from_parts(head, ()), body.is_empty())?;
    if !body.is_empty() {
        stream.send_data(body.into(), true)?;
    }
    Ok(())
}

/// A client's frame, or what a server says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

pub(crate) const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;

impl Frame {
    pub(crate) fn new(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Self {
        Self { kind, flags, stream, payload: payload.to_vec() }
    }

    /// The end of a response with status 200.
    pub(crate) fn ok(stream: u32) -> Self {
        Self::new(HEADERS, 0x5, stream, &[0x88])
    }

    pub(crate) fn reset(stream: u32, code: u32) -> Self {
        Self::new(3, 0, stream, &code.to_be_bytes())
    }

    pub(crate) fn go_away(last: u32, code: u32) -> Self {
        Self::new(7, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[self.kind, self.flags], &self.stream.to_be_bytes()].concat();
        [head, self.payload.clone()].concat()
    }

    fn write(&self, stream: &mut impl Write) -> std::io::Result<()> {
        stream.write_all(&self.bytes())?;
        stream.flush()
    }

    fn read(stream: &mut impl Read) -> Option<Self> {
        let mut head = [0; 9];
        stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).ok()?;
        let id = u32::from_be_bytes(head[5..].try_into().unwrap());
        Some(Self { kind: head[3], flags: head[4], stream: id, payload })
    }
}

/// The next request: its stream.
pub(crate) fn next_request(stream: &mut impl Read) -> Option<u32> {
    loop {
        let frame = Frame::read(stream)?;
        if frame.kind == HEADERS {
            return Some(frame.stream);
        }
    }
}

/// Takes what a client says first, and says the same.
pub(crate) fn greet(stream: &mut (impl Read + Write)) -> Option<()> {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).ok()?;
    assert!(preface.starts_with(b"PRI * HTTP/2.0"));
    Frame::new(SETTINGS, 0, 0, &[]).write(stream).ok()
}

/// Says hello, and answers each request with the frames `answer` has for its number, from 0.
/// Without any it closes.
pub(crate) fn script(
    stream: &mut (impl Read + Write),
    mut answer: impl FnMut(usize, u32) -> Vec<Frame>,
) -> Option<()> {
    greet(stream)?;
    for request in 0.. {
        let id = next_request(stream)?;
        let frames = answer(request, id);
        if frames.is_empty() {
            break;
        }
        for frame in frames {
            frame.write(stream).ok()?;
        }
    }
    Some(())
}
