//! Certificates for everybody in the tests.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// What there is: `ca.pem` vouches for `server` (`localhost` by name alone), `pool` (likewise,
/// and 127.0.0.1) and the clients `alice` and `by_cert`; `stranger-ca.pem` for `stranger`, who
/// claims to be alice.
pub(crate) struct Certificates;

impl Certificates {
    /// Writes `NAME.pem` and `NAME.key` into the folder, for `owner` to read.
    pub(super) fn issue(folder: &Path, owner: Option<(u32, u32)>) {
        let house = authority(folder, "ca");
        issue(folder, &house, "server", "server", &["localhost"]);
        issue(folder, &house, "pool", "pool", &["localhost", "127.0.0.1"]);
        issue(folder, &house, "alice", "alice", &[]);
        issue(folder, &house, "by_cert", "by_cert", &[]);
        let stranger = authority(folder, "stranger-ca");
        issue(folder, &stranger, "stranger", "alice", &["localhost"]);
        for entry in fs::read_dir(folder).expect("the folder").flatten() {
            let path = entry.path();
            let key = path.extension().is_some_and(|extension| extension == "key");
            if let Some((user, group)) = owner
                && path.is_file()
            {
                chown(&path, Some(user), Some(group)).expect("chown");
            }
            if key {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
            }
        }
    }

    /// Another certificate for the pool, by an authority that is written to `renewed-ca.pem`.
    pub(crate) fn renew(folder: &Path) {
        let renewed = authority(folder, "renewed-ca");
        issue(folder, &renewed, "pool", "renewed", &["localhost", "127.0.0.1"]);
    }
}

fn authority(folder: &Path, name: &str) -> Issuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    fs::write(folder.join(format!("{name}.pem")), certificate.pem()).expect("written");
    Issuer::new(params, key)
}

fn issue(folder: &Path, by: &Issuer<'static, KeyPair>, file: &str, name: &str, hosts: &[&str]) {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("names");
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, by).expect("a certificate");
    fs::write(folder.join(format!("{file}.pem")), certificate.pem()).expect("written");
    fs::write(folder.join(format!("{file}.key")), key.serialize_pem()).expect("written");
}
