//! The whole of `manager.toml`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{DAY, MILLISECOND, MINUTE, SECOND, admin::manager_admin};
use crate::{
    address,
    model::{
        Audit, Collect, DataPlaneLink, Events, History, HistoryStore, ManagerConfig, Retention,
        ServicesPlace,
    },
    read::{
        Fault, Format, Key, Scope, absolute, boolean, duration, integer, list, size, table, text,
    },
    report::Finding,
};

/// Samples of one series that are kept at most.
const MAX_SAMPLES: u128 = 100_000;

pub(crate) fn manager(t: &mut Scope<'_>) -> Option<ManagerConfig> {
    let admin = t.section(
        Key::new("admin", "Where the manager answers its admin API."),
        table(manager_admin),
    );
    let dataplane = t.section(
        Key::new("dataplane", "How the data plane is reached and watched."),
        table(dataplane),
    );
    let collect = t.section(
        Key::new("collect", "What of this machine and its units is measured."),
        table(collect),
    );
    let history = t.section(
        Key::new("history", "What is remembered: recent points in memory, series on disk."),
        table(history),
    );
    let events = t.section(Key::new("events", "What has happened."), table(events));
    let audit = t.section(
        Key::new("audit", "The log of every change made through the manager's admin API."),
        table(audit),
    );
    let services = t.section(
        Key::new("services", "The services it keeps running, one `NAME.toml` for each."),
        table(services),
    );
    let state_folder = t.optional(
        Key::new("state_folder", "Where history, events, the audit log and tokens are kept; it is made when it is missing. Absent: `$STATE_DIRECTORY`, which systemd sets, else `$XDG_STATE_HOME/bs9` (`~/.local/state/bs9`) in a user's session, else `/var/lib/bs9`."),
        path(),
    );
    Some(ManagerConfig {
        sources: Vec::new(),
        admin: admin?,
        dataplane: dataplane?,
        collect: collect?,
        history: history?,
        events: events?,
        audit: audit?,
        services: services?,
        state_folder,
    })
}

fn path() -> impl Format<Output = PathBuf> {
    text("a path", None, |path: &str, folder: &Path| Ok(absolute(folder, path)))
}

fn collect(t: &mut Scope<'_>) -> Option<Collect> {
    let units = t.optional(
        Key::new("units", "Which units are measured, by name: `*` stands for any characters, `?` for one. Absent: `[\"*.service\"]`; `[]`: none."),
        list(text("a unit's name or pattern such as \"web-*.service\"", None, unit_pattern)),
    );
    Some(Collect {
        interval: t.or(
            Key::new("interval", "Between the starts of two samples."),
            duration(100 * MILLISECOND..=MINUTE),
            "1s",
        ),
        units: units.unwrap_or_else(|| vec!["*.service".into()]),
        max_units: t.or(
            Key::new("max_units", "Units measured at most, in name order; the rest are counted."),
            integer(1..=10_000),
            500,
        ),
        cgroups: t
            .optional(
                Key::new(
                    "cgroups",
                    "Where the control groups are mounted. Absent: `/sys/fs/cgroup`.",
                ),
                path(),
            )
            .unwrap_or_else(|| "/sys/fs/cgroup".into()),
        proc: t
            .optional(
                Key::new("proc", "Where the kernel tells about processes. Absent: `/proc`."),
                path(),
            )
            .unwrap_or_else(|| "/proc".into()),
    })
}

fn unit_pattern(pattern: &str, _: &Path) -> Result<Arc<str>, Fault> {
    if pattern.is_empty() || pattern.len() > 255 || pattern.contains('/') {
        return Err(Fault::new(format!("`{pattern}` is not a unit's name or pattern"))
            .hint("write \"web.service\", or \"web-*.service\" for several"));
    }
    Ok(pattern.into())
}

fn services(t: &mut Scope<'_>) -> Option<ServicesPlace> {
    let folder = t.optional(
        Key::new("folder", "Where they are. Absent: `services` beside this file, else `bs9/services` in `$XDG_CONFIG_HOME`."),
        path(),
    );
    Some(ServicesPlace { folder })
}

fn dataplane(t: &mut Scope<'_>) -> Option<DataPlaneLink> {
    Some(DataPlaneLink {
        socket: t.optional(
            Key::new("socket", "The data plane's admin socket. Absent: `$XDG_RUNTIME_DIR/bs9/dataplane.sock`, else `/run/bs9/dataplane.sock`."),
            text("a path", None, |path: &str, folder| {
                address::socket_path(path.strip_prefix("unix:").unwrap_or(path), folder)
            }),
        ),
        poll_interval: t.or(
            Key::new("poll_interval", "Between the starts of two polls of the data plane."),
            duration(100 * MILLISECOND..=MINUTE),
            "1s",
        ),
        timeout: t.or(
            Key::new("timeout", "Limit of one call to the data plane's admin API."),
            duration(MILLISECOND..=MINUTE),
            "2s",
        ),
    })
}

fn history(t: &mut Scope<'_>) -> Option<History> {
    let keep = t.or(
        Key::new(
            "keep",
            "How far back the data plane's points in memory go; at most 100,000 of them.",
        ),
        duration(SECOND..=7 * DAY),
        "15m",
    );
    let resolution = t.or(
        Key::new("resolution", "Between two points in memory."),
        duration(100 * MILLISECOND..=DAY),
        "1s",
    );
    let persist =
        t.or(Key::new("persist", "Keep series on disk, in `[history.store]`."), boolean(), true);
    let store = t
        .section(Key::new("store", "Series on disk: an SQLite database of its own."), table(store));
    let store = store.filter(|_| persist);
    let (name, message) = if resolution > keep {
        ("resolution", "`resolution` is longer than `keep`")
    } else if keep.as_nanos() / resolution.as_nanos() > MAX_SAMPLES {
        ("keep", "`keep` at this `resolution` is more than 100,000 samples")
    } else {
        return Some(History { keep, resolution, store });
    };
    let spot = t.key_spot(name).unwrap_or(t.spot());
    t.reader().push(
        Finding::error(message)
            .at(spot, &t.path_of(name))
            .hint("keep less, or at a coarser resolution"),
    );
    None
}

fn store(t: &mut Scope<'_>) -> Option<HistoryStore> {
    let size_limit_bytes = t.or(
        Key::new(
            "size_limit",
            "Size of the database at most; the oldest points are given up first.",
        ),
        size(16 << 20..=1 << 40),
        "2GiB",
    );
    let max_series = t.or(
        Key::new("max_series", "Series kept at once; further ones are counted, not kept."),
        integer(1..=100_000),
        5_000,
    );
    let mut keep = |name, doc, default: &str| {
        t.or(Key::new(name, doc), duration(MINUTE..=3_650 * DAY), default)
    };
    let keep = Retention {
        second: keep("second", "How long points of one second are kept.", "2h"),
        ten_seconds: keep("ten_seconds", "How long points of ten seconds are kept.", "2d"),
        minute: keep("minute", "How long points of a minute are kept.", "30d"),
        hour: keep("hour", "How long points of an hour are kept.", "730d"),
    };
    Some(HistoryStore { size_limit_bytes, max_series, keep })
}

fn events(t: &mut Scope<'_>) -> Option<Events> {
    Some(Events {
        keep: t.or(
            Key::new("keep", "Events kept on disk; the newest 1,024 are in memory as well."),
            integer(1_024..=1_000_000),
            10_000,
        ),
    })
}

fn audit(t: &mut Scope<'_>) -> Option<Audit> {
    Some(Audit {
        size_limit_bytes: t.or(
            Key::new("size_limit", "Size of the log at most. It is written in files of 16 MiB; the oldest is given up first, which is recorded."),
            size(64 << 20..=1 << 40),
            "1GiB",
        ),
    })
}
