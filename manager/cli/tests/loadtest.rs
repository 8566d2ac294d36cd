//! `bs9 loadtest` against a small server.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use fixture::{bs9, origin::Origin};

#[test]
fn requests_are_counted_and_bounds_are_kept() {
    let origin = Origin::start("one");
    let url = format!("http://{}/", origin.address);
    let flags = ["loadtest", &url, "-c", "4", "-n", "200", "--expect-body", "one"];
    let report = bs9(flags.iter().copied().chain(["--json", "--threshold", "errors == 0"])).json();
    assert_eq!(report["schema"], 1);
    assert_eq!(report["requests"]["succeeded"], 200);
    assert_eq!(report["passed"], true);
    let text = bs9(flags).ok();
    assert!(text.contains("200"), "{text}");

    bs9(["loadtest", &url, "-n", "20", "--expect-body", "two"]).fails(1);
    bs9(["loadtest", &url, "-n", "20", "--threshold", "p50 < 1us"]).fails(1);
}

#[test]
fn what_cannot_be_is_refused() {
    bs9(["loadtest", "ftp://127.0.0.1/"]).fails(2);
    bs9(["loadtest", "http://127.0.0.1:1/", "--mode", "simple"]).fails(2);
    bs9(["loadtest", "http://127.0.0.1:1/", "-n", "1"]).fails(6);
    let said = bs9(["loadtest", "http://192.0.2.1/", "-n", "1"]).fails(2);
    assert!(said.contains("--allow-remote"), "{said}");
}
