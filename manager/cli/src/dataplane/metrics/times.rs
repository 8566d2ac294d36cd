//! Rate, errors and duration of routes, clusters and endpoints, in Prometheus' text format.
//!
//! Written by hand: the shards have counted in buckets already, which a recorder cannot be given.

use std::fmt::{Display, Write};

use bs9_proxy::{BOUNDS_SECONDS, RouteReport, TimesReport};

use crate::dataplane::{engines::Engines, view::View};

/// Classes of responses, as a route counts them.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// What has been asked for at least once.
pub(super) fn write(view: &View, engines: &Engines, out: &mut String) {
    let routes: Vec<_> = view
        .listener_reports()
        .iter()
        .flat_map(|report| {
            let of = |route| (Labels::new(&[("listener", &report.listener.name)]), route);
            engines.routes(report.listener.id).into_iter().map(of)
        })
        .filter(|(_, route)| route.times.count > 0)
        .map(|(labels, route)| (labels.and("route", &route.route), route))
        .collect();
    responses(&routes, out);
    let times: Vec<_> =
        routes.iter().map(|(labels, route)| (labels.clone(), &route.times)).collect();
    histogram(
        out,
        "bs9_route_request_seconds",
        "From the first byte of a request to the end of its response, by route.",
        &times,
    );
    let clusters = engines.cluster_times();
    let times: Vec<_> = clusters
        .iter()
        .filter(|cluster| cluster.times.count > 0)
        .map(|cluster| (Labels::new(&[("cluster", &cluster.name)]), &cluster.times))
        .collect();
    histogram(
        out,
        "bs9_cluster_response_seconds",
        "From sending a request to the head of its response, by cluster.",
        &times,
    );
    let endpoints: Vec<_> = clusters
        .iter()
        .flat_map(|cluster| {
            let of = |(address, times): &(String, TimesReport)| {
                let labels = Labels::new(&[("cluster", &cluster.name), ("endpoint", address)]);
                (labels, times.count, times.seconds)
            };
            cluster.endpoints.iter().map(of).collect::<Vec<_>>()
        })
        .collect();
    counter(
        out,
        "bs9_endpoint_responses_total",
        "Responses whose head arrived.",
        endpoints.iter().map(|(labels, count, _)| (labels.clone(), count)),
    );
    counter(
        out,
        "bs9_endpoint_response_seconds_total",
        "Time to the head of these responses.",
        endpoints.iter().map(|(labels, _, seconds)| (labels.clone(), seconds)),
    );
}

fn responses(routes: &[(Labels, RouteReport)], out: &mut String) {
    let counts = routes.iter().flat_map(|(labels, route)| {
        let counted = CLASSES.iter().zip(route.responses).filter(|(_, count)| *count > 0);
        counted.map(|(class, count)| (labels.and("class", class), count))
    });
    let help = "Requests by route and class of their response; none: they got none.";
    counter(out, "bs9_route_responses_total", help, counts);
}

/// `name="value"` pairs, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Labels(String);

impl Labels {
    fn new(pairs: &[(&str, &str)]) -> Self {
        pairs.iter().fold(Self(String::new()), |labels, (name, value)| labels.and(name, value))
    }

    fn and(&self, name: &str, value: &str) -> Self {
        let comma = if self.0.is_empty() { "" } else { "," };
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        Self(format!("{}{comma}{name}=\"{value}\"", self.0))
    }
}

fn counter(
    out: &mut String,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (Labels, impl Display)>,
) {
    head(out, name, help, "counter");
    for (labels, value) in values {
        line(out, name, &labels, value);
    }
    out.push('\n');
}

fn histogram(out: &mut String, name: &str, help: &str, times: &[(Labels, &TimesReport)]) {
    head(out, name, help, "histogram");
    for (labels, report) in times {
        for (bound, count) in BOUNDS_SECONDS.iter().zip(report.up_to) {
            line(out, &format!("{name}_bucket"), &labels.and("le", &bound.to_string()), count);
        }
        line(out, &format!("{name}_bucket"), &labels.and("le", "+Inf"), report.count);
        line(out, &format!("{name}_sum"), labels, report.seconds);
        line(out, &format!("{name}_count"), labels, report.count);
    }
    out.push('\n');
}

fn head(out: &mut String, name: &str, help: &str, kind: &str) {
    // Writing to a string does not fail.
    let _infallible = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(out: &mut String, name: &str, labels: &Labels, value: impl Display) {
    let _infallible = writeln!(out, "{name}{{{}}} {value}", labels.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_as_prometheus_reads_it() {
        let mut times = TimesReport { count: 3, seconds: 12.5, ..TimesReport::default() };
        times.up_to[13] = 2;
        let labels = Labels::new(&[("route", "a\"b\\c")]);
        let mut out = String::new();
        histogram(&mut out, "t_seconds", "Help.", &[(labels, &times)]);
        assert!(out.starts_with("# HELP t_seconds Help.\n# TYPE t_seconds histogram\n"), "{out}");
        let end = "t_seconds_bucket{route=\"a\\\"b\\\\c\",le=\"10\"} 2\n\
                   t_seconds_bucket{route=\"a\\\"b\\\\c\",le=\"+Inf\"} 3\n\
                   t_seconds_sum{route=\"a\\\"b\\\\c\"} 12.5\n\
                   t_seconds_count{route=\"a\\\"b\\\\c\"} 3\n\n";
        assert!(out.ends_with(end), "{out}");
        assert!(out.contains("le=\"0.0005\"} 0\n"), "{out}");
    }
}
