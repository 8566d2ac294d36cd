//! Thousands of idle clients of a pool, and a crowd of busy ones on a few servers: everyone is served,
//! and nobody at the others' expense.
//!
//! `make test` lets 500 idle and 200 busy clients at 5 servers, `make deep` (`BS9_DEEP=1`) 10,000 and
//! 2,000 at 20. How long they wait is printed, and not judged: that is the bench's.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and tells what it measured"
)]

mod fixture;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use fixture::{DataPlane, postgres::Cluster};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

struct Size {
    idle: usize,
    busy: usize,
    servers: usize,
    /// Answers, on average, of each busy client.
    each: u64,
}

impl Size {
    fn of_this_run() -> Self {
        match std::env::var_os("BS9_DEEP") {
            Some(_) => Self { idle: 10_000, busy: 2_000, servers: 20, each: 50 },
            None => Self { idle: 500, busy: 200, servers: 5, each: 50 },
        }
    }
}

/// A client that knows as much of the protocol as it needs.
struct Client(TcpStream);

impl Client {
    async fn log_in(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut this = Self(stream);
        let parameters = b"\0\x03\0\0user\0app\0database\0app\0\0";
        let mut packet = (parameters.len() as u32 + 4).to_be_bytes().to_vec();
        packet.extend_from_slice(parameters);
        this.0.write_all(&packet).await.unwrap();
        this.rows_until_ready().await;
        this
    }

    /// Asks for a number, and checks that it is that.
    async fn ask(&mut self, number: u64) {
        let text = format!("select {number} from pg_sleep(0.0005)\0");
        let mut message = vec![b'Q'];
        message.extend((text.len() as u32 + 4).to_be_bytes());
        message.extend(text.as_bytes());
        self.0.write_all(&message).await.unwrap();
        let rows = self.rows_until_ready().await;
        // One column; its length; its text.
        assert_eq!(rows.len(), 1);
        assert_eq!(&rows[0][6..], number.to_string().as_bytes(), "another one's row");
    }

    async fn rows_until_ready(&mut self) -> Vec<Vec<u8>> {
        let mut rows = Vec::new();
        loop {
            let tag = self.0.read_u8().await.unwrap();
            let length = self.0.read_u32().await.unwrap() as usize;
            let mut body = vec![0; length - 4];
            self.0.read_exact(&mut body).await.unwrap();
            match tag {
                b'D' => rows.push(body),
                b'Z' => return rows,
                b'E' => panic!("{}", String::from_utf8_lossy(&body)),
                _ => {}
            }
        }
    }
}

#[test]
fn a_crowd_is_served_alike() {
    let size = Size::of_this_run();
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let cluster = Cluster::start();
    cluster.rule("local all all trust\nhost all all all trust\n");
    let data_plane = DataPlane::serve(&format!(
        "[listeners.db]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"postgres\"\nbacklog = 4096\n\
         max_connections = 20000\n\
         [postgres]\nauth = \"trust\"\nmax_client_connections = 20000\nmax_waiting_clients = 20000\n\
         wait_timeout = \"10m\"\n[postgres.users.app]\n\
         [postgres.databases.app]\nhost = \"127.0.0.1\"\nport = {}\npool_size = {}\n",
        cluster.port(),
        size.servers
    ));
    let address = data_plane.running.address("db");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (served, mut waits) = runtime.block_on(async {
        let idle = connect(address, size.idle).await;
        let outcome = keep_busy(connect(address, size.busy).await, size.each).await;
        // Those who did nothing can still do something.
        let mut idle: Vec<Client> = idle;
        for client in idle.iter_mut().step_by(97) {
            client.ask(7).await;
        }
        outcome
    });
    let (least, most) = (*served.iter().min().unwrap(), *served.iter().max().unwrap());
    waits.sort_unstable();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize];
    println!(
        "{} idle and {} busy clients on {} servers: {} answers, {least} to {most} each; \
         waits p1 {:?}, p50 {:?}, p99 {:?}, longest {:?}",
        size.idle,
        size.busy,
        size.servers,
        waits.len(),
        at(0.01),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    assert!(least * 2 >= size.each && most <= size.each * 2, "{least} to {most} answers each");
    let status = data_plane.running.status();
    let pool = &status["pools"][0];
    assert!(pool["server_connects_total"].as_u64().unwrap() <= size.servers as u64, "{pool}");
    assert_eq!(pool["servers_closed_dirty_total"], 0, "{pool}");
}

async fn connect(address: SocketAddr, count: usize) -> Vec<Client> {
    let mut all = Vec::with_capacity(count);
    // Not all at once: the listener's queue is as long as the system lets it be.
    while all.len() < count {
        let some = (0..100.min(count - all.len())).map(|_| Client::log_in(address));
        let mut some: JoinSet<Client> = some.collect();
        while let Some(client) = some.join_next().await {
            all.push(client.unwrap());
        }
    }
    all
}

/// All ask on and on until there are enough answers. How many each got, and how long each took.
async fn keep_busy(clients: Vec<Client>, each: u64) -> (Vec<u64>, Vec<Duration>) {
    let enough = clients.len() as u64 * each;
    let answers = Arc::new(AtomicU64::new(0));
    let mut all = JoinSet::new();
    for (number, mut client) in clients.into_iter().enumerate() {
        let answers = Arc::clone(&answers);
        all.spawn(async move {
            let (mut served, mut waits) = (0, Vec::new());
            while answers.load(Relaxed) < enough {
                let before = Instant::now();
                client.ask(number as u64 * 1_000_000 + served).await;
                waits.push(before.elapsed());
                served += 1;
                answers.fetch_add(1, Relaxed);
            }
            (served, waits)
        });
    }
    let (mut served, mut waits) = (Vec::new(), Vec::new());
    while let Some(one) = all.join_next().await {
        let (count, took) = one.unwrap();
        served.push(count);
        waits.extend(took);
    }
    (served, waits)
}
