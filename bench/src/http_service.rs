//! What the HTTP and TCP rows share: the origin, and how each contender is put
//! in front of it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::Signal;

use crate::bench::Bench;
use crate::contender::{Contender, Installed, find_program, version_of};
use crate::http_client::HttpClient;
use crate::load::Load;
use crate::load::wrk::{self, Wrk};
use crate::origin;
use crate::process::{Launch, Process};
use crate::row::Running;
use crate::run_dir::free_address;
use crate::template::fill;
use crate::under_load::Service;

/// How contenders are configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carry {
    /// As HTTP proxies.
    SmallHttp,
    /// As HTTP proxies, with what makes them faster with large bodies only.
    LargeHttp,
    /// As TCP proxies, which do not know what they carry.
    Tunnel,
}

/// One origin, for all contenders, and wrk.
#[derive(Debug)]
pub(crate) struct HttpService {
    carry: Carry,
    body_bytes: usize,
    load: Wrk,
    origin: SocketAddr,
    wrk_version: String,
    /// Held for its end.
    _process: Process,
}

impl HttpService {
    /// Starts an origin that answers with bodies of this size.
    pub(crate) fn start(
        bench: &Bench,
        carry: Carry,
        body_bytes: usize,
        load: Wrk,
    ) -> anyhow::Result<Self> {
        let (origin, process) = origin::start(bench, body_bytes)?;
        let wrk_version = version_of(&find_program("wrk")?, "-v")?;
        Ok(Self { carry, body_bytes, load, origin, wrk_version, _process: process })
    }

    /// The contender's arguments, after its configuration was written.
    fn configure(
        &self,
        bench: &Bench,
        contender: Contender,
        address: SocketAddr,
        launch: Launch,
    ) -> anyhow::Result<Launch> {
        let (listen, origin) = (address.to_string(), self.origin.to_string());
        let folder = bench.dir.path().display().to_string();
        let (listen, origin) = (("listen", listen.as_str()), ("origin", origin.as_str()));
        let folder = ("folder", folder.as_str());
        let tunnel = self.carry == Carry::Tunnel;
        Ok(match contender {
            Contender::Bs9 => {
                let template = if tunnel {
                    include_str!("../configs/bs9-tcp.toml")
                } else {
                    include_str!("../configs/bs9-http.toml")
                };
                let config =
                    bench.dir.write("bs9.toml", &fill(template, &[listen, origin, folder])?)?;
                launch.arguments(["serve", "--config"]).argument(config)
            }
            Contender::Nginx => {
                let text = if tunnel {
                    let module = stream_module().context("nginx has no stream module here")?;
                    let module = module.display().to_string();
                    let places = [listen, origin, folder, ("stream_module", module.as_str())];
                    fill(include_str!("../configs/nginx-tcp.conf"), &places)?
                } else {
                    fill(include_str!("../configs/nginx.conf"), &[listen, origin, folder])?
                };
                let config = bench.dir.write("nginx.conf", &text)?;
                launch.arguments(["-e", "stderr", "-p", folder.1, "-c"]).argument(config)
            }
            Contender::Haproxy => {
                let text = if tunnel {
                    fill(include_str!("../configs/haproxy-tcp.cfg"), &[listen, origin])?
                } else {
                    let splice = match self.carry {
                        Carry::LargeHttp => "option splice-response",
                        Carry::SmallHttp | Carry::Tunnel => "",
                    };
                    let places = [listen, origin, ("splice", splice)];
                    fill(include_str!("../configs/haproxy.cfg"), &places)?
                };
                let config = bench.dir.write("haproxy.cfg", &text)?;
                launch.arguments(["-db", "-f"]).argument(config)
            }
            // SIGINT is its quick way out; SIGTERM lets runtimes wait.
            Contender::Pingora if !tunnel => {
                launch.arguments([listen.1, origin.1]).stop_with(Signal::INT)
            }
            other => bail!("{} does not do this work", other.name()),
        })
    }
}

impl Service for HttpService {
    fn versions(&self) -> Vec<(&'static str, String)> {
        vec![("wrk", self.wrk_version.clone())]
    }

    fn launch(&self, bench: &Bench, contender: &Installed) -> anyhow::Result<Running> {
        let address = free_address()?;
        let launch = Launch::contender(bench, contender.contender.name(), &contender.program);
        let launch = self.configure(bench, contender.contender, address, launch)?;
        Ok(Running { process: launch.start(bench)?, address })
    }

    fn probe(&self, _: &Bench, address: SocketAddr) -> anyhow::Result<()> {
        let answer = HttpClient::connect(address)?.get("/")?;
        origin::check(&answer, self.body_bytes)
    }

    fn load(&self, bench: &Bench, address: SocketAddr, length: Duration) -> anyhow::Result<Load> {
        wrk::run(bench, address, self.load, length)
    }
}

/// nginx's module for TCP, which Debian packages by itself.
pub(crate) fn stream_module() -> Option<PathBuf> {
    ["/usr/lib/nginx/modules", "/usr/lib64/nginx/modules"]
        .map(|folder| Path::new(folder).join("ngx_stream_module.so"))
        .into_iter()
        .find(|module| module.is_file())
}
