//! Answers that bs9 gives itself: failures, redirects, fixed responses.

use std::sync::Arc;

use super::failure::{Failure, phrase};
use crate::{http1::write_simple_response, policy::FieldEdits};

/// A configured answer, the same for every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Up to the empty line.
    head: Box<[u8]>,
    body: Arc<[u8]>,
}

impl Reply {
    /// `redirect`, to a place that does not depend on the request.
    pub(crate) fn redirect(status: u16, location: &str, edits: &FieldEdits) -> Self {
        Self::new(status, &[("Location", location)], Arc::default(), edits)
    }

    /// `respond`.
    pub(crate) fn fixed(
        status: u16,
        body: &Arc<[u8]>,
        content_type: &str,
        edits: &FieldEdits,
    ) -> Self {
        let fields = [("Content-Type", content_type)];
        let fields = if body.is_empty() { &[][..] } else { &fields };
        Self::new(status, fields, Arc::clone(body), edits)
    }

    fn new(status: u16, fields: &[(&str, &str)], body: Arc<[u8]>, edits: &FieldEdits) -> Self {
        let mut head = Vec::new();
        write_simple_response(&mut head, status, phrase(status), fields, &body, true, true);
        edits.apply(&mut head);
        head.truncate(head.len() - b"\r\n".len());
        Self { status, head: head.into(), body }
    }

    /// Appends the whole response.
    pub(crate) fn write(&self, out: &mut Vec<u8>, keep_alive: bool, head_request: bool) {
        out.extend_from_slice(&self.head);
        if !keep_alive {
            out.extend_from_slice(b"Connection: close\r\n");
        }
        out.extend_from_slice(b"\r\n");
        if !head_request {
            out.extend_from_slice(&self.body);
        }
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

/// Appends the answer to a request that failed: its status, and one line that says why; in a
/// field as well, when `reason_header` says so. `retry_after`: seconds, when it is known how many.
pub(crate) fn write_failure(
    out: &mut Vec<u8>,
    failure: Failure,
    retry_after: Option<u64>,
    keep_alive: bool,
    head_request: bool,
    reason_header: bool,
) {
    let status = failure.status();
    let retry_after = retry_after.map(|seconds| seconds.to_string());
    let mut fields = vec![("Content-Type", "text/plain; charset=utf-8")];
    if let Some(seconds) = &retry_after {
        fields.push(("Retry-After", seconds));
    }
    if status == 405 {
        fields.push(("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE"));
    }
    if reason_header {
        fields.push(("X-Bs9-Reason", failure.reason()));
    }
    let phrase = phrase(status);
    let body = format!("{status} {phrase}: {failure}\n");
    write_simple_response(out, status, phrase, &fields, body.as_bytes(), keep_alive, head_request);
}
