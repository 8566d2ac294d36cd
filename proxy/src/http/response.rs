//! From an endpoint's response head to what the client is sent.

use super::{failure::Failure, request::Facts};
use crate::http1::{
    HeadLimits, HeaderStorage, Parsed, Recode, ResponseEdits, ResponseError, ResponseFraming,
    Version, parse_response, write_response_head,
};
use crate::policy::FieldEdits;

/// What an endpoint's answer comes to.
#[derive(Debug)]
pub(super) enum Answer {
    /// Its head is not complete yet.
    Partial,
    /// 1xx: another head follows. `forwarded`: it has been written for the client.
    Interim { head_len: usize, forwarded: bool },
    /// The response; its head for the client has been written.
    Final(Opening),
}

/// The beginning of a final response.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opening {
    pub(super) head_len: usize,
    pub(super) status: u16,
    pub(super) framing: ResponseFraming,
    pub(super) recode: Recode,
    /// Whether the upstream connection can carry another request after this one.
    pub(super) upstream_keep_alive: bool,
    /// Whether the client's can.
    pub(super) client_keep_alive: bool,
}

/// Reads the response head at the start of `bytes` and writes the one for the client into `out`.
pub(super) fn answer(
    bytes: &[u8],
    facts: &Facts,
    limits: &HeadLimits,
    may_keep_alive: bool,
    fields: &FieldEdits,
    out: &mut Vec<u8>,
) -> Result<Answer, Failure> {
    let mut storage = HeaderStorage::new();
    let head = match parse_response(bytes, limits, facts.response_to, &mut storage) {
        Ok(Parsed::Complete(head)) => head,
        Ok(Parsed::Partial) => return Ok(Answer::Partial),
        Err(error) => return Err(Failure::Response(error)),
    };
    let old_client = facts.version == Version::Http10;
    let edits = |keep_alive, recode| ResponseEdits {
        keep_alive,
        client_version: facts.version,
        recode,
        set: fields.lines(),
        remove: fields.remove(),
    };
    if head.is_interim() {
        // RFC 9110 section 15.2: never to a client of HTTP/1.0.
        if !old_client {
            write_response_head(out, &head, &edits(true, Recode::Keep));
        }
        return Ok(Answer::Interim { head_len: head.head_len, forwarded: !old_client });
    }
    let recode = match head.framing {
        ResponseFraming::Chunked if old_client => Recode::Dechunk,
        _ => Recode::Keep,
    };
    let ends_by_closing = recode == Recode::Dechunk || head.framing == ResponseFraming::UntilClose;
    let client_keep_alive = may_keep_alive && facts.keep_alive && !ends_by_closing;
    write_response_head(out, &head, &edits(client_keep_alive, recode));
    Ok(Answer::Final(Opening {
        head_len: head.head_len,
        status: head.status,
        framing: head.framing,
        recode,
        upstream_keep_alive: head.keep_alive,
        client_keep_alive,
    }))
}

/// Interim responses that one request may get: more is an attack or a defect.
pub(super) const MAX_INTERIM: usize = 32;

/// The failure when an endpoint sends more of them.
pub(super) const TOO_MANY_INTERIM: Failure = Failure::Response(ResponseError::InvalidStatus);
