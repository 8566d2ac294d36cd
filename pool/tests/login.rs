//! Rules, files of users, users that the server has, and those who try too often.

use std::{fs, path::Path};

use bs9_wire::{
    auth::md5::Md5Secret,
    encode::frontend,
    message::backend::Authentication,
    startup::{ProtocolVersion, StartupParameters, startup_message},
};
use tokio_postgres::error::SqlState;

use crate::postgres::{Cluster, Dialogue, Fake, Manner, Pooler, eventually_async};

/// The ordinary configuration with other words for `auth`, and `more` of `[postgres]`.
fn text(auth: &str, more: &str) -> String {
    let text = Pooler::text(Cluster::shared());
    text.replace("auth = \"trust\"", &format!("auth = \"{auth}\"\n{more}"))
}

fn without_users(text: &str) -> String {
    let (before, users) = text.split_once("[postgres.users.").expect("users");
    let (_, behind) = users.split_once("[postgres.databases").expect("databases");
    format!("{before}[postgres.databases{behind}")
}

async fn login(pooler: &Pooler, user: &str, password: &str) -> Result<String, SqlState> {
    let settings = format!("user={user} password='{password}' dbname=app");
    let client = pooler.connect_with(&settings).await;
    let client = client.map_err(|error| error.code().expect("told why").clone())?;
    let row = client.query_one("SELECT current_user::text", &[]).await;
    let row = row.map_err(|error| error.code().expect("told why").clone())?;
    Ok(row.get(0))
}

async fn works(pooler: &Pooler, user: &str) {
    assert_eq!(login(pooler, user, Cluster::PASSWORD).await.as_deref(), Ok(user));
}

async fn is_refused(pooler: &Pooler, user: &str, password: &str, code: &SqlState) {
    assert_eq!(login(pooler, user, password).await.as_ref(), Err(code), "{user}");
}

fn folder_with(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn pooler_in(folder: &Path, text: &str) -> Pooler {
    Pooler::start(|config| *config = Pooler::parse(folder, text))
}

#[tokio::test]
async fn rules_decide_by_user_database_and_place() {
    let rules = "\
        local   all all                 trust\n\
        host    all mortal 127.0.0.0/8  reject\n\
        host    app alice,bob 127.0.0.1 255.255.255.255 trust # by mask\n\
        host    all by_md5 127.0.0.1/32 md5\n\
        host    other crowd all         trust\n\
        host    all by_scram all        scram-sha-256\n";
    let folder = folder_with(&[("rules", rules)]);
    let pooler = pooler_in(folder.path(), &text("hba:rules", ""));
    for user in ["alice", "bob"] {
        assert_eq!(login(&pooler, user, "whatever").await.as_deref(), Ok(user));
    }
    for user in ["by_md5", "by_scram"] {
        works(&pooler, user).await;
        is_refused(&pooler, user, "wrong", &SqlState::INVALID_PASSWORD).await;
    }
    let mut rejected = Dialogue::greet(pooler.address, "mortal", &[]);
    let told = rejected.receive();
    assert_eq!(told.sqlstate(), "28000");
    let told = String::from_utf8_lossy(&told.body).into_owned();
    assert!(told.contains("pg_hba.conf rejects connection for host \"127.0.0.1\""), "{told}");
    is_refused(&pooler, "crowd", "", &SqlState::INVALID_AUTHORIZATION_SPECIFICATION).await;
    // Read again with the configuration.
    fs::write(folder.path().join("rules"), "host all all all reject\n").unwrap();
    let next = Pooler::parse(folder.path(), &text("hba:rules", ""));
    let pooler = tokio::task::spawn_blocking(move || {
        pooler.reload(next);
        pooler
    });
    let pooler = pooler.await.unwrap();
    is_refused(&pooler, "alice", "", &SqlState::INVALID_AUTHORIZATION_SPECIFICATION).await;
}

#[tokio::test]
async fn a_userlist_is_as_good_as_a_list_of_users() {
    let stored = |user: &str| {
        let query = format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{user}'");
        Cluster::shared().sql(&query)
    };
    let list = format!(
        "; the pool's users\n\"by_scram\" \"{}\"\n\"by_md5\" \"{}\"\n\"by_password\" \"{}\" \"more\"\n",
        stored("by_scram"),
        stored("by_md5"),
        Cluster::PASSWORD
    );
    let folder = folder_with(&[("userlist.txt", &list)]);
    let text = without_users(&text("md5", "auth_file = \"userlist.txt\""));
    let pooler = pooler_in(folder.path(), &text);
    for user in ["by_scram", "by_md5", "by_password"] {
        works(&pooler, user).await;
        is_refused(&pooler, user, "wrong", &SqlState::INVALID_PASSWORD).await;
    }
    is_refused(&pooler, "alice", "", &SqlState::INVALID_PASSWORD).await;
}

/// A pool that looks users up as `looker`, who reads what it has to.
fn looking_up(auth: &str, more: &str) -> Pooler {
    let users = "auth_user = \"postgres\"\nauth_cache_ttl = \"300ms\"\nauth_cache_negative_ttl = \"300ms\"\n";
    let text = without_users(&text(auth, &format!("{users}{more}")));
    Pooler::by(&(text + "[postgres.users.postgres]\n"))
}

#[tokio::test]
async fn users_that_are_not_listed_are_looked_up_on_the_server() {
    let pooler = looking_up("md5", "");
    // Whatever the server has of them, it takes the login again: keys and digests are passed on.
    for user in ["by_scram", "by_md5"] {
        works(&pooler, user).await;
        is_refused(&pooler, user, "wrong", &SqlState::INVALID_PASSWORD).await;
    }
    is_refused(&pooler, "nobody", "x", &SqlState::INVALID_PASSWORD).await;
    // A role without a password has none that could be right.
    is_refused(&pooler, "bob", "x", &SqlState::INVALID_PASSWORD).await;
}

#[tokio::test]
async fn who_was_looked_up_is_remembered() {
    let sql = "DROP SEQUENCE IF EXISTS public.lookups; CREATE SEQUENCE public.lookups";
    Cluster::shared().sql(sql);
    // Whether it finds somebody or not, it counts.
    let query = "SELECT rolname::text, rolpassword FROM pg_authid WHERE rolname = $1 \
                 UNION ALL SELECT NULL, NULL WHERE nextval('public.lookups') < 0";
    let lookups = || {
        let query = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM public.lookups";
        Cluster::shared().sql(query)
    };
    let more = format!(
        "auth_user = \"postgres\"\nauth_dbname = \"postgres\"\nauth_query = \"{query}\"\n\
         auth_cache_ttl = \"1h\"\nauth_cache_negative_ttl = \"1h\"\n"
    );
    let users = format!(
        "[postgres.databases.postgres]\nport = {}\n[postgres.users.postgres]\n",
        Cluster::shared().port()
    );
    let pooler = Pooler::by(&(without_users(&text("scram-sha-256", &more)) + &users));
    for _ in 0..3 {
        works(&pooler, "by_scram").await;
        assert_eq!(lookups(), "1");
    }
    for _ in 0..3 {
        is_refused(&pooler, "nobody", "x", &SqlState::INVALID_PASSWORD).await;
        assert_eq!(lookups(), "2");
    }
}

#[tokio::test]
async fn what_changes_on_the_server_is_seen_when_the_answer_is_old() {
    let pooler = looking_up("scram-sha-256", "");
    let sql = |statement: &str| Cluster::shared().sql(statement);
    sql("DROP ROLE IF EXISTS changeling");
    is_refused(&pooler, "changeling", "one", &SqlState::INVALID_PASSWORD).await;
    sql("CREATE ROLE changeling LOGIN PASSWORD 'one'");
    let becomes = async |password: &str, wanted: bool| {
        let what = format!("{password}: {wanted}");
        let attempt = async || login(&pooler, "changeling", password).await.is_ok() == wanted;
        eventually_async(&what, attempt).await;
    };
    becomes("one", true).await;
    sql("ALTER ROLE changeling PASSWORD 'two'");
    becomes("two", true).await;
    becomes("one", false).await;
    sql("ALTER ROLE changeling VALID UNTIL '2001-01-01'");
    becomes("two", false).await;
    sql("ALTER ROLE changeling VALID UNTIL 'infinity'");
    becomes("two", true).await;
    sql("ALTER ROLE changeling NOLOGIN");
    becomes("two", false).await;
    sql("DROP ROLE changeling");
}

#[tokio::test]
async fn a_lookup_sees_the_catalog_and_nothing_in_its_way() {
    // A table that would come first by the user's own search_path.
    Cluster::shared().sql(
        "DROP SCHEMA IF EXISTS trap CASCADE;
         CREATE SCHEMA trap;
         CREATE TABLE trap.pg_authid AS
            SELECT 'by_scram'::name AS rolname, 'stolen'::text AS rolpassword;
         DROP ROLE IF EXISTS looker;
         CREATE ROLE looker SUPERUSER LOGIN;
         ALTER ROLE looker SET search_path = trap, pg_catalog",
    );
    let query = "auth_query = \"SELECT rolname, rolpassword FROM pg_authid WHERE rolname = $1\"\n\
                 auth_user = \"looker\"\nauth_dbname = \"postgres\"\n";
    let text = without_users(&text("scram-sha-256", query));
    let more = format!(
        "[postgres.databases.postgres]\nport = {}\n[postgres.users.looker]\n",
        Cluster::shared().port()
    );
    let pooler = Pooler::by(&(text + &more));
    works(&pooler, "by_scram").await;
    is_refused(&pooler, "by_scram", "stolen", &SqlState::INVALID_PASSWORD).await;
}

#[tokio::test]
async fn a_server_that_lets_nobody_look_up_users_is_not_asked_for_each_of_them() {
    let full = b"SFATAL\0C53300\0Msorry, too many clients already\0\0";
    let refusal = [&[b'E', 0, 0, 0, full.len() as u8 + 4], &full[..]].concat();
    let manner = move |_| Manner { refusal: Some(refusal.clone()), ..Manner::default() };
    let fake = Fake::start(manner);
    let auth = text("scram-sha-256", "auth_user = \"looker\"\nauth_dbname = \"app\"\n");
    let real = format!("port = {}\n", Cluster::shared().port());
    let text = without_users(&auth).replace(&real, &format!("port = {}\n", fake.port()));
    let pooler = Pooler::by(&(text + "[postgres.users.looker]\n"));
    let failed = SqlState::SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION;
    let in_vain = async |number| {
        is_refused(&pooler, &format!("someone_{number}"), "x", &failed).await;
    };
    futures_util::future::join_all((0..20).map(in_vain)).await;
    for number in 20..40 {
        in_vain(number).await;
    }
    // Now and then it is, with a pause in between that grows.
    assert!(fake.connections() < 20, "{}", fake.connections());
}

#[tokio::test]
async fn a_lookup_that_fails_is_said_to_and_costs_others_nothing() {
    let pooler = looking_up("scram-sha-256", "auth_query = \"SELECT $1, 1/0\"\n");
    let failed = SqlState::SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION;
    is_refused(&pooler, "by_scram", Cluster::PASSWORD, &failed).await;
    let other =
        looking_up("scram-sha-256", "auth_query = \"SELECT 'postgres', 'x' WHERE $1 <> ''\"\n");
    is_refused(&other, "by_scram", "x", &failed).await;
}

#[tokio::test]
async fn names_that_are_too_long_are_cut_off_as_the_server_does() {
    let name = |letter: char| letter.to_string().repeat(63);
    let (listed, looked_up) = (name('l'), name('u'));
    for role in [&listed, &looked_up] {
        let password = Cluster::PASSWORD;
        Cluster::shared().sql(&format!(
            "DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN PASSWORD '{password}'"
        ));
    }
    let folder = folder_with(&[("users", &format!("\"{listed}\" \"{}\"\n", Cluster::PASSWORD))]);
    let users = "auth_user = \"postgres\"\nauth_file = \"users\"\n";
    let text = without_users(&text("scram-sha-256", users)) + "[postgres.users.postgres]\n";
    let pooler = pooler_in(folder.path(), &text);
    for role in [&listed, &looked_up] {
        let longer = format!("{role}_and_more");
        let let_in = login(&pooler, &longer, Cluster::PASSWORD).await;
        assert_eq!(let_in.as_ref(), Ok(role));
        let direct =
            format!("host=127.0.0.1 port={} user={longer} dbname=app", Cluster::shared().port());
        let at_the_server = tokio_postgres::connect(&direct, tokio_postgres::NoTls).await;
        assert!(at_the_server.is_ok());
    }
    let statuses = pooler.statuses();
    let users: Vec<_> = statuses.iter().map(|pool| &pool.user).collect();
    assert_eq!(users, [&listed, &looked_up]);
    is_refused(&pooler, &"ü".repeat(40), "x", &SqlState::INVALID_PASSWORD).await;
    Cluster::shared().sql(&format!("DROP ROLE {listed}; DROP ROLE {looked_up}"));
}

#[tokio::test]
async fn a_lookup_goes_by_tls_where_servers_do() {
    let secured = "tls = { sslmode = \"verify-ca\", ca = \"ca.pem\" }\n";
    let more = "auth_user = \"by_tls\"\nauth_query = \"SELECT rolname, passwd FROM public.looked_up WHERE rolname = $1\"\nauth_dbname = \"postgres\"\n";
    Cluster::shared().sql(
        "DROP TABLE IF EXISTS public.looked_up;
         CREATE TABLE public.looked_up AS SELECT rolname, rolpassword AS passwd FROM pg_authid
            WHERE rolname = 'by_scram';
         GRANT SELECT ON public.looked_up TO by_tls",
    );
    let text = without_users(&text("scram-sha-256", more));
    let users = format!(
        "{secured}[postgres.databases.postgres]\nport = {}\n{secured}\
         [postgres.users.by_tls]\npassword = \"{}\"\n",
        Cluster::shared().port(),
        Cluster::PASSWORD
    );
    let pooler = Pooler::by(&(text + &users));
    works(&pooler, "by_scram").await;
}

/// Begins a SCRAM login and gives the salt that it is asked for.
fn salt(pooler: &Pooler, user: &str) -> String {
    let mut dialogue = Dialogue::open(pooler.address);
    let mut packet = Vec::new();
    let session = StartupParameters { user, database: "app" };
    startup_message(&mut packet, ProtocolVersion::V3_0, session, []);
    dialogue.send(&packet);
    assert_eq!(dialogue.receive().tag, 'R');
    let mut first = Vec::new();
    frontend::sasl_initial_response(&mut first, "SCRAM-SHA-256", b"n,,n=,r=abcdefghijklmnop");
    dialogue.send(&first);
    let asked = dialogue.receive();
    let Ok(Authentication::SaslContinue(text)) = Authentication::read(&asked.body) else {
        panic!("{asked:?}")
    };
    let text = String::from_utf8_lossy(text).into_owned();
    let (_, behind) = text.split_once("s=").expect("a salt");
    behind.to_owned()
}

#[test]
fn who_does_not_exist_is_asked_for_the_same_each_time() {
    let pooler = Pooler::by(&text("scram-sha-256", ""));
    let (known, unknown) = (salt(&pooler, "by_scram"), salt(&pooler, "eve"));
    assert_eq!(unknown, salt(&pooler, "eve"));
    assert_eq!(known, salt(&pooler, "by_scram"));
    assert_ne!(unknown, salt(&pooler, "mallory"));
    assert_eq!(known.len(), unknown.len());
    assert!(known.ends_with(",i=4096") && unknown.ends_with(",i=4096"));
}

/// What a user is asked for: 5 is md5, 10 SCRAM.
fn asked(pooler: &Pooler, user: &str) -> u8 {
    let asked = Dialogue::greet(pooler.address, user, &[]).receive();
    let [0, 0, 0, method, ..] = *asked.body else { panic!("{asked:?}") };
    method
}

#[test]
fn how_a_password_is_asked_for_does_not_tell_who_exists() {
    let unknown = |pooler: &Pooler| {
        let methods: std::collections::BTreeSet<_> =
            (0..20).map(|number| asked(pooler, &format!("unknown_{number}"))).collect();
        Vec::from_iter(methods)
    };
    for (user, method) in [("by_scram", 10), ("by_md5", 5)] {
        let pooler = looking_up("md5", "");
        assert_eq!(unknown(&pooler), [10], "as servers ask");
        assert_eq!(asked(&pooler, user), method);
        assert_eq!(unknown(&pooler), [method], "as {user}");
    }
    let pooler = looking_up("md5", "");
    let known = ["by_scram", "by_md5"].map(|user| asked(&pooler, user));
    assert_eq!((known, unknown(&pooler)), ([10, 5], vec![5, 10]));
    let again = |number| (0..3).all(|_| asked(&pooler, "eve") == number);
    assert!(again(5) || again(10), "the same each time");
}

#[tokio::test]
async fn whoever_fails_too_often_is_refused_unseen() {
    let pooler =
        Pooler::by(&text("scram-sha-256", "max_login_failures = 3\nlogin_backoff = \"2s\""));
    for _ in 0..2 {
        is_refused(&pooler, "by_scram", "wrong", &SqlState::INVALID_PASSWORD).await;
    }
    // A success makes up for it.
    works(&pooler, "by_scram").await;
    for _ in 0..4 {
        is_refused(&pooler, "eve", "wrong", &SqlState::INVALID_PASSWORD).await;
    }
    let mut refused = Dialogue::greet(pooler.address, "by_scram", &[]);
    let told = refused.receive();
    assert_eq!((told.tag, told.sqlstate().as_str()), ('E', "28000"));
    assert!(String::from_utf8_lossy(&told.body).contains("too many failed logins"));
    assert_eq!(refused.next(), None);
    let attempt = async || login(&pooler, "by_scram", Cluster::PASSWORD).await.is_ok();
    eventually_async("it is let in again", attempt).await;
}

#[test]
fn guesses_at_the_same_time_are_refused_unseen_too() {
    let pooler = Pooler::by(&text("md5", "max_login_failures = 3"));
    let ask = |_| {
        let mut client = Dialogue::greet(pooler.address, "by_password", &[]);
        let asked = client.receive();
        let [0, 0, 0, 5, salt @ ..] = &*asked.body else { panic!("{asked:?}") };
        let salt: [u8; 4] = salt.try_into().expect("four bytes");
        (client, salt)
    };
    let answer = |(mut client, salt): (Dialogue, [u8; 4]), password: &str| {
        let secret = Md5Secret::from_password("by_password", password.as_bytes());
        let mut message = Vec::new();
        frontend::password(&mut message, secret.answer(salt).as_bytes());
        client.send(&message);
        let told = client.receive();
        if told.tag == 'E' { told.sqlstate() } else { told.tag.to_string() }
    };
    // All are asked before any answers.
    let mut asked: Vec<_> = (0..6).map(ask).collect();
    let (one_more, right) = (asked.pop().expect("six"), asked.pop().expect("five"));
    for guess in asked {
        assert_eq!(answer(guess, "wrong"), "28P01");
    }
    assert_eq!(answer(one_more, "wrong"), "28000", "it is not looked at");
    assert_eq!(answer(right, Cluster::PASSWORD), "28000", "nor is the right one");
    let mut next = Dialogue::greet(pooler.address, "by_password", &[]);
    assert_eq!(next.receive().sqlstate(), "28000", "and it makes up for nothing");
}

#[tokio::test]
async fn a_storm_of_first_logins_is_served() {
    let users: String = (0..60)
        .map(|number| format!("[postgres.users.u{number}]\npassword = \"p{number}\"\n"))
        .collect();
    let text = text("scram-sha-256", "")
        .replace("[postgres.databases.app]\n", "[postgres.databases.app]\nuser = \"alice\"\n");
    let pooler = Pooler::by(&(text + &users));
    let logins = (0..60).map(async |number: u32| {
        let (user, password) = (format!("u{number}"), format!("p{number}"));
        assert_eq!(login(&pooler, &user, &password).await.as_deref(), Ok("alice"));
    });
    futures_util::future::join_all(logins).await;
}
