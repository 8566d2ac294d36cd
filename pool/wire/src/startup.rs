//! The first packets of a connection, which have no tag ("Start-up", "SSL Session Encryption",
//! "GSSAPI Session Encryption", "Canceling Requests in Progress").

mod encode;
mod opening;
pub mod options;
mod packet;
mod parameters;
mod version;

pub use encode::{StartupParameters, cancel_request, gss_request, ssl_request, startup_message};
pub use opening::Opening;
pub use packet::{CancelRequest, FirstPacket, MAX_STARTUP_LEN, StartupMessage};
pub use parameters::{Parameters, Replication};
pub use version::ProtocolVersion;

/// The single byte that accepts an SSLRequest or GSSENCRequest: `S` (TLS) or `G` (GSS).
pub const ACCEPT_TLS: u8 = b'S';
/// The single byte that declines an SSLRequest or GSSENCRequest.
pub const DECLINE: u8 = b'N';

/// A first packet that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StartupError {
    /// The length does not fit any first packet: not this protocol, or hostile.
    #[error("a first packet cannot be {len} bytes long")]
    BadLength {
        /// The Int32 found.
        len: i32,
    },
    /// The client asked for encryption twice, or inside of it.
    #[error("encryption was requested a second time")]
    Repeated,
    /// The client did not wait for the answer to its request for encryption: what is buffered
    /// may have been injected by someone else (CVE-2021-23214).
    #[error("received unencrypted data after a request for encryption")]
    BufferedBehindRequest {
        /// Bytes buffered behind the request.
        count: usize,
    },
    /// The protocol version is none the pool speaks.
    #[error("unsupported protocol version {major}.{minor}")]
    UnsupportedVersion {
        /// Major version.
        major: u16,
        /// Minor version.
        minor: u16,
    },
    /// The parameters are not pairs of terminated strings with a terminator after them.
    #[error("invalid startup packet layout: expected terminator as last byte")]
    BadLayout,
    /// A parameter is not UTF-8.
    #[error("startup parameters must be UTF-8")]
    NotUtf8,
    /// No `user`, or an empty one.
    #[error("no PostgreSQL user name specified in startup packet")]
    MissingUser,
    /// A parameter that decides who and where was sent twice.
    #[error("startup parameter \"{name}\" was sent twice")]
    Duplicate {
        /// Its name.
        name: &'static str,
    },
    /// `replication` is neither a boolean nor `database`.
    #[error("invalid value for startup parameter \"replication\"")]
    BadReplication,
    /// A cancel key of a length no server hands out.
    #[error("a cancel request cannot carry a key of {len} bytes")]
    BadCancelKey {
        /// Bytes of the key.
        len: usize,
    },
    /// `options` holds something other than settings.
    #[error("startup parameter \"options\" holds an argument that is not a setting")]
    BadOptions,
}

#[cfg(test)]
mod tests;
