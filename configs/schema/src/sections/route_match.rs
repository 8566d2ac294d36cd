//! The match of a route: host, path, methods, headers, query.

use std::{path::Path, sync::Arc};

use regex::bytes::Regex;

use crate::{
    address::host_name,
    definition::TextForm,
    model::{HeaderMatch, HostMatch, PathMatch, QueryMatch, RouteMatch},
    read::{Fault, Key, Scope, list, pairs, text},
};

pub(super) fn route_match(t: &mut Scope<'_>) -> Option<RouteMatch> {
    let host = t.optional(
        Key::new("host", "`\"api.example.com\"`, or `\"*.example.com\"` for every name below it; without a port. Absent: any."),
        text("a host such as \"api.example.com\" or \"*.example.com\"", Some(r"^(\*\.)?[A-Za-z0-9_.:\[\]-]+$"), host),
    );
    let path = t.optional(
        Key::new("path", "`\"/v1/\"` is a prefix, `\"=/exact\"` the whole path, `\"~^/re\"` a regular expression. Absent: any."),
        text("a path such as \"/v1/\", \"=/exact\" or \"~^/re\"", Some(r"^(=?/|~)"), path),
    );
    let methods = t.optional(
        Key::new("methods", "Methods, in capitals. Absent: any."),
        list(text("a method such as \"GET\"", Some("^[!#$%&'*+.^_`|~0-9A-Z-]+$"), method))
            .not_empty(),
    );
    let headers = t.optional(
        Key::new("headers", "Header fields that have to be there with these values, such as `{ x-canary = \"1\" }`."),
        pairs(
            TextForm { what: "a header field", pattern: Some("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$") },
            TextForm { what: "a string", pattern: None },
            header,
        ),
    );
    let query = t.optional(
        Key::new(
            "query",
            "Query parameters that have to be there with these values, as they are on the wire.",
        ),
        pairs(
            TextForm { what: "a query parameter", pattern: Some("^[!-~]+$") },
            TextForm { what: "a string", pattern: None },
            query,
        ),
    );
    // A key that was misread must not pass for "any".
    let misread = (t.has("host") && host.is_none()) || (t.has("path") && path.is_none());
    (!misread).then(|| RouteMatch {
        host: host.unwrap_or_default(),
        path: path.unwrap_or_default(),
        methods: methods.unwrap_or_default(),
        headers: headers.unwrap_or_default(),
        query: query.unwrap_or_default(),
    })
}

fn host(text: &str, _: &Path) -> Result<HostMatch, Fault> {
    let lower = text.to_ascii_lowercase();
    if text.contains("://") || text.contains('/') {
        return Err(Fault::new(format!("`{text}` is not a host"))
            .hint("a host has no scheme and no path; use `path` for that"));
    }
    if lower.starts_with('[') {
        let inner = lower.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        return match inner.map(str::parse::<std::net::Ipv6Addr>) {
            Some(Ok(_)) => Ok(HostMatch::Exact(lower.into())),
            _ => Err(Fault::new(format!("`{text}` is not a host"))
                .hint("an IPv6 address is written as [::1], without a port")),
        };
    }
    if let Some((host, _)) = lower.split_once(':') {
        return Err(Fault::new(format!("the host `{text}` has a port"))
            .hint(format!("write \"{host}\"; the port is in `bind`")));
    }
    if lower == "*" {
        return Err(Fault::new("`*` is not a host").hint("leave `host` out to match any"));
    }
    if lower.parse::<std::net::Ipv4Addr>().is_ok() {
        return Ok(HostMatch::Exact(lower.into()));
    }
    let (name, wildcard) = match lower.strip_prefix("*.") {
        Some(name) => (name, true),
        None => (lower.as_str(), false),
    };
    if name.contains('*') {
        return Err(Fault::new(format!("`{text}` has a wildcard in the wrong place"))
            .hint("a wildcard stands for whole names at the front: \"*.example.com\""));
    }
    host_name(name)?;
    let name = Arc::from(name);
    Ok(if wildcard { HostMatch::Wildcard(name) } else { HostMatch::Exact(name) })
}

fn path(text: &str, _: &Path) -> Result<PathMatch, Fault> {
    if let Some(pattern) = text.strip_prefix('~') {
        return regex(pattern).map(|()| PathMatch::Regex(pattern.into()));
    }
    let (exact, bare) = match text.strip_prefix('=') {
        Some(bare) => (true, bare),
        None => (false, text),
    };
    if !bare.starts_with('/') {
        let sign = if exact { "=" } else { "" };
        return Err(Fault::new(format!("the path `{text}` does not start with /"))
            .hint(format!("write \"{sign}/{bare}\"")));
    }
    if let Some(c) = bare.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '?' | '#')) {
        let hint = match c {
            '?' => "query parameters go into `query`",
            '#' => "a fragment is never sent to a server",
            _ => "write it percent-encoded, as it is on the wire",
        };
        return Err(
            Fault::new(format!("the path `{text}` can never match: it has {c:?} in it")).hint(hint)
        );
    }
    if bare.ends_with('*') {
        return Err(Fault::new(format!("the path `{text}` has a wildcard")).hint(format!(
            "a path is a prefix already: write \"{}\"",
            bare.trim_end_matches('*')
        )));
    }
    let bare = Arc::from(bare);
    Ok(if exact { PathMatch::Exact(bare) } else { PathMatch::Prefix(bare) })
}

fn regex(pattern: &str) -> Result<(), Fault> {
    let Err(error) = Regex::new(pattern) else { return Ok(()) };
    let what = match error {
        // The last line says what is wrong; those before draw a caret.
        regex::Error::Syntax(text) => {
            let last = text.lines().last().unwrap_or_default();
            last.trim().trim_start_matches("error: ").to_owned()
        }
        regex::Error::CompiledTooBig(limit) => format!("it compiles to more than {limit} bytes"),
        other => other.to_string(),
    };
    Err(Fault::new(format!("the regular expression `{pattern}` does not compile: {what}"))
        .hint("the syntax is that of Rust's regex crate: no look-around, no back-references"))
}

/// `token` of RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    let sign = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(sign)
}

fn method(text: &str, _: &Path) -> Result<Arc<str>, Fault> {
    if !is_token(text) {
        return Err(Fault::new(format!("`{text}` is not a method"))
            .hint("write \"GET\", \"POST\" and so on"));
    }
    if text.bytes().any(|b| b.is_ascii_lowercase()) {
        return Err(Fault::new(format!("`{text}` is not in capitals"))
            .hint(format!("methods are case-sensitive: write \"{}\"", text.to_ascii_uppercase())));
    }
    Ok(text.into())
}

fn header(name: &str, value: &str) -> Result<HeaderMatch, Fault> {
    if !is_token(name) {
        return Err(Fault::new(format!("`{name}` is not the name of a header field")));
    }
    // RFC 9110, section 5.5: no control characters, and none of the white space around it.
    let fine = value.trim_matches([' ', '\t']) == value
        && !value.chars().any(|c| c.is_control() && c != '\t');
    if !fine {
        return Err(Fault::new("the value can never match")
            .hint("a field's value has no control characters and no space at its ends"));
    }
    Ok(HeaderMatch { name: name.to_ascii_lowercase().into(), value: value.into() })
}

fn query(name: &str, value: &str) -> Result<QueryMatch, Fault> {
    let never = |part: &str, signs: &[char]| {
        part.contains(signs) || part.chars().any(|c| !c.is_ascii_graphic())
    };
    if name.is_empty() || never(name, &['&', '=', '#']) || never(value, &['&', '#']) {
        return Err(Fault::new("the parameter can never match")
            .hint("write it percent-encoded, as it is on the wire"));
    }
    Ok(QueryMatch { name: name.into(), value: value.into() })
}
