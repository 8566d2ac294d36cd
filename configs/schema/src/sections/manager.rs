//! The whole of `manager.toml`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{MILLISECOND, MINUTE, admin::manager_admin, history::history};
use crate::{
    address,
    model::{Audit, Collect, DataPlaneLink, Events, ManagerConfig, ServicesPlace},
    read::{Fault, Format, Key, Scope, absolute, duration, integer, list, size, table, text},
};

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
        Key::new("history", "What is remembered: recent points in memory, series that last."),
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
