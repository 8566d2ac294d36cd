//! Rules of a `pg_hba.conf`: who has to prove what, by where they come from.

use std::{path::Path, sync::Arc};

use crate::model::Network;

/// The rules of one file, in its order: the first that matches decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hba {
    /// Where they were read from.
    pub path: Arc<Path>,
    /// The rules.
    pub rules: Vec<HbaRule>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HbaRule {
    /// Its number in the file, from 1.
    pub line: usize,
    /// How the client is connected.
    pub connection: HbaConnection,
    /// What it asks for; at least one.
    pub databases: Vec<HbaDatabase>,
    /// Whom it wants to log in as; at least one.
    pub users: Vec<HbaUser>,
    /// Where it comes from; `None`: anywhere.
    pub network: Option<Network>,
    /// What it has to do.
    pub method: HbaMethod,
    /// `clientcert=`: which certificate it has to show besides.
    pub client_certificate: Option<ClientCertificate>,
    /// `map=`: which names of certificates are which users.
    pub map: Option<Arc<str>>,
}

/// The first word of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HbaConnection {
    /// By a Unix socket.
    Local,
    /// By TCP.
    Host,
    /// By TCP, with TLS.
    HostSsl,
    /// By TCP, without.
    HostNoSsl,
}

/// What a line says of databases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HbaDatabase {
    /// `all`.
    All,
    /// `sameuser`: the one that is called like the user.
    SameUser,
    /// `replication`: no database at all.
    Replication,
    /// The one of this name.
    Is(Arc<str>),
}

/// What a line says of users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HbaUser {
    /// `all`.
    All,
    /// The one of this name.
    Is(Arc<str>),
}

/// What a client has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HbaMethod {
    /// Nothing.
    Trust,
    /// Go away.
    Reject,
    /// Know the password, by md5, or by SCRAM where that is what is stored.
    Md5,
    /// Know the password.
    ScramSha256,
    /// Hold a certificate for its name.
    Cert,
}

/// `clientcert=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificate {
    /// `verify-ca`: any that the listener's authorities vouch for.
    VerifyCa,
    /// `verify-full`: one for the user's name, too.
    VerifyFull,
}
