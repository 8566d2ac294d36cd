//! The match of a route: host, path, methods, headers, cookies, query.

use std::{path::Path, sync::Arc};

use regex::bytes::Regex;

use super::pattern::{is_built_in, is_name};
use crate::{
    address::host_name,
    definition::TextForm,
    model::{HostMatch, NamedMatch, PathMatch, RouteMatch, ValueMatch},
    read::{Fault, Format, Key, Scope, boolean, either, list, map_of, table, text},
    report::Finding,
};

pub(super) fn route_match(t: &mut Scope<'_>) -> Option<RouteMatch> {
    let host = t.optional(
        Key::new("host", "`\"api.example.com\"`, or `\"*.example.com\"` for every name below it; without a port. Absent: any."),
        text("a host such as \"api.example.com\" or \"*.example.com\"", Some(r"^(\*\.)?[A-Za-z0-9_.:\[\]-]+$"), host),
    );
    let path = t.optional(
        Key::new("path", "`\"/v1/\"` is a prefix, `\"=/exact\"` the whole path, `\"~^/re\"` a regular expression. In the first two a segment may be a parameter: `\"/users/{id}\"`. Absent: any."),
        text("a path such as \"/v1/\", \"=/exact\" or \"~^/re\"", Some(r"^(=?/|~)"), path),
    );
    let methods = t.optional(
        Key::new("methods", "Methods, in capitals. Absent: any."),
        list(text("a method such as \"GET\"", Some("^[!#$%&'*+.^_`|~0-9A-Z-]+$"), method))
            .not_empty(),
    );
    let headers = t.optional(
        Key::new("headers", "Header fields, all of which have to match: `\"1\"` is the whole value, `true` and `false` say that it is there or not, `{ prefix = \"…\" }` and `{ regex = \"…\" }` look into it. Of several lines one is enough."),
        map_of(
            TextForm { what: "a header field", pattern: Some("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$") },
            value(),
            header,
        ),
    );
    let cookies = t.optional(
        Key::new("cookies", "Cookies, likewise."),
        map_of(
            TextForm { what: "a cookie", pattern: Some("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$") },
            value(),
            cookie,
        ),
    );
    let query = t.optional(
        Key::new("query", "Query parameters, likewise; names and values as they are decoded: `\"a b\"` holds for `a+b` and `a%20b`."),
        map_of(TextForm { what: "a query parameter", pattern: None }, value(), query),
    );
    // A key that was misread must not pass for "any".
    let misread = ["host", "path", "methods", "headers", "cookies", "query"];
    let given = [
        host.is_some(),
        path.is_some(),
        methods.is_some(),
        headers.is_some(),
        cookies.is_some(),
        query.is_some(),
    ];
    if misread.iter().zip(given).any(|(name, given)| t.has(name) && !given) {
        return None;
    }
    Some(RouteMatch {
        host: host.unwrap_or_default(),
        path: path.unwrap_or_default(),
        methods: methods.unwrap_or_default(),
        headers: headers.unwrap_or_default(),
        cookies: cookies.unwrap_or_default(),
        query: query.unwrap_or_default(),
    })
}

fn value() -> impl Format<Output = ValueMatch> {
    let exact = text("a string", None, |text: &str, _| match text.chars().any(char::is_control) {
        true => Err(Fault::new("the value has control characters, and can never match")),
        false => Ok(ValueMatch::Exact(text.into())),
    });
    let presence = boolean().map(|there| match there {
        true => ValueMatch::Present,
        false => ValueMatch::Absent,
    });
    either(exact, either(presence, table(partial)))
}

/// `{ prefix = … }` or `{ regex = … }`.
fn partial(t: &mut Scope<'_>) -> Option<ValueMatch> {
    let prefix = t.optional(
        Key::new("prefix", "The value begins with this."),
        text("a string", None, |text: &str, _| match text {
            "" => Err(Fault::new("every value begins with nothing")
                .hint("write `true` when it only has to be there")),
            text => Ok(ValueMatch::Prefix(text.into())),
        }),
    );
    let regex = t.optional(
        Key::new("regex", "A match of this is found in the value; `^` and `$` anchor it."),
        text("a regular expression", None, |text: &str, _| {
            compiles(text).map(|()| ValueMatch::Regex(text.into()))
        }),
    );
    if t.has("prefix") == t.has("regex") {
        let finding = Finding::error("one of `prefix` and `regex` belongs here");
        t.reader().push(
            finding.at(t.spot(), t.path()).hint("a string alone is compared with the whole value"),
        );
        return None;
    }
    prefix.or(regex)
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
        return compiles(pattern).map(|()| PathMatch::Regex(pattern.into()));
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
    check_parameters(bare)?;
    let bare = Arc::from(bare);
    Ok(if exact { PathMatch::Exact(bare) } else { PathMatch::Prefix(bare) })
}

/// A parameter is a whole segment with a name of its own.
fn check_parameters(path: &str) -> Result<(), Fault> {
    let mut seen: Vec<&str> = Vec::new();
    for segment in path.split('/').filter(|segment| segment.contains(['{', '}'])) {
        let name = segment.strip_prefix('{').and_then(|inside| inside.strip_suffix('}'));
        let Some(name) = name.filter(|name| is_name(name)) else {
            return Err(Fault::new(format!("the segment `{segment}` is not a parameter"))
                .hint("a parameter is a whole segment: \"/users/{id}\"; for parts of one use a regular expression"));
        };
        if is_built_in(name) {
            return Err(Fault::new(format!("`{name}` is a part of every request"))
                .hint("give the parameter another name"));
        }
        if seen.contains(&name) {
            return Err(Fault::new(format!("the parameter `{name}` is there twice"))
                .hint("give each a name of its own"));
        }
        seen.push(name);
    }
    Ok(())
}

/// Says what is wrong with a regular expression.
pub(super) fn compiles(pattern: &str) -> Result<(), Fault> {
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
pub(super) fn is_token(text: &str) -> bool {
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

fn header(name: &str, value: ValueMatch) -> Result<NamedMatch, Fault> {
    if !is_token(name) {
        return Err(Fault::new(format!("`{name}` is not the name of a header field")));
    }
    // RFC 9110, section 5.5: none of the white space around it.
    if let ValueMatch::Exact(text) = &value
        && text.trim_matches([' ', '\t']) != &**text
    {
        return Err(Fault::new("the value can never match")
            .hint("a field's value has no space at its ends"));
    }
    Ok(NamedMatch { name: name.to_ascii_lowercase().into(), value })
}

fn cookie(name: &str, value: ValueMatch) -> Result<NamedMatch, Fault> {
    if !is_token(name) {
        return Err(Fault::new(format!("`{name}` is not the name of a cookie")));
    }
    // RFC 6265, section 4.1.1.
    if let ValueMatch::Exact(text) = &value
        && text.contains([' ', ';', ','])
    {
        return Err(Fault::new("the value can never match")
            .hint("a cookie's value has no spaces, semicolons and commas"));
    }
    Ok(NamedMatch { name: name.into(), value })
}

fn query(name: &str, value: ValueMatch) -> Result<NamedMatch, Fault> {
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(
            Fault::new("the parameter can never match").hint("write its name as it is decoded")
        );
    }
    Ok(NamedMatch { name: name.into(), value })
}
