//! What a route does to requests and responses, seen from both sides.

use std::process::Command;

use bs9_config::BindAddress;

use crate::{
    fixture::{Proxy, Site},
    origin::Origin,
    wire::Wire,
};

/// What the endpoint is asked for when a client sends this to the route with these keys.
fn asked(route: &'static str, request: &str) -> crate::wire::Message {
    let origin = Origin::named("ok");
    let proxy = Site { route, ..Site::of([origin.address()]) }.start();
    let mut client = proxy.web();
    client.send(request);
    assert_eq!(client.response().status(), 200, "{route}: {request}");
    origin.only_request()
}

fn target(route: &'static str, target: &str) -> String {
    let request = asked(route, &format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
    request.target().to_owned()
}

#[test]
fn paths_are_rewritten_and_queries_kept() {
    let cases = [
        ("path = \"/api/\"\nrewrite = { prefix = \"/\" }", "/api/x?q=1", "/x?q=1"),
        ("path = \"/api\"\nrewrite = { prefix = \"/v2\" }", "/api/x", "/v2/x"),
        ("path = \"/u/{id}/\"\nrewrite = { prefix = \"/\" }", "/u/42/x", "/x"),
        ("path = \"=/u/{id}/o/{o}\"\nrewrite = { path = \"/{o}/{id}\" }", "/u/1/o/2?q", "/2/1?q"),
        ("path = \"~^/a/(?<n>[0-9]+)$\"\nrewrite = { path = \"/b/{n}\" }", "/a/7", "/b/7"),
        (
            "rewrite = { regex = \"([0-9]+)-([0-9]+)\", path = \"{2}-{1}\" }",
            "/x/1-2/3-4",
            "/x/2-1/3-4",
        ),
        ("rewrite = { regex = \"none\", path = \"x\" }", "/a?b", "/a?b"),
        ("rewrite = { path = \"/all{path}\" }", "/a", "/all/a"),
    ];
    for (route, sent, expected) in cases {
        assert_eq!(target(route, sent), expected, "{route}");
    }
}

#[test]
fn the_host_is_rewritten_and_the_old_one_passed_on() {
    let request = asked(
        "host = \"a.test\"\nrewrite = { host = \"{host}.internal:81\" }",
        "GET /x HTTP/1.1\r\nHost: a.test:80\r\n\r\n",
    );
    assert_eq!(request.headers("host"), ["a.test.internal:81"]);
    assert_eq!(request.headers("x-forwarded-host"), ["a.test:80"]);
}

#[test]
fn a_request_cannot_be_rewritten_to_a_host_that_there_cannot_be() {
    let origin = Origin::named("ok");
    let route = "path = \"~^/(.*)$\"\nrewrite = { host = \"{1}.internal\" }";
    let proxy = Site { route, ..Site::of([origin.address()]) }.start();
    let mut client = proxy.web();
    client.send("GET /a/b HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().status(), 400);
    assert!(origin.requests().is_empty());
}

#[test]
fn request_fields_are_removed_set_and_added() {
    let request = asked(
        "request_headers = { set = { x-env = \"prod\" }, add = { X-Tag = \"b\" }, remove = [\"x-secret\"] }",
        "GET / HTTP/1.1\r\nHost: a\r\nX-Env: spoofed\r\nx-env: too\r\nX-Tag: a\r\nX-Secret: 1\r\nX-Kept: 2\r\n\r\n",
    );
    assert_eq!(request.headers("x-env"), ["prod"]);
    assert_eq!(request.headers("x-tag"), ["a", "b"]);
    assert_eq!(request.headers("x-secret"), [""; 0]);
    assert_eq!(request.headers("x-kept"), ["2"]);
}

const RESPONSE_EDITS: &str = "response_headers = { set = { cache-control = \"no-store\" }, \
     add = { vary = \"cookie\" }, remove = [\"server\"] }";

#[test]
fn response_fields_are_removed_set_and_added() {
    let origin = Origin::answering(|_| {
        b"HTTP/1.1 200 OK\r\nServer: x\r\nCache-Control: public\r\nVary: accept\r\nContent-Length: 0\r\n\r\n"
            .to_vec()
    });
    let proxy = Site { route: RESPONSE_EDITS, ..Site::of([origin.address()]) }.start();
    let response = proxy.web().get("/");
    assert_eq!(response.headers("cache-control"), ["no-store"]);
    assert_eq!(response.headers("vary"), ["accept", "cookie"]);
    assert_eq!(response.headers("server"), [""; 0]);
}

#[test]
fn answers_of_the_proxy_itself_get_the_fields_of_their_route() {
    let text = format!(
        "[runtime]\nshards = 1\npin = false\n[listeners.web]\nbind = [\"127.0.0.1:0\"]\n\
         protocol = \"http\"\n\
         [[listeners.web.routes]]\npath = \"/fixed\"\nrespond = {{ body = \"x\", headers = {{ x-own = \"1\", content-type = \"text/html\" }} }}\n{RESPONSE_EDITS}\n\
         [[listeners.web.routes]]\npath = \"/away\"\nredirect = \"/fixed\"\n{RESPONSE_EDITS}\n\
         [[listeners.web.routes]]\npath = \"/there/\"\nredirect = \"/{{rest}}\"\n{RESPONSE_EDITS}\n\
         [[listeners.web.routes]]\npath = \"/none\"\ncluster = \"app\"\n{RESPONSE_EDITS}\n\
         [clusters.app]\n"
    );
    let proxy = Proxy::start(&text);
    let mut client = proxy.web();
    let statuses = [("/fixed", 200), ("/away", 308), ("/there/x", 308), ("/none", 503)];
    for (path, status) in statuses {
        let response = client.get(path);
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(response.headers("cache-control"), ["no-store"], "{path}");
        assert_eq!(response.headers("vary"), ["cookie"], "{path}");
        assert!(!response.closes(), "{path}");
    }
    let fixed = client.get("/fixed");
    assert_eq!(fixed.headers("content-type"), ["text/html"]);
    assert_eq!((fixed.headers("x-own"), fixed.text()), (vec!["1"], "x".to_owned()));
    assert_eq!(client.get("/there/x").headers("location"), ["/x"]);
    assert_eq!(client.get("/elsewhere").headers("cache-control"), [""; 0]);
}

#[test]
fn redirects_keep_and_replace_parts_of_the_request() {
    let cases = [
        ("redirect = \"https://{host}{path}\"", "/x?q", "https://a.test/x"),
        (
            "redirect = { scheme = \"https\", port = 8443, status = 301 }",
            "/x?q",
            "https://a.test:8443/x?q",
        ),
        (
            "redirect = { scheme = \"https\", host = \"www.{host}\", port = 8443, keep_query = false }",
            "/x?q",
            "https://www.a.test:8443/x",
        ),
        (
            "path = \"/old/{id}/\"\nredirect = { path = \"/new/{id}/{rest}\" }",
            "/old/7/a?q",
            "/new/7/a?q",
        ),
        ("path = \"~^/(?<a>[a-z])/\"\nredirect = \"/{a}?{query}\"", "/b/c?q=1", "/b?q=1"),
        ("path = \"/go/\"\nredirect = \"/{rest}\"", "/go/\\evil.test", "/%5Cevil.test"),
    ];
    for (route, target, location) in cases {
        let proxy = Proxy::start(&format!(
            "[runtime]\nshards = 1\npin = false\n[listeners.web]\nbind = [\"127.0.0.1:0\"]\n\
             protocol = \"http\"\n[[listeners.web.routes]]\n{route}\n"
        ));
        let mut client = proxy.web();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a.test:8080\r\n\r\n"));
        let response = client.response();
        assert!([301, 308].contains(&response.status()), "{route}");
        assert_eq!(response.header("location"), Some(location), "{route}");
    }
}

#[test]
fn the_scheme_is_that_of_the_client_of_a_proxy_that_is_trusted() {
    for (listener, scheme) in [("", "http"), ("trust_forwarded = true", "https")] {
        let proxy = Proxy::start(&format!(
            "[runtime]\nshards = 1\npin = false\n[listeners.web]\nbind = [\"127.0.0.1:0\"]\n\
             protocol = \"http\"\n{listener}\n[[listeners.web.routes]]\n\
             redirect = \"{{scheme}}://b.test/\"\n"
        ));
        let mut client = proxy.web();
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Proto: https\r\n\r\n");
        let location = format!("{scheme}://b.test/");
        assert_eq!(client.response().header("location"), Some(&*location));
    }
}

#[test]
fn routes_decide_on_the_normal_form_of_a_path() {
    let public = Origin::named("public");
    let admin = Origin::named("admin");
    let text = |listener: &str| {
        format!(
            "[runtime]\nshards = 1\npin = false\n[listeners.web]\nbind = [\"127.0.0.1:0\"]\n\
             protocol = \"http\"\n{listener}\n\
             [[listeners.web.routes]]\ncluster = \"public\"\n\
             [[listeners.web.routes]]\npath = \"/admin/\"\ncluster = \"admin\"\n\
             [clusters.public]\nendpoints = [\"{}\"]\n[clusters.admin]\nendpoints = [\"{}\"]\n",
            public.address(),
            admin.address()
        )
    };
    let get = |client: &mut Wire, target: &str| {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client.response()
    };
    let last = |origin: &Origin| origin.requests().last().unwrap().1.target().to_owned();

    let proxy = Proxy::start(&text(""));
    let mut client = proxy.web();
    let disguised = [
        ("/x/../admin/a", "/admin/a"),
        ("/./admin/a?q=/../", "/admin/a?q=/../"),
        ("/%61dmin/a", "/admin/a"),
        ("/x/%2e%2E/admin/a", "/admin/a"),
        ("//admin//a", "//admin//a"),
    ];
    for (sent, forwarded) in disguised {
        assert_eq!(get(&mut client, sent).text(), "admin", "{sent}");
        assert_eq!(last(&admin), forwarded, "{sent}");
    }
    assert_eq!(get(&mut client, "/admin/../x").text(), "public");
    assert_eq!(last(&public), "/x");
    assert_eq!(get(&mut client, "/a%2Fb%20c").text(), "public");
    assert_eq!(last(&public), "/a%2Fb%20c");
    for hidden in ["/x/..%2fadmin/", "/x/..;/admin/", "/x/..\\admin"] {
        let mut client = proxy.web();
        assert_eq!(get(&mut client, hidden).status(), 400, "{hidden}");
    }

    let proxy = Proxy::start(&text("normalize_path = \"merge-slashes\""));
    assert_eq!(get(&mut proxy.web(), "//admin//a").text(), "admin");
    assert_eq!(last(&admin), "/admin/a");
    let proxy = Proxy::start(&text("normalize_path = \"off\""));
    assert_eq!(get(&mut proxy.web(), "/x/../admin/a").text(), "public");
    assert_eq!(last(&public), "/x/../admin/a");
}

#[test]
fn routes_are_told_apart_by_cookies_prefixes_and_what_is_not_there() {
    let names = ["any", "cookie", "prefix", "regex", "absent", "user", "parameter"];
    let origins: Vec<_> = names.iter().map(|name| Origin::named(name)).collect();
    let mut text =
        "[runtime]\nshards = 1\npin = false\n[listeners.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n"
            .to_owned();
    for (name, matches) in names.iter().zip([
        "headers = { via = true }",
        "cookies = { beta = \"1\" }",
        "headers = { v = { prefix = \"2.\" } }",
        "query = { v = { regex = \"^[a-c]+$\" } }",
        "headers = { via = false }",
        "path = \"=/users/{id}\"",
        "path = \"/users/{id}/orders\"",
    ]) {
        text.push_str(&format!("[[listeners.web.routes]]\ncluster = \"{name}\"\n{matches}\n"));
    }
    for (name, origin) in names.iter().zip(&origins) {
        text.push_str(&format!("[clusters.{name}]\nendpoints = [\"{}\"]\n", origin.address()));
    }
    let proxy = Proxy::start(&text);
    let mut client = proxy.web();
    let mut ask = |target: &str, more: &str| {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n{more}\r\n"));
        client.response().text()
    };
    assert_eq!(ask("/", ""), "absent");
    assert_eq!(ask("/", "Via: x\r\n"), "any");
    assert_eq!(ask("/", "Cookie: a=2; beta=1\r\n"), "cookie");
    assert_eq!(ask("/", "V: 2.7\r\n"), "prefix");
    assert_eq!(ask("/?v=%61b", ""), "regex");
    assert_eq!(ask("/users/42", ""), "user");
    assert_eq!(ask("/users/42/orders/7", ""), "parameter");
    assert_eq!(ask("/users/42/x", ""), "absent");
}

#[test]
fn requests_with_one_cookie_stay_with_one_cluster_and_all_share_by_weight() {
    let origins = [Origin::named("many"), Origin::named("few")];
    let text = format!(
        "[runtime]\nshards = 2\npin = false\n[listeners.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n\
         [[listeners.web.routes]]\nsplit_by = {{ cookie = \"session\" }}\n\
         clusters = [{{ cluster = \"a\", weight = 3 }}, {{ cluster = \"b\", weight = 1 }}]\n\
         [clusters.a]\nendpoints = [\"{}\"]\n[clusters.b]\nendpoints = [\"{}\"]\n",
        origins[0].address(),
        origins[1].address(),
    );
    let proxy = Proxy::start(&text);
    let ask = |client: &mut Wire, session: usize| {
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: session={session}\r\n\r\n"));
        client.response().text()
    };
    let mut first = proxy.web();
    let places: Vec<_> = (0..400).map(|session| ask(&mut first, session)).collect();
    let few = places.iter().filter(|place| *place == "few").count();
    assert!((60..140).contains(&few), "{few} of 400");
    let mut second = proxy.web();
    for session in (0..400).step_by(7) {
        assert_eq!(ask(&mut second, session), places[session]);
    }
    let without: std::collections::BTreeSet<_> = (0..100).map(|_| first.get("/").text()).collect();
    assert_eq!(without.len(), 2, "without the cookie both serve");
}

#[test]
fn requests_by_http2_take_the_same_way() {
    let origin = Origin::named("ok");
    let route = "path = \"/api/{id}/\"\nheaders = { x-canary = \"1\" }\ncookies = { s = true }\n\
                 rewrite = { path = \"/{id}/{rest}\", host = \"app.internal\" }\n\
                 request_headers = { set = { x-env = \"prod\" } }\nresponse_headers = { set = { x-seen = \"1\" } }";
    let proxy = Site { route, ..Site::of([origin.address()]) }.start();
    let BindAddress::Tcp(address) = proxy.address("web") else { unreachable!() };
    let curl = Command::new("curl")
        .args(["--silent", "--include", "--http2-prior-knowledge", "--header", "X-Canary: 1"])
        .args(["--cookie", "s=1", &format!("http://{address}/api/x/../7/a//b?q=1")])
        .arg("--path-as-is")
        .output()
        .expect("curl is needed (.ci/deps test)");
    let text = String::from_utf8_lossy(&curl.stdout).into_owned();
    assert!(text.starts_with("HTTP/2 200") && text.contains("x-seen: 1"), "{text}");
    let request = origin.only_request();
    assert_eq!(request.target(), "/7/a/b?q=1");
    assert_eq!(request.headers("host"), ["app.internal"]);
    assert_eq!(request.headers("x-env"), ["prod"]);
}
