//! Answers that bs9 gives itself: failures, redirects, fixed responses.

use std::sync::Arc;

use super::failure::{Failure, phrase};
use crate::http1::{HeaderLine, write_simple_response};

/// Seconds after which a client may try again when no endpoint takes traffic: about
/// the time a health check needs to notice a recovery.
const RETRY_AFTER_SECONDS: &str = "5";

/// A configured answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    body: Arc<str>,
    field: Option<(&'static str, Arc<str>)>,
}

impl Reply {
    /// `redirect`.
    pub(crate) fn redirect(status: u16, location: Arc<str>) -> Self {
        Self { status, body: "".into(), field: Some(("Location", location)) }
    }

    /// `respond`.
    pub(crate) fn fixed(status: u16, body: Arc<str>, content_type: Arc<str>) -> Self {
        let field = (!body.is_empty()).then_some(("Content-Type", content_type));
        Self { status, body, field }
    }

    /// Appends the whole response.
    pub(crate) fn write(&self, out: &mut Vec<u8>, keep_alive: bool, head_request: bool) {
        let field = self.field.as_ref().map(|(name, value)| (*name, &**value));
        let (status, body) = (self.status, self.body.as_bytes());
        let fields = field.as_slice();
        write_simple_response(out, status, phrase(status), fields, body, keep_alive, head_request);
    }
}

/// Appends a redirect to a place that depends on the request.
pub(crate) fn write_redirect(
    out: &mut Vec<u8>,
    status: u16,
    location: &str,
    keep_alive: bool,
    head_request: bool,
) {
    let fields = [("Location", location)];
    write_simple_response(out, status, phrase(status), &fields, b"", keep_alive, head_request);
}

/// Puts the listener's own fields into a whole response, behind its status line.
pub(crate) fn insert_fields(response: &mut Vec<u8>, fields: &[HeaderLine]) {
    for field in fields {
        let line = memchr::memchr(b'\n', response).map_or(response.len(), |end| end + 1);
        response.splice(line..line, field.as_bytes().iter().copied());
    }
}

/// Appends the answer to a request that failed: its status, and one line that says why.
pub(crate) fn write_failure(
    out: &mut Vec<u8>,
    failure: Failure,
    keep_alive: bool,
    head_request: bool,
) {
    let status = failure.status();
    let mut fields = vec![("Content-Type", "text/plain; charset=utf-8")];
    match status {
        503 => fields.push(("Retry-After", RETRY_AFTER_SECONDS)),
        405 => fields.push(("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE")),
        _ => {}
    }
    let phrase = phrase(status);
    let body = format!("{status} {phrase}: {failure}\n");
    write_simple_response(out, status, phrase, &fields, body.as_bytes(), keep_alive, head_request);
}
