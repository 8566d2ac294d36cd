//! An endpoint that answers rightly, but for one request at a time.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

use socket2::SockRef;

use super::{After, Ask, Attack};
use crate::{strict, wire::PATIENCE};

#[derive(Default)]
struct State {
    armed: Option<Attack>,
    attacks: usize,
    attacked: Option<usize>,
    /// Whether the client has had its answer.
    may_go_on: bool,
    /// Whether everything has been sent that there is to send.
    has_gone_on: bool,
    /// Requests answered rightly on the attacked connection since.
    answered: Vec<usize>,
}

type Shared = Arc<(Mutex<State>, Condvar)>;

/// Listens for as long as the test's process lives.
pub(super) struct HostileOrigin {
    pub(super) address: SocketAddr,
    shared: Shared,
}

impl HostileOrigin {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Shared::default();
        let state = Arc::clone(&shared);
        thread::spawn(move || {
            for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let state = Arc::clone(&state);
                thread::spawn(move || Conversation { number, stream, state }.run());
            }
        });
        Self { address, shared }
    }

    /// The next request for `/attack` is answered so.
    pub(super) fn arm(&self, attack: &Attack) {
        let armed = Some(attack.clone());
        *self.shared.0.lock().unwrap() = State { armed, ..State::default() };
    }

    /// The client has had its answer: waits until what comes late has been sent.
    pub(super) fn go_on(&self) {
        let (state, changed) = &*self.shared;
        let mut state = state.lock().unwrap();
        state.may_go_on = true;
        changed.notify_all();
        let (state, waited) =
            changed.wait_timeout_while(state, PATIENCE, |state| !state.has_gone_on).unwrap();
        assert!(!waited.timed_out(), "the attack was carried out: {:?}", state.armed);
    }

    pub(super) fn attacked_connection(&self) -> usize {
        self.shared.0.lock().unwrap().attacked.expect("an attack was carried out")
    }

    /// How often `/attack` was asked for.
    pub(super) fn attacks(&self) -> usize {
        self.shared.0.lock().unwrap().attacks
    }

    pub(super) fn answered_on(&self, connection: usize) -> usize {
        let state = self.shared.0.lock().unwrap();
        state.answered.iter().filter(|one| **one == connection).count()
    }
}

struct Conversation {
    number: usize,
    stream: TcpStream,
    state: Shared,
}

impl Conversation {
    fn run(mut self) {
        self.stream.set_nodelay(true).unwrap();
        let (mut bytes, mut piece) = (Vec::new(), vec![0; 16 * 1024]);
        loop {
            let early = self.is_asked_early(&bytes);
            match strict::read(&bytes) {
                Ok(None) if !early => match self.stream.read(&mut piece) {
                    Ok(count) if count > 0 => bytes.extend_from_slice(&piece[..count]),
                    _ => return,
                },
                Ok(request) => {
                    let summary = request.as_ref().map(|request| request.summary.clone());
                    bytes.drain(..request.map_or(bytes.len(), |request| request.len));
                    let asked = summary.unwrap_or_else(|| "POST /attack".to_owned());
                    if self.answer(&asked).is_none() {
                        return;
                    }
                }
                Err(fault) => panic!("bs9 sent {fault}"),
            }
        }
    }

    /// Whether half a request is enough to attack.
    fn is_asked_early(&self, bytes: &[u8]) -> bool {
        let state = self.state.0.lock().unwrap();
        let early = state.armed.as_ref().is_some_and(|attack| attack.ask == Ask::HalfAPost);
        early && bytes.starts_with(b"POST /attack ") && strict::find(bytes, b"\r\n\r\n").is_some()
    }

    /// `None`: the connection has ended.
    fn answer(&mut self, asked: &str) -> Option<()> {
        let target = asked.split(' ').nth(1).unwrap_or_default();
        if target == "/attack" {
            return self.attack();
        }
        let number = target.strip_prefix("/mine/").unwrap_or("nobody");
        let body = format!("this is {number}");
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        self.state.0.lock().unwrap().answered.push(self.number);
        self.stream.write_all((head + &body).as_bytes()).ok()
    }

    fn attack(&mut self) -> Option<()> {
        let (lock, changed) = &*self.state;
        let attack = {
            let mut state = lock.lock().unwrap();
            state.attacks += 1;
            state.attacked = Some(self.number);
            state.armed.take()
        };
        let Some(attack) = attack else {
            // The same request again: that one is answered.
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nagain";
            return self.stream.write_all(answer.as_bytes()).ok();
        };
        // It may be refused half-way.
        let sent = self.stream.write_all(&attack.answer);
        if let Some(late) = attack.late {
            let state = lock.lock().unwrap();
            let waiting = |state: &mut State| !state.may_go_on;
            let waited = changed.wait_timeout_while(state, PATIENCE, waiting).unwrap();
            assert!(!waited.1.timed_out(), "the client was answered");
            drop(waited);
            let _refused = self.stream.write_all(late);
        }
        let goes_on = attack.after == After::GoOn && sent.is_ok();
        if attack.after == After::Reset {
            SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
        if !goes_on {
            // Closed before anybody is told that it is.
            let closed = self.stream.shutdown(std::net::Shutdown::Both);
            if attack.after == After::Close {
                closed.unwrap_or_default();
            }
        }
        let mut state = lock.lock().unwrap();
        state.has_gone_on = true;
        state.answered.clear();
        changed.notify_all();
        goes_on.then_some(())
    }
}
