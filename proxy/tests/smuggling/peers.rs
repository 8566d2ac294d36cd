//! nginx and HAProxy, as Debian has them, in front of the same origin.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    conversation::Delivery, fixture::eventually, http2, requests, strict_origin::StrictOrigin,
};

/// How long a peer may be silent until it counts as waiting.
const SILENCE: Duration = Duration::from_millis(1_000);

/// What a peer makes of every case, in the order of the book.
pub(crate) struct Found {
    /// With its version.
    pub(crate) name: String,
    pub(crate) verdicts: Vec<String>,
}

pub(crate) fn verdicts() -> Vec<Found> {
    vec![judge(nginx), judge(haproxy)]
}

/// A peer at work; killed when dropped.
struct Peer {
    name: String,
    child: Child,
    http1: SocketAddr,
    http2: SocketAddr,
    _folder: TempDir,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _reaped_already = self.child.wait();
    }
}

fn judge(start: impl FnOnce(SocketAddr) -> Peer) -> Found {
    let origin = StrictOrigin::start();
    let peer = start(origin.address);
    eventually("the peer listens", || {
        TcpStream::connect(peer.http1).is_ok() && TcpStream::connect(peer.http2).is_ok()
    });
    let mut verdicts = Vec::new();
    let told = |(verdict, wrong): (String, Vec<String>)| {
        let poisoned = wrong.iter().any(|what| what.contains("next client"));
        if poisoned { format!("{verdict}; poisons the next client") } else { verdict }
    };
    for case in requests::all() {
        let judged = requests::judged(&origin, peer.http1, &case, Delivery::AtOnce, SILENCE);
        verdicts.push(told(judged));
    }
    for request in http2::all() {
        verdicts.push(told(http2::judged(&origin, peer.http2, peer.http1, &request, SILENCE)));
    }
    Found { name: peer.name.clone(), verdicts }
}

/// An address that was free a moment ago.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn start(
    name: &str,
    version: &[&str],
    config: impl FnOnce(SocketAddr, SocketAddr, &str) -> String,
    arguments: impl FnOnce(&str) -> Vec<String>,
) -> Peer {
    let needed = |error| panic!("{name} is needed to compare (.ci/deps bench): {error}");
    let said = Command::new(name).args(version).output().unwrap_or_else(needed);
    let said = [said.stdout, said.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    let digits = said.find(|one: char| one.is_ascii_digit()).unwrap();
    let number = said[digits..].split(|one: char| !one.is_ascii_digit() && one != '.').next();
    let folder = tempfile::tempdir().unwrap();
    let (http1, http2) = (free(), free());
    let place = folder.path().to_str().unwrap();
    let file = folder.path().join("config");
    fs::write(&file, config(http1, http2, place)).unwrap();
    let child = Command::new(name)
        .args(arguments(file.to_str().unwrap()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let name = format!("{name} {}", number.unwrap_or_default());
    Peer { name, child, http1, http2, _folder: folder }
}

fn nginx(origin: SocketAddr) -> Peer {
    let config = |http1: SocketAddr, http2: SocketAddr, folder: &str| {
        format!(
            "daemon off; master_process off; worker_processes 1; pid {folder}/pid;\n\
             error_log {folder}/error.log;\n\
             events {{ worker_connections 512; }}\n\
             http {{\n\
             access_log off; client_max_body_size 64k; default_type text/plain;\n\
             client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n\
             fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;\n\
             scgi_temp_path {folder}/scgi;\n\
             upstream app {{ server {origin}; keepalive 16; }}\n\
             server {{\n\
             listen {http1}; listen {http2} http2;\n\
             if ($http_x_nowhere) {{ return 404; }}\n\
             location /fixed {{ return 403; }}\n\
             location / {{\n\
             proxy_pass http://app; proxy_http_version 1.1; proxy_request_buffering off;\n\
             proxy_set_header Connection \"\"; proxy_set_header Host $http_host;\n\
             }}\n}}\n}}\n"
        )
    };
    let arguments = |file: &str| {
        let folder = file.trim_end_matches("/config");
        ["-p", folder, "-c", file, "-e", "stderr"].map(str::to_owned).to_vec()
    };
    start("nginx", &["-v"], config, arguments)
}

fn haproxy(origin: SocketAddr) -> Peer {
    let config = |http1: SocketAddr, http2: SocketAddr, _: &str| {
        format!(
            "global\n  maxconn 512\n  nbthread 1\n\
             defaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n\
             \x20 timeout server 30s\n  timeout http-request 15s\n  http-reuse always\n\
             frontend web\n  bind {http1}\n  bind {http2} proto h2\n\
             \x20 http-request deny deny_status 404 if {{ req.hdr(x-nowhere) -m found }}\n\
             \x20 http-request deny deny_status 403 if {{ path_beg /fixed }}\n\
             \x20 default_backend app\n\
             backend app\n  server origin {origin}\n"
        )
    };
    let arguments = |file: &str| ["-db", "-q", "-f", file].map(str::to_owned).to_vec();
    start("haproxy", &["-v"], config, arguments)
}
