//! Keys whose effect nothing else shows: each test fails when the key is as good as absent.

use std::{
    fs,
    io::ErrorKind,
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

use socket2::{Domain, Socket, Type};

use crate::{
    authority::Authority,
    fixture::{Proxy, Site, eventually},
    h2_upstream::scripted::scripted,
    http2::frames::SETTINGS,
    origin::Origin,
    wire::{Wire, ok},
};

const RUNTIME: &str = "[runtime]\nshards = 1\npin = false\n";

/// A listener that answers at once, beside others: an answer of its is a turn of the shard.
const TURN: &str = "[listeners.turn]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n\
    routes = [{ respond = {} }]\n";

/// Nothing has come on a connection that began before one that has ended, and nothing does in
/// some turns more.
fn assert_waits(proxy: &Proxy, long: &Wire, what: &str) {
    let mut turn = proxy.client("turn");
    for _ in 0..3 {
        assert_eq!(turn.get("/").status(), 200);
    }
    long.socket().set_nonblocking(true).unwrap();
    let nothing = long.socket().peek(&mut [std::mem::MaybeUninit::uninit()]).unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock, "{what}");
}

#[test]
fn a_listeners_limits_of_time_are_those_it_was_given() {
    let folder = tempfile::tempdir().unwrap();
    Authority::new().issue(folder.path(), "site", &["site.test"]);
    let path = folder.path().display();
    let sealed = format!(
        "tls = {{ certificates = [{{ certificate = \"{path}/site.pem\", key = \"{path}/site.key\" }}], \
         handshake_timeout = \"LIMIT\" }}"
    );
    let cases: [(&str, &[u8]); 3] = [
        ("head_timeout = \"LIMIT\"", b"GET / HT"),
        (
            "trusted_proxies = [\"127.0.0.1\"]\nproxy_protocol = { timeout = \"LIMIT\" }",
            b"PROXY TC",
        ),
        (&sealed, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"),
    ];
    for (keys, begun) in cases {
        let listener = |name: &str, limit: &str| {
            format!(
                "[listeners.{name}]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n{}\n\
                 routes = [{{ respond = {{}} }}]\n",
                keys.replace("LIMIT", limit)
            )
        };
        let (short, long) = (listener("short", "200ms"), listener("long", "2m"));
        // Sections of the tables that are given in a line come after all of a listener's keys.
        let proxy = Proxy::start(&format!("{RUNTIME}{TURN}{short}{long}"));
        let [mut long, mut short] = ["long", "short"].map(|name| proxy.client(name));
        long.send(begun);
        short.send(begun);
        let _an_answer_or_none = short.try_rest();
        assert_waits(&proxy, &long, keys);
    }
}

/// An address that takes no connection and refuses none, and what keeps it so.
fn unanswered() -> (SocketAddr, Socket, Vec<TcpStream>) {
    let listening = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listening.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listening.listen(0).unwrap();
    let address = listening.local_addr().unwrap().as_socket().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        queued.push(stream);
        assert!(queued.len() < 100, "the accept queue does not fill");
    }
    (address, listening, queued)
}

/// A POST, which is sent once only.
const POST: &str = " HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";

#[test]
fn a_clusters_limits_of_time_are_those_it_was_given() {
    let (address, _listening, _queued) = unanswered();
    let silent = Origin::scripted(|_, mut wire, _| {
        let _request = wire.head();
        let _until_closed = wire.try_rest();
    });
    let deaf = scripted(|_, mut server| {
        server.request();
        server.rest();
    });
    let ping = "protocol = \"h2\"\nhttp2 = { ping_interval = \"50ms\", ping_timeout = \"LIMIT\" }";
    // How many requests are under way already, and what the one that waits is told.
    let cases = [
        ("connect_timeout = \"LIMIT\"", address, 0, 504),
        ("max_connections = 1\nqueue = { timeout = \"LIMIT\" }", silent.address(), 1, 503),
        (ping, deaf.address(), 0, 504),
    ];
    for (keys, endpoint, before, status) in cases {
        let cluster = |name: &str, limit: &str| {
            format!(
                "[[listeners.web.routes]]\npath = \"=/{name}\"\ncluster = \"{name}\"\n\
                 retries = {{ attempts = 0 }}\n\
                 [clusters.{name}]\nendpoints = [\"{endpoint}\"]\n{}\n",
                keys.replace("LIMIT", limit)
            )
        };
        let (short, long) = (cluster("short", "200ms"), cluster("long", "1m"));
        let web = "[listeners.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n";
        let proxy = Proxy::start(&format!("{RUNTIME}{TURN}{web}{short}{long}"));
        let active = || {
            let clusters = proxy.engine.cluster_statuses();
            clusters.iter().map(|cluster| cluster.endpoints[0].active).sum::<u64>()
        };
        let mut held = Vec::new();
        for name in ["long", "short"].into_iter().cycle().take(2 * before) {
            let mut client = proxy.web();
            client.send(format!("POST /{name}{POST}"));
            held.push(client);
        }
        eventually("they are under way", || active() == held.len() as u64);
        let [mut long, mut short] = [proxy.web(), proxy.web()];
        long.send(format!("POST /long{POST}"));
        short.send(format!("POST /short{POST}"));
        assert_eq!(short.response().status(), status, "{keys}");
        assert_waits(&proxy, &long, keys);
    }
}

#[test]
fn an_http_head_has_no_more_fields_than_it_may() {
    let listener = "max_headers = 4";
    let route = "respond = { body = \"ok\" }";
    let text = Site { listener, route, ..Site::default() }.toml();
    let proxy = Proxy::start(&text.replace("cluster = \"app\"\nrespond", "respond"));
    let mut client = proxy.web();
    let mut ask = |count: usize| {
        let fields = "X: y\r\n".repeat(count);
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        client.response().status()
    };
    assert_eq!((ask(3), ask(4)), (200, 431));
}

#[test]
fn a_head_has_room_in_a_buffer_of_the_size_that_was_asked_for() {
    let origin = Origin::answering(|_| {
        let head = format!("HTTP/1.1 200 OK\r\nX-A: {}\r\n", "a".repeat(20 << 10));
        [head.as_bytes(), b"Content-Length: 0\r\n\r\n"].concat()
    });
    for (runtime, listener, status) in
        [("", "", 502), ("buffer_size = \"32KiB\"", "max_head_size = \"32KiB\"", 200)]
    {
        let proxy = Site { runtime, listener, ..Site::of([origin.address()]) }.start();
        assert_eq!(proxy.web().get("/").status(), status, "{runtime}");
    }
}

#[test]
fn a_fixed_answer_may_be_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("page.html");
    fs::write(&file, "<h1>Closed</h1>").unwrap();
    let proxy = Proxy::start(&format!(
        "{RUNTIME}[listeners.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n\
         routes = [{{ respond = {{ status = 503, body_file = {file:?}, content_type = \"text/html\" }} }}]\n"
    ));
    let answer = proxy.web().get("/");
    assert_eq!((answer.status(), answer.text()), (503, "<h1>Closed</h1>".to_owned()));
    assert_eq!(answer.header("content-type"), Some("text/html"));
}

#[test]
fn a_header_decides_which_cluster_a_request_stays_with() {
    let origins = [Origin::named("a"), Origin::named("b")];
    let clusters = ["a", "b"].into_iter().zip(&origins).map(|(name, origin)| {
        format!("[clusters.{name}]\nendpoints = [\"{}\"]\n", origin.address())
    });
    let proxy = Proxy::start(&format!(
        "{RUNTIME}[listeners.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n\
         [[listeners.web.routes]]\nsplit_by = {{ header = \"x-user\" }}\n\
         clusters = [{{ cluster = \"a\" }}, {{ cluster = \"b\" }}]\n{}",
        clusters.collect::<String>()
    ));
    let mut client = proxy.web();
    let mut ask = |user: usize| {
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX-User: {user}\r\n\r\n"));
        client.response().text()
    };
    let first: Vec<_> = (0..40).map(&mut ask).collect();
    let again: Vec<_> = (0..40).map(&mut ask).collect();
    assert_eq!(first, again);
    assert!(["a", "b"].iter().all(|name| first.iter().any(|place| place == name)), "{first:?}");
}

#[test]
fn values_are_told_apart_by_how_they_begin_and_by_expressions() {
    let matches = [
        ("header-prefix", "headers = { v = { prefix = \"h-\" } }"),
        ("header-regex", "headers = { v = { regex = \"^[0-9]+$\" } }"),
        ("cookie-prefix", "cookies = { v = { prefix = \"c-\" } }"),
        ("cookie-regex", "cookies = { v = { regex = \"^[0-9]+$\" } }"),
        ("query-prefix", "query = { v = { prefix = \"q-\" } }"),
        ("query-regex", "query = { v = { regex = \"^[0-9]+$\" } }"),
        ("none", ""),
    ];
    let routes = matches.map(|(name, keys)| {
        format!("[[listeners.web.routes]]\nrespond = {{ body = \"{name}\" }}\n{keys}\n")
    });
    let proxy = Proxy::start(&format!(
        "{RUNTIME}[listeners.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n{}",
        routes.concat()
    ));
    let mut client = proxy.web();
    let mut ask = |query: &str, field: &str| {
        client.send(format!("GET /{query} HTTP/1.1\r\nHost: a\r\n{field}\r\n"));
        client.response().text()
    };
    assert_eq!(ask("", "V: h-1\r\n"), "header-prefix");
    assert_eq!(ask("", "V: 17\r\n"), "header-regex");
    assert_eq!(ask("", "Cookie: v=c-1\r\n"), "cookie-prefix");
    assert_eq!(ask("", "Cookie: v=17\r\n"), "cookie-regex");
    assert_eq!(ask("?v=q-1", ""), "query-prefix");
    assert_eq!(ask("?v=17", ""), "query-regex");
    assert_eq!(ask("?v=x", "V: x\r\nCookie: v=x\r\n"), "none");
}

#[test]
fn ids_and_traces_of_clients_are_replaced_where_they_are_not_kept() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let origin = Origin::named("ok");
    let listener = "request_id = { header = \"X-Trace-Number\", keep = false }\n\
        trace_context = { keep = false, sample = 0 }";
    let proxy = Site { listener, ..Site::of([origin.address()]) }.start();
    let mut client = proxy.web();
    client.send(format!(
        "GET / HTTP/1.1\r\nHost: a\r\nX-Trace-Number: mine\r\n\
         traceparent: 00-{TRACE}-b7ad6b7169203331-01\r\ntracestate: a=b\r\n\r\n"
    ));
    assert_eq!(client.response().status(), 200);
    let request = origin.only_request();
    let [id] = request.headers("x-trace-number")[..] else { panic!("{}", request.head) };
    assert_eq!(id.len(), 32, "{id}");
    assert_eq!(request.header("x-request-id"), None);
    let [trace] = request.headers("traceparent")[..] else { panic!("{}", request.head) };
    assert!(!trace.contains(TRACE) && trace.ends_with("-00"), "{trace}");
    assert_eq!(request.header("tracestate"), None);
}

#[test]
fn an_endpoint_may_send_as_much_ahead_as_its_window_says() {
    let (tell, told) = std::sync::mpsc::channel();
    let tell = Mutex::new(tell);
    let origin = scripted(move |_, mut server| {
        let settings = server.0.next_of(&[SETTINGS]).payload;
        tell.lock().unwrap().send(settings).unwrap();
        let stream = server.request();
        server.answer(stream, &[]);
        server.rest();
    });
    let cluster = "protocol = \"h2\"\nhttp2 = { stream_window = \"64KiB\" }";
    let proxy = Site { cluster, ..Site::of([origin.address()]) }.start();
    assert_eq!(proxy.web().get("/").status(), 200);
    let settings = told.recv_timeout(crate::wire::PATIENCE).unwrap();
    // RFC 9113 section 6.5.2: SETTINGS_INITIAL_WINDOW_SIZE.
    let window = [[0, 4].as_slice(), &(64_u32 << 10).to_be_bytes()].concat();
    assert!(settings.chunks(6).any(|setting| setting == window), "{settings:?}");
}

#[test]
fn an_http_check_asks_for_the_host_that_it_is_told() {
    let origin = Origin::answering(|_| ok(""));
    let cluster = "health_check = { path = \"/up\", host = \"app.internal\" }";
    let _proxy = Site { cluster, ..Site::of([origin.address()]) }.start();
    eventually("it is probed", || !origin.requests().is_empty());
    assert_eq!(origin.requests()[0].1.headers("host"), ["app.internal"]);
}

#[test]
fn probes_come_as_often_as_the_interval_says() {
    let (often, seldom) = (Origin::answering(|_| ok("")), Origin::answering(|_| ok("")));
    let cluster = |name: &str, origin: &Origin, interval: &str| {
        format!(
            "[clusters.{name}]\nendpoints = [\"{}\"]\n\
             health_check = {{ path = \"/up\", interval = \"{interval}\" , timeout = \"100ms\" }}\n",
            origin.address()
        )
    };
    let text = [cluster("often", &often, "100ms"), cluster("seldom", &seldom, "1h")].concat();
    let _proxy = Proxy::start(&format!("{RUNTIME}{TURN}{text}"));
    eventually("one is probed again and again", || often.requests().len() >= 6);
    eventually("the other one is, too", || !seldom.requests().is_empty());
    assert_eq!(seldom.requests().len(), 1);
}

/// Probes of two endpoints that begin together come in turns, unless each draws its own pauses.
#[test]
fn probes_fall_out_of_step_by_their_jitter() {
    let seen: Arc<Mutex<Vec<u8>>> = Arc::default();
    let origin = |who: u8| {
        let seen = Arc::clone(&seen);
        Origin::answering(move |_| {
            seen.lock().unwrap().push(who);
            ok("")
        })
    };
    let (one, other) = (origin(1), origin(2));
    let cluster = format!(
        "[clusters.app]\nendpoints = [\"{}\", \"{}\"]\n\
         health_check = {{ path = \"/up\", interval = \"100ms\", timeout = \"100ms\", jitter = 0.5 }}\n",
        one.address(),
        other.address()
    );
    let _proxy = Proxy::start(&format!("{RUNTIME}{TURN}{cluster}"));
    eventually("each comes twice in a row again and again", || {
        let seen = seen.lock().unwrap();
        seen.windows(2).filter(|pair| pair[0] == pair[1]).count() >= 10
    });
}

#[test]
fn a_probe_may_take_as_long_as_its_limit_says() {
    let (let_go, wait) = std::sync::mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let slow = Origin::answering(move |_| {
        let _let_go = wait.lock().unwrap().recv_timeout(crate::wire::PATIENCE);
        ok("")
    });
    let silent = Origin::scripted(|_, mut wire, _| drop(wire.try_rest()));
    let cluster = |name: &str, origin: &Origin, keys: &str| {
        format!(
            "[clusters.{name}]\nendpoints = [\"{}\"]\nhealth_check = {{ path = \"/up\", {keys} }}\n",
            origin.address()
        )
    };
    let text = [
        cluster("slow", &slow, "interval = \"1h\", timeout = \"30m\", unhealthy_after = 1"),
        // Two probes by the default of a second each.
        cluster("silent", &silent, "interval = \"1s\", unhealthy_after = 2"),
    ];
    let proxy = Proxy::start(&format!("{RUNTIME}{TURN}{}", text.concat()));
    let health = |name: &str| {
        let clusters = proxy.engine.cluster_statuses();
        clusters.into_iter().find(|one| one.name == name).unwrap().endpoints.remove(0).health
    };
    use bs9_api::types::EndpointHealth::{Healthy, Unhealthy};
    eventually("others have been given up", || health("silent") == Unhealthy);
    assert_ne!(health("slow"), Unhealthy);
    let_go.send(()).unwrap();
    eventually("it was waited for", || health("slow") == Healthy);
    assert_eq!(slow.connections(), 1);
}
