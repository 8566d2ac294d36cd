//! What a change of the configuration did, in lines for people.

use bs9_config::{Changes, Difference};
use bs9_net::ReloadSummary;

/// Settings that a running process keeps.
const FIXED: [&str; 3] = ["shards", "pin", "buffer_size"];

/// A line for everything that came, went or changed.
pub(super) fn lines(difference: &Difference, summary: &ReloadSummary) -> Vec<String> {
    let mut lines = Vec::new();
    let live = difference.runtime.iter().filter(|key| !FIXED.contains(key));
    lines.extend(live.map(|key| format!("runtime.{key} changed")));
    name_all(&mut lines, "listener", &difference.listeners);
    name_all(&mut lines, "cluster", &difference.clusters);
    if difference.postgres {
        lines.push("postgres changed".to_owned());
    }
    name_all(&mut lines, "database", &difference.databases);
    name_all(&mut lines, "user", &difference.users);
    lines.extend(summary.opened.iter().map(|address| format!("now listening on {address}")));
    lines.extend(summary.closed.iter().map(|address| format!("no longer listening on {address}")));
    lines
}

/// A line for everything that waits for a new process.
pub(super) fn warnings(difference: &Difference) -> Vec<String> {
    let fixed = difference.runtime.iter().filter(|key| FIXED.contains(key));
    let mut warnings: Vec<_> = fixed
        .map(|key| format!("runtime.{key} takes effect when the data plane is started anew"))
        .collect();
    if difference.admin {
        warnings.push("[admin] takes effect when the data plane is started anew".to_owned());
    }
    warnings
}

fn name_all(lines: &mut Vec<String>, what: &str, changes: &Changes) {
    let kinds =
        [("added", &changes.added), ("changed", &changes.changed), ("removed", &changes.removed)];
    for (kind, names) in kinds {
        lines.extend(names.iter().map(|name| format!("{what} {name} {kind}")));
    }
}

#[cfg(test)]
mod tests {
    use bs9_config::{difference, parse_str};

    use super::*;

    #[test]
    fn what_waits_for_a_new_process_is_a_warning() {
        let old =
            parse_str("a.toml", "[runtime]\nshards = 1\n[clusters.api]\nendpoints = []\n").unwrap();
        let new = parse_str(
            "a.toml",
            "[runtime]\nshards = 2\ndrain_timeout = \"9s\"\n[clusters.web]\nendpoints = []\n",
        )
        .unwrap();
        let difference = difference(&old, &new);
        assert_eq!(
            warnings(&difference),
            ["runtime.shards takes effect when the data plane is started anew"]
        );
        assert_eq!(
            lines(&difference, &ReloadSummary::default()),
            ["runtime.drain_timeout changed", "cluster web added", "cluster api removed"]
        );
    }
}
