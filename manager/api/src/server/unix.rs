//! The admin socket in the file system.
//!
//! The folder is locked (`flock(2)`) while a socket in it is taken or removed, so
//! that of two programs starting at once one wins and the other is told.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
            net::UnixListener,
        },
    },
    path::{Path, PathBuf},
};

use socket2::{Domain, SockAddr, Socket, Type};

use super::BindError;

/// Connections the kernel holds until they are accepted.
const BACKLOG: i32 = 128;
/// Of a folder that is made for the socket.
const FOLDER_MODE: u32 = 0o700;
const SOCKET_MODE: u32 = 0o600;
/// Of a folder and a socket that other users come to as well.
const OPEN_FOLDER_MODE: u32 = 0o711;
const OPEN_SOCKET_MODE: u32 = 0o666;

/// Who may connect; what they may do is decided later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Visitors {
    /// Root and the user this process runs as.
    OwnUser,
    /// Everybody, as some other users are listed.
    Listed,
}

/// A listening Unix socket.
#[derive(Debug)]
pub(super) struct BoundSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Of a socket that was made here; another's stays where it is.
    file: Option<SocketFile>,
}

impl BoundSocket {
    /// Makes the folder if it is missing, replaces the socket of a process that
    /// is gone, and listens.
    pub(super) fn bind(path: &Path, visitors: Visitors) -> Result<Self, BindError> {
        let (folder_mode, socket_mode) = match visitors {
            Visitors::OwnUser => (FOLDER_MODE, SOCKET_MODE),
            Visitors::Listed => (OPEN_FOLDER_MODE, OPEN_SOCKET_MODE),
        };
        let folder = make_and_lock_folder(path, folder_mode)?;
        clear_the_way(path)?;
        let unix = |source| BindError::Unix { path: path.to_owned(), source };
        let listener = listen(path, socket_mode).map_err(unix)?;
        let file = SocketFile::of(path).map_err(unix)?;
        drop(folder);
        Ok(Self { listener, path: path.to_owned(), file: Some(file) })
    }

    /// Takes a socket that the service manager made at `path` and listens on.
    pub(super) fn adopt(
        listener: UnixListener,
        path: &Path,
        visitors: Visitors,
    ) -> Result<Self, BindError> {
        let open = match visitors {
            // Who it is for, the service manager has decided.
            Visitors::OwnUser => Ok(()),
            Visitors::Listed => fs::set_permissions(path, Permissions::from_mode(OPEN_SOCKET_MODE)),
        };
        open.and_then(|()| listener.set_nonblocking(true))
            .map_err(|source| BindError::Unix { path: path.to_owned(), source })?;
        Ok(Self { listener, path: path.to_owned(), file: None })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn into_parts(self) -> (UnixListener, Option<SocketFile>) {
        (self.listener, self.file)
    }
}

/// The socket's file; dropping it removes the file unless another program's
/// stands there by now.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() })
    }

    fn is_still_there(&self) -> bool {
        fs::symlink_metadata(&self.path)
            .is_ok_and(|now| now.dev() == self.device && now.ino() == self.inode)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Without a folder there is nothing to remove.
        let _folder = lock(folder_of(&self.path));
        if self.is_still_there()
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the admin socket");
        }
    }
}

/// Makes the folder of `path` if it is missing, and locks it.
fn make_and_lock_folder(path: &Path, mode: u32) -> Result<File, BindError> {
    let folder = folder_of(path);
    let made = DirBuilder::new().recursive(true).mode(mode).create(folder);
    made.and_then(|()| lock(folder))
        .map_err(|source| BindError::Folder { path: folder.to_owned(), source })
}

/// Locks `folder`; the lock goes with the handle.
fn lock(folder: &Path) -> io::Result<File> {
    let handle = File::open(folder)?;
    handle.lock()?;
    Ok(handle)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Removes the socket of a process that is gone; refuses when it is not gone, or
/// when the file is no socket at all.
fn clear_the_way(path: &Path) -> Result<(), BindError> {
    let unix = |source| BindError::Unix { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unix(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(BindError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match probe(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!(path = %path.display(), "replacing the admin socket of a process that is gone");
            fs::remove_file(path).map_err(unix)
        }
        // A full accept queue: somebody listens, however slowly.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(BindError::InUse { path: path.to_owned() })
        }
        Err(error) => Err(unix(error)),
        Ok(()) => Err(BindError::InUse { path: path.to_owned() }),
    }
}

/// Connects without waiting.
fn probe(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)
}

fn listen(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // The file gets the mode the socket has when it is bound (unix(7), Linux):
    // there is no moment in which others could connect.
    let socket = File::from(OwnedFd::from(socket));
    socket.set_permissions(Permissions::from_mode(mode))?;
    let socket = Socket::from(OwnedFd::from(socket));
    socket.bind(&SockAddr::unix(path)?)?;
    // The umask has taken away what others are to have: giving it back is safe at
    // any time.
    let opened = match mode {
        OPEN_SOCKET_MODE => fs::set_permissions(path, Permissions::from_mode(mode)),
        _ => Ok(()),
    };
    if let Err(error) = opened.and_then(|()| socket.listen(BACKLOG)) {
        // Best effort: the error that counts is the one being returned.
        let _ = fs::remove_file(path);
        return Err(error);
    }
    Ok(OwnedFd::from(socket).into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/bs9/admin.sock");
        (folder, path)
    }

    fn bind(path: &Path) -> Result<BoundSocket, BindError> {
        BoundSocket::bind(path, Visitors::OwnUser)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn folder_and_socket_are_private() {
        let (_folder, path) = place();
        let _bound = bind(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn with_visitors_everybody_can_connect_and_credentials_decide() {
        let (_folder, path) = place();
        let _bound = BoundSocket::bind(&path, Visitors::Listed).unwrap();
        assert_eq!(mode(&path), 0o666);
        assert_eq!(mode(path.parent().unwrap()), 0o711);
    }

    #[test]
    fn a_live_socket_is_left_alone() {
        let (_folder, path) = place();
        let _bound = bind(&path).unwrap();
        assert!(matches!(bind(&path), Err(BindError::InUse { .. })));
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn the_socket_of_a_dead_process_is_replaced() {
        let (_folder, path) = place();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // std leaves the file behind, as a killed process does.
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let _bound = bind(&path).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_file_that_is_no_socket_is_never_touched() {
        let (_folder, path) = place();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(matches!(bind(&path), Err(BindError::NotASocket { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn the_file_goes_with_its_socket() {
        let (_folder, path) = place();
        drop(bind(&path).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_of_the_service_manager_stays_when_it_is_given_up() {
        let (_folder, path) = place();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let made = UnixListener::bind(&path).unwrap();
        let handed = made.try_clone().unwrap();
        let adopted = BoundSocket::adopt(handed, &path, Visitors::Listed).unwrap();
        assert_eq!((adopted.path(), mode(&path)), (path.as_path(), 0o666));
        drop(adopted);
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_folder_that_is_gone_stays_gone() {
        let (folder, path) = place();
        let bound = bind(&path).unwrap();
        folder.close().unwrap();
        drop(bound);
        assert!(!path.parent().unwrap().exists());
    }

    #[test]
    fn anothers_socket_stays() {
        let (_folder, path) = place();
        let first = bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let second = bind(&path).unwrap();
        drop(first);
        UnixStream::connect(&path).unwrap();
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x".repeat(120));
        assert!(matches!(bind(&path), Err(BindError::Unix { .. })));
    }
}
