//! Rules of a `pg_hba.conf`: who has to prove what, by where they come from.

use std::{path::Path, sync::Arc};

use regex::Regex;

use crate::model::Network;

/// The rules of one file and those it includes, in their order: the first that matches decides.
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
    /// The file it stands in.
    pub file: Arc<Path>,
    /// Its number there, from 1.
    pub line: usize,
    /// How the client is connected.
    pub connection: HbaConnection,
    /// What it asks for; at least one.
    pub databases: Vec<HbaDatabase>,
    /// Whom it wants to log in as; at least one.
    pub users: Vec<HbaUser>,
    /// Where it comes from.
    pub address: HbaAddress,
    /// What it has to do.
    pub method: HbaMethod,
    /// `clientcert=`: which certificate it has to show besides.
    pub client_certificate: Option<ClientCertificate>,
    /// `map=`: which names of certificates, or of the system's users, are which users.
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
    /// `samerole`: one that is called like a role the user is a member of.
    SameRole,
    /// `replication`: no database at all.
    Replication,
    /// The one of this name.
    Is(Arc<str>),
    /// `/pattern`: those whose names match.
    Matches(HbaPattern),
}

/// What a line says of users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HbaUser {
    /// `all`.
    All,
    /// The one of this name.
    Is(Arc<str>),
    /// `+role`: the members of this role, and itself.
    MemberOf(Arc<str>),
    /// `/pattern`: those whose names match.
    Matches(HbaPattern),
}

/// What a line says of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HbaAddress {
    /// `all`, and on a Unix socket.
    Any,
    /// `samehost`: the address it has connected to, or a loopback address.
    SameHost,
    /// These.
    In(Network),
}

/// A pattern for names. Two are the same when they are written the same way.
#[derive(Debug, Clone)]
pub struct HbaPattern(Regex);

impl HbaPattern {
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn new(pattern: &str) -> Result<Self, regex::Error> {
        Regex::new(pattern).map(Self)
    }

    /// Whether it is found in `name`.
    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

impl PartialEq for HbaPattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for HbaPattern {}

impl HbaRule {
    /// Whether it takes the server to know whom the rule is about.
    pub fn needs_roles(&self) -> bool {
        self.databases.contains(&HbaDatabase::SameRole)
            || self.users.iter().any(|user| matches!(user, HbaUser::MemberOf(_)))
    }
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
    /// Be the system's user of that name, on a Unix socket.
    Peer,
}

/// `clientcert=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificate {
    /// `verify-ca`: any that the listener's authorities vouch for.
    VerifyCa,
    /// `verify-full`: one for the user's name, too.
    VerifyFull,
}
