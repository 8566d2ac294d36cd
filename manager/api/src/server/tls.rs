//! TLS on the TCP address.

use std::{io, sync::Arc};

use bs9_config::Identity;
use rustls::{ServerConfig, crypto::aws_lc_rs};

/// How hands are shaken with clients: TLS 1.2 and 1.3, HTTP/1.1 inside.
///
/// # Errors
///
/// The key does not fit its certificate.
pub(super) fn server_config(identity: &Identity) -> io::Result<Arc<ServerConfig>> {
    let unfit = |error: rustls::Error| io::Error::new(io::ErrorKind::InvalidInput, error);
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unfit)?
        .with_no_client_auth()
        .with_single_cert(identity.chain.to_vec(), identity.key.clone_key())
        .map_err(unfit)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
