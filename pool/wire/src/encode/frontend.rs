//! What the pool says to servers, in the client's voice.

use super::{cstr, int32, message};
use crate::message::frontend::Target;
use crate::tag::FrontendTag;

/// Query.
pub fn query(out: &mut Vec<u8>, text: &str) {
    message(out, FrontendTag::Query, |out| cstr(out, text.as_bytes()));
}

/// Parse. `parameter_types` are the type ids as they go on the wire, an Int32 each; a last piece
/// of fewer than four bytes is left out.
pub fn parse(out: &mut Vec<u8>, statement: &[u8], query: &[u8], parameter_types: &[u8]) {
    let (types, _) = parameter_types.as_chunks::<4>();
    let types = &types[..types.len().min(usize::from(u16::MAX))];
    message(out, FrontendTag::Parse, |out| {
        cstr(out, statement);
        cstr(out, query);
        out.extend_from_slice(&(types.len() as u16).to_be_bytes());
        out.extend_from_slice(types.as_flattened());
    });
}

/// The header and name of a Parse whose `rest_len` further bytes (query and parameter types) the
/// caller sends itself.
pub fn parse_head(out: &mut Vec<u8>, statement: &[u8], rest_len: usize) {
    headed(out, FrontendTag::Parse, rest_len, |out| cstr(out, statement));
}

/// The header and names of a Bind whose `rest_len` further bytes the caller sends itself: how a
/// Bind is renamed without copying its parameters.
pub fn bind_head(out: &mut Vec<u8>, portal: &[u8], statement: &[u8], rest_len: usize) {
    headed(out, FrontendTag::Bind, rest_len, |out| {
        cstr(out, portal);
        cstr(out, statement);
    });
}

/// The first part of a message that `rest_len` further bytes belong to.
fn headed(out: &mut Vec<u8>, tag: FrontendTag, rest_len: usize, head: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    message(out, tag, head);
    let len = out.len() - start - 1 + rest_len;
    let len = i32::try_from(len).expect("a message is bounded by its cap, just under 1 GiB");
    out[start + 1..start + 5].copy_from_slice(&len.to_be_bytes());
}

/// A whole Bind without parameters, results in text.
pub fn bind(out: &mut Vec<u8>, portal: &[u8], statement: &[u8]) {
    message(out, FrontendTag::Bind, |out| {
        cstr(out, portal);
        cstr(out, statement);
        out.extend_from_slice(&[0; 6]);
    });
}

/// Execute, to the end.
pub fn execute(out: &mut Vec<u8>, portal: &[u8]) {
    message(out, FrontendTag::Execute, |out| {
        cstr(out, portal);
        int32(out, 0);
    });
}

/// Describe.
pub fn describe(out: &mut Vec<u8>, target: Target<'_>) {
    message(out, FrontendTag::Describe, |out| named(out, target));
}

/// Close.
pub fn close(out: &mut Vec<u8>, target: Target<'_>) {
    message(out, FrontendTag::Close, |out| named(out, target));
}

fn named(out: &mut Vec<u8>, target: Target<'_>) {
    let (kind, name) = match target {
        Target::Statement(name) => (b'S', name),
        Target::Portal(name) => (b'P', name),
    };
    out.push(kind);
    cstr(out, name);
}

/// Sync.
pub fn sync(out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'S', 0, 0, 0, 4]);
}

/// Flush.
pub fn flush(out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'H', 0, 0, 0, 4]);
}

/// Terminate.
pub fn terminate(out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'X', 0, 0, 0, 4]);
}

/// CopyFail, with its reason.
pub fn copy_fail(out: &mut Vec<u8>, reason: &str) {
    message(out, FrontendTag::CopyFail, |out| cstr(out, reason.as_bytes()));
}

/// PasswordMessage: a password in the clear, or an md5 answer.
pub fn password(out: &mut Vec<u8>, password: &[u8]) {
    message(out, FrontendTag::Password, |out| cstr(out, password));
}

/// SASLInitialResponse.
pub fn sasl_initial_response(out: &mut Vec<u8>, mechanism: &str, response: &[u8]) {
    message(out, FrontendTag::Password, |out| {
        cstr(out, mechanism.as_bytes());
        int32(out, i32::try_from(response.len()).expect("a SASL message is small"));
        out.extend_from_slice(response);
    });
}

/// SASLResponse.
pub fn sasl_response(out: &mut Vec<u8>, response: &[u8]) {
    message(out, FrontendTag::Password, |out| out.extend_from_slice(response));
}
