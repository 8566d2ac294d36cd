//! Thresholds decide.

use bs9_loadtest::Options;

use crate::{
    report, requests,
    server::{Answer, Server, response},
};

fn passes(server: &Server, thresholds: &[&str]) -> bool {
    let thresholds = thresholds.iter().map(|text| text.parse().unwrap()).collect();
    report(&server.url(), Options { thresholds, ..requests(100, 2) }).passed
}

#[test]
fn all_of_them_have_to_be_kept() {
    let server = Server::http(|request| match request.index % 100 {
        0 => Answer::Send(response(500, "")),
        _ => Answer::Send(response(200, "")),
    });
    assert!(passes(&server, &["errors < 2%", "p99 < 1h", "rate > 0", "requests == 99"]));
    assert!(!passes(&server, &["p99 < 1h", "errors < 1%"]));
    assert!(!passes(&server, &["p50 < 0.001us", "errors < 2%"]));
    assert!(!passes(&server, &["rate > 100000000"]));
}
