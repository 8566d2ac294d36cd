//! `request_id` and `trace_context` of a listener.

use std::{path::Path, sync::Arc};

use crate::{
    model::{RequestId, TraceContext},
    read::{Fault, Format, Key, Scope, boolean, either, float, table, text},
};

/// Fields that mean something else.
const RESERVED_FIELDS: [&str; 10] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "upgrade",
    "expect",
    "forwarded",
    "traceparent",
    "tracestate",
];

pub(super) fn request_id() -> impl Format<Output = Option<RequestId>> {
    let switch =
        boolean().map(|on| on.then(|| RequestId { header: "X-Request-Id".into(), keep: true }));
    let spelled = table(|t: &mut Scope<'_>| {
        let header = t.or(
            Key::new("header", "Name of the field."),
            text("the name of a header field", Some("^[A-Za-z0-9_-]+$"), field_name),
            "X-Request-Id",
        );
        let keep = t.or(
            Key::new(
                "keep",
                "Whether an id that a client sent is kept, when it is 1 to 128 visible characters.",
            ),
            boolean(),
            true,
        );
        Some(RequestId { header, keep })
    });
    either(switch, spelled.map(Some))
}

fn field_name(name: &str, _: &Path) -> Result<Arc<str>, Fault> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.is_empty() || name.len() > 64 || !name.bytes().all(fits) {
        return Err(Fault::new(format!("`{name}` is not the name of a header field"))
            .hint("letters, digits, - and _, at most 64"));
    }
    let forwards = name.to_ascii_lowercase().starts_with("x-forwarded-");
    if forwards || RESERVED_FIELDS.iter().any(|taken| name.eq_ignore_ascii_case(taken)) {
        return Err(Fault::new(format!("`{name}` has a meaning of its own")).hint("choose another"));
    }
    Ok(name.into())
}

pub(super) fn trace_context() -> impl Format<Output = Option<TraceContext>> {
    let switch = boolean().map(|on| on.then_some(TraceContext { keep: true, sample: 1.0 }));
    let spelled = table(|t: &mut Scope<'_>| {
        let keep = t.or(
            Key::new("keep", "Whether a trace that a client is part of is continued."),
            boolean(),
            true,
        );
        let sample = t.or(
            Key::new("sample", "Share of the traces begun here that are marked as sampled, for those who decide by it."),
            float(0.0..=1.0),
            1.0,
        );
        Some(TraceContext { keep, sample })
    });
    either(switch, spelled.map(Some))
}
