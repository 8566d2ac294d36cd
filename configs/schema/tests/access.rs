//! The pool's TLS and logins: what is read, and what is said when it does not serve.

use std::{fs, path::Path};

use authority::Authority;
use bs9_config::{
    ChannelBinding, Checked, ClientSslMode, Config, HbaMethod, Postgres, PostgresAuth,
    ProtocolLevel, SslMode, UserSecret, Verify, check,
};

mod authority;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let ca = Authority::new("test");
    let site = ca.issue(&["localhost"]);
    let files = [
        ("ca.pem", ca.pem()),
        ("site.pem", site.chain),
        ("site.key", site.key),
        ("good.hba", "local all all trust\nhostssl all all all cert map=m\n".to_owned()),
        ("bad.hba", "host all all 10.0.0.0/8 ldap\n\nhost all\nlocal all all trust\n".to_owned()),
        ("good.ident", "m alice bob\n".to_owned()),
        ("bad.ident", "m alice\n".to_owned()),
        (
            "userlist.txt",
            "\"alice\" \"from the file\"\n\"bob\" \"md50123456789abcdef0123456789abcdef\"\n"
                .to_owned(),
        ),
        ("bad.txt", "\"alice\" \"secret\nbob\n".to_owned()),
    ];
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("written");
    }
    folder
}

fn read(folder: &Path, text: &str) -> Checked<Config> {
    let file = folder.join("bs9.toml");
    fs::write(&file, text).expect("written");
    check(&file)
}

/// A pool by what stands in `[postgres]`, its listener's `tls` and its one database.
fn pool(postgres: &str, tls: &str, database: &str) -> String {
    let tls = match tls {
        "" => String::new(),
        tls => format!("[listeners.db.tls]\n{SITE}{tls}\n"),
    };
    format!(
        "[listeners.db]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"postgres\"\n{tls}\
         [postgres]\n{postgres}\n[postgres.databases.app]\n{database}\n"
    )
}

const SITE: &str = "certificates = [{ certificate = \"site.pem\", key = \"site.key\" }]\n";

fn good(folder: &Path, text: &str) -> (Config, Postgres) {
    let checked = read(folder, text);
    let config = checked.config.unwrap_or_else(|| panic!("{}", checked.report.render(false)));
    let postgres = config.postgres.clone().expect("a pool");
    (config, postgres)
}

#[test]
fn tls_towards_clients_is_insisted_on_unless_said_otherwise() {
    let folder = folder();
    let table = [
        ("# nothing", Some(ClientSslMode::Require)),
        ("sslmode = \"allow\"", Some(ClientSslMode::Allow)),
        ("sslmode = \"prefer\"", Some(ClientSslMode::Prefer)),
        ("sslmode = \"disable\"", None),
        (
            "sslmode = \"verify-full\"\nclient_auth = { ca = \"ca.pem\" }",
            Some(ClientSslMode::VerifyFull),
        ),
    ];
    for (tls, sslmode) in table {
        let (config, _) = good(folder.path(), &pool("", tls, ""));
        let tls = config.listeners["db"].tls.as_ref();
        assert_eq!(tls.and_then(|tls| tls.sslmode), sslmode);
        assert_eq!(tls.is_some(), sslmode.is_some());
        if let Some(tls) = tls {
            assert!(!tls.session_tickets, "logins are bound to the certificate");
            assert_eq!(tls.alpn, ["postgresql".into()]);
        }
    }
}

#[test]
fn tls_towards_servers_is_the_databases_or_else_everybodys() {
    let folder = folder();
    let everybody = "server_tls = { ca = \"ca.pem\" }";
    let own = "tls = { sslmode = \"require\", negotiation = \"direct\", channel_binding = \"require\" }\nmax_protocol_version = \"3.2\"";
    let database = |postgres: &str, database: &str| {
        good(folder.path(), &pool(postgres, "", database)).1.databases["app"].clone()
    };
    assert_eq!(database("", "").tls, None);
    let inherited = database(everybody, "");
    let tls = inherited.tls.expect("TLS");
    assert_eq!(tls.sslmode, SslMode::VerifyFull);
    assert!(matches!(&tls.tls.verify, Verify::Authorities(_)));
    assert_eq!(inherited.max_protocol, ProtocolLevel::V3_0);
    let own = database(everybody, own);
    let tls = own.tls.expect("TLS");
    assert_eq!((tls.sslmode, tls.direct), (SslMode::Require, true));
    assert_eq!((tls.channel_binding, &tls.tls.verify), (ChannelBinding::Require, &Verify::Nothing));
    assert_eq!(own.max_protocol, ProtocolLevel::V3_2);
    assert_eq!(database(everybody, "tls = { sslmode = \"disable\" }").tls, None);
    assert_eq!(database(everybody, "host = \"/run/postgresql\"").tls, None);
    let any_name = database("", "tls = { sslmode = \"verify-ca\", ca = \"ca.pem\" }");
    assert!(matches!(&any_name.tls.expect("TLS").tls.verify, Verify::AnyName(_)));
}

#[test]
fn rules_users_and_maps_come_from_files() {
    let folder = folder();
    let text = "auth = \"hba:good.hba\"\nauth_ident_file = \"good.ident\"\nauth_file = \"userlist.txt\"\n\
                auth_user = \"looker\"\nauth_cache_ttl = \"1m\"\n\
                [postgres.users.alice]\npassword = \"from the table\"\n[postgres.users.looker]";
    let tls = "client_auth = { mode = \"optional\", ca = \"ca.pem\" }";
    let (_, postgres) = good(folder.path(), &pool(text, tls, ""));
    let PostgresAuth::Hba(hba) = &postgres.auth else { panic!("{:?}", postgres.auth) };
    let methods: Vec<_> = hba.rules.iter().map(|rule| (rule.line, rule.method)).collect();
    assert_eq!(methods, [(1, HbaMethod::Trust), (2, HbaMethod::Cert)]);
    assert!(postgres.access.ident_maps.lets(Some("m"), "alice", "bob"));
    let Some(UserSecret::Plain(own)) = &postgres.users["alice"].secret else { panic!("plain") };
    assert_eq!(own.reveal(), "from the table");
    assert!(matches!(postgres.users["bob"].secret, Some(UserSecret::Md5(_))));
    let query = postgres.access.query.expect("auth_user");
    assert!(query.query.contains("pg_catalog.pg_authid") && query.query.contains("rolvaliduntil"));
    assert_eq!((&*query.user, query.ttl.as_secs()), ("looker", 60));
}

#[test]
fn a_database_may_say_who_asks_for_its_users() {
    let folder = folder();
    let own = "auth_user = \"b\"\nauth_query = \"SELECT own($1)\"\n\
               [postgres.databases.other]\n[postgres.users.a]\n[postgres.users.b]";
    let (_, postgres) =
        good(folder.path(), &pool("auth_user = \"a\"\nauth_dbname = \"other\"", "", own));
    let query = |name: &str| postgres.databases[name].auth_query.clone().expect("somebody asks");
    let (own, other) = (query("app"), query("other"));
    assert_eq!((&*own.user, &*own.query), ("b", "SELECT own($1)"));
    assert_eq!(own.database.as_deref(), Some("other"));
    assert_eq!(Some(other), postgres.access.query);
    let alone = "auth_user = \"b\"\n[postgres.databases.other]\n[postgres.users.b]";
    let (_, postgres) = good(folder.path(), &pool("auth_query = \"SELECT $1\"", "", alone));
    assert_eq!(postgres.access.query, None);
    assert_eq!(postgres.databases["other"].auth_query, None);
    let own = postgres.databases["app"].auth_query.as_ref().expect("somebody asks");
    assert_eq!((&*own.user, &*own.query, own.database.as_deref()), ("b", "SELECT $1", None));
}

#[test]
fn a_file_of_users_that_changed_is_a_change_of_users() {
    let folder = folder();
    let text = pool("auth = \"md5\"\nauth_file = \"userlist.txt\"", "", "");
    let (before, _) = good(folder.path(), &text);
    fs::write(folder.path().join("userlist.txt"), "\"alice\" \"other\"\n").expect("written");
    let (after, _) = good(folder.path(), &text);
    assert_eq!(bs9_config::difference(&before, &after).to_string(), "users: ~alice -bob");
}

/// What each configuration is refused for.
#[test]
fn what_does_not_serve_is_refused_with_its_reason() {
    let folder = folder();
    let postgres = |text: &str| pool(text, "", "");
    let tls = |text: &str| pool("", text, "");
    let database = |text: &str| pool("", "", text);
    let http = format!(
        "[listeners.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\nroutes = [{{ cluster = \"api\" }}]\n\
         [listeners.web.tls]\n{SITE}sslmode = \"disable\"\n[clusters.api]\n"
    );
    let cases = [
        (http, "`sslmode` has a meaning for protocol = \"postgres\" alone"),
        (tls("sslmode = \"verify-ca\""), "needs `client_auth`"),
        (
            tls(
                "sslmode = \"verify-full\"\nclient_auth = { mode = \"optional\", ca = \"ca.pem\" }",
            ),
            "needs `client_auth`",
        ),
        (tls("session_tickets = true"), "`session_tickets` has no meaning"),
        (tls("alpn = [\"h2\"]"), "speaks \"postgresql\" alone"),
        (tls("hsts = {}"), "`hsts` has no meaning"),
        (database("tls = { sslmode = \"sure\" }"), "expected one of \"disable\""),
        (database("tls = { sslmode = \"verify-ca\" }"), "needs `ca`"),
        (
            database("tls = { sslmode = \"require\", ca = \"ca.pem\" }"),
            "`ca` has no meaning with sslmode = \"require\"",
        ),
        (
            database("tls = { sslmode = \"prefer\", negotiation = \"direct\" }"),
            "cannot fall back, as sslmode = \"prefer\" wants to",
        ),
        (
            database("tls = { sslmode = \"allow\", channel_binding = \"require\" }"),
            "channel_binding = \"require\" needs TLS",
        ),
        (database("tls = { ca = \"no.pem\" }"), "no.pem: No such file"),
        (database("tls = { certificate = \"site.pem\" }"), "`certificate` is without its `key`"),
        (database("max_protocol_version = \"3.1\""), "expected one of \"3.0\", \"3.2\""),
        (postgres("auth = \"hba:no.hba\""), "no.hba: No such file"),
        (postgres("auth = \"hba:bad.hba\""), "bad.hba:1: the method `ldap` is not supported"),
        (postgres("auth = \"hba:bad.hba\""), "bad.hba:3: the user is missing"),
        (postgres("auth = \"hba:good.hba\""), "good.hba:2: there is no map `m`"),
        (postgres("auth = \"cert\""), "no postgres listener asks for one"),
        (postgres("auth_ident_file = \"bad.ident\""), "bad.ident:1: expected a map"),
        (postgres("auth_file = \"bad.txt\""), "bad.txt:1: expected \"user\" \"password\""),
        (postgres("auth_file = \"bad.txt\""), "bad.txt:2: expected"),
        (postgres("auth_user = \"looker\""), "the user `looker` is not listed"),
        (
            postgres("auth_user = \"bob\"\nauth_file = \"userlist.txt\""),
            "the password of `bob` is hashed",
        ),
        (postgres("auth_query = \"SELECT $1\""), "no meaning without `auth_user`"),
        (database("auth_query = \"SELECT $1\""), "no meaning without `auth_user`"),
        (database("auth_dbname = \"app\""), "no meaning without `auth_user`"),
        (database("auth_user = \"looker\""), "the user `looker` is not listed"),
        (
            database("auth_user = \"l\"\nauth_dbname = \"other\"\n[postgres.users.l]"),
            "there is no database `other`",
        ),
        (
            postgres("auth_user = \"l\"\nauth_dbname = \"other\"\n[postgres.users.l]"),
            "there is no database `other`",
        ),
        (
            postgres("auth_user = \"l\"\nauth_query = \"SELECT 1\"\n[postgres.users.l]"),
            "`$1` is not in it",
        ),
    ];
    for (text, expected) in cases {
        let checked = read(folder.path(), &text);
        assert!(checked.config.is_none(), "{text}");
        let report = checked.report.render(false);
        assert!(report.contains(expected), "{text}\n{report}");
        assert!(!report.contains("secret\n"), "{report}");
    }
}
