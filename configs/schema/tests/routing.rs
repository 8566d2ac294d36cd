//! What routes can say, and what is said about those that cannot be meant.

use bs9_config::{
    Config, HttpListener, ListenerProtocol, LocationTarget, PathNormalization, PathRewrite,
    RouteAction, SplitBy, ValueMatch, parse_str,
};

const REST: &str = "\n[clusters.api]\n[clusters.other]\n";

fn text(routes: &str) -> String {
    format!(
        "[listeners.web]\nbind = [\"127.0.0.1:1\"]\nprotocol = \"http\"\n\
         [[listeners.web.routes]]\n{routes}\n{REST}"
    )
}

fn http(config: &Config) -> &HttpListener {
    match &config.listeners["web"].protocol {
        ListenerProtocol::Http(http) => http,
        other => panic!("{other:?}"),
    }
}

fn read(routes: &str) -> Config {
    parse_str("bs9.toml", &text(routes)).unwrap_or_else(|report| panic!("{routes}\n{report}"))
}

/// Messages of a route with mistakes.
fn messages(routes: &str) -> Vec<String> {
    let report = parse_str("bs9.toml", &text(routes)).expect_err(routes);
    report.diagnostics().iter().map(|one| one.message.clone()).collect()
}

#[test]
fn values_are_whole_there_or_looked_into() {
    let config = read(
        "cluster = \"api\"\nheaders = { A = \"1\", b = true, c = false, d = { prefix = \"x\" } }\n\
         cookies = { S = { regex = \"^a\" } }\nquery = { \"q r\" = \"a b\" }",
    );
    let matches = &http(&config).routes[0].matches;
    let headers: Vec<_> = matches.headers.iter().map(|one| (&*one.name, &one.value)).collect();
    assert_eq!(
        headers,
        [
            ("a", &ValueMatch::Exact("1".into())),
            ("b", &ValueMatch::Present),
            ("c", &ValueMatch::Absent),
            ("d", &ValueMatch::Prefix("x".into())),
        ]
    );
    assert_eq!(matches.cookies[0].value, ValueMatch::Regex("^a".into()));
    assert_eq!(&*matches.cookies[0].name, "S");
    assert_eq!(&*matches.query[0].name, "q r");
}

#[test]
fn redirects_are_taken_apart() {
    let location = |keys: &str| match &http(&read(keys)).routes[0].action {
        RouteAction::Redirect { to, status } => (to.clone(), *status),
        other => panic!("{other:?}"),
    };
    let (to, status) = location("redirect = \"https://{host}:8443/x?y={query}\"");
    assert_eq!((to.scheme.as_deref(), status), (Some("https"), 308));
    assert_eq!(to.authority.expect("one").to_string(), "{host}:8443");
    let LocationTarget::Whole(target) = to.target else { panic!() };
    assert_eq!(target.to_string(), "/x?y={query}");

    let (to, _) = location("redirect = \"{scheme}://www.{host}{path}\"");
    assert_eq!((to.scheme, to.authority.expect("one").to_string()), (None, "www.{host}".into()));
    let (to, status) = location("redirect = { scheme = \"https\", status = 301 }");
    assert_eq!((to.scheme.as_deref(), to.authority, status), (Some("https"), None, 301));
    assert_eq!(to.target, LocationTarget::Parts { path: None, keep_query: true });
}

#[test]
fn policies_are_read() {
    let config = read(
        "path = \"/a/\"\nclusters = [{ cluster = \"api\" }, { cluster = \"other\" }]\n\
         split_by = { header = \"X-User\" }\nrewrite = { prefix = \"/\", host = \"{host}.internal\" }\n\
         request_headers = { set = { X-A = \"1\" }, remove = [\"x-b\"] }\n\
         response_headers = { add = { x-c = \"2\" } }\n\
         allow = [\"10.0.0.0/8\"]\ndeny = [\"10.6.6.6\", \"::1\"]",
    );
    let route = &http(&config).routes[0];
    assert_eq!(route.split_by, Some(SplitBy::Header("x-user".into())));
    let rewrite = route.rewrite.as_ref().expect("one");
    assert_eq!(rewrite.path, Some(PathRewrite::Prefix("/".into())));
    assert_eq!(rewrite.host.as_ref().expect("one").to_string(), "{host}.internal");
    assert_eq!(&*route.request_headers.set[0].name, "X-A");
    assert_eq!(route.request_headers.remove, ["x-b".into()]);
    assert_eq!(&*route.response_headers.add[0].value, "2");
    let networks: Vec<_> =
        route.allow.iter().flatten().chain(&route.deny).map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "10.6.6.6/32", "::1/128"]);
    assert_eq!(http(&config).normalize_path, PathNormalization::Safe);
}

#[test]
fn a_body_can_come_from_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("page.html"), b"<p>\xff").expect("written");
    let path = folder.path().join("bs9.toml");
    let keys = "respond = { body_file = \"page.html\", content_type = \"text/html\", headers = { x-a = \"1\" } }";
    std::fs::write(&path, text(keys)).expect("written");
    let config = bs9_config::load(&path).unwrap_or_else(|report| panic!("{report}"));
    let RouteAction::Respond { body, headers, .. } = &http(&config).routes[0].action else {
        panic!()
    };
    assert_eq!((&body[..], &*headers[0].name), (&b"<p>\xff"[..], "x-a"));

    std::fs::remove_file(folder.path().join("page.html")).expect("removed");
    let report = bs9_config::load(&path).expect_err("the file is gone");
    assert!(report.to_string().contains("page.html"), "{report}");
}

#[test]
fn equal_matches_are_reported_with_both_places() {
    let same = [
        ("path = \"/\"", ""),
        ("path = \"/u/{id}\"", "path = \"/u/{name}\""),
        ("methods = [\"GET\", \"PUT\"]", "methods = [\"PUT\", \"GET\", \"PUT\"]"),
        ("headers = { A = \"1\", b = true }", "headers = { B = true, a = \"1\" }"),
        ("host = \"A.test\"", "host = \"a.test\""),
        ("path = \"~^/x\"\nquery = { a = \"1\" }", "query = { a = \"1\" }\npath = \"~^/x\""),
    ];
    for (first, second) in same {
        let routes = format!(
            "cluster = \"api\"\n{first}\n[[listeners.web.routes]]\ncluster = \"other\"\n{second}"
        );
        let report = parse_str("bs9.toml", &text(&routes)).expect_err(&routes);
        let [only] = report.diagnostics() else { panic!("{report}") };
        assert!(only.message.contains("can never be reached"), "{report}");
        assert_eq!(only.key, "listeners.web.routes[1]");
        assert_eq!(only.related.iter().map(|place| place.line).collect::<Vec<_>>(), [4]);
    }
    let routes = "cluster = \"api\"\nheaders = { a = \"1\" }\n[[listeners.web.routes]]\n\
                  cluster = \"api\"\nheaders = { a = { prefix = \"1\" } }";
    read(routes);
}

#[test]
fn what_cannot_be_meant_is_said() {
    let cases: &[(&str, &[&str])] = &[
        ("path = \"/u/x{id}\"", &["the segment `x{id}` is not a parameter"]),
        ("path = \"/{a}/{a}\"", &["the parameter `a` is there twice"]),
        ("path = \"/{host}\"", &["`host` is a part of every request"]),
        (
            "path = \"/a//b\"",
            &["the path `/a//b` can never match: repeated slashes are one before"],
        ),
        (
            "path = \"=/a/../b\"",
            &["the path `/a/../b` can never match: `.` and `..` are resolved before"],
        ),
        ("path = \"/%61/\"", &["the path `/%61/` can never match: `%61` is decoded before"]),
        ("headers = { a = {} }", &["one of `prefix` and `regex` belongs here"]),
        (
            "headers = { a = { regex = \"(\" } }",
            &["the regular expression `(` does not compile: unclosed group"],
        ),
        ("headers = { a = { prefix = \"\" } }", &["every value begins with nothing"]),
        ("cookies = { \"a b\" = true }", &["`a b` is not the name of a cookie"]),
        ("cookies = { a = \"1;2\" }", &["the value can never match"]),
        ("allow = []", &["the list is empty"]),
        ("deny = [\"10.0.0.1/8\"]", &["`10.0.0.1/8` has bits set behind the first 8"]),
        ("rewrite = {}", &["the rewrite does not say what to change"]),
        ("rewrite = { prefix = \"/\", path = \"/\" }", &["`path` stands beside `prefix`"]),
        ("rewrite = { regex = \"x\" }", &["`regex` needs `path`, which says what to put there"]),
        ("rewrite = { path = \"x\" }", &["the path does not start with /"]),
        ("rewrite = { path = \"/{id}\" }", &["there is no part `{id}` here"]),
        ("rewrite = { path = \"/{1}\" }", &["there is no part `{1}` here"]),
        ("rewrite = { regex = \"(a)\", path = \"/{2}\" }", &["there is no part `{2}` here"]),
        ("rewrite = { path = \"/{\" }", &["`/{` has a brace without its other half"]),
        ("rewrite = { path = \"/?x\" }", &["the path `/?x` holds more than a path"]),
        ("path = \"=/x\"\nrewrite = { prefix = \"/\" }", &["the route's path is no prefix"]),
        ("rewrite = { host = \"a/b\" }", &["`a/b` is not a host"]),
        (
            "split_by = { cookie = \"a\" }",
            &["`split_by` has no meaning for a route with one cluster"],
        ),
        ("request_headers = { set = { host = \"a\" } }", &["`host` is the proxy's own to set"]),
        ("request_headers = { add = { a = \" 1\" } }", &["` 1` cannot be the value of a field"]),
        (
            "response_headers = { remove = [\"Content-Length\"] }",
            &["`Content-Length` is the proxy's own to set"],
        ),
    ];
    for (keys, expected) in cases {
        assert_eq!(messages(&format!("cluster = \"api\"\n{keys}")), *expected, "{keys}");
    }
    let answers: &[(&str, &[&str])] = &[
        ("redirect = {}", &["the redirect does not say where to"]),
        (
            "redirect = { to = \"/\", host = \"a\" }",
            &["`host` stands beside `to`, which says it all"],
        ),
        ("redirect = \"/{id}\"", &["there is no part `{id}` here"]),
        ("redirect = \"://x\"", &["`` is not a scheme"]),
        (
            "redirect = \"/x\"\nrewrite = { prefix = \"/\" }",
            &["`rewrite` has no meaning for a route without a cluster"],
        ),
        ("respond = { body = \"x\", body_file = \"y\" }", &["cannot read the body from "]),
    ];
    for (keys, expected) in answers {
        let messages = messages(keys);
        for wanted in *expected {
            assert!(messages.iter().any(|one| one.starts_with(wanted)), "{keys}: {messages:?}");
        }
    }
}

#[test]
fn paths_are_taken_as_they_are_when_nothing_is_normalized() {
    let text = text("path = \"/a//b\"\ncluster = \"api\"")
        .replace("protocol", "normalize_path = \"off\"\nprotocol");
    assert!(parse_str("bs9.toml", &text).is_ok());
}
