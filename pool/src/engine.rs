//! The door of the crate.

use std::{
    any::Any,
    pin::Pin,
    rc::Rc,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bs9_api::types::{OrderPools, PoolClient, PoolOrder, PoolServer, PoolStatus};
use bs9_config::ListenerProtocol;
use bs9_net::{CompileContext, CompileError, ControlContext, Engine, Shard, ShardEngine, Snapshot};

use crate::{
    auth::Doorkeeper,
    logins::LoginReport,
    orders::OrderError,
    part::Part,
    post::Post,
    registry::Registry,
    shard::{PoolShard, PoolShardHandle},
};

/// For all shards to say who is there.
pub(crate) const ROLL_PATIENCE: Duration = Duration::from_secs(5);
/// The longest that anyone waits for a pause.
const MAX_PATIENCE: Duration = Duration::from_secs(86_400);

/// Reads the configuration files again and puts them in force; says why not.
pub type Reload =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// The PostgreSQL engine: serves listeners with `protocol = "postgres"` by `[postgres]`.
pub struct PoolEngine {
    registry: Arc<Registry>,
    door: Arc<Doorkeeper>,
}

impl PoolEngine {
    /// An engine without pools; they come about as clients ask for them.
    pub fn new() -> Arc<Self> {
        let door = Arc::new(Doorkeeper::new());
        Arc::new(Self { registry: Registry::new(&door), door })
    }

    /// What `RELOAD` on the console does. Without it, the console refuses.
    pub fn on_reload(&self, reload: Reload) {
        let _set_once = self.registry.reload.set(reload);
    }

    /// Every pool there has been a client for, in order of database and user. Callable from any
    /// thread; reads the shards' counters and disturbs nobody.
    pub fn statuses(&self) -> Vec<PoolStatus> {
        self.registry.statuses()
    }

    /// How logins of clients ended so far. Callable from any thread.
    pub fn login_report(&self) -> LoginReport {
        let Doorkeeper { logins, lookup, .. } = &*self.door;
        let (admitted, refused) = (logins.admitted(), logins.refused());
        LoginReport { admitted, refused, lookups: lookup.outcomes() }
    }

    /// Every client, in order of database and user. Asks the shards.
    pub async fn clients(&self) -> Vec<PoolClient> {
        self.registry.roll(tokio::time::sleep(ROLL_PATIENCE)).await.clients
    }

    /// Every server connection, in order of database and user. Asks the shards.
    pub async fn servers(&self) -> Vec<PoolServer> {
        self.registry.roll(tokio::time::sleep(ROLL_PATIENCE)).await.servers
    }

    /// Carries out an operator's order. A pause, or a kill, returns when no server connection is
    /// left, or when it is undone before; it is in force from the beginning.
    ///
    /// # Errors
    /// [`OrderError`].
    pub async fn order(&self, order: &OrderPools) -> Result<(), OrderError> {
        const PATIENCE: f64 = 30.0;
        let patience = order.timeout_seconds.unwrap_or(PATIENCE);
        let patience = Duration::try_from_secs_f64(patience).unwrap_or(MAX_PATIENCE);
        let given_up = tokio::time::sleep(patience.min(MAX_PATIENCE));
        self.registry.carry_out(order.order, order.database.as_deref(), given_up).await
    }
}

impl Registry {
    /// Carries out an order; see [`PoolEngine::order`]. Waits until `given_up`.
    pub(crate) async fn carry_out(
        &self,
        order: PoolOrder,
        database: Option<&str>,
        given_up: impl Future<Output = ()>,
    ) -> Result<(), OrderError> {
        let pools = self.order(order, database)?;
        tracing::info!(order = order.name(), database, "an operator's order");
        if !matches!(order, PoolOrder::Pause | PoolOrder::Kill) {
            return Ok(());
        }
        let desk = &self.door.lookup.desk;
        let gone = async {
            for pool in &pools {
                if !pool.emptied().await {
                    return Err(OrderError::Undone(pool.open()));
                }
            }
            match desk.emptied(database).await {
                true => Ok(()),
                false => Err(OrderError::Undone(desk.open_to(database))),
            }
        };
        tokio::select! {
            outcome = gone => outcome,
            () = given_up => {
                let servers: usize = pools.iter().map(|pool| pool.open()).sum();
                Err(OrderError::StillBusy(servers + desk.open_to(database)))
            }
        }
    }
}

impl Engine for PoolEngine {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn serves(&self, protocol: &ListenerProtocol) -> bool {
        matches!(protocol, ListenerProtocol::Postgres)
    }

    fn compile(
        &self,
        context: &CompileContext<'_>,
    ) -> Result<Arc<dyn Any + Send + Sync>, CompileError> {
        Ok(Arc::new(Part::compile(context, &self.door)?))
    }

    fn start_shard(&self, shard: &Rc<Shard>, engine: usize) -> Rc<dyn ShardEngine> {
        let _first_comes = self.registry.post.set(Post::new(shard.mail().clone(), engine));
        let home = PoolShard::new(shard, engine, Arc::clone(&self.registry));
        if shard.index() == 0 {
            home.keep_up();
        }
        Rc::new(PoolShardHandle(home))
    }

    fn start_control(&self, _context: &ControlContext) {}

    fn snapshot_changed(&self, context: &ControlContext, snapshot: &Arc<Snapshot>) {
        self.registry.apply(&snapshot.part::<Part>(context.engine));
    }
}

/// Where [`PoolEngine::on_reload`] puts it.
pub(crate) type ReloadCell = OnceLock<Reload>;
