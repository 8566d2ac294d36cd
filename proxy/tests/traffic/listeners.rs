//! Where clients come in, and where endpoints are.

use crate::{
    fixture::{Proxy, Site, eventually},
    origin::{Origin, serve},
    wire::{get, ok},
};

#[test]
fn a_listener_takes_only_so_many_connections() {
    let origin = Origin::named("ok");
    for shards in [1, 2] {
        let site = Site { shards, listener: "max_connections = 2", ..Site::of([origin.address()]) };
        let proxy = site.start();
        let (mut first, mut second) = (proxy.web(), proxy.web());
        assert_eq!(first.get("/").status(), 200);
        assert_eq!(second.get("/").status(), 200);
        proxy.web().expect_closed();
        assert_eq!(proxy.report("web").listener.refused_connections(), 1);
        assert_eq!(first.get("/").status(), 200, "those inside are not disturbed");
        drop(second);
        eventually("there is room", || proxy.open_connections() == 1);
        assert_eq!(proxy.web().get("/").status(), 200);
    }
}

#[test]
fn the_process_takes_only_so_many_connections() {
    let origin = Origin::named("ok");
    let proxy = Site { runtime: "max_connections = 1", ..Site::of([origin.address()]) }.start();
    let mut first = proxy.web();
    assert_eq!(first.get("/").status(), 200);
    proxy.web().expect_closed();
    drop(first);
    eventually("there is room", || proxy.open_connections() == 0);
    assert_eq!(proxy.web().get("/").status(), 200);
}

#[test]
fn a_limit_can_be_raised_while_running() {
    let origin = Origin::named("ok");
    let tight = Site { listener: "max_connections = 1", ..Site::of([origin.address()]) };
    let proxy = tight.start();
    let mut first = proxy.web();
    first.get("/");
    proxy.web().expect_closed();
    proxy.reload(&Site { listener: "max_connections = 2", ..tight }.toml()).unwrap();
    assert_eq!(proxy.web().get("/").status(), 200);
    assert_eq!(first.get("/").status(), 200);
}

#[test]
fn unix_sockets_serve_on_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let (inside, outside) = (folder.path().join("app.sock"), folder.path().join("web.sock"));
    let origin = Origin::at_path(&inside, serve(|_| ok("over unix")));
    for shards in [1, 2] {
        let toml = Site { shards, ..Site::of([format!("unix:{}", inside.display())]) }.toml();
        let toml = toml.replace("127.0.0.1:0", &format!("unix:{}", outside.display()));
        let proxy = Proxy::start(&toml);
        for _ in 0..5 {
            assert_eq!(proxy.web().get("/").text(), "over unix");
        }
        drop(proxy);
        assert!(!outside.exists(), "the socket file goes with its listener");
    }
    let (_, request) = origin.requests().swap_remove(0);
    assert_eq!(request.header("x-forwarded-for"), None);
    assert_eq!(request.header("x-forwarded-proto"), Some("http"));
}

#[test]
fn a_unix_endpoint_that_is_not_there_is_a_bad_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let proxy = Site::of([format!("unix:{}", path.display())]).start();
    assert_eq!(proxy.web().get("/").status(), 502);
    let _origin = Origin::at_path(&path, serve(|_| ok("here now")));
    assert_eq!(proxy.web().get("/").text(), "here now");
}

#[test]
fn an_endpoint_may_be_a_host_name_from_the_first_request_on() {
    let origin = Origin::named("found");
    let named = format!("localhost:{}", origin.address().port());
    let proxy = Site::of([&named]).start();
    assert_eq!(proxy.web().get("/").text(), "found");
    assert_eq!(proxy.failures().len(), 0);
}

#[test]
fn an_endpoint_whose_name_leads_nowhere_is_a_bad_gateway_soon() {
    let proxy = Site::of(["nowhere.invalid:80"]).start();
    let mut client = proxy.web();
    assert_eq!(client.get("/").status(), 502);
    assert_eq!(proxy.failures()["connect_failed"], 1);
}

#[test]
fn several_addresses_are_one_listener() {
    let origin = Origin::named("ok");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.sock");
    let toml = Site::of([origin.address()]).toml();
    let bind = format!("\"127.0.0.1:0\", \"unix:{}\"", path.display());
    let proxy = Proxy::start(&toml.replace("\"127.0.0.1:0\"", &bind));
    let report = proxy.report("web");
    assert_eq!(report.addresses.len(), 2);
    for address in &report.addresses {
        let mut client = crate::wire::Wire::connect(address);
        client.send(get("/"));
        assert_eq!(client.response().text(), "ok");
    }
    assert_eq!(report.listener.accepted_connections(), 2);
}
