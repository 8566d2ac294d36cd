//! The engine on its shards, in this process.

use std::{
    collections::BTreeMap, net::SocketAddr, num::NonZeroUsize, sync::Arc, thread::JoinHandle,
    time::Duration,
};

use bs9_api::types::PoolStatus;
use bs9_config::{
    Admin, BindAddress, Config, Database, Listener, ListenerProtocol, PoolMode, Postgres,
    PostgresAuth, PostgresUser, Runtime, Secret, ServerAddress, Shards, UserSecret,
};
use bs9_net::Host;
use bs9_pool::PoolEngine;
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::{Client, NoTls};

use super::{Cluster, eventually};

/// A pool in front of a cluster; drained when dropped.
pub(crate) struct Pooler {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    engine: Arc<PoolEngine>,
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

    pub(crate) fn in_front_of(cluster: &Cluster, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Self::config(cluster);
        change(&mut config);
        let engine = PoolEngine::new();
        let (orders, inbox) = mpsc::unbounded_channel();
        let (started, address) = std::sync::mpsc::channel();
        let own = Arc::clone(&engine);
        let thread = std::thread::spawn(move || control(config, own, inbox, &started));
        let address = address.recv().expect("the host starts");
        Self { address, engine, orders: Some(orders), thread: Some(thread) }
    }

    /// The ordinary configuration: two shards, everyone trusted, transaction mode.
    pub(crate) fn config(cluster: &Cluster) -> Config {
        let any = "127.0.0.1:0".parse().expect("an address");
        let listener = Listener {
            name: "db".into(),
            bind: vec![BindAddress::Tcp(any)],
            max_connections: None,
            backlog: 1024,
            tls: None,
            protocol: ListenerProtocol::Postgres,
        };
        Config {
            sources: Vec::new(),
            runtime: Runtime {
                shards: Shards::Count(NonZeroUsize::new(2).expect("not zero")),
                pin: false,
                drain_timeout: Duration::from_secs(10),
                buffer_bytes: 16 * 1024,
                max_connections: 10_000,
                watch: false,
            },
            admin: Admin { socket: None, listen: None, tokens: Vec::new() },
            listeners: BTreeMap::from([("db".into(), listener)]),
            clusters: BTreeMap::new(),
            postgres: Some(Self::postgres(cluster)),
        }
    }

    fn postgres(cluster: &Cluster) -> Postgres {
        let users = ["alice", "bob", "crowd", "mortal", "by_md5", "by_scram", "by_password"];
        let users = users.map(|name| {
            let secret = Some(UserSecret::Plain(Secret::new(Cluster::PASSWORD)));
            let name: Arc<str> = name.into();
            (Arc::clone(&name), PostgresUser { name, secret })
        });
        Postgres {
            auth: PostgresAuth::Trust,
            pool_mode: PoolMode::Transaction,
            pool_size: 10,
            max_client_connections: 1000,
            max_waiting_clients: 1000,
            wait_timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(10),
            login_timeout: Duration::from_secs(20),
            server_lifetime: Duration::from_secs(3600),
            server_idle_timeout: Duration::from_secs(600),
            client_idle_timeout: None,
            idle_transaction_timeout: None,
            reset_query: "DISCARD ALL".into(),
            max_prepared_statements: 200,
            databases: BTreeMap::from([("app".into(), Self::database(cluster))]),
            users: BTreeMap::from(users),
        }
    }

    /// The database `app`.
    pub(crate) fn database(cluster: &Cluster) -> Database {
        Database {
            name: "app".into(),
            address: ServerAddress::Tcp { host: "127.0.0.1".into(), port: cluster.port() },
            dbname: None,
            user: None,
            password: None,
            pool_size: 10,
            pool_mode: PoolMode::Transaction,
        }
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
