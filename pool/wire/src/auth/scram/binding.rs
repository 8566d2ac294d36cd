//! What an exchange is bound to (RFC 5802 section 6).

/// The kind of channel binding PostgreSQL knows (RFC 5929 section 4).
const END_POINT: &str = "tls-server-end-point";

/// Whether one side can bind an exchange to the TLS connection it runs in, and does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Binding {
    /// It cannot, or there is no TLS.
    #[default]
    None,
    /// It could, yet the mechanism chosen is the one without: towards a client, both were
    /// offered; towards a server, only that one was.
    Unused,
    /// `SCRAM-SHA-256-PLUS`, bound to the server's certificate: its hash (RFC 5929 section 4.1).
    EndPoint(Box<[u8]>),
}

impl Binding {
    /// The GS2 header a client that binds so begins with.
    pub(super) fn header(&self) -> &'static str {
        match self {
            Self::None => "n,,",
            Self::Unused => "y,,",
            Self::EndPoint(_) => "p=tls-server-end-point,,",
        }
    }

    /// What `c=` holds, before base64: the header, and what is bound to.
    pub(super) fn input(&self, header: &str) -> Vec<u8> {
        let mut input = header.as_bytes().to_vec();
        if let Self::EndPoint(hash) = self {
            input.extend_from_slice(hash);
        }
        input
    }

    /// Whether `name` is the kind of binding that is spoken here.
    pub(super) fn is_known(name: &str) -> bool {
        name == END_POINT
    }
}
