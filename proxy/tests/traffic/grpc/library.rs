//! All four kinds of call, deadlines, statuses and large messages, by grpcio on both sides.

use std::path::PathBuf;

use bs9_config::BindAddress;

use crate::{
    authority::Authority,
    fixture::Site,
    python::{Served, run},
};

fn script(name: &str) -> PathBuf {
    PathBuf::from("grpc").join(name)
}

#[test]
fn all_kinds_of_call_pass_plain_and_in_tls() {
    let server = Served::start(&script("server.py"));
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.write(folder.path());
    authority.issue(folder.path(), "site", &["localhost"]);
    let place = folder.path().display();
    let late = "\n[[listeners.web.routes]]\npath = \"=/test.Calls/Late\"\ncluster = \"app\"\n\
        timeout = \"300ms\"";
    let plain = Site { cluster: "protocol = \"h2\"", route: late, ..Site::of([server.address()]) };
    let tls = format!(
        "[listeners.web.tls]\ncertificates = [{{ certificate = \"{place}/site.pem\", key = \"{place}/site.key\" }}]"
    );
    let sealed = Site { rest: tls, ..plain.clone() };
    let ca = folder.path().join("ca.pem").display().to_string();
    for (site, more) in [(plain, &[][..]), (sealed, &[&*ca])] {
        let proxy = site.start();
        let BindAddress::Tcp(address) = proxy.address("web") else { unreachable!() };
        run(&script("client.py"), &[&[&*address.to_string()], more].concat());
    }
}
