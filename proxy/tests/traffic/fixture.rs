//! The proxy under test: a host with its shards, on a control thread of its own.

use std::{
    collections::BTreeMap,
    fmt::Display,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use bs9_api::types::EndpointStatus;
use bs9_config::{BindAddress, Config};
use bs9_net::{Engine, Host, ListenerReport, ReloadSummary};
use bs9_proxy::ProxyEngine;
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::mpsc as tokio_mpsc,
};
use tracing::Level;

use crate::wire::{PATIENCE, Wire};

/// A running proxy; ends when dropped.
pub(crate) struct Proxy {
    commands: Option<tokio_mpsc::UnboundedSender<Command>>,
    pub(crate) engine: Arc<ProxyEngine>,
    thread: Option<thread::JoinHandle<()>>,
}

enum Command {
    Reload(Box<Config>, mpsc::Sender<Result<ReloadSummary, String>>),
    Reports(mpsc::Sender<Vec<ListenerReport>>),
    Drain(Duration, mpsc::Sender<()>),
}

impl Proxy {
    pub(crate) fn start(toml: &str) -> Self {
        Self::start_as(toml, |engine| engine)
    }

    /// `wrap` may stand between the host and the engine.
    pub(crate) fn start_as(
        toml: &str,
        wrap: impl FnOnce(Arc<ProxyEngine>) -> Arc<dyn Engine>,
    ) -> Self {
        tell();
        let config = Arc::new(parse(toml));
        let engine = ProxyEngine::new();
        let hosted = wrap(Arc::clone(&engine));
        let (commands, inbox) = tokio_mpsc::unbounded_channel();
        let (started, wait) = mpsc::channel();
        let thread = thread::Builder::new().name("control".to_owned());
        let thread = thread.spawn(move || control(config, hosted, inbox, &started)).unwrap();
        wait.recv_timeout(PATIENCE).expect("the host starts");
        Self { commands: Some(commands), engine, thread: Some(thread) }
    }

    fn ask<A>(&self, command: impl FnOnce(mpsc::Sender<A>) -> Command) -> mpsc::Receiver<A> {
        let (reply, answer) = mpsc::channel();
        let commands = self.commands.as_ref().expect("only dropping takes it");
        assert!(commands.send(command(reply)).is_ok(), "the control thread lives");
        answer
    }

    pub(crate) fn reload(&self, toml: &str) -> Result<ReloadSummary, String> {
        let config = parse(toml);
        let answer = self.ask(|reply| Command::Reload(Box::new(config), reply));
        answer.recv_timeout(PATIENCE).expect("a reload ends")
    }

    /// Begins a drain; the receiver tells when it has ended.
    pub(crate) fn drain(&self, deadline: Duration) -> mpsc::Receiver<()> {
        self.ask(|reply| Command::Drain(deadline, reply))
    }

    pub(crate) fn reports(&self) -> Vec<ListenerReport> {
        self.ask(Command::Reports).recv_timeout(PATIENCE).expect("reports come")
    }

    pub(crate) fn report(&self, listener: &str) -> ListenerReport {
        let found = self.reports().into_iter().find(|report| &*report.listener.name == listener);
        found.unwrap_or_else(|| panic!("a listener {listener}"))
    }

    /// Where a listener really listens.
    pub(crate) fn address(&self, listener: &str) -> BindAddress {
        self.report(listener).addresses[0].clone()
    }

    /// A connection to a listener.
    pub(crate) fn client(&self, listener: &str) -> Wire {
        Wire::connect(&self.address(listener))
    }

    /// A connection to the listener `web`.
    pub(crate) fn web(&self) -> Wire {
        self.client("web")
    }

    /// Failures of the listener `web` by reason.
    pub(crate) fn failures(&self) -> BTreeMap<String, u64> {
        let listener = self.report("web").listener;
        let status = self.engine.http_status(listener.id).expect("an HTTP listener");
        status.failures_total.into_iter().map(|one| (one.reason, one.count)).collect()
    }

    /// The endpoint of the cluster `app` at `address`.
    pub(crate) fn endpoint(&self, address: impl Display) -> EndpointStatus {
        let address = address.to_string();
        let mut clusters = self.engine.cluster_statuses().into_iter();
        let app = clusters.find(|cluster| cluster.name == "app").expect("a cluster app");
        let found = app.endpoints.into_iter().find(|endpoint| endpoint.address == address);
        found.unwrap_or_else(|| panic!("an endpoint {address}"))
    }

    /// Client connections open now, over all listeners.
    pub(crate) fn open_connections(&self) -> u64 {
        self.reports().iter().map(|report| report.listener.open_connections()).sum()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.commands.take();
        let ended = self.thread.take().expect("dropped once").join();
        assert!(ended.is_ok() || thread::panicking(), "the control thread ends in good order");
    }
}

fn parse(toml: &str) -> Config {
    bs9_config::parse_str("test.toml", toml).unwrap_or_else(|report| panic!("{report}\n{toml}"))
}

fn control(
    config: Arc<Config>,
    engine: Arc<dyn Engine>,
    mut inbox: tokio_mpsc::UnboundedReceiver<Command>,
    started: &mpsc::Sender<()>,
) {
    let options = LocalOptions::default();
    let runtime = Builder::new_current_thread().enable_all().build_local(options).unwrap();
    runtime.block_on(async move {
        let mut host = Host::start(config, vec![engine]).expect("the host starts");
        started.send(()).unwrap();
        while let Some(command) = inbox.recv().await {
            match command {
                Command::Reload(config, reply) => {
                    let done = host.reload(Arc::new(*config)).await;
                    let _nobody_waits = reply.send(done.map_err(|error| error.to_string()));
                }
                Command::Reports(reply) => {
                    let _nobody_waits = reply.send(host.listener_reports());
                }
                Command::Drain(deadline, reply) => {
                    host.drain(deadline).await;
                    let _nobody_waits = reply.send(());
                }
            }
        }
        if !host.is_draining() {
            host.drain(Duration::ZERO).await;
        }
    });
}

/// One HTTP listener `web` with one route to the cluster `app`: the text of most configurations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Site {
    /// 1 when 0.
    pub(crate) shards: usize,
    pub(crate) runtime: &'static str,
    pub(crate) listener: &'static str,
    pub(crate) route: &'static str,
    pub(crate) cluster: &'static str,
    pub(crate) endpoints: Vec<String>,
    /// Further sections.
    pub(crate) rest: String,
}

impl Site {
    pub(crate) fn of<E: Display>(endpoints: impl IntoIterator<Item = E>) -> Self {
        let endpoints = endpoints.into_iter().map(|endpoint| endpoint.to_string()).collect();
        Self { endpoints, ..Self::default() }
    }

    pub(crate) fn toml(&self) -> String {
        let Self { shards, runtime, listener, route, cluster, endpoints, rest } = self;
        let shards = (*shards).max(1);
        format!(
            "[runtime]\nshards = {shards}\npin = false\n{runtime}\n\
             [listeners.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n{listener}\n\
             [[listeners.web.routes]]\ncluster = \"app\"\n{route}\n\
             [clusters.app]\nendpoints = {endpoints:?}\n{cluster}\n{rest}\n"
        )
    }

    pub(crate) fn start(&self) -> Proxy {
        Proxy::start(&self.toml())
    }
}

/// Tells when a figure has come to rest, by turns of the proxy instead of by time: what could still
/// move has had its chance in each of them.
#[derive(Default)]
pub(crate) struct Rest {
    last: u64,
    turns: u32,
}

impl Rest {
    /// Whether `now`, looked at after one more turn, is what it was for twenty of them. 0 is no rest:
    /// nothing has begun.
    pub(crate) fn after_a_turn(&mut self, now: u64) -> bool {
        let same = now > 0 && std::mem::replace(&mut self.last, now) == now;
        self.turns = if same { self.turns + 1 } else { 0 };
        self.turns >= 20
    }
}

/// Waits until `holds`; a test that waits in vain has failed.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::park_timeout(Duration::from_millis(2));
    }
}

/// A test that fails shows what the proxy said: warnings, or as much as `RUST_LOG` names.
fn tell() {
    let named = std::env::var("RUST_LOG").ok().and_then(|level| level.parse().ok());
    // Another may have been here before.
    let _first = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(named.unwrap_or(Level::WARN))
        .with_writer(std::io::stderr)
        .try_init();
}
