//! What certificates say.

use sha2::{Digest as _, Sha256, Sha384, Sha512};
use x509_parser::{
    certificate::X509Certificate,
    oid_registry::{
        OID_PKCS1_MD5WITHRSAENC, OID_PKCS1_RSASSAPSS, OID_PKCS1_SHA1WITHRSA,
        OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA,
        OID_SHA1_WITH_RSA, OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384,
        OID_SIG_ECDSA_WITH_SHA512,
    },
    prelude::FromDer as _,
    signature_algorithm::{RsaSsaPssParams, SignatureAlgorithm},
};

/// The hash functions certificates are signed with nowadays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// What a login is bound to (`tls-server-end-point`, RFC 5929 section 4.1): the certificate's
/// hash, by the function it was signed with, SHA-256 instead of MD5 and SHA-1. `None`: it was
/// signed in a way for which nobody has said which hash to take (Ed25519).
pub(crate) fn end_point(certificate: &[u8]) -> Option<Box<[u8]>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(match hash(&parsed)? {
        Hash::Sha256 => Sha256::digest(certificate).as_slice().into(),
        Hash::Sha384 => Sha384::digest(certificate).as_slice().into(),
        Hash::Sha512 => Sha512::digest(certificate).as_slice().into(),
    })
}

fn hash(certificate: &X509Certificate<'_>) -> Option<Hash> {
    let algorithm = &certificate.signature_algorithm;
    let oid = &algorithm.algorithm;
    if *oid == OID_PKCS1_RSASSAPSS {
        return match SignatureAlgorithm::try_from(algorithm).ok()? {
            SignatureAlgorithm::RSASSA_PSS(parameters) => pss_hash(&parameters),
            _ => None,
        };
    }
    let known = [
        (OID_PKCS1_MD5WITHRSAENC, Hash::Sha256),
        (OID_PKCS1_SHA1WITHRSA, Hash::Sha256),
        (OID_SHA1_WITH_RSA, Hash::Sha256),
        (OID_PKCS1_SHA256WITHRSA, Hash::Sha256),
        (OID_PKCS1_SHA384WITHRSA, Hash::Sha384),
        (OID_PKCS1_SHA512WITHRSA, Hash::Sha512),
        (OID_SIG_ECDSA_WITH_SHA256, Hash::Sha256),
        (OID_SIG_ECDSA_WITH_SHA384, Hash::Sha384),
        (OID_SIG_ECDSA_WITH_SHA512, Hash::Sha512),
    ];
    known.into_iter().find(|(known, _)| known == oid).map(|(_, hash)| hash)
}

fn pss_hash(parameters: &RsaSsaPssParams<'_>) -> Option<Hash> {
    match parameters.hash_algorithm_oid().to_id_string().as_str() {
        // id-sha1, the default (RFC 4055 section 3.1).
        "1.3.14.3.2.26" | "2.16.840.1.101.3.4.2.1" => Some(Hash::Sha256),
        "2.16.840.1.101.3.4.2.2" => Some(Hash::Sha384),
        "2.16.840.1.101.3.4.2.3" => Some(Hash::Sha512),
        _ => None,
    }
}

/// Whom a client's certificate is for: its one CN. A name with a NUL in it is none
/// (CVE-2009-4034).
pub(crate) fn common_name(certificate: &[u8]) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let mut names = parsed.subject().iter_common_name();
    // As PostgreSQL does, the last one counts.
    let mut name = names.next()?;
    for later in names {
        name = later;
    }
    let name = name.as_str().ok()?;
    (!name.is_empty() && !name.contains('\0')).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SignatureAlgorithm};

    use super::*;

    fn certificate(algorithm: &'static SignatureAlgorithm, names: &[&str]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        for name in names {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        let key = KeyPair::generate_for(algorithm).expect("a key");
        params.self_signed(&key).expect("a certificate").der().to_vec()
    }

    #[test]
    fn the_hash_is_the_one_of_the_signature() {
        let table = [
            (&rcgen::PKCS_ECDSA_P256_SHA256, Some(32)),
            (&rcgen::PKCS_ECDSA_P384_SHA384, Some(48)),
            (&rcgen::PKCS_RSA_SHA256, Some(32)),
            (&rcgen::PKCS_RSA_SHA384, Some(48)),
            (&rcgen::PKCS_RSA_SHA512, Some(64)),
            (&rcgen::PKCS_ED25519, None),
        ];
        for (algorithm, length) in table {
            let hash = end_point(&certificate(algorithm, &["x"]));
            assert_eq!(hash.map(|hash| hash.len()), length, "{algorithm:?}");
        }
        let der = certificate(&rcgen::PKCS_ECDSA_P256_SHA256, &["x"]);
        assert_eq!(end_point(&der).as_deref(), Some(Sha256::digest(&der).as_slice()));
        assert_eq!(end_point(b"nothing of the kind"), None);
    }

    #[test]
    fn a_certificate_is_for_its_common_name() {
        let named = |names: &[&str]| common_name(&certificate(&rcgen::PKCS_ED25519, names));
        assert_eq!(named(&["alice"]).as_deref(), Some("alice"));
        assert_eq!(named(&["al\0ice"]), None);
        assert_eq!(common_name(b""), None);
    }
}
