//! A line for each request, connection and session.

use std::{fs, path::Path};

use crate::{
    fixture::{Proxy, Site, eventually},
    origin::{Origin, Refusing},
    wire::{get, ok, post},
};

fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Waits for so many lines.
fn wait_for(path: &Path, count: usize) -> Vec<String> {
    eventually("the lines are there", || lines(path).len() >= count);
    let lines = lines(path);
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines
}

struct Logged {
    folder: tempfile::TempDir,
}

impl Logged {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("access.log")
    }

    /// An `access_log` into the folder, with more settings.
    fn to_file(&self, more: &str) -> &'static str {
        format!("access_log = {{ output = \"file:{}\"{more} }}", self.path().display()).leak()
    }
}

/// The value of a field in a line of JSON, as it stands there.
fn field<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    let (_, rest) = line.split_once(&format!("\"{name}\":"))?;
    let end = match rest.strip_prefix('"') {
        Some(inside) => inside.find('"')? + 2,
        None => rest.find([',', '}'])?,
    };
    Some(&rest[..end])
}

#[test]
fn a_line_says_what_became_of_a_request() {
    let logged = Logged::new();
    let origin = Origin::answering(|request| match request.target() {
        "/nonsense" => b"NONSENSE\r\n\r\n".to_vec(),
        _ => ok("hello"),
    });
    let site = Site {
        listener: logged.to_file(""),
        route: "path = \"/\"\nretries = { attempts = 0 }",
        ..Site::of([origin.address()])
    };
    let proxy = site.start();
    let mut client = proxy.web();
    client.send("POST /a?b=\"c HTTP/1.1\r\nHost: site.test\r\nUser-Agent: test/1\r\nReferer: http://r/\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(client.response().status(), 200);
    client.send(get("/nonsense"));
    assert_eq!(client.response().status(), 502);
    client.send("NONSENSE\r\n\r\n");
    assert_eq!(client.response().status(), 400);
    let lines = wait_for(&logged.path(), 3);
    let endpoint = format!("\"{}\"", origin.address());
    for (name, value) in [
        ("listener", "\"web\""),
        ("client", "\"127.0.0.1\""),
        ("method", "\"POST\""),
        ("host", "\"site.test\""),
        ("protocol", "\"HTTP/1.1\""),
        ("status", "200"),
        ("retries", "0"),
        ("upstream", &endpoint),
        ("cluster", "\"app\""),
        ("route", "\"*/\""),
        ("user_agent", "\"test/1\""),
        ("referer", "\"http://r/\""),
    ] {
        assert_eq!(field(&lines[0], name), Some(value), "{name} in {}", lines[0]);
    }
    assert!(lines[0].contains("\"path\":\"/a?b=\\\"c\""), "{}", lines[0]);
    let number = |line: &str, name: &str| field(line, name).unwrap().parse::<f64>().unwrap();
    assert!(number(&lines[0], "sent_bytes") > 40.0, "{}", lines[0]);
    assert!(number(&lines[0], "received_bytes") > 100.0, "{}", lines[0]);
    assert!(number(&lines[0], "upstream_seconds") <= number(&lines[0], "duration_seconds"));
    assert_eq!(field(&lines[0], "reason"), None);
    assert_eq!(field(&lines[1], "status"), Some("502"));
    assert_eq!(field(&lines[1], "reason"), Some("\"bad_response\""));
    assert_eq!(field(&lines[2], "status"), Some("400"));
    assert_eq!(field(&lines[2], "reason"), Some("\"bad_request\""));
    assert_eq!(field(&lines[2], "method"), Some("\"NONSENSE\""));
    assert_eq!(field(&lines[2], "cluster"), None);
}

#[test]
fn retries_are_counted_and_the_last_endpoint_is_named() {
    let logged = Logged::new();
    let (refusing, origin) = (Refusing::new(), Origin::named("ok"));
    let site = Site {
        listener: logged.to_file(", template = \"{upstream} {retries} {status}\""),
        cluster: "balance = \"round-robin\"",
        ..Site::of([refusing.address(), origin.address()])
    };
    let proxy = site.start();
    for _ in 0..4 {
        assert_eq!(proxy.web().get("/").status(), 200);
    }
    let [straight, again] = [0, 1].map(|retries| format!("{} {retries} 200", origin.address()));
    let lines = wait_for(&logged.path(), 4);
    assert!(lines.iter().all(|line| *line == straight || *line == again), "{lines:?}");
    assert!(lines.contains(&again), "{lines:?}");
}

#[test]
fn clients_of_trusted_proxies_are_logged_by_their_own_address() {
    let logged = Logged::new();
    let origin = Origin::named("ok");
    let listener = format!(
        "trusted_proxies = [\"127.0.0.1\"]\n{}",
        logged.to_file(", template = \"{client} {peer}\"")
    );
    let proxy = Site { listener: listener.leak(), ..Site::of([origin.address()]) }.start();
    let mut client = proxy.web();
    let peer = client.socket().local_addr().unwrap().as_socket().unwrap();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6, 192.0.2.1\r\n\r\n");
    assert_eq!(client.response().status(), 200);
    assert_eq!(wait_for(&logged.path(), 1), [format!("192.0.2.1 {peer}")]);
}

#[test]
fn a_share_is_logged_and_every_failure() {
    let logged = Logged::new();
    let site = Site {
        listener: logged.to_file(", sample = 0.0, format = \"common\""),
        ..Site::of::<String>([])
    };
    let more = "[[listeners.web.routes]]\npath = \"/fine\"\nrespond = { body = \"fine\" }\n";
    let proxy = Site { rest: more.to_owned(), ..site }.start();
    let mut client = proxy.web();
    for _ in 0..50 {
        assert_eq!(client.get("/fine").status(), 200);
    }
    assert_eq!(client.get("/none").status(), 503);
    let lines = wait_for(&logged.path(), 1);
    assert!(lines[0].starts_with("127.0.0.1 - - ["), "{lines:?}");
    assert!(lines[0].contains("] \"GET /none HTTP/1.1\" 503 "), "{lines:?}");
}

#[test]
fn about_the_share_that_is_wanted_is_logged_besides_every_failure() {
    const REQUESTS: usize = 2_000;
    let logged = Logged::new();
    let more = "[[listeners.web.routes]]\npath = \"/fine\"\nrespond = { body = \"fine\" }\n";
    let site = Site {
        listener: logged.to_file(", sample = 0.25, template = \"{path}\""),
        rest: more.to_owned(),
        ..Site::of::<String>([])
    };
    let proxy = site.start();
    let mut client = proxy.web();
    for number in 0..REQUESTS {
        assert_eq!(client.get("/fine").status(), 200);
        if number % 20 == 0 {
            assert_eq!(client.get("/none").status(), 503);
        }
    }
    let engine = std::sync::Arc::clone(&proxy.engine);
    drop(proxy);
    drop(engine);
    let lines = lines(&logged.path());
    let count = |path: &str| lines.iter().filter(|line| *line == path).count();
    assert_eq!(count("/none"), REQUESTS / 20);
    // A quarter, give or take more than six standard deviations (of 19.4).
    let share = count("/fine");
    assert!((370..=630).contains(&share), "{share} of {REQUESTS}");
    assert_eq!(lines.len(), share + REQUESTS / 20);
}

#[test]
fn the_combined_format_has_the_referrer_and_the_user_agent() {
    let logged = Logged::new();
    let origin = Origin::named("hello");
    let listener = logged.to_file(", format = \"combined\"");
    let proxy = Site { listener, ..Site::of([origin.address()]) }.start();
    let mut client = proxy.web();
    client.send(
        "GET /a?b HTTP/1.1\r\nHost: a\r\nUser-Agent: test/1 \"x\"\r\nReferer: http://r/\r\n\r\n",
    );
    let sent = client.response();
    client.send(get("/plain"));
    client.response();
    let lines = wait_for(&logged.path(), 2);
    let parts = |line: &str| {
        let (client, rest) = line.split_once(" [").unwrap();
        let (time, rest) = rest.split_once("] ").unwrap();
        (client.to_owned(), time.to_owned(), rest.to_owned())
    };
    let (client, time, rest) = parts(&lines[0]);
    let bytes = sent.head.len() + sent.body.len();
    let expected =
        format!("\"GET /a?b HTTP/1.1\" 200 {bytes} \"http://r/\" \"test/1 \\x22x\\x22\"");
    assert_eq!((&*client, rest), ("127.0.0.1 - -", expected));
    // As in 22/Nov/2026:15:28:58 +0000.
    let shape: String =
        time.chars().map(|one| if one.is_ascii_digit() { '0' } else { one }).collect();
    assert_eq!((&shape[..3], &shape[6..]), ("00/", "/0000:00:00:00 +0000"), "{time}");
    assert!(parts(&lines[1]).2.ends_with(" \"-\" \"-\""), "{lines:?}");
}

#[test]
fn every_line_is_there_after_a_drain_whoever_shares_the_file() {
    let logged = Logged::new();
    let origin = Origin::named("ok");
    let second = format!(
        "[listeners.second]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n{}\n\
         [[listeners.second.routes]]\ncluster = \"app\"\n",
        logged.to_file("")
    );
    let site = Site {
        shards: 2,
        listener: logged.to_file(""),
        rest: second,
        ..Site::of([origin.address()])
    };
    let proxy = site.start();
    for listener in ["web", "second"] {
        let mut clients: Vec<_> = (0..4).map(|_| proxy.client(listener)).collect();
        for number in 0..400 {
            let client = &mut clients[number % 4];
            assert_eq!(client.get(&format!("/{listener}/{number}")).status(), 200);
        }
    }
    let engine = std::sync::Arc::clone(&proxy.engine);
    drop(proxy);
    drop(engine);
    let lines = lines(&logged.path());
    assert_eq!(lines.len(), 800);
    for listener in ["web", "second"] {
        for number in 0..400 {
            let path = format!("\"path\":\"/{listener}/{number}\"");
            assert_eq!(lines.iter().filter(|line| line.contains(&path)).count(), 1, "{path}");
        }
    }
}

#[test]
fn files_are_opened_anew_and_put_aside_when_they_are_full() {
    let logged = Logged::new();
    let origin = Origin::named("ok");
    let proxy = Site {
        listener: logged.to_file(", template = \"{path}\""),
        ..Site::of([origin.address()])
    }
    .start();
    let mut client = proxy.web();
    client.get("/before");
    wait_for(&logged.path(), 1);
    let moved = logged.folder.path().join("moved.log");
    fs::rename(logged.path(), &moved).unwrap();
    proxy.engine.reopen_logs();
    eventually("it is there again", || logged.path().exists());
    client.get("/after");
    assert_eq!(wait_for(&logged.path(), 1), ["/after"]);
    assert_eq!(lines(&moved), ["/before"]);

    let rotated = Logged::new();
    let listener = rotated.to_file(", template = \"{path}\", rotate_size = \"4KiB\", keep = 2");
    let proxy = Site { listener, ..Site::of([origin.address()]) }.start();
    let mut client = proxy.web();
    for number in 0..100 {
        client.get(&format!("/{number}/{}", "x".repeat(100)));
    }
    eventually("the last line is there", || {
        lines(&rotated.path()).last().is_some_and(|line| line.starts_with("/99/"))
    });
    let mut names: Vec<_> = fs::read_dir(rotated.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["access.log", "access.log.1", "access.log.2"]);
    for name in names {
        assert!(fs::metadata(rotated.folder.path().join(name)).unwrap().len() <= 4096);
    }
}

#[test]
fn an_output_that_cannot_be_had_refuses_the_configuration() {
    let origin = Origin::named("ok");
    let site = Site::of([origin.address()]);
    let proxy = site.start();
    let folder = tempfile::tempdir().unwrap();
    let listener = format!("access_log = {{ output = \"file:{}\" }}", folder.path().display());
    let error = proxy.reload(&Site { listener: listener.leak(), ..site }.toml()).unwrap_err();
    assert!(error.contains("listeners.web.access_log.output"), "{error}");
    assert_eq!(proxy.web().get("/").status(), 200);
}

#[test]
fn requests_by_http_2_and_over_tls_are_logged_with_what_was_agreed() {
    let logged = Logged::new();
    let authority = crate::authority::Authority::new();
    let folder = logged.folder.path();
    authority.write(folder);
    authority.issue(folder, "site", &["localhost"]);
    let listener = format!(
        "{}\n[listeners.web.tls]\ncertificates = [{{ certificate = {:?}, key = {:?} }}]",
        logged.to_file(", template = \"{protocol} {tls_version} {server_name} {status} {path}\""),
        folder.join("site.pem"),
        folder.join("site.key"),
    );
    let origin = Origin::named("ok");
    let proxy = Site { listener: listener.leak(), ..Site::of([origin.address()]) }.start();
    let address = proxy.address("web");
    let port = match address {
        bs9_config::BindAddress::Tcp(address) => address.port(),
        bs9_config::BindAddress::Unix(_) => panic!("a TCP address"),
    };
    for version in ["--http1.1", "--http2"] {
        let asked = std::process::Command::new("curl")
            .args(["-sS", version, "--cacert"])
            .arg(folder.join("ca.pem"))
            .arg(format!("https://localhost:{port}/path"))
            .output()
            .expect("curl is installed");
        assert!(asked.status.success(), "{asked:?}");
    }
    let lines = wait_for(&logged.path(), 2);
    assert_eq!(
        lines,
        ["HTTP/1.1 TLSv1.3 localhost 200 /path", "HTTP/2.0 TLSv1.3 localhost 200 /path"]
    );
}

#[test]
fn connections_are_logged_when_they_end() {
    let logged = Logged::new();
    let origin = Origin::scripted(|_, mut wire, _| {
        assert_eq!(wire.rest(), b"question");
        wire.send("answer!");
    });
    let listener = logged.to_file(", template = \"{protocol} {client} {received_bytes} {sent_bytes} {upstream} {cluster} {reason} {status}\"");
    let proxy = Proxy::start(&format!(
        "[runtime]\nshards = 1\npin = false\n[listeners.raw]\nbind = [\"127.0.0.1:0\"]\n\
         protocol = \"tcp\"\ncluster = \"app\"\n{listener}\n[listeners.idle]\nbind = [\"127.0.0.1:0\"]\n\
         protocol = \"tcp\"\ncluster = \"none\"\n{listener}\n\
         [clusters.app]\nendpoints = [\"{}\"]\n[clusters.none]\n",
        origin.address()
    ));
    let mut client = proxy.client("raw");
    client.send("question");
    client.finish();
    assert_eq!(client.rest(), b"answer!");
    let lines = wait_for(&logged.path(), 1);
    assert_eq!(lines[0], format!("tcp 127.0.0.1 8 7 {} app - -", origin.address()));
    proxy.client("idle").expect_closed();
    let lines = wait_for(&logged.path(), 2);
    assert_eq!(lines[1], "tcp 127.0.0.1 0 0 - - no_endpoint -");
}

#[test]
fn what_is_too_much_is_dropped_and_counted() {
    // Nobody reads from this pipe: its writer stops.
    let logged = Logged::new();
    let made = std::process::Command::new("mkfifo").arg(logged.path()).status().unwrap();
    assert!(made.success());
    let reader = fs::OpenOptions::new().read(true).write(true).open(logged.path()).unwrap();
    let origin = Origin::named("ok");
    let proxy = Site {
        listener: logged.to_file(", queue_size = \"64KiB\""),
        ..Site::of([origin.address()])
    }
    .start();
    let mut client = proxy.web();
    let long = format!("/{}", "x".repeat(4000));
    let dropped = || proxy.engine.log_reports()[0].dropped;
    eventually("something is dropped", || {
        assert_eq!(client.get(&long).status(), 200);
        dropped() > 0
    });
    assert_eq!(client.get("/still").status(), 200);
    // Its writer can end now.
    let mut reader = reader;
    std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    let written = || proxy.engine.log_reports()[0].written;
    eventually("the rest is written", || written() > 0);
}

// === ids ===

#[test]
fn ids_and_traces_are_made_passed_on_and_logged() {
    let logged = Logged::new();
    let origin = Origin::named("ok");
    let listener = format!(
        "request_id = true\ntrace_context = true\n{}",
        logged.to_file(", template = \"{request_id} {trace_id}\"")
    );
    let proxy = Site { listener: listener.leak(), ..Site::of([origin.address()]) }.start();
    let mut client = proxy.web();
    assert_eq!(client.get("/").status(), 200);
    client.send(
        "GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: mine\r\n\
         traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
         tracestate: a=b\r\n\r\n",
    );
    assert_eq!(client.response().status(), 200);
    client.send(post("/", "a body"));
    assert_eq!(client.response().status(), 200);
    let requests: Vec<_> = origin.requests().into_iter().map(|(_, request)| request).collect();
    let told = |at: usize, name: &str| requests[at].header(name).unwrap_or_default().to_owned();
    assert_eq!(told(1, "x-request-id"), "mine");
    assert_eq!(told(1, "traceparent"), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    assert_eq!(told(1, "tracestate"), "a=b");
    assert_eq!(told(0, "x-request-id").len(), 32);
    assert_ne!(told(0, "x-request-id"), told(2, "x-request-id"));
    assert!(told(0, "traceparent").ends_with("-01"), "{}", requests[0].head);
    assert_eq!(requests[2].body, b"a body");
    let expected: Vec<_> = (0..3)
        .map(|at| format!("{} {}", told(at, "x-request-id"), &told(at, "traceparent")[3..35]))
        .collect();
    assert_eq!(wait_for(&logged.path(), 3), expected);
}

// === counts ===

#[test]
fn routes_and_clusters_are_counted_with_the_time_they_took() {
    let origin = Origin::answering(|request| match request.target() {
        "/api/bad" => b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".to_vec(),
        _ => ok("fine"),
    });
    let more = "[[listeners.web.routes]]\nhost = \"a.test\"\npath = \"/api/\"\ncluster = \"app\"\nretries = { attempts = 0 }\n\
                [[listeners.web.routes]]\npath = \"=/third\"\nrespond = { body = \"three\" }\n";
    let site = Site {
        listener: "max_route_metrics = 2",
        rest: more.to_owned(),
        ..Site::of([origin.address()])
    };
    let proxy = site.start();
    let mut client = proxy.web();
    for (host, target) in [
        ("a.test", "/api/good"),
        ("a.test", "/api/bad"),
        ("b.test", "/"),
        ("b.test", "/third"),
        ("b.test", "/"),
    ] {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        client.response();
    }
    let counts = || {
        let reports = proxy.engine.route_reports(proxy.report("web").listener.id);
        reports
            .into_iter()
            .map(|report| {
                assert_eq!(report.times.count, report.responses.iter().sum::<u64>());
                (report.route.to_string(), report.responses)
            })
            .collect::<Vec<_>>()
    };
    let expected = vec![
        ("*".to_owned(), [0, 0, 2, 0, 0, 0]),
        ("a.test/api/".to_owned(), [0, 0, 1, 0, 0, 1]),
        ("other".to_owned(), [0, 0, 1, 0, 0, 0]),
    ];
    eventually("all are counted", || counts() == expected);
    let times = proxy.engine.cluster_times();
    assert_eq!((&*times[0].name, times[0].times.count), ("app", 4));
    assert_eq!(times[0].endpoints, [(origin.address().to_string(), times[0].times.clone())]);
    assert!(times[0].times.up_to.is_sorted());
    proxy.reload(&site.toml()).unwrap();
    assert_eq!(counts(), expected, "a reload forgets nothing");
}
