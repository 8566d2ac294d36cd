//! What the HTTP and TCP rows share: the origin, and how each contender is put
//! in front of it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::process::Signal;

use crate::bench::Bench;
use crate::certificate::Certificate;
use crate::contender::{Contender, Installed};
use crate::http_client::HttpClient;
use crate::load::Generator;
use crate::origin;
use crate::process::{Launch, Process};
use crate::row::Running;
use crate::run_dir::free_address;
use crate::support;
use crate::template::fill;
use crate::tls_client;
use crate::under_load::Service;

/// How contenders are configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carry {
    /// As HTTP proxies.
    SmallHttp,
    /// As HTTP proxies that speak TLS, and HTTP/2 to clients that want it.
    Tls,
    /// As HTTP proxies, with what makes them faster with large bodies only.
    LargeHttp,
    /// As TCP proxies, which do not know what they carry.
    Tunnel,
}

/// One origin, for all contenders, and a load generator.
#[derive(Debug)]
pub(crate) struct HttpService {
    carry: Carry,
    generator: Box<dyn Generator>,
    certificate: Option<Certificate>,
    origin: SocketAddr,
    /// Held for its end.
    _process: Process,
}

impl Carry {
    fn body_bytes(self) -> usize {
        match self {
            Self::SmallHttp | Self::Tls => origin::SMALL_BODY_BYTES,
            Self::LargeHttp | Self::Tunnel => origin::LARGE_BODY_BYTES,
        }
    }
}

impl HttpService {
    /// Starts an origin, with small bodies or large ones.
    pub(crate) fn start(
        bench: &Bench,
        carry: Carry,
        generator: impl Generator + 'static,
    ) -> anyhow::Result<Self> {
        let (origin, process) = origin::start(bench, carry.body_bytes())?;
        let certificate = (carry == Carry::Tls).then(|| Certificate::create(bench)).transpose()?;
        let generator = Box::new(generator);
        Ok(Self { carry, generator, certificate, origin, _process: process })
    }

    /// The same with another load.
    pub(crate) fn under(self, generator: impl Generator + 'static) -> Self {
        Self { generator: Box::new(generator), ..self }
    }

    /// Writes the contender's configuration.
    pub(crate) fn configure(
        &self,
        bench: &Bench,
        contender: Contender,
        address: SocketAddr,
    ) -> anyhow::Result<PathBuf> {
        let (listen, origin) = (address.to_string(), self.origin.to_string());
        let folder = bench.dir.path().display().to_string();
        let tls = self.certificate.as_ref().map(|made| tls_of(contender, made));
        let (listen, origin) = (("listen", listen.as_str()), ("origin", origin.as_str()));
        let folder = ("folder", folder.as_str());
        let tls = ("tls", tls.as_deref().unwrap_or_default());
        let text = match (contender, self.carry == Carry::Tunnel) {
            (Contender::Bs9, true) => {
                fill(include_str!("../configs/bs9-tcp.toml"), &[listen, origin, folder])
            }
            (Contender::Bs9, false) => {
                fill(include_str!("../configs/bs9-http.toml"), &[listen, origin, folder, tls])
            }
            (Contender::Nginx, true) => {
                let module = stream_module().context("nginx has no stream module here")?;
                let module = module.display().to_string();
                let module = ("stream_module", module.as_str());
                let template = include_str!("../configs/nginx-tcp.conf");
                fill(template, &[listen, origin, folder, module])
            }
            (Contender::Nginx, false) => {
                fill(include_str!("../configs/nginx.conf"), &[listen, origin, folder, tls])
            }
            (Contender::Haproxy, true) => {
                fill(include_str!("../configs/haproxy-tcp.cfg"), &[listen, origin])
            }
            (Contender::Haproxy, false) => {
                let splice = match self.carry {
                    Carry::LargeHttp => "option splice-response",
                    Carry::SmallHttp | Carry::Tls | Carry::Tunnel => "",
                };
                let splice = ("splice", splice);
                fill(include_str!("../configs/haproxy.cfg"), &[listen, origin, tls, splice])
            }
            (Contender::Caddy, false) => {
                let (ip, port) = (address.ip().to_string(), address.port().to_string());
                let places = [("ip", ip.as_str()), ("port", port.as_str()), origin, folder];
                fill(include_str!("../configs/Caddyfile"), &places)
            }
            (Contender::Varnish, false) => {
                let (ip, port) = (self.origin.ip().to_string(), self.origin.port().to_string());
                let places = [("origin_ip", ip.as_str()), ("origin_port", port.as_str())];
                fill(include_str!("../configs/varnish.vcl"), &places)
            }
            (other, _) => bail!("{} does not do this work", other.name()),
        };
        bench.dir.write(&format!("{}.conf", contender.name()), &text?)
    }
}

/// What a contender's configuration has to say to speak TLS on its listener.
fn tls_of(contender: Contender, made: &Certificate) -> String {
    let (certificate, key) = (made.certificate.display(), made.key.display());
    match contender {
        Contender::Nginx => format!(
            "ssl http2; ssl_protocols TLSv1.3; ssl_certificate {certificate}; ssl_certificate_key {key}"
        ),
        Contender::Haproxy => {
            format!("ssl crt {} alpn h2,http/1.1 ssl-min-ver TLSv1.3", made.both.display())
        }
        _ => format!(
            "\n[listeners.web.tls]\ncertificates = [{{ certificate = \"{certificate}\", key = \"{key}\" }}]"
        ),
    }
}

impl Service for HttpService {
    fn generator(&self) -> &dyn Generator {
        &*self.generator
    }

    fn lacks(&self, bench: &Bench, contender: &Installed) -> anyhow::Result<Option<String>> {
        let tunnel = self.carry == Carry::Tunnel;
        Ok(match contender.contender {
            // TLS may be beyond this build. What it refuses otherwise is a mistake here.
            Contender::Bs9 if self.certificate.is_some() => {
                let config = self.configure(bench, Contender::Bs9, free_address()?)?;
                support::refusal(&contender.program, &config)?
            }
            Contender::Nginx if tunnel && stream_module().is_none() => {
                Some("no stream module (Debian: libnginx-mod-stream)".to_owned())
            }
            _ => None,
        })
    }

    fn launch(&self, bench: &Bench, contender: &Installed) -> anyhow::Result<Running> {
        let address = free_address()?;
        let who = contender.contender;
        let launch = Launch::contender(bench, who.name(), &contender.program);
        let folder = bench.dir.path();
        if who == Contender::Pingora {
            // SIGINT is its quick way out; SIGTERM lets runtimes wait.
            let launch = launch.arguments([address, self.origin].map(|a| a.to_string()));
            return Ok(Running { process: launch.stop_with(Signal::INT).start(bench)?, address });
        }
        let config = self.configure(bench, who, address)?;
        let launch = match who {
            Contender::Nginx => {
                launch.arguments(["-e", "stderr", "-p"]).argument(folder).argument("-c")
            }
            Contender::Haproxy => launch.arguments(["-db", "-f"]),
            Contender::Caddy => launch.arguments(["run", "--adapter", "caddyfile", "--config"]),
            // Threads enough for each connection to have one; nothing is cached.
            Contender::Varnish => launch
                .arguments(["-F", "-a", &address.to_string(), "-s", "malloc,64m", "-n"])
                .argument(folder.join("varnish"))
                .arguments(["-p", "thread_pools=1", "-p", "thread_pool_min=100", "-f"]),
            _ => launch.arguments(["serve", "--config"]),
        };
        Ok(Running { process: launch.argument(config).start(bench)?, address })
    }

    fn probe(&self, _: &Bench, address: SocketAddr) -> anyhow::Result<()> {
        let answer = if self.certificate.is_some() {
            HttpClient::connect_tls(address, &tls_client::config()?)?.get("/")?
        } else {
            HttpClient::connect(address)?.get("/")?
        };
        origin::check(&answer, self.carry.body_bytes())
    }
}

/// nginx's module for TCP, which Debian packages by itself.
fn stream_module() -> Option<PathBuf> {
    ["/usr/lib/nginx/modules", "/usr/lib64/nginx/modules"]
        .map(|folder| Path::new(folder).join("ngx_stream_module.so"))
        .into_iter()
        .find(|module| module.is_file())
}
