//! The tools people use.

use std::{fs, process::Command};

use bs9_config::BindAddress;

use crate::{
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

#[test]
fn curl_gets_64_mib_there_and_back() {
    const BODY: usize = 64 << 20;
    let origin = Origin::answering(|request| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len());
        [head.as_bytes(), &request.body].concat()
    });
    let proxy = Site::of([origin.address()]).start();
    let folder = tempfile::tempdir().unwrap();
    let (sent, received) = (folder.path().join("sent"), folder.path().join("received"));
    let body = noise(BODY);
    fs::write(&sent, &body).unwrap();
    let upload = format!("@{}", sent.display());
    let to = url(&proxy, "/echo");
    let arguments = [
        "--silent",
        "--show-error",
        "--http2-prior-knowledge",
        "--header",
        "Expect:",
        "--data-binary",
        &upload,
        "--output",
        received.to_str().unwrap(),
        &to,
    ];
    run("curl", &arguments);
    assert!(fs::read(&received).unwrap() == body, "the body came back changed");
}

#[test]
fn h2load_gets_every_answer() {
    let origin = Origin::named("here");
    let proxy = Site { shards: 2, ..Site::of([origin.address()]) }.start();
    let to = url(&proxy, "/");
    let report = run("h2load", &["-n", "10000", "-c", "10", "-m", "100", &to]);
    assert!(report.contains("10000 succeeded, 0 failed, 0 errored"), "{report}");
    assert!(report.contains("status codes: 10000 2xx"), "{report}");
}
