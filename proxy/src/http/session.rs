//! A client's connection: one request after the other.

use std::{rc::Rc, time::Duration};

use bs9_net::{Buffer, Connection, Interrupted};

use super::{
    client::Client,
    exchange::Exchange,
    failure::Failure,
    reply::write_failure,
    request::{self, Facts, NO_ROUTE, Plan},
    stats::HttpCell,
};
use crate::{
    http1::{BodyFraming, Version},
    part::{Action, HttpSite},
    worker::{Scratch, View, Worker},
};

/// How long a kept connection may still bring a request when a drain begins.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

/// Carries a client's connection to its end.
pub(crate) async fn serve(worker: Rc<Worker>, connection: Connection) {
    let client = Client::new(connection, worker.shard.timer());
    Session { worker, client }.run().await;
}

/// What becomes of a client's connection after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Another request may follow.
    KeepAlive,
    /// Closed in good order: the client has been told, or knows.
    Close,
    /// Closed at once: all has been said, on both sides.
    Done,
    /// Closed at once: the client is gone, or must see that something was cut off.
    Abort,
}

struct Session {
    worker: Rc<Worker>,
    client: Client,
}

impl Session {
    async fn run(self) {
        let mut ahead: Option<Buffer> = None;
        loop {
            let Some(mut buffer) = self.first_bytes(ahead.take()).await else { return };
            match self.request(&mut buffer).await {
                // An empty buffer goes back to its pool: idle connections hold none.
                Fate::KeepAlive => ahead = (!buffer.is_empty()).then_some(buffer),
                Fate::Close => return self.client.linger(buffer).await,
                Fate::Done | Fate::Abort => return,
            }
        }
    }

    /// Waits, without a buffer, for a request to begin.
    async fn first_bytes(&self, ahead: Option<Buffer>) -> Option<Buffer> {
        if ahead.is_some() {
            return ahead;
        }
        let timer = &self.client.timer;
        let view = self.worker.view();
        timer.set(view.part.http.get(&self.client.listener())?.idle_timeout);
        drop(view);
        let removals = self.worker.removals();
        let wanted = || removals == self.worker.removals() || self.is_served();
        match timer.guard_idle_while(self.client.stream.readable(), wanted).await {
            Ok(()) => {}
            // Its listener is gone from the configuration.
            Err(Interrupted::Draining) if !self.worker.shard.is_draining() => return None,
            Err(Interrupted::Draining) => {
                // The next request may be under way already: answer it, and say that it
                // was the last one, instead of resetting it.
                timer.set(DRAIN_GRACE);
                timer.guard(self.client.stream.readable()).await.ok()?;
            }
            Err(Interrupted::Elapsed | Interrupted::Aborted) => return None,
        }
        let mut buffer = self.worker.shard.buffers().take();
        match timer.guard(self.client.stream.read(&mut buffer)).await {
            Ok(Ok(count)) if count > 0 => Some(buffer),
            _ => None,
        }
    }

    /// Whether its listener is still in the configuration.
    fn is_served(&self) -> bool {
        self.worker.view().part.http.contains_key(&self.client.listener())
    }

    /// Carries one request, of which `buffer` holds the first bytes at least.
    async fn request(&self, buffer: &mut Buffer) -> Fate {
        let view = self.worker.view();
        let Some(site) = view.part.http.get(&self.client.listener()) else {
            // The listener is gone from the configuration.
            return Fate::Close;
        };
        let cell = site.stats.cell(self.worker.shard.index());
        let mut out = self.worker.scratch();
        let (facts, plan) = match self.head(&view, site, buffer, &mut out).await {
            Ok(Some(planned)) => planned,
            Ok(None) => return Fate::Abort,
            Err(failure) => {
                let line = request::line_for_logs(buffer.filled());
                return self.refuse(cell, failure, &line, None, &mut out).await;
            }
        };
        cell.requests.increment();
        cell.received_bytes.add(facts.head_len as u64);
        match plan {
            Plan::Forward { cluster, route } => {
                let exchange = Exchange {
                    worker: &self.worker,
                    site,
                    cell,
                    client: &self.client,
                    route: &site.routes[route],
                    cluster,
                    facts,
                };
                match exchange.run(buffer, &mut out).await {
                    Ok(fate) => fate,
                    Err((failure, line)) => {
                        self.refuse(cell, failure, &line, Some(&facts), &mut out).await
                    }
                }
            }
            Plan::Reply { route } => self.reply(site, cell, &facts, route, buffer, &mut out).await,
        }
    }

    /// Reads until the head is whole; `None`: the client has gone.
    async fn head(
        &self,
        view: &View,
        site: &HttpSite,
        buffer: &mut Buffer,
        out: &mut Scratch,
    ) -> Result<Option<(Facts, Plan)>, Failure> {
        let mut waiting = false;
        loop {
            let bytes = buffer.filled();
            let planned =
                request::plan(&self.worker, view, site, &self.client, bytes, &mut out.bytes)?;
            if planned.is_some() {
                return Ok(planned);
            }
            if !std::mem::replace(&mut waiting, true) {
                self.client.timer.set(site.head_timeout);
            }
            match self.client.read(buffer).await {
                Ok(Ok(count)) if count > 0 => {}
                Ok(_) => return Ok(None),
                Err(Interrupted::Elapsed) => return Err(Failure::HeadTimeout),
                Err(_) => return Ok(None),
            }
        }
    }

    /// Answers with what the configuration says, or with 404.
    async fn reply(
        &self,
        site: &HttpSite,
        cell: &HttpCell,
        facts: &Facts,
        route: usize,
        buffer: &mut Buffer,
        out: &mut Scratch,
    ) -> Fate {
        let Some(Action::Reply(reply)) = site.routes.get(route).map(|route| &route.action) else {
            debug_assert_eq!(route, NO_ROUTE);
            let line = request::line_for_logs(buffer.filled());
            buffer.consume(facts.head_len);
            return self.refuse(cell, Failure::NoRoute, &line, Some(facts), out).await;
        };
        buffer.consume(facts.head_len);
        let keep_alive = self.may_keep_alive(facts);
        reply.write(&mut out.bytes, keep_alive, facts.response_to.head);
        cell.count_response(reply.status);
        self.send(cell, keep_alive, out).await
    }

    /// Answers a request that failed. Without `facts`, its head was not understood.
    async fn refuse(
        &self,
        cell: &HttpCell,
        failure: Failure,
        line: &str,
        facts: Option<&Facts>,
        out: &mut Scratch,
    ) -> Fate {
        cell.failures[failure.index()].increment();
        cell.count_response(failure.status());
        self.log(failure, line);
        let usable = failure.leaves_connection_usable();
        let keep_alive = usable && facts.is_some_and(|facts| self.may_keep_alive(facts));
        let head_request = facts.is_some_and(|facts| facts.response_to.head);
        out.bytes.clear();
        write_failure(&mut out.bytes, failure, keep_alive, head_request);
        self.send(cell, keep_alive, out).await
    }

    /// Whether the connection can go on after an answer of our own: not with a body
    /// still to be read, and HTTP/1.0 is not worth the effort.
    fn may_keep_alive(&self, facts: &Facts) -> bool {
        facts.keep_alive
            && facts.version == Version::Http11
            && facts.framing == BodyFraming::None
            && !self.worker.shard.is_draining()
    }

    async fn send(&self, cell: &HttpCell, keep_alive: bool, out: &mut Scratch) -> Fate {
        self.client.timer.set(super::exchange::REPLY_TIMEOUT);
        cell.sent_bytes.add(out.bytes.len() as u64);
        match self.client.timer.guard(self.client.stream.write_all(&out.bytes)).await {
            Ok(Ok(())) if keep_alive => Fate::KeepAlive,
            Ok(Ok(())) => Fate::Close,
            _ => Fate::Abort,
        }
    }

    fn log(&self, failure: Failure, line: &str) {
        let Some(suppressed) = self.worker.may_log() else { return };
        tracing::info!(
            listener = &*self.client.slot.listener().name,
            peer = %self.client.peer,
            request = line,
            status = failure.status(),
            reason = failure.reason(),
            detail = failure.detail(),
            suppressed,
            "a request was not answered by an endpoint: {failure}"
        );
    }
}
