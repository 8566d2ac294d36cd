//! The door of the crate.

use std::{any::Any, rc::Rc, sync::Arc};

use bs9_api::types::PoolStatus;
use bs9_config::ListenerProtocol;
use bs9_net::{CompileContext, CompileError, ControlContext, Engine, Shard, ShardEngine, Snapshot};

use crate::{
    part::Part,
    registry::Registry,
    shard::{PoolShard, PoolShardHandle},
};

/// The PostgreSQL engine: serves listeners with `protocol = "postgres"` by `[postgres]`.
pub struct PoolEngine {
    registry: Arc<Registry>,
}

impl PoolEngine {
    /// An engine without pools; they come about as clients ask for them.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { registry: Registry::new() })
    }

    /// Every pool there has been a client for, in order of database and user. Callable from any
    /// thread; reads the shards' counters and disturbs nobody.
    pub fn statuses(&self) -> Vec<PoolStatus> {
        self.registry.statuses()
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
        Ok(Arc::new(Part::compile(context)?))
    }

    fn start_shard(&self, shard: &Rc<Shard>, engine: usize) -> Rc<dyn ShardEngine> {
        Rc::new(PoolShardHandle(PoolShard::new(shard, engine, Arc::clone(&self.registry))))
    }

    fn start_control(&self, _context: &ControlContext) {}

    fn snapshot_changed(&self, context: &ControlContext, snapshot: &Arc<Snapshot>) {
        self.registry.apply(&snapshot.part::<Part>(context.engine));
    }
}
