//! How an endpoint is chosen: `balance`, `hash`, `sticky`, `queue`, `outlier_detection`.

use std::sync::Arc;

use super::{DAY, HOUR, MILLISECOND, MINUTE, SECOND};
use crate::{
    model::{Balance, HashKey, Outliers, Queue, SameSite, Sticky},
    read::{
        Fault, Format, Key, Scope, Word, boolean, duration, either, float, integer, secret, table,
        text, words,
    },
    report::Finding,
};

/// Endpoints that a hash may choose among.
pub(super) const MAX_HASHED_ENDPOINTS: usize = 10_000;

const BALANCES: &[Word<Balance>] = &[
    Word::is("p2c", Balance::P2c, "The less loaded of two random endpoints."),
    Word::is("round-robin", Balance::RoundRobin, "In turn."),
    Word::is(
        "weighted-round-robin",
        Balance::WeightedRoundRobin,
        "In turn by weight, interleaved smoothly.",
    ),
    Word::is(
        "least-connections",
        Balance::LeastConnections,
        "Fewest open connections (requests, for HTTP) relative to weight.",
    ),
    Word::is(
        "peak-ewma",
        Balance::PeakEwma,
        "Of two random endpoints, the one with the shorter expected wait: latency, of which peaks count at once and fade slowly, times requests in flight. A failure counts as a second of latency, so that an endpoint that fails fast does not look fast.",
    ),
    Word::is("random", Balance::Random, "At random, by weight."),
    Word::is(
        "maglev",
        Balance::Maglev,
        "By a hash (`hash`), in a lookup table: an even spread, and few clients move when endpoints come or go.",
    ),
    Word::is(
        "ring-hash",
        Balance::RingHash,
        "By a hash (`hash`), on a ring: as few clients move as possible when endpoints come or go.",
    ),
];

const SOURCES: &[Word<HashKey>] = &[
    Word::is("source", HashKey::Source, "The client's address."),
    Word::is("path", HashKey::Path, "The path, without the query."),
];

const SAME_SITE: &[Word<SameSite>] = &[
    Word::is("lax", SameSite::Lax, "Sent along when a link is followed from elsewhere."),
    Word::is("strict", SameSite::Strict, "Only sent from the site's own pages."),
    Word::is("none", SameSite::None, "Always sent; browsers want `secure` with it."),
];

pub(super) fn balance() -> impl Format<Output = Balance> {
    words(BALANCES)
}

/// `hash`.
pub(super) fn hash() -> impl Format<Output = HashKey> {
    either(words(SOURCES), table(spelled_hash))
}

fn spelled_hash(t: &mut Scope<'_>) -> Option<HashKey> {
    let header = t.optional(
        Key::new("header", "A header field. Requests without it are spread at random."),
        text("the name of a header field", Some("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"), |name, _| {
            check_token(name, "header field").map(|()| Arc::<str>::from(name.to_ascii_lowercase()))
        }),
    );
    let cookie = t.optional(
        Key::new("cookie", "A cookie. Requests without it are spread at random."),
        cookie_name(),
    );
    match (header, cookie) {
        (Some(header), None) => Some(HashKey::Header(header)),
        (None, Some(cookie)) => Some(HashKey::Cookie(cookie)),
        (Some(_), Some(_)) => {
            let finding = Finding::error("a hash has one key, not two").at(t.spot(), t.path());
            t.reader().push(finding.hint("keep `header` or `cookie`"));
            None
        }
        (None, None) => {
            if !t.has("header") && !t.has("cookie") {
                let finding =
                    Finding::error("the hash does not say of what").at(t.spot(), t.path());
                t.reader().missing(
                    finding.hint(
                        "write { header = \"…\" }, { cookie = \"…\" }, \"source\" or \"path\"",
                    ),
                );
            }
            None
        }
    }
}

fn cookie_name() -> impl Format<Output = Arc<str>> {
    text("the name of a cookie", Some("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"), |name: &str, _| {
        check_token(name, "cookie").map(|()| Arc::<str>::from(name))
    })
}

/// `token` of RFC 9110, section 5.6.2; also a `cookie-name` of RFC 6265, section 4.1.1.
fn check_token(name: &str, what: &str) -> Result<(), Fault> {
    let sign = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    match !name.is_empty() && name.bytes().all(sign) {
        true => Ok(()),
        false => Err(Fault::new(format!("`{name}` is not the name of a {what}"))),
    }
}

/// `sticky`; `true` takes every default.
pub(super) fn sticky() -> impl Format<Output = Option<Sticky>> {
    let switch = boolean().map(|on| {
        on.then(|| Sticky {
            cookie: "bs9-endpoint".into(),
            secret: None,
            path: "/".into(),
            max_age: None,
            secure: false,
            same_site: SameSite::Lax,
        })
    });
    either(switch, table(spelled_sticky).map(Some))
}

fn spelled_sticky(t: &mut Scope<'_>) -> Option<Sticky> {
    let cookie = t.or(Key::new("cookie", "The cookie's name."), cookie_name(), "bs9-endpoint");
    let secret = t.optional(
        Key::new("secret", "Names of endpoints in cookies are derived with it, so that nobody can find an address behind one; the same for all instances that serve the site. Absent: derived from the names of the cluster and the endpoint alone."),
        secret(),
    );
    let path = t.or(
        Key::new("path", "`Path` of the cookie."),
        text("a path such as \"/\"", Some("^/[!-:<-~]*$"), |path: &str, _| {
            let plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';');
            match path.starts_with('/') && plain {
                true => Ok(Arc::<str>::from(path)),
                false => Err(Fault::new(format!("`{path}` is not the path of a cookie"))
                    .hint("it starts with / and has visible ASCII without `;`")),
            }
        }),
        "/",
    );
    let max_age = t.optional(
        Key::new("max_age", "How long the browser keeps it. Absent: until it is closed."),
        duration(SECOND..=400 * DAY),
    );
    let secure = t.or(Key::new("secure", "The browser sends it by https only."), boolean(), false);
    let same_site =
        t.or(Key::new("same_site", "When the browser sends it."), words(SAME_SITE), "lax");
    if t.has("secret") && secret.is_none() {
        return None;
    }
    Some(Sticky { cookie, secret, path, max_age, secure, same_site })
}

/// `queue`.
pub(super) fn queue(t: &mut Scope<'_>) -> Option<Queue> {
    let length = t.or(
        Key::new("length", "Requests that wait at once, over all shards; more are answered 503."),
        integer(1..=1_000_000),
        100,
    );
    let timeout = t.or(
        Key::new("timeout", "How long a request waits; then 503."),
        duration(MILLISECOND..=HOUR),
        "1s",
    );
    Some(Queue { length, timeout })
}

/// `outlier_detection`.
pub(super) fn outliers(t: &mut Scope<'_>) -> Option<Outliers> {
    let consecutive_failures = t.or(
        Key::new("consecutive_failures", "Failures in a row that take an endpoint out: connections that could not be made or ended before a response, timeouts, and responses with a 5xx status."),
        integer(1..=1_000),
        5,
    );
    let ejection_time = t.or(
        Key::new("ejection_time", "How long it stays out the first time. Then it is probed (by `health_check`, or else by a connection) until that succeeds. Doubles with each time."),
        duration(10 * MILLISECOND..=DAY),
        "30s",
    );
    let max_ejection_time = t.or(
        Key::new(
            "max_ejection_time",
            "What it grows to at most. An endpoint that has been fine for as long begins anew.",
        ),
        duration(10 * MILLISECOND..=7 * DAY),
        "5m",
    );
    let max_ejected = t.or(
        Key::new("max_ejected", "Share of the cluster's endpoints that may be out at once by this; one always may, unless it is the only one."),
        float(0.0..=1.0),
        0.5,
    );
    if max_ejection_time < ejection_time {
        let (name, spot) = match t.key_spot("max_ejection_time") {
            Some(spot) => ("max_ejection_time", spot),
            None => ("ejection_time", t.key_spot("ejection_time").unwrap_or(t.spot())),
        };
        t.reader().push(
            Finding::error("`max_ejection_time` is shorter than `ejection_time`")
                .at(spot, &t.path_of(name))
                .hint("make it longer: each ejection lasts twice as long as the one before"),
        );
    }
    Some(Outliers { consecutive_failures, ejection_time, max_ejection_time, max_ejected })
}

/// How long the share of an endpoint takes to grow at most.
pub(super) const MAX_SLOW_START: std::time::Duration = HOUR;
/// And at least: shares are worked out anew once a second.
pub(super) const MIN_SLOW_START: std::time::Duration = SECOND;
/// Limit of a connect timeout.
pub(super) const MAX_CONNECT_TIMEOUT: std::time::Duration =
    std::time::Duration::from_secs(5 * MINUTE.as_secs());
