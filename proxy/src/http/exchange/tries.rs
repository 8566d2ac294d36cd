//! Trying again: when it is safe, where, and whether it can be afforded.

use std::time::Duration;

use bs9_net::{CoarseInstant, Interrupted, now};

use super::{Cut, Exchange, Upload};
use crate::{
    cluster::{Lease, Shortage, Tried},
    duplex::Duplex,
    http::failure::Failure,
    retry::{Setback, Spent},
};

/// The tries of one request.
pub(super) struct Tries {
    /// Of all of them.
    pub(super) deadline: CoarseInstant,
    /// The next try is made on a new connection: a kept one had been closed under us.
    pub(super) afresh: bool,
    /// Endpoints that failed.
    tried: Tried,
    left: u32,
    /// What the retry under way takes of the cluster's budget.
    spent: Option<Spent>,
}

impl Tries {
    pub(super) fn new(deadline: CoarseInstant, left: u32) -> Self {
        Self { deadline, afresh: false, tried: Tried::default(), left, spent: None }
    }
}

/// A try that came to nothing, before a byte of a response had been sent to the client.
pub(super) struct Failed {
    cut: Cut,
    /// Why another try may be safe; `None`: it is not.
    setback: Option<Setback>,
    /// A kept connection had been closed under us: that says nothing of the endpoint.
    kept: bool,
    /// Where the next try is made, when that is decided already.
    next: Option<Lease>,
}

impl Failed {
    /// Nothing was sent.
    pub(super) fn to_connect(failure: Failure) -> Self {
        let cut = Cut::Failure(failure);
        Self { cut, setback: Some(Setback::Connect), kept: false, next: None }
    }

    /// Whoever waited does not any more.
    pub(super) fn gone(cut: Cut) -> Self {
        Self { cut, setback: None, kept: false, next: None }
    }

    /// Waiting for a connection ended, for this reason.
    pub(super) fn interrupted(interrupted: Interrupted) -> Self {
        match interrupted {
            Interrupted::Elapsed => Self::to_connect(Failure::ConnectTimeout),
            Interrupted::Draining => Self::gone(Cut::ClientGone),
            Interrupted::Aborted => Self::gone(Cut::Aborted),
        }
    }

    /// The endpoint's answer is one that another endpoint may better.
    pub(super) fn answered(next: Lease) -> Self {
        Self { next: Some(next), ..Self::gone(Cut::Failure(Failure::UpstreamClosed)) }
    }

    /// The request had been sent, at least in part. `silent`: not a byte of a response came.
    pub(super) fn of(cut: Cut, silent: bool, tries: &Tries) -> Self {
        let setback = match &cut {
            Cut::Failure(Failure::StreamRefused | Failure::UpstreamGoneAway) => {
                Some(Setback::Unseen)
            }
            Cut::Failure(
                Failure::UpstreamClosed | Failure::StreamReset | Failure::UpstreamUnresponsive,
            ) if silent => Some(Setback::Reset),
            Cut::Failure(Failure::ResponseTimeout) if now() < tries.deadline => {
                Some(Setback::Timeout)
            }
            _ => None,
        };
        // A connection that ends in good order says nothing of the endpoint.
        let kept = matches!(cut, Cut::Failure(Failure::UpstreamGoneAway));
        Self { cut, setback, kept, next: None }
    }

    /// Whether a kept connection had been closed under us.
    pub(super) fn on_kept(self, kept: bool) -> Self {
        let closed = matches!(self.cut, Cut::Failure(Failure::UpstreamClosed));
        Self { kept: self.kept || (kept && closed && self.setback == Some(Setback::Reset)), ..self }
    }
}

impl<D: Duplex> Exchange<'_, D> {
    /// An endpoint for the next try, which may have to be waited for.
    pub(super) async fn lease(&self, tries: &Tries) -> Result<Lease, Cut> {
        match self.cluster.lease_for(&tries.tried, self.facts.affinity) {
            Ok(lease) => Ok(lease),
            Err(Shortage::Empty) => Err(Cut::Failure(Failure::NoEndpoints)),
            Err(Shortage::Unavailable) => Err(Cut::Failure(Failure::NoHealthyEndpoint)),
            // Apart, so that requests need not be as large.
            Err(Shortage::Full) => Box::pin(self.queue(tries)).await,
        }
    }

    async fn queue(&self, tries: &Tries) -> Result<Lease, Cut> {
        let full = Cut::Failure(Failure::EndpointsFull);
        let Some(queue) = &self.cluster.cluster.config.queue else { return Err(full) };
        let Some(waiting) = self.cluster.queue() else { return Err(full) };
        self.client.timer.set_at(now().plus(queue.timeout).min(tries.deadline));
        let take = || self.cluster.lease_for(&tries.tried, self.facts.affinity).ok();
        match self.while_wanted(true, waiting.until(take)).await {
            Ok(lease) => Ok(lease),
            // It was its own time that ran out, not that of the queue.
            Err(Interrupted::Elapsed) if now() >= self.until => {
                Err(Cut::Failure(Failure::ResponseTimeout))
            }
            Err(Interrupted::Elapsed) => Err(Cut::Failure(Failure::QueueTimeout)),
            Err(Interrupted::Draining) => Err(Cut::ClientGone),
            Err(Interrupted::Aborted) => Err(Cut::Aborted),
        }
    }

    /// Counts a try that came to nothing, and what it says of the endpoint.
    pub(super) fn note_failure(&self, lease: &Lease, failed: &Failed, took: Duration) {
        // What was answered has been counted as an answer.
        if let (Cut::Failure(failure), None) = (&failed.cut, &failed.next)
            && failure.status() >= 500
        {
            lease.cell().failures.increment();
            if !failed.kept {
                lease.failed(took);
            }
        }
    }

    /// The endpoint of the next try.
    ///
    /// # Errors
    /// What came of the last one, when there is no next.
    pub(super) async fn again(
        &self,
        lease: Lease,
        failed: Failed,
        tries: &mut Tries,
        upload: &Upload,
    ) -> Result<Lease, Cut> {
        let Failed { cut, setback, kept, next } = failed;
        if let Some(next) = next {
            return Ok(next);
        }
        let Some(setback) = setback else { return Err(cut) };
        if !self.may_repeat(setback, tries, upload) {
            return Err(cut);
        }
        // Nothing had been done, so that it is no second request: that is free.
        let free = matches!(setback, Setback::Connect | Setback::Unseen);
        if !free && !self.spend(tries) {
            return Err(cut);
        }
        // Who refuses one stream may take the next, if there is nobody else.
        let alone = setback == Setback::Unseen && self.cluster.cluster.members.len() == 1;
        if !kept && !alone {
            tries.tried.add(lease.member());
        }
        tries.afresh = kept;
        drop(lease);
        let Ok(next) = self.lease(tries).await else { return Err(cut) };
        self.count(tries);
        Ok(next)
    }

    /// Another endpoint for a request that was answered with `status`, when one may be asked.
    pub(super) fn second_opinion(
        &self,
        status: u16,
        lease: &Lease,
        tries: &mut Tries,
        upload: &Upload,
    ) -> Option<Lease> {
        if !self.may_repeat(Setback::Status(status), tries, upload) {
            return None;
        }
        tries.tried.add(lease.member());
        let next = self.cluster.lease_for(&tries.tried, self.facts.affinity).ok()?;
        if !self.spend(tries) {
            return None;
        }
        tries.afresh = false;
        self.count(tries);
        Some(next)
    }

    fn may_repeat(&self, setback: Setback, tries: &Tries, upload: &Upload) -> bool {
        let whole = || upload.pump.recorded().is_some();
        let safe = match setback {
            Setback::Connect => true,
            Setback::Unseen => whole(),
            Setback::Reset | Setback::Timeout | Setback::Status(_) => {
                self.facts.repeatable && whole()
            }
        };
        tries.left > 0 && safe && self.route.retry.covers(setback)
    }

    fn spend(&self, tries: &mut Tries) -> bool {
        // One request has one retry under way at most.
        tries.spent = None;
        tries.spent = self.cluster.cluster.spend_retry(&self.route.retry);
        tries.spent.is_some()
    }

    fn count(&self, tries: &mut Tries) {
        tries.left -= 1;
        self.cluster.cluster.count_retry();
    }
}
