//! HTTP/1.1 with keep-alive on both sides and a small body.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustix::process::Signal;

use super::{Row, Running, Stage};
use crate::bench::Bench;
use crate::contender::{Contender, Installed, find_program, version_of};
use crate::load::{Load, wrk};
use crate::origin;
use crate::process::{Launch, Process};
use crate::run_dir::free_address;
use crate::template::fill;

const CONNECTIONS: u32 = 64;
const PROBE_LIMIT: Duration = Duration::from_secs(5);
const PROBE_ANSWER_LIMIT_BYTES: u64 = 64 * 1024;

#[derive(Debug)]
pub(crate) struct HttpKeepalive;

/// One origin, for all contenders.
#[derive(Debug)]
struct HttpStage {
    origin: SocketAddr,
    wrk_version: String,
    /// Held for its end.
    _process: Process,
}

impl Row for HttpKeepalive {
    fn name(&self) -> &'static str {
        "http-keepalive"
    }

    fn about(&self) -> &'static str {
        "HTTP/1.1, 64 keep-alive connections, 130-byte body, one worker on one core"
    }

    fn unit(&self) -> &'static str {
        "request"
    }

    fn contenders(&self) -> &'static [Contender] {
        &[Contender::Bs9, Contender::Nginx, Contender::Haproxy, Contender::Pingora]
    }

    fn goal(&self, peer: &Installed) -> Option<f64> {
        match peer.contender {
            Contender::Nginx | Contender::Haproxy => Some(0.80),
            Contender::Pingora => Some(0.45),
            Contender::Bs9 | Contender::Pgbouncer => None,
        }
    }

    fn stage(&self, bench: &Bench) -> anyhow::Result<Box<dyn Stage>> {
        let origin = free_address()?;
        let own = std::env::current_exe().context("finding the path of this program")?;
        let mut process = Launch::load(bench, "origin", &own)
            .arguments(["origin", "--listen"])
            .argument(origin.to_string())
            .start(bench)?;
        process.wait_until_it_accepts(origin)?;
        let wrk_version = version_of(&find_program("wrk")?, "-v")?;
        Ok(Box::new(HttpStage { origin, wrk_version, _process: process }))
    }
}

impl Stage for HttpStage {
    fn versions(&self) -> Vec<(&'static str, String)> {
        vec![("wrk", self.wrk_version.clone())]
    }

    fn launch(&self, bench: &Bench, contender: &Installed) -> anyhow::Result<Running> {
        let address = free_address()?;
        let (listen, origin) = (address.to_string(), self.origin.to_string());
        let folder = bench.dir.path().display().to_string();
        let places =
            [("listen", listen.as_str()), ("origin", origin.as_str()), ("folder", folder.as_str())];
        let launch = Launch::contender(bench, contender.contender.name(), &contender.program);
        let launch = match contender.contender {
            Contender::Bs9 => {
                let text = fill(include_str!("../../configs/bs9-http.toml"), &places)?;
                let config = bench.dir.write("bs9.toml", &text)?;
                launch.arguments(["serve", "--config"]).argument(config)
            }
            Contender::Nginx => {
                let text = fill(include_str!("../../configs/nginx.conf"), &places)?;
                let config = bench.dir.write("nginx.conf", &text)?;
                launch.arguments(["-e", "stderr", "-p", &folder, "-c"]).argument(config)
            }
            Contender::Haproxy => {
                let text = fill(include_str!("../../configs/haproxy.cfg"), &places[..2])?;
                let config = bench.dir.write("haproxy.cfg", &text)?;
                launch.arguments(["-db", "-f"]).argument(config)
            }
            // SIGINT is its quick way out; SIGTERM lets runtimes wait.
            Contender::Pingora => launch.arguments([&listen, &origin]).stop_with(Signal::INT),
            Contender::Pgbouncer => bail!("PgBouncer speaks no HTTP"),
        };
        Ok(Running { process: launch.start(bench)?, address })
    }

    fn probe(&self, _: &Bench, address: SocketAddr) -> anyhow::Result<()> {
        let answer = get(address).with_context(|| format!("asking {address}"))?;
        let (head, body) = answer.split_once("\r\n\r\n").context("the answer has no head")?;
        ensure!(head.starts_with("HTTP/1.1 200 "), "not the expected answer: {head}");
        ensure!(body == origin::BODY, "not the expected body: {body:?}");
        Ok(())
    }

    fn load(&self, bench: &Bench, address: SocketAddr, length: Duration) -> anyhow::Result<Load> {
        wrk::run(bench, address, CONNECTIONS, length)
    }
}

/// One request on a connection of its own.
fn get(address: SocketAddr) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PROBE_LIMIT)?;
    stream.set_read_timeout(Some(PROBE_LIMIT))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(PROBE_ANSWER_LIMIT_BYTES).read_to_string(&mut answer)?;
    Ok(answer)
}
