//! `[listeners.NAME]`.

use std::sync::Arc;

use super::{
    DAY, HOUR, MILLISECOND, MINUTE, SECOND,
    access_log::access_log,
    admission::admission,
    forwarding::forwarding,
    name::unknown_cluster,
    postgres::ALPN,
    request_identity::{request_id, trace_context},
    route::route,
    route_conflict,
    tls::listener_tls,
};
use crate::{
    address,
    model::{
        BindAddress, ClientSslMode, ForwardedField, Http2, HttpListener, HttpsRedirect, Listener,
        ListenerProtocol, ListenerTls, PathNormalization,
    },
    read::{
        Fault, Format, Key, Located, Scope, Word, boolean, duration, either, integer, list,
        located, numbers, size, table, text, words,
    },
    report::Finding,
};

/// Default `max_head_size`, when the buffer has room for it.
pub(super) const DEFAULT_MAX_HEAD_BYTES: usize = 16 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http,
    Tcp,
    Udp,
    Postgres,
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Postgres => "postgres",
        }
    }
}

const NORMALIZATIONS: &[Word<PathNormalization>] = &[
    Word::is(
        "safe",
        PathNormalization::Safe,
        "Routes look at the path with `.` and `..` resolved, needless percent-encoding undone and repeated slashes as one, and endpoints get it so, too, but for the slashes. What hides `..` behind an encoded slash is answered 400.",
    ),
    Word::is(
        "merge-slashes",
        PathNormalization::MergeSlashes,
        "Likewise, and endpoints get repeated slashes as one, too.",
    ),
    Word::is("off", PathNormalization::Off, "Paths are compared and passed on as they were sent."),
];

const PROTOCOLS: &[Word<Protocol>] = &[
    Word::is(
        "http",
        Protocol::Http,
        "HTTP/1.1 and HTTP/2, routed by host, path and more to clusters.",
    ),
    Word::is("tcp", Protocol::Tcp, "Bytes, passed to one cluster."),
    Word::is(
        "udp",
        Protocol::Udp,
        "Datagrams, passed to one cluster by sessions: those of one client go to one endpoint.",
    ),
    Word::is("postgres", Protocol::Postgres, "PostgreSQL clients, pooled as `[postgres]` says."),
];

const FORWARDED_FIELDS: &[Word<ForwardedField>] = &[
    Word::is(
        "x-forwarded-for",
        ForwardedField::XForwardedFor,
        "`X-Forwarded-For`, beside `-Proto` and `-Host`.",
    ),
    Word::is("forwarded", ForwardedField::Forwarded, "`Forwarded` (RFC 7239)."),
];

/// A listener, with the places that checks across sections point at.
pub(super) struct ReadListener {
    pub(super) listener: Listener,
    pub(super) binds: Vec<Located<BindAddress>>,
    /// `max_head_size`, when it is given.
    pub(super) max_head: Option<Located<usize>>,
    /// The listener as a whole.
    pub(super) place: Located<()>,
}

pub(super) fn listener(t: &mut Scope<'_>, name: Arc<str>) -> Option<ReadListener> {
    let protocol = t.required(Key::new("protocol", "What is spoken on it."), words(PROTOCOLS));
    t.speaks(protocol.map(Protocol::name));
    let binds = t.required(
        Key::new("bind", "Where it listens: `\"host:port\"`, with an IP address (IPv6 in brackets), `localhost` or `*` for all IPv4 addresses, or `\"unix:/path\"`. Port 0 lets the kernel choose."),
        list(located(text("an address (\"host:port\" or \"unix:/path\")", None, address::bind))).not_empty(),
    );
    let max_connections = t.optional(
        Key::new("max_connections", "Client connections (with `udp`: sessions) at once on this listener, over all shards. Absent: only `runtime.max_connections` holds."),
        integer(1..=10_000_000),
    );
    let backlog = t.or(
        Key::new("backlog", "Length of the accept queue handed to `listen(2)`; the kernel caps it at `net.core.somaxconn`."),
        integer(1..=65_535),
        4_096,
    );
    let idle_timeout = t.optional(
        Key::new("idle_timeout", "With `http`: how long a keep-alive connection may stay without a request; 60s when absent. With `tcp`: how long a connection may stay without a byte either way; 1h when absent. With `udp`: how long a session may stay without a datagram either way; 1m when absent."),
        duration(MILLISECOND..=7 * DAY),
    );
    if let (Some(Protocol::Postgres), Some(spot)) = (protocol, t.key_spot("idle_timeout")) {
        t.reader().push(
            Finding::error("`idle_timeout` has no meaning for protocol = \"postgres\"")
                .at(spot, &t.path_of("idle_timeout"))
                .hint("use `client_idle_timeout` in [postgres]"),
        );
    }
    let admission = Arc::new(admission(t, protocol));
    let log = t.optional(
        Key::new("access_log", "A line for each request, connection or session when it has ended; `{}` writes JSON to standard output.").only(&["http", "tcp", "udp"]),
        table(access_log),
    );
    let (http, max_head) = http(t, protocol, idle_timeout);
    let forwards = forwarding(t, protocol, idle_timeout);
    let tls = t.optional(
        Key::new("tls", "TLS towards clients: `certificates = [{ certificate = \"site.pem\", key = \"site.key\" }]`. Absent: plaintext."),
        table(listener_tls),
    );
    // What was meant to be encrypted must not be served in the clear.
    let misread = t.has("tls") && tls.is_none();
    let tls = tls.map(|tls| check_tls(t, protocol, http.as_ref(), tls));
    let tls = tls.filter(|tls| tls.sslmode.is_some());

    let protocol = match protocol? {
        Protocol::Http => ListenerProtocol::Http(http?),
        Protocol::Tcp | Protocol::Udp => forwards?,
        Protocol::Postgres => ListenerProtocol::Postgres,
    };
    let binds = binds?;
    let bind = binds.iter().map(|bind| bind.value.clone()).collect();
    let tls = tls.map(Arc::new);
    let access_log = log.map(Arc::new);
    let listener =
        Listener { name, bind, max_connections, backlog, tls, admission, access_log, protocol };
    (!misread).then(|| ReadListener { listener, binds, max_head, place: t.locate(()) })
}

/// What of `tls` goes with which protocol.
fn check_tls(
    t: &Scope<'_>,
    protocol: Option<Protocol>,
    http: Option<&HttpListener>,
    mut tls: ListenerTls,
) -> ListenerTls {
    let Some(spot) = t.key_spot("tls") else { return tls };
    if protocol != Some(Protocol::Postgres)
        && let Some(spot) = t.entry_spot("tls", "sslmode")
    {
        let finding = Finding::error("`sslmode` has a meaning for protocol = \"postgres\" alone");
        t.reader().push(finding.at(spot, &t.path_of("tls.sslmode")).hint("remove it"));
    }
    let refuse = |message: &str, hint: &str| {
        t.reader().push(Finding::error(message).at(spot, &t.path_of("tls")).hint(hint));
    };
    match protocol {
        Some(Protocol::Http) => {
            let http2 = http.is_none_or(|http| http.http2.is_some());
            if tls.alpn.is_empty() {
                tls.alpn.extend(http2.then(|| "h2".into()));
                tls.alpn.push("http/1.1".into());
            }
            for name in &tls.alpn {
                match &**name {
                    "http/1.1" => {}
                    "h2" if http2 => {}
                    "h2" => refuse("\"h2\" in `alpn`, but `http2 = false`", "remove one of them"),
                    other => refuse(
                        &format!("\"{other}\" in `alpn` is not supported by this version"),
                        "an http listener speaks \"h2\" and \"http/1.1\"",
                    ),
                }
            }
            if http.is_some_and(|http| http.https_redirect.is_some()) {
                refuse(
                    "`https_redirect` would lead back to this listener, which speaks https",
                    "put it on a listener without `tls`",
                );
            }
        }
        Some(Protocol::Tcp) if tls.hsts.is_some() => {
            refuse("`hsts` has no meaning for protocol = \"tcp\"", "remove it");
        }
        Some(Protocol::Udp) => {
            refuse("`tls` has no meaning for protocol = \"udp\"", "remove it");
        }
        Some(Protocol::Postgres) => {
            check_postgres_tls(t, &tls, refuse);
            tls.alpn = vec![ALPN.into()];
            // A login is bound to the certificate, which a resumed session does not show.
            tls.session_tickets = false;
        }
        _ => {}
    }
    tls
}

/// Likewise, of a `postgres` listener's.
fn check_postgres_tls(t: &Scope<'_>, tls: &ListenerTls, refuse: impl Fn(&str, &str)) {
    if tls.hsts.is_some() {
        refuse("`hsts` has no meaning for protocol = \"postgres\"", "remove it");
    }
    if tls.alpn.iter().any(|name| **name != *ALPN) {
        refuse("a postgres listener speaks \"postgresql\" alone", "remove `alpn`");
    }
    if tls.session_tickets && t.entry_spot("tls", "session_tickets").is_some() {
        refuse(
            "`session_tickets` has no meaning for protocol = \"postgres\"",
            "remove it: PostgreSQL's sessions are not resumed",
        );
    }
    if let Some(ClientSslMode::VerifyCa | ClientSslMode::VerifyFull) = tls.sslmode
        && !tls.client_auth.as_ref().is_some_and(|auth| auth.required)
    {
        refuse(
            "an sslmode that verifies clients needs `client_auth`",
            "add client_auth = { mode = \"required\", ca = \"clients-ca.pem\" }",
        );
    }
}

fn https_redirect() -> impl Format<Output = Option<HttpsRedirect>> {
    let switch = boolean().map(|on| on.then_some(HttpsRedirect { port: 443, status: 308 }));
    let spelled = table(|t: &mut Scope<'_>| {
        let port = t.or(
            Key::new("port", "Where https is served, as clients see it."),
            integer(1..=65_535),
            443,
        );
        let status = t.or(
            Key::new("status", "Status of the answer; 308 keeps the method."),
            numbers(&[301, 302, 307, 308]),
            308,
        );
        Some(HttpsRedirect { port, status: status as u16 })
    });
    either(switch, spelled.map(Some))
}

fn http2() -> impl Format<Output = Option<Http2>> {
    let switch = boolean().map(|on| on.then(Http2::default));
    let spelled = table(|t: &mut Scope<'_>| {
        let usual = Http2::default();
        let max_concurrent_streams = t.or(
            Key::new(
                "max_concurrent_streams",
                "Requests of one connection under way at once; more are refused for the client to try again.",
            ),
            integer(1..=10_000),
            i64::from(usual.max_concurrent_streams),
        );
        let stream_window = t.or(
            Key::new(
                "stream_window",
                "Bytes of a request body that a client may send before the endpoint has taken them.",
            ),
            size(16 << 10..=16 << 20),
            "256KiB",
        );
        let connection_window = t.or(
            Key::new(
                "connection_window",
                "Likewise of all request bodies of a connection: it bounds the memory they take.",
            ),
            size(64 << 10..=256 << 20),
            "1MiB",
        );
        let max_resets = t.or(
            Key::new("max_resets", "Requests that a client may give up before its connection is ended, when they are more than half of all it made: a defence against rapid resets."),
            integer(1..=1_000_000),
            i64::from(usual.max_resets),
        );
        Some(Http2 {
            max_concurrent_streams,
            stream_window_bytes: stream_window as u32,
            connection_window_bytes: connection_window as u32,
            max_resets,
        })
    });
    either(switch, spelled.map(Some))
}

/// Reports a reference to a cluster that does not exist.
pub(super) fn check_cluster(t: &Scope<'_>, cluster: &Located<Arc<str>>) {
    if !t.reader().has_cluster(&cluster.value) {
        let Fault { message, hint } = unknown_cluster(&cluster.value, t.reader());
        let finding = Finding::error(message).at(cluster.spot, &cluster.path);
        t.reader().missing(finding.maybe_hint(hint));
    }
}

fn http(
    t: &mut Scope<'_>,
    protocol: Option<Protocol>,
    idle_timeout: Option<std::time::Duration>,
) -> (Option<HttpListener>, Option<Located<usize>>) {
    let routes_key = Key::new("routes", "Which request goes where; at least one, unless there is `https_redirect`. One `[[listeners.NAME.routes]]` for each. The most specific match wins, wherever it stands: exact hosts, then wildcards from the longest, then any host; exact paths, then whole paths with parameters, then prefixes from the longest, then regular expressions in the order of the file, then any path; then the route that asks for more of method, headers, cookies and query, then for more exact values, then for fewer methods, then the earlier one. A route that does not match gives way to the next in this order.").only(&["http"]);
    let format = list(table(route)).not_empty();
    let kind = format.kind();
    let routes = t.optional(routes_key, format);
    let max_head = t.optional(
        Key::new("max_head_size", "Size of a request or response head, request line included; larger ones are answered 431. 16KiB when absent; at most `runtime.buffer_size`.").only(&["http"]),
        located(size(1 << 10..=1 << 20).map(|bytes| bytes as usize)),
    );
    let max_headers = t.or(
        Key::new(
            "max_headers",
            "Header fields of a request or response head; more are answered 431.",
        )
        .only(&["http"]),
        integer(1..=128),
        100,
    );
    let max_body_bytes = t.optional(
        Key::new("max_body_size", "Size of a request body; larger ones are answered 413. Absent: no limit, as bodies are streamed.").only(&["http"]),
        size(0..=1 << 50),
    );
    let head_timeout = t.or(
        Key::new(
            "head_timeout",
            "From the first byte of a request to the end of its head; then 408.",
        )
        .only(&["http"]),
        duration(MILLISECOND..=HOUR),
        "15s",
    );
    let body_timeout = t.or(
        Key::new(
            "body_timeout",
            "Between two reads of a request body, or two writes of a response.",
        )
        .only(&["http"]),
        duration(MILLISECOND..=24 * HOUR),
        "30s",
    );
    let tunnel_timeout = t.or(
        Key::new(
            "tunnel_timeout",
            "How long an upgraded connection (WebSocket) may stay without a byte either way.",
        )
        .only(&["http"]),
        duration(SECOND..=7 * DAY),
        "1h",
    );
    let reason_header = t.or(
        Key::new("reason_header", "Tell clients in `X-Bs9-Reason` why bs9 itself answered a request that an endpoint should have: a word such as `queue_timeout`, the same as in metrics and logs.").only(&["http"]),
        boolean(),
        false,
    );
    let trust_forwarded = t.or(
        Key::new("trust_forwarded", "Keep the `X-Forwarded-*` fields a client sent and append to them, instead of replacing them. Only behind a proxy of your own: otherwise clients can spoof them.").only(&["http"]),
        boolean(),
        false,
    );
    if let (true, true, Some(spot)) =
        (trust_forwarded, t.has("trusted_proxies"), t.key_spot("trust_forwarded"))
    {
        t.reader().push(
            Finding::error("`trust_forwarded` would believe everybody, `trusted_proxies` some")
                .at(spot, &t.path_of("trust_forwarded"))
                .hint("remove `trust_forwarded`"),
        );
    }
    let forwarded_field = t.or(
        Key::new("forwarded_field", "The field of `trusted_proxies` that says who the client is. It is passed on, extended; the other one is not, as nobody checks what is in it.").only(&["http"]),
        words(FORWARDED_FIELDS),
        "x-forwarded-for",
    );
    let request_id = t.optional(
        Key::new("request_id", "Passes an id of the request on to endpoints and the access log, and makes one when the client sent none: `true`, or `{ header = \"X-Request-Id\", keep = false }`.").only(&["http"]),
        request_id(),
    );
    let trace_context = t.optional(
        Key::new("trace_context", "Passes W3C trace context (`traceparent`, `tracestate`) on to endpoints and the access log, and begins a trace when the client sent none: `true`, or `{ keep = false, sample = 0.1 }`.").only(&["http"]),
        trace_context(),
    );
    let max_route_metrics = t.or(
        Key::new("max_route_metrics", "Routes with counts of their own in `/metrics`, in the order of the file; what takes the others is counted together.").only(&["http"]),
        integer(0..=10_000),
        200,
    );
    let normalize_path = t.or(
        Key::new("normalize_path", "What becomes of paths that mean the same, before routes look at them (RFC 3986, sections 5.2.4 and 6.2.2).")
            .only(&["http"]),
        words(NORMALIZATIONS),
        "safe",
    );
    let https_redirect = t.optional(
        Key::new("https_redirect", "Sends every request that no route takes to the same host and path by https: `true`, or `{ port = 8443, status = 301 }`.").only(&["http"]),
        https_redirect(),
    );
    let https_redirect = https_redirect.flatten();
    let http2 = t.optional(
        Key::new("http2", "HTTP/2 beside HTTP/1.1: `false` to speak HTTP/1.1 alone, or a table of its limits. Without `tls`, clients begin with it by prior knowledge; with it, ALPN decides.").only(&["http"]),
        http2(),
    );
    let http2 = http2.unwrap_or(Some(Http2::default()));
    if protocol == Some(Protocol::Http) && !t.has("routes") && https_redirect.is_none() {
        t.require(routes_key, &kind);
    }
    let routes = match routes {
        Some(routes) => routes,
        None if https_redirect.is_some() && !t.has("routes") => Vec::new(),
        None => return (None, max_head),
    };
    route_conflict::check(t, &routes, normalize_path);
    let http = HttpListener {
        routes: routes.into_iter().map(|route| route.value).collect(),
        max_head_bytes: max_head.as_ref().map_or(DEFAULT_MAX_HEAD_BYTES, |size| size.value),
        max_headers,
        max_body_bytes,
        head_timeout,
        body_timeout,
        idle_timeout: idle_timeout.unwrap_or(MINUTE),
        tunnel_timeout,
        trust_forwarded,
        reason_header,
        forwarded_field,
        request_id: request_id.flatten(),
        trace_context: trace_context.flatten(),
        max_route_metrics,
        normalize_path,
        https_redirect,
        http2,
    };
    (Some(http), max_head)
}
