//! Certificates, keys and revocation lists, read from files and proven usable.

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use rustls::{
    RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{
        CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    sign::CertifiedKey,
};
use x509_parser::{
    extensions::GeneralName,
    prelude::{CertificateRevocationList, FromDer as _, X509Certificate},
};

use crate::{
    address::host_name,
    model::{FromFile, Identity, RevocationLists, ServerName},
    read::{Fault, absolute},
};

/// Bytes of one file with certificates, a key or a revocation list.
const MAX_FILE_BYTES: u64 = 16 << 20;
/// Certificates of one chain.
const MAX_CHAIN: usize = 16;

/// A chain as read, before its key is known.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    path: Arc<Path>,
    certificates: Vec<CertificateDer<'static>>,
    /// What the first certificate says of itself.
    names: Vec<ServerName>,
    not_before: i64,
    not_after: i64,
}

/// A key as read.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    path: Arc<Path>,
    key: Arc<PrivateKeyDer<'static>>,
}

/// Certificates of authorities as read.
pub(crate) type Authorities = FromFile<Arc<[CertificateDer<'static>]>>;

/// Why a certificate serves badly, though it serves.
pub(crate) type Remark = String;

// === Reading ===

/// Reads a chain: the own certificate, then those that issued it.
pub(crate) fn chain(path: &str, folder: &Path) -> Result<Chain, Fault> {
    chain_at(absolute(folder, path))
}

pub(crate) fn chain_at(path: PathBuf) -> Result<Chain, Fault> {
    let text = read(&path)?;
    let certificates = certificates(&path, &text)?;
    if certificates.len() > MAX_CHAIN {
        return Err(Fault::new(format!(
            "{} holds {} certificates; a chain has at most {MAX_CHAIN}",
            path.display(),
            certificates.len()
        )));
    }
    let own = X509Certificate::from_der(&certificates[0])
        .map_err(|error| Fault::new(format!("{}: not a certificate: {error}", path.display())))?
        .1;
    let validity = own.validity();
    let (not_before, not_after) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let names = names(&own);
    Ok(Chain { path: path.into(), certificates, names, not_before, not_after })
}

/// Reads a private key.
pub(crate) fn key(path: &str, folder: &Path) -> Result<Key, Fault> {
    key_at(absolute(folder, path))
}

pub(crate) fn key_at(path: PathBuf) -> Result<Key, Fault> {
    let text = read(&path)?;
    if is_encrypted(&text) {
        return Err(Fault::new(format!("the key in {} is encrypted", path.display()))
            .hint("nobody is there to type a passphrase; decrypt it with `openssl pkey -in KEY -out PLAIN` and guard the file by its mode"));
    }
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound if holds_certificate(&text) => {
            Fault::new(format!("{} holds a certificate and no private key", path.display()))
                .hint("name the file with the key")
        }
        pem::Error::NoItemsFound => Fault::new(format!("{} holds no private key", path.display()))
            .hint("it starts with \"-----BEGIN PRIVATE KEY-----\" (or RSA, or EC)"),
        error => Fault::new(format!("{}: not a private key: {error}", path.display())),
    })?;
    Ok(Key { path: path.into(), key: Arc::new(key) })
}

/// Reads the certificates of authorities.
pub(crate) fn authorities(path: &str, folder: &Path) -> Result<Authorities, Fault> {
    authorities_at(absolute(folder, path))
}

pub(crate) fn authorities_at(path: PathBuf) -> Result<Authorities, Fault> {
    let certificates = certificates(&path, &read(&path)?)?;
    let mut store = RootCertStore::empty();
    for (number, certificate) in certificates.iter().enumerate() {
        store.add(certificate.clone()).map_err(|error| {
            let which = number + 1;
            Fault::new(format!(
                "{}: certificate {which} cannot be trusted: {error}",
                path.display()
            ))
        })?;
    }
    Ok(FromFile { path: path.into(), content: certificates.into() })
}

/// Reads revocation lists, PEM or one in DER.
pub(crate) fn revocation_lists(path: &str, folder: &Path) -> Result<RevocationLists, Fault> {
    revocation_lists_at(absolute(folder, path))
}

pub(crate) fn revocation_lists_at(path: PathBuf) -> Result<RevocationLists, Fault> {
    let bytes = read(&path)?;
    let bad = |error: &dyn std::fmt::Display| {
        Fault::new(format!("{}: not a revocation list: {error}", path.display()))
    };
    let lists: Vec<_> = if bytes.starts_with(b"\x30") {
        vec![CertificateRevocationListDer::from(bytes)]
    } else {
        let lists = CertificateRevocationListDer::pem_slice_iter(&bytes).collect::<Result<_, _>>();
        lists.map_err(|error| bad(&error))?
    };
    if lists.is_empty() {
        return Err(Fault::new(format!("{} holds no revocation list", path.display()))
            .hint("it starts with \"-----BEGIN X509 CRL-----\""));
    }
    for list in &lists {
        CertificateRevocationList::from_der(list).map_err(|error| bad(&error))?;
    }
    Ok(FromFile { path: path.into(), content: lists.into() })
}

/// Reads a stapled OCSP response, DER.
pub(crate) fn ocsp_response(path: &str, folder: &Path) -> Result<FromFile<Arc<[u8]>>, Fault> {
    ocsp_response_at(absolute(folder, path))
}

pub(crate) fn ocsp_response_at(path: PathBuf) -> Result<FromFile<Arc<[u8]>>, Fault> {
    let bytes = read(&path)?;
    // RFC 6960 section 4.2.1: SEQUENCE { ENUMERATED successful (0), … }.
    let content = match bytes.as_slice() {
        [0x30, length, rest @ ..] if *length < 0x80 => Some(rest),
        [0x30, length, rest @ ..] => rest.get(usize::from(length & 0x7f)..),
        _ => None,
    };
    match content {
        Some([0x0a, 0x01, 0x00, ..]) => Ok(FromFile { path: path.into(), content: bytes.into() }),
        Some([0x0a, 0x01, status, ..]) => {
            Err(Fault::new(format!("{}: the responder refused (status {status})", path.display()))
                .hint("fetch it again, with `openssl ocsp … -respout FILE`"))
        }
        _ => Err(Fault::new(format!("{}: not an OCSP response in DER", path.display()))
            .hint("fetch it with `openssl ocsp … -respout FILE`")),
    }
}

/// Reads `api.example.com` or `*.example.com`.
pub(crate) fn server_name(text: &str, _: &Path) -> Result<ServerName, Fault> {
    let lower = text.to_ascii_lowercase();
    let (name, wildcard) = match lower.strip_prefix("*.") {
        Some(name) => (name, true),
        None => (lower.as_str(), false),
    };
    host_name(name)?;
    Ok(if wildcard { ServerName::Wildcard(name.into()) } else { ServerName::Exact(name.into()) })
}

// === Checking ===

/// Puts a chain and its key together.
///
/// # Errors
/// When the key is not that of the first certificate.
pub(crate) fn identity(chain: Chain, key: &Key) -> Result<(Identity, Vec<ServerName>), Fault> {
    let shown = key.path.display();
    let certified = CertifiedKey::from_der(
        chain.certificates.clone(),
        key.key.clone_key(),
        &aws_lc_rs::default_provider(),
    );
    certified.map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => Fault::new(format!(
            "the key in {shown} does not belong to the certificate in {}",
            chain.path.display()
        ))
        .hint("the own certificate comes first in its file, those that issued it follow"),
        error => Fault::new(format!("the key in {shown} is not usable: {error}"))
            .hint("use an RSA (2048 bits or more), ECDSA (P-256, P-384, P-521) or Ed25519 key"),
    })?;
    let identity = Identity {
        path: chain.path,
        chain: chain.certificates.into(),
        key_path: Arc::clone(&key.path),
        key: Arc::clone(&key.key),
        not_after_seconds: chain.not_after,
    };
    Ok((identity, chain.names))
}

/// What is to be said of a chain's dates.
pub(crate) fn dates(chain: &Chain) -> Option<Remark> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let shown = chain.path.display();
    if chain.not_after < now {
        let days = (now - chain.not_after) / 86_400;
        return Some(format!("the certificate in {shown} expired {days} days ago"));
    }
    (chain.not_before > now).then(|| {
        let days = (chain.not_before - now) / 86_400 + 1;
        format!("the certificate in {shown} becomes valid only in {days} days")
    })
}

/// What kind of key it is; clients may understand one kind and not another.
pub(crate) fn key_kind(identity: &Identity) -> Option<u8> {
    let key = aws_lc_rs::sign::any_supported_type(&identity.key).ok()?;
    Some(key.algorithm().into())
}

// === Parts ===

fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    let bounded = || {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 > MAX_FILE_BYTES {
            true => Err(io::Error::from(io::ErrorKind::FileTooLarge)),
            false => Ok(bytes),
        }
    };
    let bytes = bounded().map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied => "let the user that runs bs9 read it",
            _ => "the path is relative to the configuration file",
        };
        Fault::new(format!("cannot read {}: {error}", path.display())).hint(hint)
    })?;
    match bytes.iter().all(u8::is_ascii_whitespace) {
        true => Err(Fault::new(format!("{} is empty", path.display()))),
        false => Ok(bytes),
    }
}

fn certificates(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let shown = path.display();
    let found = CertificateDer::pem_slice_iter(text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Fault::new(format!("{shown}: not a certificate in PEM: {error}")))?;
    if !found.is_empty() {
        return Ok(found);
    }
    if contains(text, b"PRIVATE KEY-----") {
        return Err(Fault::new(format!("{shown} holds a private key and no certificate"))
            .hint("name the file with the certificate"));
    }
    let hint = match text.first() {
        Some(0x30) => "it seems to be DER; turn it into PEM with `openssl x509 -inform der`",
        _ => "it starts with \"-----BEGIN CERTIFICATE-----\"",
    };
    Err(Fault::new(format!("{shown} holds no certificate")).hint(hint))
}

fn names(certificate: &X509Certificate<'_>) -> Vec<ServerName> {
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let general = alternative.iter().flat_map(|extension| &extension.value.general_names);
    let dns = general.filter_map(|name| match name {
        GeneralName::DNSName(name) => server_name(name, Path::new("")).ok(),
        _ => None,
    });
    dns.collect()
}

fn is_encrypted(text: &[u8]) -> bool {
    contains(text, b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
        || contains(text, b"Proc-Type: 4,ENCRYPTED")
}

fn holds_certificate(text: &[u8]) -> bool {
    contains(text, b"-----BEGIN CERTIFICATE-----")
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}
