//! From text to the validated configuration.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use bs9_config::{
    Balance, BindAddress, Config, EndpointAddress, Expectation, HashKey, HostMatch, HttpListener,
    ListenerProtocol, PathMatch, PoolMode, Probe, Queue, RetryReason, RouteAction, SameSite,
    ServerAddress, Shards, StatusRange, UserSecret, check, load, parse_manager_str, parse_str,
};

fn parse(text: &str) -> Config {
    parse_str("/etc/bs9/bs9.toml", text).unwrap_or_else(|report| panic!("{}", report.render(false)))
}

fn http<'c>(config: &'c Config, name: &str) -> &'c HttpListener {
    match &config.listeners[name].protocol {
        ListenerProtocol::Http(http) => http,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_empty_file_is_all_defaults() {
    let config = parse("");
    assert_eq!(config.runtime.shards, Shards::Auto);
    assert_eq!(config.runtime.buffer_bytes, 16 << 10);
    assert_eq!(config.runtime.drain_timeout, Duration::from_secs(30));
    assert_eq!(config.runtime.max_connections, 100_000);
    assert!(config.runtime.watch && config.admin.socket.is_none() && config.listeners.is_empty());
}

#[test]
fn routes() {
    let config = parse(
        r#"
        [listeners.web]
        bind = ["localhost:8080", "[::1]:8080", "unix:web.sock"]
        protocol = "http"
        [[listeners.web.routes]]
        host = "API.example.com"
        path = "=/a"
        methods = ["GET"]
        headers = { X-Canary = "1" }
        query = { beta = "1" }
        cluster = "api"
        timeout = "1.5s"
        retries = { attempts = 1 }
        [[listeners.web.routes]]
        host = "*.example.com"
        path = "~^/v[0-9]+/"
        clusters = [{ cluster = "api", weight = 9 }, { cluster = "other" }]
        [[listeners.web.routes]]
        path = "/old/"
        redirect = "https://example.com/new/"
        [[listeners.web.routes]]
        respond = { status = 404 }
        [clusters.api]
        [clusters.other]
        "#,
    );
    let binds: Vec<_> = config.listeners["web"].bind.iter().map(BindAddress::to_string).collect();
    assert_eq!(binds, ["127.0.0.1:8080", "[::1]:8080", "unix:/etc/bs9/web.sock"]);
    let http = http(&config, "web");
    assert_eq!(http.idle_timeout, Duration::from_secs(60));

    let [first, second, third, last] = http.routes.as_slice() else { panic!("{:?}", http.routes) };
    assert_eq!(first.matches.host, HostMatch::Exact("api.example.com".into()));
    assert_eq!(first.matches.path, PathMatch::Exact("/a".into()));
    assert_eq!(&*first.matches.headers[0].name, "x-canary");
    assert_eq!(first.timeout, Duration::from_millis(1_500));
    assert_eq!((first.retries.attempts, first.retries.budget), (1, 0.2));
    assert_eq!(second.matches.host, HostMatch::Wildcard("example.com".into()));
    assert_eq!(second.matches.path, PathMatch::Regex("^/v[0-9]+/".into()));
    assert!(
        matches!(&second.action, RouteAction::Forward(shares) if shares[0].weight == 9 && shares[1].weight == 1)
    );
    assert!(matches!(&third.action, RouteAction::Redirect { status: 308, .. }));
    assert!(
        matches!(&last.action, RouteAction::Respond { status: 404, body, .. } if body.is_empty())
    );
}

#[test]
fn clusters() {
    let config = parse(
        r#"
        [listeners.cache]
        bind = ["127.0.0.1:0", "127.0.0.1:0"]
        protocol = "tcp"
        cluster = "redis"
        [clusters.redis]
        balance = "least-connections"
        endpoints = ["127.0.0.1:1", { address = "Redis.internal:2", weight = 0 }, "unix:/run/redis.sock"]
        health_check = {}
        [clusters.http]
        health_check = { path = "/healthz", interval = "2s" }
        "#,
    );
    let redis = &config.clusters["redis"];
    assert_eq!(redis.balance, Balance::LeastConnections);
    let shown: Vec<_> = redis.endpoints.iter().map(|e| (e.address.to_string(), e.weight)).collect();
    assert_eq!(
        shown,
        [
            ("127.0.0.1:1".into(), 1),
            ("redis.internal:2".into(), 0),
            ("unix:/run/redis.sock".into(), 1)
        ]
    );
    assert_eq!(redis.health_check.as_ref().map(|check| &check.probe), Some(&Probe::Tcp));
    let probe = config.clusters["http"].health_check.as_ref().map(|check| &check.probe);
    let expected = Expectation {
        statuses: vec![StatusRange { first: 200, last: 399 }],
        body: None,
        headers: Vec::new(),
    };
    let (path, host) = ("/healthz".into(), None);
    assert_eq!(probe, Some(&Probe::Http { path, host, headers: Vec::new(), expected }));
}

#[test]
fn balancing() {
    let config = parse(
        r#"
        [clusters.a]
        balance = "peak-ewma"
        zone = "eu-1"
        failover_below = 0.5
        panic_threshold = 0.25
        slow_start = "30s"
        max_connections = 10
        queue = {}
        outlier_detection = {}
        sticky = true
        endpoints = [{ address = "127.0.0.1:1", priority = 2, zone = "eu-1", disabled = true }, "127.0.0.1:2"]
        health_check = { probe = "grpc", service = "a.B", initially_healthy = false, jitter = 0 }
        [clusters.b]
        balance = "maglev"
        hash = { header = "X-User" }
        sticky = { cookie = "at", secret = "s", path = "/b", max_age = "1h", secure = true, same_site = "none" }
        [clusters.c]
        balance = "ring-hash"
        hash = "path"
        sticky = false
        [clusters.d]
        balance = "ring-hash"
        [clusters.e]
        balance = "maglev"
        hash = { cookie = "Id" }
        health_check = { path = "/", expected_status = [200, "300-310"], expected_body = "up", expected_headers = { X-A = "1" }, headers = { X-B = "2" } }
        "#,
    );
    let a = &config.clusters["a"];
    assert_eq!((a.balance, a.zone.as_deref()), (Balance::PeakEwma, Some("eu-1")));
    assert_eq!((a.failover_below, a.panic_threshold), (0.5, 0.25));
    assert_eq!(a.slow_start, Some(Duration::from_secs(30)));
    assert_eq!(a.queue, Some(Queue { length: 100, timeout: Duration::from_secs(1) }));
    let outliers = a.outliers.expect("detection");
    assert_eq!((outliers.consecutive_failures, outliers.max_ejected), (5, 0.5));
    assert_eq!((a.endpoints[0].priority, a.endpoints[0].zone.as_deref()), (2, Some("eu-1")));
    assert_eq!((a.endpoints[1].priority, a.endpoints[1].weight), (0, 1));
    assert_eq!((a.endpoints[0].disabled, a.endpoints[1].disabled), (true, false));
    let check = a.health_check.as_ref().expect("a check");
    assert_eq!(check.probe, Probe::Grpc { service: "a.B".into(), host: None });
    assert_eq!((check.initially_healthy, check.jitter), (false, 0.0));
    let sticky = a.sticky.as_ref().expect("sticky");
    assert_eq!((&*sticky.cookie, &*sticky.path, sticky.max_age), ("bs9-endpoint", "/", None));

    let b = &config.clusters["b"];
    assert_eq!((b.balance, &b.hash), (Balance::Maglev, &HashKey::Header("x-user".into())));
    let sticky = b.sticky.as_ref().expect("sticky");
    assert_eq!(sticky.secret.as_ref().map(|secret| secret.reveal()), Some("s"));
    assert_eq!((sticky.secure, sticky.same_site), (true, SameSite::None));
    assert_eq!(config.clusters["c"].hash, HashKey::Path);
    assert_eq!(config.clusters["c"].sticky, None);
    assert_eq!(config.clusters["d"].hash, HashKey::Source);
    let e = &config.clusters["e"];
    assert_eq!(e.hash, HashKey::Cookie("Id".into()));
    let Some(Probe::Http { headers, expected, .. }) = e.health_check.as_ref().map(|c| &c.probe)
    else {
        panic!("an HTTP check")
    };
    assert_eq!(headers[..], [("X-B".into(), "2".into())]);
    let statuses: Vec<_> =
        expected.statuses.iter().map(|range| (range.first, range.last)).collect();
    assert_eq!(statuses, [(200, 200), (300, 310)]);
    assert_eq!(expected.headers[..], [("x-a".into(), "1".into())]);
}

#[test]
fn retries() {
    let config = parse(
        r#"
        [listeners.web]
        bind = ["127.0.0.1:0"]
        protocol = "http"
        [[listeners.web.routes]]
        cluster = "a"
        [[listeners.web.routes]]
        path = "/b"
        cluster = "a"
        retries = { attempts = 1, budget = 0.5, min_concurrent = 0, on = ["503", "reset", "timeout"], methods = ["POST"], per_try_timeout = "1s", max_replay_size = "1KiB" }
        [clusters.a]
        "#,
    );
    let ListenerProtocol::Http(http) = &config.listeners["web"].protocol else {
        panic!("an HTTP listener")
    };
    let usual = &http.routes[0].retries;
    assert_eq!((usual.attempts, usual.budget, usual.min_concurrent), (2, 0.2, 3));
    assert_eq!(usual.on, [RetryReason::ConnectFailure, RetryReason::Reset, RetryReason::Timeout]);
    assert_eq!((&usual.methods, usual.max_replay_bytes), (&None, 16 << 10));
    let given = &http.routes[1].retries;
    assert_eq!(given.on, [RetryReason::Status(503), RetryReason::Reset, RetryReason::Timeout]);
    assert_eq!(given.methods.as_deref(), Some(&["POST".into()][..]));
    assert_eq!(given.per_try_timeout, Some(Duration::from_secs(1)));
    assert_eq!((given.min_concurrent, given.max_replay_bytes), (0, 1 << 10));
}

#[test]
fn postgres() {
    let config = parse(
        r#"
        [listeners.db]
        bind = ["unix:.s.PGSQL.6432"]
        protocol = "postgres"
        [postgres]
        auth = "md5"
        pool_size = 7
        pool_mode = "session"
        [postgres.databases."*"]
        host = "/run/postgresql"
        [postgres.databases.app]
        host = "DB.internal"
        port = 5433
        user = "app"
        password = "plain"
        pool_size = 40
        pool_mode = "statement"
        [postgres.users.a]
        password = "plain"
        [postgres.users.b]
        password = "md50123456789abcdef0123456789abcdef"
        [postgres.users.c]
        password = "SCRAM-SHA-256$4096:c2FsdA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
        "#,
    );
    let postgres = config.postgres.expect("the section is there");
    let any = &postgres.databases["*"];
    assert_eq!(any.address, ServerAddress::Unix("/run/postgresql/.s.PGSQL.5432".into()));
    assert_eq!((any.pool_size, any.pool_mode), (7, PoolMode::Session));
    let app = &postgres.databases["app"];
    assert_eq!(app.address, ServerAddress::Tcp { host: "db.internal".into(), port: 5433 });
    assert_eq!((app.pool_size, app.pool_mode), (40, PoolMode::Statement));
    assert_eq!(app.password.as_ref().map(|password| password.reveal()), Some("plain"));
    let secret = |name: &str| postgres.users[name].secret.clone().expect("a secret");
    assert!(matches!(secret("a"), UserSecret::Plain(_)));
    assert!(matches!(secret("b"), UserSecret::Md5(_)));
    assert!(matches!(secret("c"), UserSecret::Scram(_)));
}

#[test]
fn the_managers_defaults() {
    let config = parse_manager_str("manager.toml", "").expect("nothing is required");
    assert_eq!(config.dataplane.poll_interval, Duration::from_secs(1));
    assert_eq!(config.history.keep, Duration::from_secs(900));
    assert_eq!((config.dataplane.socket, config.admin.socket), (None, None));
}

#[test]
fn secrets_from_the_environment_and_from_files() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("token"), "from-a-file\n").expect("written");
    let text = "[[admin.tokens]]\nname = \"a\"\nrole = \"admin\"\ntoken = \"file:token\"\n\
                [[admin.tokens]]\nname = \"b\"\nrole = \"viewer\"\ntoken = \"env:CARGO_MANIFEST_DIR\"\n";
    let file = folder.path().join("bs9.toml");
    fs::write(&file, text).expect("written");
    let config = load(&file).expect("valid");
    let tokens: Vec<_> = config.admin.tokens.iter().map(|token| token.token.reveal()).collect();
    assert_eq!(tokens, ["from-a-file", env!("CARGO_MANIFEST_DIR")]);
    assert_eq!(config.sources, [file]);
}

#[test]
fn a_small_buffer_makes_heads_small() {
    let text = "runtime.buffer_size = \"8KiB\"\n[listeners.a]\nprotocol = \"http\"\nbind = [\"[::1]:1\"]\nroutes = [{ respond = {} }]";
    assert_eq!(http(&parse(text), "a").max_head_bytes, 8 << 10);
}

fn write_all(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        fs::write(folder.join(name), text).expect("written");
    }
}

#[test]
fn a_folder_is_merged_in_name_order() {
    let folder = tempfile::tempdir().expect("a folder");
    write_all(
        folder.path(),
        &[
            (
                "20-clusters.toml",
                "[clusters.api]\nendpoints = [\"[::1]:1\"]\n[postgres.users.b]\npassword = \"x\"",
            ),
            (
                "10-web.toml",
                "[listeners.web]\nprotocol = \"http\"\nbind = [\"[::1]:2\"]\nroutes = [{ cluster = \"api\" }]",
            ),
            (
                "30-db.toml",
                "[runtime]\nshards = 2\n[postgres]\npool_size = 3\n[postgres.users.a]\npassword = \"x\"\n[postgres.databases.app]\n",
            ),
            (
                "40-db.toml",
                "[runtime]\npin = false\n[listeners.db]\nprotocol = \"postgres\"\nbind = [\"[::1]:3\"]",
            ),
            ("notes.txt", "not configuration"),
            (".hidden.toml", "not configuration"),
            ("20-clusters.toml.~1~", "not configuration"),
        ],
    );
    let checked = check(folder.path());
    let config = checked.config.unwrap_or_else(|| panic!("{}", checked.report));
    assert!(checked.report.is_empty(), "{}", checked.report);
    let names: Vec<_> =
        config.sources.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    assert_eq!(names, ["10-web.toml", "20-clusters.toml", "30-db.toml", "40-db.toml"]);
    assert!(!config.runtime.pin && config.runtime.shards != Shards::Auto);
    assert_eq!(config.postgres.map(|postgres| postgres.users.len()), Some(2));
}

#[test]
fn a_name_given_in_two_files_points_at_both() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = "[clusters.api]\nendpoints = []\n";
    write_all(
        folder.path(),
        &[
            ("a.toml", cluster),
            ("b.toml", "# the other\n[clusters.api]\nendpoints = []\n[runtime]\npin = true"),
            ("c.toml", "runtime.pin = true"),
        ],
    );
    let report = load(folder.path()).expect_err("given twice");
    let places: Vec<_> = report
        .diagnostics()
        .iter()
        .map(|d| {
            (
                d.key.as_str(),
                d.line,
                d.related.first().map(|r| (r.file.ends_with("a.toml"), r.line)),
            )
        })
        .collect();
    assert_eq!(
        places,
        [("clusters.api", Some(2), Some((true, 1))), ("runtime.pin", Some(1), Some((false, 5)))]
    );
    let shown = report.render(false);
    assert!(shown.contains("a.toml:1:11") && shown.contains("b.toml:2:11"), "{shown}");
}

#[test]
fn an_empty_folder_and_a_large_file_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(load(folder.path()).is_err());
    let large = folder.path().join("large.toml");
    fs::write(&large, vec![b'\n'; (16 << 20) + 1]).expect("written");
    let report = load(&large).expect_err("too large");
    assert!(report.to_string().contains("larger than 16MiB"), "{report}");
    fs::write(&large, [0xff, b'\n']).expect("written");
    assert!(load(&large).is_err());
}

#[test]
fn warnings_do_not_refuse() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), "[clusters.lonely]\n[postgres]\n").expect("written");
    let checked = check(file.path());
    assert!(checked.config.is_some());
    assert_eq!((checked.report.errors(), checked.report.warnings()), (0, 2), "{}", checked.report);
    assert!(checked.report.to_string().contains("warning: no listener uses the cluster `lonely`"));
}

#[test]
fn addresses_of_both_kinds() {
    let address: EndpointAddress = "127.0.0.1:80".parse().expect("an address");
    assert_eq!(address, EndpointAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 80))));
    let error = "127.0.0.1".parse::<EndpointAddress>().expect_err("no port");
    assert!(error.to_string().contains("no port"));
}

#[test]
fn limits_of_databases_and_users_override_the_defaults() {
    let config = parse_str(
        "bs9.toml",
        "[listeners.db]\nbind = [\"127.0.0.1:6432\"]\nprotocol = \"postgres\"\n\
         [postgres]\nauth = \"trust\"\nmin_pool_size = 1\nmax_database_connections = 30\n\
         max_user_connections = 20\nwait_notice = \"0s\"\nlisten = \"refuse\"\n\
         slow_query_time = \"1s\"\nadmin_users = [\"root\"]\n\
         [postgres.databases.a]\nmin_pool_size = 4\nmax_client_connections = 9\n\
         [postgres.databases.b]\nmax_connections = 5\n\
         [postgres.users.u]\nmax_connections = 3\n[postgres.users.v]\n",
    )
    .unwrap();
    let postgres = config.postgres.unwrap();
    let (a, b) = (&postgres.databases["a"].limits, &postgres.databases["b"].limits);
    assert_eq!(
        (a.min_pool_size, a.max_connections, a.max_client_connections),
        (4, Some(30), Some(9))
    );
    assert_eq!((b.min_pool_size, b.max_connections, b.max_client_connections), (1, Some(5), None));
    assert_eq!(postgres.users["u"].limits.max_connections, Some(3));
    assert_eq!(postgres.users["v"].limits.max_connections, Some(20));
    assert_eq!(postgres.limits.wait_notice, None);
    assert_eq!(postgres.session_state.listen, bs9_config::Stateful::Refuse);
    assert_eq!(postgres.log.slow_query, Some(Duration::from_secs(1)));
    assert_eq!(&*postgres.console.admin_users[0], "root");
}
