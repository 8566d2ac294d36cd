//! `[[listeners.NAME.routes]]`: what is done with a request.

use super::{
    HOUR, MILLISECOND,
    admission::networks,
    pattern::Available,
    retries::retries,
    route_action::{action, patterns},
    route_match::route_match,
    route_policy::{header_edits, rewrite, split_by},
};
use crate::{
    model::{Route, RouteAction},
    read::{Key, Located, Scope, duration, table},
    report::Finding,
};

/// Keys that only a route with clusters has a use for.
const FORWARDING: [&str; 5] = ["timeout", "retries", "rewrite", "request_headers", "split_by"];

pub(super) fn route(t: &mut Scope<'_>) -> Option<Located<Route>> {
    let matches = route_match(t);
    let action = action(t);
    let split_by = t.optional(
        Key::new("split_by", "With `clusters`: `{ cookie = \"session\" }` or `{ header = \"x-user\" }`, by whose value a request always goes to the same cluster while the weights stay. Requests without it are shared at random."),
        table(split_by),
    );
    let rewrite = t.optional(
        Key::new("rewrite", "What the endpoint is asked for instead: `{ prefix = \"/\" }`, `{ path = \"/users/{id}\" }`, `{ regex = \"…\", path = \"…\" }`, `{ host = \"app.internal\" }`."),
        table(rewrite),
    );
    let request_headers = t.optional(
        Key::new("request_headers", "Changes to the header fields that the endpoint gets."),
        table(header_edits),
    );
    let response_headers = t.optional(
        Key::new("response_headers", "Changes to the header fields that the client gets, also of answers that bs9 gives itself on this route."),
        table(header_edits),
    );
    let allow = t.optional(
        Key::new("allow", "Clients that may take this route, by address, of those that the listener lets in: `[\"10.0.0.0/8\", \"2001:db8::/32\"]`. Others are answered 403; no other route is looked for. Behind a proxy of `trusted_proxies`, a client is who that proxy names. Absent: all. Clients of unix sockets are not asked."),
        networks(),
    );
    let deny = t.optional(
        Key::new(
            "deny",
            "Clients that may not take this route, likewise; also those that `allow` has.",
        ),
        networks(),
    );
    let timeout = t.or(
        Key::new(
            "timeout",
            "From the request's head to the response's head, retries included; then 504. A call of gRPC that states a shorter one itself (`grpc-timeout`) has that, and its request's body is not waited for any longer either.",
        ),
        duration(MILLISECOND..=24 * HOUR),
        "60s",
    );
    let retries = t.section(Key::new("retries", "When another endpoint is tried. A connection that could not be made is no obstacle to any request; what may have reached an endpoint is tried again only where repeating it does no harm."), table(retries));
    if matches!(&action, Some(action) if !matches!(action.value, RouteAction::Forward(_))) {
        for name in FORWARDING {
            if let Some(spot) = t.key_spot(name) {
                let finding = Finding::error(format!(
                    "`{name}` has no meaning for a route without a cluster"
                ));
                t.reader().push(finding.at(spot, &t.path_of(name)).hint("remove it"));
            }
        }
    } else if let (Some(spot), false) = (t.key_spot("split_by"), t.has("clusters")) {
        let finding = Finding::error("`split_by` has no meaning for a route with one cluster");
        t.reader().push(finding.at(spot, &t.path_of("split_by")).hint("use `clusters`"));
    }
    // A policy that was misread must not pass for none.
    let misread = (t.has("split_by") && split_by.is_none())
        || (t.has("rewrite") && rewrite.is_none())
        || (t.has("request_headers") && request_headers.is_none())
        || (t.has("response_headers") && response_headers.is_none())
        || (t.has("allow") && allow.is_none())
        || (t.has("deny") && deny.is_none());
    let (matches, action) = (matches?, action?);
    if let RouteAction::Redirect { to, .. } = &action.value {
        let available = Available::of(&matches.path);
        for pattern in patterns(to) {
            let value = pattern.clone();
            let place = Located { value, spot: action.spot, path: action.path.clone() };
            available.check(t, &place);
        }
    }
    if let Some(rewrite) = &rewrite {
        rewrite.check(t, &matches.path);
    }
    let route = Route {
        matches,
        action: action.value,
        split_by,
        rewrite: rewrite.map(|read| read.rewrite),
        request_headers: request_headers.unwrap_or_default(),
        response_headers: response_headers.unwrap_or_default(),
        allow,
        deny: deny.unwrap_or_default(),
        timeout,
        retries: retries?,
    };
    (!misread).then(|| t.locate(route))
}
