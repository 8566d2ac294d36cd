//! Histograms of the pools, in Prometheus' text format (exposition formats, version 0.0.4). They
//! are counted in buckets already, which no recorder takes.

use std::fmt::Write as _;

use bs9_api::types::{DurationHistogram, PoolStatus};

/// Name, help, and where it is found.
type Family = (&'static str, &'static str, fn(&PoolStatus) -> &DurationHistogram);

const FAMILIES: [Family; 3] = [
    ("bs9_pool_wait_duration_seconds", "Waits for a server connection.", |pool| &pool.wait_times),
    (
        "bs9_pool_query_duration_seconds",
        "Requests, from their first message to their ReadyForQuery.",
        |pool| &pool.query_times,
    ),
    ("bs9_pool_transaction_duration_seconds", "Transactions.", |pool| &pool.transaction_times),
];

/// Adds them to a text of metrics.
pub(super) fn append(text: &mut String, pools: &[PoolStatus]) {
    if pools.is_empty() {
        return;
    }
    for (name, help, of) in FAMILIES {
        // Writing to a string cannot fail.
        let _infallible = writeln!(text, "# HELP {name} {help}\n# TYPE {name} histogram");
        for pool in pools {
            let _infallible = one(text, name, pool, of(pool));
        }
        text.push('\n');
    }
}

fn one(
    text: &mut String,
    name: &str,
    pool: &PoolStatus,
    times: &DurationHistogram,
) -> std::fmt::Result {
    let labels =
        format!("database=\"{}\",user=\"{}\"", escaped(&pool.database), escaped(&pool.user));
    for bucket in &times.buckets {
        let (bound, count) = (bucket.at_most_seconds, bucket.count);
        writeln!(text, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}")?;
    }
    writeln!(text, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", times.count)?;
    writeln!(text, "{name}_sum{{{labels}}} {}", times.sum_seconds)?;
    writeln!(text, "{name}_count{{{labels}}} {}", times.count)
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use bs9_api::types::DurationBucket;

    use super::*;

    #[test]
    fn a_histogram_as_prometheus_reads_it() {
        let times = DurationHistogram {
            buckets: vec![DurationBucket { at_most_seconds: 0.5, count: 2 }],
            count: 3,
            sum_seconds: 1.25,
        };
        let pool = PoolStatus {
            database: "a\"b".to_owned(),
            user: "u".to_owned(),
            query_times: times,
            ..PoolStatus::default()
        };
        let mut text = String::new();
        append(&mut text, &[pool]);
        for line in [
            "# TYPE bs9_pool_query_duration_seconds histogram",
            r#"bs9_pool_query_duration_seconds_bucket{database="a\"b",user="u",le="0.5"} 2"#,
            r#"bs9_pool_query_duration_seconds_bucket{database="a\"b",user="u",le="+Inf"} 3"#,
            r#"bs9_pool_query_duration_seconds_sum{database="a\"b",user="u"} 1.25"#,
            r#"bs9_pool_query_duration_seconds_count{database="a\"b",user="u"} 3"#,
            r#"bs9_pool_wait_duration_seconds_count{database="a\"b",user="u"} 0"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
