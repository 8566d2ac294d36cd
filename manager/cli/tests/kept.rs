//! Connections that are kept: idle ones of clients and WebSockets live through reloads, and cost what they cost.
//!
//! `BS9_DEEP=1` (`make deep`) makes it 10,000 connections, 1,000 WebSockets and 100 reloads.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and tells what it measured"
)]

mod fixture;

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
};

use bs9_api::client::DataPlaneClient;
use fixture::{DEADLINE, DataPlane, eventually};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many of each.
#[derive(Debug, Clone, Copy)]
struct Scale {
    connections: usize,
    web_sockets: usize,
    reloads: usize,
}

/// Files that neither process needs for connections.
const SPARE_FILES: usize = 500;
/// What an idle connection of a client may cost (docs/PERFORMANCE.md), besides what the allocator
/// takes in steps, which is nothing among thousands and seen among few.
const IDLE_KIB: u64 = 4;
const STEPS_KIB: u64 = 4 * 1024;

impl Scale {
    fn of_this_run() -> Self {
        let scale = if std::env::var_os("BS9_DEEP").is_some() {
            Self { connections: 10_000, web_sockets: 1_000, reloads: 100 }
        } else {
            Self { connections: 2_000, web_sockets: 200, reloads: 20 }
        };
        // Either process holds both ends of a WebSocket.
        let needed = (SPARE_FILES + 2 * scale.web_sockets + scale.connections) as u64;
        // For the data plane as well, which inherits it. Beyond the maximum only root may go.
        let limit = getrlimit(Resource::Nofile);
        let most = limit.maximum.map(|most| most.max(needed));
        if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }) {
            panic!(
                "this test needs {needed} open files of the {:?} that are allowed ({error}): \
                 raise the hard limit (`ulimit -Hn {needed}`)",
                limit.maximum
            );
        }
        scale
    }
}

/// Answers every request with `here`; agrees to every WebSocket, and sends back what comes.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    // Ends with the test's process.
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream));
            }
        });
    });
    address
}

async fn converse(mut stream: tokio::net::TcpStream) -> std::io::Result<()> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    stream.set_nodelay(true)?;
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        while let Some(end) = bytes.windows(4).position(|window: &[u8]| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            bytes.drain(..end + 4);
            if head.contains("upgrade: websocket") {
                stream.write_all(SWITCH.as_bytes()).await?;
                loop {
                    stream.write_all(&bytes).await?;
                    bytes.clear();
                    match stream.read(&mut piece).await? {
                        0 => return Ok(()),
                        count => bytes.extend_from_slice(&piece[..count]),
                    }
                }
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere").await?;
        }
        match stream.read(&mut piece).await? {
            0 => return Ok(()),
            count => bytes.extend_from_slice(&piece[..count]),
        }
    }
}

/// Key and answer are those of RFC 6455 section 1.3.
const ASK: &str = "GET /chat HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, DEADLINE).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Asks on a kept connection.
fn is_answered(mut stream: &TcpStream) -> std::io::Result<()> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")?;
    let mut received = Vec::new();
    let mut piece = [0; 512];
    while !received.ends_with(b"\r\n\r\nhere") {
        match stream.read(&mut piece)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => received.extend_from_slice(&piece[..count]),
        }
    }
    let good = received.starts_with(b"HTTP/1.1 200 OK\r\n");
    if good { Ok(()) } else { Err(std::io::Error::other(String::from_utf8_lossy(&received))) }
}

/// A connection that was used once, and is idle.
fn kept_open(address: SocketAddr) -> TcpStream {
    let stream = connect(address);
    is_answered(&stream).unwrap();
    stream
}

fn open_web_socket(address: SocketAddr) -> TcpStream {
    let mut stream = connect(address);
    stream.write_all(ASK.as_bytes()).unwrap();
    let mut received = Vec::new();
    let mut byte = [0];
    while !received.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        received.push(byte[0]);
    }
    let head = String::from_utf8(received).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    stream
}

/// Sends a message on a WebSocket and waits for it to come back.
fn is_echoed(mut stream: &TcpStream, number: usize) -> std::io::Result<()> {
    // A text of 8 bytes, masked with zeros (RFC 6455 section 5.2).
    let frame = [&[0x81, 0x88, 0, 0, 0, 0][..], format!("{number:08}").as_bytes()].concat();
    stream.write_all(&frame)?;
    let mut back = vec![0; frame.len()];
    stream.read_exact(&mut back)?;
    let right = back == frame;
    if right { Ok(()) } else { Err(std::io::Error::other("another message came back")) }
}

/// Memory of a process in KiB, by the name that the kernel gives it.
fn memory_kib(pid: u32, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

fn config(origin: SocketAddr, turn: usize) -> String {
    // Something changes each time: another route, another weight.
    format!(
        "watch = false\n[listeners.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n\
         idle_timeout = \"1h\"\ntunnel_timeout = \"1h\"\n\
         [[listeners.web.routes]]\ncluster = \"api\"\n\
         [[listeners.web.routes]]\npath = \"/turn-{turn}\"\nrespond = {{ status = 204 }}\n\
         [clusters.api]\nendpoints = [{{ address = \"{origin}\", weight = {} }}]\n",
        turn % 5 + 1
    )
}

#[test]
fn reloads_lose_no_idle_connection_and_no_web_socket() {
    let scale = Scale::of_this_run();
    let origin = echo();
    let data_plane = DataPlane::serve(&config(origin, 0));
    let (address, pid) = (data_plane.running.address("web"), data_plane.running.pid());
    let bare = memory_kib(pid, "VmRSS");
    // The first ones touch what the program needs once; what one costs, those after them tell.
    let first = scale.connections / 4;
    let mut connections: Vec<_> = (0..first).map(|_| kept_open(address)).collect();
    let warm = memory_kib(pid, "RssAnon");
    connections.extend((first..scale.connections).map(|_| kept_open(address)));
    let kept = memory_kib(pid, "RssAnon").saturating_sub(warm);
    let idle = memory_kib(pid, "VmRSS");
    let web_sockets: Vec<_> = (0..scale.web_sockets).map(|_| open_web_socket(address)).collect();
    for (number, web_socket) in web_sockets.iter().enumerate() {
        is_echoed(web_socket, number).unwrap();
    }
    let tunnelling = memory_kib(pid, "VmRSS");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let admin = DataPlaneClient::unix(&data_plane.running.socket);
    for turn in 1..=scale.reloads {
        data_plane.replace(&config(origin, turn));
        let outcome = runtime.block_on(admin.reload()).unwrap();
        assert_eq!(outcome.generation, turn as u64 + 1);
        // Some are used meanwhile, others are only there.
        is_answered(&connections[turn % connections.len()]).unwrap();
        is_echoed(&web_sockets[turn % web_sockets.len()], turn).unwrap();
    }
    let reloaded = memory_kib(pid, "VmRSS");

    let status = runtime.block_on(admin.status()).unwrap();
    let web = status.listeners.iter().find(|one| one.name == "web").unwrap();
    let open = (connections.len() + web_sockets.len()) as u64;
    assert_eq!(
        (web.accepted_connections_total, web.open_connections),
        (open, open),
        "nobody came again, nobody is gone"
    );
    let lost =
        |results: Vec<std::io::Result<()>>| results.into_iter().filter_map(Result::err).count();
    let idle_lost = lost(connections.iter().map(is_answered).collect());
    let numbered = web_sockets.iter().enumerate();
    let sockets_lost = lost(numbered.map(|(number, one)| is_echoed(one, number)).collect());
    assert_eq!((idle_lost, sockets_lost), (0, 0), "lost of {scale:?}");
    let last = scale.reloads;
    assert_eq!(fixture::get(address, &format!("/turn-{last}")).status, 204, "the last is in force");

    let each = |kib: u64, count: usize| kib as f64 / count as f64;
    println!(
        "{scale:?}: {bare} KiB bare, {:.1} KiB a kept connection, {:.1} KiB a WebSocket, \
         {} KiB more after the reloads",
        each(kept, scale.connections - first),
        each(tunnelling.saturating_sub(idle), web_sockets.len()),
        reloaded.saturating_sub(tunnelling)
    );
    let most = IDLE_KIB * (scale.connections - first) as u64 + STEPS_KIB;
    assert!(kept <= most, "kept connections cost {kept} KiB of {most}");
    // Far above what it should be, and far below what a leak of each connection's would be.
    let allowed = 16 * 1024 + 2 * open;
    assert!(reloaded <= tunnelling + allowed, "reloads cost {} KiB", reloaded - tunnelling);
    drop((connections, web_sockets));
    eventually("everybody has left", || {
        let status = runtime.block_on(admin.status()).unwrap();
        let web = status.listeners.iter().find(|one| one.name == "web")?;
        (web.open_connections == 0).then_some(())
    });
}
