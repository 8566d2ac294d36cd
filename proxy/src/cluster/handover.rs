//! An idle upstream connection passes from one shard to another, when that one has none left and
//! this one has had it to spare for a while.
//!
//! A shard's stack of idle connections stays its own, and a request that finds one there learns
//! nothing of this. One that does not looks at what the other shards count of the endpoint; only
//! if one of them holds any is it asked, by mail (docs/adr/0008-idle-connections-move.md).

use std::{cell::Cell, sync::Arc, time::Duration};

use bs9_net::{CoarseInstant, Detached, ShardMail, Transport, now, time};
use tokio::sync::oneshot;

use super::{Cluster, Lease, ShardCluster, idle::IdleConnections};

/// A connection that was idle for so long is to spare. It bounds how often one can move, too.
const SPARE_AFTER: Duration = Duration::from_millis(500);
/// A shard that takes longer to answer is busy: a new connection is made sooner.
const PATIENCE: Duration = Duration::from_millis(10);
/// Nobody is asked for so long after nothing was given.
const PAUSE: Duration = Duration::from_millis(500);

/// What a shard asks another one for.
pub(crate) struct Asked {
    cluster: Arc<Cluster>,
    member: usize,
    answer: oneshot::Sender<Detached>,
}

impl Asked {
    /// Whose endpoint it is about.
    pub(crate) fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }
}

/// What one shard remembers of asking the others for connections to one endpoint.
#[derive(Debug, Default)]
pub(super) struct Asking {
    under_way: Cell<bool>,
    /// When nothing was given.
    in_vain: Cell<Option<CoarseInstant>>,
}

/// One at a time: a burst of requests must not become a burst of mail.
struct UnderWay<'a>(&'a Asking);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.set(false);
    }
}

impl Lease {
    /// A connection that another shard has to spare. Waits for its answer, a little.
    pub(crate) async fn ask_others(&self, mail: &ShardMail, engine: usize) -> Option<Transport> {
        let idle = self.idle();
        let from = idle.who_has_some()?;
        // Apart, so that requests need not be as large.
        Box::pin(self.ask(idle, from, mail, engine)).await
    }

    async fn ask(
        &self,
        idle: &IdleConnections,
        from: usize,
        mail: &ShardMail,
        engine: usize,
    ) -> Option<Transport> {
        idle.asking.under_way.set(true);
        let _under_way = UnderWay(&idle.asking);
        let (answer, given) = oneshot::channel();
        let cluster = Arc::clone(&self.cluster().cluster);
        let asked = Asked { cluster, member: self.member(), answer };
        let sent = mail.send(from, engine, Box::new(asked));
        let given = match sent {
            Ok(()) => time::timeout(PATIENCE, given).await,
            // That shard has ended.
            Err(_) => Err(time::Elapsed),
        };
        let Ok(Ok(detached)) = given else {
            idle.asking.in_vain.set(Some(now()));
            return None;
        };
        let stream = Transport::attach(detached).ok()?;
        if !stream.is_quiet() {
            stream.finish();
            return None;
        }
        self.cell().handovers.increment();
        Some(stream)
    }
}

impl ShardCluster {
    /// Gives what another shard asks for, if there is one to spare.
    pub(crate) fn give(&self, asked: Asked) {
        let Asked { cluster, member, answer } = asked;
        if !Arc::ptr_eq(&cluster, &self.cluster) || answer.is_closed() {
            return;
        }
        let spare = self.idle[member].take_spare(self.cluster.config.idle_timeout);
        if let Some(detached) = spare.and_then(Transport::detach) {
            // Whoever has stopped waiting in this very moment makes a new one.
            let _closed = answer.send(detached);
        }
    }
}

impl IdleConnections {
    /// The shard that holds most, when any other does and asking is worth while.
    fn who_has_some(&self) -> Option<usize> {
        let Asking { under_way, in_vain } = &self.asking;
        if under_way.get() || in_vain.get().is_some_and(|at| now().since(at) < PAUSE) {
            return None;
        }
        let counted = self.endpoint.cells.iter().map(|cell| cell.idle.get()).enumerate();
        let others = counted.filter(|(shard, count)| *shard != self.shard && *count > 0);
        others.max_by_key(|(_, count)| *count).map(|(shard, _)| shard)
    }

    /// The one that was idle for longest, when that is long enough.
    fn take_spare(&self, idle_timeout: Duration) -> Option<Transport> {
        let mut kept = self.kept.borrow_mut();
        let rested = now().since(kept.front()?.since);
        if rested < SPARE_AFTER || rested >= idle_timeout {
            return None;
        }
        let stream = kept.pop_front()?.stream;
        self.endpoint.cells[self.shard].idle.decrement();
        stream.suspect();
        if stream.is_quiet() {
            return Some(stream);
        }
        stream.finish();
        None
    }
}
