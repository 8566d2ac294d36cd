//! An endpoint that does what it is told to do wrongly, and keeps books over what it was sent.

use std::{
    collections::HashMap,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use crate::fixture::eventually;

/// What is wrong with an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Fault {
    /// Nobody listens, and every connection was reset.
    Killed = 1,
    /// Requests are taken and not answered; probes neither.
    Stalled,
    /// Instead of an answer, a reset.
    Reset,
    Garbage,
    /// The beginning of the right answer, then the end.
    Half,
    /// The right answer, and one that nobody asked for.
    Extra,
}

impl Fault {
    pub(crate) const ALL: [Self; 6] =
        [Self::Killed, Self::Stalled, Self::Reset, Self::Garbage, Self::Half, Self::Extra];
}

/// What all endpoints were sent.
#[derive(Default)]
pub(crate) struct Books {
    posts: Mutex<HashMap<u64, u32>>,
    corrupt: Mutex<Vec<String>>,
}

impl Books {
    /// How often each POST arrived.
    pub(crate) fn posts(&self) -> HashMap<u64, u32> {
        self.posts.lock().unwrap().clone()
    }

    /// Requests that arrived otherwise than they were sent.
    pub(crate) fn corrupt(&self) -> Vec<String> {
        self.corrupt.lock().unwrap().clone()
    }
}

/// The body that belongs to a number: another one for each.
pub(crate) fn body_of(id: u64) -> Vec<u8> {
    let mut x = id.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let length = id % 3_000;
    let mut body = format!("{id}:").into_bytes();
    while (body.len() as u64) < length {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        body.extend_from_slice(&x.to_le_bytes());
    }
    body
}

/// Ends with the test's process.
pub(crate) struct FaultyEndpoint {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    number: usize,
    books: Arc<Books>,
    /// A [`Fault`]; 0: none.
    fault: AtomicU8,
    listens: AtomicBool,
    /// Requests that met the fault, and that were answered rightly.
    hits: AtomicU64,
    served: AtomicU64,
    listener: Mutex<Option<TcpListener>>,
    connections: Mutex<HashMap<u64, TcpStream>>,
    next: AtomicU64,
}

impl FaultyEndpoint {
    pub(crate) fn start(number: usize, books: &Arc<Books>) -> Self {
        // Of its own, so that nobody takes the port for a connection while it is killed.
        let ip = Ipv4Addr::new(127, 0, 0, 2 + number as u8);
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            number,
            books: Arc::clone(books),
            fault: AtomicU8::new(0),
            listens: AtomicBool::new(false),
            hits: AtomicU64::new(0),
            served: AtomicU64::new(0),
            listener: Mutex::new(None),
            connections: Mutex::default(),
            next: AtomicU64::new(0),
        });
        Shared::listen(&shared, listener);
        Self { address, shared }
    }

    /// Requests that met a fault.
    pub(crate) fn hits(&self) -> u64 {
        self.shared.hits.load(SeqCst)
    }

    /// Requests answered rightly.
    pub(crate) fn served(&self) -> u64 {
        self.shared.served.load(SeqCst)
    }

    pub(crate) fn fail_by(&self, fault: Fault) {
        self.shared.fault.store(fault as u8, SeqCst);
        if fault == Fault::Killed {
            let listener = self.shared.listener.lock().unwrap().take().expect("it listens");
            // Wakes whoever accepts, which then closes the socket.
            let _ended = rustix::net::shutdown(&listener, rustix::net::Shutdown::Both);
            drop(listener);
            eventually("the address is free", || (!self.shared.listens.load(SeqCst)).then_some(()));
            self.cut_everybody_off();
        }
    }

    /// From now on everything is right.
    pub(crate) fn heal(&self) {
        let fault = self.shared.fault.swap(0, SeqCst);
        if fault == Fault::Killed as u8 {
            // The standard library asks for the address to be reusable.
            let listener = TcpListener::bind(self.address).expect("the address is still ours");
            Shared::listen(&self.shared, listener);
        }
        if fault == Fault::Stalled as u8 {
            self.cut_everybody_off();
        }
    }

    fn cut_everybody_off(&self) {
        for (_, stream) in self.shared.connections.lock().unwrap().drain() {
            reset(&stream);
        }
    }
}

/// Ends a connection with a reset.
fn reset(stream: &TcpStream) {
    let _gone = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
    let _gone = stream.shutdown(Shutdown::Both);
}

impl Shared {
    fn listen(this: &Arc<Self>, listener: TcpListener) {
        *this.listener.lock().unwrap() = Some(listener.try_clone().unwrap());
        this.listens.store(true, SeqCst);
        let this = Arc::clone(this);
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let this = Arc::clone(&this);
                thread::spawn(move || this.serve(stream));
            }
            drop(listener);
            this.listens.store(false, SeqCst);
        });
    }

    fn fault(&self) -> u8 {
        self.fault.load(SeqCst)
    }

    fn serve(&self, stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        let number = self.next.fetch_add(1, SeqCst);
        self.connections.lock().unwrap().insert(number, stream.try_clone().unwrap());
        self.converse(stream);
        self.connections.lock().unwrap().remove(&number);
    }

    fn converse(&self, mut stream: TcpStream) {
        let (mut bytes, mut piece) = (Vec::new(), vec![0; 16 * 1024]);
        loop {
            while let Some(request) = Request::take(&mut bytes) {
                if self.answer(&mut stream, &request).is_none() {
                    return;
                }
            }
            match stream.read(&mut piece) {
                Ok(count) if count > 0 => bytes.extend_from_slice(&piece[..count]),
                _ => return,
            }
        }
    }

    /// `None`: the connection has ended.
    fn answer(&self, stream: &mut TcpStream, request: &Request) -> Option<()> {
        let fault = self.fault();
        let is = |one: Fault| fault == one as u8;
        if request.target == "/healthz" {
            if is(Fault::Stalled) {
                return self.stall(stream);
            }
            return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").ok();
        }
        let id = self.note(request);
        let counter = if fault == 0 { &self.served } else { &self.hits };
        counter.fetch_add(1, SeqCst);
        let answer = answer_to(id, self.number);
        if is(Fault::Stalled) {
            self.stall(stream)
        } else if is(Fault::Reset) || is(Fault::Killed) {
            reset(stream);
            None
        } else if is(Fault::Garbage) {
            let noise = [b"\x00\xffHTTP/9.9 ", &answer[..]].concat();
            stream.write_all(&noise).ok()
        } else if is(Fault::Half) {
            let _gone = stream.write_all(&answer[..answer.len() / 2]);
            None
        } else if is(Fault::Extra) {
            // In one piece: had it come later, it could not be told from the next answer.
            stream.write_all(&[answer, answer_to(id + 1, self.number)].concat()).ok()
        } else {
            stream.write_all(&answer).ok()
        }
    }

    /// Holds the connection until somebody ends it.
    fn stall(&self, stream: &mut TcpStream) -> Option<()> {
        let mut piece = [0; 1024];
        while self.fault() == Fault::Stalled as u8 {
            match stream.read(&mut piece) {
                Ok(count) if count > 0 => {}
                _ => return None,
            }
        }
        None
    }

    fn note(&self, request: &Request) -> u64 {
        let id = request.target.rsplit('/').next().and_then(|id| id.parse().ok());
        let Some(id) = id else {
            self.books.corrupt.lock().unwrap().push(request.target.clone());
            return 0;
        };
        if request.method == "POST" {
            *self.books.posts.lock().unwrap().entry(id).or_default() += 1;
            if request.body != body_of(id) {
                self.books.corrupt.lock().unwrap().push(format!("the body of {id}"));
            }
        }
        id
    }
}

/// Right answers differ in body, length and framing.
fn answer_to(id: u64, endpoint: usize) -> Vec<u8> {
    let body = body_of(id);
    let head = format!("HTTP/1.1 200 OK\r\nX-Id: {id}\r\nX-Endpoint: {endpoint}\r\n");
    if id.is_multiple_of(3) {
        let mut answer = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
        for piece in body.chunks(700) {
            answer.extend(format!("{:x}\r\n", piece.len()).into_bytes());
            answer.extend(piece);
            answer.extend(b"\r\n");
        }
        answer.extend(b"0\r\n\r\n");
        answer
    } else {
        let head = format!("{head}Content-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), &body].concat()
    }
}

/// A request that has come whole.
struct Request {
    method: String,
    target: String,
    body: Vec<u8>,
}

impl Request {
    fn take(bytes: &mut Vec<u8>) -> Option<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let length: usize = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map_or(0, |(_, value)| value.trim().parse().unwrap());
        if bytes.len() < end + length {
            return None;
        }
        let body = bytes[end..end + length].to_vec();
        bytes.drain(..end + length);
        let mut words = head.split(' ').map(str::to_owned);
        Some(Self { method: words.next()?, target: words.next()?, body })
    }
}
