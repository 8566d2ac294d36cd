//! Where a request goes, seen from outside. (The table itself is tested beside its code.)

use crate::{
    fixture::{Proxy, Site},
    origin::Origin,
    wire::{get, post},
};

fn routes(text: &str) -> String {
    format!(
        "[runtime]\nshards = 1\npin = false\n[listeners.web]\nbind = [\"127.0.0.1:0\"]\n\
         protocol = \"http\"\n{text}"
    )
}

#[test]
fn a_redirect_is_answered_at_once() {
    let proxy = Proxy::start(&routes(
        "[[listeners.web.routes]]\nredirect = \"https://example.com/\"\n\
         [[listeners.web.routes]]\npath = \"/found\"\nredirect = { to = \"/x\", status = 302 }\n",
    ));
    let mut client = proxy.web();
    let response = client.get("/");
    assert_eq!(response.line(), "HTTP/1.1 308 Permanent Redirect");
    assert_eq!(response.header("location"), Some("https://example.com/"));
    assert!(!response.closes());
    let response = client.get("/found");
    assert_eq!((response.status(), response.header("location")), (302, Some("/x")));
}

#[test]
fn a_fixed_response_is_answered_at_once() {
    let proxy = Proxy::start(&routes(
        "[[listeners.web.routes]]\nrespond = { body = \"hello\" }\n\
         [[listeners.web.routes]]\npath = \"/json\"\n\
         respond = { status = 418, body = \"{}\", content_type = \"application/json\" }\n\
         [[listeners.web.routes]]\npath = \"/nothing\"\nrespond = { status = 204 }\n",
    ));
    let mut client = proxy.web();
    let response = client.get("/");
    assert_eq!((response.status(), response.text()), (200, "hello".to_owned()));
    assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
    let response = client.get("/json");
    assert_eq!((response.status(), response.text()), (418, "{}".to_owned()));
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(client.get("/nothing").status(), 204);
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.head().contains("Content-Length: 5\r\n"));
    // Pipelined, all in one packet.
    client.send(get("/").repeat(3));
    assert!((0..3).all(|_| client.response().text() == "hello"));
    client.send(post("/", "unread"));
    let response = client.response();
    assert!(response.status() == 200 && response.closes());
    client.expect_closed();
}

#[test]
fn routes_are_told_apart_by_host_path_method_header_and_query() {
    let names = ["any", "host", "path", "method", "header", "query"];
    let origins: Vec<_> = names.iter().map(|name| Origin::named(name)).collect();
    let mut text = String::new();
    for (name, matches) in names.iter().zip([
        "",
        "host = \"api.test\"",
        "path = \"/path/\"",
        "methods = [\"DELETE\"]",
        "headers = { x-canary = \"1\" }",
        "query = { beta = \"1\" }",
    ]) {
        text.push_str(&format!("[[listeners.web.routes]]\ncluster = \"{name}\"\n{matches}\n"));
    }
    for (name, origin) in names.iter().zip(&origins) {
        text.push_str(&format!("[clusters.{name}]\nendpoints = [\"{}\"]\n", origin.address()));
    }
    let proxy = Proxy::start(&routes(&text));
    let mut client = proxy.web();
    let mut ask = |line: &str, host: &str, more: &str| {
        client.send(format!("{line} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n"));
        client.response().text()
    };
    assert_eq!(ask("GET /", "a.test", ""), "any");
    assert_eq!(ask("GET /", "API.test:80", ""), "host");
    assert_eq!(ask("GET /path/x", "a.test", ""), "path");
    assert_eq!(ask("DELETE /", "a.test", ""), "method");
    assert_eq!(ask("GET /", "a.test", "X-Canary: 1\r\n"), "header");
    assert_eq!(ask("GET /?a=2&beta=1", "a.test", ""), "query");
}

#[test]
fn clusters_share_traffic_by_weight() {
    let origins = [Origin::named("many"), Origin::named("few")];
    let text = format!(
        "[[listeners.web.routes]]\n\
         clusters = [{{ cluster = \"a\", weight = 9 }}, {{ cluster = \"b\", weight = 1 }}]\n\
         [clusters.a]\nendpoints = [\"{}\"]\n[clusters.b]\nendpoints = [\"{}\"]\n",
        origins[0].address(),
        origins[1].address(),
    );
    let proxy = Proxy::start(&routes(&text));
    let mut client = proxy.web();
    let few = (0..2_000).filter(|_| client.get("/").text() == "few").count();
    assert!((100..320).contains(&few), "{few} of 2000");
}

#[test]
fn an_absolute_target_names_the_host() {
    let origin = Origin::named("ok");
    let proxy = Site { route: "host = \"real.test\"", ..Site::of([origin.address()]) }.start();
    let mut client = proxy.web();
    client.send("GET http://real.test/p?q HTTP/1.1\r\nHost: other.test\r\n\r\n");
    assert_eq!(client.response().status(), 200);
    let request = origin.only_request();
    assert_eq!(request.line(), "GET /p?q HTTP/1.1");
    assert_eq!(request.headers("host"), ["real.test"]);
}
