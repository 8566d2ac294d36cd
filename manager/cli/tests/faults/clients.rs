//! Clients that know which answer belongs to which of their requests, to the byte.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
};

use crate::{
    endpoint::{Books, body_of},
    fixture::DEADLINE,
};

/// What became of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Answered with what belongs to them.
    pub(crate) right: u64,
    /// Answered by bs9 with a 5xx, or cut off.
    pub(crate) failed_gets: u64,
    pub(crate) failed_posts: u64,
}

impl Tally {
    pub(crate) fn failed(&self) -> u64 {
        self.failed_gets + self.failed_posts
    }

    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            right: self.right - before.right,
            failed_gets: self.failed_gets - before.failed_gets,
            failed_posts: self.failed_posts - before.failed_posts,
        }
    }
}

#[derive(Default)]
struct Shared {
    next: AtomicU64,
    right: AtomicU64,
    failed_gets: AtomicU64,
    failed_posts: AtomicU64,
    stop: AtomicBool,
    /// Requests that were not answered rightly.
    failed: Mutex<Vec<u64>>,
    wrong: Mutex<Vec<String>>,
    answered_posts: Mutex<Vec<u64>>,
}

/// Clients at work.
pub(crate) struct Clients {
    shared: Arc<Shared>,
    books: Arc<Books>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    pub(crate) fn start(address: SocketAddr, count: usize, books: &Arc<Books>) -> Self {
        let shared = Arc::new(Shared::default());
        let client = |_| {
            let client = Client { address, shared: Arc::clone(&shared), stream: None };
            thread::spawn(move || client.run())
        };
        let threads = (0..count).map(client).collect();
        Self { shared, books: Arc::clone(books), threads }
    }

    pub(crate) fn tally(&self) -> Tally {
        Tally {
            right: self.shared.right.load(SeqCst),
            failed_gets: self.shared.failed_gets.load(SeqCst),
            failed_posts: self.shared.failed_posts.load(SeqCst),
        }
    }

    /// Requests that failed so far.
    pub(crate) fn failed(&self) -> Vec<u64> {
        self.shared.failed.lock().unwrap().clone()
    }

    /// What became of everything, and what was wrong.
    pub(crate) fn stop(mut self) -> (Tally, Vec<String>) {
        self.shared.stop.store(true, SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().expect("a client does not panic");
        }
        let mut wrong = std::mem::take(&mut *self.shared.wrong.lock().unwrap());
        let posts = self.books.posts();
        let answered = self.shared.answered_posts.lock().unwrap();
        let unseen = answered.iter().filter(|id| posts.get(id) != Some(&1));
        wrong.extend(unseen.map(|id| format!("POST {id} was answered, and did not arrive once")));
        (self.tally(), wrong)
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
    }
}

struct Client {
    address: SocketAddr,
    shared: Arc<Shared>,
    stream: Option<TcpStream>,
}

/// An answer, as it came.
struct Answer {
    head: String,
    body: Vec<u8>,
    /// Bytes behind it.
    excess: usize,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let found = lines.find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim())
    }

    fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

impl Client {
    fn run(mut self) {
        while !self.shared.stop.load(SeqCst) {
            let id = self.shared.next.fetch_add(1, SeqCst);
            let post = id.is_multiple_of(4);
            match self.exchange(id, post) {
                Some(answer) => self.judge(id, post, &answer),
                None => {
                    self.stream = None;
                    self.failed(id, post);
                }
            }
        }
    }

    fn failed(&self, id: u64, post: bool) {
        let shared = &self.shared;
        shared.failed.lock().unwrap().push(id);
        let counter = if post { &shared.failed_posts } else { &shared.failed_gets };
        counter.fetch_add(1, SeqCst);
    }

    fn judge(&mut self, id: u64, post: bool, answer: &Answer) {
        let status = answer.head.get(9..12).unwrap_or_default();
        let own = answer.header("x-id").is_none() && status.starts_with('5');
        let right = status == "200"
            && answer.header("x-id") == Some(id.to_string().as_str())
            && answer.body == body_of(id);
        if answer.excess > 0 || !(own || right) {
            let text = format!("{id}: {}, {} bytes more", answer.head, answer.excess);
            self.shared.wrong.lock().unwrap().push(text);
        }
        if right {
            self.shared.right.fetch_add(1, SeqCst);
            if post {
                self.shared.answered_posts.lock().unwrap().push(id);
            }
        } else {
            self.failed(id, post);
        }
        if answer.closes() || answer.excess > 0 {
            self.stream = None;
        }
    }

    /// `None`: cut off.
    fn exchange(&mut self, id: u64, post: bool) -> Option<Answer> {
        let request = if post {
            let body = body_of(id);
            let head = format!(
                "POST /post/{id} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            [head.as_bytes(), &body].concat()
        } else {
            format!("GET /get/{id} HTTP/1.1\r\nHost: test\r\n\r\n").into_bytes()
        };
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect_timeout(&self.address, DEADLINE).ok()?;
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                stream.set_nodelay(true).unwrap();
                none.insert(stream)
            }
        };
        stream.write_all(&request).ok()?;
        let (mut received, mut piece) = (Vec::new(), vec![0; 16 * 1024]);
        loop {
            if let Some(answer) = whole(&received) {
                return Some(answer);
            }
            match stream.read(&mut piece) {
                Ok(count) if count > 0 => received.extend_from_slice(&piece[..count]),
                _ => return None,
            }
        }
    }
}

fn whole(received: &[u8]) -> Option<Answer> {
    let end = received.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&received[..end]).into_owned();
    let mut answer = Answer { head, body: Vec::new(), excess: 0 };
    let rest = &received[end..];
    if let Some(length) = answer.header("content-length") {
        let length: usize = length.parse().ok()?;
        answer.body = rest.get(..length)?.to_vec();
        answer.excess = rest.len() - length;
        return Some(answer);
    }
    let mut at = 0;
    loop {
        let line = rest.get(at..)?.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&rest[at..at + line]).ok()?;
        let size = usize::from_str_radix(size, 16).ok()?;
        at += line + 2;
        let chunk = rest.get(at..at + size + 2)?;
        at += size + 2;
        if size == 0 {
            answer.excess = rest.len() - at;
            return Some(answer);
        }
        answer.body.extend_from_slice(&chunk[..size]);
    }
}
