//! Who may log in, how, and what everyone else is told; towards clients and towards servers.

use bs9_config::{PostgresAuth, PostgresUser, Secret, UserSecret};
use bs9_wire::auth::scram::ScramVerifier;
use tokio_postgres::{SimpleQueryMessage, error::SqlState};

use crate::postgres::{Cluster, Dialogue, Pooler};

fn login(user: &str, password: &str) -> String {
    format!("user={user} password='{password}' dbname=app")
}

async fn works(pooler: &Pooler, user: &str) {
    let client = pooler.connect_with(&login(user, Cluster::PASSWORD)).await.unwrap();
    let rows = client.simple_query("SELECT current_user").await.unwrap();
    let SimpleQueryMessage::Row(row) = &rows[1] else { panic!("{rows:?}") };
    assert_eq!(row.get(0), Some(user));
}

async fn refused(pooler: &Pooler, settings: &str) -> SqlState {
    let Err(error) = pooler.connect_with(settings).await else { panic!("{settings}: let in") };
    error.code().unwrap_or_else(|| panic!("{error}")).clone()
}

/// Has the user's secret stored in another form.
fn store(config: &mut bs9_config::Config, user: &str, secret: UserSecret) {
    let users = &mut config.postgres.as_mut().unwrap().users;
    users.insert(
        user.into(),
        PostgresUser {
            name: user.into(),
            secret: Some(secret),
            limits: bs9_config::UserLimits::default(),
        },
    );
}

#[tokio::test]
async fn a_plain_password_serves_every_method_of_either_side() {
    for method in [PostgresAuth::ScramSha256, PostgresAuth::Md5] {
        let pooler = Pooler::start(|config| {
            config.postgres.as_mut().unwrap().auth = method.clone();
        });
        for user in ["by_md5", "by_scram", "by_password", "alice"] {
            works(&pooler, user).await;
        }
        for user in ["by_scram", "nobody"] {
            let code = refused(&pooler, &login(user, "wrong")).await;
            assert_eq!(code, SqlState::INVALID_PASSWORD, "{method:?} {user}");
        }
    }
}

#[tokio::test]
async fn an_md5_digest_serves_md5_logins_on_both_sides() {
    let pooler = Pooler::start(|config| {
        config.postgres.as_mut().unwrap().auth = PostgresAuth::Md5;
        // As the server stores it.
        let query = "SELECT rolpassword FROM pg_authid WHERE rolname = 'by_md5'";
        let stored = Cluster::shared().sql(query);
        store(config, "by_md5", UserSecret::Md5(Secret::new(stored)));
    });
    works(&pooler, "by_md5").await;
    let code = refused(&pooler, &login("by_md5", "wrong")).await;
    assert_eq!(code, SqlState::INVALID_PASSWORD);
}

#[tokio::test]
async fn a_scram_verifier_passes_the_clients_keys_on_to_the_server() {
    let query = "SELECT rolpassword FROM pg_authid WHERE rolname = 'by_scram'";
    let stored = Cluster::shared().sql(query);
    for method in [PostgresAuth::ScramSha256, PostgresAuth::Md5] {
        let pooler = Pooler::start(|config| {
            config.postgres.as_mut().unwrap().auth = method;
            store(config, "by_scram", UserSecret::Scram(Secret::new(&*stored)));
        });
        works(&pooler, "by_scram").await;
        let code = refused(&pooler, &login("by_scram", "wrong")).await;
        assert_eq!(code, SqlState::INVALID_PASSWORD);
    }
}

#[tokio::test]
async fn a_database_that_moves_is_logged_in_to_with_the_keys_of_clients_that_are_there() {
    let query = "SELECT rolpassword FROM pg_authid WHERE rolname = 'by_scram'";
    let stored = Cluster::shared().sql(query);
    let config = |dbname: &str, verifier: &str| {
        let mut config = Pooler::config(Cluster::shared());
        let postgres = config.postgres.as_mut().unwrap();
        postgres.auth = PostgresAuth::ScramSha256;
        postgres.databases.get_mut("app").unwrap().dbname = Some(dbname.into());
        store(&mut config, "by_scram", UserSecret::Scram(Secret::new(verifier)));
        config
    };
    let pooler = Pooler::start(|first| *first = config("app", &stored));
    let client = pooler.connect_with(&login("by_scram", Cluster::PASSWORD)).await.unwrap();
    // Simple queries: of a statement the library says behind its back that it is done with it.
    let database = async || {
        let answers = client.simple_query("SELECT current_database()").await?;
        let row = answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        Ok::<_, tokio_postgres::Error>(row.unwrap())
    };
    assert_eq!(database().await.unwrap(), "app");
    let reload = async |pooler: Pooler, next| {
        let reloaded = tokio::task::spawn_blocking(move || {
            pooler.reload(next);
            pooler
        });
        reloaded.await.unwrap()
    };
    let pooler = reload(pooler, config("postgres", &stored)).await;
    assert_eq!(database().await.unwrap(), "postgres");
    // Keys for another verifier are not kept, and whoever has none is told what is missing.
    let other = ScramVerifier::generate(b"other").to_text();
    let _pooler = reload(pooler, config("app", &other)).await;
    let refused = database().await.unwrap_err();
    let Some(error) = refused.as_db_error() else { panic!("{refused:?}") };
    assert_eq!(error.code(), &SqlState::INVALID_PASSWORD);
    assert!(error.hint().unwrap().contains("the keys of a client"), "{error:?}");
}

#[tokio::test]
async fn a_verifier_of_another_password_is_the_servers_to_refuse() {
    let pooler = Pooler::start(|config| {
        config.postgres.as_mut().unwrap().auth = PostgresAuth::ScramSha256;
        let own = ScramVerifier::generate(b"other").to_text();
        store(config, "by_scram", UserSecret::Scram(Secret::new(own)));
    });
    let code = refused(&pooler, &login("by_scram", "other")).await;
    assert_eq!(code, SqlState::INVALID_PASSWORD);
}

#[tokio::test]
async fn a_forced_user_logs_in_for_everyone() {
    let pooler = Pooler::start(|config| {
        let postgres = config.postgres.as_mut().unwrap();
        let database = postgres.databases.get_mut("app").unwrap();
        database.user = Some("by_scram".into());
        database.password = Some(Secret::new(Cluster::PASSWORD));
    });
    for user in ["alice", "someone unknown"] {
        let mut client = Dialogue::log_in(pooler.address, user, &[]);
        assert_eq!(client.value("SELECT current_user"), "by_scram");
    }
    assert_eq!(pooler.statuses().len(), 1);
    assert_eq!(pooler.status("by_scram").database, "app");
}

#[test]
fn unknown_users_and_replication_get_the_servers_codes() {
    let pooler = Pooler::start(|_| {});
    let mut nobody = Dialogue::greet(pooler.address, "nobody", &[]);
    assert_eq!(nobody.receive().sqlstate(), "28000");
    assert_eq!(nobody.next(), None);
    let mut lost = Dialogue::greet(pooler.address, "alice", &[("replication", "true")]);
    assert_eq!(lost.receive().sqlstate(), "0A000");
}

#[tokio::test]
async fn a_database_not_served_does_not_exist() {
    let pooler = Pooler::start(|_| {});
    let code = refused(&pooler, "user=alice dbname=nowhere").await;
    assert_eq!(code, SqlState::UNDEFINED_DATABASE);
}

#[tokio::test]
async fn what_the_server_says_at_login_reaches_the_client() {
    let pooler = Pooler::start(|config| {
        let postgres = config.postgres.as_mut().unwrap();
        let mut database = postgres.databases["app"].clone();
        database.name = "*".into();
        postgres.databases.insert("*".into(), database.clone());
        database.name = "closed".into();
        let bs9_config::ServerAddress::Tcp { port, .. } = &mut database.address else { panic!() };
        *port = 1;
        postgres.databases.insert("closed".into(), database);
    });
    let code = refused(&pooler, "user=alice dbname=no_such_database").await;
    assert_eq!(code, SqlState::UNDEFINED_DATABASE);
    let code = refused(&pooler, "user=alice dbname=closed").await;
    assert_eq!(code, SqlState::SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION);
    let client = pooler.connect_with("user=alice dbname=postgres").await.unwrap();
    client.simple_query("SELECT 1").await.unwrap();
}

#[test]
fn one_client_more_than_allowed_is_turned_away() {
    let pooler =
        Pooler::start(|config| config.postgres.as_mut().unwrap().max_client_connections = 2);
    let first = Dialogue::log_in(pooler.address, "alice", &[]);
    let _second = Dialogue::log_in(pooler.address, "alice", &[]);
    let mut third = Dialogue::greet(pooler.address, "alice", &[]);
    assert_eq!(third.receive().sqlstate(), "53300");
    drop(first);
    pooler.wait_for("alice", "the first has left", |pool| pool.clients_active == 1);
    let mut again = Dialogue::log_in(pooler.address, "alice", &[]);
    assert_eq!(again.value("SELECT 1"), "1");
}

#[test]
fn a_login_that_dawdles_is_ended() {
    let pooler = Pooler::start(|config| {
        let postgres = config.postgres.as_mut().unwrap();
        postgres.login_timeout = std::time::Duration::from_millis(200);
        postgres.auth = PostgresAuth::ScramSha256;
    });
    let mut silent = Dialogue::open(pooler.address);
    assert_eq!(silent.receive().sqlstate(), "57014");
    let mut halfway = Dialogue::greet(pooler.address, "alice", &[]);
    assert_eq!(halfway.receive().tag, 'R');
    assert_eq!(halfway.receive().sqlstate(), "57014");
    assert_eq!(halfway.next(), None);
}
