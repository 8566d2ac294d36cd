//! Who may log in, and what that costs whom.
//!
//! What is slow or waits for a server never runs on a shard: keys are derived on a thread of
//! their own ([`Workshop`]), users that are not listed are looked up on another ([`Lookup`]).

mod accounts;
mod attempts;
mod demand;
mod lookup;
mod mock;
mod user;
mod workshop;

use std::{net::IpAddr, sync::Arc, time::Duration};

use bs9_config::LoginAttempts;

pub(crate) use accounts::account_name;
pub(crate) use demand::{Ask, Demand, Method, NoDemand, demand};
pub(crate) use lookup::{Lookup, LookupError, Question, Source};
pub(crate) use mock::{Mock, Tally};
pub(crate) use user::User;
pub(crate) use workshop::{Urgency, Workshop};

use crate::{login_queue::LoginQueues, logins::LoginCounts};
use attempts::Attempts;

/// What logins share, over all shards.
pub(crate) struct Doorkeeper {
    /// What the made-up verifiers of unknown users hang on.
    pub(crate) mock_secret: [u8; 32],
    pub(crate) workshop: Arc<Workshop>,
    pub(crate) lookup: Lookup,
    /// Those of servers.
    pub(crate) login_queues: LoginQueues,
    /// Those of clients.
    pub(crate) logins: Arc<LoginCounts>,
    attempts: Attempts,
}

impl Doorkeeper {
    pub(crate) fn new() -> Self {
        Self {
            mock_secret: rand::random(),
            workshop: Workshop::new(),
            lookup: Lookup::new(),
            login_queues: LoginQueues::default(),
            logins: Arc::default(),
            attempts: Attempts::default(),
        }
    }

    /// How long logins from there are refused yet, without being looked at; `None`: not at all.
    pub(crate) fn refused_for(&self, address: IpAddr, limits: LoginAttempts) -> Option<Duration> {
        self.attempts.refused_for(address, limits, std::time::Instant::now())
    }

    /// A login from there has shown whether it is who it says. As [`refused_for`], for those who
    /// failed while this one was under way: then it is refused whatever it has shown.
    ///
    /// [`refused_for`]: Self::refused_for
    pub(crate) fn judge(
        &self,
        address: IpAddr,
        limits: LoginAttempts,
        passed: bool,
    ) -> Option<Duration> {
        self.attempts.judge(address, limits, passed, std::time::Instant::now())
    }
}
