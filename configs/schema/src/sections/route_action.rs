//! What a route does: `cluster`, `clusters`, `redirect` or `respond`.

use std::{collections::HashMap, fs, io::Read as _, path::Path, sync::Arc};

use super::{listener::check_cluster, pattern, route_policy::header_fields};
use crate::{
    model::{HeaderField, Location, LocationTarget, Pattern, RouteAction, WeightedCluster},
    read::{
        Fault, Format, Key, Located, Scope, absolute, boolean, either, integer, list, located,
        numbers, table, text,
    },
    report::Finding,
    source::Spot,
};

const REDIRECTS: &[i64] = &[301, 302, 303, 307, 308];
/// Bytes of a body that a route answers with.
const MAX_BODY_BYTES: usize = 64 << 10;
/// Likewise when it comes from a file.
const MAX_FILE_BYTES: u64 = 1 << 20;
const ACTIONS: [&str; 4] = ["cluster", "clusters", "redirect", "respond"];

/// Exactly one of four keys.
pub(super) fn action(t: &mut Scope<'_>) -> Option<Located<RouteAction>> {
    let cluster = t.optional(Key::new("cluster", "The cluster that serves it."), cluster_name());
    let clusters = t.optional(
        Key::new("clusters", "Several clusters that share the traffic by weight."),
        list(table(weighted_cluster)).not_empty(),
    );
    let redirect = t.optional(
        Key::new("redirect", "Answer with a redirect: `\"https://example.com/{rest}\"`, or a table. Parts of the request stand in braces: `{scheme}`, `{host}`, `{path}`, `{query}`, `{rest}` (what follows the route's prefix), `{id}` (a parameter of the path, or a named group) and `{1}` (a group)."),
        either(location().map(|to| Some((to, 308))), table(redirect).map(Some)),
    );
    let respond = t.optional(
        Key::new(
            "respond",
            "Answer with a fixed response: `{ status = 200, body = \"…\", content_type = \"…\" }`.",
        ),
        table(respond),
    );
    if let Some(cluster) = &cluster {
        check_cluster(t, cluster);
    }
    if let Some(clusters) = &clusters {
        check_shares(t, clusters);
    }
    let given: Vec<(&str, Spot)> =
        ACTIONS.iter().filter_map(|name| Some((*name, t.key_spot(name)?))).collect();
    let (name, spot) = match given.as_slice() {
        [only] => *only,
        [] => {
            let finding =
                Finding::error("the route does not say what to do").at(t.spot(), t.path());
            t.reader().missing(finding.hint("add `cluster`, `clusters`, `redirect` or `respond`"));
            return None;
        }
        [(first, spot), (second, at), ..] => {
            let message = format!("`{second}` stands beside `{first}`; a route does one thing");
            let finding =
                Finding::error(message).at(*at, &t.path_of(second)).related(*spot, "and this");
            t.reader().push(finding.hint("keep one of cluster, clusters, redirect and respond"));
            return None;
        }
    };
    let one = cluster.map(|cluster| {
        RouteAction::Forward(vec![WeightedCluster { cluster: cluster.value, weight: 1 }])
    });
    let shared = clusters
        .map(|shares| RouteAction::Forward(shares.into_iter().map(|share| share.value).collect()));
    let redirect = redirect.flatten().map(|(to, status)| RouteAction::Redirect { to, status });
    let value = one.or(shared).or(redirect).or(respond)?;
    Some(Located { value, spot, path: t.path_of(name) })
}

fn cluster_name() -> impl Format<Output = Located<Arc<str>>> {
    located(text("the name of a cluster", None, |name: &str, _| Ok::<Arc<str>, Fault>(name.into())))
}

fn weighted_cluster(t: &mut Scope<'_>) -> Option<Located<WeightedCluster>> {
    let cluster = t.required(Key::new("cluster", "A cluster's name."), cluster_name());
    let weight = t.or(
        Key::new("weight", "Its share of the requests, relative to the others."),
        integer(1..=65_535),
        1,
    );
    let cluster = cluster?;
    check_cluster(t, &cluster);
    Some(Located {
        value: WeightedCluster { cluster: cluster.value, weight },
        spot: cluster.spot,
        path: cluster.path,
    })
}

fn check_shares(t: &Scope<'_>, shares: &[Located<WeightedCluster>]) {
    let mut seen = HashMap::new();
    for share in shares {
        if let Some(first) = seen.insert(&share.value.cluster, share.spot) {
            let message = format!("the cluster `{}` is given twice", share.value.cluster);
            let finding = Finding::error(message).at(share.spot, &share.path);
            t.reader().push(finding.related(first, "first given here").hint("add up the weights"));
        }
    }
}

fn location() -> impl Format<Output = Location> {
    text("a location such as \"https://example.com/\"", Some("^[!-~]+$"), |location: &str, _| {
        if location.is_empty() || !location.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Fault::new("a location has visible ASCII only, and some")
                .hint("percent-encode the rest"));
        }
        if location.starts_with('/') {
            let target = LocationTarget::Whole(pattern::parse(location)?);
            return Ok(Location { scheme: None, authority: None, port: None, target });
        }
        let Some((scheme, rest)) = location.split_once("://") else {
            return Err(Fault::new(format!("`{location}` is neither a URL nor a path"))
                .hint(format!("write \"https://{location}\" or \"/{location}\"")));
        };
        if scheme != "{scheme}" && !is_scheme(scheme) {
            return Err(Fault::new(format!("`{scheme}` is not a scheme"))
                .hint("write https, http or {scheme}"));
        }
        let (authority, target) = divided(rest);
        Ok(Location {
            scheme: (scheme != "{scheme}").then(|| scheme.into()),
            authority: Some(pattern::parse(authority)?),
            port: None,
            target: LocationTarget::Whole(pattern::parse(target)?),
        })
    })
}

/// RFC 3986, section 3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

/// Authority, and path with query. A part of the request that brings its own `/` ends the
/// authority, too.
fn divided(rest: &str) -> (&str, &str) {
    let parts = ["/", "?", "{path}"].map(|end| rest.find(end).unwrap_or(rest.len()));
    rest.split_at(parts.into_iter().min().unwrap_or(rest.len()))
}

fn redirect(t: &mut Scope<'_>) -> Option<(Location, u16)> {
    let to = t.optional(
        Key::new("to", "`Location` of the answer: a URL, or a path on the same host; its query too, if it has one. In place of the keys below."),
        location(),
    );
    let scheme = t.optional(
        Key::new("scheme", "`\"https\"` or `\"http\"`; absent: that of the request."),
        text("\"http\" or \"https\"", Some("^https?$"), |scheme: &str, _| match scheme {
            "http" | "https" => Ok(Arc::<str>::from(scheme)),
            _ => Err(Fault::new(format!("`{scheme}` is not http or https"))),
        }),
    );
    let host = t.optional(
        Key::new("host", "Another host, such as `\"www.{host}\"`; absent: that of the request."),
        text("a host", Some("^[!-~]+$"), pattern::host),
    );
    let port = t.optional(
        Key::new(
            "port",
            "Another port; absent: that of the request, or the usual one of a new scheme.",
        ),
        integer::<u16>(1..=65_535),
    );
    let path = t.optional(
        Key::new("path", "Another path, such as `\"/new/{rest}\"`; absent: that of the request."),
        text("a path", Some("^/"), pattern::path),
    );
    let keep_query =
        t.or(Key::new("keep_query", "Whether the request's query is kept."), boolean(), true);
    let status = t.or(
        Key::new("status", "Status of the answer."),
        numbers(REDIRECTS).map(|n| n as u16),
        308,
    );
    let parts = ["scheme", "host", "port", "path", "keep_query"];
    let given = parts.iter().find(|name| t.has(name));
    match (t.has("to"), given) {
        (true, None) => return Some((to?, status)),
        (true, Some(name)) => {
            let finding = Finding::error(format!("`{name}` stands beside `to`, which says it all"));
            let spot = t.key_spot(name).unwrap_or(t.spot());
            t.reader().push(finding.at(spot, &t.path_of(name)).hint("keep one of them"));
            return None;
        }
        (false, None | Some(&"keep_query")) => {
            let finding = Finding::error("the redirect does not say where to");
            t.reader().missing(
                finding
                    .at(t.spot(), t.path())
                    .hint("add `to`, or some of scheme, host, port, path"),
            );
            return None;
        }
        (false, Some(_)) => {}
    }
    let misread = (t.has("scheme") && scheme.is_none())
        || (t.has("host") && host.is_none())
        || (t.has("port") && port.is_none())
        || (t.has("path") && path.is_none());
    let target = LocationTarget::Parts { path, keep_query };
    (!misread).then_some((Location { scheme, authority: host, port, target }, status))
}

fn respond(t: &mut Scope<'_>) -> Option<RouteAction> {
    let status: u16 = t.or(Key::new("status", "Status of the answer."), integer(200..=599), 200);
    let body: Option<Arc<[u8]>> = t.optional(
        Key::new("body", "Body of the answer; at most 64KiB. Absent: none."),
        text("a string", None, |body: &str, _| {
            if body.len() > MAX_BODY_BYTES {
                return Err(Fault::new(format!("the body is {} bytes long", body.len()))
                    .hint("at most 64KiB; put more into a `body_file`"));
            }
            Ok(Arc::from(body.as_bytes()))
        }),
    );
    let file: Option<Arc<[u8]>> = t.optional(
        Key::new(
            "body_file",
            "A file with the body of the answer; at most 1MiB. It is read with the configuration.",
        ),
        text("the path of a file", None, |path: &str, folder: &Path| {
            read_body(&absolute(folder, path))
        }),
    );
    let content_type: Arc<str> = t.or(
        Key::new("content_type", "`Content-Type` of the answer."),
        text("a media type such as \"text/html\"", Some("^[ -~]+$"), |kind: &str, _| {
            let visible = kind.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
            match kind.contains('/') && visible {
                true => Ok(Arc::from(kind)),
                false => Err(Fault::new(format!("`{kind}` is not a media type"))
                    .hint("write \"text/html; charset=utf-8\"")),
            }
        }),
        "text/plain; charset=utf-8",
    );
    let headers: Vec<HeaderField> = t
        .optional(
            Key::new(
                "headers",
                "Further fields of the answer: `{ cache-control = \"no-store\" }`.",
            ),
            header_fields(),
        )
        .unwrap_or_default();
    if let (true, Some(spot)) = (t.has("body"), t.key_spot("body_file")) {
        let finding = Finding::error("`body_file` stands beside `body`");
        t.reader().push(finding.at(spot, &t.path_of("body_file")).hint("keep one of them"));
    }
    let misread = (t.has("body") && body.is_none()) || (t.has("body_file") && file.is_none());
    let body = body.or(file).unwrap_or_default();
    // RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5.
    if matches!(status, 204 | 205 | 304) && !body.is_empty() {
        let name = if t.has("body") { "body" } else { "body_file" };
        let spot = t.key_spot(name).unwrap_or(t.spot());
        let finding = Finding::error(format!("an answer with status {status} has no body"));
        t.reader()
            .push(finding.at(spot, &t.path_of(name)).hint("remove the body, or use status 200"));
    }
    (!misread).then_some(RouteAction::Respond { status, body, content_type, headers })
}

fn read_body(path: &Path) -> Result<Arc<[u8]>, Fault> {
    let mut body = Vec::new();
    let read =
        fs::File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut body));
    if let Err(error) = read {
        return Err(Fault::new(format!("cannot read the body from {}: {error}", path.display()))
            .hint("the path is relative to the configuration file"));
    }
    if body.len() as u64 > MAX_FILE_BYTES {
        return Err(Fault::new(format!("{} is larger than 1MiB", path.display()))
            .hint("serve it from a cluster"));
    }
    Ok(body.into())
}

/// Every pattern of a location.
pub(super) fn patterns(location: &Location) -> impl Iterator<Item = &Pattern> {
    let target = match &location.target {
        LocationTarget::Whole(pattern) => Some(pattern),
        LocationTarget::Parts { path, .. } => path.as_ref(),
    };
    location.authority.iter().chain(target)
}
