//! The certificate of the TLS rows: ECDSA on P-256, made once a run.

use std::path::PathBuf;
use std::time::Duration;

use crate::bench::Bench;
use crate::contender::find_program;
use crate::process::Launch;

const LIMIT: Duration = Duration::from_secs(10);

/// Where certificate and key are.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// One after the other, as HAProxy wants them.
    pub(crate) both: PathBuf,
}

impl Certificate {
    /// Makes it with openssl, in the run's folder.
    pub(crate) fn create(bench: &Bench) -> anyhow::Result<Self> {
        let place = |name: &str| bench.dir.path().join(name);
        let made = Self {
            certificate: place("certificate.pem"),
            key: place("key.pem"),
            both: place("both.pem"),
        };
        Launch::load(bench, "openssl", &find_program("openssl")?)
            .arguments(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
            .arguments(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
            .arguments(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
            .argument("-out")
            .argument(&made.certificate)
            .argument("-keyout")
            .argument(&made.key)
            .start(bench)?
            .finish(LIMIT)?;
        let [certificate, key] = [&made.certificate, &made.key].map(std::fs::read_to_string);
        bench.dir.write("both.pem", &(certificate? + &key?))?;
        Ok(made)
    }
}
