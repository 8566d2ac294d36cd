//! A keep-alive request in steady state allocates nothing on its shard's thread.
#![expect(unsafe_code, reason = "a global allocator that counts is an unsafe trait")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "the fixture serves other tests too")]

#[path = "../net/tests/tls/authority.rs"]
mod authority;
#[path = "traffic/fixture.rs"]
mod fixture;
#[path = "traffic/http2/frames.rs"]
mod frames;
#[path = "traffic/origin.rs"]
mod origin;
#[path = "traffic/wire.rs"]
mod wire;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    any::Any,
    cell::Cell,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use bs9_config::{BindAddress, ListenerProtocol};
use bs9_net::{CompileContext, CompileError, ControlContext, Engine, Shard, ShardEngine, Snapshot};
use bs9_proxy::ProxyEngine;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use authority::Authority;
use fixture::{Proxy, Site};
use origin::Origin;
use wire::{PATIENCE, get, ok, post};

const WARM_UP: usize = 200;
const MEASURED: usize = 1_000;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

struct Counting;

fn count() {
    // A thread that is ending has no flag any more.
    if COUNTED.try_with(Cell::get).unwrap_or(false) {
        ALLOCATIONS.fetch_add(1, SeqCst);
    }
}

// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(block, layout, new_size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The proxy's engine, but for marking the threads of its shards.
struct Marked(Arc<ProxyEngine>);

impl Engine for Marked {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn serves(&self, protocol: &ListenerProtocol) -> bool {
        self.0.serves(protocol)
    }

    fn compile(
        &self,
        context: &CompileContext<'_>,
    ) -> Result<Arc<dyn Any + Send + Sync>, CompileError> {
        self.0.compile(context)
    }

    fn start_shard(&self, shard: &Rc<Shard>, engine: usize) -> Rc<dyn ShardEngine> {
        COUNTED.set(true);
        self.0.start_shard(shard, engine)
    }

    fn start_control(&self, context: &ControlContext) {
        self.0.start_control(context);
    }

    fn snapshot_changed(&self, context: &ControlContext, snapshot: &Arc<Snapshot>) {
        self.0.snapshot_changed(context, snapshot);
    }
}

/// One test, so that nothing else runs in this process meanwhile.
#[test]
fn a_request_in_steady_state_allocates_nothing_on_its_shard() {
    let origin = Origin::answering(|request| match request.target() {
        "/chunked" => {
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".to_vec()
        }
        "/large" => ok(&"large".repeat(20_000)),
        _ => ok("small"),
    });
    let more = "[[listeners.web.routes]]\npath = \"/fixed\"\nrespond = { body = \"fixed\" }\n\
        [[listeners.web.routes]]\npath = \"/users/{id}/\"\nclusters = [{ cluster = \"app\" }]\n\
        split_by = { cookie = \"session\" }\nrewrite = { path = \"/{id}/{rest}\", host = \"a.{host}\" }\n\
        [[listeners.web.routes]]\npath = \"~^/items/(?<item>[0-9]+)$\"\ncluster = \"app\"\n\
        query = { v = { regex = \"^a+$\" } }\nrewrite = { path = \"/{item}\" }\n\
        request_headers = { set = { x-env = \"test\" }, add = { x-tag = \"1\" } }\n\
        response_headers = { set = { cache-control = \"no-store\" }, remove = [\"server\"] }\n";
    // Shards of their own, so that what one kind of request left behind helps no other.
    for (name, request) in [
        ("GET", get("/")),
        ("POST", post("/", "a small body")),
        ("chunked response", get("/chunked")),
        ("large response", get("/large")),
        ("fixed response", get("/fixed")),
        ("parameters", get("/users/42/x?q=1")),
        ("expressions", get("/items/4711?v=%61a")),
    ] {
        let toml = Site { rest: more.to_owned(), ..Site::of([origin.address()]) }.toml();
        let proxy = Proxy::start_as(&toml, |engine| Arc::new(Marked(engine)));
        let mut clients: Vec<_> = (0..4).map(|_| proxy.web()).collect();
        measure(name, |number| {
            let client = &mut clients[number % 4];
            client.send(&request);
            assert_eq!(client.response().status(), 200);
        });
    }
    by_http2(&origin);
    over_tls(&origin);
    with_access_log(&origin);
}

/// Two requests at a time on one connection.
fn by_http2(origin: &Origin) {
    let toml = Site::of([origin.address()]).toml();
    let proxy = Proxy::start_as(&toml, |engine| Arc::new(Marked(engine)));
    let mut client = frames::Raw::open(&proxy);
    client.send(frames::frame(frames::WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes()));
    let mut stream = 1;
    measure("HTTP/2", |_| {
        client.send([frames::get(stream), frames::get(stream + 2)].concat());
        stream += 4;
        for _ in 0..4 {
            let frame = client.next_of(&[frames::HEADERS, frames::DATA]);
            match frame.kind {
                frames::HEADERS => assert_eq!(frame.status(), 200),
                _ => assert_eq!(frame.payload, b"small"),
            }
        }
    });
}

/// Lines are written into buffers that come back from their writer: what is allocated follows the
/// time, not the requests.
fn with_access_log(origin: &Origin) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let listener =
        format!("request_id = true\naccess_log = {{ output = \"file:{}\" }}", path.display());
    let site = Site { listener: listener.leak(), ..Site::of([origin.address()]) };
    let proxy = Proxy::start_as(&site.toml(), |engine| Arc::new(Marked(engine)));
    let mut client = proxy.web();
    let mut ask = |_| {
        client.send(get("/"));
        assert_eq!(client.response().status(), 200);
    };
    (0..WARM_UP).for_each(&mut ask);
    let warm = ALLOCATIONS.load(SeqCst);
    (0..MEASURED).for_each(&mut ask);
    let allocations = ALLOCATIONS.load(SeqCst) - warm;
    assert!(allocations * 20 < MEASURED, "{allocations} allocations in {MEASURED} logged requests");
}

fn measure(name: &str, mut ask: impl FnMut(usize)) {
    let before = ALLOCATIONS.load(SeqCst);
    (0..WARM_UP).for_each(&mut ask);
    let warm = ALLOCATIONS.load(SeqCst);
    assert!(warm > before, "{name}: nothing is counted at all");
    (0..MEASURED).for_each(&mut ask);
    let allocations = ALLOCATIONS.load(SeqCst) - warm;
    assert_eq!(allocations, 0, "{name}: allocations in {MEASURED} requests");
}

/// TLS towards the client and towards the endpoint, which is another proxy.
fn over_tls(origin: &Origin) {
    let folder = tempfile::tempdir().unwrap();
    let (folder, authority) = (folder.path(), Authority::new());
    authority.write(folder);
    authority.issue(folder, "site", &["localhost"]);
    let file = |name: &str| folder.join(name);
    let listener = format!(
        "http2 = false\n[listeners.web.tls]\ncertificates = [{{ certificate = {:?}, key = {:?} }}]",
        file("site.pem"),
        file("site.key")
    );
    let inner = Site { listener: listener.clone().leak(), ..Site::of([origin.address()]) }.start();
    let cluster = format!("tls = {{ ca = {:?}, server_name = \"localhost\" }}", file("ca.pem"));
    let site = Site {
        listener: listener.leak(),
        cluster: cluster.leak(),
        ..Site::of([inner.address("web")])
    };
    for target in ["/", "/chunked", "/large"] {
        let proxy = Proxy::start_as(&site.toml(), |engine| Arc::new(Marked(engine)));
        let mut clients: Vec<_> =
            (0..4).map(|_| sealed(&proxy.address("web"), &file("ca.pem"))).collect();
        let wanted: &[u8] = match target {
            "/chunked" => b"0\r\n\r\n",
            "/large" => b"large",
            _ => b"small",
        };
        let least = if target == "/large" { 100_000 } else { 0 };
        let mut room = vec![0; 1 << 20];
        measure(target, |number| {
            let client = &mut clients[number % 4];
            client.write_all(get(target).as_bytes()).unwrap();
            let mut read = 0;
            while read < least || !room[..read].ends_with(wanted) {
                read += client.read(&mut room[read..]).unwrap();
            }
        });
    }
}

/// A client that speaks TLS.
fn sealed(address: &BindAddress, ca: &Path) -> StreamOwned<ClientConnection, TcpStream> {
    let BindAddress::Tcp(address) = address else { panic!("a TCP address") };
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    StreamOwned::new(connection, socket)
}
