//! A request to an endpoint that speaks HTTP/2, made to look like a connection of HTTP/1.1.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bs9_net::{Buffer, BufferPool, Timer};
use bytes::Bytes;
use h2::{
    Reason,
    client::{ResponseFuture, SendRequest},
};

use super::{
    Seat,
    fault::StreamFault,
    head::{self, Answering, Asking},
    inflow::Inflow,
    outflow::{Outflow, poll_write_pieces},
    session::Session,
    sessions::Active,
};
use crate::{
    duplex::Duplex,
    http1::{HeadLimits, HeaderStorage, MAX_HEADERS, Parsed, parse_request},
};

/// The request's head is our own: what its maker let pass is within limits.
const LIMITS: HeadLimits =
    HeadLimits { max_head_bytes: usize::MAX, max_headers: MAX_HEADERS, max_uri_bytes: usize::MAX };

/// How long an endpoint may take to say that a response which was whole has ended, before it is
/// told that nobody listens.
const END_GRACE: Duration = Duration::from_secs(1);

/// A stream. What is written is one request: its head at once, then its body as the head frames
/// it. What is read is the response, interim ones included. Dropped before its end, it is reset.
pub(crate) struct Lane {
    session: Rc<Session>,
    scheme: &'static str,
    upload: RefCell<Upload>,
    answer: RefCell<Answer>,
    _active: Active,
}

/// The request.
enum Upload {
    Head(SendRequest<Bytes>),
    Body(Outflow),
    /// It could not be sent.
    Failed,
}

/// The response.
enum Answer {
    /// Nothing has been asked.
    None,
    Head(ResponseFuture, Answering),
    Body(Inflow),
    Failed(StreamFault),
}

impl Lane {
    /// Of a request that will have this `scheme`.
    pub(crate) fn new(seat: Seat, scheme: &'static str) -> Self {
        let Seat { session, requests, active, .. } = seat;
        Self {
            session,
            scheme,
            upload: RefCell::new(Upload::Head(requests)),
            answer: RefCell::new(Answer::None),
            _active: active,
        }
    }

    /// Ends a stream whose response has been taken in whole. The endpoint may have yet to say that
    /// it was: without that, it would be reset.
    pub(crate) fn finish(self, timer: impl FnOnce() -> Timer) {
        let over = match &*self.answer.borrow() {
            Answer::Body(body) => body.is_over(),
            Answer::None | Answer::Head(..) | Answer::Failed(_) => true,
        };
        if !over {
            let timer = timer();
            bs9_net::spawn(async move {
                timer.set(END_GRACE);
                let _over_or_reset = timer.guard(poll_fn(|cx| self.poll_end(cx))).await;
            });
        }
    }

    fn poll_end(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut *self.answer.borrow_mut() {
            Answer::Body(body) => body.poll_end(cx),
            Answer::None | Answer::Head(..) | Answer::Failed(_) => Poll::Ready(()),
        }
    }

    fn write_head(&self, bytes: &[u8]) -> io::Result<(usize, Upload)> {
        let mut upload = self.upload.borrow_mut();
        let Upload::Head(requests) = &mut *upload else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let mut storage = HeaderStorage::new();
        let extends_connect = requests.is_extended_connect_protocol_enabled();
        let asking = match parse_request(bytes, &LIMITS, &mut storage) {
            Ok(Parsed::Complete(head)) => {
                let asking = head::asking(&head, self.scheme, extends_connect);
                asking.map(|asking| (head.head_len, asking))
            }
            Ok(Parsed::Partial) | Err(_) => None,
        };
        let (head_len, Asking { request, body, answer }) =
            asking.ok_or_else(|| self.fail(StreamFault::Unsayable))?;
        // Whatever the connection has come to: the endpoint has not seen this one.
        let unseen = |_: h2::Error| self.fail(StreamFault::GoneAway);
        let (response, stream) = requests.send_request(request, body.is_done()).map_err(unseen)?;
        *self.answer.borrow_mut() = Answer::Head(response, answer);
        Ok((head_len, Upload::Body(Outflow::new(stream, body))))
    }

    fn fail(&self, fault: StreamFault) -> io::Error {
        *self.answer.borrow_mut() = Answer::Failed(fault);
        fault.into_io()
    }

    fn poll_write_piece(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if matches!(*self.upload.borrow(), Upload::Head(_)) {
            let (written, upload) = match self.write_head(bytes) {
                Ok((head_len, upload)) => (Ok(head_len), upload),
                Err(error) => (Err(error), Upload::Failed),
            };
            *self.upload.borrow_mut() = upload;
            return Poll::Ready(written);
        }
        match &mut *self.upload.borrow_mut() {
            Upload::Body(body) => body.poll_write(cx, bytes),
            Upload::Head(_) | Upload::Failed => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Reads what the answer begins with.
    fn poll_head(
        &self,
        cx: &mut Context<'_>,
        response: &mut ResponseFuture,
        answers: &Answering,
        into: &mut Buffer,
    ) -> Poll<Result<(usize, Option<Inflow>), StreamFault>> {
        let before = into.len();
        let explain = |error: h2::Error| self.session.explain(&error);
        if let Poll::Ready(Some(interim)) = response.poll_informational(cx) {
            let interim = interim.map_err(explain)?;
            head::write_response(&interim, false, answers, into)?;
            return Poll::Ready(Ok((into.len() - before, None)));
        }
        let (parts, body) = ready!(Pin::new(response).poll(cx)).map_err(explain)?.into_parts();
        let head = http::Response::from_parts(parts, ());
        let shape = head::write_response(&head, body.is_end_stream(), answers, into)?;
        Poll::Ready(Ok((into.len() - before, Some(Inflow::new(body, shape)))))
    }

    /// An error of the library, as what it means here.
    fn explained(&self, error: io::Error) -> io::Error {
        let source = error.get_ref().and_then(|source| source.downcast_ref::<h2::Error>());
        source.map(|source| self.session.explain(source).into_io()).unwrap_or(error)
    }
}

impl Duplex for Lane {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut *self.answer.borrow_mut() {
            Answer::Body(body) => body.poll_arrival(cx),
            // Only reading tells.
            Answer::None | Answer::Head(..) | Answer::Failed(_) => Poll::Ready(()),
        }
    }

    fn poll_read(&self, cx: &mut Context<'_>, into: &mut Buffer) -> Poll<io::Result<usize>> {
        let answer = &mut *self.answer.borrow_mut();
        match answer {
            Answer::None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            Answer::Failed(fault) => Poll::Ready(Err(fault.into_io())),
            Answer::Head(response, answers) => {
                match ready!(self.poll_head(cx, response, answers, into)) {
                    Ok((count, body)) => {
                        if let Some(body) = body {
                            *answer = Answer::Body(body);
                        }
                        Poll::Ready(Ok(count))
                    }
                    Err(fault) => {
                        *answer = Answer::Failed(fault);
                        Poll::Ready(Err(fault.into_io()))
                    }
                }
            }
            Answer::Body(body) => {
                ready!(body.poll_arrival(cx));
                Poll::Ready(body.take(into).map_err(|error| self.explained(error)))
            }
        }
    }

    fn poll_read_pooled(
        &self,
        cx: &mut Context<'_>,
        into: &mut Option<Buffer>,
        buffers: &Rc<BufferPool>,
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_read_ready(cx));
        self.poll_read(cx, into.get_or_insert_with(|| buffers.take()))
    }

    fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        poll_write_pieces(bytes, |piece| self.poll_write_piece(cx, piece))
    }

    fn shutdown_write(&self) -> io::Result<()> {
        match &mut *self.upload.borrow_mut() {
            Upload::Body(body) => body.end(),
            Upload::Head(_) | Upload::Failed => Ok(()),
        }
    }

    fn reset_on_close(&self) {
        if let Upload::Body(body) = &mut *self.upload.borrow_mut()
            && !body.has_ended()
        {
            body.reset(Reason::CANCEL);
        }
    }
}
