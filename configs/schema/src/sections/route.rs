//! `[[listeners.NAME.routes]]`: what is done with a request.

use std::{collections::HashMap, sync::Arc};

use super::{HOUR, MILLISECOND, listener::check_cluster, route_match::route_match};
use crate::{
    model::{Retries, Route, RouteAction, WeightedCluster},
    read::{
        Fault, Format, Key, Located, Scope, duration, either, float, integer, list, located,
        numbers, table, text,
    },
    report::Finding,
    source::Spot,
};

const REDIRECTS: &[i64] = &[301, 302, 303, 307, 308];
/// Bytes of a body that a route answers with.
const MAX_BODY_BYTES: usize = 64 << 10;
const ACTIONS: [&str; 4] = ["cluster", "clusters", "redirect", "respond"];

pub(super) fn route(t: &mut Scope<'_>) -> Option<Located<Route>> {
    let matches = route_match(t);
    let action = action(t);
    let timeout = t.or(
        Key::new(
            "timeout",
            "From the request's head to the response's head, retries included; then 504.",
        ),
        duration(MILLISECOND..=24 * HOUR),
        "60s",
    );
    let retries = t.section(Key::new("retries", "When another endpoint is tried. Only what is safe is tried again: a connection that could not be made, or an idempotent request without a body on a kept connection that was closed before a byte of the response."), table(retries));
    if !matches!(action, None | Some(RouteAction::Forward(_))) {
        for name in ["timeout", "retries"] {
            if let Some(spot) = t.key_spot(name) {
                let finding = Finding::error(format!(
                    "`{name}` has no meaning for a route without a cluster"
                ));
                t.reader().push(finding.at(spot, &t.path_of(name)).hint("remove it"));
            }
        }
    }
    let route = Route { matches: matches?, action: action?, timeout, retries: retries? };
    Some(t.locate(route))
}

/// Exactly one of four keys.
fn action(t: &mut Scope<'_>) -> Option<RouteAction> {
    let cluster = t.optional(Key::new("cluster", "The cluster that serves it."), cluster_name());
    let clusters = t.optional(
        Key::new("clusters", "Several clusters that share the traffic by weight."),
        list(table(weighted_cluster)).not_empty(),
    );
    let redirect = t.optional(
        Key::new(
            "redirect",
            "Answer with a redirect: `\"https://…\"` or `{ to = \"…\", status = 308 }`.",
        ),
        either(location().map(|to| (to, 308)), table(redirect)),
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
    match given.as_slice() {
        [_] => {}
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
    }
    let one = cluster.map(|cluster| {
        RouteAction::Forward(vec![WeightedCluster { cluster: cluster.value, weight: 1 }])
    });
    let shared = clusters
        .map(|shares| RouteAction::Forward(shares.into_iter().map(|share| share.value).collect()));
    let redirect = redirect.map(|(location, status)| RouteAction::Redirect { location, status });
    one.or(shared).or(redirect).or(respond)
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

fn location() -> impl Format<Output = Arc<str>> {
    text("a location such as \"https://example.com/\"", Some("^[!-~]+$"), |location: &str, _| {
        if location.is_empty() || !location.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Fault::new("a location has visible ASCII only, and some")
                .hint("percent-encode the rest"));
        }
        if !location.starts_with('/') && !location.contains("://") {
            return Err(Fault::new(format!("`{location}` is neither a URL nor a path"))
                .hint(format!("write \"https://{location}\" or \"/{location}\"")));
        }
        Ok(Arc::from(location))
    })
}

fn redirect(t: &mut Scope<'_>) -> Option<(Arc<str>, u16)> {
    let to = t.required(
        Key::new("to", "`Location` of the answer: a URL, or a path on the same host."),
        location(),
    );
    let status = t.or(
        Key::new("status", "Status of the answer."),
        numbers(REDIRECTS).map(|n| n as u16),
        308,
    );
    Some((to?, status))
}

fn respond(t: &mut Scope<'_>) -> Option<RouteAction> {
    let status: u16 = t.or(Key::new("status", "Status of the answer."), integer(200..=599), 200);
    let body: Arc<str> = t.or(
        Key::new("body", "Body of the answer; at most 64KiB."),
        text("a string", None, |body: &str, _| {
            if body.len() > MAX_BODY_BYTES {
                return Err(Fault::new(format!("the body is {} bytes long", body.len()))
                    .hint("at most 64KiB; serve more from a cluster"));
            }
            Ok(Arc::from(body))
        }),
        "",
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
    // RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5.
    if matches!(status, 204 | 205 | 304) && !body.is_empty() {
        let spot = t.key_spot("body").unwrap_or(t.spot());
        let finding = Finding::error(format!("an answer with status {status} has no body"));
        t.reader()
            .push(finding.at(spot, &t.path_of("body")).hint("remove the body, or use status 200"));
    }
    Some(RouteAction::Respond { status, body, content_type })
}

fn retries(t: &mut Scope<'_>) -> Option<Retries> {
    Some(Retries {
        attempts: t.or(Key::new("attempts", "Tries after the first one."), integer(0..=10), 2),
        budget: t.or(
            Key::new("budget", "Share of requests that may be retries, over a sliding window."),
            float(0.0..=1.0),
            0.2,
        ),
    })
}
