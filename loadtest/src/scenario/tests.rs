use std::{fs, path::PathBuf, time::Duration};

use tempfile::TempDir;

use super::*;

/// A folder with a scenario and what it refers to.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("users.csv"), "id,name\n1,ann\n2,bob\n").unwrap();
        fs::write(folder.path().join("order.json"), "{\"user\": {{users.id}}}").unwrap();
        Self(folder)
    }

    fn file(&self, text: &str) -> PathBuf {
        let file = self.0.path().join("scenario.toml");
        fs::write(&file, text).unwrap();
        file
    }

    fn read(&self, text: &str) -> Result<Scenario, ScenarioError> {
        Scenario::read(&self.file(text), None)
    }
}

fn scenario(text: &str) -> Scenario {
    Folder::new().read(text).unwrap_or_else(|error| panic!("{}", error.render(false)))
}

/// `LINE:COLUMN MESSAGE (HINT)` of everything that is wrong.
fn findings(text: &str) -> Vec<String> {
    let error = Folder::new().read(text).unwrap_err();
    let shown = |finding: &Finding| {
        let Finding { line, column, message, hint, .. } = finding;
        let hint = hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{line}:{column} {message}{hint}")
    };
    error.findings().iter().map(shown).collect()
}

const WHOLE: &str = r#"
target = "http://127.0.0.1:8080"
connections = 40
threads = 2
warm_up = "1s"
timeout = "3s"
think_time = "10ms..20ms"
thresholds = ["p99 < 50ms", "errors == 0"]
headers = { Accept = "application/json" }

[[stages]]
name = "up"
duration = "10s"
connections = "1..20"

[[stages]]
duration = "30s"

[data.users]
file = "users.csv"
order = "random"
per = "connection"

[[requests]]
name = "list"
weight = 9
path = "/users/{{ users.id }}?name={{users.name}}"
headers = { X-User = "{{users.name}}", accept = "*/*" }
think_time = "0s"
thresholds = ["p50 < 5ms"]
expect.status = "200,404"
expect.headers = { Content-Type = { contains = "json" }, X-Id = {} }
expect.body = ["id", { matches = '"id":\s*\d+' }]

[[requests]]
method = "PUT"
path = "/orders"
body_file = "order.json"
"#;

#[test]
fn a_whole_scenario_becomes_a_plan() {
    let scenario = scenario(WHOLE);
    let entries: Vec<_> = scenario.requests.iter().map(|request| &request.entry).collect();
    let names: Vec<_> = entries.iter().map(|entry| entry.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["list", "PUT /orders"]);
    assert_eq!(entries.iter().map(|entry| entry.weight).collect::<Vec<_>>(), [9, 1]);
    assert_eq!(entries[0].think_time.most, Duration::ZERO);
    assert_eq!(entries[1].think_time.least, Duration::from_millis(10));
    let Content::Http { options, checks, .. } = &scenario.requests[0].content else { panic!() };
    assert_eq!(options.headers.len(), 2, "its own Accept takes the place of the common one");
    assert_eq!((checks.headers.len(), checks.bodies.len()), (2, 2));
    let plan = scenario.plan().unwrap();
    assert_eq!((plan.connections(), plan.threads()), (40, 2));
    assert_eq!(plan.duration, Some(Duration::from_secs(40)));
    assert_eq!(plan.request_timeout, Duration::from_secs(3));
    let names: Vec<_> = plan.stages.iter().map(|stage| stage.name.as_str()).collect();
    assert_eq!(names, ["up", "2"]);
    assert!(!plan.load.is_open());
    let course = plan.load.course();
    assert_eq!(course.level(Duration::from_secs(5)), 10.5);
    assert_eq!(course.level(Duration::from_secs(30)), 40.0, "a stage that says nothing");
    assert_eq!(plan.thresholds.len(), 2);
}

#[test]
fn the_least_that_will_do() {
    let plan = scenario("target = \"http://127.0.0.1/x\"\nduration = \"2s\"").plan().unwrap();
    assert_eq!((plan.connections(), plan.duration), (64, Some(Duration::from_secs(2))));
    assert!(plan.mix.entries()[0].name.is_none() && plan.stages.is_empty());
    let plan = scenario("target = \"tcp://127.0.0.1:7\"\npayload_size = \"2B\"\nrate = 10");
    assert!(plan.plan().unwrap().load.is_open());
    let text = "target = \"postgres://a@127.0.0.1\"\nmode = \"prepared\"\n\
                [[requests]]\nquery = '''SELECT {{users.id}}, '{{\"{{\"}}1}}' '''\n\
                [data.users]\nfile = \"users.csv\"\n";
    let plan = scenario(text).plan().unwrap();
    assert_eq!(plan.mix.entries()[0].name.as_deref(), Some("query 1"));
}

#[test]
fn the_command_line_says_where_else() {
    let folder = Folder::new();
    let file = folder.file("target = \"http://a\"\n[[requests]]\npath = \"/x\"\n");
    let mut scenario = Scenario::read(&file, Some("http://b".parse().unwrap())).unwrap();
    assert_eq!(scenario.target().to_string(), "http://b:80/");
}

#[test]
fn everything_wrong_is_said_at_once() {
    let text = r#"
target = "ftp://x"
conections = 4
threads = 0
warm_up = 5
thresholds = ["p99 < 5ms", "p99 < fast"]

[[stages]]
duration = "1s"
rate = "1..fast"
name = 3

[[requests]]
path = "/a b"
"#;
    assert_eq!(
        findings(text),
        [
            "2:10 `ftp://…` is no target; write http://host:port/path, \
             ws://host:port/path or tcp://host:port (https://, wss:// and tls:// over TLS), or \
             postgres://user:password@host:port/database",
            "3:1 unknown key `conections` (did you mean `connections`?)",
            "4:11 0 is out of range (allowed is 1 to 1024)",
            "5:11 expected a duration, found an integer (write \"5s\" for seconds)",
            "6:28 `fast` is no value for `p99`; write a duration such as 5ms",
            "10:8 `1..fast` is no number of requests a second from 0 to 10000000 \
             (write 100, or \"10..100\" for a ramp)",
            "11:8 expected text, found an integer (put it in quotes)",
        ]
    );
}

#[test]
fn syntax_errors_do_not_hide_the_rest() {
    let found = findings("target = = 1\n[[requests]]\nweight = \"x\"\n");
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].starts_with("1:10 not valid TOML"), "{found:#?}");
}

#[test]
fn each_mistake_says_what_to_do() {
    const TARGET: &str = "target = \"http://127.0.0.1\"\n";
    const USERS: &str = "[data.users]\nfile = \"users.csv\"\n";
    let request = |line: &str| format!("{TARGET}{USERS}[[requests]]\n{line}\n");
    for (text, said) in [
        (String::new(), "1:1 `target` is missing (write target = \"http://127.0.0.1:8080\")"),
        (format!("{TARGET}mode = \"simple\"\n"), "2:8 `mode` is for postgres:// targets"),
        (format!("{TARGET}payload_size = \"1B\"\n"), "2:16 `payload_size` is for tcp:// targets"),
        (
            "target = \"tcp://127.0.0.1:7\"\nhttp2 = true\n".to_owned(),
            "2:9 `http2` is for http:// targets",
        ),
        (
            format!("{TARGET}streams = 4\n"),
            "2:11 only HTTP/2 has several requests on a connection (write http2 = true)",
        ),
        (format!("{TARGET}connections = \"9\"\n"), "2:15 expected an integer, found text"),
        (format!("{TARGET}requests = []\n"), "2:12 there has to be a request"),
        (format!("{TARGET}stages = []\n"), "2:10 there are 0 stages"),
        (
            format!("{TARGET}rate = 5\n[[stages]]\nduration = \"1s\"\n"),
            "2:8 `rate` is said by each of the stages (move it into them)",
        ),
        (
            format!("{TARGET}rate = 5\nthink_time = \"1s\"\n"),
            "3:14 with a `rate` nobody waits for anybody",
        ),
        (
            format!("{TARGET}warm_up = \"1s\"\nrate = \"0..5\"\n"),
            "2:11 the load begins at 0, which is what it is warmed up with",
        ),
        (
            format!(
                "{TARGET}[[stages]]\nduration = \"1s\"\nrate = 1\n[[stages]]\nduration = \"1s\"\nconnections = 1\n"
            ),
            "5:1 some stages have a `rate`, others `connections`",
        ),
        (
            format!("{TARGET}[[stages]]\nrate = 1\nconnections = 1\nduration = \"1s\"\n"),
            "4:15 a stage has either `rate` or `connections`",
        ),
        (format!("{TARGET}[[stages]]\nrate = 1\n"), "2:1 `duration` is missing"),
        (
            format!("{TARGET}[requests]\npath = \"/\"\n"),
            "2:2 expected a list, found a table (write it in [[double]] brackets)",
        ),
        (
            "target = \"http://127.0.0.1/x\"\n[[requests]]\npath = \"/\"\n".to_owned(),
            "2:3 the target has a path, `/x`, and so have requests (leave it out of the target)",
        ),
        (
            "target = \"tcp://127.0.0.1:7\"\n[[requests]]\npath = \"/\"\n".to_owned(),
            "2:1 a tcp:// or ws:// target is sent payloads, not requests",
        ),
        (
            "target = \"tcp://127.0.0.1:7\"\nheaders = { A = \"b\" }\n".to_owned(),
            "2:11 `headers` is for http:// or ws:// targets",
        ),
        (
            "target = \"postgres://a@b\"\nheaders = { A = \"b\" }\n".to_owned(),
            "2:11 `headers` is for http:// or ws:// targets",
        ),
        (
            "target = \"ws://a\"\nheaders = { A = \"{{users.id}}\" }\n".to_owned(),
            "2:11 every handshake has the same headers, so there is nothing to fill",
        ),
        (
            "target = \"postgres://a@b\"\n[[requests]]\nname = \"x\"\n".to_owned(),
            "2:1 `query` is missing (write query = \"SELECT 1\")",
        ),
        (request("path = \"x\""), "5:8 a path begins with `/`"),
        (request("path = \"/a b\""), "5:8 the path holds a character that has to be percent-"),
        (request("method = \"CONNECT\""), "5:10 CONNECT opens a tunnel"),
        (request("headers = { Connection = \"x\" }"), "5:26 the header `Connection` is set by"),
        (request("weight = -1"), "5:10 -1 is out of range"),
        (request("weight = 0"), "4:3 all requests have weight 0"),
        (request("body = \"a\"\nbody_file = \"b\""), "6:13 a request has either `body` or"),
        (request("body_file = \"b\""), "5:13 cannot use "),
        (request("path = \"/{{user.id}}\""), "5:8 there is no feed `user` (did you mean `users`?)"),
        (request("path = \"/{{orders.id}}\""), "5:8 there is no feed `orders` (there are users)"),
        (
            request("path = \"/{{users.nmae}}\""),
            "5:8 the feed `users` has no column `nmae` (did you mean `name`?)",
        ),
        (request("body = \"{{id}}\""), "5:8 `{{id}}` does not name a feed and a column (write"),
        (request("body = \"{{id\""), "5:8 `{{` is never closed"),
        (request("expect.status = 99"), "5:17 `99` is not a status"),
        (request("expect.body = { matches = \"(\" }"), "5:27 not a regular expression: unclosed"),
        (request("expect.body = { match = \"x\" }"), "5:17 unknown key `match` (did you mean `mat"),
        (request("think_time = \"2s..1s\""), "5:14 `2s..1s` is not a pause"),
        (request("thresholds = \"p99 < 1s\""), "5:14 expected a list, found text"),
        (
            format!("{TARGET}[data.x]\nfile = \"x.txt\"\n"),
            "3:8 the name does not say how the values are written",
        ),
        (format!("{TARGET}[data.x]\nfile = \"no.csv\"\n"), "3:8 cannot use "),
        (
            format!("{TARGET}[data.users]\nfile = \"users.csv\"\norder = \"any\"\n"),
            "4:9 `any` is not a choice here (write \"sequential\" or \"random\")",
        ),
        (
            format!("{TARGET}[[requests]]\npath = \"/\"\n[[requests]]\npath = \"/\"\n"),
            "4:1 two requests are called `GET /` (give each a `name` of its own)",
        ),
    ] {
        let found = findings(&text);
        assert!(found.len() == 1 && found[0].starts_with(said), "{text}\n{said}\n{found:#?}");
    }
}

#[test]
fn a_feed_that_cannot_be_read_is_one_mistake() {
    let text =
        "target = \"http://a\"\n[data.u]\nfile = \"no.csv\"\n[[requests]]\npath = \"/{{u.id}}\"\n";
    assert_eq!(findings(text).len(), 1);
}

#[test]
fn a_file_that_is_not_there_says_so() {
    let error = Scenario::read(Path::new("/nowhere/x.toml"), None).unwrap_err();
    assert!(error.render(false).contains("cannot read /nowhere/x.toml"), "{error:?}");
}
