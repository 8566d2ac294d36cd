//! Routes that no request can reach.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::{
    model::{PathMatch, PathNormalization, Route, RouteMatch},
    raw::Coverage,
    read::{Located, Scope},
    report::Finding,
};

/// Reports routes that match the same requests as an earlier one, and those that match none.
pub(super) fn check(t: &Scope<'_>, routes: &[Located<Route>], normalization: PathNormalization) {
    if normalization != PathNormalization::Off {
        routes.iter().for_each(|route| check_normal(t, route));
    }
    // A route whose match was misread looks broader than it is.
    if t.reader().coverage() == Coverage::Partial {
        return;
    }
    let mut seen: FxHashMap<RouteMatch, &Located<Route>> = FxHashMap::default();
    seen.reserve(routes.len());
    for route in routes {
        let matches = canonical(&route.value.matches);
        if let Some(first) = seen.get(&matches) {
            t.reader().push(
                Finding::error("this route can never be reached: an earlier one matches the same requests")
                    .at(route.spot, &route.path)
                    .related(first.spot, "the earlier one")
                    .hint("remove one of them, or split the traffic with `clusters = [{ cluster = …, weight = … }]`"),
            );
            continue;
        }
        seen.insert(matches, route);
    }
}

/// The one form in which matches of the same requests are equal.
fn canonical(matches: &RouteMatch) -> RouteMatch {
    let mut matches = matches.clone();
    matches.path = match matches.path {
        PathMatch::Prefix(path) if &*path == "/" => PathMatch::Any,
        PathMatch::Prefix(path) => PathMatch::Prefix(nameless(path)),
        PathMatch::Exact(path) => PathMatch::Exact(nameless(path)),
        path => path,
    };
    matches.methods.sort_unstable();
    matches.methods.dedup();
    for named in [&mut matches.headers, &mut matches.cookies, &mut matches.query] {
        named.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    }
    matches
}

/// The path with its parameters, whatever they are called.
fn nameless(path: Arc<str>) -> Arc<str> {
    if !path.contains('{') {
        return path;
    }
    let segments = path.split('/').map(|segment| match segment.starts_with('{') {
        true => "{}",
        false => segment,
    });
    segments.collect::<Vec<_>>().join("/").into()
}

/// Paths are normalized before they are compared: what normalizing would change is never met.
fn check_normal(t: &Scope<'_>, route: &Located<Route>) {
    let (path, whole) = match &route.value.matches.path {
        PathMatch::Exact(path) => (path, true),
        PathMatch::Prefix(path) => (path, false),
        PathMatch::Any | PathMatch::Regex(_) => return,
    };
    let mut segments = path.split('/').skip(1).peekable();
    let mut dots = false;
    while let Some(segment) = segments.next() {
        // The end of a prefix need not be the end of a segment.
        dots |= matches!(segment, "." | "..") && (whole || segments.peek().is_some());
    }
    let what = if path.contains("//") {
        "repeated slashes are one"
    } else if dots {
        "`.` and `..` are resolved"
    } else if let Some(encoded) = needless_encoding(path) {
        return push(t, route, path, &format!("`{encoded}` is decoded"));
    } else {
        return;
    };
    push(t, route, path, what);
}

fn push(t: &Scope<'_>, route: &Located<Route>, path: &str, what: &str) {
    let finding = Finding::error(format!("the path `{path}` can never match: {what} before"));
    t.reader().push(
        finding
            .at(route.spot, &format!("{}.path", route.path))
            .hint("write it normalized, or set `normalize_path = \"off\"` for the listener"),
    );
}

/// A percent-encoded byte that need not be encoded (RFC 3986, section 6.2.2.2).
fn needless_encoding(path: &str) -> Option<&str> {
    path.match_indices('%').find_map(|(at, _)| {
        let encoded = path.get(at..at + 3)?;
        let byte = u8::from_str_radix(&encoded[1..], 16).ok()?;
        let unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        unreserved.then_some(encoded)
    })
}
