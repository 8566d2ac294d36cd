//! Bodies far larger than memory ought to be: through curl, both ways, by every version of HTTP.
//!
//! `BS9_DEEP=1` (`make deep`) makes them 1 GiB.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and tells what it measured"
)]

mod fixture;
#[path = "bulk/origin.rs"]
mod origin;
#[path = "bulk/pattern.rs"]
mod pattern;

use std::{
    io::{Read as _, Write as _},
    path::Path,
    process::{Command, Stdio},
    thread,
};

use fixture::{DataPlane, run};
use origin::BulkOrigin;
use pattern::Pattern;

/// What a data plane may grow by at its peak, whatever passes.
const ALLOWED_KIB: u64 = 32 * 1024;

fn body_bytes() -> u64 {
    let deep = std::env::var_os("BS9_DEEP").is_some();
    if deep { 1 << 30 } else { 128 << 20 }
}

fn peak_kib(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn curl(arguments: &[&str], url: &str) -> Command {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--insecure", "--max-time", "600"]);
    command.args(arguments).arg(url).stdout(Stdio::piped());
    command
}

/// Gets a body with curl and compares every byte.
fn download(arguments: &[&str], url: &str) {
    let mut child = curl(arguments, &format!("{url}/down/{}", body_bytes())).spawn().unwrap();
    let mut output = child.stdout.take().unwrap();
    let mut expected = Pattern::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        match output.read(&mut piece).unwrap() {
            0 => break,
            count => assert!(expected.matches(&piece[..count]), "another byte than was sent"),
        }
    }
    assert!(child.wait().unwrap().success(), "curl succeeds");
    assert_eq!(expected.position(), body_bytes());
}

/// Sends a body with curl; the origin compares every byte.
fn upload(arguments: &[&str], url: &str) {
    let arguments = [arguments, &["-T", "-", "-H", "Expect:"]].concat();
    let mut child = curl(&arguments, &format!("{url}/up")).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let sending = thread::spawn(move || {
        let (mut pattern, mut piece) = (Pattern::new(), vec![0; 64 * 1024]);
        while pattern.position() < body_bytes() {
            pattern.fill(&mut piece);
            input.write_all(&piece).unwrap();
        }
    });
    let output = child.wait_with_output().unwrap();
    sending.join().expect("curl takes it all");
    assert!(output.status.success(), "curl succeeds");
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{} bytes", body_bytes()));
}

fn certificate(folder: &Path) {
    let place = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let arguments = ["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-newkey"];
    let files = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"];
    let (certificate, key) = (place("site.pem"), place("site.key"));
    run("openssl", &[&arguments[..], &files, &[&certificate, "-keyout", &key]].concat()).ok();
}

/// Listeners `web` and, with TLS, `secure`.
fn data_plane(origin: &BulkOrigin) -> DataPlane {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path());
    let listener = |name: &str, more: &str| {
        format!(
            "[listeners.{name}]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n{more}\n\
             [[listeners.{name}.routes]]\ncluster = \"api\"\n"
        )
    };
    let tls = "tls = { certificates = [{ certificate = \"site.pem\", key = \"site.key\" }] }";
    let config = format!(
        "{}{}{}[clusters.api]\nendpoints = [\"{}\"]\n",
        fixture::ADMIN,
        listener("web", ""),
        listener("secure", tls),
        origin.address
    );
    fixture::write(&folder.path().join("bs9.toml"), &config);
    DataPlane::serve_in(folder, "bs9.toml")
}

#[test]
fn bodies_of_any_size_pass_through_little_memory() {
    let origin = BulkOrigin::start();
    let data_plane = data_plane(&origin);
    let pid = data_plane.running.pid();
    let plain = format!("http://{}", data_plane.running.address("web"));
    let secure = format!("https://{}", data_plane.running.address("secure"));
    let ways: [(&str, &[&str], &str); 4] = [
        ("HTTP/1.1", &["--http1.1"], &plain),
        ("HTTP/2 by prior knowledge", &["--http2-prior-knowledge"], &plain),
        ("HTTP/1.1 with TLS", &["--http1.1"], &secure),
        ("HTTP/2 with TLS", &["--http2"], &secure),
    ];
    let before = peak_kib(pid);
    for (way, arguments, url) in ways {
        download(arguments, url);
        upload(arguments, url);
        let grown = peak_kib(pid) - before;
        println!("{way}: {} MiB each way, peak {grown} KiB above the start", body_bytes() >> 20);
        assert!(grown < ALLOWED_KIB, "{way}: {grown} KiB more");
    }
}

#[test]
fn curl_speaks_every_version_that_it_is_offered() {
    let origin = BulkOrigin::start();
    let data_plane = data_plane(&origin);
    let plain = format!("http://{}/down/10", data_plane.running.address("web"));
    let secure = format!("https://{}/down/10", data_plane.running.address("secure"));
    let ways: [(&[&str], &str, &str); 6] = [
        (&["--http1.0"], &plain, "1.1"),
        (&["--http1.1"], &plain, "1.1"),
        // An upgrade to h2c is not taken up: the request is answered as it was sent.
        (&["--http2"], &plain, "1.1"),
        (&["--http2-prior-knowledge"], &plain, "2"),
        (&["--http1.1"], &secure, "1.1"),
        (&["--http2"], &secure, "2"),
    ];
    for (arguments, url, version) in ways {
        let told = ["--output", "/dev/null", "--write-out", "%{http_version} %{size_download}"];
        let output = curl(&[arguments, &told].concat(), url).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said, format!("{version} 10"), "{arguments:?} {url}");
    }
}

#[test]
fn curl_is_let_through_to_a_web_socket() {
    let origin = BulkOrigin::start();
    let data_plane = data_plane(&origin);
    for (name, scheme) in [("web", "http"), ("secure", "https")] {
        let url = format!("{scheme}://{}/chat", data_plane.running.address(name));
        let asks = [
            "--include",
            "--no-buffer",
            "--http1.1",
            "-H",
            "Connection: Upgrade",
            "-H",
            "Upgrade: websocket",
            "-H",
            "Sec-WebSocket-Version: 13",
            "-H",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ];
        let output = curl(&asks, &url).output().unwrap();
        let said = output.stdout;
        assert!(said.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"), "{said:?}");
        // One message of the server's, and the end.
        assert!(said.ends_with(b"\r\n\r\n\x81\x05hello\x88\x00"), "{said:?}");
    }
}
