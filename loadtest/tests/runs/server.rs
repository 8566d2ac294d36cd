//! A server on a port of the kernel's choice, a thread for each connection.

use std::{
    io::{BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

/// Listens until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
}

/// An HTTP request, as far as tests look at it.
pub(crate) struct Request {
    /// How many came before it, on all connections.
    pub(crate) index: usize,
    /// The request line and the header fields.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// What an HTTP server does with a request.
pub(crate) enum Answer {
    /// Sends this.
    Send(Vec<u8>),
    /// Sends this and closes.
    SendAndClose(Vec<u8>),
    /// Resets the connection.
    Reset,
    /// Nothing, until the client gives up.
    Nothing,
}

impl Server {
    /// Gives each connection to `serve`, and closes it afterwards.
    pub(crate) fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        Self::start_counting(Arc::default(), serve)
    }

    /// Speaks HTTP/1.1.
    pub(crate) fn http(answer: impl Fn(Request) -> Answer + Send + Sync + 'static) -> Self {
        let counts = Arc::<Counts>::default();
        let own = Arc::clone(&counts);
        Self::start_counting(counts, move |stream| serve_http(stream, &own, &answer))
    }

    fn start_counting(
        counts: Arc<Counts>,
        serve: impl Fn(TcpStream) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (counted, stopped, serve) = (Arc::clone(&counts), Arc::clone(&stop), Arc::new(serve));
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (stream, serve) = (stream.unwrap(), Arc::clone(&serve));
                counted.connections.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || serve(stream));
            }
        });
        Self { address, counts, stop, thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Connections taken so far; one of them only looked whether somebody is there.
    pub(crate) fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }

    /// HTTP requests so far.
    pub(crate) fn requests(&self) -> usize {
        self.counts.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes it up; nobody is there when it has ended already.
        let _woken = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// A response with this status and body.
pub(crate) fn response(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} Whatever\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

fn serve_http(stream: TcpStream, counts: &Counts, answer: &dyn Fn(Request) -> Answer) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    while let Some((head, body)) = read_request(&mut reader) {
        let index = counts.requests.fetch_add(1, Ordering::SeqCst);
        let closes = head.contains("Connection: close");
        let sent = match answer(Request { index, head, body }) {
            Answer::Send(bytes) => writer.write_all(&bytes).is_ok() && !closes,
            Answer::SendAndClose(bytes) => {
                let _client_may_be_gone = writer.write_all(&bytes);
                false
            }
            Answer::Reset => {
                let linger = Some(std::time::Duration::ZERO);
                socket2::SockRef::from(&writer).set_linger(linger).unwrap();
                false
            }
            Answer::Nothing => {
                let _until_the_client_closes = reader.read_to_end(&mut Vec::new());
                false
            }
        };
        if !sent {
            return;
        }
    }
}

fn read_request(reader: &mut impl std::io::BufRead) -> Option<(String, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}
