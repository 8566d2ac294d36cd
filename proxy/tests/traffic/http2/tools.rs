//! The tools people use.

use std::{fs, path::Path, process::Command};

use bs9_config::BindAddress;

use crate::{
    authority::Authority,
    fixture::{Proxy, Site},
    origin::Origin,
    wire::{noise, ok},
};

fn url(proxy: &Proxy, path: &str) -> String {
    let BindAddress::Tcp(address) = proxy.address("web") else { unreachable!() };
    format!("http://{address}{path}")
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output =
        output.unwrap_or_else(|error| panic!("{program} is needed (.ci/deps test): {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {text}{errors}");
    text
}

#[test]
fn curl_speaks_it_by_prior_knowledge() {
    let origin = Origin::answering(|request| ok(&format!("{} ", request.target())));
    let proxy = Site::of([origin.address()]).start();
    for path in ["/a", "/b?c=d"] {
        let to = url(&proxy, path);
        let said = ["--write-out", "%{http_version}", "--http2-prior-knowledge", "--silent", &to];
        assert_eq!(run("curl", &said), format!("{path} 2"));
    }
}

#[test]
fn nghttp_asks_for_several_things_on_one_connection() {
    let origin = Origin::answering(|request| ok(&format!("{} ", request.target())));
    let proxy = Site::of([origin.address()]).start();
    let urls = ["/a", "/b?c=d", "/e"].map(|path| url(&proxy, path));
    let answers = run("nghttp", &urls.each_ref().map(String::as_str));
    let mut answers: Vec<_> = answers.split_whitespace().collect();
    answers.sort_unstable();
    assert_eq!(answers, ["/a", "/b?c=d", "/e"]);
    assert_eq!(proxy.report("web").listener.accepted_connections(), 1);
}

fn echo() -> Origin {
    Origin::answering(|request| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len());
        [head.as_bytes(), &request.body].concat()
    })
}

/// curl sends a body to an echo, and gets it back.
fn there_and_back(folder: &Path, arguments: &[&str], size: usize) {
    let (sent, received) = (folder.join("sent"), folder.join("received"));
    let body = noise(size);
    fs::write(&sent, &body).unwrap();
    let upload = format!("@{}", sent.display());
    let common = ["--silent", "--show-error", "--header", "Expect:", "--data-binary", &upload];
    let output = ["--output", received.to_str().unwrap()];
    run("curl", &[&common[..], &output, arguments].concat());
    assert!(fs::read(&received).unwrap() == body, "the body came back changed");
}

#[test]
fn curl_gets_64_mib_there_and_back() {
    let origin = echo();
    let proxy = Site::of([origin.address()]).start();
    let folder = tempfile::tempdir().unwrap();
    let to = url(&proxy, "/echo");
    there_and_back(folder.path(), &["--http2-prior-knowledge", &to], 64 << 20);
}

fn h2load(to: &str) {
    let report = run("h2load", &["-n", "10000", "-c", "10", "-m", "100", to]);
    assert!(report.contains("10000 succeeded, 0 failed, 0 errored"), "{report}");
    assert!(report.contains("status codes: 10000 2xx"), "{report}");
}

#[test]
fn h2load_gets_every_answer() {
    let origin = Origin::named("here");
    let proxy = Site { shards: 2, ..Site::of([origin.address()]) }.start();
    h2load(&url(&proxy, "/"));
}

/// The listener `web` with TLS that leads to `origin`, in a folder with its certificates.
fn sealed(origin: &Origin, more: &str) -> (tempfile::TempDir, Proxy) {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.write(folder.path());
    authority.issue(folder.path(), "site", &["localhost"]);
    let path = folder.path().display();
    let tls = format!(
        "[listeners.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n{more}\n\
         routes = [{{ cluster = \"app\" }}]\n[runtime]\nshards = 1\npin = false\n\
         [listeners.web.tls]\n\
         certificates = [{{ certificate = \"{path}/site.pem\", key = \"{path}/site.key\" }}]\n\
         [clusters.app]\nendpoints = [\"{}\"]\n",
        origin.address()
    );
    (folder, Proxy::start(&tls))
}

#[test]
fn tls_clients_agree_on_it_by_alpn_where_it_is_spoken() {
    for (more, wanted, version) in
        [("", "--http2", "2"), ("", "--http1.1", "1.1"), ("http2 = false", "--http2", "1.1")]
    {
        let origin = Origin::named("here");
        let (folder, proxy) = sealed(&origin, more);
        let BindAddress::Tcp(address) = proxy.address("web") else { unreachable!() };
        let to = format!("https://localhost:{}/", address.port());
        let ca = folder.path().join("ca.pem");
        let ca = ca.to_str().unwrap();
        let said = ["--write-out", " %{http_version}", "--silent", "--cacert", ca, wanted, &to];
        assert_eq!(run("curl", &said), format!("here {version}"));
        assert_eq!(origin.only_request().headers("x-forwarded-proto"), ["https"]);
    }
}

#[test]
fn h2load_gets_every_answer_over_tls() {
    let origin = Origin::named("here");
    let (_folder, proxy) = sealed(&origin, "");
    h2load(&url(&proxy, "/").replace("http:", "https:"));
}

#[test]
fn a_large_body_gets_there_and_back_over_tls() {
    let origin = echo();
    let (folder, proxy) = sealed(&origin, "");
    let to = url(&proxy, "/echo").replace("http:", "https:");
    there_and_back(folder.path(), &["--http2", "--insecure", &to], 8 << 20);
}
