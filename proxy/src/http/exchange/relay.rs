//! A response on its way to the client.

use std::{future::poll_fn, io, task::Poll};

use bs9_net::{Buffer, CoarseInstant};

use super::{Exchange, SMALL_BODY_BYTES, Upload, way::Upstream};
use crate::{
    cluster::Lease,
    duplex::Duplex,
    http::{
        failure::Failure,
        handling::Fate,
        pump::{Pump, PumpError},
        response::Opening,
    },
    http1::{BodyFraming, BodyReader, Recode, ResponseFraming},
    tunnel::Tunnel,
    worker::Scratch,
};

/// A response whose head is known.
pub(super) struct Response<'e, 'a, D, E> {
    pub(super) exchange: &'e Exchange<'a, D>,
    pub(super) lease: &'e Lease,
    pub(super) stream: E,
    pub(super) opening: Opening,
}

impl<D: Duplex, E: Upstream> Response<'_, '_, D, E> {
    /// Sends the head in `out` and everything behind it. Of the body, so many bytes at the front
    /// of `answer` have been looked at.
    pub(super) async fn relay(
        self,
        (mut download, ready): (Pump, usize),
        mut answer: Buffer,
        upload: &mut Upload,
        buffer: &mut Buffer,
        out: &mut Scratch,
    ) -> Fate {
        let Exchange { client, site, cell, .. } = *self.exchange;
        upload.until = CoarseInstant::NEVER;
        client.timer.set(site.body_timeout);
        let passes = self.opening.recode == Recode::Keep;
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
        let mut body = BodyReader::from(self.opening.framing);
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
            until: CoarseInstant::NEVER,
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
            cell.count_failure(Failure::UpstreamExcess);
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
                self.stream.keep(self.lease, &worker.shard);
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
        cell.count_failure(match error {
            PumpError::Read(error) => Failure::of_upstream(error),
            _ => Failure::UpstreamClosed,
        });
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
