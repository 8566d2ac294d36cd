//! What `/metrics` of a data plane says after traffic that is known, and what documents say of it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

#[path = "../../../proxy/net/tests/tls/authority.rs"]
#[allow(dead_code, reason = "shared with the tests of the host")]
mod authority;

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::Arc,
};

use authority::Authority;
use fixture::{ADMIN, DEADLINE, DataPlane, eventually, get, origin::Origin, run, write};
use regex::Regex;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};

/// Asks over TLS and HTTP/1.1, and reads to the end: tickets come with the answer.
fn ask(address: SocketAddr, config: &Arc<ClientConfig>) {
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut stream = StreamOwned::new(connection, socket);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\nhere"), "{answer}");
}

/// Says something that is no TLS, and is told so or closed.
fn say_no_tls(address: SocketAddr) {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut alert = Vec::new();
    let _reset = socket.read_to_end(&mut alert);
}

#[test]
fn known_traffic_is_counted_under_the_names_that_are_documented() {
    let admin = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.write(folder.path());
    authority.issue(folder.path(), "site", &["localhost"]);
    let ca = folder.path().join("ca.pem");
    let listen = ADMIN.replace("[runtime]", &format!("listen = \"{admin}\"\n[runtime]"));
    let origin = Origin::start("here");
    let web = format!(
        "[listeners.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n\
         routes = [{{ cluster = \"api\" }}]\n[listeners.web.tls]\n\
         certificates = [{{ certificate = \"site.pem\", key = \"site.key\" }}]\n\
         [clusters.api]\nendpoints = [\"{}\"]\n",
        origin.address
    );
    write(&folder.path().join("bs9.toml"), &format!("{listen}{web}"));
    let data_plane = DataPlane::serve_in(folder, "bs9.toml");
    let address = data_plane.running.address("web");

    // One connection of HTTP/2 with three requests.
    let url = format!("https://localhost:{}/", address.port());
    let curl = ["-sS", "--fail", "--http2", "--cacert", ca.to_str().unwrap(), &url, &url, &url];
    assert_eq!(run("curl", &curl).ok(), "here".repeat(3));
    // Two of HTTP/1.1, the second of which takes the session of the first one up.
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&ca).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    ask(address, &config);
    ask(address, &config);
    say_no_tls(address);

    for line in [
        "bs9_tls_handshakes_total{listener=\"web\"} 3",
        "bs9_tls_resumptions_total{listener=\"web\"} 1",
        "bs9_tls_handshake_failures_total{listener=\"web\",kind=\"not_tls\"} 1",
        "bs9_http2_connections_total{listener=\"web\"} 1",
        "bs9_http2_requests_total{listener=\"web\"} 3",
        "bs9_http2_resets_total{listener=\"web\"} 0",
        "bs9_http2_endings_total{listener=\"web\",reason=\"by_client\"} 1",
        "bs9_http_requests_total{listener=\"web\"} 5",
        "bs9_http_responses_total{listener=\"web\",class=\"2xx\"} 5",
        "bs9_listener_accepted_connections_total{listener=\"web\",protocol=\"http\"} 4",
        "bs9_listener_open_connections{listener=\"web\",protocol=\"http\"} 0",
        "bs9_cluster_response_seconds_count{cluster=\"api\"} 5",
        "bs9_shard_stalled{shard=\"0\"} 0",
        "bs9_shard_stalled{shard=\"1\"} 0",
        "bs9_shard_stalls_total{shard=\"0\"} 0",
        "bs9_shard_stalls_total{shard=\"1\"} 0",
        "bs9_process_ready 1",
        "bs9_config_generation 1",
    ] {
        let mut last = String::new();
        eventually(&format!("{line} in {last}"), || {
            last = get(admin, "/metrics").body;
            last.lines().any(|found| found == line).then_some(())
        });
    }
    let metrics = get(admin, "/metrics").body;
    let described = |of: &str| {
        let lines = metrics.lines().filter_map(|line| line.strip_prefix(of)?.split(' ').next());
        lines.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    assert_eq!(described("# TYPE "), described("# HELP "), "each says what it is");
    assert!(described("# TYPE ").len() > 20, "{metrics}");
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The files below `folder` that end so.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            found.extend(files(&entry, end));
        } else if entry.to_str().is_some_and(|path| path.ends_with(end)) {
            found.push(entry);
        }
    }
    found
}

/// What `pattern` finds in files, with where it was found.
fn words(files: &[PathBuf], pattern: &str) -> BTreeSet<(String, PathBuf)> {
    let pattern = Regex::new(pattern).unwrap();
    let mut found = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        found.extend(pattern.captures_iter(&text).map(|one| (one[1].to_owned(), file.clone())));
    }
    found
}

#[test]
fn every_metric_that_a_document_names_is_made() {
    // Names as the code writes them, quoted, before its tests begin.
    let made: BTreeSet<String> = ["manager/src", "manager/cli/src"]
        .iter()
        .flat_map(|folder| files(&root().join(folder), ".rs"))
        .filter_map(|file| fs::read_to_string(file).ok())
        .flat_map(|text| {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
            let name = Regex::new("\"(bs9_[a-z0-9_]*[a-z0-9])\"").unwrap();
            name.captures_iter(&code).map(|one| one[1].to_owned()).collect::<Vec<_>>()
        })
        .collect();
    assert!(made.contains("bs9_http2_endings_total") && made.len() > 100, "{made:#?}");
    let documents = [files(&root().join("docs"), ".md"), vec![root().join("README.md")]].concat();
    let named = words(&documents, "\\b(bs9_[a-z0-9]+_[a-z0-9_]*[a-z0-9])\\b");
    assert!(named.len() > 25, "{named:#?}");
    let unknown: Vec<_> = named
        .iter()
        .filter(|(name, _)| {
            // The lines of a histogram.
            let whole = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            !made.contains(name) && !whole.is_some_and(|whole| made.contains(whole))
        })
        .collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
}
