//! UDP listeners.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use bs9_config::BindAddress;

use crate::{
    fixture::{Proxy, eventually},
    wire::PATIENCE,
};

/// Answers every datagram with its name and what was said.
struct Echo {
    address: SocketAddr,
    /// Datagrams that came.
    heard: Arc<AtomicUsize>,
}

impl Echo {
    fn new(name: &'static str) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let heard = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&heard);
        thread::spawn(move || {
            let mut room = [0; 65_535];
            while let Ok((length, client)) = socket.recv_from(&mut room) {
                count.fetch_add(1, SeqCst);
                if &room[..length] == b"end" {
                    return;
                }
                let answer = [name.as_bytes(), &room[..length]].concat();
                socket.send_to(&answer, client).unwrap();
            }
        });
        Self { address, heard }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let _gone = socket.send_to(b"end", self.address);
    }
}

struct Client(UdpSocket);

impl Client {
    fn of(proxy: &Proxy) -> Self {
        Self::at(&proxy.address("dns"))
    }

    fn at(address: &BindAddress) -> Self {
        let BindAddress::Tcp(address) = address else { panic!("an IP address") };
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    fn send(&self, text: &[u8]) {
        self.0.send(text).unwrap();
    }

    fn hear(&self) -> Vec<u8> {
        let mut room = vec![0; 65_535];
        let length = self.0.recv(&mut room).expect("an answer");
        room.truncate(length);
        room
    }

    fn ask(&self, text: &str) -> String {
        self.send(text.as_bytes());
        String::from_utf8(self.hear()).unwrap()
    }
}

fn toml(shards: usize, listener: &str, endpoints: &[SocketAddr]) -> String {
    let endpoints: Vec<_> = endpoints.iter().map(ToString::to_string).collect();
    format!(
        "[runtime]\nshards = {shards}\npin = false\n[listeners.dns]\nbind = [\"127.0.0.1:0\"]\n\
         protocol = \"udp\"\ncluster = \"app\"\n{listener}\n\
         [clusters.app]\nendpoints = {endpoints:?}\nbalance = \"round-robin\"\n"
    )
}

#[test]
fn a_clients_datagrams_go_to_one_endpoint_and_answers_come_back() {
    let echoes = [Echo::new("a:"), Echo::new("b:")];
    for shards in [1, 2] {
        let proxy = Proxy::start(&toml(shards, "", &echoes.each_ref().map(|echo| echo.address)));
        let clients: Vec<_> = (0..8).map(|_| Client::of(&proxy)).collect();
        let mut names = Vec::new();
        for client in &clients {
            let first = client.ask("one");
            for text in ["two", "three"] {
                assert_eq!(client.ask(text), format!("{}{text}", &first[..2]));
            }
            names.push(first);
        }
        for name in ["a:one", "b:one"] {
            assert!(names.iter().any(|first| first == name), "{names:?}");
        }
        assert_eq!(proxy.open_connections(), 8);
        let report = || proxy.engine.udp_report(proxy.report("dns").listener.id).unwrap();
        eventually("all are counted", || (report().received, report().sent) == (24, 24));
        assert_eq!((report().lost, report().refused), (0, 0));
    }
}

#[test]
fn datagrams_of_every_size_pass_whole() {
    let echo = Echo::new("");
    let proxy = Proxy::start(&toml(1, "", &[echo.address]));
    let client = Client::of(&proxy);
    for size in [0, 1, 1_472, 9_000, 65_507] {
        let sent = crate::wire::noise(size);
        client.send(&sent);
        assert!(client.hear() == sent, "{size} bytes");
    }
}

#[test]
fn what_comes_in_a_burst_passes_whole_and_in_order() {
    let echo = Echo::new("> ");
    let proxy = Proxy::start(&toml(1, "", &[echo.address]));
    let client = Client::of(&proxy);
    // The session is there.
    assert_eq!(client.ask("first"), "> first");
    let texts: Vec<_> = (0..100).map(|at| format!("{at} {}", "x".repeat(at))).collect();
    texts.iter().for_each(|text| client.send(text.as_bytes()));
    for text in &texts {
        assert_eq!(client.hear(), format!("> {text}").as_bytes());
    }
    let report = || proxy.engine.udp_report(proxy.report("dns").listener.id).unwrap();
    eventually("all are counted", || (report().received, report().sent) == (101, 101));
}

#[test]
fn a_session_ends_when_it_is_idle_or_has_been_answered_often_enough() {
    let echo = Echo::new("");
    let idle = Proxy::start(&toml(1, "idle_timeout = \"500ms\"", &[echo.address]));
    let client = Client::of(&idle);
    assert_eq!(client.ask("hello"), "hello");
    eventually("it is over", || idle.open_connections() == 0);
    assert_eq!(client.ask("again"), "again");

    let answered = Proxy::start(&toml(1, "max_responses = 2", &[echo.address]));
    let client = Client::of(&answered);
    for text in ["1", "2", "3"] {
        assert_eq!(client.ask(text), text);
    }
    assert_eq!(answered.open_connections(), 1);
    assert_eq!(client.ask("4"), "4");
    eventually("it is over", || answered.open_connections() == 0);
    assert_eq!(answered.report("dns").listener.accepted_connections(), 2);
}

#[test]
fn sessions_are_limited_and_clients_may_be_denied() {
    let echo = Echo::new("");
    let proxy = Proxy::start(&toml(1, "max_connections = 2", &[echo.address]));
    let clients: Vec<_> = (0..3).map(|_| Client::of(&proxy)).collect();
    assert_eq!(clients[0].ask("a"), "a");
    assert_eq!(clients[1].ask("b"), "b");
    clients[2].send(b"c");
    let refused =
        |proxy: &Proxy| proxy.engine.udp_report(proxy.report("dns").listener.id).unwrap().refused;
    eventually("it is refused", || refused(&proxy) == 1);
    assert_eq!(clients[0].ask("still"), "still");

    let denying = Proxy::start(&toml(1, "deny = [\"127.0.0.0/8\"]", &[echo.address]));
    Client::of(&denying).send(b"hello?");
    eventually("it is refused", || refused(&denying) == 1);
    assert_eq!(denying.report("dns").listener.denied_connections(), 1);
}

#[test]
fn a_session_whose_endpoint_is_gone_ends_and_the_next_one_goes_elsewhere() {
    let gone = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (dead, echo) = (gone.local_addr().unwrap(), Echo::new(""));
    drop(gone);
    let proxy = Proxy::start(&toml(1, "", &[dead, echo.address]));
    let client = Client::of(&proxy);
    client.0.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut room = [0; 16];
    eventually("another endpoint answers", || {
        client.send(b"hello");
        client.0.recv(&mut room).is_ok_and(|length| &room[..length] == b"hello")
    });
    assert!(proxy.endpoint(dead).failures_total >= 1 || proxy.endpoint(dead).requests_total == 0);
}

#[test]
fn a_drain_takes_no_new_clients_and_lets_known_ones_finish() {
    let echo = Echo::new("");
    let proxy = Proxy::start(&toml(1, "max_responses = 3", &[echo.address]));
    let known = Client::of(&proxy);
    assert_eq!(known.ask("1"), "1");
    let (address, id) = (proxy.address("dns"), proxy.report("dns").listener.id);
    let refused = || proxy.engine.udp_report(id).unwrap().refused;
    let drained = proxy.drain(PATIENCE);
    assert_eq!(known.ask("2"), "2");
    // Who comes before the shard has heard of it has a whole session.
    let mut served = 0;
    eventually("new clients are turned away", || {
        let new = Client::at(&address);
        new.0.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        for _ in 0..3 {
            new.send(b"hello?");
            let mut room = [0; 16];
            eventually("it is answered, or refused", || {
                refused() > 0 || new.0.recv(&mut room).is_ok()
            });
        }
        served += u64::from(refused() == 0);
        refused() > 0
    });
    assert_eq!(known.ask("3"), "3");
    drained.recv_timeout(PATIENCE).expect("the drain ends with the session");
    assert_eq!(echo.heard.load(SeqCst) as u64, 3 + 3 * served);
}

#[test]
fn an_address_can_be_given_to_another_protocol_and_back() {
    let echo = Echo::new("");
    // A port that is free for UDP may be somebody else's for TCP: then another one will do.
    let begun = (0..20).find_map(|_| {
        let proxy = Proxy::start(&toml(1, "", &[echo.address]));
        assert_eq!(Client::of(&proxy).ask("1"), "1");
        let BindAddress::Tcp(address) = proxy.address("dns") else { panic!("an IP address") };
        let fixed = toml(1, "", &[echo.address]).replace("127.0.0.1:0", &address.to_string());
        let tcp = fixed.replace("protocol = \"udp\"", "protocol = \"tcp\"");
        proxy.reload(&tcp).is_ok().then_some((proxy, address, fixed))
    });
    let (proxy, address, fixed) = begun.expect("one of twenty ports is free for TCP");
    eventually("its sessions have ended", || proxy.open_connections() == 0);
    eventually("it accepts", || std::net::TcpStream::connect(address).is_ok());
    eventually("the port is free for UDP", || proxy.reload(&fixed).is_ok());
    let client = Client::of(&proxy);
    client.0.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut room = [0; 16];
    eventually("it answers", || {
        let _refused = client.0.send(b"2");
        client.0.recv(&mut room).is_ok_and(|length| &room[..length] == b"2")
    });
}

#[test]
fn names_are_looked_up_and_what_came_before_is_sent_after() {
    let echo = Echo::new("");
    let text = toml(1, "", &[])
        .replace("endpoints = []", &format!("endpoints = [\"localhost:{}\"]", echo.address.port()));
    let proxy = Proxy::start(&text);
    let client = Client::of(&proxy);
    assert_eq!(client.ask("by name"), "by name");
}

#[test]
fn a_session_is_logged_when_it_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("udp.log");
    let echo = Echo::new("> ");
    let listener = format!(
        "max_responses = 1\naccess_log = {{ output = \"file:{}\", template = \"{{protocol}} {{client}} {{received_bytes}} {{sent_bytes}} {{upstream}}\" }}",
        path.display()
    );
    let proxy = Proxy::start(&toml(1, &listener, &[echo.address]));
    assert_eq!(Client::of(&proxy).ask("hello"), "> hello");
    let expected = format!("udp 127.0.0.1 5 7 {}\n", echo.address);
    eventually("it is logged", || std::fs::read_to_string(&path).unwrap_or_default() == expected);
}
