//! `bs9 loadbalancer routes`: which route a request takes, asked of a data plane and of a file.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use fixture::{DataPlane, origin::Origin};

fn config(origin: &Origin) -> String {
    format!(
        "[listeners.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n\
         [[listeners.web.routes]]\nhost = \"api.test\"\npath = \"/users/{{id}}\"\ncluster = \"api\"\n\
         rewrite = {{ path = \"/people/{{id}}\" }}\nallow = [\"127.0.0.0/8\"]\n\
         [[listeners.web.routes]]\nhost = \"api.test\"\npath = \"/users/{{id}}\"\n\
         methods = [\"DELETE\"]\ncookies = {{ role = \"admin\" }}\nrespond = {{ status = 403 }}\n\
         [clusters.api]\nendpoints = [\"{}\"]\n",
        origin.address
    )
}

#[test]
fn the_route_of_a_request_is_told_with_what_others_lack() {
    let origin = Origin::start("api");
    let data_plane = DataPlane::serve(&config(&origin));
    let ask = |more: &[&str]| {
        let base = ["loadbalancer", "routes", "http://api.test/users/42"];
        data_plane.running.ask(&[&base[..], more].concat())
    };
    let told = ask(&[]).ok();
    for wanted in [
        "takes routes[0] → cluster api",
        "the endpoint gets path /people/42",
        "for clients from 127.0.0.0/8; others are answered 403",
        "nearly: routes[1] → respond 403",
        "method: wants `DELETE`, is `GET`",
        "cookie role: wants `admin`, is not there",
    ] {
        assert!(told.contains(wanted), "{wanted}: {told}");
    }
    let admin = ["--method", "DELETE", "--header", "Cookie: a=1; role=admin", "--json"];
    let told = ask(&admin).json();
    assert_eq!(told["listeners"][0]["taken"], 1);
    assert_eq!(told["listeners"][0]["routes"][0]["checks"][2]["holds"], true);

    let all = data_plane.running.ask(&["loadbalancer", "routes"]).ok();
    for wanted in ["cookie role admin", "cluster api", "from 127.0.0.0/8"] {
        assert!(all.contains(wanted), "{wanted}: {all}");
    }
}

#[test]
fn a_request_without_a_route_and_what_is_no_request_fail() {
    let origin = Origin::start("api");
    let data_plane = DataPlane::serve(&config(&origin));
    let ask = |url: &str| data_plane.running.ask(&["loadbalancer", "routes", url]);
    ask("http://other.test/users/42").fails(3);
    ask("ftp://api.test/").fails(2);
    data_plane.running.ask(&["loadbalancer", "routes", "--listener", "none"]).fails(3);
}

#[test]
fn a_file_is_asked_before_it_is_in_force() {
    let origin = Origin::start("api");
    let data_plane = DataPlane::serve(&config(&origin));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("next.toml");
    std::fs::write(&path, config(&origin).replace("/people/", "/persons/")).unwrap();
    let path = path.to_str().unwrap();
    let told = data_plane
        .running
        .ask(&["loadbalancer", "routes", "http://api.test/users/42", "--config", path])
        .ok();
    assert!(told.contains("/persons/42"), "{told}");
}
