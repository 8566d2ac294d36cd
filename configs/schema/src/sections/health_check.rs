//! `health_check` of a cluster.

use std::{path::Path, sync::Arc};

use super::{DAY, MILLISECOND};
use crate::{
    definition::TextForm,
    model::{Expectation, HealthCheck, Probe, StatusRange},
    read::{
        Fault, Format, Key, Scope, Word, boolean, duration, either, float, integer, list, pairs,
        text, words,
    },
    report::Finding,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tcp,
    Tls,
    Http,
    Grpc,
}

const KINDS: &[Word<Kind>] = &[
    Word::is(
        "tcp",
        Kind::Tcp,
        "A connection is accepted (and TLS agreed on, where the cluster speaks it).",
    ),
    Word::is(
        "tls",
        Kind::Tls,
        "A TLS handshake succeeds, whoever the endpoint says it is: for clusters that pass TLS on without speaking it.",
    ),
    Word::is("http", Kind::Http, "`GET path` is answered as expected."),
    Word::is("grpc", Kind::Grpc, "`grpc.health.v1.Health/Check` answers `SERVING` (over HTTP/2)."),
];

/// Keys with a meaning for some kinds only.
const HTTP_ONLY: [&str; 5] =
    ["path", "headers", "expected_status", "expected_body", "expected_headers"];

pub(super) fn health_check(t: &mut Scope<'_>) -> Option<HealthCheck> {
    let kind = t.optional(
        Key::new("probe", "What is probed. Absent: `http` with `path`, else `tcp`."),
        words(KINDS),
    );
    let path: Option<Arc<str>> = t.optional(
        Key::new("path", "Makes it an HTTP check: `GET` of this path has to be answered as expected. Absent: a connection has to be accepted."),
        text("a path such as \"/healthz\"", Some("^/[!-~]*$"), path),
    );
    let host: Option<Arc<str>> = t.optional(
        Key::new(
            "host",
            "`Host` header of an HTTP check, `:authority` of a gRPC one. Absent: the endpoint's address.",
        ),
        text("a host", Some("^[!-~]+$"), |host: &str, _| match host {
            "" => Err(Fault::new("the host is empty")),
            host if host.bytes().all(|b| b.is_ascii_graphic()) => Ok(Arc::from(host)),
            _ => Err(Fault::new("a host has visible ASCII only")),
        }),
    );
    let service: Option<Arc<str>> = t.optional(
        Key::new(
            "service",
            "The service that a gRPC check asks for. Absent: the server as a whole.",
        ),
        text("the name of a gRPC service", Some("^[!-~]*$"), |name: &str, _| {
            match name.len() <= 127 && name.bytes().all(|b| b.is_ascii_graphic()) {
                true => Ok(Arc::<str>::from(name)),
                false => Err(Fault::new("a service has at most 127 visible ASCII characters")),
            }
        }),
    );
    let headers = t
        .optional(Key::new("headers", "Further header fields that an HTTP check sends."), fields());
    let expected = expectation(t);
    let (interval, timeout) = pace(t);
    let jitter = t.or(
        Key::new("jitter", "Share of the interval by which each pause is longer or shorter at random, so that many probes do not come at once."),
        float(0.0..=0.5),
        0.1,
    );
    let healthy_after = t.or(
        Key::new(
            "healthy_after",
            "Successes in a row until an endpoint counts as healthy (\"rise\").",
        ),
        integer(1..=1_000),
        2,
    );
    let unhealthy_after = t.or(
        Key::new(
            "unhealthy_after",
            "Failures in a row until an endpoint counts as unhealthy (\"fall\").",
        ),
        integer(1..=1_000),
        3,
    );
    let initially_healthy = t.or(
        Key::new("initially_healthy", "Whether an endpoint takes traffic before its first probe. One that was never seen failing is healthy after one success."),
        boolean(),
        true,
    );
    let kind = kind.unwrap_or(if t.has("path") { Kind::Http } else { Kind::Tcp });
    let probe = probe(t, kind, path, host, service, headers.unwrap_or_default(), expected)?;
    Some(HealthCheck {
        probe,
        interval,
        jitter,
        timeout,
        healthy_after,
        unhealthy_after,
        initially_healthy,
    })
}

fn path(path: &str, _: &Path) -> Result<Arc<str>, Fault> {
    let visible = path.bytes().all(|b| b.is_ascii_graphic());
    match path.strip_prefix('/') {
        Some(_) if visible => Ok(Arc::from(path)),
        Some(_) => {
            Err(Fault::new("a request target has visible ASCII only")
                .hint("percent-encode the rest"))
        }
        None => Err(Fault::new(format!("`{path}` does not start with /"))
            .hint(format!("write \"/{path}\""))),
    }
}

/// `interval` and `timeout`.
fn pace(t: &mut Scope<'_>) -> (std::time::Duration, std::time::Duration) {
    let interval = t.or(
        Key::new("interval", "Between the starts of two probes of an endpoint."),
        duration(100 * MILLISECOND..=DAY),
        "5s",
    );
    let timeout = t.or(
        Key::new("timeout", "Limit of one probe; at most `interval`."),
        duration(MILLISECOND..=DAY),
        "1s",
    );
    if timeout > interval {
        let (name, spot) = match t.key_spot("timeout") {
            Some(spot) => ("timeout", spot),
            None => ("interval", t.key_spot("interval").unwrap_or(t.spot())),
        };
        let shown = crate::unit::format_duration;
        t.reader().push(
            Finding::error(format!(
                "a probe's timeout ({}) is longer than the interval ({})",
                shown(timeout),
                shown(interval)
            ))
            .at(spot, &t.path_of(name))
            .hint("a probe ends before the next one starts"),
        );
    }
    (interval, timeout)
}

fn expectation(t: &mut Scope<'_>) -> Expectation {
    let statuses = t.optional(
        Key::new(
            "expected_status",
            "Statuses that an HTTP check takes for good: `[200, \"300-399\"]`. Absent: 200 to 399.",
        ),
        list(status_range()).not_empty(),
    );
    let body: Option<Arc<str>> = t.optional(
        Key::new(
            "expected_body",
            "What the body of the answer has to hold, within its first 64KiB.",
        ),
        text("a string", None, |body: &str, _| match body.is_empty() || body.len() > 4096 {
            true => Err(Fault::new("it has 1 to 4096 bytes")),
            false => Ok(Arc::<str>::from(body)),
        }),
    );
    let headers = t.optional(
        Key::new(
            "expected_headers",
            "Header fields that the answer has to have with these values.",
        ),
        fields(),
    );
    let headers = headers.unwrap_or_default().into_iter();
    Expectation {
        statuses: statuses.unwrap_or_else(|| vec![StatusRange { first: 200, last: 399 }]),
        body,
        headers: headers.map(|(name, value)| (name.to_ascii_lowercase().into(), value)).collect(),
    }
}

fn status_range() -> impl Format<Output = StatusRange> {
    let single = integer(100..=599).map(|status| StatusRange { first: status, last: status });
    let range = text(
        "statuses such as \"200-299\"",
        Some("^[1-5][0-9][0-9](-[1-5][0-9][0-9])?$"),
        |written: &str, _| {
            let (first, last) = written.split_once('-').unwrap_or((written, written));
            let status =
                |text: &str| text.parse().ok().filter(|status| (100..=599).contains(status));
            match (status(first), status(last)) {
                (Some(first), Some(last)) if first <= last => Ok(StatusRange { first, last }),
                _ => Err(Fault::new(format!("`{written}` is no range of statuses"))
                    .hint("write 200, or \"200-299\"")),
            }
        },
    );
    either(single, range)
}

fn fields() -> impl Format<Output = Vec<(Arc<str>, Arc<str>)>> {
    pairs(
        TextForm { what: "a header field", pattern: Some("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$") },
        TextForm { what: "a string", pattern: None },
        |name, value| {
            let sign = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            if name.is_empty() || !name.bytes().all(sign) {
                return Err(Fault::new(format!("`{name}` is not the name of a header field")));
            }
            let plain = value.trim_matches([' ', '\t']) == value
                && value.bytes().all(|b| b == b'\t' || b == b' ' || b.is_ascii_graphic());
            if !plain {
                return Err(Fault::new(
                    "a field's value has visible ASCII, and no space at its ends",
                ));
            }
            let own = ["host", "connection", "content-length", "transfer-encoding"];
            if own.iter().any(|own| name.eq_ignore_ascii_case(own)) {
                return Err(Fault::new(format!("`{name}` is not yours to choose here"))
                    .hint("`host` is a key of its own; the others are what the probe needs"));
            }
            Ok((Arc::from(name), Arc::from(value)))
        },
    )
}

fn probe(
    t: &Scope<'_>,
    kind: Kind,
    path: Option<Arc<str>>,
    host: Option<Arc<str>>,
    service: Option<Arc<str>>,
    headers: Vec<(Arc<str>, Arc<str>)>,
    expected: Expectation,
) -> Option<Probe> {
    let meaningless = |name: &str, why: &str, make: &str| {
        let Some(spot) = t.key_spot(name) else { return false };
        let finding =
            Finding::error(format!("`{name}` has no meaning {why}")).at(spot, &t.path_of(name));
        t.reader().missing(finding.hint(format!("{make}, or remove it")));
        true
    };
    let mut wrong = false;
    if kind != Kind::Http {
        let why = if kind == Kind::Tcp { "without `path`" } else { "with this `probe`" };
        wrong |= HTTP_ONLY.iter().any(|name| meaningless(name, why, "use `probe = \"http\"`"));
    }
    if kind != Kind::Grpc {
        wrong |= meaningless("service", "without `probe = \"grpc\"`", "add that");
    }
    if matches!(kind, Kind::Tcp | Kind::Tls) {
        wrong |= meaningless("host", "without `path`", "add `path` to make it an HTTP check");
    }
    if wrong {
        return None;
    }
    match kind {
        Kind::Tcp => Some(Probe::Tcp),
        Kind::Tls => Some(Probe::Tls),
        Kind::Grpc => Some(Probe::Grpc { service: service.unwrap_or_default(), host }),
        Kind::Http => match path {
            Some(path) => Some(Probe::Http { path, host, headers, expected }),
            None => {
                if !t.has("path") {
                    let finding = Finding::error("`path` is missing").at(t.spot(), t.path());
                    t.reader().missing(finding.hint("add `path = \"/healthz\"`"));
                }
                None
            }
        },
    }
}
