//! What a cluster did between two readings of the data plane's `/metrics`.

use std::collections::BTreeMap;

use bs9_api::types::{DurationBucket, DurationHistogram};
use serde::Serialize;

/// Counters of a cluster at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Counters {
    /// When the data plane started; another one means other counters.
    started: f64,
    times: DurationHistogram,
    endpoints: BTreeMap<String, Endpoint>,
    /// Responses of its route by class; `None` when no route of that name is counted.
    responses: Option<BTreeMap<String, f64>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Endpoint {
    requests: f64,
    failures: f64,
    weight: f64,
    draining: bool,
}

/// What a cluster did in the window.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Traffic {
    pub(super) cluster: String,
    /// Requests (HTTP) or connections (TCP) sent to its endpoints.
    pub(super) requests: u64,
    pub(super) requests_per_second: f64,
    /// From sending a request to the head of its response, by the bound of the
    /// histogram's bucket: at most this. Absent when no response was timed.
    pub(super) p50_seconds: Option<f64>,
    pub(super) p95_seconds: Option<f64>,
    pub(super) p99_seconds: Option<f64>,
    pub(super) mean_seconds: Option<f64>,
    /// Requests that failed before or in the response.
    pub(super) failures: u64,
    /// Responses of class 5xx on its route; absent when it has none of its own.
    pub(super) server_errors: Option<u64>,
    /// Failures, or responses of class 5xx where they are counted, of all.
    pub(super) error_ratio: Option<f64>,
    pub(super) endpoints: Vec<EndpointTraffic>,
}

/// What an endpoint did in the window.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct EndpointTraffic {
    pub(super) address: String,
    pub(super) requests: u64,
    /// Of the cluster's; absent when there were none.
    pub(super) share_ratio: Option<f64>,
    /// What its weight says it should have been.
    pub(super) fair_ratio: Option<f64>,
    pub(super) failures: u64,
}

impl Counters {
    /// What `text` says of a cluster, and of its route if it has one.
    pub(super) fn read(text: &str, cluster: &str, routes: &[String]) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let Some(Sample { name, labels, value }) = Sample::of(line) else { continue };
            let label = |name: &str| labels.iter().find(|(key, _)| *key == name).map(|(_, v)| v);
            if name == "bs9_process_start_time_seconds" {
                found.started = value;
            }
            if name == "bs9_route_responses_total"
                && label("route").is_some_and(|route| routes.contains(route))
                && let Some(class) = label("class")
            {
                let responses = found.responses.get_or_insert_default();
                *responses.entry(class.clone()).or_default() += value;
            }
            if label("cluster").is_none_or(|of| of != cluster) {
                continue;
            }
            match name {
                "bs9_cluster_response_seconds_bucket" => {
                    if let Some(bound) = label("le").and_then(|bound| bound.parse().ok())
                        && f64::is_finite(bound)
                    {
                        let count = value as u64;
                        found.times.buckets.push(DurationBucket { at_most_seconds: bound, count });
                    }
                }
                "bs9_cluster_response_seconds_count" => found.times.count = value as u64,
                "bs9_cluster_response_seconds_sum" => found.times.sum_seconds = value,
                _ => found.endpoint(name, label("endpoint"), value),
            }
        }
        found
    }

    fn endpoint(&mut self, name: &str, address: Option<&String>, value: f64) {
        let Some(address) = address else { return };
        let of = |endpoint: &mut Endpoint| match name {
            "bs9_endpoint_requests_total" => endpoint.requests = value,
            "bs9_endpoint_failures_total" => endpoint.failures = value,
            "bs9_endpoint_weight" => endpoint.weight = value,
            "bs9_endpoint_draining" => endpoint.draining = value > 0.0,
            _ => {}
        };
        of(self.endpoints.entry(address.clone()).or_default());
    }

    /// What was added since `before`.
    ///
    /// # Errors
    /// The two cannot be compared; the text says why.
    pub(super) fn since(
        &self,
        before: &Self,
        cluster: &str,
        seconds: f64,
    ) -> Result<Traffic, String> {
        if (self.started - before.started).abs() > f64::EPSILON {
            return Err("the data plane was restarted in the window".to_owned());
        }
        if self.endpoints.is_empty() {
            return Err(format!("the data plane has no endpoints in cluster {cluster}"));
        }
        let times = self.times.since(&before.times);
        let endpoints = self.endpoints_since(before);
        let requests: u64 = endpoints.iter().map(|one| one.requests).sum();
        let failures: u64 = endpoints.iter().map(|one| one.failures).sum();
        let answered = self.responses.as_ref().map(|now| {
            let earlier = |class: &str| {
                before.responses.as_ref().and_then(|all| all.get(class)).copied().unwrap_or(0.0)
            };
            let added = |(class, count): (&String, &f64)| (count - earlier(class)).max(0.0) as u64;
            let errors = now.get_key_value("5xx").map_or(0, added);
            (now.iter().map(added).sum::<u64>(), errors)
        });
        let ratio = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        Ok(Traffic {
            cluster: cluster.to_owned(),
            requests,
            requests_per_second: if seconds > 0.0 { requests as f64 / seconds } else { 0.0 },
            p50_seconds: times.quantile(0.50),
            p95_seconds: times.quantile(0.95),
            p99_seconds: times.quantile(0.99),
            mean_seconds: (times.count > 0).then(|| times.sum_seconds / times.count as f64),
            failures,
            server_errors: answered.map(|(_, errors)| errors),
            error_ratio: match answered {
                Some((whole, errors)) => ratio(errors, whole),
                None => ratio(failures, requests),
            },
            endpoints,
        })
    }

    fn endpoints_since(&self, before: &Self) -> Vec<EndpointTraffic> {
        // One that was made anew did all it counts since.
        let added = |now: f64, before: f64| (if now >= before { now - before } else { now }) as u64;
        let weights: f64 =
            self.endpoints.values().filter(|one| !one.draining).map(|o| o.weight).sum();
        let mut all: Vec<EndpointTraffic> = self
            .endpoints
            .iter()
            .map(|(address, now)| {
                let earlier = before.endpoints.get(address).copied().unwrap_or_default();
                EndpointTraffic {
                    address: address.clone(),
                    requests: added(now.requests, earlier.requests),
                    share_ratio: None,
                    fair_ratio: (!now.draining && weights > 0.0).then(|| now.weight / weights),
                    failures: added(now.failures, earlier.failures),
                }
            })
            .collect();
        let whole: u64 = all.iter().map(|one| one.requests).sum();
        if whole > 0 {
            for one in &mut all {
                one.share_ratio = Some(one.requests as f64 / whole as f64);
            }
        }
        all
    }
}

/// What a route to this is called in `/metrics`.
pub(super) fn route_names(route: &str) -> Vec<String> {
    let (host, path) = route.split_at(route.find('/').unwrap_or(route.len()));
    let host = if host.is_empty() { "*" } else { host };
    let mut names = vec![format!("{host}{path}")];
    if path == "/" {
        names.push(host.to_owned());
    }
    names
}

/// A line of Prometheus' text format.
struct Sample<'t> {
    name: &'t str,
    labels: Vec<(&'t str, String)>,
    value: f64,
}

impl<'t> Sample<'t> {
    /// `None`: a comment, or nothing that is understood.
    fn of(line: &'t str) -> Option<Self> {
        if line.starts_with('#') {
            return None;
        }
        let Some((name, rest)) = line.split_once('{') else {
            let (name, value) = line.split_once(' ')?;
            return Some(Self { name, labels: Vec::new(), value: value.trim().parse().ok()? });
        };
        let mut labels = Vec::new();
        let mut rest = rest;
        while !rest.starts_with('}') {
            let (key, quoted) = rest.split_once("=\"")?;
            let mut value = String::new();
            let mut characters = quoted.char_indices();
            let end = loop {
                match characters.next()? {
                    (at, '"') => break at,
                    (_, '\\') => value.push(match characters.next()?.1 {
                        'n' => '\n',
                        other => other,
                    }),
                    (_, other) => value.push(other),
                }
            };
            labels.push((key, value));
            rest = &quoted[end + 1..];
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        let value = rest.strip_prefix('}')?.trim().parse().ok()?;
        Some(Self { name, labels, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(requests: [u64; 2], fast: u64, all: u64, errors: u64, started: u64) -> String {
        format!(
            "# HELP x y\nbs9_process_start_time_seconds {started}\n\
             bs9_endpoint_requests_total{{cluster=\"api\",endpoint=\"a:1\"}} {}\n\
             bs9_endpoint_requests_total{{cluster=\"api\",endpoint=\"b:1\"}} {}\n\
             bs9_endpoint_requests_total{{cluster=\"web\",endpoint=\"c:1\"}} 5000\n\
             bs9_endpoint_weight{{cluster=\"api\",endpoint=\"a:1\"}} 1\n\
             bs9_endpoint_weight{{cluster=\"api\",endpoint=\"b:1\"}} 3\n\
             bs9_endpoint_failures_total{{cluster=\"api\",endpoint=\"a:1\"}} 1\n\
             bs9_cluster_response_seconds_bucket{{cluster=\"api\",le=\"0.005\"}} {fast}\n\
             bs9_cluster_response_seconds_bucket{{cluster=\"api\",le=\"0.1\"}} {all}\n\
             bs9_cluster_response_seconds_bucket{{cluster=\"api\",le=\"+Inf\"}} {all}\n\
             bs9_cluster_response_seconds_sum{{cluster=\"api\"}} 2.5\n\
             bs9_cluster_response_seconds_count{{cluster=\"api\"}} {all}\n\
             bs9_route_responses_total{{listener=\"web\",route=\"*/v1/\",class=\"2xx\"}} {all}\n\
             bs9_route_responses_total{{listener=\"web\",route=\"*/v1/\",class=\"5xx\"}} {errors}\n",
            requests[0], requests[1],
        )
    }

    #[test]
    fn differences_of_counters_and_buckets() {
        let routes = route_names("/v1/");
        let before = Counters::read(&text([10, 0], 10, 10, 0, 7), "api", &routes);
        let after = Counters::read(&text([70, 40], 105, 110, 25, 7), "api", &routes);
        let traffic = after.since(&before, "api", 10.0).unwrap();
        assert_eq!((traffic.requests, traffic.requests_per_second), (100, 10.0));
        assert_eq!((traffic.p50_seconds, traffic.p99_seconds), (Some(0.005), Some(0.1)));
        assert_eq!((traffic.failures, traffic.server_errors), (0, Some(25)));
        assert_eq!(traffic.error_ratio, Some(0.2));
        let [a, b] = &traffic.endpoints[..] else { panic!("{traffic:#?}") };
        assert_eq!((a.share_ratio, a.fair_ratio), (Some(0.6), Some(0.25)));
        assert_eq!((b.requests, b.fair_ratio), (40, Some(0.75)));

        // Without traffic there is no time, not a time of 0.
        let still = after.since(&after, "api", 10.0).unwrap();
        assert_eq!((still.p50_seconds, still.error_ratio, still.requests), (None, None, 0));
        let restarted = Counters::read(&text([1, 1], 1, 1, 0, 8), "api", &routes);
        assert!(restarted.since(&before, "api", 10.0).unwrap_err().contains("restarted"));
        let nobody = Counters::read("", "api", &routes);
        assert!(nobody.since(&nobody, "api", 10.0).unwrap_err().contains("no endpoints"));
    }

    #[test]
    fn routes_are_called_as_the_data_plane_calls_them() {
        assert_eq!(route_names("api.example.com/v1/"), ["api.example.com/v1/"]);
        assert_eq!(route_names("/"), ["*/", "*"]);
        assert_eq!(route_names("a.b/"), ["a.b/", "a.b"]);
    }

    #[test]
    fn lines_with_odd_values_are_read_and_broken_ones_are_not() {
        let sample = Sample::of("n{a=\"x\\\"y,z}\",b=\"\\\\\"} 3").unwrap();
        let labels: Vec<_> = sample.labels.iter().map(|(k, v)| (*k, v.as_str())).collect();
        assert_eq!((labels, sample.value), (vec![("a", "x\"y,z}"), ("b", "\\")], 3.0));
        for broken in ["", "#", "n", "n{", "n{a=\"", "n{a=\"x\" 1", "n{a=\"x\"} y", "n{a} 1"] {
            assert!(Sample::of(broken).is_none(), "{broken}");
        }
    }
}
