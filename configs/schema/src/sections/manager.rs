//! The whole of `manager.toml`.

use super::{DAY, MILLISECOND, MINUTE, SECOND, admin::manager_admin};
use crate::{
    address,
    model::{DataPlaneLink, History, ManagerConfig},
    read::{Key, Scope, duration, table, text},
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
    let history = t.section(Key::new("history", "Statistics kept in memory."), table(history));
    Some(ManagerConfig {
        sources: Vec::new(),
        admin: admin?,
        dataplane: dataplane?,
        history: history?,
    })
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
        Key::new("keep", "How far back; at most 100,000 samples."),
        duration(SECOND..=7 * DAY),
        "15m",
    );
    let resolution = t.or(
        Key::new("resolution", "Between two kept samples."),
        duration(100 * MILLISECOND..=DAY),
        "1s",
    );
    let (name, message) = if resolution > keep {
        ("resolution", "`resolution` is longer than `keep`")
    } else if keep.as_nanos() / resolution.as_nanos() > MAX_SAMPLES {
        ("keep", "`keep` at this `resolution` is more than 100,000 samples")
    } else {
        return Some(History { keep, resolution });
    };
    let spot = t.key_spot(name).unwrap_or(t.spot());
    t.reader().push(
        Finding::error(message)
            .at(spot, &t.path_of(name))
            .hint("keep less, or at a coarser resolution"),
    );
    None
}
