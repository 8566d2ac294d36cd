//! The way to the shards, from wherever a pool is known.

use bs9_net::ShardMail;

use crate::shard::Mail;

/// Sends to the engine's halves.
#[derive(Clone)]
pub(crate) struct Post {
    mail: ShardMail,
    engine: usize,
}

impl Post {
    pub(crate) fn new(mail: ShardMail, engine: usize) -> Self {
        Self { mail, engine }
    }

    /// False when that shard has ended.
    pub(crate) fn send(&self, shard: usize, mail: Mail) -> bool {
        self.mail.send(shard, self.engine, Box::new(mail)).is_ok()
    }

    /// Sends one to each shard.
    pub(crate) fn send_to_all(&self, mail: impl Fn() -> Mail) {
        for shard in 0..self.mail.shards() {
            let _may_have_ended = self.send(shard, mail());
        }
    }
}
