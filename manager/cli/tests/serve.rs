//! Traffic through the real binary, and what it says about it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
};

use fixture::{DataPlane, get, origin::Origin, run};

/// An HTTP and a TCP listener in front of two origins.
fn config(one: &Origin, two: &Origin) -> String {
    format!(
        r#"
[listeners.web]
bind = ["127.0.0.1:0"]
protocol = "http"
[[listeners.web.routes]]
cluster = "api"
[[listeners.web.routes]]
path = "=/hello"
respond = {{ body = "hello" }}
[listeners.raw]
bind = ["127.0.0.1:0"]
protocol = "tcp"
cluster = "api"
[clusters.api]
balance = "round-robin"
endpoints = ["{}", "{}"]
"#,
        one.address, two.address
    )
}

#[test]
fn http_requests_take_turns() {
    let (one, two) = (Origin::start("one"), Origin::start("two"));
    let data_plane = DataPlane::serve(&config(&one, &two));
    let web = data_plane.running.address("web");
    let mut bodies: Vec<_> = (0..8).map(|_| get(web, "/").body).collect();
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies, ["one", "two"]);
    assert_eq!(get(web, "/hello").body, "hello");
    let curled = run("curl", &["-sS", "--fail", &format!("http://{web}/hello")]).ok();
    assert_eq!(curled, "hello");
}

#[test]
fn tcp_connections_are_carried_as_they_are() {
    let (one, two) = (Origin::start("one"), Origin::start("two"));
    let data_plane = DataPlane::serve(&config(&one, &two));
    let mut stream = TcpStream::connect(data_plane.running.address("raw")).unwrap();
    stream.set_read_timeout(Some(fixture::DEADLINE)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("one") || answer.ends_with("two"), "{answer}");
}

#[test]
fn status_has_numbers_with_units() {
    let (one, two) = (Origin::start("one"), Origin::start("two"));
    let data_plane = DataPlane::serve(&config(&one, &two));
    let web = data_plane.running.address("web");
    for _ in 0..4 {
        get(web, "/");
    }
    let answer = data_plane.running.ask(&["status", "--json"]).json();
    assert_eq!(answer["schema"], 1);
    assert_eq!(answer["answered_by"], "data_plane");
    let status = &answer["data_plane"]["status"];
    assert_eq!(status["pid"], data_plane.running.pid());
    assert_eq!(status["state"], "serving");
    assert!(status["uptime_seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(status["shards"].as_array().unwrap().len(), 2);
    let source = data_plane.path().display().to_string();
    assert_eq!(status["generation"]["sources"][0], source.as_str());
    let listeners = status["listeners"].as_array().unwrap();
    let names: Vec<_> = listeners.iter().map(|l| l["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["raw", "web"]);
    assert_eq!(listeners[1]["http"]["requests_total"], 4);
    assert_eq!(listeners[1]["http"]["responses_total"][1], 4);
    let endpoints = status["clusters"][0]["endpoints"].as_array().unwrap();
    let requests: u64 = endpoints.iter().map(|one| one["requests_total"].as_u64().unwrap()).sum();
    assert_eq!(requests, 4);
    let accepted: u64 = status["shards"]
        .as_array()
        .unwrap()
        .iter()
        .map(|shard| shard["accepted_connections_total"].as_u64().unwrap())
        .sum();
    assert_eq!(accepted, 4);

    let table = data_plane.running.ask(&["status"]).ok();
    for word in ["serving", "LISTENERS", "CLUSTERS", &web.to_string(), &one.address.to_string()] {
        assert!(table.contains(word), "{word} is missing:\n{table}");
    }
    assert!(!table.contains('\x1b'), "colours in a pipe: {table:?}");
}

#[test]
fn metrics_and_health_need_no_token_and_the_rest_does() {
    let (one, two) = (Origin::start("one"), Origin::start("two"));
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = config(&one, &two);
    let folder = tempfile::tempdir().unwrap();
    fixture::write(
        &folder.path().join("bs9.toml"),
        &format!(
            "[admin]\nsocket = \"dataplane.sock\"\nlisten = \"{port}\"\n\
             tokens = [{{ name = \"grafana\", role = \"viewer\", token = \"secret-of-the-test\" }}]\n{text}"
        ),
    );
    let data_plane = DataPlane::serve_in(folder, "bs9.toml");
    get(data_plane.running.address("web"), "/hello");
    let metrics = get(port, "/metrics");
    assert_eq!(metrics.status, 200);
    for line in [
        "# TYPE bs9_http_requests_total counter",
        "bs9_http_requests_total{listener=\"web\"} 1",
        "bs9_process_ready 1",
        "bs9_config_generation 1",
        "bs9_listener_accepted_connections_total{listener=\"web\",protocol=\"http\"} 1",
    ] {
        assert!(
            metrics.body.lines().any(|found| found == line),
            "{line} is missing:\n{}",
            metrics.body
        );
    }
    assert!(metrics.body.contains("bs9_endpoint_healthy{cluster=\"api\","));
    assert_eq!(get(port, "/health/live").status, 200);
    assert_eq!(get(port, "/health/ready").status, 200);
    assert_eq!(get(port, "/v1/status").status, 401);
    let url = format!("http://{port}/v1/status");
    let curled =
        run("curl", &["-sS", "--fail", "-H", "Authorization: Bearer secret-of-the-test", &url])
            .ok();
    assert!(curled.contains("\"listeners\""), "{curled}");
}

#[test]
fn a_listener_without_a_healthy_endpoint_says_so() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let data_plane = DataPlane::serve(&format!(
        "[listeners.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n[[listeners.web.routes]]\ncluster = \"api\"\n\
         [clusters.api]\nendpoints = [\"{nobody}\"]\n\
         health_check = {{ path = \"/\", interval = \"100ms\", timeout = \"100ms\", unhealthy_after = 1 }}\n"
    ));
    let web = data_plane.running.address("web");
    fixture::eventually("the endpoint is found unhealthy", || {
        let status = data_plane.running.status();
        (status["clusters"][0]["endpoints"][0]["health"] == "unhealthy").then_some(())
    });
    assert_eq!(get(web, "/").status, 503);
    let status = data_plane.running.status();
    let failures = status["listeners"][0]["http"]["failures_total"].as_array().unwrap();
    assert!(
        failures.iter().any(|one| one["reason"] == "no_healthy_endpoint" && one["count"] == 1),
        "{failures:?}"
    );
}

/// What its wake-ups cost, a shard reads from a file that it then holds open.
#[test]
fn shards_weigh_what_wakes_them_unless_told_never_to_wait() {
    for (keys, expected) in [("", 2), ("coalesce = \"1ms\"\n", 2), ("coalesce = \"0s\"\n", 0)] {
        let data_plane = DataPlane::serve(keys);
        let held = format!("/proc/{}/fd", data_plane.running.pid());
        fixture::eventually("each shard weighs, or none does", || {
            let held = std::fs::read_dir(&held).unwrap();
            let files = held.filter_map(|one| one.ok()?.path().read_link().ok());
            let weighing = files.filter(|file| file.ends_with("schedstat")).count();
            (weighing == expected).then_some(())
        });
    }
}
