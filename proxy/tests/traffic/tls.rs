//! TLS with real clients and servers: curl, openssl.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use bs9_config::BindAddress;

use crate::{
    authority::Authority,
    fixture::{Proxy, eventually},
    origin::Origin,
    wire::{Wire, ok},
};

/// Files of a test: an authority, and certificates it issued.
pub(crate) struct House {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) authority: Authority,
}

impl House {
    /// `site` for `example.com`, `*.example.com` and `localhost`.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        authority.write(folder.path());
        authority.issue(folder.path(), "site", &["example.com", "*.example.com", "localhost"]);
        Self { folder, authority }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// An entry of `certificates`.
    pub(crate) fn entry(&self, name: &str) -> String {
        let folder = self.folder.path().display();
        format!("{{ certificate = \"{folder}/{name}.pem\", key = \"{folder}/{name}.key\" }}")
    }

    /// `[listeners.NAME]` with TLS that leads to `cluster`.
    pub(crate) fn listener(&self, name: &str, cluster: &str, more: &str) -> String {
        format!(
            "[listeners.{name}]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n\
             routes = [{{ cluster = \"{cluster}\" }}]\n\
             [listeners.{name}.tls]\ncertificates = [{}]\n{more}\n",
            self.entry("site")
        )
    }

    /// curl, which believes our authority, with every name at `address`.
    fn curl(&self, address: SocketAddr, name: &str, arguments: &[&str]) -> Output {
        let port = address.port();
        Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "20", "--http1.1", "--cacert"])
            .arg(self.path("ca.pem"))
            .arg("--resolve")
            .arg(format!("{name}:{port}:127.0.0.1"))
            .args(arguments)
            .arg(format!("https://{name}:{port}/there?a=b"))
            .output()
            .expect("curl is installed")
    }

    /// What curl got.
    fn got(&self, address: SocketAddr, name: &str, arguments: &[&str]) -> String {
        let output = self.curl(address, name, arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What `openssl s_client` says about a connection.
    pub(crate) fn s_client(&self, address: SocketAddr, arguments: &[&str]) -> String {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &address.to_string(), "-CAfile"])
            .arg(self.path("ca.pem"))
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("openssl is installed");
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    }
}

pub(crate) const RUNTIME: &str = "[runtime]\nshards = 2\npin = false\n";

pub(crate) fn cluster(name: &str, endpoint: impl std::fmt::Display, more: &str) -> String {
    format!("[clusters.{name}]\nendpoints = [\"{endpoint}\"]\n{more}\n")
}

pub(crate) fn tcp(address: &BindAddress) -> SocketAddr {
    match address {
        BindAddress::Tcp(address) => *address,
        BindAddress::Unix(_) => panic!("a TCP address"),
    }
}

#[test]
fn curl_is_served_and_the_endpoint_learns_that_it_was_https() {
    let house = House::new();
    let origin = Origin::named("hello");
    let toml = format!(
        "{RUNTIME}{}{}",
        house.listener("web", "app", "hsts = { max_age = \"1d\", include_subdomains = true }"),
        cluster("app", origin.address(), "")
    );
    let proxy = Proxy::start(&toml);
    let address = tcp(&proxy.address("web"));
    for version in ["--tlsv1.2 --tls-max 1.2", "--tlsv1.3"] {
        let arguments: Vec<_> = version.split(' ').chain(["--include"]).collect();
        let answer = house.got(address, "example.com", &arguments);
        assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
        let hsts = "Strict-Transport-Security: max-age=86400; includeSubDomains\r\n";
        assert!(answer.contains(hsts), "{answer}");
    }
    for (_, request) in origin.requests() {
        assert_eq!(request.header("x-forwarded-proto"), Some("https"));
        assert_eq!(request.target(), "/there?a=b");
    }
    let listener = proxy.report("web").listener;
    assert_eq!(listener.handshakes(), 2);

    let rules = "max_age = \"1d\", include_subdomains = true";
    proxy.reload(&toml.replace(rules, "max_age = \"730d\", preload = true")).unwrap();
    let answer = house.got(address, "example.com", &["--include"]);
    assert!(
        answer.contains("Strict-Transport-Security: max-age=63072000; preload\r\n"),
        "{answer}"
    );

    // Answers of our own have the field too.
    let nowhere = toml.replace(
        "routes = [{ cluster = \"app\" }]",
        "routes = [{ path = \"=/x\", cluster = \"app\" }]",
    );
    proxy.reload(&nowhere).unwrap();
    let answer = house.got(address, "example.com", &["--include"]);
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(answer.contains("Strict-Transport-Security: max-age=86400"), "{answer}");
}

#[test]
fn large_bodies_come_through_both_ways_over_tls_on_both_sides() {
    let house = House::new();
    let echo = Origin::answering(|request| {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len());
        [answer.into_bytes(), request.body.clone()].concat()
    });
    let ca = house.path("ca.pem");
    // One proxy in front of itself: the inner listener is the outer one's endpoint.
    let inner = Proxy::start(&format!(
        "{RUNTIME}{}{}",
        house.listener("inner", "app", ""),
        cluster("app", echo.address(), "")
    ));
    let inner_address = tcp(&inner.address("inner"));
    let tls = format!("tls = {{ ca = {ca:?}, server_name = \"example.com\" }}");
    let proxy = Proxy::start(&format!(
        "{RUNTIME}{}{}",
        house.listener("web", "app", ""),
        cluster("app", inner_address, &tls)
    ));
    let address = tcp(&proxy.address("web"));
    let body: Vec<u8> = (0..5_000_003_u32).map(|at| (at * 7 / 3) as u8).collect();
    let (sent, received) = (house.path("sent"), house.path("received"));
    fs::write(&sent, &body).unwrap();
    for chunked in [false, true] {
        let file = format!("@{}", sent.display());
        let mut arguments = vec!["--data-binary", &file, "--output", received.to_str().unwrap()];
        if chunked {
            arguments.extend(["--header", "Transfer-Encoding: chunked"]);
        }
        house.got(address, "example.com", &arguments);
        let received = fs::read(&received).unwrap();
        if chunked {
            assert!(received.len() > body.len(), "the echo keeps the framing");
        } else {
            assert!(received == body, "{} bytes", received.len());
        }
    }
}

#[test]
fn openssl_sees_names_versions_and_resumption() {
    let house = House::new();
    house.authority.issue(house.folder.path(), "shop", &["shop.example.com"]);
    let origin = Origin::named("hello");
    let certificates = format!("certificates = [{}, {}]", house.entry("site"), house.entry("shop"));
    let toml = format!(
        "{RUNTIME}{}{}",
        house.listener("web", "app", "min_version = \"1.3\""),
        cluster("app", origin.address(), "")
    );
    let toml = toml.replace(&format!("certificates = [{}]", house.entry("site")), &certificates);
    let proxy = Proxy::start(&toml);
    let address = tcp(&proxy.address("web"));
    for (name, subject) in
        [("shop.example.com", "CN = shop"), ("www.example.com", "CN = site"), ("else", "CN = site")]
    {
        let said = house.s_client(address, &["-servername", name, "-alpn", "h9,http/1.1"]);
        assert!(said.contains(&format!("subject={subject}")), "{name}: {said}");
        assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
        assert!(said.contains("ALPN protocol: http/1.1"), "{said}");
        assert!(said.contains("TLSv1.3"), "{said}");
    }
    let old = house.s_client(address, &["-tls1_2"]);
    assert!(old.contains("alert protocol version"), "{old}");

    let session = house.path("session");
    let session = session.to_str().unwrap();
    // Tickets come with the first answer or the first wait, and a client that closes before
    // they have been sent has not been served: so each asks for something.
    let ask = |arguments: &[&str]| {
        let mut client = Command::new("openssl")
            .args(["s_client", "-ign_eof", "-connect", &address.to_string()])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = client.stdin.take().unwrap();
        input.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut said = String::new();
        client.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        client.wait().unwrap();
        said
    };
    let saved = ask(&["-sess_out", session]);
    assert!(saved.contains("hello"), "{saved}");
    assert!(saved.contains("closed"), "{saved}");
    // For two turns of six hours: that of the key it is made with, and the next one's.
    assert!(saved.contains("ticket lifetime hint: 43200 (seconds)"), "{saved}");
    let again = ask(&["-sess_in", session]);
    assert!(again.contains("Reused, TLSv1.3"), "{again}");
    eventually("a resumption is counted", || proxy.report("web").listener.resumptions() == 1);
    // Whichever shard gave the ticket out, all of them know it.
    let listener = proxy.report("web").listener;
    let before = [0, 1].map(|shard| listener.accepted_connections_on(shard));
    eventually("each shard has served it again", || {
        let again = ask(&["-sess_in", session]);
        assert!(again.contains("Reused, TLSv1.3"), "{again}");
        [0, 1].iter().all(|shard| listener.accepted_connections_on(*shard) > before[*shard])
    });
    // Nor does a reload that compiles the listener anew forget it.
    let other =
        toml.replace("min_version = \"1.3\"", "min_version = \"1.3\"\nhandshake_timeout = \"9s\"");
    proxy.reload(&other).unwrap();
    let again = ask(&["-sess_in", session]);
    assert!(again.contains("Reused, TLSv1.3"), "{again}");
}

#[test]
fn the_state_of_a_certificate_is_stapled_to_the_handshake() {
    let house = House::new();
    // What an authority keeps of the certificates it issued (openssl-ca(1)), and says of one.
    let (index, asked, response) = (house.path("index"), house.path("asked"), house.path("ocsp"));
    fs::write(&index, "V\t491231235959Z\t\t01\tunknown\t/CN=site\n").unwrap();
    house.authority.write_key(house.folder.path());
    let [ca, key, site] = ["ca.pem", "ca.key", "site.pem"].map(|name| house.path(name));
    let ocsp = |arguments: &[&std::ffi::OsStr]| {
        let output = Command::new("openssl").arg("ocsp").args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    let option = std::ffi::OsStr::new;
    let [issuer, cert] = ["-issuer", "-cert"].map(option);
    ocsp(&[issuer, ca.as_ref(), cert, site.as_ref(), option("-reqout"), asked.as_ref()]);
    let by = [
        option("-CA"),
        ca.as_ref(),
        option("-rsigner"),
        ca.as_ref(),
        option("-rkey"),
        key.as_ref(),
    ];
    let about = [option("-index"), index.as_ref(), option("-reqin"), asked.as_ref()];
    ocsp(
        &[&by[..], &about, &[option("-ndays"), option("2"), option("-respout"), response.as_ref()]]
            .concat(),
    );

    let origin = Origin::named("hello");
    let entry = house.entry("site");
    let stapled = entry.replace(" }", &format!(", ocsp = {response:?} }}"));
    for (entry, expected) in
        [(&entry, "OCSP response: no response sent"), (&stapled, "Cert Status: good")]
    {
        let listener = house.listener("web", "app", "").replace(&house.entry("site"), entry);
        let proxy =
            Proxy::start(&format!("{RUNTIME}{listener}{}", cluster("app", origin.address(), "")));
        let address = tcp(&proxy.address("web"));
        for version in ["-tls1_2", "-tls1_3"] {
            let said = house.s_client(address, &["-status", "-servername", "example.com", version]);
            assert!(said.contains(expected), "{said}");
        }
    }
}

#[test]
fn an_entry_may_name_its_own_names_and_a_listener_its_protocols() {
    let house = House::new();
    house.authority.issue(house.folder.path(), "other", &["other.test"]);
    let named = house.entry("other").replace(" }", ", names = [\"shop.test\"] }");
    let certificates = format!("{}, {named}", house.entry("site"));
    let listener = house.listener("web", "app", "alpn = [\"http/1.1\"]");
    let listener = listener.replace(&house.entry("site"), &certificates);
    let proxy = Proxy::start(&format!("{RUNTIME}{listener}{}", cluster("app", "127.0.0.1:1", "")));
    let address = tcp(&proxy.address("web"));
    for (name, subject) in [("shop.test", "CN = other"), ("other.test", "CN = site")] {
        let said = house.s_client(address, &["-servername", name, "-alpn", "h2,http/1.1"]);
        assert!(said.contains(&format!("subject={subject}")), "{name}: {said}");
        assert!(said.contains("ALPN protocol: http/1.1"), "{said}");
    }
}

#[test]
fn clients_without_a_certificate_are_refused_where_one_is_required() {
    let house = House::new();
    house.authority.issue(house.folder.path(), "alice", &["alice"]);
    let origin = Origin::named("hello");
    let ca = house.path("ca.pem");
    let toml = format!(
        "{RUNTIME}{}{}",
        house.listener("web", "app", &format!("client_auth = {{ ca = {ca:?} }}")),
        cluster("app", origin.address(), "")
    );
    let proxy = Proxy::start(&toml);
    let address = tcp(&proxy.address("web"));
    let (certificate, key) = (house.path("alice.pem"), house.path("alice.key"));
    let with = ["--cert", certificate.to_str().unwrap(), "--key", key.to_str().unwrap()];
    assert_eq!(house.got(address, "example.com", &with), "hello");
    let without = house.curl(address, "example.com", &[]);
    assert!(!without.status.success());
    assert_eq!(origin.requests().len(), 1);
    let certificates = bs9_net::tls::FailureKind::Certificate as usize;
    eventually("the refusal is counted", || {
        proxy.report("web").listener.handshake_failures()[certificates] == 1
    });
}

#[test]
fn what_is_not_tls_is_refused_and_counted() {
    let house = House::new();
    let toml = format!(
        "{RUNTIME}{}{}",
        house.listener("web", "app", ""),
        cluster("app", "127.0.0.1:1", "")
    );
    let proxy = Proxy::start(&toml);
    let mut client = proxy.web();
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    let told = client.rest();
    assert_eq!(told.first(), Some(&21), "an alert: {told:?}");
    let not_tls = bs9_net::tls::FailureKind::NotTls as usize;
    eventually("it is counted", || proxy.report("web").listener.handshake_failures()[not_tls] == 1);
    eventually("nothing is left open", || proxy.open_connections() == 0);
}

#[test]
fn a_client_that_does_not_finish_its_handshake_is_closed_in_time() {
    let house = House::new();
    let listener = house.listener("web", "app", "handshake_timeout = \"200ms\"");
    let proxy = Proxy::start(&format!("{RUNTIME}{listener}{}", cluster("app", "127.0.0.1:1", "")));
    let mut client = proxy.web();
    client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc");
    client.expect_closed();
    let timeouts = bs9_net::tls::FailureKind::Timeout as usize;
    eventually("it is counted", || {
        proxy.report("web").listener.handshake_failures()[timeouts] == 1
    });
}

#[test]
fn endpoints_that_cannot_prove_who_they_are_get_no_request() {
    let house = House::new();
    let origin = Origin::named("secret");
    let inner = Proxy::start(&format!(
        "{RUNTIME}{}{}",
        house.listener("inner", "app", ""),
        cluster("app", origin.address(), "")
    ));
    let endpoint = tcp(&inner.address("inner"));
    let ca = house.path("ca.pem");
    let site = |tls: &str| {
        format!(
            "{RUNTIME}[listeners.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n\
             routes = [{{ cluster = \"app\" }}]\n{}",
            cluster("app", endpoint, &format!("tls = {tls}"))
        )
    };
    // The certificate is for names, not for the address.
    let proxy = Proxy::start(&site(&format!("{{ ca = {ca:?} }}")));
    assert_eq!(proxy.web().get("/").status(), 502);
    let mut kept = proxy.web();
    proxy.reload(&site(&format!("{{ ca = {ca:?}, server_name = \"localhost\" }}"))).unwrap();
    assert_eq!(kept.get("/").text(), "secret");
    assert_eq!(kept.get("/").text(), "secret");
    assert_eq!(inner.report("inner").listener.handshakes(), 1, "the connection was kept");
    // Other rules: what was connected under the old ones is not used any more.
    Authority::new().write(house.folder.path());
    proxy.reload(&site(&format!("{{ ca = {ca:?}, server_name = \"localhost\" }}"))).unwrap();
    assert_eq!(kept.get("/").status(), 502);
    proxy.reload(&site("{ verify = false }")).unwrap();
    assert_eq!(kept.get("/").text(), "secret");
    assert_eq!(origin.requests().len(), 3);
}

#[test]
fn health_checks_speak_tls_and_believe_nobody_they_should_not() {
    let house = House::new();
    let origin = Origin::named("well");
    let inner = Proxy::start(&format!(
        "{RUNTIME}{}{}",
        house.listener("inner", "app", ""),
        cluster("app", origin.address(), "")
    ));
    let endpoint = tcp(&inner.address("inner"));
    let ca = house.path("ca.pem");
    let site = |name: &str| {
        let check = "health_check = { path = \"/healthz\", interval = \"1s\", unhealthy_after = 1, healthy_after = 1 }";
        let tls = format!("tls = {{ ca = {ca:?}, server_name = \"{name}\" }}\n{check}");
        format!(
            "{RUNTIME}[listeners.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n\
             routes = [{{ cluster = \"app\" }}]\n{}",
            cluster("app", endpoint, &tls)
        )
    };
    let proxy = Proxy::start(&site("example.com"));
    let health = || format!("{:?}", proxy.endpoint(endpoint).health);
    eventually("the endpoint is healthy", || health() == "Healthy");
    proxy.reload(&site("example.org")).unwrap();
    eventually("the endpoint is unhealthy", || health() == "Unhealthy");
    let reason = proxy.endpoint(endpoint).health_reason.unwrap();
    assert!(reason.contains("TLS") && reason.contains("example.org"), "{reason}");
}

/// `openssl s_server`, ended when dropped.
pub(crate) struct OpensslServer {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl OpensslServer {
    /// `arguments` are more of them, as the versions it speaks.
    pub(crate) fn start(house: &House, arguments: &[&str]) -> Self {
        let mut process = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-www", "-cert"])
            .arg(house.path("site.pem"))
            .arg("-key")
            .arg(house.path("site.key"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines.find_map(|line| {
            line.unwrap().strip_prefix("ACCEPT ")?.rsplit(':').next()?.parse().ok()
        });
        // What it says later has to go somewhere.
        thread::spawn(move || lines.count());
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.expect("a port")));
        Self { process, address }
    }
}

impl Drop for OpensslServer {
    fn drop(&mut self) {
        let _ended_already = self.process.kill();
        let _reaped = self.process.wait();
    }
}

#[test]
fn an_endpoint_of_openssl_is_spoken_to_in_both_versions() {
    let house = House::new();
    let ca = house.path("ca.pem");
    for version in ["-tls1_2", "-tls1_3"] {
        let server = OpensslServer::start(&house, &[version]);
        let tls = format!("tls = {{ ca = {ca:?}, server_name = \"example.com\" }}");
        let proxy = Proxy::start(&format!(
            "{RUNTIME}[listeners.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n\
             routes = [{{ cluster = \"app\" }}]\n{}",
            cluster("app", server.address, &tls)
        ));
        for _ in 0..3 {
            let answer = proxy.web().get("/");
            assert_eq!(answer.status(), 200);
            assert!(answer.text().contains("s_server"), "{}", answer.text());
        }
    }
}

#[test]
fn a_renewed_certificate_is_taken_up_under_load_without_a_failed_request() {
    let house = House::new();
    let origin = Origin::named("hello");
    let inner_toml = format!(
        "{RUNTIME}{}{}",
        house.listener("inner", "app", ""),
        cluster("app", origin.address(), "")
    );
    let inner = Proxy::start(&inner_toml);
    let endpoint = tcp(&inner.address("inner"));
    let ca = house.path("ca.pem");
    // Without kept connections: every request shakes hands.
    let tls =
        format!("max_idle_connections = 0\ntls = {{ ca = {ca:?}, server_name = \"localhost\" }}");
    let kept = format!("tls = {{ ca = {ca:?}, server_name = \"localhost\" }}");
    let proxy = Arc::new(Proxy::start(&format!(
        "{RUNTIME}[listeners.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n\
         routes = [{{ cluster = \"app\" }}, {{ path = \"/kept\", cluster = \"kept\" }}]\n{}{}",
        cluster("app", endpoint, &tls),
        cluster("kept", endpoint, &kept)
    )));
    let (done, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = ["/", "/kept", "/"]
        .into_iter()
        .map(|target| {
            let (done, requests) = (Arc::clone(&done), Arc::clone(&requests));
            let mut client = proxy.web();
            thread::spawn(move || {
                while !done.load(SeqCst) {
                    assert_eq!(client.get(target).text(), "hello");
                    requests.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    for round in 0..10 {
        house.authority.issue_as(
            house.folder.path(),
            "site",
            &["localhost"],
            &rcgen::PKCS_ECDSA_P256_SHA256,
            1000 + round,
        );
        let before = requests.load(SeqCst);
        inner.reload(&inner_toml).unwrap();
        eventually("requests went on", || requests.load(SeqCst) > before + 5);
    }
    done.store(true, SeqCst);
    for client in clients {
        client.join().unwrap();
    }
    let said = house.s_client(endpoint, &["-showcerts"]);
    let file = house.path("shown.pem");
    let from = said.find("-----BEGIN").unwrap();
    fs::write(&file, &said[from..]).unwrap();
    let serial =
        Command::new("openssl").args(["x509", "-noout", "-serial", "-in"]).arg(&file).output();
    let serial = String::from_utf8(serial.unwrap().stdout).unwrap();
    assert_eq!(serial.trim(), "serial=03F1");
    // Kept connections outlived every reload.
    let handshakes = inner.report("inner").listener.handshakes();
    assert!(handshakes < requests.load(SeqCst) as u64 + 10, "{handshakes}");
}

/// Two TLS servers with different answers, and a tcp listener in front of them.
fn sealed(house: &House, more: &str) -> (Proxy, Proxy) {
    let answer = |name: &str| {
        format!(
            "[listeners.{name}]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n\
             routes = [{{ respond = {{ body = \"{name}\" }} }}]\n\
             [listeners.{name}.tls]\ncertificates = [{}]\n",
            house.entry("site")
        )
    };
    let inner = Proxy::start(&format!("{RUNTIME}{}{}", answer("one"), answer("two")));
    let [one, two] = ["one", "two"].map(|name| tcp(&inner.address(name)));
    let outer = Proxy::start(&format!(
        "{RUNTIME}[listeners.sealed]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"tcp\"\n{more}\n\
         sni = [{{ names = [\"one.example.com\"], cluster = \"one\" }}, \
         {{ names = [\"*.example.com\"], cluster = \"two\" }}]\n{}{}",
        cluster("one", one, ""),
        cluster("two", two, "")
    ));
    (inner, outer)
}

#[test]
fn a_connection_goes_where_its_name_leads_without_being_opened() {
    let house = House::new();
    let (inner, outer) = sealed(&house, "");
    let address = tcp(&outer.address("sealed"));
    for (name, wanted) in [("one.example.com", "one"), ("any.example.com", "two")] {
        // The certificate is the inner server's: nobody in between has opened it.
        assert_eq!(house.got(address, name, &["--include"]).lines().last(), Some(wanted));
    }
    assert_eq!(outer.report("sealed").listener.handshakes(), 0);
    let refused = house.curl(address, "localhost", &[]);
    assert!(!refused.status.success());
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("unrecognized name"), "{told}");
    let mut other = outer.client("sealed");
    other.send("GET / HTTP/1.1\r\n\r\n");
    other.expect_closed();
    drop(inner);
}

#[test]
fn what_has_no_name_of_its_own_goes_to_the_listeners_cluster() {
    let house = House::new();
    let (_inner, outer) = sealed(&house, "cluster = \"one\"");
    let address = tcp(&outer.address("sealed"));
    assert_eq!(house.got(address, "localhost", &[]), "one");
    assert_eq!(house.got(address, "b.example.com", &[]), "two");
}

#[test]
fn a_tcp_listener_opens_tls_and_passes_on_what_is_inside() {
    let house = House::new();
    let upper = |_: usize, mut wire: Wire, _: &crate::origin::Log| {
        loop {
            let Ok(bytes) = wire.try_exact(1) else { return };
            wire.send(bytes.to_ascii_uppercase());
        }
    };
    let (one, two) = (Origin::scripted(upper), Origin::answering(|_| ok("two")));
    let toml = format!(
        "{RUNTIME}[listeners.open]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"tcp\"\ncluster = \"one\"\n\
         sni = [{{ names = [\"two.example.com\"], cluster = \"two\" }}]\n\
         [listeners.open.tls]\ncertificates = [{}]\n{}{}",
        house.entry("site"),
        cluster("one", one.address(), ""),
        cluster("two", two.address(), "")
    );
    let proxy = Proxy::start(&toml);
    let address = tcp(&proxy.address("open"));
    assert_eq!(house.got(address, "two.example.com", &[]), "two");
    let mut client = Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string(), "-quiet", "-no_ign_eof"])
        .args(["-servername", "localhost"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut input, mut output) = (client.stdin.take().unwrap(), client.stdout.take().unwrap());
    for line in ["hello\n", "again\n"] {
        input.write_all(line.as_bytes()).unwrap();
        let mut back = vec![0; line.len()];
        output.read_exact(&mut back).unwrap();
        assert_eq!(back, line.to_uppercase().as_bytes());
    }
    drop(input);
    client.wait().unwrap();
    eventually("both sides have closed", || proxy.open_connections() == 0);
}

#[test]
fn clients_of_http_are_sent_to_https() {
    let origin = Origin::named("challenge");
    let proxy = Proxy::start(&format!(
        "{RUNTIME}[listeners.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n\
         https_redirect = {{ port = 8443, status = 301 }}\n\
         routes = [{{ path = \"/.well-known/\", cluster = \"app\" }}]\n{}",
        cluster("app", origin.address(), "")
    ));
    let mut client = proxy.web();
    let location = |client: &mut Wire, target: &str, host: &str| {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let answer = client.response();
        assert_eq!(answer.status(), 301);
        answer.header("location").unwrap().to_owned()
    };
    assert_eq!(
        location(&mut client, "/a/b?c=d&e", "example.com"),
        "https://example.com:8443/a/b?c=d&e"
    );
    assert_eq!(location(&mut client, "/", "example.com:8080"), "https://example.com:8443/");
    assert_eq!(location(&mut client, "/", "[::1]:8080"), "https://[::1]:8443/");
    assert_eq!(client.get("/.well-known/acme").text(), "challenge");
    client.send("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.response().header("location"), Some("https://x:8443/"));
}

#[test]
fn a_certificate_that_cannot_be_used_changes_nothing() {
    let house = House::new();
    let origin = Origin::named("hello");
    let toml = format!(
        "{RUNTIME}{}{}",
        house.listener("web", "app", ""),
        cluster("app", origin.address(), "")
    );
    let proxy = Proxy::start(&toml);
    let address = tcp(&proxy.address("web"));
    house.authority.issue(Path::new(house.folder.path()), "other", &["other"]);
    fs::copy(house.path("other.key"), house.path("site.key")).unwrap();
    let refused = bs9_config::parse_str("test.toml", &toml).unwrap_err().render(false);
    assert!(refused.contains("does not belong to the certificate in"), "{refused}");
    assert_eq!(house.got(address, "example.com", &[]), "hello");
}
