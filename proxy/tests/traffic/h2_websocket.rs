//! WebSockets by the libraries people use: by HTTP/1.1 and on a stream of HTTP/2, plain and in
//! TLS, to an echo by HTTP/1.1 and to one on streams of HTTP/2.

use std::path::PathBuf;

use bs9_config::BindAddress;

use crate::{
    authority::Authority,
    fixture::Site,
    python::{Served, run},
};

fn script(name: &str) -> PathBuf {
    PathBuf::from("h2_websocket").join(name)
}

/// The echo, and how its cluster speaks to it.
const BY_HTTP1: (&str, &str) = ("server.py", "");
const BY_HTTP2: (&str, &str) = ("server_h2.py", "protocol = \"h2\"");

fn talk(by: &str, (server, cluster): (&str, &'static str)) {
    let server = Served::start(&script(server));
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.write(folder.path());
    authority.issue(folder.path(), "site", &["localhost"]);
    let place = folder.path().display();
    let plain = Site { cluster, ..Site::of([server.address()]) };
    let tls = format!(
        "[listeners.web.tls]\ncertificates = [{{ certificate = \"{place}/site.pem\", key = \"{place}/site.key\" }}]"
    );
    let sealed = Site { rest: tls, ..plain.clone() };
    let ca = folder.path().join("ca.pem").display().to_string();
    for (site, more) in [(plain, &[][..]), (sealed, &[&*ca])] {
        let proxy = site.start();
        let BindAddress::Tcp(address) = proxy.address("web") else { unreachable!() };
        run(&script(by), &[&[&*address.to_string()], more].concat());
        assert_eq!(proxy.failures().len(), 0);
    }
}

#[test]
fn a_library_talks_by_http_1_1() {
    talk("by_http1.py", BY_HTTP1);
}

#[test]
fn a_library_talks_on_a_stream_of_http2() {
    talk("by_http2.py", BY_HTTP1);
}

#[test]
fn a_library_talks_by_http_1_1_to_a_stream_of_http2() {
    talk("by_http1.py", BY_HTTP2);
}

#[test]
fn a_library_talks_on_a_stream_of_http2_to_another() {
    talk("by_http2.py", BY_HTTP2);
}
