//! Services in files, and clusters that are put in and taken out for them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path};

use bs9_config::{
    ClusterChange, ClusterProbe, ClusterRoute, Config, Endpoint, ReadySign, Run, edit, load,
    parse_service, parse_str,
};

const TEXT: &str = "# mine\n[listeners.web]\nbind = [\"127.0.0.1:8000\"]\nprotocol = \"http\"\n\
    [[listeners.web.routes]] # also mine\npath = \"/own/\"\nrespond = { status = 200 }\n";

fn change() -> ClusterChange {
    ClusterChange {
        cluster: "api".to_owned(),
        endpoints: vec![
            Endpoint::new("127.0.0.1:3000".parse().unwrap(), 1),
            Endpoint::new("127.0.0.1:3001".parse().unwrap(), 3),
        ],
        probe: Some(ClusterProbe {
            path: Some("/healthz".to_owned()),
            interval: std::time::Duration::from_secs(5),
        }),
        route: Some(ClusterRoute {
            listener: None,
            host: Some("api.example.com".to_owned()),
            path: None,
        }),
        former_route: None,
    }
}

/// The same change in memory and in the file; both have to come to the same.
fn both(text: &str, apply: impl Fn(&Path, &Config) -> Config) -> (Config, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bs9.toml");
    fs::write(&path, text).unwrap();
    let before = parse_str("bs9.toml", text).unwrap();
    let in_memory = apply(&path, &before);
    let in_file = load(&path).unwrap();
    assert!(
        bs9_config::difference(&in_memory, &in_file).is_empty(),
        "{in_memory:#?}\n{in_file:#?}"
    );
    (in_memory, fs::read_to_string(&path).unwrap())
}

#[test]
fn a_cluster_and_its_route_are_put_in_and_taken_out() {
    let (config, text) = both(TEXT, |path, before| {
        edit::set_cluster(path, &change()).unwrap();
        before.with_cluster(&change()).unwrap()
    });
    assert_eq!(config.clusters["api"].endpoints.len(), 2);
    assert!(text.starts_with("# mine\n") && text.contains("# also mine"), "{text}");

    // Done twice it is done once.
    let (again, same) = both(&text, |path, before| {
        edit::set_cluster(path, &change()).unwrap();
        before.with_cluster(&change()).unwrap()
    });
    assert_eq!(same, text);
    assert_eq!(again.clusters, config.clusters);

    let (without, text) = both(&text, |path, before| {
        edit::remove_cluster(path, "api").unwrap();
        before.without_cluster("api").unwrap()
    });
    assert!(without.clusters.is_empty());
    assert!(!text.contains("api"), "{text}");
}

#[test]
fn what_a_person_set_of_a_cluster_stays() {
    let text = format!("{TEXT}[clusters.api]\nbalance = \"round-robin\" # fair\nendpoints = []\n");
    let bare = ClusterChange { probe: None, route: None, ..change() };
    let (config, text) = both(&text, |path, before| {
        edit::set_cluster(path, &bare).unwrap();
        before.with_cluster(&bare).unwrap()
    });
    assert_eq!(config.clusters["api"].endpoints.len(), 2);
    assert!(text.contains("round-robin\" # fair"), "{text}");
}

#[test]
fn an_endpoint_that_is_there_keeps_all_but_its_weight() {
    let entry = "{ address = \"127.0.0.1:3001\", priority = 2, zone = \"eu-1\", disabled = true }";
    let text = format!("{TEXT}[clusters.api]\nendpoints = [{entry}, \"127.0.0.1:3002\"]\n");
    let bare = ClusterChange { probe: None, route: None, ..change() };
    let (config, text) = both(&text, |path, before| {
        let change = bare.clone().keeping(before);
        edit::set_cluster(path, &change).unwrap();
        before.with_cluster(&change).unwrap()
    });
    let [new, known] = config.clusters["api"].endpoints.as_slice() else { panic!("{text}") };
    assert_eq!(*new, bare.endpoints[0]);
    let Endpoint { address, weight, priority, zone, disabled } = known;
    assert_eq!((address, *weight), (&bare.endpoints[1].address, 3));
    assert_eq!((*priority, zone.as_deref(), *disabled), (2, Some("eu-1"), true));
    // A cluster that is not there has nothing to keep.
    assert_eq!(change().keeping(&parse_str("bs9.toml", TEXT).unwrap()), change());
}

#[test]
fn a_route_moves() {
    let (_, text) = both(TEXT, |path, before| {
        edit::set_cluster(path, &change()).unwrap();
        before.with_cluster(&change()).unwrap()
    });
    let moved = ClusterChange {
        former_route: change().route,
        route: Some(ClusterRoute { listener: None, host: None, path: Some("/v2/".to_owned()) }),
        ..change()
    };
    let (_, text) = both(&text, |path, before| {
        edit::set_cluster(path, &moved).unwrap();
        before.with_cluster(&moved).unwrap()
    });
    assert!(text.contains("/v2/") && !text.contains("api.example.com"), "{text}");
}

#[test]
fn what_is_no_cluster_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bs9.toml");
    fs::write(&path, TEXT).unwrap();
    let config = load(&path).unwrap();
    let route = |listener: Option<&str>, path: &str| {
        let route = ClusterRoute {
            listener: listener.map(str::to_owned),
            host: None,
            path: Some(path.to_owned()),
        };
        ClusterChange { route: Some(route), ..change() }
    };
    for wrong in [
        ClusterChange { cluster: "a b".to_owned(), ..change() },
        route(Some("other"), "/"),
        route(None, "no slash"),
    ] {
        assert!(config.with_cluster(&wrong).is_err(), "{wrong:?}");
        assert!(edit::set_cluster(&path, &wrong).is_err(), "{wrong:?}");
    }
    assert!(edit::remove_cluster(&path, "none").is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), TEXT);
}

#[test]
fn a_service_is_read_with_its_defaults() {
    let service = parse_service(
        Path::new("/etc/bs9/services/api.toml"),
        "script = \"app/x.js\"\nport = 80\n",
    );
    let service = service.unwrap();
    assert_eq!(&*service.name, "api");
    assert_eq!(service.working_folder, Path::new("/etc/bs9/services/app"));
    assert_eq!(service.ready.sign, ReadySign::Port);
    assert_eq!(service.port_of(3), Some(82));
    assert!(matches!(service.run, Run::Script { interpreter: None, .. }));
    assert!(service.hardening.relax.is_empty());
}

#[test]
fn mistakes_in_a_service_are_named() {
    let cases = [
        ("", "what to run"),
        ("command = [\"x\"]\nscript = \"y\"", "not both"),
        ("command = [\"x\"]\ninterpreter = \"y\"", "without `script`"),
        ("command = [\"x\"]\nprot = 1", "unknown key"),
        ("command = [\"x\"]\nready.path = \"/\"", "no port"),
        ("command = [\"x\"]\nuser = \"www\"", "no meaning"),
        ("command = [\"x\\ny\"]", "control characters"),
        ("command = [\"x\"]\n[environment]\n\"A-B\" = \"1\"", "name of a variable"),
        ("command = [\"x\"]\nport = 65535\ninstances = 4", "do not fit"),
        ("command = [\"x\"]\nhardening.relax = [\"jot\"]", "jit"),
        ("command = [\"x\"]\n[restart]\ndelay = \"2m\"", "shorter"),
    ];
    for (text, expected) in cases {
        let report = parse_service(Path::new("/s/api.toml"), text).unwrap_err();
        let said = report.render(false);
        assert!(said.contains(expected), "{text}: {said}");
    }
    for name in ["bs9", "a b", ".x"] {
        let path = format!("/s/{name}.toml");
        assert!(parse_service(Path::new(&path), "command = [\"x\"]").is_err(), "{name}");
    }
}

#[test]
fn a_secret_in_a_service_is_never_shown() {
    let text = "command = [\"x\"]\n[environment]\nTOKEN = \"geheim\"\nprot = 1\n[oops]\n";
    let report = parse_service(Path::new("/s/api.toml"), text).unwrap_err();
    for said in [report.render(false), report.to_string(), format!("{report:?}")] {
        assert!(!said.contains("geheim"), "{said}");
    }
}
