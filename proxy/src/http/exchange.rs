//! One request to an endpoint, and its response back.

use std::{
    future::poll_fn,
    io,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bs9_net::{Buffer, CoarseInstant, Interrupted, Transport, now};

use super::{
    client::Client,
    failure::Failure,
    handling::Fate,
    pump::{Pump, PumpError},
    request::{self, Facts},
    response::{self, Answer, MAX_INTERIM, Opening, TOO_MANY_INTERIM},
    stats::HttpCell,
};
use crate::{
    cluster::{Lease, ShardCluster, Tried},
    duplex::Duplex,
    http1::{BodyFraming, HeadLimits, Recode, ResponseFraming},
    part::{HttpSite, Route},
    tunnel::Tunnel,
    worker::{Scratch, Worker},
};

/// Limit for writing an answer of our own.
pub(super) const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// A body up to this size is copied behind its head: that costs less than the second
/// entry of a `writev(2)` (docs/adr/0002-small-bodies.md).
const SMALL_BODY_BYTES: usize = 2048;

/// Everything one request needs.
pub(super) struct Exchange<'a, D> {
    pub(super) worker: &'a Rc<Worker>,
    pub(super) site: &'a HttpSite,
    pub(super) cell: &'a HttpCell,
    pub(super) client: Client<'a, D>,
    pub(super) route: &'a Route,
    pub(super) cluster: Rc<ShardCluster>,
    pub(super) facts: Facts,
}

/// A try that came to nothing, before a byte of a response had been sent to the client.
struct Failed {
    failure: Failure,
    again: Again,
}

/// Whether, and where, another try is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    /// Nowhere.
    No,
    /// At another endpoint: nothing was sent to this one.
    Elsewhere,
    /// On a new connection to any endpoint: a kept one had been closed under us, and
    /// repeating the request does no harm.
    Afresh,
}

/// The request's body on its way to the endpoint.
struct Upload {
    pump: Pump,
    /// The endpoint takes no more of it; its response may still come.
    refused: bool,
}

impl Upload {
    fn is_active(&self) -> bool {
        !self.refused && !self.pump.is_done()
    }
}

/// Why waiting for the endpoint ended without a read.
enum Cut {
    Failure(Failure),
    ClientGone,
}

impl<D: Duplex> Exchange<'_, D> {
    /// Carries the request whose head for the endpoint is in `out`, and whose own head
    /// is still at the front of `buffer`.
    ///
    /// # Errors
    /// The failure to answer with, and the request line for the log.
    pub(super) async fn run(
        &self,
        buffer: &mut Buffer,
        out: &mut Scratch,
    ) -> Result<Fate, (Failure, String)> {
        buffer.consume(self.facts.head_len);
        let failed = match self.tries(buffer, out).await {
            Ok(fate) => return Ok(fate),
            Err(failure) => failure,
        };
        Err((failed, request::line_for_logs(&out.bytes)))
    }

    async fn tries(&self, buffer: &mut Buffer, out: &mut Scratch) -> Result<Fate, Failure> {
        if matches!(self.facts.framing, BodyFraming::Length(length) if length > self.site.max_body_bytes)
        {
            return Err(Failure::BodyTooLarge);
        }
        self.cluster.earn_retry(self.route.budget);
        let deadline = now().plus(self.route.timeout);
        let mut upload = Upload { pump: Pump::new(self.facts.framing), refused: false };
        let mut tried = Tried::default();
        let mut attempts = self.route.attempts;
        let mut reuse = true;
        let mut failure = match self.cluster.cluster.members.len() {
            0 => Failure::NoEndpoints,
            _ => Failure::NoHealthyEndpoint,
        };
        while let Some(lease) = self.cluster.lease(&tried) {
            let failed = match self.attempt(&lease, reuse, deadline, &mut upload, buffer, out).await
            {
                Ok(fate) => return Ok(fate),
                Err(failed) => failed,
            };
            failure = failed.failure;
            if failure.status() >= 500 {
                lease.cell().failures.increment();
            }
            let affordable = match failed.again {
                Again::No => false,
                Again::Elsewhere => {
                    tried.add(lease.member());
                    true
                }
                Again::Afresh => {
                    reuse = false;
                    self.cluster.spend_retry()
                }
            };
            if !affordable || attempts == 0 {
                break;
            }
            attempts -= 1;
        }
        Err(failure)
    }

    async fn attempt(
        &self,
        lease: &Lease,
        reuse: bool,
        deadline: CoarseInstant,
        upload: &mut Upload,
        buffer: &mut Buffer,
        out: &mut Scratch,
    ) -> Result<Fate, Failed> {
        let kept = if reuse { lease.reuse() } else { None };
        let reused = kept.is_some();
        let stream = match kept {
            Some(stream) => stream,
            None => self.connect(lease, deadline).await?,
        };
        let again = if reused && self.facts.repeatable { Again::Afresh } else { Again::No };
        let sent_at = now();
        if let Err(failure) = self.send(&stream, deadline, upload, buffer, &out.bytes).await {
            return Err(Failed { failure, again: Again::No });
        }
        let mut answer = self.worker.shard.buffers().take();
        let opening = match self.opening(&stream, upload, buffer, &mut answer, out).await {
            Ok(Ok(opening)) => opening,
            Ok(Err(fate)) => return Ok(fate),
            Err(failure) => {
                let silent = failure == Failure::UpstreamClosed && answer.is_empty();
                return Err(Failed { failure, again: if silent { again } else { Again::No } });
            }
        };
        let cell = lease.cell();
        cell.responses.increment();
        cell.response_nanoseconds.add(now().since(sent_at).as_nanos() as u64);
        bs9_net::answered(sent_at);
        self.cell.count_response(opening.status);
        let response = Response { exchange: self, lease, stream, opening };
        Ok(response.relay(answer, upload, buffer, out).await)
    }

    async fn connect(&self, lease: &Lease, deadline: CoarseInstant) -> Result<Transport, Failed> {
        let limit = now().plus(lease.cluster().cluster.config.connect_timeout);
        self.client.timer.set_at(limit.min(deadline));
        let failed = |failure| Err(Failed { failure, again: Again::Elsewhere });
        match self.client.timer.guard(lease.connect()).await {
            Ok(Ok(stream)) => {
                lease.cell().connects.increment();
                Ok(stream)
            }
            Ok(Err(error)) => {
                lease.cell().connect_failures.increment();
                if let Some(suppressed) = self.worker.may_log() {
                    tracing::warn!(
                        cluster = &*lease.cluster().cluster.config.name,
                        endpoint = lease.endpoint().name(), %error, suppressed,
                        "an endpoint did not accept a connection"
                    );
                }
                failed(Failure::ConnectFailed)
            }
            Err(_) => {
                lease.cell().connect_failures.increment();
                failed(Failure::ConnectTimeout)
            }
        }
    }

    /// Sends the head, with what has arrived of the body.
    async fn send(
        &self,
        stream: &Transport,
        deadline: CoarseInstant,
        upload: &mut Upload,
        buffer: &mut Buffer,
        head: &[u8],
    ) -> Result<(), Failure> {
        // Of an earlier try nothing got there.
        upload.refused = false;
        let ready = upload.pump.admit(buffer).map_err(Failure::RequestBody)?;
        if upload.pump.seen > self.site.max_body_bytes {
            return Err(Failure::BodyTooLarge);
        }
        let timer = self.client.timer;
        timer.set_at(deadline);
        match timer.guard(stream.write_both(head, &buffer.filled()[..ready])).await {
            Ok(Ok(())) => upload.pump.written(buffer, ready),
            // It may have answered all the same, before it closed.
            Ok(Err(_)) => upload.refused = true,
            Err(_) => return Err(Failure::ResponseTimeout),
        }
        if upload.is_active() && !self.facts.expects_continue {
            // It is the client's time now.
            timer.set(self.site.body_timeout);
        }
        Ok(())
    }

    /// Waits for the head of the final response, passing on interim ones and the rest
    /// of the request's body meanwhile. The inner error is the end of the client.
    async fn opening(
        &self,
        stream: &Transport,
        upload: &mut Upload,
        buffer: &mut Buffer,
        answer: &mut Buffer,
        out: &mut Scratch,
    ) -> Result<Result<Opening, Fate>, Failure> {
        let limits = HeadLimits {
            max_head_bytes: self.worker.shard.buffers().buffer_bytes(),
            ..self.site.limits
        };
        let mut interim = 0;
        // The head for the endpoint stays at the front of `out`, should it be sent again.
        let request_len = out.bytes.len();
        loop {
            if !answer.is_empty() {
                let complete = upload.pump.is_done();
                let keep = complete && !self.worker.shard.is_draining();
                let set = &self.site.response_fields;
                let bytes = answer.filled();
                let read =
                    response::answer(bytes, &self.facts, &limits, keep, set, &mut out.bytes)?;
                match read {
                    Answer::Final(opening) => {
                        out.bytes.drain(..request_len);
                        return Ok(Ok(opening));
                    }
                    Answer::Interim { head_len, forwarded } => {
                        interim += 1;
                        if interim > MAX_INTERIM {
                            return Err(TOO_MANY_INTERIM);
                        }
                        answer.consume(head_len);
                        if forwarded {
                            let written = self.client.stream.write_all(&out.bytes[request_len..]);
                            if !matches!(self.client.timer.guard(written).await, Ok(Ok(()))) {
                                return Ok(Err(Fate::Abort));
                            }
                            out.bytes.truncate(request_len);
                            if upload.is_active() {
                                self.client.timer.set(self.site.body_timeout);
                            }
                        }
                        continue;
                    }
                    Answer::Partial => {}
                }
            }
            match self.wait_for_endpoint(stream, upload, buffer, answer).await {
                Ok(()) => {}
                Err(Cut::Failure(failure)) => return Err(failure),
                Err(Cut::ClientGone) => return Ok(Err(Fate::Abort)),
            }
        }
    }

    /// Reads from the endpoint, uploading meanwhile.
    async fn wait_for_endpoint(
        &self,
        stream: &Transport,
        upload: &mut Upload,
        buffer: &mut Buffer,
        answer: &mut Buffer,
    ) -> Result<(), Cut> {
        let timer = self.client.timer;
        let waited = timer
            .guard(poll_fn(|cx| {
                if upload.is_active()
                    && let Poll::Ready(Err(cut)) = self.poll_upload(cx, stream, upload, buffer)
                {
                    return Poll::Ready(Err(cut));
                }
                stream.poll_read(cx, answer).map(Ok)
            }))
            .await;
        match waited {
            Ok(Ok(Ok(count))) if count > 0 => Ok(()),
            Ok(Ok(_)) => Err(Cut::Failure(Failure::UpstreamClosed)),
            Ok(Err(cut)) => Err(cut),
            Err(Interrupted::Elapsed) => {
                let told_to_wait = self.facts.expects_continue && upload.pump.seen == 0;
                let clients = upload.is_active() && buffer.is_empty() && !told_to_wait;
                let failure = if clients { Failure::BodyTimeout } else { Failure::ResponseTimeout };
                Err(Cut::Failure(failure))
            }
            Err(_) => Err(Cut::ClientGone),
        }
    }

    fn poll_upload(
        &self,
        cx: &mut Context<'_>,
        stream: &Transport,
        upload: &mut Upload,
        buffer: &mut Buffer,
    ) -> Poll<Result<(), Cut>> {
        let before = upload.pump.seen + upload.pump.moved;
        let pipes = self.worker.shard.pipes();
        let polled = upload.pump.poll(cx, self.client.stream, buffer, stream, pipes);
        if upload.pump.seen > self.site.max_body_bytes {
            return Poll::Ready(Err(Cut::Failure(Failure::BodyTooLarge)));
        }
        match polled {
            Poll::Pending => {
                if upload.pump.seen + upload.pump.moved != before {
                    self.client.timer.set(self.site.body_timeout);
                }
                Poll::Pending
            }
            Poll::Ready(Ok(())) => {
                // From here on it is the endpoint's time.
                self.client.timer.set(self.route.timeout);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(PumpError::Write(_))) => {
                upload.refused = true;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(PumpError::Framing(error))) => {
                Poll::Ready(Err(Cut::Failure(Failure::RequestBody(error))))
            }
            Poll::Ready(Err(PumpError::Read(_) | PumpError::CutOff)) => {
                Poll::Ready(Err(Cut::ClientGone))
            }
        }
    }
}

/// A response whose head is known.
struct Response<'e, 'a, D> {
    exchange: &'e Exchange<'a, D>,
    lease: &'e Lease,
    stream: Transport,
    opening: Opening,
}

impl<D: Duplex> Response<'_, '_, D> {
    /// Sends the head in `out` and everything behind it.
    async fn relay(
        self,
        mut answer: Buffer,
        upload: &mut Upload,
        buffer: &mut Buffer,
        out: &mut Scratch,
    ) -> Fate {
        let Exchange { client, site, cell, .. } = *self.exchange;
        answer.consume(self.opening.head_len);
        let mut download = Pump::new(self.opening.framing);
        client.timer.set(site.body_timeout);
        let passes = self.opening.recode == Recode::Keep;
        let ready = match if passes { download.admit(&answer) } else { Ok(0) } {
            Ok(ready) => ready,
            Err(error) => return self.cut(&PumpError::Framing(error)),
        };
        cell.sent_bytes.add((out.bytes.len() + ready) as u64);
        let mut body = &answer.filled()[..ready];
        if ready <= SMALL_BODY_BYTES {
            out.bytes.extend_from_slice(body);
            body = &[];
        }
        let written = client.stream.write_both(&out.bytes, body);
        if !matches!(client.timer.guard(written).await, Ok(Ok(()))) {
            return Fate::Abort;
        }
        download.written(&mut answer, ready);
        if self.opening.framing == ResponseFraming::Tunnel {
            return self.tunnel(answer, buffer).await;
        }
        if !passes {
            return self.relay_decoded(answer, upload, buffer, out).await;
        }
        if (!download.is_done() || upload.is_active())
            && let Err(fate) = self.relay_rest(&mut download, &mut answer, upload, buffer).await
        {
            return fate;
        }
        self.finish(&answer, upload)
    }

    /// Moves the rest of the response, and of the request's body beside it.
    async fn relay_rest(
        &self,
        download: &mut Pump,
        answer: &mut Buffer,
        upload: &mut Upload,
        buffer: &mut Buffer,
    ) -> Result<(), Fate> {
        let Exchange { client, site, cell, worker, .. } = *self.exchange;
        let pipes = worker.shard.pipes();
        let sent_before = download.moved;
        let relayed = client
            .timer
            .guard(poll_fn(|cx| {
                let before = download.moved;
                // What becomes of the request's body no longer matters to the response;
                // only its being whole does, to the connections.
                if upload.is_active()
                    && let Poll::Ready(uploaded) =
                        self.exchange.poll_upload(cx, &self.stream, upload, buffer)
                {
                    upload.refused |= uploaded.is_err();
                    client.timer.set(site.body_timeout);
                }
                let polled = download.poll(cx, &self.stream, answer, client.stream, pipes);
                if download.moved != before {
                    client.timer.set(site.body_timeout);
                }
                polled
            }))
            .await;
        cell.sent_bytes.add(download.moved - sent_before);
        match relayed {
            Ok(Ok(())) => Ok(()),
            Ok(Err(PumpError::Write(_))) => Err(Fate::Abort),
            Ok(Err(error)) => Err(self.cut(&error)),
            Err(_) => Err(self.cut(&PumpError::Read(io::ErrorKind::TimedOut.into()))),
        }
    }

    /// Chunks taken apart, for a client of HTTP/1.0; the end of the connection is the
    /// end of the body.
    async fn relay_decoded(
        &self,
        mut answer: Buffer,
        upload: &mut Upload,
        buffer: &mut Buffer,
        out: &mut Scratch,
    ) -> Fate {
        let Exchange { client, site, cell, .. } = *self.exchange;
        let mut body = crate::http1::BodyReader::from(self.opening.framing);
        loop {
            out.bytes.clear();
            let payload = &mut out.bytes;
            let advanced =
                body.advance_decoding(answer.filled(), |span| payload.extend_from_slice(span));
            let count = match advanced {
                Ok((count, _)) => count,
                Err(error) => return self.cut(&PumpError::Framing(error)),
            };
            answer.consume(count);
            client.timer.set(site.body_timeout);
            cell.sent_bytes.add(out.bytes.len() as u64);
            let written = client.stream.write_all(&out.bytes);
            if !matches!(client.timer.guard(written).await, Ok(Ok(()))) {
                return Fate::Abort;
            }
            if body.is_done() {
                cell.received_bytes.add(upload.pump.moved);
                return Fate::Close;
            }
            let more = self.exchange.wait_for_endpoint(&self.stream, upload, buffer, &mut answer);
            if more.await.is_err() {
                return self.cut(&PumpError::CutOff);
            }
        }
    }

    /// The connection now belongs to another protocol.
    async fn tunnel(&self, answer: Buffer, buffer: &mut Buffer) -> Fate {
        let Exchange { client, site, cell, worker, .. } = *self.exchange;
        let early = buffer.take();
        let tunnel = Tunnel {
            client: client.stream,
            endpoint: &self.stream,
            shard: &worker.shard,
            timer: client.timer,
            idle_timeout: site.tunnel_timeout,
        };
        let passed = tunnel.run(Some(early), Some(answer)).await;
        cell.received_bytes.add(passed.upstream_bytes);
        cell.sent_bytes.add(passed.downstream_bytes);
        if let Err(error) = passed.end {
            tracing::debug!(peer = %client.origin.peer, %error, "an upgraded connection was cut");
        }
        Fate::Abort
    }

    /// The response was whole: keeps what can be kept.
    fn finish(self, answer: &Buffer, upload: &Upload) -> Fate {
        let Exchange { cell, worker, .. } = *self.exchange;
        cell.received_bytes.add(upload.pump.moved);
        let sent_whole = upload.pump.is_done() && !upload.refused;
        let excess = !answer.is_empty();
        if excess {
            cell.failures[Failure::UpstreamExcess.index()].increment();
            if let Some(suppressed) = worker.may_log() {
                tracing::warn!(
                    endpoint = self.lease.endpoint().name(),
                    bytes = answer.len(),
                    suppressed,
                    "an endpoint sent bytes nobody asked for: its connection is closed"
                );
            }
        } else if sent_whole && self.opening.upstream_keep_alive {
            let until_close = self.opening.framing == ResponseFraming::UntilClose;
            if until_close {
                self.stream.finish();
            } else {
                self.lease.keep(self.stream);
            }
        }
        let facts = &self.exchange.facts;
        if sent_whole && self.opening.client_keep_alive {
            Fate::KeepAlive
        } else if !facts.keep_alive && facts.framing == BodyFraming::None {
            // The client asked for it, and has nothing more to send that a reset could answer.
            Fate::Done
        } else {
            Fate::Close
        }
    }

    /// The response was cut off after its head had been sent: the client's connection
    /// is closed, so that it cannot take half a response for a whole one.
    fn cut(&self, error: &PumpError) -> Fate {
        self.lease.cell().failures.increment();
        let Exchange { client, worker, cell, .. } = *self.exchange;
        cell.failures[Failure::UpstreamClosed.index()].increment();
        if let Some(suppressed) = worker.may_log() {
            tracing::warn!(
                peer = %client.origin.peer, endpoint = self.lease.endpoint().name(), %error, suppressed,
                "a response was cut off"
            );
        }
        if self.opening.framing == ResponseFraming::UntilClose
            || self.opening.recode == Recode::Dechunk
        {
            client.stream.reset_on_close();
        }
        Fate::Abort
    }
}
