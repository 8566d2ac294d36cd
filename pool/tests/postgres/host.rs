//! The engine on its shards, in this process.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread::JoinHandle,
    time::Duration,
};

use bs9_api::types::{OrderPools, PoolClient, PoolServer, PoolStatus};
use bs9_config::{BindAddress, Config};
use bs9_net::Host;
use bs9_pool::{LoginReport, PoolEngine};
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::{Client, NoTls};

use super::{Cluster, eventually};

/// A pool in front of a cluster; drained when dropped.
pub(crate) struct Pooler {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    engine: Arc<PoolEngine>,
    reloads: Arc<AtomicUsize>,
    orders: Option<mpsc::UnboundedSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

enum Order {
    Reload(Box<Config>, oneshot::Sender<()>),
    Drain(Duration, oneshot::Sender<()>),
}

impl Pooler {
    /// In front of the shared cluster, with `change` made to the ordinary configuration.
    pub(crate) fn start(change: impl FnOnce(&mut Config)) -> Self {
        Self::in_front_of(Cluster::shared(), change)
    }

    /// Likewise, with these roles besides, which are made anew. Tests share the cluster at the same
    /// time: whoever counts or ends connections does so to those of a role of its own.
    pub(crate) fn with_roles(roles: &[impl AsRef<str>], change: impl FnOnce(&mut Config)) -> Self {
        Cluster::shared().make_roles(roles);
        Self::start(|config| {
            Self::add_users(config, roles);
            change(config);
        })
    }

    /// Adds users that are like the others.
    pub(crate) fn add_users(config: &mut Config, names: &[impl AsRef<str>]) {
        let users = &mut config.postgres.as_mut().unwrap().users;
        for name in names {
            let mut user = users["bob"].clone();
            user.name = name.as_ref().into();
            users.insert(user.name.clone(), user);
        }
    }

    pub(crate) fn in_front_of(cluster: &Cluster, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Self::config(cluster);
        change(&mut config);
        let engine = PoolEngine::new();
        let reloads = Arc::new(AtomicUsize::new(0));
        let asked = Arc::clone(&reloads);
        engine.on_reload(Box::new(move || {
            asked.fetch_add(1, SeqCst);
            Box::pin(std::future::ready(Ok(())))
        }));
        let (orders, inbox) = mpsc::unbounded_channel();
        let (started, address) = std::sync::mpsc::channel();
        let own = Arc::clone(&engine);
        let thread = std::thread::spawn(move || control(config, own, inbox, &started));
        let address = address.recv().expect("the host starts");
        Self { address, engine, reloads, orders: Some(orders), thread: Some(thread) }
    }

    /// In front of the shared cluster, by a configuration of which `text` is the rest.
    pub(crate) fn by(text: &str) -> Self {
        let cluster = Cluster::shared();
        Self::in_front_of(cluster, |config| *config = Self::parse(cluster.path(), text))
    }

    /// The ordinary configuration: two shards, everyone trusted, transaction mode.
    pub(crate) fn config(cluster: &Cluster) -> Config {
        Self::parse(cluster.path(), &Self::text(cluster))
    }

    /// A configuration as it would stand in a file in `folder`.
    pub(crate) fn parse(folder: &Path, text: &str) -> Config {
        let name = folder.join("bs9.toml");
        let name = name.to_str().expect("a path in UTF-8");
        let config = bs9_config::parse_str(name, text);
        config.unwrap_or_else(|report| panic!("{text}\n{}", report.render(false)))
    }

    /// The text of the ordinary configuration; `[postgres.databases.app]` comes last.
    pub(crate) fn text(cluster: &Cluster) -> String {
        let users = ["alice", "bob", "crowd", "mortal", "by_md5", "by_scram", "by_password"];
        let password = Cluster::PASSWORD;
        let users =
            users.map(|name| format!("[postgres.users.{name}]\npassword = \"{password}\"\n"));
        format!(
            "[runtime]\nshards = 2\npin = false\nbuffer_size = \"16KiB\"\ndrain_timeout = \"10s\"\n\
             [listeners.db]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"postgres\"\nbacklog = 1024\n\
             [postgres]\nauth = \"trust\"\npool_size = 10\nmax_client_connections = 1000\n\
             max_waiting_clients = 1000\nwait_timeout = \"20s\"\nconnect_timeout = \"10s\"\n\
             login_timeout = \"20s\"\nadmin_users = [\"alice\"]\nstats_users = [\"bob\"]\n{}\
             [postgres.databases.app]\nhost = \"127.0.0.1\"\nport = {}\n",
            users.concat(),
            cluster.port()
        )
    }

    /// A client of `app`, its connection driven in the background.
    pub(crate) async fn connect(&self, user: &str) -> Client {
        self.connect_with(&format!("user={user} dbname=app")).await.expect("the login succeeds")
    }

    /// Likewise, with a connection string of its own; host and port are filled in.
    pub(crate) async fn connect_with(
        &self,
        settings: &str,
    ) -> Result<Client, tokio_postgres::Error> {
        let target = format!("host={} port={} ", self.address.ip(), self.address.port());
        let (client, connection) = tokio_postgres::connect(&(target + settings), NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Runs a statement with psql; host, port and database are filled in. What went wrong is what
    /// it printed.
    pub(crate) fn psql(&self, settings: &str, statement: &str) -> Result<String, String> {
        let target =
            format!("host=localhost hostaddr=127.0.0.1 port={} dbname=app ", self.address.port());
        let run = Cluster::tool("psql")
            .args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-d", &(target + settings), "-c", statement])
            .output()
            .expect("psql runs");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
        if run.status.success() { Ok(text(run.stdout)) } else { Err(text(run.stderr)) }
    }

    pub(crate) fn statuses(&self) -> Vec<PoolStatus> {
        self.engine.statuses()
    }

    /// The pool of that user in `app`.
    pub(crate) fn status(&self, user: &str) -> PoolStatus {
        let mut statuses = self.statuses().into_iter();
        statuses.find(|pool| pool.user == user).unwrap_or_default()
    }

    /// Waits until the pool of that user is as wanted.
    pub(crate) fn wait_for(&self, user: &str, what: &str, wanted: impl Fn(&PoolStatus) -> bool) {
        eventually(what, || wanted(&self.status(user)));
    }

    pub(crate) fn reload(&self, config: Config) {
        let (done, wait) = oneshot::channel();
        self.order(Order::Reload(Box::new(config), done));
        wait.blocking_recv().expect("the reload is carried out");
    }

    /// How often the console was told to reload.
    pub(crate) fn reloads_asked_for(&self) -> usize {
        self.reloads.load(SeqCst)
    }

    /// Gives an operator's order, and waits for it.
    pub(crate) fn operate(&self, order: &OrderPools) -> Result<(), String> {
        block_on(self.engine.order(order)).map_err(|error| error.to_string())
    }

    pub(crate) fn clients(&self) -> Vec<PoolClient> {
        block_on(self.engine.clients())
    }

    pub(crate) fn servers(&self) -> Vec<PoolServer> {
        block_on(self.engine.servers())
    }

    pub(crate) fn logins(&self) -> LoginReport {
        self.engine.login_report()
    }

    /// Starts a drain; what is returned tells when it is over.
    pub(crate) fn drain(&self, deadline: Duration) -> oneshot::Receiver<()> {
        let (done, wait) = oneshot::channel();
        self.order(Order::Drain(deadline, done));
        wait
    }

    fn order(&self, order: Order) {
        let sent = self.orders.as_ref().expect("not dropped").send(order);
        assert!(sent.is_ok(), "the host still runs");
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        self.orders = None;
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            ended.expect("joined once").expect("the host did not panic");
        }
    }
}

fn block_on<F: Future>(work: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

fn control(
    config: Config,
    engine: Arc<PoolEngine>,
    mut inbox: mpsc::UnboundedReceiver<Order>,
    started: &std::sync::mpsc::Sender<SocketAddr>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .expect("a runtime");
    runtime.block_on(async {
        let mut host = Host::start(Arc::new(config), vec![engine]).expect("the host starts");
        let report = host.listener_reports().remove(0);
        let BindAddress::Tcp(address) = report.addresses[0] else { panic!("bound to TCP") };
        started.send(address).expect("somebody waits");
        while let Some(order) = inbox.recv().await {
            match order {
                Order::Reload(config, done) => {
                    host.reload(Arc::new(*config)).await.expect("the reload is accepted");
                    let _nobody_waits = done.send(());
                }
                Order::Drain(deadline, done) => {
                    host.drain(deadline).await;
                    let _nobody_waits = done.send(());
                }
            }
        }
        if !host.is_draining() {
            host.drain(Duration::ZERO).await;
        }
    });
}
