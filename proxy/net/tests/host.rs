//! The host with an engine that echoes: addresses, limits, mail, reload and drain, apart from any protocol.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    any::Any,
    future::Future,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use bs9_config::{BindAddress, Config, ListenerProtocol};
use bs9_net::{
    CompileContext, CompileError, Connection, ControlContext, Engine, Host, Inherited,
    PrepareError, Shard, ShardEngine, ShardMail, Snapshot, StartError,
};
use socket2::{Domain, Socket, Type};
use tokio::{
    runtime::{Builder, LocalOptions},
    task::spawn_blocking,
};

/// How long any wait of a test may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Echoes bytes; the first one of a connection is the shard's number instead.
#[derive(Default)]
struct Echo {
    refuses: AtomicBool,
    control_started: AtomicUsize,
    generations: Mutex<Vec<u64>>,
    shard_generations: Arc<AtomicUsize>,
    mail: Arc<Mutex<Vec<(usize, String)>>>,
    post: Mutex<Option<ShardMail>>,
}

impl Engine for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn serves(&self, protocol: &ListenerProtocol) -> bool {
        matches!(protocol, ListenerProtocol::Http(_))
    }

    fn compile(
        &self,
        context: &CompileContext<'_>,
    ) -> Result<Arc<dyn Any + Send + Sync>, CompileError> {
        if self.refuses.load(SeqCst) {
            return Err(CompileError { key: "k".to_owned(), message: "no".to_owned() });
        }
        let before = context.previous::<u64>().map_or(0, |count| *count);
        Ok(Arc::new(before + 1))
    }

    fn start_shard(&self, shard: &Rc<Shard>, engine: usize) -> Rc<dyn ShardEngine> {
        *self.post.lock().unwrap() = Some(shard.mail().clone());
        Rc::new(EchoShard {
            shard: Rc::clone(shard),
            engine,
            mail: Arc::clone(&self.mail),
            generations: Arc::clone(&self.shard_generations),
        })
    }

    fn start_control(&self, _context: &ControlContext) {
        self.control_started.fetch_add(1, SeqCst);
    }

    fn snapshot_changed(&self, context: &ControlContext, snapshot: &Arc<Snapshot>) {
        let part: Arc<u64> = snapshot.part(context.engine);
        self.generations.lock().unwrap().push(*part);
    }
}

struct EchoShard {
    shard: Rc<Shard>,
    engine: usize,
    mail: Arc<Mutex<Vec<(usize, String)>>>,
    generations: Arc<AtomicUsize>,
}

impl ShardEngine for EchoShard {
    fn serve(&self, connection: Connection) {
        let shard = Rc::clone(&self.shard);
        let other = (shard.index() + 1) % shard.mail().shards();
        let letter = Box::new(format!("from {}", shard.index()));
        assert!(shard.mail().send(other, self.engine, letter).is_ok());
        bs9_net::spawn(async move {
            let _either_side_ended_it = echo(shard, connection).await;
        });
    }

    fn snapshot_changed(&self) {
        self.generations.fetch_add(1, SeqCst);
    }

    fn drain(&self) {}

    fn mail(&self, message: Box<dyn Any + Send>) {
        let message = match message.downcast::<Errand>() {
            Ok(errand) => return bs9_net::spawn(run(*errand)),
            Err(message) => message,
        };
        let letter = message.downcast::<String>().unwrap();
        self.mail.lock().unwrap().push((self.shard.index(), *letter));
    }
}

/// What a test has a shard do, on its thread.
type Errand = Box<dyn FnOnce() + Send>;

async fn run(errand: Errand) {
    errand();
}

/// Tells its shard's number, then sends back what comes.
async fn echo(shard: Rc<Shard>, connection: Connection) -> Option<()> {
    let timer = shard.timer();
    let number = [b'0' + shard.index() as u8];
    connection.stream.write_all(&number).await.ok()?;
    loop {
        timer.set(PATIENCE);
        timer.guard_idle_while(connection.stream.readable(), || true).await.ok()?;
        let mut buffer = shard.buffers().take();
        if connection.stream.read(&mut buffer).await.ok()? == 0 {
            return Some(());
        }
        connection.stream.write_all(buffer.filled()).await.ok()?;
    }
}

/// Has a shard run an errand.
async fn send(engine: &Echo, shard: usize, errand: impl FnOnce() + Send + 'static) {
    eventually("a shard has started", || engine.post.lock().unwrap().is_some()).await;
    let post = engine.post.lock().unwrap().clone().expect("a shard has started");
    let errand: Errand = Box::new(errand);
    assert!(post.send(shard, 0, Box::new(errand)).is_ok());
}

/// Has a shard stand still until what it gives is dropped. Returns when it does.
async fn stop(engine: &Echo, shard: usize) -> std::sync::mpsc::Sender<()> {
    let (let_go, wait) = std::sync::mpsc::channel::<()>();
    let (stands, is_reached) = tokio::sync::oneshot::channel();
    send(engine, shard, move || {
        let _nobody_waits = stands.send(());
        let _let_go = wait.recv_timeout(PATIENCE);
    })
    .await;
    is_reached.await.expect("the shard runs the errand");
    let_go
}

fn config(shards: usize, listeners: &[(&str, &str)]) -> Arc<Config> {
    limited(shards, listeners, "")
}

fn limited(shards: usize, listeners: &[(&str, &str)], more: &str) -> Arc<Config> {
    let mut toml = format!("[runtime]\nshards = {shards}\npin = false\n");
    for (name, bind) in listeners {
        toml.push_str(&format!(
            "[listeners.{name}]\nbind = [\"{bind}\"]\nprotocol = \"http\"\n{more}\n\
             [[listeners.{name}.routes]]\nrespond = {{}}\n"
        ));
    }
    Arc::new(bs9_config::parse_str("test.toml", &toml).unwrap_or_else(|report| panic!("{report}")))
}

fn on_a_control_thread<F: Future>(work: F) -> F::Output {
    let options = LocalOptions::default();
    let runtime = Builder::new_current_thread().enable_all().build_local(options).unwrap();
    runtime.block_on(work)
}

fn start(config: &Arc<Config>) -> (Host, Arc<Echo>) {
    let engine = Arc::new(Echo::default());
    let host = Host::start(Arc::clone(config), vec![Arc::clone(&engine) as Arc<dyn Engine>]);
    (host.unwrap(), engine)
}

fn addresses(host: &Host) -> Vec<BindAddress> {
    host.listener_reports().into_iter().flat_map(|report| report.addresses).collect()
}

fn tcp(host: &Host, listener: usize) -> SocketAddr {
    match &addresses(host)[listener] {
        BindAddress::Tcp(address) => *address,
        BindAddress::Unix(path) => panic!("{}", path.display()),
    }
}

/// Runs blocking client code while the control thread goes on.
async fn client<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    spawn_blocking(work).await.unwrap()
}

fn converse(mut stream: impl Read + Write) -> usize {
    let mut byte = [0];
    stream.read_exact(&mut byte).unwrap();
    let shard = usize::from(byte[0] - b'0');
    stream.write_all(b"hello").unwrap();
    let mut echo = [0; 5];
    stream.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"hello");
    shard
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn connect_unix(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn is_closed(mut stream: TcpStream) -> bool {
    stream.read(&mut [0]).map_or(true, |count| count == 0)
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[test]
fn every_shard_accepts_and_mail_crosses_between_them() {
    on_a_control_thread(async {
        let (mut host, engine) = start(&config(2, &[("a", "127.0.0.1:0")]));
        let address = tcp(&host, 0);
        assert_ne!(address.port(), 0);
        let served = client(move || {
            let mut served = [0; 2];
            for _ in 0..1_000 {
                served[converse(connect(address))] += 1;
                if served.iter().all(|count| *count > 2) {
                    return served;
                }
            }
            panic!("one shard gets nothing: {served:?}")
        });
        let served = served.await;
        let reports = host.shard_reports();
        for shard in 0..2 {
            assert_eq!(reports[shard].accepted_connections, served[shard]);
            assert_eq!(reports[shard].core, None);
        }
        let mail = Arc::clone(&engine.mail);
        let total = served.iter().sum::<u64>() as usize;
        eventually("all mail has come", || mail.lock().unwrap().len() == total).await;
        for (shard, letter) in &*mail.lock().unwrap() {
            assert_eq!(*letter, format!("from {}", 1 - shard));
        }
        eventually("nothing is open", || {
            host.shard_reports().iter().all(|report| report.open_connections == 0)
        })
        .await;
        assert_eq!(engine.control_started.load(SeqCst), 1);
        host.drain(PATIENCE).await;
    });
}

/// Listening sockets as the service manager makes them: several of one address.
fn sockets_of_a_service_manager(count: usize) -> (SocketAddr, Vec<OwnedFd>) {
    let mut address = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut sockets = Vec::new();
    for _ in 0..count {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(16).unwrap();
        address = socket.local_addr().unwrap().as_socket().unwrap();
        sockets.push(socket.into());
    }
    (address, sockets)
}

#[test]
fn sockets_of_the_service_manager_outlive_a_host_and_nobody_is_refused() {
    on_a_control_thread(async {
        for (made, shards) in [(1, 2), (3, 2)] {
            let (address, kept) = sockets_of_a_service_manager(made);
            let config = config(shards, &[("a", &address.to_string())]);
            let engine = || -> Vec<Arc<dyn Engine>> { vec![Arc::new(Echo::default())] };
            let begin = || {
                let handed = kept.iter().map(|socket| socket.try_clone().unwrap());
                let inherited = Inherited::from_sockets(handed).unwrap();
                Host::start_with(Arc::clone(&config), engine(), inherited).unwrap()
            };
            let mut host = begin();
            assert_eq!(tcp(&host, 0), address);
            client(move || (0..50).for_each(|_| _ = converse(connect(address)))).await;
            assert!(host.turn_of_every_shard().await);
            host.drain(PATIENCE).await;
            // Nobody serves now, and whoever connects waits.
            let waiting: Vec<_> = (0..20).map(|_| connect(address)).collect();
            let mut host = begin();
            client(move || waiting.into_iter().for_each(|one| _ = converse(one))).await;

            // Given up and wanted again.
            host.reload(limited(shards, &[("b", "127.0.0.1:0")], "")).await.unwrap();
            host.reload(Arc::clone(&config)).await.unwrap();
            client(move || (0..50).for_each(|_| _ = converse(connect(address)))).await;
            host.drain(PATIENCE).await;
        }
    });
}

#[test]
fn a_taken_port_and_a_refusing_engine_keep_the_host_from_starting() {
    on_a_control_thread(async {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let wanted = config(1, &[("a", &taken.local_addr().unwrap().to_string())]);
        let engine = Arc::new(Echo::default());
        let begin = || Host::start(Arc::clone(&wanted), vec![Arc::clone(&engine) as _]);
        assert!(matches!(begin().err(), Some(StartError::Prepare(PrepareError::Bind(_)))));
        drop(taken);
        engine.refuses.store(true, SeqCst);
        assert!(matches!(begin().err(), Some(StartError::Prepare(PrepareError::Compile(_)))));
        let nobody = Host::start(Arc::clone(&wanted), Vec::new()).err();
        assert!(matches!(
            nobody,
            Some(StartError::Prepare(PrepareError::NoEngine { protocol: "http", .. }))
        ));
        engine.refuses.store(false, SeqCst);
        begin().unwrap().drain(PATIENCE).await;
    });
}

#[test]
fn a_reload_hands_on_the_previous_part_and_tells_every_shard() {
    on_a_control_thread(async {
        let wanted = config(2, &[("a", "127.0.0.1:0")]);
        let (mut host, engine) = start(&wanted);
        let before = addresses(&host);
        for _ in 0..3 {
            host.reload(Arc::clone(&wanted)).await.unwrap();
        }
        engine.refuses.store(true, SeqCst);
        assert!(host.reload(Arc::clone(&wanted)).await.is_err());
        assert_eq!(*engine.generations.lock().unwrap(), [1, 2, 3, 4]);
        assert_eq!(engine.shard_generations.load(SeqCst), 3 * 2);
        assert_eq!(host.snapshots().load().generation.0, 4);
        assert_eq!(addresses(&host), before);
        host.drain(PATIENCE).await;
        assert!(host.is_draining());
        assert!(host.reload(wanted).await.is_err());
    });
}

#[test]
fn each_listener_at_port_0_has_one_port_for_all_shards() {
    on_a_control_thread(async {
        let (mut host, _) = start(&config(2, &[("a", "127.0.0.1:0")]));
        let first = tcp(&host, 0);
        let open = connect(first);
        let both = config(2, &[("a", "127.0.0.1:0"), ("b", "127.0.0.1:0")]);
        let summary = host.reload(both).await.unwrap();
        let second = tcp(&host, 1);
        assert_eq!(summary.opened, [second.to_string()]);
        assert!(second != first && second.port() != 0);
        client(move || {
            for _ in 0..10 {
                converse(connect(second));
            }
            // Not disturbed by the reload.
            converse(open);
        })
        .await;
        host.drain(PATIENCE).await;
    });
}

#[test]
fn a_refused_reload_leaves_every_address_as_it_was() {
    on_a_control_thread(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let bind = format!("unix:{}", path.display());
        let (mut host, _) = start(&config(2, &[("a", &bind), ("c", "127.0.0.1:0")]));
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken_address = taken.local_addr().unwrap().to_string();
        let moved = config(2, &[("b", &bind), ("d", &taken_address)]);
        assert!(host.reload(Arc::clone(&moved)).await.is_err());
        let at = path.clone();
        client(move || converse(connect_unix(&at))).await;
        let kept = tcp(&host, 1);
        client(move || converse(connect(kept))).await;

        drop(taken);
        let summary = host.reload(moved).await.unwrap();
        // The Unix socket passed from one to the other.
        assert_eq!((summary.opened, summary.closed), (vec![taken_address], vec![kept.to_string()]));
        let at = path.clone();
        client(move || converse(connect_unix(&at))).await;
        eventually("the old one refuses", || TcpStream::connect(kept).is_err()).await;
        host.drain(PATIENCE).await;
        assert!(!path.exists(), "the socket file goes with the host");
    });
}

#[test]
fn a_limit_closes_what_is_beyond_it() {
    on_a_control_thread(async {
        let listeners = [("a", "127.0.0.1:0")];
        let (mut host, _) = start(&limited(2, &listeners, "max_connections = 3"));
        let address = tcp(&host, 0);
        let listener = Arc::clone(&host.listener_reports()[0].listener);
        let inside = client(move || {
            let inside: Vec<_> = (0..3).map(|_| connect(address)).collect();
            for stream in &inside {
                converse(stream);
            }
            assert!(is_closed(connect(address)));
            inside
        });
        let inside = inside.await;
        assert_eq!((listener.open_connections(), listener.refused_connections()), (3, 1));
        drop(inside);
        eventually("there is room", || listener.open_connections() == 0).await;
        client(move || converse(connect(address))).await;
        assert_eq!(listener.accepted_connections(), 4);
        host.drain(PATIENCE).await;
    });
}

#[test]
fn a_drain_ends_idle_waits_and_closes_the_sockets() {
    on_a_control_thread(async {
        let (mut host, _) = start(&config(2, &[("a", "127.0.0.1:0")]));
        let address = tcp(&host, 0);
        let open = client(move || {
            let open: Vec<_> = (0..8).map(|_| connect(address)).collect();
            open.iter().for_each(|stream| {
                converse(stream);
            });
            open
        });
        let open = open.await;
        host.drain(PATIENCE).await;
        client(move || assert!(open.into_iter().all(is_closed))).await;
        assert!(TcpStream::connect(address).is_err());
        assert!(addresses(&host).is_empty());
    });
}

#[test]
fn a_shard_that_stands_still_is_noticed_with_where_it_was() {
    on_a_control_thread(async {
        let (mut host, engine) = start(&config(2, &[("a", "127.0.0.1:0")]));
        let let_go = stop(&engine, 1).await;
        let vitals = |shard: usize| host.shard_reports()[shard].vitals.clone();
        eventually("it is noticed", || vitals(1).is_stalled()).await;
        let stall = vitals(1).stalls().last.expect("it was noticed");
        assert!(stall.place.ends_with("host::run"), "{stall:?}");
        assert!(stall.thread.starts_with("sleeping"), "{stall:?}");
        assert_eq!((vitals(1).stalls().total, stall.lasted), (1, None));
        assert!(vitals(0).stalls().total == 0 && !vitals(0).is_stalled());
        drop(let_go);
        eventually("it goes on", || !vitals(1).is_stalled()).await;
        let stalls = vitals(1).stalls();
        let lasted = stalls.last.and_then(|stall| stall.lasted).expect("it has ended");
        assert!(stalls.total == 1 && lasted >= Duration::from_secs(1), "{lasted:?}");
        host.drain(Duration::ZERO).await;
    });
}

#[test]
fn a_shard_stays_on_the_core_it_is_pinned_to() {
    on_a_control_thread(async {
        let toml = "[runtime]\nshards = 1\npin = PIN\n[listeners.a]\nbind = [\"127.0.0.1:0\"]\n\
            protocol = \"http\"\nroutes = [{ respond = {} }]\n";
        let allowed = || {
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
            line.unwrap().trim().to_owned()
        };
        let everywhere = allowed();
        for pin in ["true", "false"] {
            let config = bs9_config::parse_str("test.toml", &toml.replace("PIN", pin)).unwrap();
            let (mut host, engine) = start(&Arc::new(config));
            let (tell, told) = tokio::sync::oneshot::channel();
            send(&engine, 0, move || tell.send(allowed()).unwrap()).await;
            let (there, core) = (told.await.unwrap(), host.shard_reports()[0].core);
            assert_eq!(core.is_some(), pin == "true");
            assert_eq!(there, core.map_or_else(|| everywhere.clone(), |core| core.to_string()));
            host.drain(Duration::ZERO).await;
        }
    });
}

#[test]
fn no_more_wait_to_be_accepted_than_the_backlog_says() {
    on_a_control_thread(async {
        let config = limited(1, &[("a", "127.0.0.1:0")], "backlog = 2");
        let (mut host, engine) = start(&config);
        let address = tcp(&host, 0);
        let let_go = stop(&engine, 0).await;
        // One after the other: the kernel would let more of those in that come together.
        let waiting = spawn_blocking(move || -> Vec<TcpStream> {
            let connect = |_| TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok();
            (0..8).map_while(connect).collect()
        });
        let waiting = waiting.await.unwrap();
        // The kernel takes one more than it was told.
        assert!((2..=3).contains(&waiting.len()), "{} of 8", waiting.len());
        drop(let_go);
        host.drain(Duration::ZERO).await;
    });
}
