//! From a request's head to what is to be done with it.

use std::rc::Rc;

use bs9_config::HttpsRedirect;

use super::{client::Origin, failure::Failure};
use crate::{
    cluster::ShardCluster,
    http1::{
        BodyFraming, HeaderStorage, Parsed, RequestEdits, RequestHead, ResponseTo, Version,
        authority::split_port, parse_request, write_request_head,
    },
    part::{Action, HttpSite},
    worker::{View, Worker},
};

/// What has to be remembered of a request once its head has been sent on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) head_len: usize,
    pub(super) framing: BodyFraming,
    pub(super) version: Version,
    pub(super) keep_alive: bool,
    pub(super) response_to: ResponseTo,
    /// Whether the client may wait for a 100 before it sends its body.
    pub(super) expects_continue: bool,
    /// Whether sending it twice is as good as once, and possible (RFC 9110 section 9.2.2).
    pub(super) repeatable: bool,
}

/// What is to be done with a request.
pub(crate) enum Plan {
    /// Its head for the endpoint has been written.
    Forward { cluster: Rc<ShardCluster>, route: usize },
    /// Answered by the proxy; the number is the route's.
    Reply { route: usize },
    /// No route takes it: the client is sent to the same place by https, which has been
    /// written.
    ToHttps { status: u16 },
}

/// Parses the head at the start of `bytes`, finds its route and writes the head for the
/// endpoint into `out`. `None`: the head is not complete yet.
///
/// Not async: what parsing needs on the stack never becomes part of a connection.
pub(crate) fn plan(
    worker: &Worker,
    view: &View,
    site: &HttpSite,
    origin: &Origin,
    bytes: &[u8],
    out: &mut Vec<u8>,
) -> Result<Option<(Facts, Plan)>, Failure> {
    let mut storage = HeaderStorage::new();
    let head = match parse_request(bytes, &site.limits, &mut storage) {
        Ok(Parsed::Complete(head)) => head,
        Ok(Parsed::Partial) => return Ok(None),
        Err(error) => return Err(Failure::Request(error)),
    };
    if head.method == "CONNECT" {
        return Err(Failure::Connect);
    }
    let facts = Facts {
        head_len: head.head_len,
        framing: head.framing,
        version: head.version,
        keep_alive: head.keep_alive,
        response_to: head.response_to(),
        expects_continue: head.expect_continue,
        repeatable: head.framing == BodyFraming::None && is_idempotent(head.method),
    };
    let target = &head.target;
    let found = site.table.lookup(
        head.host,
        target.path(),
        head.method,
        |name| head.header(name),
        target.query(),
    );
    let Some(route) = found else {
        if let (Some(redirect), Some(host)) = (site.https_redirect, head.host) {
            write_https_location(out, redirect, host, &head);
            return Ok(Some((facts, Plan::ToHttps { status: redirect.status })));
        }
        return Ok(Some((facts, Plan::Reply { route: NO_ROUTE })));
    };
    let plan = match &site.routes[route].action {
        Action::Reply(_) => Plan::Reply { route },
        Action::Forward { targets, total_weight } => {
            let cluster = choose(worker, targets, *total_weight);
            write_request_head(out, &head, &edits(site, origin, &head));
            Plan::Forward { cluster: Rc::clone(&view.clusters[cluster]), route }
        }
    };
    Ok(Some((facts, plan)))
}

/// The route number of a request that none matched: its head is whole, so the
/// connection can go on after the 404.
pub(super) const NO_ROUTE: usize = usize::MAX;

/// The same host and target by https. All of it came through the parser: no byte in it could
/// end the field.
fn write_https_location(
    out: &mut Vec<u8>,
    redirect: HttpsRedirect,
    host: &str,
    head: &RequestHead<'_>,
) {
    let (name, _) = split_port(host);
    out.extend_from_slice(b"https://");
    out.extend_from_slice(name.as_bytes());
    if redirect.port != 443 {
        out.extend_from_slice(format!(":{}", redirect.port).as_bytes());
    }
    let path = head.target.path();
    out.extend_from_slice(if path.starts_with('/') { path.as_bytes() } else { b"/" });
    if let Some(query) = head.target.query() {
        out.push(b'?');
        out.extend_from_slice(query.as_bytes());
    }
}

fn edits<'a>(site: &HttpSite, origin: &'a Origin, head: &RequestHead<'a>) -> RequestEdits<'a> {
    let address = origin.address_text.as_str();
    RequestEdits {
        forwarded_for: (!address.is_empty()).then_some(address),
        forwarded_proto: Some(if origin.encrypted { "https" } else { "http" }),
        forwarded_host: head.host,
        trust_incoming_forwarded: site.trust_forwarded,
        upgrade: head.upgrade.is_some(),
        forward_expect: true,
        host_if_absent: "localhost",
        ..RequestEdits::default()
    }
}

/// Splits traffic by weight.
fn choose(worker: &Worker, targets: &[(usize, u32)], total_weight: u32) -> usize {
    let [(only, _)] = targets else {
        let mut ticket = worker.random_below(total_weight);
        let won = targets.iter().find(|(_, weight)| {
            let wins = ticket < *weight;
            ticket = ticket.saturating_sub(*weight);
            wins
        });
        return won.map_or(targets[0].0, |(cluster, _)| *cluster);
    };
    *only
}

/// Methods of which a repetition does nothing more (RFC 9110 section 9.2.2).
fn is_idempotent(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
}

/// The path of a written request head, for logs: without the query, which may hold secrets.
pub(super) fn line_for_logs(head: &[u8]) -> String {
    let line = head.split(|byte| matches!(byte, b'\r' | b'\n' | b'?')).next().unwrap_or_default();
    let shown = &line[..line.len().min(200)];
    String::from_utf8_lossy(shown).escape_debug().to_string()
}
