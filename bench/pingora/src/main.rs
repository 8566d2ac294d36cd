//! A peer to measure bs9 against: pingora's HTTP proxy in front of one endpoint.
//!
//! Set up the way a careful user would for speed: one worker thread without
//! work stealing, keep-alive towards the endpoint, no logging, no modules.
//!
//! Usage: `bs9-bench-pingora LISTEN ENDPOINT`, both as `host:port`, or
//! `bs9-bench-pingora --version` for pingora's version.

use std::net::SocketAddr;

use async_trait::async_trait;
use pingora_core::Result;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

/// Idle connections kept towards the endpoint; more than the load ever opens.
const UPSTREAM_KEEPALIVE: usize = 1024;

/// Sends every request to one endpoint.
struct OneEndpoint {
    address: SocketAddr,
}

#[async_trait]
impl ProxyHttp for OneEndpoint {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.address, false, String::new())))
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.peek().is_some_and(|argument| argument == "--version") {
        println!("pingora {}", pingora_version());
        return;
    }
    let (Some(listen), Some(endpoint), None) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        fail("usage: bs9-bench-pingora LISTEN ENDPOINT");
    };
    let address = endpoint.parse().unwrap_or_else(|e| fail(&format!("endpoint {endpoint:?}: {e}")));

    let conf = ServerConf {
        threads: 1,
        work_stealing: false,
        upstream_keepalive_pool_size: UPSTREAM_KEEPALIVE,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut proxy = http_proxy_service(&server.configuration, OneEndpoint { address });
    proxy.add_tcp(&listen);
    server.add_service(proxy);
    server.run_forever();
}

/// What was built in, as the lock file has it.
fn pingora_version() -> &'static str {
    let lock = include_str!("../Cargo.lock");
    lock.split_once("name = \"pingora-proxy\"\nversion = \"")
        .and_then(|(_, rest)| rest.split('"').next())
        .unwrap_or("unknown")
}

/// Says what is wrong and leaves with the exit code of a usage error.
fn fail(message: &str) -> ! {
    eprintln!("{message}");
    std::process::exit(2)
}
