//! First packets the pool sends to servers.

use super::ProtocolVersion;
use crate::encode::{cstr, int32, length_prefixed};

/// Who and where a [`startup_message`] asks for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartupParameters<'a> {
    /// The user.
    pub user: &'a str,
    /// The database.
    pub database: &'a str,
}

/// StartupMessage. `settings` are further pairs: run-time parameters, `options`, `replication`.
pub fn startup_message<'a>(
    out: &mut Vec<u8>,
    version: ProtocolVersion,
    session: StartupParameters<'_>,
    settings: impl IntoIterator<Item = (&'a str, &'a str)>,
) {
    length_prefixed(out, |out| {
        out.extend_from_slice(&version.word().to_be_bytes());
        pair(out, "user", session.user);
        pair(out, "database", session.database);
        for (name, value) in settings {
            // An empty name would end the list.
            if !name.bytes().all(|byte| byte == 0) {
                pair(out, name, value);
            }
        }
        out.push(0);
    });
}

fn pair(out: &mut Vec<u8>, name: &str, value: &str) {
    cstr(out, name.as_bytes());
    cstr(out, value.as_bytes());
}

/// CancelRequest.
pub fn cancel_request(out: &mut Vec<u8>, process_id: i32, secret: &[u8]) {
    length_prefixed(out, |out| {
        int32(out, 1234 << 16 | 5678);
        int32(out, process_id);
        out.extend_from_slice(secret);
    });
}

/// SSLRequest.
pub fn ssl_request(out: &mut Vec<u8>) {
    length_prefixed(out, |out| int32(out, 1234 << 16 | 5679));
}

/// GSSENCRequest.
pub fn gss_request(out: &mut Vec<u8>) {
    length_prefixed(out, |out| int32(out, 1234 << 16 | 5680));
}
