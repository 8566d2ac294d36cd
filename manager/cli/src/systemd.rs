//! What the service manager is told (`Type=notify`, sd_notify(3)), and what it hands
//! over (sd_listen_fds(3)). Without one nothing happens.

use bs9_api::{AdminAddress, HandedOver};
use bs9_net::Inherited;
use sd_notify::NotifyState;
use tokio::time::{self, Interval, MissedTickBehavior};

/// Of what was handed over, the sockets of an admin API.
pub(crate) fn admin_sockets(inherited: &mut Inherited, address: &AdminAddress) -> HandedOver {
    HandedOver {
        socket: inherited.take_unix(&address.socket),
        listen: address.listen.and_then(|listen| inherited.take_tcp(listen)),
    }
}

/// When the service manager wants to hear that all is well (`WatchdogSec=`).
pub(crate) struct Watchdog(Option<Interval>);

impl Watchdog {
    /// Twice as often as it has to be.
    pub(crate) fn new() -> Self {
        Self(sd_notify::watchdog_enabled().map(|limit| {
            let mut ticks = time::interval((limit / 2).max(time::Duration::from_millis(1)));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        }))
    }

    /// The next time; never without a watchdog.
    pub(crate) async fn due(&mut self) {
        match &mut self.0 {
            Some(ticks) => {
                ticks.tick().await;
            }
            None => std::future::pending().await,
        }
    }

    /// Tells, for as long as this is polled, that the runtime turns.
    pub(crate) async fn run(mut self) -> std::convert::Infallible {
        loop {
            self.due().await;
            alive();
        }
    }
}

/// All is well.
pub(crate) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// Serving; `status` is what `systemctl status` shows.
pub(crate) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Reading the files again; [`ready`] follows. systemd wants the moment it began
/// (`Type=notify-reload`).
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the monotonic clock cannot be read"),
    }
}

/// About to end.
pub(crate) fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}
