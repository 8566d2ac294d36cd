//! TLS on the TCP address, by a certificate that somebody renews.
//!
//! Its files are looked at when somebody connects, once a second at most. What cannot be
//! used leaves the certificate before in place.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bs9_config::Identity;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;

/// Between two looks at the files.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How hands are shaken with clients: TLS 1.2 and 1.3, HTTP/1.1 inside.
#[derive(Debug, Clone)]
pub(super) struct Sealing {
    config: Arc<ServerConfig>,
    shown: Arc<Shown>,
}

impl Sealing {
    /// # Errors
    ///
    /// The key does not fit its certificate.
    pub(super) fn new(identity: &Identity) -> io::Result<Self> {
        let shown = Arc::new(Shown::new(identity).map_err(unfit)?);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unfit)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), shown })
    }

    /// For a client that has just come.
    pub(super) async fn acceptor(&self) -> TlsAcceptor {
        if self.shown.is_due() {
            let shown = Arc::clone(&self.shown);
            if let Err(error) = tokio::task::spawn_blocking(move || shown.look()).await {
                tracing::error!(%error, "looking at the certificate did not finish");
            }
        }
        TlsAcceptor::from(Arc::clone(&self.config))
    }
}

fn unfit(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

/// The certificate that is shown.
#[derive(Debug)]
struct Shown(Mutex<Held>);

#[derive(Debug)]
struct Held {
    identity: Identity,
    certified: Arc<CertifiedKey>,
    /// Of both files, when they were last read.
    stamps: [Option<Stamp>; 2],
    look_at: Instant,
}

impl Shown {
    fn new(identity: &Identity) -> Result<Self, rustls::Error> {
        Ok(Self(Mutex::new(Held {
            certified: certified(identity)?,
            identity: identity.clone(),
            // What was read before may be what was there before.
            stamps: [None; 2],
            look_at: Instant::now(),
        })))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Each field is set whole, and none depends on another.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the files are to be looked at; then whoever asked is to do it.
    fn is_due(&self) -> bool {
        let (mut held, now) = (self.held(), Instant::now());
        let due = now >= held.look_at;
        if due {
            held.look_at = now + LOOK_INTERVAL;
        }
        due
    }

    /// Reads the files when they are not those that were read last. Waits for disks.
    fn look(&self) {
        let before = self.held().identity.clone();
        let stamps = [Stamp::of(&before.path), Stamp::of(&before.key_path)];
        if std::mem::replace(&mut self.held().stamps, stamps) == stamps {
            return;
        }
        let path = before.path.display();
        match before.read_again() {
            Ok(identity) if identity == before => {}
            Ok(identity) => match certified(&identity) {
                Ok(certified) => {
                    let mut held = self.held();
                    (held.identity, held.certified) = (identity, certified);
                    tracing::info!(%path, "the certificate of the admin address was renewed");
                }
                Err(error) => {
                    tracing::warn!(%path, %error, "the certificate of the admin address cannot be used; the one before still is");
                }
            },
            Err(stale) => {
                tracing::warn!(
                    path = %stale.path.display(),
                    error = stale.message,
                    "the certificate of the admin address cannot be used; the one before still is"
                );
            }
        }
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.held().certified))
    }
}

fn certified(identity: &Identity) -> Result<Arc<CertifiedKey>, rustls::Error> {
    let provider = aws_lc_rs::default_provider();
    let chain = identity.chain.to_vec();
    CertifiedKey::from_der(chain, identity.key.clone_key(), &provider).map(Arc::new)
}

/// What tells one content of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let file = fs::metadata(path).ok()?;
        Some(Self {
            device: file.dev(),
            inode: file.ino(),
            length: file.len(),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }
}
