//! A client that speaks the protocol message by message.

use std::{
    io::{
        ErrorKind::{BrokenPipe, ConnectionReset},
        Read as _, Write as _,
    },
    net::{SocketAddr, TcpStream},
};

use bs9_wire::{
    encode::frontend,
    frame::Frame,
    message::Report,
    startup::{ProtocolVersion, StartupParameters, startup_message},
    tag::{BackendTag, FrontendTag, Tag as _},
};

use super::PATIENCE;

/// A connection of which every byte is known.
pub(crate) struct Dialogue {
    stream: TcpStream,
    received: Vec<u8>,
    pub(crate) process_id: i32,
    pub(crate) secret: Vec<u8>,
    /// ParameterStatus messages, in order of arrival.
    pub(crate) parameters: Vec<(String, String)>,
}

/// A message received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) tag: char,
    pub(crate) body: Vec<u8>,
}

/// A RowDescription in which every column belongs to no table.
fn without_tables(body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    let mut at = 2;
    while at < body.len() {
        at += body[at..].iter().position(|byte| *byte == 0).expect("a name ends") + 1;
        body[at..at + 4].fill(0);
        at += 18;
    }
    body
}

impl Reply {
    /// What can be the same on two connections: of errors and notices, code and message; no
    /// table's number.
    pub(crate) fn essence(&self) -> (char, Vec<u8>) {
        let body = match self.tag {
            'E' | 'N' => {
                let report = Report::read(&self.body).expect("an error or notice");
                let field = |code| report.get(code).unwrap_or_default();
                [field(b'V'), field(b'C'), field(b'M')].join(&b' ')
            }
            'T' => without_tables(&self.body),
            _ => self.body.clone(),
        };
        (self.tag, body)
    }

    /// The SQLSTATE of an error.
    pub(crate) fn sqlstate(&self) -> String {
        let report = Report::read(&self.body).expect("an error or notice");
        String::from_utf8_lossy(report.sqlstate().unwrap_or_default()).into_owned()
    }

    /// What more an error or a notice says.
    pub(crate) fn detail(&self) -> String {
        let report = Report::read(&self.body).expect("an error or notice");
        String::from_utf8_lossy(report.get(b'D').unwrap_or_default()).into_owned()
    }
}

impl Dialogue {
    /// Connects and says nothing.
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the pool takes connections");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        stream.set_nodelay(true).expect("an option");
        Self {
            stream,
            received: Vec::new(),
            process_id: 0,
            secret: Vec::new(),
            parameters: Vec::new(),
        }
    }

    /// Connects and asks for a session, without reading the answer.
    pub(crate) fn greet(address: SocketAddr, user: &str, settings: &[(&str, &str)]) -> Self {
        Self::greet_at(address, StartupParameters { user, database: "app" }, settings)
    }

    fn greet_at(
        address: SocketAddr,
        session: StartupParameters<'_>,
        settings: &[(&str, &str)],
    ) -> Self {
        let mut dialogue = Self::open(address);
        let mut packet = Vec::new();
        startup_message(&mut packet, ProtocolVersion::V3_0, session, settings.iter().copied());
        dialogue.send(&packet);
        dialogue
    }

    /// Logs in to `app` where no password is asked for.
    pub(crate) fn log_in(address: SocketAddr, user: &str, settings: &[(&str, &str)]) -> Self {
        Self::greet(address, user, settings).be_let_in()
    }

    /// Likewise, to another database.
    pub(crate) fn log_in_to(address: SocketAddr, user: &str, database: &str) -> Self {
        Self::greet_at(address, StartupParameters { user, database }, &[]).be_let_in()
    }

    fn be_let_in(mut self) -> Self {
        loop {
            let reply = self.receive();
            match reply.tag {
                'R' => assert_eq!(reply.body, [0; 4], "trusted"),
                'K' => {
                    self.process_id = i32::from_be_bytes(reply.body[..4].try_into().unwrap());
                    self.secret = reply.body[4..].to_vec();
                }
                'Z' => return self,
                'S' => {}
                _ => panic!("{reply:?} during login"),
            }
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        assert!(self.try_send(bytes), "the pool reads");
    }

    /// False: the other side has ended the connection; what it said before can still be read.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> bool {
        match self.stream.write_all(bytes) {
            Ok(()) => true,
            Err(error) if matches!(error.kind(), BrokenPipe | ConnectionReset) => false,
            Err(error) => panic!("it cannot be sent: {error}"),
        }
    }

    /// The same connection, for whoever writes while another reads.
    pub(crate) fn try_clone(&self) -> TcpStream {
        self.stream.try_clone().expect("a descriptor")
    }

    pub(crate) fn query(&mut self, text: &str) {
        let mut out = Vec::new();
        frontend::query(&mut out, text);
        self.send(&out);
    }

    /// The next message, whatever it is. Panics at the end of the stream.
    pub(crate) fn receive(&mut self) -> Reply {
        self.next().expect("a message, not the end")
    }

    /// The next message; `None` at the end.
    pub(crate) fn next(&mut self) -> Option<Reply> {
        loop {
            if let Some(frame) = Frame::<BackendTag>::parse(&self.received).expect("a message") {
                let reply = Reply { tag: frame.tag.byte().into(), body: frame.body.to_vec() };
                let length = frame.bytes.len();
                self.received.drain(..length);
                if reply.tag == 'S' {
                    self.note(&reply.body);
                }
                return Some(reply);
            }
            let mut piece = [0; 16 * 1024];
            match self.stream.read(&mut piece) {
                Ok(0) => return None,
                Ok(count) => self.received.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == ConnectionReset => return None,
                Err(error) => panic!("nothing arrived: {error}"),
            }
        }
    }

    fn note(&mut self, body: &[u8]) {
        let text = String::from_utf8_lossy(body);
        let mut fields = text.split('\0');
        let mut field = || fields.next().expect("two fields").to_owned();
        let pair = (field(), field());
        self.parameters.push(pair);
    }

    /// The value the client was told last.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let told = self.parameters.iter().rev().find(|(known, _)| known == name);
        told.map(|(_, value)| value.as_str())
    }

    /// Everything up to and with the next ReadyForQuery, ParameterStatus left out.
    pub(crate) fn until_ready(&mut self) -> Vec<Reply> {
        let mut replies = Vec::new();
        loop {
            let reply = self.next();
            let reply = reply.unwrap_or_else(|| panic!("the end, after {replies:?}"));
            let ready = reply.tag == 'Z';
            if reply.tag != 'S' {
                replies.push(reply);
            }
            if ready {
                return replies;
            }
        }
    }

    /// The tags of those.
    pub(crate) fn tags_until_ready(&mut self) -> String {
        self.until_ready().iter().map(|reply| reply.tag).collect()
    }

    /// Runs a query and returns the first column of its first row.
    pub(crate) fn value(&mut self, query: &str) -> String {
        self.query(query);
        let replies = self.until_ready();
        let row = replies.iter().find(|reply| reply.tag == 'D');
        let row = row.unwrap_or_else(|| panic!("{query} returned {replies:?}"));
        String::from_utf8_lossy(&row.body[6..]).into_owned()
    }

    /// One raw byte, such as the answer to an SSLRequest.
    pub(crate) fn byte(&mut self) -> u8 {
        let mut byte = [0];
        self.stream.read_exact(&mut byte).expect("a byte");
        byte[0]
    }

    pub(crate) fn message(tag: FrontendTag, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        bs9_wire::encode::message(&mut out, tag, |out| out.extend_from_slice(body));
        out
    }
}

/// Runs a text in which nothing fails. The tags of the replies.
pub(crate) fn run(client: &mut Dialogue, text: &str) -> String {
    client.query(text);
    let replies = client.until_ready();
    assert!(replies.iter().all(|reply| reply.tag != 'E'), "{text}: {replies:?}");
    replies.iter().map(|reply| reply.tag).collect()
}
