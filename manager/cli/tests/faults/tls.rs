//! Who endpoints with TLS are, and how bs9 knows.

use std::{path::Path, sync::Arc};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use crate::authority::Authority;

/// Writes `ca.pem`, of an authority that says they are `localhost`; they agree on this protocol.
pub(crate) fn identity(folder: &Path, protocol: &str) -> Arc<ServerConfig> {
    let authority = Authority::new();
    authority.write(folder);
    authority.issue(folder, "endpoint", &["localhost"]);
    let chain = CertificateDer::from_pem_file(folder.join("endpoint.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("endpoint.key")).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    Arc::new(config)
}
