//! `retries` of a route.

use std::{path::Path, sync::Arc};

use super::{HOUR, MILLISECOND};
use crate::{
    model::{Retries, RetryReason},
    read::{Fault, Key, Scope, Word, duration, float, integer, list, size, text, words},
    report::Finding,
};

/// Bytes of a body that may be kept: what a request's scratch space is allowed to become.
const MAX_REPLAY_BYTES: u64 = 64 << 10;

const REASONS: &[Word<RetryReason>] = &[
    Word::is(
        "connect-failure",
        RetryReason::ConnectFailure,
        "No connection could be made, or the endpoint said by HTTP/2 that it has not looked at the request (REFUSED_STREAM, GOAWAY). Nothing was done, so that every request can be tried again, and the budget is not asked.",
    ),
    Word::is("reset", RetryReason::Reset, "The connection ended before a byte of the response."),
    Word::is(
        "timeout",
        RetryReason::Timeout,
        "`per_try_timeout` passed before the head of the response.",
    ),
    Word::is("502", RetryReason::Status(502), "The endpoint answered 502."),
    Word::is("503", RetryReason::Status(503), "The endpoint answered 503."),
    Word::is("504", RetryReason::Status(504), "The endpoint answered 504."),
];

pub(super) fn retries(t: &mut Scope<'_>) -> Option<Retries> {
    let attempts = t.or(
        Key::new("attempts", "Tries after the first one, each at another endpoint."),
        integer(0..=10),
        2,
    );
    let budget = t.or(
        Key::new("budget", "Share of the cluster's requests in flight that may be retries."),
        float(0.0..=1.0),
        0.2,
    );
    let min_concurrent = t.or(
        Key::new("min_concurrent", "Retries that may be under way whatever the share says."),
        integer(0..=10_000),
        3,
    );
    let on = t.optional(
        Key::new(
            "on",
            "What is a reason to try again. Absent: `[\"connect-failure\", \"reset\", \"timeout\"]`.",
        ),
        list(words(REASONS)),
    );
    let on = on.unwrap_or_else(|| {
        vec![RetryReason::ConnectFailure, RetryReason::Reset, RetryReason::Timeout]
    });
    let methods = t.optional(
        Key::new("methods", "Methods that may be sent twice, in capitals. Absent: those of which a repetition does nothing more (GET, HEAD, OPTIONS, TRACE, PUT, DELETE)."),
        list(text("a method such as \"GET\"", Some("^[A-Z]+$"), method)),
    );
    let per_try_timeout = t.optional(
        Key::new(
            "per_try_timeout",
            "Limit for one try, to the head of its response. Absent: only the route's `timeout`, which is for all tries together.",
        ),
        duration(MILLISECOND..=HOUR),
    );
    let max_replay = t.or(
        Key::new("max_replay_size", "Bytes of a request's body that are kept to be sent again; a request with a larger one is tried once, but for `connect-failure`."),
        size(0..=MAX_REPLAY_BYTES),
        "16KiB",
    );
    if per_try_timeout.is_some() && !on.contains(&RetryReason::Timeout) {
        let spot = t.key_spot("per_try_timeout").unwrap_or(t.spot());
        t.reader().push(
            Finding::warning("`per_try_timeout` ends a try, and `on` has no \"timeout\"")
                .at(spot, &t.path_of("per_try_timeout"))
                .hint("such a request is answered 504; add \"timeout\" to `on` to try again"),
        );
    }
    Some(Retries {
        attempts,
        budget,
        min_concurrent,
        on,
        methods,
        per_try_timeout,
        max_replay_bytes: max_replay as usize,
    })
}

fn method(text: &str, _: &Path) -> Result<Arc<str>, Fault> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err(Fault::new(format!("`{text}` is not a method"))
            .hint("methods are in capitals: \"GET\", \"POST\" and so on"));
    }
    Ok(text.into())
}
