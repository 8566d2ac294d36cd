//! PostgreSQL's own regression SQL, to the server and through a pool in session mode: psql says the
//! same, but for what `docs/POOL-COMPATIBILITY.md` explains.
//!
//! `make test` takes the files of [`SOME`], `make deep` (`BS9_DEEP=1`) all of them. Each side has a
//! server of its own, new, so that even the numbers of its objects are the same.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and tells what it compared"
)]

mod fixture;
#[path = "regression/said.rs"]
mod said;
#[path = "regression/tables.rs"]
mod tables;

use std::{
    fs::{self, File, Permissions},
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use fixture::{
    DataPlane,
    postgres::{Cluster, PASSWORD},
    tool::dependency,
};
use said::{Difference, compare};

/// Files that others build on, in the order that PostgreSQL runs them in; the rest follows by name.
const FIRST: [&str; 27] = [
    "test_setup",
    "copy",
    "copyselect",
    "copydml",
    "insert",
    "insert_conflict",
    "create_function_c",
    "create_misc",
    "create_operator",
    "create_procedure",
    "create_table",
    "create_type",
    "create_index",
    "create_index_spgist",
    "create_view",
    "index_including",
    "index_including_gist",
    "create_aggregate",
    "create_function_sql",
    "triggers",
    "select",
    "inherit",
    "typed_table",
    "vacuum",
    "drop_if_exists",
    "updatable_views",
    "errors",
];

/// What is run each time: a bit of everything that a pool could get wrong, and little else.
const SOME: [&str; 30] = [
    "test_setup",
    "copy",
    "copyselect",
    "copydml",
    "insert",
    "create_misc",
    "create_procedure",
    "select",
    "errors",
    "advisory_lock",
    "async",
    "case",
    "copy2",
    "guc",
    "json",
    "largeobject",
    "limit",
    "namespace",
    "plancache",
    "portals",
    "portals_p2",
    "prepare",
    "prepared_xacts",
    "psql",
    "rowtypes",
    "sequence",
    "strings",
    "temp",
    "transactions",
    "xml",
];

/// It needs a folder for a tablespace that the server may write.
const LEFT_OUT: [&str; 1] = ["tablespace"];

/// Where a side's files and answers are.
struct Side {
    cluster: Cluster,
    folder: tempfile::TempDir,
    _data_plane: Option<DataPlane>,
    address: SocketAddr,
}

impl Side {
    fn direct() -> Self {
        Self::of(Cluster::start(), |cluster| {
            (None, SocketAddr::from(([127, 0, 0, 1], cluster.port())))
        })
    }

    fn pooled() -> Self {
        Self::of(Cluster::start(), |cluster| {
            let data_plane = DataPlane::serve(&format!(
                "[listeners.db]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"postgres\"\n\
                 [postgres]\nauth = \"scram-sha-256\"\npool_mode = \"session\"\n\
                 [postgres.users.postgres]\npassword = \"{PASSWORD}\"\n\
                 [postgres.databases.regression]\nhost = \"127.0.0.1\"\nport = {}\n",
                cluster.port()
            ));
            let address = data_plane.running.address("db");
            (Some(data_plane), address)
        })
    }

    fn of(cluster: Cluster, way: impl FnOnce(&Cluster) -> (Option<DataPlane>, SocketAddr)) -> Self {
        for setting in ["autovacuum = off", "bytea_output = hex"] {
            cluster.sql("postgres", &format!("alter system set {setting}"));
        }
        cluster.sql("postgres", "select pg_reload_conf()");
        cluster.sql("postgres", &format!("alter role postgres password '{PASSWORD}'"));
        cluster.sql("postgres", "create database regression template template0");
        // What PostgreSQL's own runner asks for when it connects; see "RESET" in the document.
        for setting in [
            "datestyle = 'Postgres, MDY'",
            "timezone = 'PST8PDT'",
            "intervalstyle = 'postgres_verbose'",
        ] {
            cluster.sql("postgres", &format!("alter database regression set {setting}"));
        }
        let folder = tempfile::Builder::new()
            .prefix("bs9-regression-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .unwrap();
        for name in ["data", "results", "answers"] {
            fs::create_dir(folder.path().join(name)).unwrap();
            // The server writes there.
            let open = Permissions::from_mode(0o777);
            fs::set_permissions(folder.path().join(name), open).unwrap();
        }
        tables::write(&folder.path().join("data"));
        let (data_plane, address) = way(&cluster);
        Self { cluster, folder, _data_plane: data_plane, address }
    }

    fn play(&self, sources: &Path, files: &[String]) {
        for file in files {
            let answers = File::create(self.answers(file)).unwrap();
            let source = sources.join(format!("{file}.sql"));
            let ended = Command::new("psql")
                .args(["-X", "-a", "-q", "-d", "regression", "-U", "postgres"])
                .args(["-v", "HIDE_TABLEAM=on", "-v", "HIDE_TOAST_COMPRESSION=on", "-f"])
                .arg(source)
                .env("PGHOST", self.address.ip().to_string())
                .env("PGPORT", self.address.port().to_string())
                .env("PGPASSWORD", PASSWORD)
                .env("PG_ABS_SRCDIR", self.folder.path())
                .env("PG_ABS_BUILDDIR", self.folder.path())
                .env("PG_LIBDIR", "/nowhere")
                .env("PG_DLSUFFIX", ".so")
                .env("LC_ALL", "C")
                .stdin(Stdio::null())
                .stdout(answers.try_clone().unwrap())
                .stderr(answers)
                .status();
            // Statements fail on purpose; psql itself does not.
            assert!(ended.unwrap().success(), "{file}: {}", self.said(file));
        }
    }

    fn answers(&self, file: &str) -> PathBuf {
        self.folder.path().join("answers").join(file)
    }

    fn said(&self, file: &str) -> String {
        let said = String::from_utf8_lossy(&fs::read(self.answers(file)).unwrap()).into_owned();
        said.replace(self.folder.path().to_str().unwrap(), "FOLDER")
    }
}

/// The files to be run, in order.
fn files(sources: &Path) -> Vec<String> {
    if std::env::var_os("BS9_DEEP").is_none() {
        return SOME.map(str::to_owned).to_vec();
    }
    let listed = fs::read_dir(sources).unwrap().map(|entry| entry.unwrap().path());
    let named = listed.filter(|path| path.extension().is_some_and(|end| end == "sql"));
    let mut rest: Vec<_> =
        named.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    rest.retain(|name| !FIRST.contains(&&**name) && !LEFT_OUT.contains(&&**name));
    rest.sort();
    FIRST.iter().map(|name| (*name).to_owned()).chain(rest).collect()
}

#[test]
fn a_session_is_told_what_a_server_of_its_own_would_tell_it() {
    let sources = dependency("suites/pglast/libpg_query/test/sql/postgres_regress");
    let files = files(&sources);
    let (direct, pooled) = (Side::direct(), Side::pooled());
    thread::scope(|scope| {
        for side in [&direct, &pooled] {
            let (sources, files) = (&sources, &files);
            scope.spawn(move || side.play(sources, files));
        }
    });
    let mut unexplained = Vec::new();
    for file in &files {
        let (wanted, heard) = (direct.said(file), pooled.said(file));
        assert!(wanted.lines().count() > 3, "{file} was run: {wanted}");
        match compare(file, &wanted, &heard) {
            Difference::None => {}
            Difference::Explained(why) => println!("{file}: {why}"),
            Difference::Unexplained(lines) => unexplained.push(format!("{file}\n{lines}")),
        }
    }
    println!("{} files", files.len());
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n\n"));
    // Somebody answered.
    for side in [&direct, &pooled] {
        assert_eq!(side.cluster.sql("regression", "select count(*) from tenk1"), "10000");
    }
}
