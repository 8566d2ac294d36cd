//! One request to an endpoint, and its response back.

use std::{
    future::poll_fn,
    io,
    pin::pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bs9_net::{Buffer, CoarseInstant, Interrupted, Transport, now};
use relay::Response;
use tries::{Failed, Tries};
use way::{Upstream, Way};

use super::{
    client::Client,
    failure::Failure,
    handling::Fate,
    pump::{Pump, PumpError},
    record::Record,
    request::{self, Facts},
    response::{self, Answer, MAX_INTERIM, Opening, TOO_MANY_INTERIM},
};
use crate::{
    cluster::{Lease, ShardCluster},
    duplex::Duplex,
    http1::{BodyError, BodyFraming, HeadLimits, Recode, ResponseError},
    introduction::introduction,
    part::{HttpSite, Route},
    worker::{Scratch, Worker},
};

mod relay;
mod tries;
mod way;

/// Limit for writing an answer of our own.
pub(super) const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// A body up to this size is copied behind its head: that costs less than the second
/// entry of a `writev(2)` (docs/adr/0002-small-bodies.md).
const SMALL_BODY_BYTES: usize = 2048;

/// How long a client that sends nothing more may still wait for its response. Most have gone; a
/// few (`nc`) only say that they have asked all they wanted to.
const PARTING_GRACE: Duration = Duration::from_secs(1);

/// Everything one request needs.
pub(super) struct Exchange<'a, D> {
    pub(super) worker: &'a Rc<Worker>,
    pub(super) site: &'a HttpSite,
    pub(super) cell: &'a Record<'a>,
    pub(super) client: Client<'a, D>,
    pub(super) route: &'a Route,
    /// By when the response has to begin, whatever the route says; [`CoarseInstant::NEVER`]: the
    /// client does not.
    pub(super) until: CoarseInstant,
    pub(super) cluster: Rc<ShardCluster>,
    pub(super) facts: Facts,
}

/// The request's body on its way to the endpoint.
struct Upload {
    pump: Pump,
    /// The endpoint takes no more of it; its response may still come.
    refused: bool,
    /// Until the response has begun: [`Exchange::until`].
    until: CoarseInstant,
}

impl Upload {
    fn is_active(&self) -> bool {
        !self.refused && !self.pump.is_done()
    }
}

/// Why waiting for an endpoint ended without what was waited for.
enum Cut {
    Failure(Failure),
    ClientGone,
    /// The drain's deadline passed.
    Aborted,
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
        match self.tries(buffer, out).await {
            Ok(fate) => Ok(fate),
            Err(Cut::Failure(failure)) => Err((failure, request::line_for_logs(&out.bytes))),
            Err(Cut::ClientGone) => {
                self.cell.count_failure(Failure::ClientGone);
                Ok(Fate::Abort)
            }
            Err(Cut::Aborted) => Ok(Fate::Abort),
        }
    }

    async fn tries(&self, buffer: &mut Buffer, out: &mut Scratch) -> Result<Fate, Cut> {
        if matches!(self.facts.framing, BodyFraming::Length(length) if length > self.site.max_body_bytes)
        {
            return Err(Cut::Failure(Failure::BodyTooLarge));
        }
        let deadline = now().plus(self.route.timeout).min(self.until);
        let mut upload = self.upload();
        let mut tries = Tries::new(deadline, self.route.retry.attempts);
        let mut lease = self.lease(&tries).await?;
        loop {
            let began = now();
            let failed = match self.attempt(&lease, &mut tries, &mut upload, buffer, out).await {
                Ok(fate) => return Ok(fate),
                Err(failed) => failed,
            };
            self.note_failure(&lease, &failed, now().since(began));
            lease = self.again(lease, failed, &mut tries, &upload).await?;
        }
    }

    fn upload(&self) -> Upload {
        let mut pump = Pump::new(self.facts.framing).at_most(self.site.max_body_bytes);
        let most = self.route.retry.max_replay_bytes;
        let fits = match self.facts.framing {
            BodyFraming::None => false,
            BodyFraming::Length(length) => length <= most as u64,
            BodyFraming::Chunked => most > 0,
        };
        // What an endpoint of HTTP/2 has not looked at may be sent again, whatever it is.
        let repeatable = self.facts.repeatable || self.cluster.cluster.multiplexes();
        if fits && repeatable && self.route.retry.attempts > 0 {
            pump.record(self.worker.scratch(), most);
        }
        Upload { pump, refused: false, until: self.until }
    }

    async fn attempt(
        &self,
        lease: &Lease,
        tries: &mut Tries,
        upload: &mut Upload,
        buffer: &mut Buffer,
        out: &mut Scratch,
    ) -> Result<Fate, Failed> {
        self.cell.tries(lease);
        let limit = match self.route.retry.per_try_timeout {
            None => tries.deadline,
            Some(timeout) => now().plus(timeout).min(tries.deadline),
        };
        let reused = if tries.afresh { None } else { lease.reuse() };
        let reused = match reused {
            None if !tries.afresh && lease.sessions().is_none() => {
                let worker = self.worker;
                lease.ask_others(worker.shard.mail(), worker.engine).await
            }
            found => found,
        };
        let kept = reused.is_some();
        let stream = match reused {
            Some(stream) => stream,
            None => match lease.sessions() {
                None => self.connect(lease, limit, upload, buffer).await?,
                Some(sessions) => {
                    // Apart, so that requests by HTTP/1.1 need not be as large.
                    let way = (lease, sessions, limit);
                    let beside = self.attempt_beside(way, tries, upload, buffer, out);
                    return Box::pin(beside).await;
                }
            },
        };
        self.converse(Way { lease, stream, kept, limit }, tries, upload, buffer, out).await
    }

    /// Sends the request, and relays what comes back.
    async fn converse<E: Upstream>(
        &self,
        way: Way<'_, E>,
        tries: &mut Tries,
        upload: &mut Upload,
        buffer: &mut Buffer,
        out: &mut Scratch,
    ) -> Result<Fate, Failed> {
        let Way { lease, stream, kept, limit } = way;
        let request_len = out.bytes.len();
        let sent_at = now();
        let sent = self.send(&stream, limit, upload, buffer, &out.bytes).await;
        sent.map_err(|cut| Failed::of(cut, false, tries))?;
        let mut answer = self.worker.shard.buffers().take();
        let mut interim = 0;
        let opening = self.opening(&stream, upload, buffer, &mut answer, out, &mut interim);
        let opening = match opening.await {
            Ok(opening) => opening,
            Err(cut) => {
                out.bytes.truncate(request_len);
                let silent = answer.is_empty() && interim == 0;
                return Err(Failed::of(cut, silent, tries).on_kept(kept && silent));
            }
        };
        bs9_net::answered(sent_at);
        answer.consume(opening.head_len);
        let mut download = Pump::new(opening.framing);
        let arrived = if opening.recode == Recode::Keep { download.admit(&answer) } else { Ok(0) };
        let ready = match arrived {
            Ok(ready) => ready,
            Err(BodyError::Chunk(error)) => {
                // Nothing of it has been sent: the client need not be cut off.
                out.bytes.truncate(request_len);
                let failure = Failure::Response(ResponseError::Body(error));
                return Err(Failed::gone(Cut::Failure(failure)));
            }
        };
        let cell = lease.cell();
        let took = now().since(sent_at);
        cell.responses.increment();
        cell.response_nanoseconds.add(took.as_nanos() as u64);
        cell.times.add(took);
        self.cell.answered_after(took);
        if opening.status < 500 {
            lease.succeeded(took);
        } else {
            lease.failed(took);
            if let Some(next) = self.second_opinion(opening.status, lease, tries, upload) {
                out.bytes.truncate(request_len);
                return Err(Failed::answered(next));
            }
        }
        out.bytes.drain(..request_len);
        if let Some(cookie) = self.cluster.cluster.cookie_for(self.facts.affinity, lease.member()) {
            insert_last(&mut out.bytes, cookie);
        }
        self.cell.count_response(opening.status);
        let response = Response { exchange: self, lease, stream, opening };
        Ok(response.relay((download, ready), answer, upload, buffer, out).await)
    }

    async fn connect(
        &self,
        lease: &Lease,
        limit: CoarseInstant,
        upload: &Upload,
        buffer: &Buffer,
    ) -> Result<Transport, Failed> {
        let config = &lease.cluster().cluster.config;
        self.client.timer.set_at(now().plus(config.connect_timeout).min(limit));
        let asked_all = upload.pump.is_done() && buffer.is_empty();
        let origin = self.client.origin;
        let introduction =
            introduction(config.proxy_protocol, origin.peer, || origin.destination());
        match self.while_wanted(asked_all, lease.connect(&introduction)).await {
            Ok(Ok(stream)) => {
                lease.cell().connects.increment();
                Ok(stream)
            }
            Ok(Err(error)) => {
                lease.cell().connect_failures.increment();
                if let Some(suppressed) = self.worker.may_log() {
                    tracing::warn!(
                        cluster = &*config.name, endpoint = lease.endpoint().name(), %error,
                        suppressed, "an endpoint did not accept a connection"
                    );
                }
                Err(Failed::to_connect(Failure::ConnectFailed))
            }
            Err(Interrupted::Elapsed) => {
                lease.cell().connect_failures.increment();
                Err(Failed::to_connect(Failure::ConnectTimeout))
            }
            Err(interrupted) => Err(Failed::interrupted(interrupted)),
        }
    }

    /// Waits for `work` until the timer falls due, or, when the client has `asked_all` it wants
    /// to, until it has gone: that is [`Interrupted::Draining`].
    async fn while_wanted<F: Future>(
        &self,
        asked_all: bool,
        work: F,
    ) -> Result<F::Output, Interrupted> {
        let mut work = pin!(work);
        let mut parting = false;
        let Client { stream, timer, .. } = self.client;
        let waited = timer
            .guard(poll_fn(|cx| {
                let polled = work.as_mut().poll(cx);
                if polled.is_pending() && asked_all && !parting {
                    parting = self.poll_parting(cx, stream);
                }
                polled
            }))
            .await;
        match waited {
            Err(Interrupted::Elapsed) if parting => Err(Interrupted::Draining),
            waited => waited,
        }
    }

    /// Whether the client has said that it sends nothing more. It is waited for only a little
    /// longer then.
    #[inline]
    fn poll_parting(&self, cx: &mut Context<'_>, stream: &D) -> bool {
        let parting = stream.poll_peer_done(cx).is_ready();
        if parting {
            let timer = self.client.timer;
            timer.set_at(now().plus(PARTING_GRACE).min(timer.deadline()));
        }
        parting
    }

    /// Gives what is waited for so much time, but none that the client does not have.
    #[inline]
    fn allow(&self, time: Duration, upload: &Upload) {
        self.client.timer.set_at(now().plus(time).min(upload.until));
    }

    /// Sends the head, with what had arrived of the body.
    async fn send(
        &self,
        stream: &impl Upstream,
        limit: CoarseInstant,
        upload: &mut Upload,
        buffer: &mut Buffer,
        head: &[u8],
    ) -> Result<(), Cut> {
        upload.refused = false;
        let ready =
            upload.pump.admit(buffer).map_err(|error| Cut::Failure(Failure::RequestBody(error)))?;
        if upload.pump.seen > self.site.max_body_bytes {
            return Err(Cut::Failure(Failure::BodyTooLarge));
        }
        let timer = self.client.timer;
        timer.set_at(limit);
        // What an earlier try had sent comes first.
        let sent = upload.pump.recorded().unwrap_or_default();
        let arrived = &buffer.filled()[..ready];
        let written = if sent.is_empty() {
            timer.guard(stream.write_both(head, arrived)).await
        } else {
            timer.guard(write_three(stream, head, sent, arrived)).await
        };
        match written {
            Ok(Ok(())) => upload.pump.written(buffer, ready),
            // It may have answered all the same, before it closed.
            Ok(Err(_)) => upload.refused = true,
            Err(Interrupted::Elapsed) => return Err(Cut::Failure(Failure::ResponseTimeout)),
            Err(_) => return Err(Cut::Aborted),
        }
        if upload.is_active() && !self.facts.expects_continue {
            // It is the client's time now.
            self.allow(self.site.body_timeout, upload);
        }
        Ok(())
    }

    /// Waits for the head of the final response, passing on interim ones and the rest
    /// of the request's body meanwhile; `interim` counts them. The head for the client is then
    /// behind that for the endpoint, which stays at the front of `out`, should it be sent again.
    async fn opening(
        &self,
        stream: &impl Upstream,
        upload: &mut Upload,
        buffer: &mut Buffer,
        answer: &mut Buffer,
        out: &mut Scratch,
        interim: &mut usize,
    ) -> Result<Opening, Cut> {
        let limits = HeadLimits {
            max_head_bytes: self.worker.shard.buffers().buffer_bytes(),
            ..self.site.limits
        };
        let request_len = out.bytes.len();
        loop {
            if !answer.is_empty() {
                let complete = upload.pump.is_done();
                let keep = complete && !self.worker.shard.is_draining();
                let fields = &self.route.policy.response;
                let bytes = answer.filled();
                let read =
                    response::answer(bytes, &self.facts, &limits, keep, fields, &mut out.bytes);
                match read.map_err(Cut::Failure)? {
                    Answer::Final(opening) => return Ok(opening),
                    Answer::Interim { head_len, forwarded } => {
                        *interim += 1;
                        if *interim > MAX_INTERIM {
                            return Err(Cut::Failure(TOO_MANY_INTERIM));
                        }
                        answer.consume(head_len);
                        if forwarded {
                            let written = self.client.stream.write_all(&out.bytes[request_len..]);
                            if !matches!(self.client.timer.guard(written).await, Ok(Ok(()))) {
                                return Err(Cut::ClientGone);
                            }
                            out.bytes.truncate(request_len);
                            if upload.is_active() {
                                self.allow(self.site.body_timeout, upload);
                            }
                        }
                        continue;
                    }
                    Answer::Partial => {}
                }
            }
            self.wait_for_endpoint(stream, upload, buffer, answer).await?;
        }
    }

    /// Reads from the endpoint, uploading meanwhile. Notices when the client has gone.
    async fn wait_for_endpoint(
        &self,
        stream: &impl Upstream,
        upload: &mut Upload,
        buffer: &mut Buffer,
        answer: &mut Buffer,
    ) -> Result<(), Cut> {
        let timer = self.client.timer;
        let mut parting = false;
        let waited = timer
            .guard(poll_fn(|cx| {
                if upload.is_active()
                    && let Poll::Ready(Err(cut)) = self.poll_upload(cx, stream, upload, buffer)
                {
                    return Poll::Ready(Err(cut));
                }
                let read = stream.poll_read(cx, answer).map(Ok);
                if read.is_pending() && !parting && upload.pump.is_done() && buffer.is_empty() {
                    parting = self.poll_parting(cx, self.client.stream);
                }
                read
            }))
            .await;
        match waited {
            Ok(Ok(Ok(count))) if count > 0 => Ok(()),
            Ok(Ok(Ok(_))) => Err(Cut::Failure(Failure::UpstreamClosed)),
            Ok(Ok(Err(error))) => Err(Cut::Failure(Failure::of_upstream(&error))),
            Ok(Err(cut)) => Err(cut),
            Err(Interrupted::Elapsed) if parting => Err(Cut::ClientGone),
            Err(Interrupted::Elapsed) => {
                let told_to_wait = self.facts.expects_continue && upload.pump.seen == 0;
                let clients = upload.is_active() && buffer.is_empty() && !told_to_wait;
                let failure = if clients && now() < upload.until {
                    Failure::BodyTimeout
                } else {
                    Failure::ResponseTimeout
                };
                Err(Cut::Failure(failure))
            }
            Err(_) => Err(Cut::Aborted),
        }
    }

    fn poll_upload(
        &self,
        cx: &mut Context<'_>,
        stream: &impl Upstream,
        upload: &mut Upload,
        buffer: &mut Buffer,
    ) -> Poll<Result<(), Cut>> {
        let before = upload.pump.seen + upload.pump.moved;
        let pipes = self.worker.shard.pipes();
        let polled = upload.pump.poll(cx, self.client.stream, buffer, stream, pipes);
        match polled {
            Poll::Pending => {
                if upload.pump.seen + upload.pump.moved != before {
                    self.allow(self.site.body_timeout, upload);
                }
                Poll::Pending
            }
            Poll::Ready(Ok(())) => {
                // From here on it is the endpoint's time.
                let patience = self.route.retry.per_try_timeout.unwrap_or(self.route.timeout);
                self.allow(patience.min(self.route.timeout), upload);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(PumpError::Write(_))) => {
                upload.refused = true;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(PumpError::Framing(error))) => {
                Poll::Ready(Err(Cut::Failure(Failure::RequestBody(error))))
            }
            Poll::Ready(Err(PumpError::TooLarge)) => {
                Poll::Ready(Err(Cut::Failure(Failure::BodyTooLarge)))
            }
            Poll::Ready(Err(PumpError::Read(_) | PumpError::CutOff)) => {
                Poll::Ready(Err(Cut::ClientGone))
            }
        }
    }
}

async fn write_three(
    stream: &impl Upstream,
    first: &[u8],
    second: &[u8],
    third: &[u8],
) -> io::Result<()> {
    stream.write_both(first, second).await?;
    stream.write_all(third).await
}

/// Puts a field behind all others of a head.
fn insert_last(head: &mut Vec<u8>, field: &[u8]) {
    head.truncate(head.len().saturating_sub(2));
    head.extend_from_slice(field);
    head.extend_from_slice(b"\r\n");
}
