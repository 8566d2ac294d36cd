//! Reading a `pg_hba.conf`.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    sync::Arc,
};

use super::lines::{BadLine, Field, Item};
use crate::model::{
    ClientCertificate, Hba, HbaAddress, HbaConnection, HbaDatabase, HbaMethod, HbaPattern, HbaRule,
    HbaUser, Network,
};

mod files;

pub(super) use files::MAX_FILE_BYTES;
use files::Placed;

/// Everything that is wrong with it at once.
pub(super) fn parse(path: &Path, text: &str) -> Result<Hba, Vec<BadLine>> {
    let mut bad = Vec::new();
    let mut rules = Vec::new();
    for placed in files::gather(path, text, &mut bad) {
        match rule(&placed) {
            Ok(rule) => rules.push(rule),
            Err(message) => bad.push(placed.bad(message)),
        }
    }
    if rules.is_empty() && bad.is_empty() {
        bad.push(BadLine::new(1, "there is no rule, so nobody could log in"));
    }
    bad.sort_by_key(|line| line.number);
    if bad.is_empty() { Ok(Hba { path: path.into(), rules }) } else { Err(bad) }
}

fn rule(placed: &Placed) -> Result<HbaRule, String> {
    let mut fields = placed.line.fields.iter();
    let mut next = |what: &str| fields.next().ok_or(format!("{what} is missing"));
    let connection = connection(single(next("the connection type")?)?)?;
    let databases = each(placed, next("the database")?, database)?;
    let users = each(placed, next("the user")?, user)?;
    let mut method_field;
    let address = if connection == HbaConnection::Local {
        method_field = next("the method")?;
        HbaAddress::Any
    } else {
        let address = single(next("the address")?)?;
        method_field = next("the method")?;
        match needs_mask(address) {
            false => network(address, None)?,
            true => {
                let mask = single(method_field)?;
                method_field = next("the method")?;
                network(address, Some(mask))?
            }
        }
    };
    let method = method(single(method_field)?, connection)?;
    let mut rule = HbaRule {
        file: Arc::clone(&placed.file),
        line: placed.line.number,
        connection,
        databases,
        users,
        address,
        method,
        client_certificate: None,
        map: None,
    };
    for field in fields {
        option(&mut rule, single(field)?)?;
    }
    check(rule)
}

fn single(field: &Field) -> Result<&Item, String> {
    match field.as_slice() {
        [item] => Ok(item),
        _ => Err("a list is not possible here".to_owned()),
    }
}

fn each<T>(
    placed: &Placed,
    field: &Field,
    read: fn(&Item) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    placed.expand(field)?.iter().map(read).collect()
}

fn connection(item: &Item) -> Result<HbaConnection, String> {
    Ok(match item.text.as_str() {
        "local" => HbaConnection::Local,
        "host" => HbaConnection::Host,
        "hostssl" => HbaConnection::HostSsl,
        // There is no GSS encryption here, so this says nothing more than `host`.
        "hostnogssenc" => HbaConnection::Host,
        "hostnossl" => HbaConnection::HostNoSsl,
        "hostgssenc" => {
            return Err("GSS encryption is not supported: use hostssl instead".to_owned());
        }
        other => {
            return Err(format!(
                "`{other}` is no connection type: local, host, hostssl or hostnossl"
            ));
        }
    })
}

fn database(item: &Item) -> Result<HbaDatabase, String> {
    Ok(match item.text.as_str() {
        "all" if !item.quoted => HbaDatabase::All,
        "sameuser" if !item.quoted => HbaDatabase::SameUser,
        "replication" if !item.quoted => HbaDatabase::Replication,
        "samerole" | "samegroup" if !item.quoted => HbaDatabase::SameRole,
        _ => match pattern(item)? {
            Some(pattern) => HbaDatabase::Matches(pattern),
            None => HbaDatabase::Is(name(item)?),
        },
    })
}

fn user(item: &Item) -> Result<HbaUser, String> {
    if item.is("all") {
        return Ok(HbaUser::All);
    }
    if let Some(role) = item.text.strip_prefix('+').filter(|_| !item.quoted) {
        return match role {
            "" => Err("a role is missing behind `+`".to_owned()),
            role => Ok(HbaUser::MemberOf(role.into())),
        };
    }
    match pattern(item)? {
        Some(pattern) => Ok(HbaUser::Matches(pattern)),
        None => name(item).map(HbaUser::Is),
    }
}

/// What begins with a slash is a pattern, in quotes or not.
fn pattern(item: &Item) -> Result<Option<HbaPattern>, String> {
    let Some(pattern) = item.text.strip_prefix('/') else { return Ok(None) };
    let read = HbaPattern::new(pattern);
    read.map(Some).map_err(|error| format!("`{}` is no pattern: {error}", item.text))
}

fn name(item: &Item) -> Result<Arc<str>, String> {
    if item.text.is_empty() {
        return Err("a name is empty".to_owned());
    }
    Ok(item.text.as_str().into())
}

/// An address without prefix length has its mask behind it.
fn needs_mask(address: &Item) -> bool {
    !address.text.contains('/') && address.text.parse::<IpAddr>().is_ok()
}

fn network(address: &Item, mask: Option<&Item>) -> Result<HbaAddress, String> {
    let text = address.text.as_str();
    if address.is("all") {
        return Ok(HbaAddress::Any);
    }
    if address.is("samehost") {
        return Ok(HbaAddress::SameHost);
    }
    if address.is("samenet") {
        return Err("`samenet` is not supported: write the networks, 10.1.0.0/16 say".to_owned());
    }
    let (ip, prefix) = match text.split_once('/') {
        Some((ip, prefix)) => (ip, prefix.parse().ok()),
        None => (text, mask.and_then(|mask| mask_prefix(&mask.text))),
    };
    let no_name =
        |_| format!("`{text}` is no address (names are not looked up): write the addresses it has");
    let ip: IpAddr = ip.parse().map_err(no_name)?;
    if let Some(mask) = mask
        && mask.text.parse::<IpAddr>().is_ok_and(|mask| mask.is_ipv4() != ip.is_ipv4())
    {
        return Err(format!("`{text}` and its mask `{}` are of two families", mask.text));
    }
    let shown = mask.map_or_else(|| text.to_owned(), |mask| format!("{text} {}", mask.text));
    // As the server does, what is behind the prefix is left alone.
    let network = prefix.and_then(|prefix| Network::new(masked(ip, prefix)?, prefix));
    network.map(HbaAddress::In).ok_or(format!("`{shown}` is no network"))
}

/// The address without the bits behind the prefix; `None`: it has not so many.
fn masked(ip: IpAddr, prefix: u8) -> Option<IpAddr> {
    let prefix = u32::from(prefix);
    Some(match ip {
        IpAddr::V4(ip) => {
            let behind = u32::MAX.checked_shr(prefix).unwrap_or(0);
            (prefix <= 32).then(|| Ipv4Addr::from_bits(ip.to_bits() & !behind))?.into()
        }
        IpAddr::V6(ip) => {
            let behind = u128::MAX.checked_shr(prefix).unwrap_or(0);
            (prefix <= 128).then(|| Ipv6Addr::from_bits(ip.to_bits() & !behind))?.into()
        }
    })
}

/// `255.255.0.0` is 16.
fn mask_prefix(mask: &str) -> Option<u8> {
    let (ones, bits, value) = match mask.parse().ok()? {
        IpAddr::V4(mask) => (mask.to_bits().leading_ones(), 32, u128::from(mask.to_bits()) << 96),
        IpAddr::V6(mask) => (mask.to_bits().leading_ones(), 128, mask.to_bits()),
    };
    let whole = value.leading_ones() == ones && value.count_ones() == ones && ones <= bits;
    whole.then_some(ones as u8)
}

fn method(item: &Item, connection: HbaConnection) -> Result<HbaMethod, String> {
    Ok(match item.text.as_str() {
        "trust" => HbaMethod::Trust,
        "reject" => HbaMethod::Reject,
        "md5" => HbaMethod::Md5,
        "scram-sha-256" => HbaMethod::ScramSha256,
        "cert" => HbaMethod::Cert,
        // On a Unix socket, PostgreSQL takes the one for the other, too.
        "peer" | "ident" if connection == HbaConnection::Local => HbaMethod::Peer,
        "peer" => return Err("`peer` is for `local` connections alone".to_owned()),
        other => {
            return Err(format!(
                "the method `{other}` is not supported: trust, reject, md5, scram-sha-256, cert, or peer on `local` connections"
            ));
        }
    })
}

fn option(rule: &mut HbaRule, item: &Item) -> Result<(), String> {
    let unknown = || format!("the option `{}` is not supported", item.text);
    let (name, value) = item.text.split_once('=').ok_or_else(unknown)?;
    match (name, value) {
        ("clientcert", "verify-ca") => rule.client_certificate = Some(ClientCertificate::VerifyCa),
        ("clientcert", "verify-full") => {
            rule.client_certificate = Some(ClientCertificate::VerifyFull);
        }
        ("clientcert", _) => return Err("clientcert is verify-ca or verify-full".to_owned()),
        ("clientname", "CN") => {}
        ("map", map) if !map.is_empty() => rule.map = Some(map.into()),
        _ => return Err(unknown()),
    }
    Ok(())
}

fn check(rule: HbaRule) -> Result<HbaRule, String> {
    let needs_tls = rule.client_certificate.is_some() || rule.method == HbaMethod::Cert;
    if needs_tls && rule.connection != HbaConnection::HostSsl {
        return Err("certificates are shown on `hostssl` connections alone".to_owned());
    }
    let certifies = matches!(rule.method, HbaMethod::Cert | HbaMethod::Peer)
        || rule.client_certificate == Some(ClientCertificate::VerifyFull);
    if rule.map.is_some() && !certifies {
        return Err(
            "`map` has no meaning without `cert`, `peer` or clientcert=verify-full".to_owned()
        );
    }
    Ok(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Result<HbaRule, String> {
        let parsed = parse(Path::new("hba"), line);
        parsed.map(|mut hba| hba.rules.remove(0)).map_err(|bad| bad[0].in_file(Path::new("hba")))
    }

    fn within(ip: IpAddr, prefix: u8) -> HbaAddress {
        HbaAddress::In(Network::new(ip, prefix).expect("a network"))
    }

    #[test]
    fn rules_are_read_as_postgresql_reads_them() {
        let local = one("local all \"all\",bob trust").expect("a rule");
        assert_eq!(local.connection, HbaConnection::Local);
        assert_eq!(local.users, [HbaUser::Is("all".into()), HbaUser::Is("bob".into())]);
        assert_eq!(local.method, HbaMethod::Trust);
        let host = one("host sameuser,replication all 10.0.0.0/8 scram-sha-256").expect("a rule");
        assert_eq!(host.databases, [HbaDatabase::SameUser, HbaDatabase::Replication]);
        assert_eq!(host.address, within([10, 0, 0, 0].into(), 8));
        let masked = one("host all all 10.1.2.3 255.255.0.0 md5").expect("a rule");
        assert_eq!(masked.address, within([10, 1, 0, 0].into(), 16));
        let v6 = one("host all all ::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff md5");
        assert_eq!(v6.expect("a rule").address, within("::1".parse().expect("ip"), 128));
        let all = one("hostnossl all all all reject").expect("a rule");
        assert_eq!(all.address, HbaAddress::Any);
        let cert = one("hostssl all all all cert map=office clientname=CN").expect("a rule");
        assert_eq!((cert.method, cert.map.as_deref()), (HbaMethod::Cert, Some("office")));
        let both = one("hostssl all all 0.0.0.0/0 scram-sha-256 clientcert=verify-full");
        let both = both.expect("a rule").client_certificate;
        assert_eq!(both, Some(ClientCertificate::VerifyFull));
    }

    #[test]
    fn names_are_lists_patterns_and_roles() {
        let rule =
            one("local \"/^a,b$\",samerole,samegroup /^x,+staff,\"+odd\",\"@odd\" ident map=m");
        let rule = rule.expect("a rule");
        let HbaDatabase::Matches(pattern) = &rule.databases[0] else { panic!("a pattern") };
        assert!(pattern.matches("a,b") && !pattern.matches("xa,b"));
        assert_eq!(rule.databases[1..], [HbaDatabase::SameRole, HbaDatabase::SameRole]);
        let HbaUser::Matches(pattern) = &rule.users[0] else { panic!("a pattern") };
        assert!(pattern.matches("xy") && !pattern.matches("yx"));
        let others = [HbaUser::MemberOf("staff".into()), HbaUser::Is("+odd".into())];
        assert_eq!(rule.users[1..3], others);
        assert_eq!(rule.users[3], HbaUser::Is("@odd".into()));
        assert!(rule.needs_roles() && rule.method == HbaMethod::Peer);
        let own = one("host all all samehost md5").expect("a rule");
        assert!(own.address == HbaAddress::SameHost && !own.needs_roles());
    }

    #[test]
    fn files_are_read_in_their_places() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("written");
        };
        std::fs::create_dir(folder.path().join("more")).expect("a folder");
        write("users", "alice, bob\n# nobody\n\"all\" @others\n");
        write("others", "+staff");
        write("inner", "local c @users trust\ninclude_if_exists nothing\n");
        write("more/2.conf", "local e all trust");
        write("more/1.conf", "local d all trust");
        write("more/.3.conf", "nonsense");
        write("more/4", "nonsense");
        let path = folder.path().join("hba");
        let text = "local b all trust\ninclude inner\ninclude_dir more\nlocal f all trust";
        let hba = parse(&path, text).expect("rules");
        let databases: Vec<_> = hba
            .rules
            .iter()
            .map(|rule| match &rule.databases[0] {
                HbaDatabase::Is(name) => &**name,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(databases, ["b", "c", "d", "e", "f"]);
        let is = |name: &str| HbaUser::Is(name.into());
        let users = [is("alice"), is("bob"), is("all"), HbaUser::MemberOf("staff".into())];
        assert_eq!(hba.rules[1].users, users);
        assert!(hba.rules[1].file.ends_with("inner") && hba.rules[1].line == 1);
        // What is wrong there is told with both places.
        write("inner", "local all all trust\nlocal all\n");
        let bad = parse(&path, text).expect_err("bad").remove(0);
        assert_eq!(bad.number, 2);
        assert!(bad.message.contains("inner:2: the user is missing"), "{}", bad.message);
        write("inner", "include inner");
        let bad = parse(&path, text).expect_err("bad").remove(0);
        assert!(bad.message.contains("too deeply"), "{}", bad.message);
        write("inner", "local all @inner trust");
        let bad = parse(&path, text).expect_err("bad").remove(0);
        assert!(bad.message.contains("nest too deeply"), "{}", bad.message);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let table = [
            ("nowhere all all trust", "`nowhere` is no connection type"),
            ("host all all trust", "the method is missing"),
            ("host all all 10.0.0.0/33 trust", "`10.0.0.0/33` is no network"),
            ("host all all 10.0.0.0 255.0.255.0 trust", "10.0.0.0 255.0.255.0` is no network"),
            ("host all all ::1 255.0.0.0 trust", "are of two families"),
            ("host all all example.com trust", "names are not looked up"),
            ("host all all samenet trust", "`samenet` is not supported"),
            ("host all + all trust", "a role is missing"),
            ("host @no-such-file all all trust", "cannot read no-such-file"),
            ("host all /^a( all trust", "is no pattern"),
            ("host all all all peer", "for `local` connections alone"),
            ("hostgssenc all all all trust", "use hostssl"),
            ("host all all all ldap", "the method `ldap` is not supported"),
            ("host all all all cert", "on `hostssl` connections alone"),
            ("hostssl all all all md5 map=x", "`map` has no meaning"),
            ("hostssl all all all md5 clientcert=1", "verify-ca or verify-full"),
            ("local all all trust extra", "the option `extra`"),
            ("local all,, all trust", "beside a comma"),
            ("local", "the database is missing"),
            ("include no-such-file", "cannot read no-such-file"),
            ("include a b", "names one file"),
            ("include_dir no-such-folder", "cannot read no-such-folder"),
            ("include_if_exists no-such-file", "there is no rule"),
            ("# nothing", "there is no rule"),
        ];
        for (line, expected) in table {
            let error = one(line).expect_err(line);
            assert!(error.starts_with("hba:1: ") && error.contains(expected), "{line}: {error}");
        }
        let bad = parse(Path::new("hba"), "local all all trust\nx\n\nhost all\n").expect_err("bad");
        assert_eq!(bad.iter().map(|line| line.number).collect::<Vec<_>>(), [2, 4]);
    }
}
