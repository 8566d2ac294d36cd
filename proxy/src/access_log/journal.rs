//! systemd's journal, by its native protocol: a datagram for each line
//! (systemd.io/JOURNAL_NATIVE_PROTOCOL).

use std::{
    io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
};

/// Where the journal listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// Fields of every entry: informational, and whose it is.
const FIELDS: &[u8] = b"PRIORITY=6\nSYSLOG_IDENTIFIER=bs9\nBS9_LOG=access\nMESSAGE=";

/// A way to the journal.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    socket: UnixDatagram,
    entry: Vec<u8>,
}

impl Journal {
    /// # Errors
    /// When nobody listens there.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        Ok(Self { path: path.to_owned(), socket, entry: Vec::new() })
    }

    /// Sends each line; they hold no line ends inside, which would need another form.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            self.entry.clear();
            self.entry.extend_from_slice(FIELDS);
            self.entry.extend_from_slice(line);
            if self.socket.send(&self.entry).is_err() {
                // The journal may have been restarted.
                self.reopen()?;
                self.socket.send(&self.entry)?;
            }
        }
        Ok(())
    }

    pub(super) fn reopen(&mut self) -> io::Result<()> {
        self.socket.connect(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_an_entry_and_a_restart_is_survived() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        assert!(Journal::open(&path).is_err(), "nobody listens");
        let listening = UnixDatagram::bind(&path).unwrap();
        let mut journal = Journal::open(&path).unwrap();
        journal.write(b"one\ntwo\n").unwrap();
        let mut room = [0; 200];
        for expected in ["one", "two"] {
            let count = listening.recv(&mut room).unwrap();
            let entry = String::from_utf8(room[..count].to_vec()).unwrap();
            assert_eq!(
                entry,
                format!("PRIORITY=6\nSYSLOG_IDENTIFIER=bs9\nBS9_LOG=access\nMESSAGE={expected}\n")
            );
        }
        drop(listening);
        std::fs::remove_file(&path).unwrap();
        let again = UnixDatagram::bind(&path).unwrap();
        journal.write(b"three\n").unwrap();
        assert!(again.recv(&mut room).unwrap() > 0);
    }
}
