//! Clients and servers without sockets: whatever clients send, in whatever pieces, and
//! whichever server they get, they hear what a server of their own would have said.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    rc::Rc,
    sync::Arc,
};

use bs9_config::SessionState;
use bs9_net::BufferPool;
use bs9_wire::{
    encode::{
        backend::{self, ErrorReport},
        frontend,
    },
    frame::Frame,
    ledger::{Ledger, Verdict},
    message::{FrontendMessage, Report, backend::TransactionStatus, frontend::Target},
    sqlstate::SqlState,
    tag::{BackendTag, Tag as _},
};
use proptest::prelude::*;

use super::*;
use crate::{
    cell::Cell,
    prepared::{
        cache::Cache,
        names::Statements,
        statement::{MAX_TOTAL_BYTES, StatementStore},
    },
    settings::Settings,
    watch::Watch,
};

/// What PostgreSQL does with prepared statements. A text that begins with `!` does not parse,
/// one that begins with `?` fails when it is run.
#[derive(Default)]
struct Model {
    statements: HashMap<Vec<u8>, Vec<u8>>,
    /// Its text, and what it was bound with.
    portal: Option<(Vec<u8>, Vec<u8>)>,
    skips: bool,
    input: Vec<u8>,
}

impl Model {
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.input.extend_from_slice(bytes);
        let input = std::mem::take(&mut self.input);
        let (mut rest, mut out) = (&input[..], Vec::new());
        while let Some(frame) = Frame::<FrontendTag>::parse(rest).expect("a message") {
            let message = FrontendMessage::read(frame.tag, frame.body).expect("well-formed");
            if !self.skips || frame.tag == FrontendTag::Sync {
                self.answer(message, &mut out);
            }
            rest = &rest[frame.bytes.len()..];
        }
        self.input = rest.to_vec();
        out
    }

    fn fail(&mut self, sqlstate: SqlState, message: &str, out: &mut Vec<u8>) {
        self.skips = true;
        backend::error_response(out, &ErrorReport::error(sqlstate, message));
    }

    fn unknown(&mut self, name: &[u8], out: &mut Vec<u8>) {
        let message = format!("{} does not exist", String::from_utf8_lossy(name));
        self.fail(SqlState::INVALID_STATEMENT_NAME, &message, out);
    }

    fn answer(&mut self, message: FrontendMessage<'_>, out: &mut Vec<u8>) {
        match message {
            FrontendMessage::Parse(parse) => {
                let name = parse.statement.to_vec();
                if name.is_empty() {
                    self.statements.remove(&name);
                }
                if parse.query.starts_with(b"!") || parse.query.starts_with(b"refused") {
                    self.fail(SqlState::PROTOCOL_VIOLATION, "does not parse", out);
                } else if let Entry::Vacant(free) = self.statements.entry(name.clone()) {
                    free.insert(parse.query.to_vec());
                    backend::parse_complete(out);
                } else {
                    let name = String::from_utf8_lossy(&name);
                    let message = format!("prepared statement \"{name}\" already exists");
                    self.fail(SqlState::DUPLICATE_STATEMENT, &message, out);
                }
            }
            FrontendMessage::Bind(bind) => match self.statements.get(bind.statement) {
                Some(text) => {
                    self.portal = Some((text.clone(), bind.rest.to_vec()));
                    backend::bind_complete(out);
                }
                None => self.unknown(bind.statement, out),
            },
            FrontendMessage::Describe(Target::Statement(name)) => match self.statements.get(name) {
                Some(text) => {
                    bs9_wire::encode::message(out, BackendTag::ParameterDescription, |out| {
                        out.extend_from_slice(text);
                    });
                    backend::no_data(out);
                }
                None => self.unknown(name, out),
            },
            FrontendMessage::Execute(_) => match self.portal.take() {
                Some((text, _)) if text.starts_with(b"?") => {
                    self.fail(SqlState::INTERNAL_ERROR, "fails", out);
                }
                Some((text, _)) if text.starts_with(b"DEALLOCATE") => self.run(&text, out),
                Some((text, rest)) => {
                    let tag = [text, rest].concat();
                    backend::command_complete(out, &String::from_utf8_lossy(&tag));
                }
                None => self.fail(SqlState::INTERNAL_ERROR, "no portal", out),
            },
            FrontendMessage::Close(Target::Statement(name)) => {
                self.statements.remove(name);
                backend::close_complete(out);
            }
            FrontendMessage::Sync => {
                self.skips = false;
                self.portal = None;
                backend::ready_for_query(out, TransactionStatus::Idle);
            }
            FrontendMessage::Query(text) => {
                self.query(text, out);
                self.skips = false;
                backend::ready_for_query(out, TransactionStatus::Idle);
            }
            _ => {}
        }
    }

    fn query(&mut self, text: &[u8], out: &mut Vec<u8>) {
        self.statements.remove(&b""[..]);
        self.run(text, out);
    }

    fn run(&mut self, text: &[u8], out: &mut Vec<u8>) {
        let text = String::from_utf8_lossy(text).into_owned();
        if text == "DEALLOCATE ALL" {
            self.statements.retain(|name, _| name.is_empty());
            backend::command_complete(out, "DEALLOCATE ALL");
        } else if let Some(name) = text.strip_prefix("DEALLOCATE ") {
            match self.statements.remove(name.as_bytes()) {
                Some(_) => backend::command_complete(out, "DEALLOCATE"),
                None => self.unknown(name.as_bytes(), out),
            }
        } else if let Some((name, _)) =
            text.strip_prefix("PREPARE ").and_then(|rest| rest.split_once(" AS "))
        {
            self.statements.insert(name.into(), text.clone().into());
            backend::command_complete(out, "PREPARE");
        } else {
            backend::command_complete(out, &text);
        }
    }
}

/// A message of a script. Names and texts are few, so that they meet.
#[derive(Debug, Clone)]
enum Say {
    Parse(u8, u8),
    Run(u8, u8),
    Describe(u8),
    Close(u8),
    Flush,
    Sync,
    Query(u8),
}

fn name(number: u8) -> &'static [u8] {
    [&b""[..], b"a", b"bb", b"statement_7"][usize::from(number) % 4]
}

fn text(number: u8) -> String {
    match number % 9 {
        0 => "!".into(),
        1 => "?".into(),
        2 => "long ".repeat(30),
        3 => "DEALLOCATE a".into(),
        4 => "DEALLOCATE bb".into(),
        5 => "DEALLOCATE ALL".into(),
        n => format!("text {n}"),
    }
}

impl Say {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Parse(n, t) => frontend::parse(out, name(*n), text(*t).as_bytes(), &[]),
            Self::Run(n, length) => {
                let rest = vec![b'0' + length % 10; usize::from(*length)];
                frontend::bind_head(out, b"", name(*n), rest.len());
                out.extend(rest);
                bs9_wire::encode::message(out, FrontendTag::Execute, |out| out.extend([0; 5]));
            }
            Self::Describe(n) => frontend::describe(out, Target::Statement(name(*n))),
            Self::Close(n) => frontend::close(out, Target::Statement(name(*n))),
            Self::Flush => frontend::flush(out),
            Self::Sync => frontend::sync(out),
            Self::Query(n) => {
                frontend::sync(out);
                match n % 6 {
                    0 => frontend::query(out, "DEALLOCATE ALL"),
                    1 => frontend::query(out, "DEALLOCATE a"),
                    2 => frontend::query(out, "DEALLOCATE bb"),
                    _ => frontend::query(out, "SELECT 'a longer query than fits'"),
                }
            }
        }
    }
}

fn say() -> impl Strategy<Value = Say> {
    prop_oneof![
        4 => (any::<u8>(), any::<u8>()).prop_map(|(n, t)| Say::Parse(n, t)),
        6 => (any::<u8>(), 0u8..200).prop_map(|(n, length)| Say::Run(n, length)),
        2 => any::<u8>().prop_map(Say::Describe),
        2 => any::<u8>().prop_map(Say::Close),
        1 => Just(Say::Flush),
        5 => Just(Say::Sync),
        1 => any::<u8>().prop_map(Say::Query),
    ]
}

/// Replies without what differs: an unknown name is said in the pool's words.
fn essence(stream: &[u8]) -> Vec<String> {
    let mut rest = stream;
    let mut heard = Vec::new();
    while let Some(frame) = Frame::<BackendTag>::parse(rest).expect("a message") {
        let body = match frame.tag {
            BackendTag::ErrorResponse => {
                let report = Report::read(frame.body).expect("a report");
                let field = |code| String::from_utf8_lossy(report.get(code).unwrap()).into_owned();
                format!("{} {}", field(b'C'), field(b'M'))
            }
            _ => String::from_utf8_lossy(frame.body).into_owned(),
        };
        heard.push(format!("{} {body}", char::from(frame.tag.byte())));
        rest = &rest[frame.bytes.len()..];
    }
    assert!(rest.is_empty(), "whole messages only");
    heard
}

struct Server {
    model: Model,
    ledger: Ledger,
    cache: Cache,
    /// Said, and not received yet.
    said: VecDeque<u8>,
}

impl Server {
    fn new() -> Self {
        Self {
            model: Model::default(),
            ledger: Ledger::new(64),
            cache: Cache::default(),
            said: VecDeque::new(),
        }
    }
}

struct Client {
    up: Upward,
    statements: Option<Box<Statements>>,
    watch: Option<Box<Watch>>,
    to_say: VecDeque<u8>,
    heard: Vec<u8>,
    server: Option<Server>,
}

impl Client {
    fn is_done(&self) -> bool {
        let unread = self.up.passage.unread();
        self.to_say.is_empty() && unread.is_empty() && self.server.is_none()
    }
}

struct World {
    servers: Vec<Server>,
    buffers: Rc<BufferPool>,
    store: Arc<StatementStore>,
    settings: Arc<Settings>,
    cell: Cell,
    limit: usize,
}

impl World {
    fn new(limit: usize, buffer: usize) -> Self {
        Self {
            servers: vec![Server::new(), Server::new()],
            buffers: BufferPool::new(buffer, 4),
            store: StatementStore::new(MAX_TOTAL_BYTES),
            settings: Arc::default(),
            cell: Cell::default(),
            limit,
        }
    }

    /// Gives the client a server that is dead: nothing it is told gets anywhere.
    fn die(&mut self, client: &mut Client, say: usize) {
        if client.server.is_some() {
            return;
        }
        self.read(client, say);
        let unread = client.up.passage.unread();
        // What a simple query does cannot be taken back.
        if unread.is_empty() || unread.contains(&b'Q') {
            return;
        }
        // It had served others, and has what they prepared.
        let Some(mut server) = self.servers.pop() else { return };
        client.up.begin(true);
        let mut answers = Vec::new();
        let mut exchange = self.exchange(&mut client.statements, &mut client.watch, &mut server);
        client.up.scan(&mut exchange, &mut answers).expect("legal messages");
        assert!(answers.is_empty(), "nothing is told before the server is known to live");
        assert!(client.up.can_start_over());
        client.up.start_over();
        if let Some(statements) = &mut client.statements {
            statements.rewind();
        }
        self.servers.push(Server::new());
    }

    fn read(&self, client: &mut Client, most: usize) {
        let buffers = &self.buffers;
        let buffer = client.up.passage.buffer.get_or_insert_with(|| buffers.take());
        let count = most.min(client.to_say.len()).min(buffer.spare().len());
        for byte in &mut buffer.spare()[..count] {
            *byte = client.to_say.pop_front().unwrap();
        }
        buffer.commit(count);
    }

    /// Gives the client a server and lets it say so many bytes, and hear so many.
    fn turn(&mut self, client: &mut Client, say: usize, hear: usize) {
        let mut server = match client.server.take() {
            Some(server) => server,
            None => {
                let Some(server) = self.servers.pop() else { return };
                client.up.begin(false);
                server
            }
        };
        self.scan(client, &mut server);
        if !client.up.stalled && !client.up.waits_for_room {
            self.read(client, say);
            self.scan(client, &mut server);
        }
        self.receive(client, &mut server, hear);
        if client.up.is_settled() && server.ledger.is_clean() && server.said.is_empty() {
            let known = client.statements.as_ref();
            assert!(known.is_none_or(|known| !known.awaits_replies()), "nothing is uncertain");
            self.servers.insert(0, server);
        } else {
            client.server = Some(server);
        }
    }

    fn exchange<'a>(
        &'a self,
        statements: &'a mut Option<Box<Statements>>,
        watch: &'a mut Option<Box<Watch>>,
        server: &'a mut Server,
    ) -> Exchange<'a> {
        Exchange {
            statements,
            ledger: &mut server.ledger,
            cache: &mut server.cache,
            settings: &self.settings,
            store: &self.store,
            cell: &self.cell,
            limit: self.limit,
            session: SessionState::default(),
            watch,
            forgets: false,
            irrevocable: false,
        }
    }

    fn scan(&self, client: &mut Client, server: &mut Server) {
        loop {
            let mut exchange = self.exchange(&mut client.statements, &mut client.watch, server);
            client.up.scan(&mut exchange, &mut client.heard).expect("legal messages");
            let bytes = client.up.passage.take_approved();
            client.up.note_sent();
            server.said.extend(server.model.hear(&bytes));
            if !client.up.waits_for_room {
                return;
            }
        }
    }

    /// Receives whole messages out of the first `most` bytes.
    fn receive(&self, client: &mut Client, server: &mut Server, most: usize) {
        let said: Vec<u8> = server.said.iter().copied().collect();
        let mut rest = &said[..most.min(said.len())];
        while let Some(frame) = Frame::<BackendTag>::parse(rest).expect("a message") {
            let observed = match frame.tag {
                BackendTag::ReadyForQuery => server.ledger.ready(TransactionStatus::Idle),
                tag => server.ledger.observe(tag),
            };
            let observed = observed.expect("a reply that is owed");
            let mut answers = Vec::new();
            let mut exchange = self.exchange(&mut client.statements, &mut client.watch, server);
            let stood_in = exchange.follow_up(frame.tag, frame.body, observed, &mut answers);
            if observed.verdict == Verdict::Forward && !stood_in {
                client.heard.extend_from_slice(frame.bytes);
            }
            client.heard.extend(answers);
            server.said.drain(..frame.bytes.len());
            rest = &rest[frame.bytes.len()..];
        }
    }
}

fn run(
    scripts: &[Vec<Say>],
    limit: usize,
    buffer: usize,
    turns: &[(usize, usize, usize)],
) -> Result<(), TestCaseError> {
    let mut world = World::new(limit, buffer);
    let mut clients: Vec<Client> = Vec::new();
    let mut wanted = Vec::new();
    for script in scripts {
        let mut bytes = Vec::new();
        script.iter().for_each(|say| say.write(&mut bytes));
        frontend::sync(&mut bytes);
        wanted.push(Model::default().hear(&bytes));
        clients.push(Client {
            up: Upward::default(),
            statements: None,
            watch: None,
            to_say: bytes.into(),
            heard: Vec::new(),
            server: None,
        });
    }
    for (who, say, hear) in turns {
        let (dies, who) = (*who >= 4, who % clients.len());
        if dies {
            world.die(&mut clients[who], *say);
        }
        world.turn(&mut clients[who], *say, *hear);
    }
    // Everybody says the rest; some have to wait for a server.
    for _ in 0..10_000 {
        for client in &mut clients {
            world.turn(client, buffer, usize::MAX);
        }
        if clients.iter().all(Client::is_done) {
            break;
        }
    }
    for (client, wanted) in clients.iter().zip(&wanted) {
        prop_assert!(client.is_done(), "it got stuck");
        prop_assert_eq!(essence(&client.heard), essence(wanted));
    }
    for server in &world.servers {
        prop_assert!(server.cache.len() <= limit);
    }
    drop(clients);
    world.servers.clear();
    prop_assert_eq!((world.store.bytes(), world.store.shared()), (0, 0), "nothing is left");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn clients_hear_what_a_server_of_their_own_would_say(
        scripts in prop::collection::vec(prop::collection::vec(say(), 0..25), 1..4),
        limit in 1usize..5,
        buffer in 40usize..400,
        turns in prop::collection::vec((0usize..6, 0usize..60, 0usize..100), 0..150),
    ) {
        run(&scripts, limit, buffer, &turns)?;
    }
}

#[test]
fn every_split_of_a_dialogue_means_the_same() {
    use Say as S;
    let script = vec![
        S::Parse(1, 6),
        S::Parse(2, 2),
        S::Run(1, 20),
        S::Run(2, 90),
        S::Sync,
        S::Parse(0, 7),
        S::Describe(0),
        S::Sync,
        S::Run(0, 3),
        S::Close(1),
        S::Run(1, 1),
        S::Sync,
        S::Parse(1, 7),
        S::Run(2, 0),
        S::Parse(1, 6),
        S::Sync,
        S::Parse(0, 3),
        S::Parse(3, 1),
        S::Run(3, 0),
        S::Run(0, 0),
        S::Sync,
        S::Run(0, 0),
        S::Run(1, 0),
        S::Sync,
        S::Parse(1, 6),
        S::Sync,
        S::Query(1),
        S::Run(1, 0),
        S::Sync,
    ];
    let mut bytes = Vec::new();
    script.iter().for_each(|say| say.write(&mut bytes));
    for cut in 0..=bytes.len() {
        for limit in [1, 8] {
            run(&[script.clone(), script.clone()], limit, 4096, &[(0, cut, 1 << 20)]).unwrap();
        }
    }
}
