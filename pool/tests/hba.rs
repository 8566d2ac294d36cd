//! Rules that take more than a look at the client: roles, patterns, files, the system's users.

use std::{fs, path::Path};

use tokio_postgres::error::SqlState;

use crate::postgres::{Cluster, Dialogue, Pooler};

fn folder_with(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// The ordinary configuration, by the rules in `folder`; `more` of `[postgres]`.
fn by_rules(folder: &Path, more: &str) -> Pooler {
    let text = Pooler::text(Cluster::shared())
        .replace("auth = \"trust\"", &format!("auth = \"hba:rules\"\n{more}"));
    Pooler::start(|config| *config = Pooler::parse(folder, &text))
}

/// Whether somebody who is asked for nothing gets in.
fn gets_in(pooler: &Pooler, user: &str) -> bool {
    let mut dialogue = Dialogue::greet(pooler.address, user, &[]);
    let reply = dialogue.receive();
    match reply.tag {
        'R' if reply.body == [0; 4] => true,
        'E' => {
            assert_eq!(reply.sqlstate(), "28000", "{user}");
            false
        }
        _ => panic!("{user}: {reply:?}"),
    }
}

#[test]
fn lists_patterns_and_included_files_decide() {
    let folder = folder_with(&[
        ("rules", "include inner\ninclude_if_exists nothing\nhost all /^by_ samehost trust\n"),
        (
            "inner",
            "host app @names all trust\nhost /^ap+$ \"/^(mortal|no,body)$\" 127.0.0.1/32 reject",
        ),
        ("names", "alice # and\nbob"),
    ]);
    let pooler = by_rules(folder.path(), "");
    for (user, wanted) in
        [("alice", true), ("bob", true), ("mortal", false), ("crowd", false), ("by_md5", true)]
    {
        assert_eq!(gets_in(&pooler, user), wanted, "{user}");
    }
}

#[test]
fn members_of_a_role_are_those_the_server_knows() {
    Cluster::shared().sql(
        "DROP ROLE IF EXISTS hba_staff; DROP ROLE IF EXISTS hba_team; DROP ROLE IF EXISTS app;
         CREATE ROLE hba_staff; CREATE ROLE hba_team; CREATE ROLE app;
         GRANT hba_team TO bob; GRANT hba_staff TO hba_team; GRANT app TO crowd",
    );
    let folder = folder_with(&[(
        "rules",
        "host all +hba_staff all trust\nhost samerole all all trust\nhost all +alice all trust\n",
    )]);
    let more =
        "auth_user = \"alice\"\nauth_cache_ttl = \"50ms\"\nauth_cache_negative_ttl = \"50ms\"";
    let pooler = by_rules(folder.path(), more);
    assert!(gets_in(&pooler, "bob"), "by way of another role");
    assert!(gets_in(&pooler, "crowd"), "a member of the role called like the database");
    assert!(gets_in(&pooler, "alice"), "everyone is a member of its own");
    assert!(!gets_in(&pooler, "mortal"));
    Cluster::shared().sql("GRANT hba_staff TO mortal");
    crate::postgres::eventually("mortal is let in", || gets_in(&pooler, "mortal"));
    Cluster::shared().sql("DROP ROLE hba_staff; DROP ROLE hba_team; DROP ROLE app");
}

#[test]
fn rules_about_roles_need_somebody_who_asks() {
    let folder = folder_with(&[("rules", "host all all all trust\nhost all +staff all trust\n")]);
    let text = Pooler::text(Cluster::shared()).replace("auth = \"trust\"", "auth = \"hba:rules\"");
    let name = folder.path().join("bs9.toml");
    let report = bs9_config::parse_str(name.to_str().unwrap(), &text).unwrap_err().render(false);
    assert!(report.contains("rules:2: who is a member of a role"), "{report}");
    assert!(report.contains("give `auth_user`"), "{report}");
}

#[test]
fn the_systems_users_are_known_by_their_socket() {
    let own = std::process::Command::new("id").arg("-un").output().unwrap();
    let own = String::from_utf8(own.stdout).unwrap().trim().to_owned();
    let folder = folder_with(&[
        ("rules", "local app alice,bob peer map=m\nlocal all all peer\nhost all all all reject\n"),
        ("idents", &format!("m {own} alice\nm somebody bob\n")),
    ]);
    let socket = folder.path().join(".s.PGSQL.6432");
    let text = Pooler::text(Cluster::shared())
        .replace("auth = \"trust\"", "auth = \"hba:rules\"\nauth_ident_file = \"idents\"")
        .replace("\"127.0.0.1:0\"", &format!("\"127.0.0.1:0\", \"unix:{}\"", socket.display()));
    let pooler = Pooler::start(|config| *config = Pooler::parse(folder.path(), &text));
    let run = |user: &str| {
        // As this very user, not as the one servers run as.
        let folder = folder.path().display();
        let target = format!("host={folder} port=6432 user={user} dbname=app");
        let run = std::process::Command::new(Cluster::tool("psql").get_program())
            .args(["-XqAtc", "SELECT current_user", "-d", &target])
            .output()
            .unwrap();
        match run.status.success() {
            true => Ok(String::from_utf8_lossy(&run.stdout).trim().to_owned()),
            false => Err(String::from_utf8_lossy(&run.stderr).into_owned()),
        }
    };
    assert_eq!(run("alice").as_deref(), Ok("alice"));
    for user in ["bob", "crowd"] {
        let refused = run(user).unwrap_err();
        let wanted = format!("Peer authentication failed for user \"{user}\"");
        assert!(refused.contains(&wanted), "{refused}");
    }
    assert!(!gets_in(&pooler, "alice"), "not by TCP");
}

#[tokio::test]
async fn each_database_may_ask_in_its_own_way() {
    let port = Cluster::shared().port();
    Cluster::shared().sql(
        "DROP ROLE IF EXISTS ended; DROP ROLE IF EXISTS hba_other; CREATE ROLE ended LOGIN PASSWORD 'x' VALID UNTIL '2001-01-01'; CREATE ROLE hba_other LOGIN PASSWORD 'correct horse'",
    );
    let own = "SELECT rolname, CASE rolname WHEN 'by_scram' THEN rolpassword END FROM pg_authid WHERE rolname = $1";
    let text = Pooler::text(Cluster::shared());
    let (before, users) = text.split_once("[postgres.users.").unwrap();
    let (_, behind) = users.split_once("[postgres.databases").unwrap();
    let before = before.replace("auth = \"trust\"", "auth = \"scram-sha-256\"");
    let text = format!(
        "{before}[postgres.databases{behind}auth_user = \"alice\"\nauth_query = \"{own}\"\nauth_dbname = \"postgres\"\n\
         [postgres.databases.postgres]\nport = {port}\nauth_user = \"alice\"\n\
         [postgres.databases.closed]\nport = {port}\ndbname = \"app\"\n[postgres.users.alice]\n"
    );
    let pooler = Pooler::by(&text);
    let login = async |user: &str, database: &str, password: &str| {
        let settings = format!("user={user} dbname={database} password='{password}'");
        let client = pooler.connect_with(&settings).await;
        client.map(drop).map_err(|error| error.code().cloned().expect("told why"))
    };
    let password = Cluster::PASSWORD;
    assert_eq!(login("by_scram", "app", password).await, Ok(()));
    let wrong = Err(SqlState::INVALID_PASSWORD);
    // Its query gives nobody else's password; that of the other database does.
    assert_eq!(login("hba_other", "app", password).await, wrong);
    assert_eq!(login("hba_other", "postgres", password).await, Ok(()));
    assert_eq!(login("ended", "postgres", "x").await, wrong);
    // Where nobody asks, only who is listed is known.
    assert_eq!(login("by_scram", "closed", password).await, wrong);
    Cluster::shared().sql("DROP ROLE ended; DROP ROLE hba_other");
}
