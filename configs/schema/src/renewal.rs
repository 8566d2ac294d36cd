//! Certificates, keys, revocation lists and OCSP responses, read again from where they were read
//! before: somebody renews them, and nobody should have to say so.
//!
//! Each is judged by itself. What cannot be used leaves the one before in place, and nothing but
//! these files is looked at: a configuration that is being edited does not keep a certificate
//! from being renewed, and a renewal drops no change that the files do not hold.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    certificate::{self, authorities_at, ocsp_response_at, revocation_lists_at},
    model::{
        ClusterTls, Config, FromFile, Identity, ListenerTls, ServerCertificate, ServerName, Trust,
        Verify,
    },
    read::Fault,
};

/// What became of reading them again.
#[derive(Debug, Clone)]
pub struct Renewal {
    /// With everything that could be renewed.
    pub config: Config,
    /// The files that hold something else now, and are used.
    pub renewed: BTreeSet<PathBuf>,
    /// What cannot be used, by the key that names it.
    pub stale: Vec<StaleFile>,
}

/// A file that cannot be used any more: what it held before is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleFile {
    /// Path of the table that names it, such as `listeners.web.tls`.
    pub key: String,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
}

impl Config {
    /// The files that [`renewed`](Self::renewed) would read; that of `[admin.tls]`, which its
    /// server looks after itself, is none of them.
    pub fn certificate_files(&self) -> BTreeSet<PathBuf> {
        let mut files = BTreeSet::new();
        let mut add = |path: &Arc<Path>| {
            if !files.contains(&**path) {
                files.insert(path.to_path_buf());
            }
        };
        for tls in self.listeners.values().filter_map(|listener| listener.tls.as_deref()) {
            for one in &tls.certificates {
                add(&one.identity.path);
                add(&one.identity.key_path);
                one.ocsp.iter().for_each(|ocsp| add(&ocsp.path));
            }
            if let Some(auth) = &tls.client_auth {
                add(&auth.trust.roots.path);
                auth.trust.crls.iter().for_each(|file| add(&file.path));
            }
        }
        let clusters = self.clusters.values().filter_map(|cluster| cluster.tls.as_deref());
        let databases = self.postgres.iter().flat_map(|postgres| postgres.databases.values());
        let databases = databases.filter_map(|database| Some(&*database.tls.as_ref()?.tls));
        for tls in clusters.chain(databases) {
            if let Some(identity) = &tls.identity {
                add(&identity.path);
                add(&identity.key_path);
            }
            let crls = match &tls.verify {
                Verify::Authorities(trust) | Verify::AnyName(trust) => {
                    add(&trust.roots.path);
                    &trust.crls
                }
                Verify::System { crls } => crls,
                Verify::Nothing => continue,
            };
            crls.iter().for_each(|file| add(&file.path));
        }
        files
    }

    /// Reads them again. Waits for disks.
    pub fn renewed(&self) -> Renewal {
        let mut config = self.clone();
        let mut reader = Rereader::default();
        for (name, listener) in &mut config.listeners {
            reader.key = format!("listeners.{name}.tls");
            renew(&mut listener.tls, |tls| reader.listener(tls));
        }
        for (name, cluster) in &mut config.clusters {
            reader.key = format!("clusters.{name}.tls");
            renew(&mut cluster.tls, |tls| reader.cluster(tls));
        }
        let databases = config.postgres.iter_mut().flat_map(|postgres| &mut postgres.databases);
        for (name, database) in databases {
            reader.key = format!("postgres.databases.{name}.tls");
            renew(&mut database.tls, |database| {
                let mut tls = Some(Arc::clone(&database.tls));
                renew(&mut tls, |tls| reader.cluster(tls));
                database.tls = tls.expect("renewing takes nothing away");
            });
        }
        Renewal { config, renewed: reader.renewed, stale: reader.stale }
    }
}

impl Identity {
    /// Reads its files again. Waits for disks.
    ///
    /// # Errors
    ///
    /// The first of them that cannot be used.
    pub fn read_again(&self) -> Result<Self, StaleFile> {
        let mut reader = Rereader { key: "admin.tls".to_owned(), ..Rereader::default() };
        let mut identity = self.clone();
        reader.identity(&mut identity);
        reader.stale.into_iter().next().map_or(Ok(identity), Err)
    }
}

/// Has what changes made anew, and what does not kept, down to the pointer.
fn renew<T: Clone + PartialEq>(held: &mut Option<Arc<T>>, change: impl FnOnce(&mut T)) {
    let Some(before) = held else { return };
    let mut next = T::clone(before);
    change(&mut next);
    if next != **before {
        *held = Some(Arc::new(next));
    }
}

#[derive(Default)]
struct Rereader {
    /// Of the table that is being read.
    key: String,
    renewed: BTreeSet<PathBuf>,
    stale: Vec<StaleFile>,
}

impl Rereader {
    fn listener(&mut self, tls: &mut ListenerTls) {
        tls.certificates.iter_mut().for_each(|one| self.certificate(one));
        if let Some(auth) = &mut tls.client_auth {
            self.trust(&mut auth.trust);
        }
    }

    fn certificate(&mut self, one: &mut ServerCertificate) {
        let before = one.identity.chain.clone();
        if let Some(names) = self.identity(&mut one.identity)
            && one.names_of_its_own
        {
            one.names = names;
        }
        let Some(ocsp) = &mut one.ocsp else { return };
        let usable = self.file(ocsp, ocsp_response_at);
        if !usable && one.identity.chain != before {
            // It speaks of the certificate before; clients would refuse that.
            ocsp.content = Arc::default();
        }
    }

    fn cluster(&mut self, tls: &mut ClusterTls) {
        if let Some(identity) = &mut tls.identity {
            self.identity(identity);
        }
        match &mut tls.verify {
            Verify::Authorities(trust) | Verify::AnyName(trust) => self.trust(trust),
            Verify::System { crls } => self.files(crls, revocation_lists_at),
            Verify::Nothing => {}
        }
    }

    fn trust(&mut self, trust: &mut Trust) {
        self.file(&mut trust.roots, authorities_at);
        self.files(&mut trust.crls, revocation_lists_at);
    }

    /// Gives the names of the certificate, when it can be used.
    fn identity(&mut self, held: &mut Identity) -> Option<Vec<ServerName>> {
        let chain = self.usable(&held.path, certificate::chain_at(held.path.to_path_buf()));
        let key = self.usable(&held.key_path, certificate::key_at(held.key_path.to_path_buf()));
        let path = Arc::clone(&held.key_path);
        let (identity, names) = self.usable(&path, certificate::identity(chain?, &key?))?;
        if identity.chain != held.chain {
            self.renewed.insert(held.path.to_path_buf());
        }
        if identity.key != held.key {
            self.renewed.insert(held.key_path.to_path_buf());
        }
        *held = identity;
        Some(names)
    }

    fn files<T: PartialEq + Clone>(
        &mut self,
        held: &mut Arc<[FromFile<T>]>,
        read: fn(PathBuf) -> Result<FromFile<T>, Fault>,
    ) {
        let mut next = held.to_vec();
        for file in &mut next {
            self.file(file, read);
        }
        if *next != **held {
            *held = next.into();
        }
    }

    /// Tells whether it can be used.
    fn file<T: PartialEq>(
        &mut self,
        held: &mut FromFile<T>,
        read: fn(PathBuf) -> Result<FromFile<T>, Fault>,
    ) -> bool {
        let Some(file) = self.usable(&held.path, read(held.path.to_path_buf())) else {
            return false;
        };
        if file != *held {
            self.renewed.insert(held.path.to_path_buf());
            *held = file;
        }
        true
    }

    fn usable<T>(&mut self, path: &Path, read: Result<T, Fault>) -> Option<T> {
        let Fault { message, hint } = match read {
            Ok(read) => return Some(read),
            Err(fault) => fault,
        };
        let (key, path) = (self.key.clone(), path.to_path_buf());
        self.stale.push(StaleFile { key, path, message, hint });
        None
    }
}
