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
    let host = Some(host).filter(|host| !host.is_empty());
    table.lookup(host, path, "GET", |_| None, None)
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
    let canary = ("X-Canary".to_owned(), "1".to_owned());
    let beta = ("beta".to_owned(), "1".to_owned());
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
    let lookup = |path, method, canary: Option<&'static [u8]>, query| {
        let header = |name: &str| canary.filter(|_| name.eq_ignore_ascii_case("x-canary"));
        table.lookup(Some("a"), path, method, header, query)
    };
    assert_eq!(lookup("/api/x", "GET", Some(b"1"), Some("beta=1")), Some(4));
    assert_eq!(lookup("/api/x", "GET", Some(b"1"), Some("beta=2")), Some(3));
    assert_eq!(lookup("/api/x", "GET", Some(b"2"), Some("beta=1")), Some(2));
    assert_eq!(lookup("/api/x", "GET", None, None), Some(2));
    assert_eq!(lookup("/api/x", "HEAD", Some(b"1"), None), Some(1));
    assert_eq!(lookup("/api/x", "PUT", Some(b"1"), None), Some(0));
    assert_eq!(lookup("/api/x", "get", None, None), Some(0));

    let narrow = RouteTable::compile([
        RouteSpec { methods: vec!["GET".into()], ..spec("a", "/") },
        RouteSpec { methods: vec!["DELETE".into()], ..spec("", "/") },
    ])
    .unwrap();
    let method = |method| narrow.lookup(Some("a"), "/", method, |_| None, None);
    assert_eq!(method("DELETE"), Some(1), "falls back to any host");
    assert_eq!(method("PUT"), None);
}

#[test]
fn equal_matches_are_conflicts_whatever_their_spelling() {
    let methods = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
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
        RouteSpec { headers: vec![("x:".into(), String::new())], ..spec("a", "/2") },
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

/// Every route that matches, in order of specificity, found by looking at each of them.
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
        let path_rank = match &spec.path {
            PathMatch::Exact(exact) => (path == exact).then_some(0)?,
            PathMatch::Prefix(prefix) if prefix == "/" => 2000,
            PathMatch::Prefix(prefix) => {
                path.starts_with(prefix.as_str()).then_some(1000 - prefix.len())?
            }
            PathMatch::Regex(pattern) => {
                let first_use = specs
                    .iter()
                    .position(|other| other.path == spec.path && other.host == spec.host)?;
                regex::Regex::new(pattern).unwrap().is_match(path).then_some(1001 + first_use)?
            }
            PathMatch::Any => 2000,
        };
        let holds = spec.methods.is_empty() || spec.methods.iter().any(|allowed| allowed == method);
        holds.then_some((host_rank, path_rank, spec.methods.is_empty(), spec.methods.len(), index))
    };
    specs.iter().enumerate().filter_map(rank).min().map(|rank| rank.4)
}

fn arbitrary_spec() -> impl Strategy<Value = RouteSpec> {
    let host = prop::sample::select(vec!["", "a", "a.b", "b.a.b", "*.a", "*.b", "*.a.b"]);
    let path = prop::sample::select(vec![
        "", "/", "/a", "/a/", "/ab", "=/a", "=/a/b", "~^/a", "~b$", "~/",
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
        path in prop::sample::select(vec!["/", "/a", "/a/", "/ab", "/abc", "/a/b", "/c", "/b"]),
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
        let table = RouteTable::compile(unique).unwrap();
        prop_assert_eq!(table.lookup(Some(host), path, method, |_| None, None), expected);
    }
}
