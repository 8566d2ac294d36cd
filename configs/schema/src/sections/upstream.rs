//! `protocol` and `http2` of `[clusters.NAME]`.

use std::sync::Arc;

use super::{HOUR, MILLISECOND, SECOND, cluster::unused};
use crate::{
    model::{ClusterTls, UpstreamHttp2, UpstreamProtocol},
    read::{Format, Key, Scope, Word, duration, integer, size, table, words},
    report::Finding,
};

const PROTOCOLS: &[Word<UpstreamProtocol>] = &[
    Word::is("http/1.1", UpstreamProtocol::Http1, "HTTP/1.1."),
    Word::is(
        "h2",
        UpstreamProtocol::Http2,
        "HTTP/2: agreed on by ALPN with `tls`, by prior knowledge (h2c) without.",
    ),
    Word::is(
        "auto",
        UpstreamProtocol::Auto,
        "Whichever of both an endpoint chooses by ALPN; needs `tls`.",
    ),
];

/// What is spoken with the endpoints of a cluster.
pub(super) struct Spoken {
    pub(super) protocol: UpstreamProtocol,
    pub(super) http2: UpstreamHttp2,
}

/// `None`: a mistake that has been reported.
pub(super) fn spoken(t: &mut Scope<'_>) -> Option<Spoken> {
    let protocol = t.or(
        Key::new("protocol", "What is spoken with the endpoints where requests are HTTP; TCP listeners pass what their clients speak."),
        words(PROTOCOLS),
        "http/1.1",
    );
    let http2 = t.optional(
        Key::new("http2", "Limits of the connections of HTTP/2 to the endpoints."),
        http2(),
    );
    if t.has("http2") && protocol == UpstreamProtocol::Http1 {
        unused(t, "http2", "with this `protocol`", "add `protocol = \"h2\"`, or remove it");
    }
    if protocol != UpstreamProtocol::Http1 && t.has("proxy_protocol") {
        let why = "with this `protocol`, whose connections many clients share";
        unused(t, "proxy_protocol", why, "use \"http/1.1\", or remove it");
    }
    let misread = t.has("http2") && http2.is_none();
    (!misread).then(|| Spoken { protocol, http2: http2.unwrap_or_default() })
}

fn http2() -> impl Format<Output = UpstreamHttp2> {
    table(|t: &mut Scope<'_>| {
        let usual = UpstreamHttp2::default();
        let mut up_to = |limit, usual: usize, key| t.or(key, integer(1..=limit), usual as i64);
        let connections = up_to(
            1_000,
            usual.connections,
            Key::new(
                "connections",
                "Connections to each endpoint and from each shard, at most; one more is made when all requests of the others are taken.",
            ),
        );
        let max_concurrent_streams = up_to(
            10_000,
            usual.max_concurrent_streams,
            Key::new(
                "max_concurrent_streams",
                "Requests of one connection under way at once, or as many as the endpoint allows, if that is fewer.",
            ),
        );
        let stream_window = t.or(
            Key::new(
                "stream_window",
                "Bytes of a response's body that an endpoint may send before the client has taken them. A connection takes as much for each of its requests.",
            ),
            size(16 << 10..=16 << 20),
            "128KiB",
        );
        let ping_interval = t.optional(
            Key::new(
                "ping_interval",
                "How long an endpoint may stay silent while requests are under way until it has to answer a PING. Absent: it is not asked; gRPC servers take PINGs more often than every five minutes amiss, unless they are told otherwise.",
            ),
            duration(MILLISECOND..=HOUR),
        );
        let ping_timeout = t.or(
            Key::new(
                "ping_timeout",
                "Limit for the answer to a PING; then the connection is dead.",
            ),
            duration(MILLISECOND..=60 * SECOND),
            "10s",
        );
        if t.has("ping_timeout") && !t.has("ping_interval") {
            unused(t, "ping_timeout", "without `ping_interval`", "add it");
        }
        Some(UpstreamHttp2 {
            connections,
            max_concurrent_streams,
            stream_window_bytes: stream_window as u32,
            ping_interval,
            ping_timeout,
        })
    })
}

/// Offers in the handshake what can be spoken, unless the configuration says what is offered.
pub(super) fn offer(t: &Scope<'_>, protocol: UpstreamProtocol, tls: Option<&mut ClusterTls>) {
    let refuse = |message: &str, hint: &str| {
        let spot = t.key_spot("protocol").unwrap_or(t.spot());
        t.reader().push(Finding::error(message).at(spot, &t.path_of("protocol")).hint(hint));
    };
    let Some(tls) = tls else {
        if protocol == UpstreamProtocol::Auto {
            refuse(
                "without `tls` there is no handshake to agree in",
                "write \"h2\" for prior knowledge, or add `tls`",
            );
        }
        return;
    };
    let names: &[&str] = match protocol {
        UpstreamProtocol::Http1 => return,
        UpstreamProtocol::Http2 => &["h2"],
        UpstreamProtocol::Auto => &["h2", "http/1.1"],
    };
    if tls.alpn.is_empty() {
        tls.alpn = names.iter().copied().map(Arc::from).collect();
    } else if names.iter().any(|name| tls.alpn.iter().all(|offered| **offered != **name)) {
        refuse("`tls.alpn` does not offer what `protocol` speaks", "remove `tls.alpn`");
    }
}
