//! What is written about each request, connection or session.

use std::{path::PathBuf, sync::Arc};

/// `[listeners.NAME.access_log]`.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessLog {
    /// Where it goes.
    pub output: LogOutput,
    /// What a line looks like.
    pub format: LogFormat,
    /// Share of the successful ones that is logged, 0 to 1; failures always are. Default 1.
    pub sample: f64,
    /// Bytes that may wait to be written, over all shards. Default 4 MiB.
    pub queue_bytes: usize,
}

/// `output`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogOutput {
    /// Standard output.
    Stdout,
    /// systemd's journal, by its native protocol.
    Journald,
    /// `file:PATH`: appended to.
    File {
        /// Absolute.
        path: PathBuf,
        /// `None`: it grows until somebody else rotates it and sends SIGUSR1.
        rotation: Option<Rotation>,
    },
}

/// `rotate_size` and `keep`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rotation {
    /// A file is put aside when it would become larger.
    pub max_bytes: u64,
    /// Files put aside that are kept, as `PATH.1` (the youngest) and so on. Default 5.
    pub keep: u32,
}

/// `format` and `template`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// One object a line.
    #[default]
    Json,
    /// The Common Log Format of NCSA httpd.
    Common,
    /// Likewise, with referrer and user agent.
    Combined,
    /// As the configuration says.
    Template(Arc<[TemplatePiece]>),
}

/// A piece of `template`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplatePiece {
    /// As it is.
    Text(Arc<str>),
    /// `{name}`.
    Field(LogField),
}

macro_rules! fields {
    ($($(#[doc = $doc:literal])+ $field:ident = $name:literal,)+) => {
        /// What is known of a request, connection or session.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum LogField {
            $($(#[doc = $doc])+ $field,)+
        }

        impl LogField {
            /// All of them, in the order of a line of JSON.
            pub const ALL: &[Self] = &[$(Self::$field,)+];

            /// Its name in JSON and templates.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$field => $name,)+
                }
            }
        }
    };
}

fields! {
    /// When it began (RFC 3339, UTC, milliseconds).
    Time = "time",
    /// The listener's name.
    Listener = "listener",
    /// The client's address, behind trusted proxies too.
    Client = "client",
    /// Who connected: another address than the client's behind a trusted proxy.
    Peer = "peer",
    /// Of the request.
    Method = "method",
    /// The host asked for.
    Host = "host",
    /// The target asked for, query included.
    Path = "path",
    /// `HTTP/1.1`, `HTTP/2.0`, `tcp`, `udp`.
    Protocol = "protocol",
    /// Of the response; 0 when there was none.
    Status = "status",
    /// From the client, heads included as they were parsed.
    ReceivedBytes = "received_bytes",
    /// To the client, heads included.
    SentBytes = "sent_bytes",
    /// From its first byte to its last.
    DurationSeconds = "duration_seconds",
    /// Address of the endpoint tried last.
    Upstream = "upstream",
    /// From sending the request there to the head of its response.
    UpstreamSeconds = "upstream_seconds",
    /// Tries after the first.
    Retries = "retries",
    /// Host and path of the route.
    Route = "route",
    /// The cluster's name.
    Cluster = "cluster",
    /// See `request_id`.
    RequestId = "request_id",
    /// See `trace_context`.
    TraceId = "trace_id",
    /// Why it failed.
    Reason = "reason",
    /// `TLSv1.3`, `TLSv1.2`.
    TlsVersion = "tls_version",
    /// The name the client asked for (SNI).
    ServerName = "server_name",
    /// Of the request.
    UserAgent = "user_agent",
    /// Of the request.
    Referer = "referer",
}
