//! TLS towards endpoints: whom it believes, what it asks for, and what it remembers.

use std::{io::Read, sync::mpsc};

use rustls::server::Acceptor;

use crate::{
    fixture::{Proxy, eventually},
    origin::Origin,
    tls::{House, OpensslServer, RUNTIME, cluster, tcp},
    wire::{PATIENCE, Wire},
};

/// `[listeners.web]` in plaintext, with a route for each of these clusters, named as its path.
fn plain(clusters: &[&str]) -> String {
    let routes: Vec<_> = clusters
        .iter()
        .map(|name| format!("{{ path = \"/{name}\", cluster = \"{name}\" }}"))
        .collect();
    format!(
        "{RUNTIME}[listeners.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n\
         routes = [{}]\n",
        routes.join(", ")
    )
}

#[test]
fn an_endpoint_whose_certificate_is_revoked_gets_no_request() {
    const REVOKED: u64 = 3;
    let house = House::new();
    let folder = house.folder.path();
    let algorithm = &rcgen::PKCS_ECDSA_P256_SHA256;
    house.authority.issue_as(folder, "gone", &["localhost"], algorithm, REVOKED);
    house.authority.revoke(folder, &[REVOKED]);
    let origin = Origin::named("here");
    let gone =
        house.listener("gone", "app", "").replace(&house.entry("site"), &house.entry("gone"));
    let inner = Proxy::start(&format!(
        "{RUNTIME}{}{gone}{}",
        house.listener("good", "app", ""),
        cluster("app", origin.address(), "")
    ));
    let [good, gone] = ["good", "gone"].map(|name| tcp(&inner.address(name)));
    let [ca, crl] = ["ca.pem", "ca.crl"].map(|name| house.path(name));
    let site = |crls: &str, check: &str| {
        let more = format!("tls = {{ ca = {ca:?}, server_name = \"localhost\"{crls} }}\n{check}");
        let clusters = [cluster("good", good, &more), cluster("app", gone, &more)];
        format!("{}{}", plain(&["good", "app"]), clusters.concat())
    };
    // Nobody has said yet that it is.
    let proxy = Proxy::start(&site("", ""));
    assert_eq!(proxy.web().get("/app").text(), "here");

    let list = format!(", crls = [{crl:?}]");
    proxy.reload(&site(&list, "")).unwrap();
    let before = origin.requests().len();
    assert_eq!(proxy.web().get("/app").status(), 502);
    assert_eq!(proxy.failures().get("connect_failed"), Some(&1), "{:?}", proxy.failures());
    assert_eq!(proxy.web().get("/good").text(), "here");
    assert_eq!(origin.requests().len(), before + 1, "only the good one was asked");

    let check = "health_check = { path = \"/up\", interval = \"1s\", unhealthy_after = 1 }";
    proxy.reload(&site(&list, check)).unwrap();
    eventually("a probe is refused as well", || {
        let reason = proxy.endpoint(gone).health_reason.unwrap_or_default();
        reason.contains("TLS") && reason.to_lowercase().contains("revoked")
    });
}

/// The name that a client of TLS asks for.
fn name_asked_for(wire: &Wire) -> Option<String> {
    let mut acceptor = Acceptor::default();
    loop {
        acceptor.read_tls(&mut wire.socket() as &mut dyn Read).unwrap();
        if let Some(accepted) = acceptor.accept().expect("a good hello") {
            return accepted.client_hello().server_name().map(str::to_owned);
        }
    }
}

#[test]
fn an_endpoint_is_asked_by_the_name_that_is_wanted_of_it() {
    let (report, asked) = mpsc::channel();
    let origin = Origin::scripted(move |_, wire, _| report.send(name_asked_for(&wire)).unwrap());
    let (address, port) = (origin.address(), origin.address().port());
    for (endpoint, tls, expected) in [
        (
            address.to_string(),
            "tls = { server_name = \"Shop.Example.com\" }",
            Some("shop.example.com"),
        ),
        (address.to_string(), "tls = { server_name = \"a.test\", verify = false }", Some("a.test")),
        (format!("localhost:{port}"), "tls = true", Some("localhost")),
        // An address is no name (RFC 6066 section 3).
        (address.to_string(), "tls = true", None),
    ] {
        let proxy = Proxy::start(&(plain(&["app"]) + &cluster("app", endpoint, tls)));
        assert_eq!(proxy.web().get("/app").status(), 502, "it hangs up");
        let name = asked.recv_timeout(PATIENCE).unwrap();
        assert_eq!(name.as_deref(), expected, "{tls}");
        // It may have been asked again.
        drop(proxy);
        asked.try_iter().for_each(|name| assert_eq!(name.as_deref(), expected, "{tls}"));
    }
}

#[test]
fn endpoints_are_spoken_to_in_the_versions_that_are_wanted() {
    let house = House::new();
    let ca = house.path("ca.pem");
    for (server, versions, agreed) in [
        (&[][..], "max_version = \"1.2\"", Some("TLSv1.2")),
        (&[], "min_version = \"1.3\"", Some("TLSv1.3")),
        (&[], "", Some("TLSv1.3")),
        (&["-tls1_3"], "max_version = \"1.2\"", None),
        (&["-tls1_2"], "min_version = \"1.3\"", None),
        (&["-tls1_2"], "", Some("TLSv1.2")),
    ] {
        let server = OpensslServer::start(&house, server);
        let comma = if versions.is_empty() { "" } else { ", " };
        let tls =
            format!("tls = {{ ca = {ca:?}, server_name = \"example.com\"{comma}{versions} }}");
        let proxy = Proxy::start(&(plain(&["app"]) + &cluster("app", server.address, &tls)));
        let answer = proxy.web().get("/app");
        match agreed {
            Some(version) => {
                let said = answer.text();
                assert!(said.contains(&format!(", {version}, Cipher is")), "{versions}: {said}");
            }
            None => {
                assert_eq!(answer.status(), 502, "{versions}");
                assert_eq!(proxy.failures().get("connect_failed"), Some(&1), "{versions}");
            }
        }
    }
}

#[test]
fn a_session_with_an_endpoint_is_taken_up_again_by_every_shard() {
    let house = House::new();
    let origin = Origin::named("here");
    let inner = Proxy::start(&format!(
        "{RUNTIME}{}{}",
        house.listener("inner", "app", ""),
        cluster("app", origin.address(), "")
    ));
    let (endpoint, ca) = (tcp(&inner.address("inner")), house.path("ca.pem"));
    let shaken = || {
        let listener = inner.report("inner").listener;
        (listener.handshakes(), listener.resumptions())
    };
    for version in ["1.2", "1.3"] {
        // Without kept connections: every request shakes hands.
        let more = format!(
            "max_idle_connections = 0\ntls = {{ ca = {ca:?}, server_name = \"localhost\", \
             max_version = \"{version}\" }}"
        );
        let proxy = Proxy::start(&(plain(&["app"]) + &cluster("app", endpoint, &more)));
        let before = shaken();
        assert_eq!(proxy.web().get("/app").text(), "here");
        assert_eq!(shaken(), (before.0 + 1, before.1), "{version}: the first is a whole one");
        let listener = proxy.report("web").listener;
        let mut asked = 1;
        eventually("each shard has asked again", || {
            assert_eq!(proxy.web().get("/app").text(), "here");
            asked += 1;
            asked > 4 && [0, 1].iter().all(|shard| listener.accepted_connections_on(*shard) > 0)
        });
        assert_eq!(shaken(), (before.0 + asked, before.1 + asked - 1), "{version}");
    }
}
