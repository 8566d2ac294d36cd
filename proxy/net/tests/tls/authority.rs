//! A certificate authority for tests.

use std::{fs, path::Path};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, DnType,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, RevokedCertParams,
    SerialNumber, SignatureAlgorithm, date_time_ymd,
};

pub(crate) struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// Writes `NAME.pem` and `NAME.key` for these host names.
    pub(crate) fn issue(&self, folder: &Path, name: &str, hosts: &[&str]) {
        self.issue_as(folder, name, hosts, &rcgen::PKCS_ECDSA_P256_SHA256, 1);
    }

    /// Likewise, with an RSA key.
    pub(crate) fn issue_rsa(&self, folder: &Path, name: &str, hosts: &[&str]) {
        self.issue_as(folder, name, hosts, &PKCS_RSA_SHA256, 2);
    }

    pub(crate) fn issue_as(
        &self,
        folder: &Path,
        name: &str,
        hosts: &[&str],
        algorithm: &'static SignatureAlgorithm,
        serial: u64,
    ) {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).expect("names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from(serial));
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        fs::write(folder.join(format!("{name}.pem")), certificate.pem()).expect("written");
        fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).expect("written");
    }

    /// Writes `ca.pem`.
    pub(crate) fn write(&self, folder: &Path) {
        fs::write(folder.join("ca.pem"), self.certificate.pem()).expect("written");
    }

    /// Writes `ca.key`.
    pub(crate) fn write_key(&self, folder: &Path) {
        fs::write(folder.join("ca.key"), self.issuer.key().serialize_pem()).expect("written");
    }

    /// Writes `ca.crl`, which revokes these serial numbers.
    pub(crate) fn revoke(&self, folder: &Path, serials: &[u64]) {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2050, 1, 1),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).expect("a list").pem().expect("PEM");
        fs::write(folder.join("ca.crl"), list).expect("written");
    }
}
