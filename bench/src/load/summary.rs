//! The line that generators of our own, and wrk by its script, end with.

use serde::{Deserialize, Serialize};

use super::{Latency, Load};

/// A run in one line of JSON; durations in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Summary {
    pub(crate) units: u64,
    pub(crate) errors: u64,
    pub(crate) elapsed: u64,
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    pub(crate) p99_9: u64,
}

impl Summary {
    /// The last line of `printed` that is one.
    pub(crate) fn find(printed: &str) -> Option<Load> {
        let line = |line: &str| serde_json::from_str::<Self>(line).ok();
        printed.lines().rev().find_map(line).map(Self::load)
    }

    fn load(self) -> Load {
        let seconds = |micros: u64| micros as f64 * 1e-6;
        Load {
            units: self.units,
            seconds: seconds(self.elapsed),
            errors: self.errors,
            latency: Latency {
                p50_seconds: seconds(self.p50),
                p90_seconds: seconds(self.p90),
                p99_seconds: seconds(self.p99),
                p99_9_seconds: seconds(self.p99_9),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_line_is_found_among_what_is_printed() {
        let printed = "Running 1s test\n  64 connections\n\
            {\"units\":359309,\"errors\":2,\"elapsed\":4010000,\"p50\":676,\"p90\":866,\
             \"p99\":1610,\"p99_9\":2500}\n";
        let load = Summary::find(printed).unwrap();
        assert_eq!((load.units, load.errors), (359_309, 2));
        assert!((load.seconds - 4.01).abs() < 1e-9);
        assert!((load.latency.p99_9_seconds - 2.5e-3).abs() < 1e-9);
        assert_eq!(Summary::find("unable to connect to 127.0.0.1:1 Connection refused\n"), None);
        assert_eq!(Summary::find(&printed.replace("p99_9", "p98")), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(?s).{0,300}") {
            let _ = Summary::find(&text);
        }
    }
}
