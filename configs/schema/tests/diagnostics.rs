//! What a person sees when a configuration is wrong.

use std::path::Path;

use bs9_config::{Report, parse_manager_str, parse_str};

/// Valid parts that mistakes are put into.
const WEB: &str = "[listeners.web]\nbind = [\"127.0.0.1:8080\"]\nprotocol = \"http\"\n";
const API: &str = "[clusters.api]\nendpoints = [\"127.0.0.1:3001\"]\n";

fn report(text: &str) -> Report {
    parse_str("bs9.toml", text).expect_err(text)
}

/// One line for each case: what is written, and what is said about it.
fn lines(cases: &[&str], around: impl Fn(&str) -> String) -> String {
    let mut out = String::new();
    for case in cases {
        out.push_str(&format!("{case}\n"));
        for line in report(&around(case)).to_string().lines() {
            out.push_str(&format!("    {line}\n"));
        }
    }
    out
}

#[test]
fn several_mistakes_in_one_file() {
    let text = "\
[runtime]
shards = 0
drain_timeout = 30

[listeners.web]
bnid = [\"0.0.0.0:8080\"]
protocol = \"http\"

[[listeners.web.routes]]
path = \"v1\"
cluster = \"apj\"

[[listeners.web.routes]]
path = \"~^/(v1\"
redirect = \"https://example.com/\"
cluster = \"api\"

[clusters.api]
balance = \"roundrobin\"
endpoints = [\"127.0.0.1\", { address = \"127.0.0.1:3002\", weight = 70000 }]
health_check = { interval = \"5\" }
";
    insta::assert_snapshot!(report(text).render(false));
}

#[test]
fn places_in_two_parts_of_a_file() {
    let text = format!(
        "{WEB}{}{API}[listeners.other]\nprotocol = \"tcp\"\ncluster = \"api\"\nbind = [\"127.0.0.1:8080\"]\n",
        "[[listeners.web.routes]]\ncluster = \"api\"\n[[listeners.web.routes]]\ncluster = \"api\"\n",
    );
    insta::assert_snapshot!(report(&text).render(false));
}

#[test]
fn text_that_is_not_toml() {
    let text = format!(
        "{WEB}[[listeners.web.routes]]\ncluster = api\n\n{API}balanse = \"p2c\"\n[runtime]\nshards = = 2\n"
    );
    insta::assert_snapshot!(report(&text).render(false));
}

#[test]
fn unclosed_text_is_told_once() {
    let text = "[clusters.a]\nendpoints = [\"127.0.0.1:1\",\n\n[clusters.b]\nendpoints = []\n\n[clusters.c]\nendpoints = []\n";
    assert_eq!(report(text).errors(), 1, "{}", report(text));
    let text = "[clusters.a]\nbalance = \"p2c\n\n[clusters.b]\nendpoints = []\n";
    assert_eq!(report(text).errors(), 1, "{}", report(text));
    let text = "[clusters.a]\nbalance = \"\"\"p2c\n\n[clusters.b]\nendpoints = []\n";
    assert_eq!(report(text).errors(), 1, "{}", report(text));
}

#[test]
fn runtime_and_admin() {
    let cases = [
        "runtime.shards = \"many\"",
        "runtime.shards = 2000",
        "runtime.shards = true",
        "runtime.buffer_size = \"16KB\"",
        "runtime.buffer_size = 16384",
        "runtime.buffer_size = \"1KiB\"",
        "runtime.drain_timeout = \"30 sec\"",
        "runtime.drain_timeout = \"30\"",
        "runtime.drain_timeout = \"2d\"",
        "runtime.watch = \"yes\"",
        "runtime.sharts = 2",
        "runtime = 2",
        "runtme.shards = 2",
        "admin.listen = \"9901\"",
        "admin.listen = \"example.com:9901\"",
        "admin.tokens = { name = \"a\" }",
        "admin.tokens = [{ name = \"a\", role = \"root\", token = \"t\" }]",
        "admin.tokens = [{ name = \"a b\", role = \"admin\" }]",
        "admin.tokens = [{ name = \"a\", role = \"admin\", token = \"a b\" }]",
    ];
    insta::assert_snapshot!(lines(&cases, str::to_owned));
}

#[test]
fn listeners() {
    let cases = [
        "",
        "protocol = \"htp\"",
        "protocol = \"udp\"",
        "protocol = \"http\"\nbind = \"127.0.0.1:1\"",
        "protocol = \"http\"\nbind = []",
        "protocol = \"http\"\nbind = [\"127.0.0.1:1\"]",
        "protocol = \"tcp\"\nbind = [\"127.0.0.1:1\"]",
        "protocol = \"tcp\"\nbind = [\"::1:80\"]\ncluster = \"ap\"",
        "protocol = \"tcp\"\nbind = [\"::1\", \":80\", \"/run/x\"]\ncluster = \"api\"\nroutes = []",
        "protocol = \"tcp\"\nbind = [\"127.0.0.1:1\"]\ncluster = \"api\"\ntls = { certificates = [] }",
        "protocol = \"tcp\"\nbind = [\"127.0.0.1:1\"]\nsni = [{ names = [\"a.b\"], cluster = \"api\" }, { names = [\"A.B\"], cluster = \"ap\" }]",
        "protocol = \"tcp\"\nbind = [\"127.0.0.1:1\"]\nhttps_redirect = true\ncluster = \"api\"",
        "protocol = \"http\"\nbind = [\"127.0.0.1:1\"]\nhttps_redirect = { port = 0, status = 303 }",
        "protocol = \"tcp\"\nbind = [\"127.0.0.1:1\", \"127.0.0.1:1\"]\ncluster = \"api\"",
        "protocol = \"http\"\nbind = [\"127.0.0.1:1\"]\ncluster = \"api\"",
        "protocol = \"http\"\nbind = [\"127.0.0.1:1\"]\nmax_head_size = \"64KiB\"\nroutes = [{ cluster = \"api\" }]",
        "protocol = \"postgres\"\nbind = [\"127.0.0.1:1\"]\nidle_timeout = \"1s\"",
    ];
    insta::assert_snapshot!(lines(&cases, |case| format!("[listeners.x]\n{case}\n{API}")));
}

#[test]
fn routes() {
    let cases = [
        "",
        "cluster = \"web\"",
        "cluster = \"api\"\nclusters = [{ cluster = \"api\" }]",
        "clusters = []",
        "clusters = [{ cluster = \"api\" }, { cluster = \"api\", weight = 0 }]",
        "clusters = [{ cluster = \"api\" }, { cluster = \"api\" }]",
        "cluster = \"api\"\nhost = \"example.com:80\"",
        "cluster = \"api\"\nhost = \"https://example.com\"",
        "cluster = \"api\"\nhost = \"a.*.com\"",
        "cluster = \"api\"\nhost = \"*\"",
        "cluster = \"api\"\npath = \"\"",
        "cluster = \"api\"\npath = \"/api/*\"",
        "cluster = \"api\"\npath = \"/a?b=1\"",
        "cluster = \"api\"\npath = \"=exact\"",
        "cluster = \"api\"\npath = \"~(?=x)\"",
        "cluster = \"api\"\nmethods = [\"get\"]",
        "cluster = \"api\"\nheaders = { \"x y\" = \"1\", x = 1 }",
        "cluster = \"api\"\nquery = { \"\" = \"1\" }",
        "cluster = \"api\"\nretries = { attempts = 11, budget = 1.5 }",
        "cluster = \"api\"\nretries = { on = [\"500\"], methods = [\"get\"], max_replay_size = \"1MiB\" }",
        "cluster = \"api\"\ntimeout = \"0s\"",
        "redirect = { to = \"example.com\", status = 304 }",
        "redirect = \"/x\"\ntimeout = \"1s\"",
        "respond = { status = 204, body = \"x\" }",
        "respond = { status = 99, content_type = \"text\" }",
    ];
    insta::assert_snapshot!(lines(&cases, |case| format!(
        "{WEB}[[listeners.web.routes]]\n{case}\n{API}"
    )));
}

#[test]
fn clusters() {
    let cases = [
        "endpoints = [\"http://a:80/\", \"a:0\", \"a\", 80]",
        "endpoints = [\"127.0.0.1:1\", { address = \"127.0.0.1:1\" }]",
        "endpoints = [{ weight = -1 }]",
        "balance = \"least-connection\"",
        "hash = \"path\"",
        "balance = \"maglev\"\nhash = \"host\"",
        "balance = \"maglev\"\nhash = {}",
        "balance = \"maglev\"\nhash = { header = \"a\", cookie = \"b\" }",
        "balance = \"maglev\"\nhash = { cookie = \"a b\" }",
        "balance = \"ring-hash\"\nslow_start = \"10s\"",
        "sticky = { path = \"no;pe\" }",
        "sticky = { secret = \"\" }",
        "queue = {}",
        "endpoints = [{ address = \"127.0.0.1:1\", priority = 16 }]",
        "endpoints = [{ address = \"127.0.0.1:1\", disabled = 1 }]",
        "slow_start = \"10ms\"",
        "panic_threshold = 50",
        "outlier_detection = { ejection_time = \"10m\" }",
        "health_check = { probe = \"http\" }",
        "health_check = { probe = \"tls\", path = \"/up\" }",
        "health_check = { path = \"/up\", service = \"a\" }",
        "health_check = { path = \"/up\", expected_status = [\"299-200\", 99] }",
        "health_check = { path = \"/up\", headers = { host = \"a\" } }",
        "health_check = { path = \"healthz\" }",
        "health_check = { host = \"a\" }",
        "health_check = { timeout = \"10s\" }",
        "health_check = true",
        "max_connections = 0",
        "connect_timeout = 5.0",
    ];
    insta::assert_snapshot!(lines(&cases, |case| format!("[clusters.x]\n{case}\n")));
}

#[test]
fn postgres() {
    let cases = [
        "auth = \"hba:pg_hba.conf\"",
        "auth = \"scram\"",
        "auth_query = \"SELECT 1\"",
        "pool_mode = \"transactional\"",
        "pool_size = 0",
        "databases.app = { host = \"db:5432\" }",
        "databases.app = { host = \"unix:/run\" }",
        "databases.app = { password = \"p\" }",
        "databases.app = { user = \"u\", password = \"md50123456789abcdef0123456789abcdef\" }",
        "databases.app = \"127.0.0.1\"",
        "users.alice = {}",
        "users.alice = { password = \"md50123456789abcdef0123456789abcdef\" }",
        "users.alice = { password = \"SCRAM-SHA-256$4096:abc\" }",
        "users.alice = { password = \"\" }",
        "users.alice = { password = \"env:BS9_TEST_NEVER_SET\" }",
        "users.alice = { password = \"file:never/there\" }",
    ];
    let text = lines(&cases, |case| format!("[postgres]\n{case}\n"));
    let here = std::env::current_dir().expect("a current folder");
    insta::assert_snapshot!(text.replace(&here.display().to_string(), "HERE"));
}

#[test]
fn a_postgres_listener_needs_a_database() {
    let listener = "[listeners.db]\nprotocol = \"postgres\"\nbind = [\"127.0.0.1:6432\"]\n";
    insta::assert_snapshot!(report(listener));
    insta::assert_snapshot!(report(&format!("{listener}[postgres]\n")));
}

#[test]
fn manager() {
    let text = "[history]\nkeep = \"7d\"\nresolution = \"100ms\"\n[dataplane]\npoll_intervall = \"1s\"\n[listeners.x]\n";
    insta::assert_snapshot!(parse_manager_str("manager.toml", text).expect_err("mistakes"));
}

#[test]
fn secrets_are_never_shown() {
    let secret = "hunter2-correct-horse";
    let cases = [
        format!("[postgres.users.a]\npassword = \"{secret}\"\npool = 1"),
        format!("[postgres.users.a]\npasword = \"{secret}\""),
        format!("[postgres.users.a]\npwd = \"{secret}\""),
        format!("[postgres.users.a]\npassword = {{ text = \"{secret}\" }}"),
        format!("[postgres.users.a]\npassword = [\"{secret}\"]"),
        format!("[postgres.users.a]\npassword = \"{secret}"),
        format!("[postgres.users.a]\npassword = {secret}"),
        format!("[postgres.users]\na = {{ password = \"{secret}\", x = 1 }}"),
        format!("[postgres.users]\na = {{ password = \"{secret}\" "),
        format!("[postgres.users.a]\npassword = \"\"\"\n{secret}\"\"\"\nx = 1"),
        format!("[postgres.users]\na = \"{secret}\""),
        format!("[postgres.databases.a]\nuser = 1\npassword = \"{secret}\""),
        format!("[admin]\ntokens = [{{ name = \"a\", role = \"x\", token = \"{secret}\" }}]"),
        format!("[[admin.tokens]]\nname = 1\nrole = \"admin\"\ntoken = '{secret}'"),
    ];
    for text in cases {
        let report = report(&text);
        for shown in [
            report.render(true),
            report.to_string(),
            format!("{report:?}"),
            report.to_json().to_string(),
        ] {
            assert!(!shown.contains("hunter2") && !shown.contains("horse"), "{text}\n{shown}");
        }
    }
    let config = parse_str(
        "a.toml",
        &format!("[[admin.tokens]]\nname = \"a\"\nrole = \"admin\"\ntoken = '{secret}'"),
    );
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn json_for_programs() {
    let json = report("[clusters.a]\nbalanse = \"p2c\"\n").to_json();
    insta::assert_snapshot!(serde_json::to_string_pretty(&json).expect("JSON"));
}

#[test]
fn columns_count_characters() {
    let report = report("[clusters.a]\nendpoints = [\"é:1\", 2]\n");
    let places: Vec<_> = report.diagnostics().iter().map(|d| (d.line, d.column)).collect();
    assert_eq!(places, [(Some(2), Some(14)), (Some(2), Some(21))]);
}

#[test]
fn many_mistakes_are_bounded() {
    let text: String = (0..1_000).map(|n| format!("x{n} = 1\n")).collect();
    let report = report(&text);
    assert_eq!(report.errors(), 1_000);
    assert_eq!(report.diagnostics().len(), 200);
    assert!(report.render(false).contains("1000 errors found"));
}

#[test]
fn a_missing_file_says_so() {
    let report = bs9_config::load(Path::new("/nonexistent/bs9.toml")).expect_err("no such file");
    insta::assert_snapshot!(report.render(false));
}
