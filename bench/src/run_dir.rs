//! The folder of a run: configurations, logs, the PostgreSQL cluster.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tempfile::TempDir;

/// A temporary folder that other accounts (nginx's, postgres) may look into.
#[derive(Debug)]
pub(crate) struct RunDir {
    folder: TempDir,
}

impl RunDir {
    /// Makes the folder; `keep` leaves it behind at the end.
    pub(crate) fn create(keep: bool) -> anyhow::Result<Self> {
        let mut folder = tempfile::Builder::new()
            .prefix("bs9-bench-")
            .tempdir()
            .context("making the folder of the run")?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        folder.disable_cleanup(keep);
        Ok(Self { folder })
    }

    /// Writes a file anyone may read in a folder of its own.
    pub(crate) fn write_in(&self, folder: &str, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        fs::create_dir_all(self.path().join(folder))?;
        self.write(&format!("{folder}/{name}"), text)
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file anyone may read, and says where it is.
    pub(crate) fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.path().join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
        Ok(path)
    }
}

/// A loopback address that nobody listens on, chosen by the kernel.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("finding a free port")?;
    Ok(listener.local_addr()?)
}
