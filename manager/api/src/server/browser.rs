//! Calls that a page in a browser makes.
//!
//! A browser says where a page comes from (`Origin`, RFC 6454; `Sec-Fetch-Site`,
//! Fetch Metadata). What another site's page asks for is refused, reads included.
//! A change has to carry a field that a page of another site cannot add without
//! asking first, which this server never allows.

use std::{collections::HashSet, net::IpAddr, sync::Arc};

use http::{HeaderMap, HeaderName, header};

use crate::error::{ApiError, ProblemCode};

/// What a page's own code adds to calls that change something.
pub const PAGE_FIELD: HeaderName = HeaderName::from_static("x-bs9-request");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Where pages may come from besides this server itself.
#[derive(Debug)]
pub(super) struct Origins {
    allowed: HashSet<Arc<str>>,
}

impl Origins {
    pub(super) fn new(allowed: &[Arc<str>]) -> Self {
        Self { allowed: allowed.iter().cloned().collect() }
    }

    /// Refuses what a page of another site has a browser call. Programs that are
    /// no browsers send none of the fields, and pass.
    pub(super) fn check(&self, changes: bool, headers: &HeaderMap) -> Result<(), ApiError> {
        let refuse = |reason: &str| Err(ApiError::new(ProblemCode::Forbidden, reason));
        let origin = text(headers, &header::ORIGIN);
        let site = text(headers, &FETCH_SITE);
        if origin.is_none() && site.is_none() {
            return Ok(());
        }
        let host = text(headers, &header::HOST).unwrap_or_default();
        let listed = origin.is_some_and(|origin| self.allowed.contains(origin));
        if !listed {
            if !self.names_this_server(host) {
                return refuse(
                    "a page reached this server by a name it does not go by; add its origin to admin.origins",
                );
            }
            if origin.is_some_and(|origin| !is_same(origin, host)) {
                return refuse("a page of another origin may not call; add it to admin.origins");
            }
            if site.is_some_and(|site| !["same-origin", "none"].contains(&site)) {
                return refuse("a page of another site may not call; add it to admin.origins");
            }
        }
        if changes && !headers.contains_key(PAGE_FIELD) {
            return refuse(
                "a page that changes something adds the field X-BS9-Request to its call",
            );
        }
        Ok(())
    }

    /// A name that somebody else's DNS can point here does not count (rebinding).
    fn names_this_server(&self, host: &str) -> bool {
        let name = without_port(host);
        let literal = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        let listed = || self.allowed.iter().any(|origin| is_same(origin, host));
        literal || name.eq_ignore_ascii_case("localhost") || listed()
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    // What is not text is no origin that could be allowed.
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

/// Whether `origin` is `host` behind a scheme.
fn is_same(origin: &str, host: &str) -> bool {
    let name = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    name.is_some_and(|name| name.eq_ignore_ascii_case(host))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => {
            name
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(fields: &[(&'static str, &'static str)], changes: bool) -> bool {
        let origins = Origins::new(&["https://ops.example.com".into()]);
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.insert(*name, value.parse().unwrap());
        }
        origins.check(changes, &headers).is_ok()
    }

    #[test]
    fn who_may_call_from_where() {
        let host = ("host", "127.0.0.1:9902");
        let own = ("origin", "http://127.0.0.1:9902");
        let ops = ("origin", "https://ops.example.com");
        let evil = ("origin", "https://evil.example");
        let token = ("x-bs9-request", "1");
        // Fields, whether a read is let through, whether a change is.
        let rows: [(&[_], bool, bool); 12] = [
            (&[host], true, true),
            (&[], true, true),
            (&[host, own], true, false),
            (&[host, own, token], true, true),
            (&[host, ops, token], true, true),
            (&[host, evil, token], false, false),
            (&[host, ("origin", "null"), token], false, false),
            (&[host, ("sec-fetch-site", "same-origin"), token], true, true),
            (&[host, ("sec-fetch-site", "none")], true, false),
            (&[host, ("sec-fetch-site", "cross-site"), token], false, false),
            (
                &[("host", "rebound.example"), ("origin", "http://rebound.example"), token],
                false,
                false,
            ),
            (&[("host", "[::1]:9902"), ("origin", "http://[::1]:9902"), token], true, true),
        ];
        for (fields, read, change) in rows {
            assert_eq!(allowed(fields, false), read, "read {fields:?}");
            assert_eq!(allowed(fields, true), change, "change {fields:?}");
        }
    }
}
