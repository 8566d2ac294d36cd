//! The listening connection's place under the limits of its database and user.

use std::{sync::Arc, time::Duration};

use crate::{budget::ListeningShare, pool::Pool};

/// How often it is looked whether others have made room.
const TURN: Duration = Duration::from_millis(20);

/// Kept when the connection is lost, or who listens would stay deaf while pools take whatever is
/// free.
#[derive(Default)]
pub(super) struct Right {
    /// Of a database, and of a user.
    shares: [Option<ListeningShare>; 2],
}

impl Right {
    /// Makes it one to a connection of `pool`, and waits for as long as `patience` until it can
    /// be used: servers that nobody needs are closed for it. False when a limit is in the way.
    pub(super) async fn claim(&mut self, pool: &Arc<Pool>, patience: Duration) -> bool {
        for (share, budget) in self.shares.iter_mut().zip(&pool.budgets) {
            if !share.as_ref().is_some_and(|share| share.is_of(budget)) {
                // What it has of another user goes when it has this.
                let Some(new) = budget.share_to_listen(pool) else { return false };
                *share = Some(new);
            }
        }
        if self.has_room() {
            return true;
        }
        pool.make_room();
        let end = bs9_net::now().plus(patience);
        while !self.has_room() {
            if bs9_net::now() >= end {
                return false;
            }
            bs9_net::time::sleep(TURN).await;
        }
        true
    }

    fn has_room(&self) -> bool {
        self.shares.iter().flatten().all(ListeningShare::has_room)
    }

    /// Whether pools would have its place instead.
    pub(super) fn is_wanted(&self) -> bool {
        self.shares.iter().flatten().any(ListeningShare::is_wanted)
    }

    /// Whether a limit has become so low that clients have nothing left.
    pub(super) fn is_the_last(&self) -> bool {
        self.shares.iter().flatten().any(ListeningShare::is_the_last)
    }

    pub(super) fn give_up(&mut self) {
        self.shares = [None, None];
    }
}
