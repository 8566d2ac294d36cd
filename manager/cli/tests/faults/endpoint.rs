//! An endpoint that does what it is told to do wrongly, and keeps books over what it was sent.

use std::{
    collections::{HashMap, HashSet},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::{fixture::eventually, http1, http2};

/// What endpoints speak.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(crate) enum Speech {
    Http1,
    Http1Tls,
    Http2,
    Http2Tls,
}

impl Speech {
    pub(crate) fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Http2Tls)
    }

    pub(crate) fn has_tls(self) -> bool {
        matches!(self, Self::Http1Tls | Self::Http2Tls)
    }
}

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
    given: Mutex<HashSet<u64>>,
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

    /// Requests that were answered rightly, before the endpoint said more than that.
    pub(crate) fn given(&self) -> HashSet<u64> {
        self.given.lock().unwrap().clone()
    }

    pub(crate) fn give(&self, id: u64) {
        self.given.lock().unwrap().insert(id);
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

pub(crate) struct Shared {
    pub(crate) number: usize,
    pub(crate) books: Arc<Books>,
    pub(crate) tls: Option<Arc<ServerConfig>>,
    speech: Speech,
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
    /// Speaks inside TLS if there is any.
    pub(crate) fn start(
        number: usize,
        speech: Speech,
        tls: Option<&Arc<ServerConfig>>,
        books: &Arc<Books>,
    ) -> Self {
        // Of its own, so that nobody takes the port for a connection while it is killed.
        let ip = Ipv4Addr::new(127, 0, speech as u8, 2 + number as u8);
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            number,
            books: Arc::clone(books),
            tls: tls.cloned(),
            speech,
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
pub(crate) fn reset(stream: &TcpStream) {
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
                let number = this.next.fetch_add(1, SeqCst);
                // Here, so that nobody is missed when everybody is cut off.
                this.connections.lock().unwrap().insert(number, stream.try_clone().unwrap());
                let this = Arc::clone(&this);
                thread::spawn(move || {
                    Self::serve(&this, stream);
                    this.connections.lock().unwrap().remove(&number);
                });
            }
            drop(listener);
            this.listens.store(false, SeqCst);
        });
    }

    fn serve(this: &Arc<Self>, stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        if this.speech.is_http2() {
            return http2::converse(this, stream);
        }
        match &this.tls {
            None => http1::converse(this, &stream, &stream),
            Some(config) => {
                let connection = ServerConnection::new(Arc::clone(config)).unwrap();
                http1::converse(this, StreamOwned::new(connection, &stream), &stream);
            }
        }
    }

    pub(crate) fn fault(&self) -> Option<Fault> {
        let fault = self.fault.load(SeqCst);
        Fault::ALL.into_iter().find(|one| *one as u8 == fault)
    }

    /// Counts a request that meets `fault`; how many had met one before, or none.
    pub(crate) fn count(&self, fault: Option<Fault>) -> u64 {
        let counter = if fault.is_none() { &self.served } else { &self.hits };
        counter.fetch_add(1, SeqCst)
    }

    /// Notes a request by its head; gives its number.
    pub(crate) fn note(&self, method: &str, target: &str) -> u64 {
        let id = target.rsplit('/').next().and_then(|id| id.parse().ok());
        let Some(id) = id else {
            self.books.corrupt.lock().unwrap().push(target.to_owned());
            return 0;
        };
        if method == "POST" {
            *self.books.posts.lock().unwrap().entry(id).or_default() += 1;
        }
        id
    }

    /// Notes whether the body of a request is the one that was sent.
    pub(crate) fn check(&self, id: u64, method: &str, body: &[u8]) {
        let sent = if method == "POST" { body_of(id) } else { Vec::new() };
        if body != sent {
            self.books.corrupt.lock().unwrap().push(format!("the body of {id}"));
        }
    }
}
