//! What somebody has to do to get in.

use std::{net::IpAddr, sync::Arc};

use bs9_config::{
    ClientCertificate, Hba, HbaConnection, HbaDatabase, HbaMethod, HbaRule, HbaUser, PostgresAuth,
};
use bs9_net::PeerAddress;

/// Who asks for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) user: &'a str,
    pub(crate) database: &'a str,
    pub(crate) peer: PeerAddress,
    pub(crate) encrypted: bool,
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
}

/// No rule lets it in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct NoEntry {
    message: String,
}

/// Finds out what `ask` has to do.
pub(crate) fn demand(auth: &PostgresAuth, ask: Ask<'_>) -> Result<Demand, NoEntry> {
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

fn by_rules(hba: &Hba, ask: Ask<'_>) -> Result<Demand, NoEntry> {
    let Some(rule) = hba.rules.iter().find(|rule| matches(rule, ask)) else {
        return Err(ask.no_entry("no pg_hba.conf entry for"));
    };
    let (method, own) = match rule.method {
        HbaMethod::Reject => return Err(ask.no_entry("pg_hba.conf rejects connection for")),
        HbaMethod::Trust => (Method::Nothing, None),
        HbaMethod::Md5 => (Method::Md5, None),
        HbaMethod::ScramSha256 => (Method::Scram, None),
        HbaMethod::Cert => (Method::Nothing, Some(ClientCertificate::VerifyFull)),
    };
    let certificate = own.or(rule.client_certificate);
    Ok(Demand { method, certificate, map: rule.map.clone() })
}

fn matches(rule: &HbaRule, ask: Ask<'_>) -> bool {
    let connected = match (rule.connection, ask.peer) {
        (HbaConnection::Local, PeerAddress::Unix) => true,
        (HbaConnection::Host, PeerAddress::Tcp(_)) => true,
        (HbaConnection::HostSsl, PeerAddress::Tcp(_)) => ask.encrypted,
        (HbaConnection::HostNoSsl, PeerAddress::Tcp(_)) => !ask.encrypted,
        _ => false,
    };
    connected
        && rule.databases.iter().any(|database| match database {
            HbaDatabase::All => true,
            HbaDatabase::SameUser => ask.database == ask.user,
            // Those who replicate are told that they cannot, before this is asked.
            HbaDatabase::Replication => false,
            HbaDatabase::Is(name) => **name == *ask.database,
        })
        && rule.users.iter().any(|user| match user {
            HbaUser::All => true,
            HbaUser::Is(name) => **name == *ask.user,
        })
        && rule.network.is_none_or(|network| {
            address(ask.peer).is_some_and(|ip| (network.first()..=network.last()).contains(&ip))
        })
}

fn address(peer: PeerAddress) -> Option<IpAddr> {
    match peer {
        PeerAddress::Tcp(address) => Some(address.ip().to_canonical()),
        PeerAddress::Unix => None,
    }
}

impl Ask<'_> {
    /// In a server's words.
    fn no_entry(&self, what: &str) -> NoEntry {
        let host = address(self.peer).map_or_else(|| "[local]".to_owned(), |ip| ip.to_string());
        let Self { user, database, .. } = self;
        let encryption = if self.encrypted { "SSL encryption" } else { "no encryption" };
        let message = format!(
            "{what} host \"{host}\", user \"{user}\", database \"{database}\", {encryption}"
        );
        NoEntry { message }
    }
}

#[cfg(test)]
mod tests {
    use bs9_config::Network;

    use super::*;

    fn rule(connection: HbaConnection, method: HbaMethod) -> HbaRule {
        HbaRule {
            line: 1,
            connection,
            databases: vec![HbaDatabase::All],
            users: vec![HbaUser::All],
            network: None,
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
        Ask { user: "alice", database: "app", peer, encrypted }
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
            inside.network = Network::new([10, 0, 0, 0].into(), 8);
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
