//! The route of a request, in a table of many.

use std::hint::black_box;

use bs9_proxy::route::{HostMatch, PathMatch, Request, RouteSpec, RouteTable};

/// Routes of one host.
const ROUTES_PER_HOST: usize = 20;
/// Requests that go around.
const REQUESTS: usize = 10;

/// Looks one of `count` routes up, another each time.
pub(super) fn lookup(count: usize) -> Box<dyn FnMut()> {
    rounds(count, host, |number| PathMatch::Prefix(format!("/service/{number}/")))
}

/// Likewise among regular expressions, all of them of one host.
pub(super) fn lookup_regex(count: usize) -> Box<dyn FnMut()> {
    let path = |number| PathMatch::Regex(format!("^/service/{number}/[a-z]+/[0-9]+$"));
    rounds(count, |_| "api.example.com".to_owned(), path)
}

/// Likewise among paths with parameters, all of them of one host.
pub(super) fn lookup_parameters(count: usize) -> Box<dyn FnMut()> {
    let path = |number| PathMatch::Exact(format!("/service/{number}/{{kind}}/{{id}}"));
    rounds(count, |_| "api.example.com".to_owned(), path)
}

fn rounds(
    count: usize,
    host: fn(usize) -> String,
    path: impl Fn(usize) -> PathMatch,
) -> Box<dyn FnMut()> {
    let specs = (0..count).map(|number| RouteSpec {
        host: HostMatch::Exact(host(number)),
        path: path(number),
        ..RouteSpec::default()
    });
    let table = RouteTable::compile(specs).expect("no two of the routes are the same");
    // So many that no branch of the processor's or of ours is learnt by heart, and
    // as many, as long, whatever the number of routes.
    let requests: Vec<_> = (0..REQUESTS)
        .map(|number| number * count / REQUESTS)
        .map(|number| {
            let id = "4711000".get(number.to_string().len()..).expect("fewer than 10^7 routes");
            (number, host(number), format!("/service/{number}/orders/{id}"))
        })
        .collect();
    let mut at = 0;
    Box::new(move || {
        let (number, host, path) = &requests[at];
        at = (at + 1) % requests.len();
        let found = table.lookup(&Request {
            host: black_box(Some(host)),
            path: black_box(path),
            query: None,
            method: "GET",
            fields: &(),
        });
        assert_eq!(found, Some(*number));
    })
}

fn host(route: usize) -> String {
    format!("service-{:03}.example.com", route / ROUTES_PER_HOST)
}
