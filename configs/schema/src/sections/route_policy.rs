//! What happens to a request on its way, and to its response: `rewrite`, `request_headers`,
//! `response_headers`, and how `clusters` share the traffic.

use std::{path::Path, sync::Arc};

use super::{
    pattern::{self, Available},
    route_match::{compiles, is_token},
};
use crate::{
    definition::TextForm,
    model::{HeaderEdits, HeaderField, PathMatch, PathRewrite, Pattern, Rewrite, SplitBy},
    read::{Fault, Format, Key, Located, Scope, list, located, pairs, text},
    report::Finding,
};

/// `split_by`.
pub(super) fn split_by(t: &mut Scope<'_>) -> Option<SplitBy> {
    let header = t.optional(
        Key::new("header", "A header field."),
        text("the name of a header field", None, |name: &str, _| match is_token(name) {
            true => Ok(Arc::<str>::from(name.to_ascii_lowercase())),
            false => Err(Fault::new(format!("`{name}` is not the name of a header field"))),
        }),
    );
    let cookie = t.optional(
        Key::new("cookie", "A cookie."),
        text("the name of a cookie", None, |name: &str, _| match is_token(name) {
            true => Ok(Arc::<str>::from(name)),
            false => Err(Fault::new(format!("`{name}` is not the name of a cookie"))),
        }),
    );
    if t.has("header") == t.has("cookie") {
        let finding = Finding::error("one of `header` and `cookie` belongs here");
        t.reader().missing(finding.at(t.spot(), t.path()).hint("{ cookie = \"session\" }"));
        return None;
    }
    header.map(SplitBy::Header).or(cookie.map(SplitBy::Cookie))
}

/// `rewrite`, with what has to be known of the route's path to check it.
pub(super) struct ReadRewrite {
    pub(super) rewrite: Rewrite,
    prefix: Option<Located<()>>,
    path: Option<Located<Pattern>>,
    host: Option<Located<Pattern>>,
}

pub(super) fn rewrite(t: &mut Scope<'_>) -> Option<ReadRewrite> {
    let prefix = t.optional(
        Key::new("prefix", "Stands for the prefix that the route matches: with `path = \"/api/\"` and `prefix = \"/\"`, `/api/x` becomes `/x`."),
        located(text("a path", Some("^/"), plain_path)),
    );
    let path = t.optional(
        Key::new("path", "Stands for the whole path, or with `regex` for what that finds: `\"/users/{id}\"`. Parts of the request stand in braces, as in `redirect`."),
        located(text("a path", Some("^[!-~]*$"), |path: &str, _| {
            if path.contains(['?', '#']) {
                return Err(Fault::new(format!("the path `{path}` holds more than a path"))
                    .hint("the query of the request stays as it is"));
            }
            pattern::parse(path)
        })),
    );
    let regex = t.optional(
        Key::new("regex", "What is looked for in the path, and replaced where it is first found. When it is not, the path stays."),
        text("a regular expression", None, |regex: &str, _| {
            compiles(regex).map(|()| Arc::<str>::from(regex))
        }),
    );
    let host = t.optional(
        Key::new("host", "`Host` that the endpoint is asked for, such as `\"app.internal\"`."),
        located(text("a host", Some("^[!-~]+$"), pattern::host)),
    );
    let misread = (t.has("prefix") && prefix.is_none())
        || (t.has("path") && path.is_none())
        || (t.has("regex") && regex.is_none())
        || (t.has("host") && host.is_none());
    let refuse = |message: &str, name: &str, hint: &str| {
        let spot = t.key_spot(name).unwrap_or(t.spot());
        t.reader().push(Finding::error(message).at(spot, &t.path_of(name)).hint(hint));
    };
    if t.has("prefix") && t.has("path") {
        refuse("`path` stands beside `prefix`", "path", "keep one of them");
    }
    if t.has("regex") && !t.has("path") {
        refuse("`regex` needs `path`, which says what to put there", "regex", "add `path`");
    }
    if !["prefix", "path", "regex", "host"].iter().any(|name| t.has(name)) {
        let finding = Finding::error("the rewrite does not say what to change");
        t.reader().missing(finding.at(t.spot(), t.path()).hint("add `prefix`, `path` or `host`"));
    }
    let whole = path.as_ref().filter(|_| regex.is_none());
    if whole.is_some_and(|path| !begins_with_slash(&path.value)) {
        refuse("the path does not start with /", "path", "write \"/…\" or \"{path}\"");
    }
    let new_path = match (&prefix, &path, regex) {
        (Some(prefix), ..) => Some(PathRewrite::Prefix(Arc::clone(&prefix.value))),
        (None, Some(path), Some(regex)) => {
            Some(PathRewrite::Regex { regex, with: path.value.clone() })
        }
        (None, Some(path), None) => Some(PathRewrite::Whole(path.value.clone())),
        (None, None, _) => None,
    };
    let rewrite = Rewrite { path: new_path, host: host.as_ref().map(|host| host.value.clone()) };
    let prefix = prefix.map(|prefix| Located { value: (), spot: prefix.spot, path: prefix.path });
    (!misread).then_some(ReadRewrite { rewrite, prefix, path, host })
}

fn begins_with_slash(pattern: &Pattern) -> bool {
    use crate::model::{Part, Piece};
    match pattern.0.first() {
        Some(Piece::Text(text)) => text.starts_with('/'),
        Some(Piece::Part(part)) => *part == Part::Path,
        None => false,
    }
}

fn plain_path(text: &str, folder: &Path) -> Result<Arc<str>, Fault> {
    match pattern::path(text, folder)?.as_plain() {
        Some(plain) => Ok(plain.into()),
        None => Err(Fault::new(format!("`{text}` has a part of the request in it"))
            .hint("use `path` for that: \"/users/{id}/{rest}\"")),
    }
}

impl ReadRewrite {
    /// Reports parts that a route with this path does not have.
    pub(super) fn check(&self, t: &Scope<'_>, path: &PathMatch) {
        if let (Some(prefix), false) =
            (&self.prefix, matches!(path, PathMatch::Prefix(_) | PathMatch::Any))
        {
            let finding = Finding::error("the route's path is no prefix");
            t.reader()
                .push(finding.at(prefix.spot, &prefix.path).hint("use `path` instead of `prefix`"));
        }
        let available = Available::of(path);
        if let Some(pattern) = &self.path {
            match &self.rewrite.path {
                Some(PathRewrite::Regex { regex, .. }) => {
                    Available::of_regex(regex).check(t, pattern);
                }
                _ => available.check(t, pattern),
            }
        }
        if let Some(pattern) = &self.host {
            available.check(t, pattern);
        }
    }
}

/// `request_headers` and `response_headers`.
pub(super) fn header_edits(t: &mut Scope<'_>) -> Option<HeaderEdits> {
    let set = t.optional(
        Key::new(
            "set",
            "Fields to set, in place of those of the same name: `{ x-env = \"prod\" }`.",
        ),
        header_fields(),
    );
    let add = t.optional(
        Key::new("add", "Fields to add, beside those of the same name."),
        header_fields(),
    );
    let remove = t.optional(
        Key::new("remove", "Names of fields to remove; this comes first."),
        list(text("the name of a header field", None, |name: &str, _| editable(name))),
    );
    Some(HeaderEdits {
        set: set.unwrap_or_default(),
        add: add.unwrap_or_default(),
        remove: remove.unwrap_or_default(),
    })
}

/// A table of fields by name.
pub(super) fn header_fields() -> impl Format<Output = Vec<HeaderField>> {
    pairs(
        TextForm { what: "a header field", pattern: Some("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$") },
        TextForm { what: "a string", pattern: None },
        |name, value| {
            let name = editable(name)?;
            // RFC 9110, section 5.5.
            let visible = value.bytes().all(|b| b == b'\t' || (b >= b' ' && b != 0x7f));
            if !visible || value.trim_matches([' ', '\t']) != value {
                return Err(Fault::new(format!("`{value}` cannot be the value of a field"))
                    .hint("a value has no control characters and no space at its ends"));
            }
            Ok(HeaderField { name, value: value.into() })
        },
    )
}

/// Fields of framing, of the connection and of the host are the proxy's own.
fn editable(name: &str) -> Result<Arc<str>, Fault> {
    const OWN: [&str; 13] = [
        "connection",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    if !is_token(name) {
        return Err(Fault::new(format!("`{name}` is not the name of a header field")));
    }
    if OWN.iter().any(|own| own.eq_ignore_ascii_case(name)) {
        let fault = Fault::new(format!("`{name}` is the proxy's own to set"));
        return Err(match name.eq_ignore_ascii_case("host") {
            true => fault.hint("use `rewrite = { host = \"…\" }`"),
            false => fault.hint("it belongs to one connection, or frames the message"),
        });
    }
    Ok(name.into())
}
