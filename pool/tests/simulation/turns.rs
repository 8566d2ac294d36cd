//! Shards that take turns: one of their threads goes on at a time, so that nothing depends on which
//! of them is faster. The first has the clients, the servers and the clock.

use std::{
    sync::mpsc::{Receiver, Sender, channel},
    time::Duration,
};

use bs9_net::{BufferPool, CoarseInstant};
use tokio::sync::oneshot;

use super::world::Pulse;

/// By how much time passes on a shard, once all has been played.
const STEP: u64 = 16;

/// The first shard's side: the way to the others.
pub(super) struct Turns(Vec<(Sender<u64>, Receiver<()>)>);

/// Another shard's side.
pub(super) struct Follower {
    turns: Receiver<u64>,
    done: Sender<()>,
    /// To be told when the pool listens, and told when the shard stands still.
    started: oneshot::Receiver<()>,
    ready: oneshot::Sender<()>,
}

/// Has a shard stand still, and tells when it does.
pub(super) type Start = (oneshot::Sender<()>, oneshot::Receiver<()>);

/// For so many shards besides the first.
pub(super) fn turns(others: usize) -> (Turns, Vec<Follower>, Vec<Start>) {
    let (mut ways, mut followers, mut starts) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..others {
        let (turn, turns) = channel();
        let (done, wait) = channel();
        let (start, started) = oneshot::channel();
        let (ready, is_ready) = oneshot::channel();
        ways.push((turn, wait));
        followers.push(Follower { turns, done, started, ready });
        starts.push((start, is_ready));
    }
    (Turns(ways), followers, starts)
}

impl Turns {
    /// Each of the others does what there is to do, at `now`; meanwhile this thread stands still.
    pub(super) fn pass(&self, now: u64) {
        for (turn, done) in &self.0 {
            let _ended = turn.send(now).is_ok() && done.recv().is_ok();
        }
    }
}

impl Follower {
    /// Goes on when it is its turn, and for good when all has been played.
    pub(super) async fn follow(self, origin: CoarseInstant) {
        let Self { turns, done, started, ready } = self;
        let pulse = Pulse::new(&BufferPool::new(64, 1)).expect("a pair of sockets");
        let _given_up = started.await.is_ok() && ready.send(()).is_ok();
        let mut now = 0;
        // The whole thread waits.
        while let Ok(turn) = turns.recv() {
            now = turn;
            bs9_net::stand_at(origin.plus(Duration::from_millis(now)));
            pulse.beat().await;
            let _ended = done.send(());
        }
        loop {
            bs9_net::yield_now().await;
            now += STEP;
            bs9_net::stand_at(origin.plus(Duration::from_millis(now)));
        }
    }
}
