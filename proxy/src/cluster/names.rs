//! Where an endpoint's host name leads, looked up again and again on the control thread.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, Semaphore};

use super::{Endpoint, racing::first_connected};

/// How often a name is looked up anew.
const INTERVAL: Duration = Duration::from_secs(15);
/// Pause after a name that did not resolve; doubled each time, up to [`INTERVAL`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Look-ups at once, over all names: each one waits on a thread.
const MAX_LOOKUPS: usize = 32;

static LOOKUPS: Semaphore = Semaphore::const_new(MAX_LOOKUPS);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Resolution {
    /// In the resolver's order; empty when it never led anywhere, absent until it was looked up.
    addresses: ArcSwapOption<Vec<SocketAddr>>,
    /// The place of the address that answered last, of those that are tried first.
    answered: AtomicUsize,
    /// Tells those who wait for the first look-up.
    first: Notify,
}

impl Resolution {
    /// Where the name leads. Waits only for a name that was never looked up, which is so for a
    /// moment after a configuration first named it.
    pub(super) async fn addresses(&self) -> Arc<Vec<SocketAddr>> {
        loop {
            let first = self.first.notified();
            if let Some(addresses) = self.addresses.load_full() {
                return addresses;
            }
            first.await;
        }
    }

    /// A connection to one of the addresses; those that do not answer hold it up only a little,
    /// and not again until the name is looked up anew.
    ///
    /// # Errors
    /// `None`: the name does not resolve.
    pub(super) async fn connect<C, S, P>(
        &self,
        connect: impl Fn(SocketAddr) -> C,
        sleep: impl Fn(Duration) -> P,
    ) -> Result<S, Option<io::Error>>
    where
        C: Future<Output = io::Result<S>>,
        P: Future<Output = ()>,
    {
        let addresses = self.addresses().await;
        match &addresses[..] {
            [] => Err(None),
            [only] => Ok(connect(*only).await?),
            several => {
                let first = self.answered.load(Relaxed);
                let (stream, place) = first_connected(several, first, connect, sleep).await?;
                if place != first {
                    self.answered.store(place, Relaxed);
                }
                Ok(stream)
            }
        }
    }

    /// The name was looked up. One that led nowhere keeps the addresses it had. Gives whether
    /// the addresses are others than before.
    fn found(&self, addresses: Vec<SocketAddr>) -> bool {
        let known = self.addresses.load();
        let changed = match known.as_deref() {
            // Resolvers rotate the order; that is no news.
            Some(known) => {
                let same = known.len() == addresses.len()
                    && addresses.iter().all(|address| known.contains(address));
                !addresses.is_empty() && !same
            }
            None => true,
        };
        if !addresses.is_empty() {
            // The resolver's first choice has another chance.
            self.answered.store(0, Relaxed);
        }
        if changed {
            self.addresses.store(Some(Arc::new(addresses)));
            self.first.notify_waiters();
        }
        changed
    }
}

/// Looks up `host`, again and again.
pub(super) async fn follow(cluster: &str, endpoint: &Endpoint, host: &str, port: u16) -> ! {
    let mut pause = FIRST_PAUSE;
    loop {
        let found = {
            let _one_of_many = LOOKUPS.acquire().await;
            tokio::net::lookup_host((host, port)).await.map(Vec::from_iter)
        };
        let failed = match found {
            Ok(addresses) if !addresses.is_empty() => {
                if endpoint.resolution.found(addresses.clone()) {
                    tracing::info!(cluster, host, ?addresses, "an endpoint's name resolved");
                } else if pause > FIRST_PAUSE {
                    tracing::info!(cluster, host, "an endpoint's name resolves again, as before");
                }
                pause = FIRST_PAUSE;
                tokio::time::sleep(INTERVAL).await;
                continue;
            }
            failed => failed.err(),
        };
        endpoint.resolution.found(Vec::new());
        if pause == FIRST_PAUSE {
            let error = failed.map_or_else(|| "no address".to_owned(), |error| error.to_string());
            tracing::warn!(
                cluster,
                host,
                error,
                "an endpoint's name does not resolve; the last addresses stay in use"
            );
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        future::{pending, ready},
    };

    use super::*;

    fn addresses(all: &[&str]) -> Vec<SocketAddr> {
        all.iter().map(|one| one.parse().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_name_that_stops_resolving_keeps_its_last_addresses() {
        let resolution = Resolution::default();
        let (one, two) = (addresses(&["[::1]:1", "1.0.0.1:1"]), addresses(&["1.0.0.2:1"]));
        assert!(resolution.found(one.clone()));
        assert!(!resolution.found(one.iter().rev().copied().collect()), "another order is no news");
        assert!(!resolution.found(Vec::new()));
        assert_eq!(*resolution.addresses().await, one);
        assert!(resolution.found(two.clone()));
        assert_eq!(*resolution.addresses().await, two);
    }

    #[tokio::test]
    async fn a_name_that_never_resolved_is_said_to_lead_nowhere() {
        let resolution = Resolution::default();
        assert!(resolution.found(Vec::new()));
        let connected: Result<(), _> =
            resolution.connect(|_| ready(Ok(())), tokio::time::sleep).await;
        assert!(matches!(connected, Err(None)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_answer_is_not_waited_for_again_until_the_next_look_up() {
        let resolution = Resolution::default();
        let all = addresses(&["[::1]:1", "1.0.0.1:1"]);
        resolution.found(all.clone());
        let tried = Cell::new(0);
        let connect = |address: SocketAddr| {
            tried.set(tried.get() + 1);
            async move { if address.is_ipv6() { pending().await } else { Ok(address) } }
        };
        for expected in [2, 1, 1] {
            tried.set(0);
            let connected = resolution.connect(connect, tokio::time::sleep).await.unwrap();
            assert_eq!((connected, tried.get()), (all[1], expected));
        }
        resolution.found(all);
        tried.set(0);
        resolution.connect(connect, tokio::time::sleep).await.unwrap();
        assert_eq!(tried.get(), 2);
    }
}
