//! A server that says what no real one can be made to say.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use bs9_wire::{
    encode::backend, frame::Frame, message::backend::TransactionStatus, tag::FrontendTag,
};
use tokio_rustls::rustls::{
    ServerConfig, ServerConnection, StreamOwned, crypto,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use super::{Cluster, Pooler};

/// It answers every Query with a row that says which connection it came from, from 0. Cancel
/// requests it takes, and does nothing about them.
pub(crate) struct Fake {
    port: u16,
    connections: Arc<Mutex<Vec<TcpStream>>>,
    queries: Arc<AtomicUsize>,
}

/// What one connection is told.
#[derive(Clone)]
pub(crate) struct Manner {
    /// In place of a login that succeeds.
    pub(crate) refusal: Option<Vec<u8>>,
    pub(crate) version: String,
    /// BackendKeyData is sent.
    pub(crate) has_key: bool,
    /// In place of the row.
    pub(crate) reply: Option<Vec<u8>>,
    /// A Query that says this is not answered.
    pub(crate) ignored: &'static str,
    /// It hangs up on a Parse.
    pub(crate) is_doomed: bool,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            refusal: None,
            version: "15.1".into(),
            has_key: true,
            reply: None,
            ignored: "\0",
            is_doomed: false,
        }
    }
}

impl Fake {
    /// `manner`: of each connection, by its number.
    pub(crate) fn start(manner: impl Fn(usize) -> Manner + Send + 'static) -> Self {
        Self::greeting(move |stream, number, queries| {
            let (manner, queries) = (manner(number), Arc::clone(queries));
            std::thread::spawn(move || {
                let end = stream.try_clone().expect("a descriptor");
                let _the_pool_has_gone = serve(stream, number, &manner, &queries);
                if manner.is_doomed {
                    let _gone_already = end.shutdown(Shutdown::Both);
                }
            });
        })
    }

    /// One that shakes hands before anything is said, as `localhost` and 127.0.0.1, and knows
    /// these protocols (ALPN).
    pub(crate) fn secured(alpn: &[&str]) -> Self {
        let config = server_config(alpn);
        Self::greeting(move |stream, number, queries| {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
            let stream = StreamOwned::new(connection, stream);
            let queries = Arc::clone(queries);
            std::thread::spawn(move || serve(stream, number, &Manner::default(), &queries));
        })
    }

    fn greeting(greet: impl Fn(TcpStream, usize, &Arc<AtomicUsize>) + Send + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("its number").port();
        let connections: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let queries: Arc<AtomicUsize> = Arc::default();
        let (known, counted) = (Arc::clone(&connections), Arc::clone(&queries));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.expect("a connection");
                let mut known = known.lock().expect("nobody panicked");
                let number = known.len();
                known.push(stream.try_clone().expect("a descriptor"));
                greet(stream, number, &counted);
            }
        });
        Self { port, connections, queries }
    }

    /// A pool in front of it.
    pub(crate) fn pooler(&self) -> Pooler {
        self.pooler_with("")
    }

    /// Likewise, with `more` about the database.
    pub(crate) fn pooler_with(&self, more: &str) -> Pooler {
        Pooler::by(&self.text_with(more))
    }

    /// The text of its configuration.
    pub(crate) fn text_with(&self, more: &str) -> String {
        let text = Pooler::text(Cluster::shared());
        let real = format!("port = {}\n", Cluster::shared().port());
        text.replace(&real, &format!("port = {}\n", self.port)) + more
    }

    /// Where it listens on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How many connections were made to it.
    pub(crate) fn connections(&self) -> usize {
        self.connections.lock().expect("nobody panicked").len()
    }

    /// How many queries have arrived.
    pub(crate) fn queries(&self) -> usize {
        self.queries.load(SeqCst)
    }

    /// What it answers to a query on a connection.
    pub(crate) fn row(connection: usize) -> Vec<u8> {
        let mut out = Vec::new();
        backend::row_description(&mut out, [("number", 25)].into_iter());
        backend::data_row(&mut out, [Some(&*connection.to_string())].into_iter());
        backend::command_complete(&mut out, "SELECT 1");
        backend::ready_for_query(&mut out, TransactionStatus::Idle);
        out
    }

    /// Closes a connection.
    pub(crate) fn end(&self, connection: usize) {
        let connections = self.connections.lock().expect("nobody panicked");
        connections[connection].shutdown(Shutdown::Both).expect("the pool is there");
    }

    /// Says something on a connection, asked or not.
    pub(crate) fn say(&self, connection: usize, bytes: &[u8]) {
        let mut connections = self.connections.lock().expect("nobody panicked");
        connections[connection].write_all(bytes).expect("the pool is there");
    }
}

fn server_config(alpn: &[&str]) -> Arc<ServerConfig> {
    let folder = Cluster::shared().path();
    let certificate = CertificateDer::from_pem_file(folder.join("pool.pem")).expect("a file");
    let key = PrivateKeyDer::from_pem_file(folder.join("pool.key")).expect("a file");
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    let config = builder.with_no_client_auth().with_single_cert(vec![certificate], key);
    let mut config = config.expect("a key that fits");
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// What a cancel request with a key of protocol 3.0 has behind its length.
const CANCEL_REQUEST_BYTES: usize = 12;

/// Until the pool has gone.
fn serve(
    mut stream: impl Read + Write,
    number: usize,
    manner: &Manner,
    queries: &AtomicUsize,
) -> Option<()> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut startup = vec![0; u32::from_be_bytes(length) as usize - 4];
    stream.read_exact(&mut startup).ok()?;
    if startup.len() == CANCEL_REQUEST_BYTES {
        let until_it_ends = stream.read(&mut length);
        return until_it_ends.ok().map(|_| ());
    }
    if let Some(refusal) = &manner.refusal {
        return stream.write_all(refusal).ok();
    }
    let mut out = Vec::new();
    backend::authentication_ok(&mut out);
    for (name, value) in [("server_version", &*manner.version), ("client_encoding", "UTF8")] {
        backend::parameter_status(&mut out, name.as_bytes(), value.as_bytes());
    }
    if manner.has_key {
        backend::backend_key_data(&mut out, 77, &[7; 4]);
    }
    backend::ready_for_query(&mut out, TransactionStatus::Idle);
    stream.write_all(&out).ok()?;
    let (mut input, mut piece) = (Vec::new(), [0; 1024]);
    loop {
        while let Some(frame) = Frame::<FrontendTag>::parse(&input).ok()? {
            let mut out = Vec::new();
            match frame.tag {
                FrontendTag::Query => {
                    queries.fetch_add(1, SeqCst);
                    if !frame.body.starts_with(manner.ignored.as_bytes()) {
                        match &manner.reply {
                            Some(reply) => {
                                out.extend_from_slice(reply);
                                backend::ready_for_query(&mut out, TransactionStatus::Idle);
                            }
                            None => out = Fake::row(number),
                        }
                    }
                }
                FrontendTag::Parse if manner.is_doomed => return None,
                FrontendTag::Parse => backend::parse_complete(&mut out),
                FrontendTag::Bind => backend::bind_complete(&mut out),
                FrontendTag::Execute => backend::command_complete(&mut out, "SELECT 1"),
                FrontendTag::Sync => backend::ready_for_query(&mut out, TransactionStatus::Idle),
                _ => {}
            }
            stream.write_all(&out).ok()?;
            let length = frame.bytes.len();
            input.drain(..length);
        }
        let count = stream.read(&mut piece).ok().filter(|count| *count > 0)?;
        input.extend_from_slice(&piece[..count]);
    }
}
