//! The route of a request, in a table of many.

use std::hint::black_box;

use bs9_proxy::route::{HostMatch, PathMatch, RouteSpec, RouteTable};

/// Routes of one host.
const ROUTES_PER_HOST: usize = 20;

/// Looks one of `count` routes up, another each time.
pub(super) fn lookup(count: usize) -> Box<dyn FnMut()> {
    let specs = (0..count).map(|number| RouteSpec {
        host: HostMatch::Exact(host(number)),
        path: PathMatch::Prefix(format!("/service/{number}/")),
        ..RouteSpec::default()
    });
    let table = RouteTable::compile(specs).expect("no two of the routes are the same");
    // So many that no branch of the processor's or of ours is learnt by heart, and
    // the same whatever the number of routes.
    let requests: Vec<_> = (0..10)
        .map(|number| number * count / 10)
        .map(|number| (number, host(number), format!("/service/{number}/orders/4711")))
        .collect();
    let mut at = 0;
    Box::new(move || {
        let (number, host, path) = &requests[at];
        at = (at + 1) % requests.len();
        let found = table.lookup(black_box(Some(host)), black_box(path), "GET", |_| None, None);
        assert_eq!(found, Some(*number));
    })
}

fn host(route: usize) -> String {
    format!("service-{:03}.example.com", route / ROUTES_PER_HOST)
}
