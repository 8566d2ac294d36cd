//! What the operating system lets a process have.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the limit of open files as far as this process may: a connection
/// takes two. Says so when it stays low.
pub(crate) fn raise_open_files() {
    const LOW: u64 = 4_096;
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
    match getrlimit(Resource::Nofile).current {
        Some(count) if count < LOW => tracing::warn!(
            limit = count,
            "few files may be open at once; raise LimitNOFILE= (systemd) or `ulimit -Hn`"
        ),
        limit => tracing::debug!(?limit, "open files"),
    }
}
