//! The order of specificity, conflicts, and the table held against a plain search.

use proptest::prelude::*;

use super::*;

fn spec(host: &str, path: &str) -> RouteSpec {
    RouteSpec {
        host: if host.is_empty() { HostMatch::Any } else { HostMatch::parse(host) },
        path: if path.is_empty() { PathMatch::Any } else { PathMatch::parse(path) },
        ..RouteSpec::default()
    }
}

fn table(specs: &[RouteSpec]) -> RouteTable {
    RouteTable::compile(specs.to_vec()).unwrap()
}

fn get(table: &RouteTable, host: &str, path: &str) -> Option<usize> {
    table.lookup(&asked(host, path))
}

fn asked<'r>(host: &'r str, path: &'r str) -> Request<'r, ()> {
    let host = Some(host).filter(|host| !host.is_empty());
    Request { host, path, query: None, method: "GET", fields: &() }
}

fn is(text: &str) -> ValueMatch {
    ValueMatch::Exact(text.to_owned())
}

#[test]
fn hosts_from_exact_to_any() {
    let table = table(&[
        spec("", "/"),
        spec("*.example.com", "/"),
        spec("*.a.example.com", ""),
        spec("b.example.com", "/"),
        spec("[::1]", "/"),
        spec("127.0.0.1", "/"),
    ]);
    let cases = [
        ("b.example.com", 3),
        ("B.EXAMPLE.com:8080", 3),
        ("b.example.com.", 3),
        ("b.example.com.:80", 3),
        ("c.example.com", 1),
        ("x.y.example.com", 1),
        ("a.example.com", 1),
        ("x.a.example.com", 2),
        ("w.x.a.example.com:1", 2),
        ("example.com", 0),
        (".example.com", 0),
        ("badexample.com", 0),
        ("", 0),
        ("[::1]:80", 4),
        ("[::1]", 4),
        ("127.0.0.1:1", 5),
    ];
    for (host, route) in cases {
        assert_eq!(get(&table, host, "/x"), Some(route), "{host}");
    }
    assert_eq!(get(&table, &"a".repeat(1000), "/"), Some(0));
}

#[test]
fn paths_from_exact_to_any() {
    let table = table(&[
        spec("", "/"),
        spec("", "/v1"),
        spec("", "/v1/users"),
        spec("", "=/v1/users"),
        spec("", "~^/v[0-9]+/x$"),
        spec("", "~x$"),
        spec("", "=*"),
    ]);
    let cases = [
        ("/v1/users", 3),
        ("/v1/users/", 2),
        ("/v1/user", 1),
        ("/v1x", 1),
        ("/v1/x", 1),
        ("/v2/x", 4),
        ("/v2/xx", 5),
        ("/v", 0),
        ("/", 0),
        ("*", 6),
    ];
    for (path, route) in cases {
        assert_eq!(get(&table, "h", path), Some(route), "{path}");
    }
}

#[test]
fn nothing_matches_when_no_route_is_for_it() {
    let table = table(&[spec("a", "/x/"), spec("*.b", "=/y")]);
    assert_eq!(get(&table, "a", "/x"), None);
    assert_eq!(get(&table, "c", "/x/"), None);
    assert_eq!(get(&table, "b", "/y"), None);
    assert_eq!(get(&table, "", "/x/"), None);
    assert_eq!(get(&RouteTable::compile([]).unwrap(), "a", "/"), None);
}

#[test]
fn more_constraints_come_first_and_give_way() {
    let canary = ("X-Canary".to_owned(), is("1"));
    let beta = ("beta".to_owned(), is("1"));
    let table = table(&[
        spec("a", "/"),
        RouteSpec { methods: vec!["GET".into(), "HEAD".into()], ..spec("a", "/api/") },
        RouteSpec { methods: vec!["GET".into()], ..spec("a", "/api/") },
        RouteSpec {
            methods: vec!["GET".into()],
            headers: vec![canary.clone()],
            ..spec("a", "/api/")
        },
        RouteSpec { query: vec![beta], headers: vec![canary], ..spec("a", "=/api/x") },
        RouteSpec { methods: vec!["DELETE".into()], ..spec("", "/") },
    ]);
    let lookup = |path, method, canary: Option<&str>, query| {
        let fields: Vec<_> = canary.into_iter().map(|value| ("x-canary", value)).collect();
        table.lookup(&Request { path, method, query, host: Some("a"), fields: &fields[..] })
    };
    assert_eq!(lookup("/api/x", "GET", Some("1"), Some("beta=1")), Some(4));
    assert_eq!(lookup("/api/x", "GET", Some("1"), Some("beta=2")), Some(3));
    assert_eq!(lookup("/api/x", "GET", Some("2"), Some("beta=1")), Some(2));
    assert_eq!(lookup("/api/x", "GET", None, None), Some(2));
    assert_eq!(lookup("/api/x", "HEAD", Some("1"), None), Some(1));
    assert_eq!(lookup("/api/x", "PUT", Some("1"), None), Some(0));
    assert_eq!(lookup("/api/x", "get", None, None), Some(0));

    let narrow = RouteTable::compile([
        RouteSpec { methods: vec!["GET".into()], ..spec("a", "/") },
        RouteSpec { methods: vec!["DELETE".into()], ..spec("", "/") },
    ])
    .unwrap();
    let method = |method| narrow.lookup(&Request { method, ..asked("a", "/") });
    assert_eq!(method("DELETE"), Some(1), "falls back to any host");
    assert_eq!(method("PUT"), None);
}

#[test]
fn equal_matches_are_conflicts_whatever_their_spelling() {
    let methods = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let pair = |a: &str, b: &str| (a.to_owned(), is(b));
    let pairs = [
        (spec("a.b", "/x"), spec("A.B.", "/x")),
        (spec("", "/"), spec("", "")),
        (spec("", "~x"), spec("", "~x")),
        (
            RouteSpec { methods: methods(&["GET", "PUT"]), ..spec("", "=/") },
            RouteSpec { methods: methods(&["PUT", "GET", "PUT"]), ..spec("", "=/") },
        ),
        (
            RouteSpec { headers: vec![pair("X-A", "1"), pair("b", "2")], ..spec("", "") },
            RouteSpec { headers: vec![pair("B", "2"), pair("x-a", "1")], ..spec("", "") },
        ),
        (spec("", "/u/{id}"), spec("", "/u/{name}")),
        (spec("", "=/u/{a}/{b}"), spec("", "=/u/{b}/{a}")),
    ];
    for (first, second) in pairs {
        let other = spec("other", "/");
        assert_eq!(
            RouteTable::compile([first, other, second]).unwrap_err(),
            [RouteError::Conflict { first: 0, second: 2 }],
        );
    }
    let different =
        [spec("", "/x"), spec("", "=/x"), spec("", "~/x"), spec("x", "/x"), spec("*.x", "/x")];
    assert!(RouteTable::compile(different).is_ok());
}

#[test]
fn all_faults_are_told_at_once() {
    let errors = RouteTable::compile([
        spec("a:80", "/"),
        spec("", "x"),
        spec("a", "=/?q"),
        spec("a", "~("),
        RouteSpec { methods: vec!["G T".into()], ..spec("a", "/1") },
        RouteSpec { headers: vec![("x:".into(), is(""))], ..spec("a", "/2") },
        spec("*.*.a", "/"),
        spec("a", "/"),
        spec("a", ""),
    ])
    .unwrap_err();
    assert_eq!(errors.iter().map(RouteError::index).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6, 8]);
}

#[test]
fn many_expressions_keep_their_order() {
    let specs: Vec<_> = (0..200).map(|n| spec("", &format!("~/{n}($|/)"))).collect();
    let table = table(&specs);
    for n in [0, 1, 63, 64, 65, 127, 128, 199] {
        assert_eq!(get(&table, "", &format!("/{n}")), Some(n));
        assert_eq!(get(&table, "", &format!("/199/{n}/x")), Some(n));
    }
    assert_eq!(get(&table, "", "/200"), None);
}

#[test]
fn an_expression_whose_routes_decline_gives_way_to_the_next() {
    let put = |path| RouteSpec { methods: vec!["PUT".into()], ..spec("", path) };
    let table = table(&[put("~x"), spec("", "~^/y"), put("~^/"), spec("", "~x$"), spec("", "/")]);
    assert_eq!(get(&table, "", "/yx"), Some(1));
    assert_eq!(get(&table, "", "/x"), Some(3));
    assert_eq!(get(&table, "", "/xz"), Some(4));
    assert_eq!(table.lookup(&Request { method: "PUT", ..asked("", "/z") }), Some(2));
    assert_eq!(table.all_matches(&Request { method: "PUT", ..asked("", "/yx") }), [0, 1, 2, 3, 4]);
}

#[test]
fn parameters_are_whole_segments() {
    let table = table(&[
        spec("", "/"),
        spec("", "=/users/{id}"),
        spec("", "/users/{id}/orders"),
        spec("", "/users/admin"),
        spec("", "/users/{id}/orders/"),
        spec("", "=/users/me"),
        spec("", "/{tenant}"),
        spec("", "=/{a}/b/c"),
        spec("", "=/a/{b}/c"),
        spec("", "=/a/{b}/{c}"),
        spec("", "~^/users/[0-9]+/x"),
    ]);
    let cases = [
        ("/users/42", 1),
        ("/users/me", 5),
        ("/users/admin", 1),
        ("/users/administrator/x", 3),
        ("/users/admin/orders", 2),
        ("/users/42/orders", 2),
        ("/users/42/ordersx", 2),
        ("/users/42/orders/1", 4),
        ("/users/42/x", 6),
        ("/users//", 6),
        ("/users/", 6),
        ("/", 0),
        ("//", 0),
        ("/a/b/c", 8),
        ("/x/b/c", 7),
        ("/a/x/y", 9),
        ("/a/x/y/z", 6),
        ("/a//c", 6),
    ];
    for (path, route) in cases {
        assert_eq!(get(&table, "h", path), Some(route), "{path}");
    }
    assert_eq!(table.all_matches(&asked("h", "/a/b/c")), [8, 7, 9, 6, 0]);
}

#[test]
fn values_can_be_there_begin_or_match() {
    let with = |values: Vec<(&str, ValueMatch)>| RouteSpec {
        headers: values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        ..spec("", "")
    };
    let table = table(&[
        spec("", ""),
        with(vec![("v", ValueMatch::Present)]),
        with(vec![("v", ValueMatch::Regex("^v[0-9]$".into()))]),
        with(vec![("v", ValueMatch::Prefix("v2".into()))]),
        with(vec![("v", is("v2"))]),
        with(vec![("v", ValueMatch::Absent), ("x", ValueMatch::Present)]),
    ]);
    let cases: [(&[(&str, &str)], usize); 8] = [
        (&[], 0),
        (&[("v", "1")], 1),
        (&[("V", "v3")], 2),
        (&[("v", "v2.1")], 3),
        (&[("v", "v2")], 4),
        (&[("v", "1"), ("v", "v2")], 4),
        (&[("x", "")], 5),
        (&[("x", "1"), ("v", "")], 1),
    ];
    for (fields, route) in cases {
        let request = Request { path: "/", host: None, query: None, method: "GET", fields };
        assert_eq!(table.lookup(&request), Some(route), "{fields:?}");
    }
}

#[test]
fn cookies_and_decoded_parameters_tell_routes_apart() {
    let named = |name: &str, value: &str| vec![(name.to_owned(), is(value))];
    let table = table(&[
        spec("", ""),
        RouteSpec { cookies: named("beta", "1"), ..spec("", "") },
        RouteSpec { query: named("q", "a b"), ..spec("", "") },
    ]);
    let lookup = |cookie: &str, query| {
        let fields = [("Cookie", cookie)];
        let request = Request { path: "/", host: None, query, method: "GET", fields: &fields[..] };
        table.lookup(&request)
    };
    assert_eq!(lookup("a=2; beta=1", None), Some(1));
    assert_eq!(lookup("a=2; beta=12", Some("q=b")), Some(0));
    assert_eq!(lookup("", Some("x=1&q=a+b")), Some(2));
    assert_eq!(lookup("", Some("q=a%20b")), Some(2));
}

#[test]
fn verdicts_say_what_is_missing() {
    let wanted = RouteSpec {
        methods: vec!["PUT".into(), "POST".into()],
        headers: vec![("x-canary".into(), ValueMatch::Present)],
        query: vec![("v".into(), is("2"))],
        ..spec("*.a.test", "/api/{v}/")
    };
    let request = Request {
        host: Some("x.a.test:80"),
        path: "/api/7/x",
        query: Some("v=1&v=3"),
        method: "PUT",
        fields: &(),
    };
    let verdict = Verdict::of(&wanted, &request);
    let told: Vec<_> = verdict
        .checks
        .iter()
        .map(|check| (check.subject.to_string(), check.found.as_deref(), check.holds))
        .collect();
    assert_eq!(
        told,
        [
            ("host".to_owned(), Some("x.a.test:80"), true),
            ("path".to_owned(), Some("/api/7/x"), true),
            ("method".to_owned(), Some("PUT"), true),
            ("header x-canary".to_owned(), None, false),
            ("query v".to_owned(), Some("1, 3"), false),
        ]
    );
    assert_eq!((verdict.holds(), verdict.failures()), (false, 2));
}

/// The parameters' places in a whole path or a prefix that matches, and how much it matches.
fn fit(pattern: &str, path: &str, whole: bool) -> Option<(usize, Vec<usize>)> {
    let mut at = 0;
    let mut places = Vec::new();
    for (number, segment) in pattern.split('/').enumerate().skip(1) {
        at += usize::from(path[at..].starts_with('/'));
        let here = &path[at..];
        if at == 0 {
            return None;
        }
        let last = number == pattern.split('/').count() - 1;
        let end = here.find('/').unwrap_or(here.len());
        if segment.starts_with('{') {
            (end > 0).then_some(())?;
            places.push(number);
            at += end;
        } else if last && !whole {
            here.starts_with(segment).then_some(())?;
            at += segment.len();
        } else {
            (&here[..end] == segment).then_some(())?;
            at += end;
        }
        if !last && !path[at..].starts_with('/') {
            return None;
        }
    }
    (!whole || at == path.len()).then_some((at, places))
}

/// The route that matches first in order of specificity, found by looking at each of them.
fn plain_lookup(specs: &[RouteSpec], host: &str, path: &str, method: &str) -> Option<usize> {
    let rank = |(index, spec): (usize, &RouteSpec)| {
        let host_rank = match &spec.host {
            HostMatch::Exact(name) => (host == name).then_some(0)?,
            HostMatch::Wildcard(suffix) => {
                let dotted = format!(".{suffix}");
                (host.len() > dotted.len() && host.ends_with(&dotted))
                    .then_some(1000 - suffix.len())?
            }
            HostMatch::Any => 1000,
        };
        let of_fit = |class: usize, (len, places): (usize, Vec<usize>)| {
            let later = places.iter().map(|place| usize::MAX - place).collect::<Vec<_>>();
            (class, 1000 - len, places.len(), later)
        };
        let path_rank = match &spec.path {
            PathMatch::Exact(exact) => {
                let fit = fit(exact, path, true)?;
                let class = usize::from(!fit.1.is_empty());
                of_fit(class, fit)
            }
            PathMatch::Prefix(prefix) if prefix == "/" => (9, 0, 0, Vec::new()),
            PathMatch::Prefix(prefix) => of_fit(2, fit(prefix, path, false)?),
            PathMatch::Regex(pattern) => {
                let first_use = specs
                    .iter()
                    .position(|other| other.path == spec.path && other.host == spec.host)?;
                let found = regex::Regex::new(pattern).unwrap().is_match(path);
                found.then_some((3, first_use, 0, Vec::new()))?
            }
            PathMatch::Any => (9, 0, 0, Vec::new()),
        };
        let holds = spec.methods.is_empty() || spec.methods.iter().any(|allowed| allowed == method);
        holds.then_some((host_rank, path_rank, spec.methods.is_empty(), spec.methods.len(), index))
    };
    specs.iter().enumerate().filter_map(rank).min().map(|rank| rank.4)
}

fn arbitrary_spec() -> impl Strategy<Value = RouteSpec> {
    let host = prop::sample::select(vec!["", "a", "a.b", "b.a.b", "*.a", "*.b", "*.a.b"]);
    let path = prop::sample::select(vec![
        "",
        "/",
        "/a",
        "/a/",
        "/ab",
        "=/a",
        "=/a/b",
        "~^/a",
        "~b$",
        "~/",
        "/{x}",
        "/{x}/",
        "/a/{x}",
        "=/{x}/b",
        "=/a/{x}",
        "/{x}/b",
        "/{x}/{y}",
        "=/{x}/{y}",
        "~[bc]",
        "~^/$|c",
    ]);
    let methods = prop::sample::subsequence(vec!["GET".to_owned(), "PUT".to_owned()], 0..=2);
    (host, path, methods)
        .prop_map(|(host, path, methods)| RouteSpec { methods, ..spec(host, path) })
}

proptest! {
    #[test]
    fn the_table_agrees_with_a_plain_search(
        specs in prop::collection::vec(arbitrary_spec(), 0..30),
        host in prop::sample::select(vec!["a", "b", "a.b", "b.a.b", "c.a.b", "x.a", "c.b.a.b"]),
        path in prop::sample::select(vec![
            "/", "/a", "/a/", "/ab", "/abc", "/a/b", "/c", "/b", "/a/b/c", "/c/b", "/c/d", "//b",
        ]),
        method in prop::sample::select(vec!["GET", "PUT", "DELETE"]),
    ) {
        let mut unique: Vec<RouteSpec> = Vec::new();
        for spec in specs {
            let normalized = spec.clone().normalized(0).unwrap();
            if !unique.iter().any(|other| other.clone().normalized(0).unwrap() == normalized) {
                unique.push(spec);
            }
        }
        let expected = plain_lookup(&unique, host, path, method);
        let request = Request { method, ..asked(host, path) };
        let verdicts: Vec<_> = unique.iter().map(|spec| Verdict::of(spec, &request)).collect();
        let table = RouteTable::compile(unique).unwrap();
        prop_assert_eq!(table.lookup(&request), expected);
        let all = table.all_matches(&request);
        prop_assert_eq!(all.first().copied(), expected);
        for (route, verdict) in verdicts.iter().enumerate() {
            prop_assert_eq!(verdict.holds(), all.contains(&route));
        }
    }
}
