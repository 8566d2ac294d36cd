//! HTTP clients that know exactly what became of each request.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
};

use super::fixture::{DEADLINE, eventually, load_origin::large_body};

/// What a client does until it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    /// One small request after the other on a connection.
    KeepAlive,
    /// Likewise, with a large body to wait for.
    Large,
    /// A connection for each request.
    NewConnections,
    /// One request that takes long.
    Held,
}

impl Habit {
    fn path(self) -> &'static str {
        match self {
            Self::KeepAlive | Self::NewConnections => "/",
            Self::Large => "/large",
            Self::Held => "/held",
        }
    }
}

/// Clients at work.
pub(crate) struct Crowd {
    address: SocketAddr,
    ending: Arc<AtomicBool>,
    clients: Vec<(Arc<AtomicU64>, JoinHandle<Vec<String>>)>,
}

/// What became of their requests.
pub(crate) struct Books {
    /// Answered in full, and rightly.
    pub(crate) answered: u64,
    /// Sent and not answered in full, each with what happened. A connection that was
    /// refused, or closed before its first request was taken, loses nothing: the client
    /// knows that it may go elsewhere.
    pub(crate) lost: Vec<String>,
}

impl Crowd {
    /// Nobody yet. Being refused is in order once `ending` is set.
    pub(crate) fn new(address: SocketAddr, ending: &Arc<AtomicBool>) -> Self {
        Self { address, ending: Arc::clone(ending), clients: Vec::new() }
    }

    /// One more client.
    pub(crate) fn join(&mut self, habit: Habit) {
        let answered = Arc::new(AtomicU64::new(0));
        let client = Client {
            address: self.address,
            habit,
            ending: Arc::clone(&self.ending),
            answered: Arc::clone(&answered),
            large: large_body(),
        };
        self.clients.push((answered, thread::spawn(move || client.run())));
    }

    /// Waits until every client has had so many answers.
    #[track_caller]
    pub(crate) fn wait_until_each_was_answered(&self, count: u64) {
        eventually("every client is answered", || {
            let ready = |(answered, thread): &(Arc<AtomicU64>, JoinHandle<_>)| {
                assert!(!thread.is_finished(), "a client gave up");
                answered.load(SeqCst) >= count
            };
            self.clients.iter().all(ready).then_some(())
        });
    }

    /// Waits until all were refused, or got what they wanted.
    pub(crate) fn leave(self) -> Books {
        let mut books = Books { answered: 0, lost: Vec::new() };
        for (answered, thread) in self.clients {
            books.lost.extend(thread.join().expect("a client does not panic"));
            books.answered += answered.load(SeqCst);
        }
        books
    }
}

struct Client {
    address: SocketAddr,
    habit: Habit,
    ending: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    large: Vec<u8>,
}

/// An answer that came in full.
struct Answer {
    good: bool,
    last: bool,
}

/// Why there is none.
struct Missing {
    received: usize,
    error: io::Error,
}

impl Client {
    /// Returns what was lost.
    fn run(&self) -> Vec<String> {
        loop {
            match self.one_connection() {
                Ok(Next::Connect) => {}
                Ok(Next::Leave) => return Vec::new(),
                Err(lost) => return vec![format!("{:?}: {lost}", self.habit)],
            }
        }
    }

    fn one_connection(&self) -> Result<Next, String> {
        let stream = match TcpStream::connect_timeout(&self.address, DEADLINE) {
            Ok(stream) => stream,
            Err(_) if self.ending.load(SeqCst) => return Ok(Next::Leave),
            Err(error) => return Err(format!("no connection: {error}")),
        };
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut first = true;
        loop {
            let answer = match self.exchange(&stream) {
                Ok(answer) => answer,
                Err(missing) if first && missing.received == 0 && self.ending.load(SeqCst) => {
                    return Ok(Next::Leave);
                }
                Err(missing) => {
                    let Missing { received, error } = missing;
                    return Err(format!("first {first}, after {received} bytes: {error}"));
                }
            };
            if !answer.good {
                return Err("a wrong answer".to_owned());
            }
            first = false;
            self.answered.fetch_add(1, SeqCst);
            match self.habit {
                Habit::Held => return Ok(Next::Leave),
                _ if answer.last => return Ok(Next::Connect),
                Habit::NewConnections => return Ok(Next::Connect),
                Habit::KeepAlive | Habit::Large => {}
            }
        }
    }

    fn exchange(&self, mut stream: &TcpStream) -> Result<Answer, Missing> {
        let request = format!("GET {} HTTP/1.1\r\nHost: test\r\n\r\n", self.habit.path());
        let mut received = Vec::new();
        let sent = stream.write_all(request.as_bytes());
        sent.map_err(|error| Missing { received: 0, error })?;
        loop {
            if let Some(answer) = self.judge(&received) {
                return Ok(answer);
            }
            let mut piece = [0; 64 * 1024];
            match stream.read(&mut piece) {
                Ok(0) => {
                    let error = ErrorKind::UnexpectedEof.into();
                    return Err(Missing { received: received.len(), error });
                }
                Ok(count) => received.extend_from_slice(&piece[..count]),
                Err(error) => return Err(Missing { received: received.len(), error }),
            }
        }
    }

    /// The answer, once it is there in full.
    fn judge(&self, received: &[u8]) -> Option<Answer> {
        let end = received.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&received[..end]).to_ascii_lowercase();
        let field = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.strip_prefix(':')).map(str::trim)
        };
        let length: usize = field("content-length").and_then(|text| text.parse().ok())?;
        let body = &received[end..];
        if body.len() < length {
            return None;
        }
        let wanted = if self.habit == Habit::Large { &self.large[..] } else { b"one" };
        Some(Answer {
            good: head.starts_with("http/1.1 200 ") && body == wanted,
            last: field("connection") == Some("close"),
        })
    }
}

enum Next {
    Connect,
    Leave,
}
