//! Finding the routes of a host.

use std::ops::ControlFlow;

use rustc_hash::FxHashMap;

use super::error::RouteError;
use super::path::{Paths, PathsBuilder};
use super::spec::{HostMatch, RouteSpec};

/// Longest host name that is looked up, as in DNS. Longer ones are only matched by routes for any
/// host.
const MAX_NAME_BYTES: usize = 255;

/// Whether a route can be for this host: a name or an address in brackets, without a port.
pub(super) fn is_name(name: &str) -> bool {
    let brackets = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(address) = brackets {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let name_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~');
    name.len() <= MAX_NAME_BYTES
        && name.split('.').all(|label| !label.is_empty() && label.bytes().all(name_byte))
}

/// A host as asked for, in lower case, without port and final dot.
struct HostName {
    bytes: [u8; MAX_NAME_BYTES],
    len: usize,
}

impl HostName {
    /// `None` for what is no host name.
    #[inline]
    fn new(host: &str) -> Option<Self> {
        let name = match host.rfind(']') {
            Some(bracket) => &host[..=bracket],
            None => &host[..memchr::memchr(b':', host.as_bytes()).unwrap_or(host.len())],
        };
        let name = name.strip_suffix('.').unwrap_or(name).as_bytes();
        let mut bytes = [0; MAX_NAME_BYTES];
        let room = bytes.get_mut(..name.len())?;
        room.copy_from_slice(name);
        room.make_ascii_lowercase();
        Some(Self { bytes, len: name.len() })
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The routes of all hosts.
#[derive(Debug)]
pub(super) struct Hosts {
    exact: FxHashMap<Box<[u8]>, Paths>,
    /// By suffix, without `*.`.
    wildcard: FxHashMap<Box<[u8]>, Paths>,
    /// The most labels that a suffix in `wildcard` has. No longer suffix of a name is looked up.
    wildcard_labels: usize,
    any: Option<Paths>,
}

impl Hosts {
    /// Calls `visit` with the routes of every matching host, the most specific first.
    #[inline]
    pub(super) fn matching<R>(
        &self,
        host: Option<&str>,
        mut visit: impl FnMut(&Paths) -> ControlFlow<R>,
    ) -> ControlFlow<R> {
        if !(self.exact.is_empty() && self.wildcard.is_empty())
            && let Some(name) = host.and_then(HostName::new)
        {
            self.matching_name(name.as_bytes(), &mut visit)?;
        }
        match &self.any {
            Some(paths) => visit(paths),
            None => ControlFlow::Continue(()),
        }
    }

    fn matching_name<R>(
        &self,
        name: &[u8],
        visit: &mut impl FnMut(&Paths) -> ControlFlow<R>,
    ) -> ControlFlow<R> {
        if let Some(paths) = self.exact.get(name) {
            visit(paths)?;
        }
        if self.wildcard.is_empty() {
            return ControlFlow::Continue(());
        }
        self.matching_wildcards(name, visit)
    }

    fn matching_wildcards<R>(
        &self,
        name: &[u8],
        visit: &mut impl FnMut(&Paths) -> ControlFlow<R>,
    ) -> ControlFlow<R> {
        // At least one label stands for the `*`.
        let labels = memchr::memchr_iter(b'.', name).count();
        let too_long = labels.saturating_sub(self.wildcard_labels);
        for dot in memchr::memchr_iter(b'.', name).skip(too_long) {
            if dot > 0
                && let Some(paths) = self.wildcard.get(&name[dot + 1..])
            {
                visit(paths)?;
            }
        }
        ControlFlow::Continue(())
    }
}

/// Collects routes by host.
#[derive(Debug, Default)]
pub(super) struct HostsBuilder {
    by_host: FxHashMap<HostMatch, PathsBuilder>,
}

impl HostsBuilder {
    pub(super) fn add(&mut self, index: usize, spec: &RouteSpec) -> Result<(), RouteError> {
        self.by_host.entry(spec.host.clone()).or_default().add(index, spec)
    }

    pub(super) fn build(self) -> Result<Hosts, RouteError> {
        let mut hosts = Hosts {
            exact: FxHashMap::default(),
            wildcard: FxHashMap::default(),
            wildcard_labels: 0,
            any: None,
        };
        for (host, paths) in self.by_host {
            let paths = paths.build()?;
            match host {
                HostMatch::Any => hosts.any = Some(paths),
                HostMatch::Exact(name) => {
                    hosts.exact.insert(name.into_bytes().into_boxed_slice(), paths);
                }
                HostMatch::Wildcard(suffix) => {
                    hosts.wildcard_labels = hosts.wildcard_labels.max(suffix.split('.').count());
                    hosts.wildcard.insert(suffix.into_bytes().into_boxed_slice(), paths);
                }
            }
        }
        Ok(hosts)
    }
}
