//! Requests by route: how many, how they ended, how long they took.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bs9_config::{HostMatch, HttpListener, PathMatch, RouteMatch};
use bs9_net::{Counter, PerShard};

use crate::response_times::{ResponseTimes, TimesReport};

/// What those are called that have no counts of their own.
const OTHER: &str = "other";

/// The counts of a listener's routes. They outlive reloads for as long as a route of this name
/// is there.
#[derive(Debug)]
pub(crate) struct RouteCounts {
    /// The first routes, in configuration order; at the end, the others.
    counts: Box<[Arc<RouteCount>]>,
    /// Of every route.
    names: Box<[Arc<str>]>,
}

/// One route's counts.
#[derive(Debug)]
pub(crate) struct RouteCount {
    name: Arc<str>,
    cells: PerShard<Cell>,
}

#[derive(Debug, Default)]
struct Cell {
    /// By class; 0: no response.
    responses: [Counter; 6],
    times: ResponseTimes,
}

/// What a route has counted.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteReport {
    /// Host and path; `other` for all that have no counts of their own.
    pub route: Arc<str>,
    /// Without a response, 1xx, 2xx, 3xx, 4xx, 5xx.
    pub responses: [u64; 6],
    /// From the first byte of the request to the end of the response.
    pub times: TimesReport,
}

impl RouteCounts {
    pub(crate) fn new(http: &HttpListener, previous: Option<&Self>, shards: usize) -> Self {
        let mut same: HashMap<Arc<str>, usize> = HashMap::new();
        let names: Box<[Arc<str>]> = http
            .routes
            .iter()
            .map(|route| {
                let name: Arc<str> = name_of(&route.matches).into();
                let times = same.entry(Arc::clone(&name)).or_default();
                *times += 1;
                if *times == 1 { name } else { format!("{name}#{times}").into() }
            })
            .collect();
        let known: HashMap<&str, &Arc<RouteCount>> = previous
            .into_iter()
            .flat_map(|before| before.counts.iter())
            .map(|count| (&*count.name, count))
            .collect();
        let own = names.iter().take(http.max_route_metrics).map(|name| &**name);
        let counts = own.chain([OTHER]).map(|name| {
            known.get(name).map_or_else(
                || Arc::new(RouteCount { name: name.into(), cells: PerShard::new(shards) }),
                |known| Arc::clone(known),
            )
        });
        Self { counts: counts.collect(), names }
    }

    /// Where a route is counted; also what none took.
    #[inline]
    pub(crate) fn of(&self, route: usize) -> &RouteCount {
        &self.counts[route.min(self.counts.len() - 1)]
    }

    /// What a route is called in logs; empty: there is none of this number.
    pub(crate) fn name(&self, route: usize) -> &str {
        self.names.get(route).map_or("", |name| name)
    }

    pub(crate) fn reports(&self) -> impl Iterator<Item = RouteReport> {
        self.counts.iter().map(|count| count.report())
    }
}

impl RouteCount {
    #[inline]
    pub(crate) fn count(&self, shard: usize, status: u16, took: Duration) {
        let cell = &self.cells[shard];
        cell.responses[usize::from(status / 100).min(5)].increment();
        cell.times.add(took);
    }

    fn report(&self) -> RouteReport {
        let mut times = TimesReport::default();
        self.cells.iter().for_each(|cell| cell.times.report(&mut times));
        RouteReport {
            route: Arc::clone(&self.name),
            responses: std::array::from_fn(|class| {
                self.cells.sum(|cell| cell.responses[class].get())
            }),
            times,
        }
    }
}

/// Host and path, as the configuration has them.
fn name_of(matches: &RouteMatch) -> String {
    let host = match &matches.host {
        HostMatch::Any => "*".to_owned(),
        HostMatch::Exact(name) => name.to_string(),
        HostMatch::Wildcard(suffix) => format!("*.{suffix}"),
    };
    match &matches.path {
        PathMatch::Any => host,
        PathMatch::Prefix(path) => format!("{host}{path}"),
        PathMatch::Exact(path) => format!("{host}={path}"),
        PathMatch::Regex(regex) => format!("{host}~{regex}"),
    }
}
