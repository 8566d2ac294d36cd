//! Health checks speak what requests do.

use super::origin::{H2Origin, ok};
use crate::fixture::{Site, eventually};

#[test]
fn a_check_by_path_asks_by_http2() {
    let origin = H2Origin::answering(|asked, respond| async move {
        let body = if asked.path() == "/health" { "all is fine" } else { "here" };
        ok(respond, body).await;
    });
    let site = Site {
        cluster: "protocol = \"h2\"\n[clusters.app.health_check]\npath = \"/health\"\n\
                  interval = \"500ms\"\ntimeout = \"500ms\"\ninitially_healthy = false\nexpected_body = \"fine\"\n\
                  headers = { x-probe = \"yes\" }",
        ..Site::of([origin.address()])
    };
    let proxy = site.start();
    eventually("it is healthy", || proxy.web().get("/").status() == 200);
    let (_, probe) = origin.requests().into_iter().next().unwrap();
    assert_eq!(
        (probe.uri().path(), &probe.headers()["x-probe"]),
        ("/health", &"yes".parse().unwrap())
    );
}

#[test]
fn an_answer_that_is_not_as_expected_is_none() {
    let origin = H2Origin::named("something else");
    let site = Site {
        cluster: "protocol = \"h2\"\n[clusters.app.health_check]\npath = \"/health\"\n\
                  interval = \"500ms\"\ntimeout = \"500ms\"\nunhealthy_after = 1\nexpected_body = \"fine\"",
        ..Site::of([origin.address()])
    };
    let proxy = site.start();
    eventually("it is unhealthy", || proxy.web().get("/").status() == 503);
}
