//! One request, whatever brought it: answered by an endpoint or by the proxy itself.

use std::rc::Rc;

use bs9_net::{Buffer, CoarseInstant};

use super::{
    client::Client,
    exchange::Exchange,
    failure::Failure,
    grpc::{self, Call},
    record::Record,
    reply::{write_failure, write_redirect},
    request::{self, Facts, NO_ROUTE, Plan},
};
use crate::{
    duplex::Duplex,
    http1::{BodyFraming, Version},
    part::{Action, HttpSite},
    policy::FieldEdits,
    worker::{Scratch, Worker},
};

/// What becomes of a client's connection after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Another request may follow.
    KeepAlive,
    /// Closed in good order: the client has been told, or knows.
    Close,
    /// Closed at once: all has been said, on both sides.
    Done,
    /// Closed at once: the client is gone, or must see that something was cut off.
    Abort,
}

/// What carrying a request takes.
pub(crate) struct Handling<'a, D> {
    worker: &'a Rc<Worker>,
    site: &'a HttpSite,
    cell: &'a Record<'a>,
    client: Client<'a, D>,
    /// By HTTP/2: the call of gRPC that it is.
    call: Option<Call>,
}

impl<'a, D: Duplex> Handling<'a, D> {
    pub(crate) fn new(worker: &'a Rc<Worker>, site: &'a HttpSite, client: Client<'a, D>) -> Self {
        Self { worker, site, cell: client.record, client, call: None }
    }

    /// Of a call: what fails is answered in gRPC's words.
    pub(crate) fn of_call(self, call: Option<Call>) -> Self {
        Self { call, ..self }
    }

    /// Carries a request whose head is at the front of `buffer`. When its plan is to be
    /// forwarded, the head for the endpoint is in `out`.
    pub(crate) async fn carry(
        &self,
        (facts, plan): (Facts, Plan),
        buffer: &mut Buffer,
        out: &mut Scratch,
    ) -> Fate {
        self.cell.requests.increment();
        self.cell.received_bytes.add(facts.head_len as u64);
        match plan {
            Plan::Forward { cluster, route } => {
                let exchange = Exchange {
                    worker: self.worker,
                    site: self.site,
                    cell: self.cell,
                    client: self.client,
                    route: &self.site.routes[route],
                    until: self.call.map_or(CoarseInstant::NEVER, |call| call.until),
                    cluster,
                    facts,
                };
                match exchange.run(buffer, out).await {
                    Ok(fate) => fate,
                    Err((failure, line)) => {
                        let after = exchange.cluster.cluster.retry_after_seconds(failure);
                        let fields = self.fields_of(Some(route));
                        self.refuse((failure, after), &line, Some(&facts), fields, out).await
                    }
                }
            }
            Plan::Reply { route } => self.reply(&facts, route, buffer, out).await,
            Plan::Refuse { route } => {
                let line = request::line_for_logs(buffer.filled());
                buffer.consume(facts.head_len);
                let fields = self.fields_of(Some(route));
                self.refuse((Failure::RouteDenied, None), &line, Some(&facts), fields, out).await
            }
            Plan::Redirect { route, status } => {
                self.redirect(&facts, route, status, buffer, out).await
            }
        }
    }

    /// Answers a request whose head, as far as it has come, is in `buffer` and is not one that
    /// is forwarded.
    pub(crate) async fn refuse_head(
        &self,
        failure: Failure,
        buffer: &Buffer,
        out: &mut Scratch,
    ) -> Fate {
        let line = request::line_for_logs(buffer.filled());
        self.refuse((failure, None), &line, None, self.fields_of(None), out).await
    }

    /// Answers with what the configuration says, or with 404.
    async fn reply(
        &self,
        facts: &Facts,
        route: usize,
        buffer: &mut Buffer,
        out: &mut Scratch,
    ) -> Fate {
        let Some(Action::Reply(reply)) = self.site.routes.get(route).map(|route| &route.action)
        else {
            debug_assert_eq!(route, NO_ROUTE);
            let line = request::line_for_logs(buffer.filled());
            buffer.consume(facts.head_len);
            let fields = self.fields_of(None);
            return self.refuse((Failure::NoRoute, None), &line, Some(facts), fields, out).await;
        };
        buffer.consume(facts.head_len);
        let keep_alive = self.may_keep_alive(facts);
        reply.write(&mut out.bytes, keep_alive, facts.response_to.head);
        self.cell.count_response(reply.status);
        self.send(keep_alive, out).await
    }

    /// Sends the client to the place in `out`.
    async fn redirect(
        &self,
        facts: &Facts,
        route: Option<usize>,
        status: u16,
        buffer: &mut Buffer,
        out: &mut Scratch,
    ) -> Fate {
        buffer.consume(facts.head_len);
        let keep_alive = self.may_keep_alive(facts);
        let location = String::from_utf8_lossy(&out.bytes).into_owned();
        out.bytes.clear();
        write_redirect(&mut out.bytes, status, &location, keep_alive, facts.response_to.head);
        self.fields_of(route).apply(&mut out.bytes);
        self.cell.count_response(status);
        self.send(keep_alive, out).await
    }

    /// Answers a request that failed, and may be made again after so many seconds. Without
    /// `facts`, its head was not understood.
    async fn refuse(
        &self,
        (failure, after): (Failure, Option<u64>),
        line: &str,
        facts: Option<&Facts>,
        fields: &FieldEdits,
        out: &mut Scratch,
    ) -> Fate {
        self.cell.count_failure(failure);
        self.cell.count_response(failure.status());
        self.log(failure, line);
        let usable = failure.leaves_connection_usable();
        let keep_alive = usable && facts.is_some_and(|facts| self.may_keep_alive(facts));
        let head_request = facts.is_some_and(|facts| facts.response_to.head);
        out.bytes.clear();
        let tells = self.site.reason_header;
        if self.call.is_some() {
            grpc::write_failure(&mut out.bytes, failure, keep_alive, tells);
        } else {
            write_failure(&mut out.bytes, failure, after, keep_alive, head_request, tells);
        }
        fields.apply(&mut out.bytes);
        self.send(keep_alive, out).await
    }

    /// What changes in the fields of an answer of our own to a request that takes this route.
    fn fields_of(&self, route: Option<usize>) -> &'a FieldEdits {
        let route = route.and_then(|number| self.site.routes.get(number));
        route.map_or(&self.site.response_fields, |route| &route.policy.response)
    }

    /// Whether the connection can go on after an answer of our own: not with a body
    /// still to be read, and HTTP/1.0 is not worth the effort.
    fn may_keep_alive(&self, facts: &Facts) -> bool {
        facts.keep_alive
            && facts.version == Version::Http11
            && facts.framing == BodyFraming::None
            && !self.worker.shard.is_draining()
    }

    async fn send(&self, keep_alive: bool, out: &mut Scratch) -> Fate {
        let Client { stream, timer, .. } = self.client;
        timer.set(super::exchange::REPLY_TIMEOUT);
        self.cell.sent_bytes.add(out.bytes.len() as u64);
        match timer.guard(stream.write_all(&out.bytes)).await {
            Ok(Ok(())) if keep_alive => Fate::KeepAlive,
            Ok(Ok(())) => Fate::Close,
            _ => Fate::Abort,
        }
    }

    fn log(&self, failure: Failure, line: &str) {
        let Some(suppressed) = self.worker.may_log() else { return };
        tracing::info!(
            listener = &*self.client.origin.slot.listener().name,
            peer = %self.client.origin.peer,
            request = line,
            status = failure.status(),
            reason = failure.reason(),
            detail = failure.detail(),
            suppressed,
            "a request was not answered by an endpoint: {failure}"
        );
    }
}
