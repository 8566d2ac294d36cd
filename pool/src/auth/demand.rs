//! What somebody has to do to get in.

use std::{net::IpAddr, sync::Arc};

use bs9_config::{
    ClientCertificate, Hba, HbaAddress, HbaConnection, HbaDatabase, HbaMethod, HbaRule, HbaUser,
    PostgresAuth,
};
use bs9_net::PeerAddress;

/// Who asks for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) user: &'a str,
    pub(crate) database: &'a str,
    pub(crate) peer: PeerAddress,
    /// The address it has connected to; `None`: a Unix socket.
    pub(crate) own: Option<IpAddr>,
    pub(crate) encrypted: bool,
    /// The roles the user is a member of, itself included; `None`: not looked up yet.
    pub(crate) roles: Option<&'a [Arc<str>]>,
}

/// What has to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Demand {
    pub(crate) method: Method,
    /// The certificate that has to be shown besides, or at all.
    pub(crate) certificate: Option<ClientCertificate>,
    /// Which names of certificates are which users.
    pub(crate) map: Option<Arc<str>>,
}

/// How a password is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// Not at all.
    Nothing,
    Md5,
    Scram,
    /// The system knows who is at the other end of a Unix socket.
    Peer,
}

/// Why it is not known what has to be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoDemand {
    /// No rule lets it in.
    #[error("{0}")]
    NoEntry(String),
    /// It depends on what roles the user is a member of.
    #[error("it is not known what roles the user is a member of")]
    Roles,
}

/// Finds out what `ask` has to do.
pub(crate) fn demand(auth: &PostgresAuth, ask: Ask<'_>) -> Result<Demand, NoDemand> {
    let plain = |method| Demand { method, certificate: None, map: None };
    Ok(match auth {
        PostgresAuth::Trust => plain(Method::Nothing),
        PostgresAuth::Md5 => plain(Method::Md5),
        PostgresAuth::ScramSha256 => plain(Method::Scram),
        PostgresAuth::Cert => {
            Demand { certificate: Some(ClientCertificate::VerifyFull), ..plain(Method::Nothing) }
        }
        PostgresAuth::Hba(hba) => by_rules(hba, ask)?,
    })
}

fn by_rules(hba: &Hba, ask: Ask<'_>) -> Result<Demand, NoDemand> {
    let mut rules = hba.rules.iter();
    let rule = loop {
        match rules.next() {
            None => return Err(ask.no_entry("no pg_hba.conf entry for")),
            Some(rule) if matches(rule, ask)? => break rule,
            Some(_) => {}
        }
    };
    let (method, own) = match rule.method {
        HbaMethod::Reject => return Err(ask.no_entry("pg_hba.conf rejects connection for")),
        HbaMethod::Trust => (Method::Nothing, None),
        HbaMethod::Md5 => (Method::Md5, None),
        HbaMethod::ScramSha256 => (Method::Scram, None),
        HbaMethod::Cert => (Method::Nothing, Some(ClientCertificate::VerifyFull)),
        HbaMethod::Peer => (Method::Peer, None),
    };
    let certificate = own.or(rule.client_certificate);
    Ok(Demand { method, certificate, map: rule.map.clone() })
}

/// Fails when that depends on roles that were not looked up.
fn matches(rule: &HbaRule, ask: Ask<'_>) -> Result<bool, NoDemand> {
    let connected = match (rule.connection, ask.peer) {
        (HbaConnection::Local, PeerAddress::Unix) => true,
        (HbaConnection::Host, PeerAddress::Tcp(_)) => true,
        (HbaConnection::HostSsl, PeerAddress::Tcp(_)) => ask.encrypted,
        (HbaConnection::HostNoSsl, PeerAddress::Tcp(_)) => !ask.encrypted,
        _ => false,
    };
    let from_there = || match (rule.address, address(ask.peer)) {
        (HbaAddress::Any, _) => true,
        (HbaAddress::SameHost, Some(ip)) => ip.is_loopback() || ask.own == Some(ip),
        (HbaAddress::In(network), Some(ip)) => (network.first()..=network.last()).contains(&ip),
        (_, None) => false,
    };
    Ok(connected && from_there() && is_for_database(rule, ask)? && is_for_user(rule, ask)?)
}

fn is_for_database(rule: &HbaRule, ask: Ask<'_>) -> Result<bool, NoDemand> {
    for database in &rule.databases {
        let is = match database {
            HbaDatabase::All => true,
            HbaDatabase::SameUser => ask.database == ask.user,
            HbaDatabase::SameRole => ask.is_member_of(ask.database)?,
            // Those who replicate are told that they cannot, before this is asked.
            HbaDatabase::Replication => false,
            HbaDatabase::Is(name) => **name == *ask.database,
            HbaDatabase::Matches(pattern) => pattern.matches(ask.database),
        };
        if is {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_for_user(rule: &HbaRule, ask: Ask<'_>) -> Result<bool, NoDemand> {
    for user in &rule.users {
        let is = match user {
            HbaUser::All => true,
            HbaUser::Is(name) => **name == *ask.user,
            HbaUser::MemberOf(role) => ask.is_member_of(role)?,
            HbaUser::Matches(pattern) => pattern.matches(ask.user),
        };
        if is {
            return Ok(true);
        }
    }
    Ok(false)
}

fn address(peer: PeerAddress) -> Option<IpAddr> {
    match peer {
        PeerAddress::Tcp(address) => Some(address.ip().to_canonical()),
        PeerAddress::Unix => None,
    }
}

impl Ask<'_> {
    fn is_member_of(&self, role: &str) -> Result<bool, NoDemand> {
        // Everyone is a member of the role of its own name.
        if role == self.user {
            return Ok(true);
        }
        let roles = self.roles.ok_or(NoDemand::Roles)?;
        Ok(roles.iter().any(|one| **one == *role))
    }

    /// In a server's words.
    fn no_entry(&self, what: &str) -> NoDemand {
        let host = address(self.peer).map_or_else(|| "[local]".to_owned(), |ip| ip.to_string());
        let Self { user, database, .. } = self;
        let encryption = if self.encrypted { "SSL encryption" } else { "no encryption" };
        NoDemand::NoEntry(format!(
            "{what} host \"{host}\", user \"{user}\", database \"{database}\", {encryption}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use bs9_config::Network;

    use super::*;

    fn rule(connection: HbaConnection, method: HbaMethod) -> HbaRule {
        HbaRule {
            file: std::path::Path::new("hba").into(),
            line: 1,
            connection,
            databases: vec![HbaDatabase::All],
            users: vec![HbaUser::All],
            address: HbaAddress::Any,
            method,
            client_certificate: None,
            map: None,
        }
    }

    fn ask(peer: &str, encrypted: bool) -> Ask<'static> {
        let peer = match peer {
            "local" => PeerAddress::Unix,
            ip => PeerAddress::Tcp((ip.parse::<IpAddr>().expect("an address"), 1).into()),
        };
        let own = Some([11, 0, 0, 1].into());
        Ask { user: "alice", database: "app", peer, own, encrypted, roles: None }
    }

    fn decide(rules: Vec<HbaRule>, ask: Ask<'_>) -> Result<Method, String> {
        let path = std::path::Path::new("hba").into();
        let auth = PostgresAuth::Hba(Arc::new(Hba { path, rules }));
        demand(&auth, ask).map(|demand| demand.method).map_err(|none| none.to_string())
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        use HbaConnection::{Host, HostNoSsl, HostSsl, Local};
        let rules = || {
            let mut inside = rule(Host, HbaMethod::Trust);
            let network = Network::new([10, 0, 0, 0].into(), 8).expect("a network");
            inside.address = HbaAddress::In(network);
            let mut others = rule(HostSsl, HbaMethod::ScramSha256);
            others.users = vec![HbaUser::Is("bob".into()), HbaUser::Is("alice".into())];
            others.databases = vec![HbaDatabase::SameUser, HbaDatabase::Is("app".into())];
            vec![rule(Local, HbaMethod::Md5), inside, others, rule(HostNoSsl, HbaMethod::Reject)]
        };
        assert_eq!(decide(rules(), ask("local", false)), Ok(Method::Md5));
        assert_eq!(decide(rules(), ask("10.255.255.255", false)), Ok(Method::Nothing));
        assert_eq!(decide(rules(), ask("::ffff:10.1.1.1", false)), Ok(Method::Nothing));
        assert_eq!(decide(rules(), ask("11.0.0.1", true)), Ok(Method::Scram));
        assert_eq!(decide(rules(), ask("2001:db8::1", true)), Ok(Method::Scram));
        let rejected = decide(rules(), ask("11.0.0.1", false)).expect_err("rejected");
        assert_eq!(
            rejected,
            "pg_hba.conf rejects connection for host \"11.0.0.1\", user \"alice\", database \"app\", no encryption"
        );
        let carol = Ask { user: "carol", ..ask("11.0.0.1", true) };
        let none = decide(rules(), carol).expect_err("no rule");
        assert!(none.starts_with("no pg_hba.conf entry for host \"11.0.0.1\", user \"carol\""));
        let own = Ask { database: "alice", ..ask("11.0.0.1", true) };
        assert_eq!(decide(rules(), own), Ok(Method::Scram));
        let other = Ask { database: "other", ..ask("11.0.0.1", true) };
        assert!(decide(rules(), other).is_err());
    }

    #[test]
    fn rules_about_roles_wait_for_the_server() {
        let mut staff = rule(HbaConnection::Host, HbaMethod::Trust);
        staff.users = vec![HbaUser::MemberOf("staff".into())];
        staff.address = HbaAddress::SameHost;
        let mut own = rule(HbaConnection::Host, HbaMethod::ScramSha256);
        own.databases = vec![HbaDatabase::SameRole];
        let rules = || vec![staff.clone(), own.clone()];
        let path = std::path::Path::new("hba").into();
        let auth = PostgresAuth::Hba(Arc::new(Hba { path, rules: rules() }));
        // From elsewhere, the first does not matter; a database of the user's own name needs
        // nobody's word.
        let elsewhere = ask("12.0.0.1", false);
        let alices = Ask { database: "alice", ..elsewhere };
        assert_eq!(demand(&auth, alices).map(|demand| demand.method), Ok(Method::Scram));
        assert_eq!(demand(&auth, elsewhere), Err(NoDemand::Roles));
        let roles = ["alice", "app"].map(Arc::from);
        let known = Ask { roles: Some(&roles), ..elsewhere };
        assert_eq!(demand(&auth, known).map(|demand| demand.method), Ok(Method::Scram));
        for here in ["11.0.0.1", "127.0.0.1"] {
            assert_eq!(demand(&auth, ask(here, false)), Err(NoDemand::Roles));
            let roles = ["alice", "staff"].map(Arc::from);
            let known = Ask { roles: Some(&roles), ..ask(here, false) };
            assert_eq!(demand(&auth, known).map(|demand| demand.method), Ok(Method::Nothing));
        }
        let nobody = Ask { roles: Some(&[]), ..elsewhere };
        assert!(matches!(demand(&auth, nobody), Err(NoDemand::NoEntry(_))));
    }

    #[test]
    fn certificates_are_demanded_alone_or_besides() {
        let demanded = |auth| demand(&auth, ask("10.0.0.1", true)).expect("let in");
        let cert = demanded(PostgresAuth::Cert);
        assert_eq!(cert.certificate, Some(ClientCertificate::VerifyFull));
        let mut both = rule(HbaConnection::HostSsl, HbaMethod::ScramSha256);
        both.client_certificate = Some(ClientCertificate::VerifyCa);
        let path = std::path::Path::new("hba").into();
        let both = demanded(PostgresAuth::Hba(Arc::new(Hba { path, rules: vec![both] })));
        assert_eq!(both.method, Method::Scram);
        assert_eq!(both.certificate, Some(ClientCertificate::VerifyCa));
    }
}
