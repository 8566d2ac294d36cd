//! From a request's head to what is to be done with it.

use std::{net::IpAddr, rc::Rc};

use bs9_config::{ForwardedField, HttpsRedirect, PathNormalization};

use super::{
    client::{Origin, Told},
    failure::Failure,
};
use crate::{
    cluster::{Affinity, ShardCluster},
    http1::{
        BodyFraming, HeaderStorage, Parsed, RequestEdits, RequestError, RequestHead, ResponseTo,
        Version, authority::split_port, parse_request, write_request_head,
    },
    part::{Action, HttpSite, Route},
    policy::{Draft, RequestParts},
    route::{self, Fields, NormalPath, normalize},
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
    /// Whether its method may be sent twice, as its route says.
    pub(super) repeatable: bool,
    /// The client of a trusted proxy; `None`: the peer is the client.
    pub(super) client: Option<IpAddr>,
    /// Which endpoint it should go to, where that depends on the request.
    pub(super) affinity: Affinity,
}

/// What is to be done with a request.
pub(crate) enum Plan {
    /// Its head for the endpoint has been written.
    Forward { cluster: Rc<ShardCluster>, route: usize },
    /// Answered by the proxy; the number is the route's.
    Reply { route: usize },
    /// Refused: the client may not take its route.
    Refuse { route: usize },
    /// The client is sent to another place, which has been written. Without a number no route
    /// takes it, and the place is the same by https.
    Redirect { route: Option<usize>, status: u16 },
}

/// Parses the head at the start of `bytes`, finds its route and writes the head for the
/// endpoint into `out`. `None`: the head is not complete yet.
///
/// Not async: what parsing needs on the stack never becomes part of a connection.
pub(crate) fn plan(
    worker: &Rc<Worker>,
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
    let mut facts = Facts {
        head_len: head.head_len,
        framing: head.framing,
        version: head.version,
        keep_alive: head.keep_alive,
        response_to: head.response_to(),
        expects_continue: head.expect_continue,
        repeatable: false,
        client: None,
        affinity: Affinity::default(),
    };
    let source = origin.source(site, &head);
    if origin.trusted {
        facts.client = source.address;
        let gate = site.gate.as_ref();
        if source.address.is_some_and(|client| gate.is_some_and(|gate| !gate.admits(client))) {
            return Err(Failure::AddressDenied);
        }
    }
    let sent = head.target.path();
    let normal = normal_form(site, sent)?;
    let parts = RequestParts {
        encrypted: is_encrypted(site, origin, source.proto, &head),
        host: head.host,
        path: normal.as_ref().map_or(sent, |normal| &normal.decided),
        query: head.target.query(),
    };
    let found = site.table.lookup(&route::Request {
        host: head.host,
        path: parts.path,
        query: parts.query,
        method: head.method,
        fields: &head,
    });
    let Some(number) = found else {
        if let (Some(redirect), Some(host)) = (site.https_redirect, head.host) {
            write_https_location(out, redirect, host, &head);
            return Ok(Some((facts, Plan::Redirect { route: None, status: redirect.status })));
        }
        return Ok(Some((facts, Plan::Reply { route: NO_ROUTE })));
    };
    let route = &site.routes[number];
    if let (Some(gate), Some(client)) = (&route.gate, source.address)
        && !gate.admits(client)
    {
        return Ok(Some((facts, Plan::Refuse { route: number })));
    }
    let plan = match &route.action {
        Action::Reply(_) => Plan::Reply { route: number },
        Action::Redirect(redirect) => {
            redirect.write(&parts, out).map_err(|_| Failure::Request(RequestError::InvalidHost))?;
            Plan::Redirect { route: Some(number), status: redirect.status }
        }
        Action::Forward(split) => {
            let cluster = split.choose(&head, |bound| worker.random_below(bound));
            let cluster = &view.clusters[cluster];
            facts.repeatable = route.retry.allows(head.method);
            facts.affinity = cluster.cluster.affinity(&head, source.address);
            let told = Told::new(site, origin, &source, &head);
            let edits = edits(site, origin, &told, &head);
            let forwarded = normal.as_ref().and_then(|normal| forwarded(site, normal));
            if route.policy.leaves_requests() && forwarded.is_none() {
                write_request_head(out, &head, &edits);
            } else {
                write_changed_head(worker, route, &head, &parts, forwarded, edits, out)?;
            }
            Plan::Forward { cluster: Rc::clone(cluster), route: number }
        }
    };
    Ok(Some((facts, plan)))
}

/// Whether the client speaks TLS: with the proxy, or with a trusted one before it.
#[inline]
fn is_encrypted(
    site: &HttpSite,
    origin: &Origin,
    proto: Option<&str>,
    head: &RequestHead<'_>,
) -> bool {
    if !(origin.trusted || site.trust_forwarded) {
        return origin.encrypted;
    }
    let told = match site.forwarded_field {
        ForwardedField::Forwarded => proto.map(str::as_bytes),
        ForwardedField::XForwardedFor => head.header("x-forwarded-proto"),
    };
    told.map_or(origin.encrypted, |proto| proto.eq_ignore_ascii_case(b"https"))
}

/// Another form of the path, if routes are to look at that.
#[inline]
fn normal_form(site: &HttpSite, path: &str) -> Result<Option<NormalPath>, Failure> {
    if site.normalization == PathNormalization::Off {
        return Ok(None);
    }
    normalize(path).map_err(|_| Failure::Request(RequestError::InvalidTarget))
}

/// The path that goes on, if it is not the one that was sent.
fn forwarded<'n>(site: &HttpSite, normal: &'n NormalPath) -> Option<&'n str> {
    match site.normalization {
        PathNormalization::MergeSlashes => Some(&normal.decided),
        _ => normal.with_slashes.as_deref(),
    }
}

/// Writes the head for an endpoint that is asked for something else than the client asked for.
fn write_changed_head<'a>(
    worker: &Rc<Worker>,
    route: &'a Route,
    head: &RequestHead<'a>,
    parts: &RequestParts<'_>,
    path: Option<&str>,
    edits: RequestEdits<'a>,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    let mut text = worker.scratch();
    let mut draft = Draft::new(&mut text.bytes);
    if let Some(path) = path {
        draft.set_path(parts.query, |out| out.extend_from_slice(path.as_bytes()));
    }
    let applied = route.policy.apply(parts, &mut draft);
    applied.map_err(|_| Failure::Request(RequestError::InvalidHost))?;
    let changed = RequestEdits {
        path_override: draft.path(),
        host_override: draft.host(),
        set: draft.fields.map_or(edits.set, |fields| fields.lines()),
        remove: draft.fields.map_or(edits.remove, |fields| fields.remove()),
        ..edits
    };
    write_request_head(out, head, &changed);
    Ok(())
}

impl Fields for RequestHead<'_> {
    fn any(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let mut named = self.headers().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        named.any(|(_, value)| test(value))
    }
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

fn edits<'a>(
    site: &HttpSite,
    origin: &'a Origin,
    told: &'a Told<'a>,
    head: &RequestHead<'a>,
) -> RequestEdits<'a> {
    let believed = origin.trusted || site.trust_forwarded;
    let standard = site.forwarded_field == ForwardedField::Forwarded;
    let client = told.client.as_deref().unwrap_or(&origin.address_text);
    RequestEdits {
        forwarded_for: (!client.is_empty()).then_some(client),
        forwarded_proto: Some(told.proto),
        forwarded_host: told.host,
        trust_incoming_forwarded: believed && !standard,
        keep_forwarded: if standard { believed } else { site.trust_forwarded },
        forwarded_element: told.element.as_deref(),
        upgrade: head.upgrade.is_some(),
        forward_expect: true,
        host_if_absent: "localhost",
        ..RequestEdits::default()
    }
}

/// The path of a written request head, for logs: without the query, which may hold secrets.
pub(super) fn line_for_logs(head: &[u8]) -> String {
    let line = head.split(|byte| matches!(byte, b'\r' | b'\n' | b'?')).next().unwrap_or_default();
    let shown = &line[..line.len().min(200)];
    String::from_utf8_lossy(shown).escape_debug().to_string()
}
