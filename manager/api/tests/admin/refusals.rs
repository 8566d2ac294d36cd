//! Requests that are not as they should be, and calls that fail: always a
//! problem in JSON, with a status and a code of its own.

use std::sync::atomic::Ordering;

use bs9_api::server::BODY_LIMIT_BYTES;

use crate::harness::{Served, head, post};

const WEIGHT: &str = "/v1/clusters/web/endpoints/weight";
const ADD: &str = "/v1/clusters/web/endpoints";

#[tokio::test]
async fn every_refusal_is_a_problem() {
    let (served, api) = Served::data_plane();
    api.not_ready.store(true, Ordering::SeqCst);
    let with_type = |media_type: &str| {
        let headers = [("Content-Type", media_type), ("Content-Length", "2")];
        head("POST", WEIGHT, &headers) + "{}"
    };
    let cases = [
        (head("GET", "/nowhere", &[]), 404, "not_found"),
        (head("GET", "/v1/clusters/", &[]), 404, "not_found"),
        (head("GET", "/v1/clusters/none", &[]), 404, "not_found"),
        (head("DELETE", "/v1/status", &[]), 405, "method_not_allowed"),
        (head("GET", "/v1/reload", &[]), 405, "method_not_allowed"),
        (head("GET", "/v1/clusters/%FF", &[]), 400, "bad_request"),
        (head("GET", "/health/ready", &[]), 503, "unavailable"),
        (head("POST", WEIGHT, &[]), 415, "unsupported_media_type"),
        (with_type("text/plain"), 415, "unsupported_media_type"),
        (post(WEIGHT, ""), 400, "bad_request"),
        (post(WEIGHT, "{"), 400, "bad_request"),
        (post(WEIGHT, "{\"address\":\"\u{0}"), 400, "bad_request"),
        (post(WEIGHT, "[]"), 422, "invalid_request"),
        (post(WEIGHT, "{}"), 422, "invalid_request"),
        (post(WEIGHT, r#"{"address":"a:1","weight":65536}"#), 422, "invalid_request"),
        (post(WEIGHT, r#"{"address":"a:1","weight":-1}"#), 422, "invalid_request"),
        (post(WEIGHT, r#"{"address":"a:1","weight":1,"wieght":2}"#), 422, "invalid_request"),
        (post(ADD, r#"{"address":"twice:80"}"#), 409, "conflict"),
        (post(ADD, r#"{"address":"panic:80"}"#), 500, "internal"),
        (post("/v1/clusters/none/endpoints", r#"{"address":"a:1"}"#), 404, "not_found"),
    ];
    for (request, status, code) in cases {
        let answer = served.by_socket(&request).await;
        assert_eq!(answer.status, status, "{request:?} → {answer:?}");
        assert_eq!(answer.code(), code, "{request:?} → {answer:?}");
    }
    assert!(api.calls().is_empty());
}

#[tokio::test]
async fn a_405_says_what_would_do() {
    let (served, _) = Served::data_plane();
    let answer = served.by_socket(&head("GET", "/v1/reload", &[])).await;
    assert!(answer.head.contains("allow: post"), "{answer:?}");
}

#[tokio::test]
async fn an_invalid_configuration_comes_with_its_errors() {
    let (served, _) = Served::data_plane();
    let answer = served.by_socket(&post(ADD, r#"{"address":"broken:80"}"#)).await;
    assert_eq!(answer.status, 422);
    assert_eq!(answer.code(), "invalid_config");
    assert_eq!(answer.json()["errors"][0]["line"], 3);
}

#[tokio::test]
async fn a_body_has_a_limit_however_it_is_framed() {
    let (served, api) = Served::data_plane();
    let padded = |length: usize| {
        let body = r#"{"address":"a:1","weight":1}"#;
        format!("{body}{}", " ".repeat(length - body.len()))
    };
    let fits = served.by_socket(&post(WEIGHT, &padded(BODY_LIMIT_BYTES))).await;
    assert_eq!(fits.status, 200, "{fits:?}");

    let long = padded(BODY_LIMIT_BYTES + 1);
    let chunked = head(
        "POST",
        WEIGHT,
        &[("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")],
    ) + &format!("{:x}\r\n{long}\r\n0\r\n\r\n", long.len());
    for request in [post(WEIGHT, &long), chunked] {
        let answer = served.by_socket(&request).await;
        assert_eq!(answer.status, 413, "{answer:?}");
        assert_eq!(answer.code(), "too_large");
    }
    assert_eq!(api.calls().len(), 1);
}

#[tokio::test]
async fn what_is_not_http_harms_nobody() {
    let (served, _) = Served::data_plane();
    let huge = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    for request in ["\u{16}\u{3}\u{1}\r\n\r\n", "GET\r\n\r\n", &huge] {
        let answer = served.by_tcp(request).await;
        assert!((400..500).contains(&answer.status), "{answer:?}");
    }
    assert_eq!(served.by_tcp(&head("GET", "/health/live", &[])).await.status, 200);
}

#[tokio::test]
async fn a_query_is_checked() {
    let (served, api) = Served::manager();
    for query in ["seconds=soon", "seconds=-1", "minutes=1", "seconds=1&seconds=2"] {
        let request = head("GET", &format!("/v1/history?{query}"), &[]);
        let answer = served.by_socket(&request).await;
        assert_eq!(answer.status, 400, "{query}");
        assert_eq!(answer.code(), "bad_request");
    }
    assert!(api.asked.lock().unwrap().is_empty());
}
