//! Endpoints added, removed, weighted and drained while traffic flows.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::Stdio,
    thread,
};

use fixture::{DEADLINE, DataPlane, Outcome, eventually, get, origin::Origin, program};
use rustix::process::Signal;
use serde_json::Value;

fn config(endpoints: &[&Origin]) -> String {
    let endpoints: Vec<_> = endpoints.iter().map(|one| format!("\"{}\"", one.address)).collect();
    format!(
        "# Kept as it is.\n[listeners.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n[[listeners.web.routes]]\n\
         cluster = \"api\"\n\n[clusters.api] # the application\nbalance = \"weighted-round-robin\"\nendpoints = [{}]\n",
        endpoints.join(", ")
    )
}

/// How often each origin answers, over connections that may land on any shard.
fn shares(web: SocketAddr, requests: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for _ in 0..requests {
        *shares.entry(get(web, "/").body).or_default() += 1;
    }
    shares
}

#[test]
fn a_change_lives_in_memory_until_the_files_are_read_again() {
    let (one, two) = (Origin::start("one"), Origin::start("two"));
    let data_plane = DataPlane::serve(&config(&[&one]));
    let (web, before) = (data_plane.running.address("web"), data_plane.text());
    let second = two.address.to_string();

    data_plane.running.ask(&["loadbalancer", "add", &second, "--weight", "3"]).ok();
    assert!(shares(web, 16)["two"] > 0);
    let configured = data_plane.running.ask(&["loadbalancer", "config", "--json"]).json();
    let unsaved = configured["generation"]["unsaved_changes"].as_array().unwrap();
    assert_eq!(unsaved.len(), 1);
    assert!(unsaved[0].as_str().unwrap().contains(&second), "{unsaved:?}");
    assert_eq!(configured["clusters"][0]["endpoints"][1]["weight"], 3);
    assert_eq!(data_plane.text(), before);

    data_plane.running.ask(&["loadbalancer", "reload"]).ok();
    assert_eq!(shares(web, 8), [("one".to_owned(), 8)].into());
    let configured = data_plane.running.ask(&["loadbalancer", "config", "--json"]).json();
    assert_eq!(configured["generation"]["unsaved_changes"].as_array().unwrap().len(), 0);
}

#[test]
fn a_persisted_change_is_in_the_file_and_survives() {
    let (one, two) = (Origin::start("one"), Origin::start("two"));
    let data_plane = DataPlane::serve(&config(&[&one]));
    let web = data_plane.running.address("web");
    let second = two.address.to_string();

    data_plane.running.ask(&["loadbalancer", "add", &second, "--persist"]).ok();
    let text = data_plane.text();
    assert!(text.contains(&second), "{text}");
    assert!(text.contains("# Kept as it is.") && text.contains("# the application"), "{text}");
    let generation = data_plane.running.generation();
    let reloaded = data_plane.running.ask(&["loadbalancer", "reload", "--json"]).json();
    assert_eq!(reloaded["changes"].as_array().unwrap().len(), 0, "the file holds what is in force");
    assert_eq!(reloaded["generation"], generation);
    assert!(shares(web, 16)["two"] > 0);

    data_plane.running.ask(&["loadbalancer", "weight", &second, "0", "--persist"]).ok();
    assert_eq!(shares(web, 16), [("one".to_owned(), 16)].into());
    data_plane.running.ask(&["loadbalancer", "remove", &second, "--persist"]).ok();
    assert!(!data_plane.text().contains(&second));
    assert_eq!(
        data_plane.running.status()["clusters"][0]["endpoints"].as_array().unwrap().len(),
        1
    );
}

/// Ends the process by `signal` and starts it anew on the same files.
fn restarted(data_plane: DataPlane, signal: Signal) -> DataPlane {
    let DataPlane { mut running, folder } = data_plane;
    running.signal(signal);
    running.ended();
    drop(running);
    DataPlane::serve_in(folder, "bs9.toml")
}

#[test]
fn a_persisted_change_survives_the_process_and_every_change_is_in_its_log() {
    let (one, two, three) = (Origin::start("one"), Origin::start("two"), Origin::start("three"));
    let mut data_plane = DataPlane::serve(&config(&[&one]));
    let [first, second, third] = [&one, &two, &three].map(|origin| origin.address.to_string());
    let logged = |data_plane: &DataPlane, change: &str, saved: bool| {
        let (change, saved) = (format!("cluster api: endpoint {change}"), format!("saved={saved}"));
        eventually(&format!("{change} {saved} is in the log"), || {
            let log = data_plane.running.log();
            let mut lines = log.lines().filter(|line| line.contains("configuration changed"));
            lines.any(|line| line.contains(&change) && line.contains(&saved)).then_some(())
        });
    };
    let change = |data_plane: &DataPlane, words: &[&str]| {
        data_plane.running.ask(&[&["loadbalancer"], words].concat()).ok();
    };
    change(&data_plane, &["add", &second, "--weight", "3", "--persist"]);
    logged(&data_plane, &format!("{second} added, weight 3"), true);
    change(&data_plane, &["add", &third]);
    logged(&data_plane, &format!("{third} added, weight 1"), false);
    change(&data_plane, &["weight", &third, "9"]);
    logged(&data_plane, &format!("{third} has weight 9"), false);
    let weights = |data_plane: &DataPlane| {
        let status = data_plane.running.status();
        let endpoints = status["clusters"][0]["endpoints"].as_array().unwrap();
        let weight = |one: &Value| {
            (one["address"].as_str().unwrap().to_owned(), one["weight"].as_u64().unwrap())
        };
        endpoints.iter().map(weight).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(weights(&data_plane).len(), 3);

    data_plane = restarted(data_plane, Signal::TERM);
    assert_eq!(weights(&data_plane), [(first.clone(), 1), (second.clone(), 3)].into());
    let shares = shares(data_plane.running.address("web"), 16);
    assert!(shares["two"] > 0 && !shares.contains_key("three"), "{shares:?}");

    change(&data_plane, &["weight", &second, "5", "--persist"]);
    logged(&data_plane, &format!("{second} has weight 5"), true);
    // It was written before it was answered: no end can take it away.
    data_plane = restarted(data_plane, Signal::KILL);
    assert_eq!(weights(&data_plane), [(first.clone(), 1), (second.clone(), 5)].into());

    change(&data_plane, &["remove", &second, "--persist"]);
    logged(&data_plane, &format!("{second} removed"), true);
    data_plane = restarted(data_plane, Signal::KILL);
    assert_eq!(weights(&data_plane), [(first, 1)].into());
}

#[test]
fn a_persisted_change_leaves_unsaved_ones_alone() {
    let (one, two) = (Origin::start("one"), Origin::start("two"));
    let data_plane = DataPlane::serve(&config(&[&one]));
    let second = two.address.to_string();
    data_plane.running.ask(&["loadbalancer", "add", &second]).ok();
    // In force, yet not in the files: it cannot be saved there.
    let said =
        data_plane.running.ask(&["loadbalancer", "weight", &second, "5", "--persist"]).fails(3);
    assert!(said.contains("in the files"), "{said}");

    data_plane
        .running
        .ask(&["loadbalancer", "weight", &one.address.to_string(), "7", "--persist"])
        .ok();
    assert!(data_plane.text().contains("weight = 7"), "{}", data_plane.text());
    // The file's own change is noticed and means nothing new: the other change stays.
    let endpoints =
        || data_plane.running.status()["clusters"][0]["endpoints"].as_array().unwrap().len();
    assert_eq!(endpoints(), 2);
    // Something else changes in the file: now it is what counts.
    let text = data_plane.text().replace("weight = 7", "weight = 8");
    fixture::write(&data_plane.path(), &text);
    eventually("the file is in force", || (endpoints() == 1).then_some(()));
}

#[test]
fn weights_are_shares() {
    let (one, two) = (Origin::start("one"), Origin::start("two"));
    let data_plane = DataPlane::serve(&config(&[&one, &two]));
    let web = data_plane.running.address("web");
    data_plane.running.ask(&["loadbalancer", "weight", &two.address.to_string(), "3"]).ok();
    // Each shard counts for itself, so the share is exact but for a cycle on each.
    let shares = shares(web, 80);
    assert!((52..=68).contains(&shares["two"]), "{shares:?}");
}

#[test]
fn a_drained_endpoint_takes_nothing_new_until_that_is_undone() {
    let (one, two) = (Origin::start("one"), Origin::start("two"));
    let data_plane = DataPlane::serve(&config(&[&one, &two]));
    let web = data_plane.running.address("web");
    let second = two.address.to_string();
    data_plane.running.ask(&["loadbalancer", "drain", &second]).ok();
    assert_eq!(shares(web, 16), [("one".to_owned(), 16)].into());
    let table = data_plane.running.ask(&["loadbalancer", "status"]).ok();
    assert!(table.contains("draining"), "{table}");
    data_plane.running.ask(&["loadbalancer", "drain", &second, "--undo"]).ok();
    assert!(shares(web, 16)["two"] > 0);
}

#[test]
fn with_several_clusters_one_has_to_be_named() {
    let one = Origin::start("one");
    let data_plane =
        DataPlane::serve(&format!("{}[clusters.other]\nendpoints = []\n", config(&[&one])));
    let said = data_plane.running.ask(&["loadbalancer", "add", "10.0.0.1:1"]).fails(2);
    assert!(said.contains("--cluster") && said.contains("api") && said.contains("other"), "{said}");
    data_plane.running.ask(&["loadbalancer", "add", "10.0.0.1:1", "--cluster", "other"]).ok();
    data_plane.running.ask(&["loadbalancer", "add", "nonsense", "--cluster", "other"]).fails(2);
}

/// Whether the endpoint at `address` takes nothing new.
fn drains(data_plane: &DataPlane, address: &str) -> bool {
    let status = data_plane.running.status();
    let endpoints = status["clusters"][0]["endpoints"].as_array().unwrap();
    let found = endpoints.iter().find(|one| one["address"] == address).unwrap();
    found["draining"].as_bool().unwrap()
}

#[test]
fn an_endpoint_is_disabled_and_enabled() {
    let (one, two) = (Origin::start("one"), Origin::start("two"));
    let data_plane = DataPlane::serve(&config(&[&one, &two]));
    let web = data_plane.running.address("web");
    let second = two.address.to_string();
    let said = data_plane.running.ask(&["loadbalancer", "disable", &second]).ok();
    assert!(said.contains("takes nothing new"), "{said}");
    assert_eq!(shares(web, 16), [("one".to_owned(), 16)].into());
    data_plane.running.ask(&["loadbalancer", "reload"]).ok();
    assert!(drains(&data_plane, &second), "a reload changes nothing about it");
    data_plane.running.ask(&["loadbalancer", "enable", &second]).ok();
    assert!(shares(web, 16)["two"] > 0);
    data_plane.running.ask(&["loadbalancer", "disable", "10.0.0.1:1"]).fails(3);
    for done in ["takes nothing new", "takes traffic again"] {
        let recorded = format!("endpoint {second} {done}");
        eventually("it is recorded", || data_plane.running.log().contains(&recorded).then_some(()));
    }
}

/// `bs9 loadbalancer` with these words.
fn ask(data_plane: &DataPlane, words: &[&str]) -> String {
    data_plane.running.ask(&[&["loadbalancer"], words].concat()).ok()
}

#[test]
fn an_endpoint_that_is_disabled_in_the_file_stays_so_until_it_is_enabled() {
    let (one, two) = (Origin::start("one"), Origin::start("two"));
    let mut data_plane = DataPlane::serve(&config(&[&one, &two]));
    let second = two.address.to_string();
    let answers = |data_plane: &DataPlane, names: &[&str]| {
        let shares = shares(data_plane.running.address("web"), 16);
        assert_eq!(shares.keys().map(String::as_str).collect::<Vec<_>>(), names);
    };
    let said = ask(&data_plane, &["disable", &second, "--persist"]);
    assert!(said.contains(&format!("cluster api: endpoint {second} takes nothing new")), "{said}");
    answers(&data_plane, &["one"]);
    let text = data_plane.text();
    assert!(text.contains(&format!("{{ address = \"{second}\", disabled = true }}")), "{text}");
    assert!(text.contains("# Kept as it is.") && text.contains("# the application"), "{text}");
    eventually("it is recorded", || {
        let log = data_plane.running.log();
        let mut lines = log.lines().filter(|line| line.contains("takes nothing new"));
        lines.any(|line| line.contains("saved=true")).then_some(())
    });
    let reloaded = data_plane.running.ask(&["loadbalancer", "reload", "--json"]).json();
    assert_eq!(reloaded["changes"].as_array().unwrap().len(), 0, "the file holds what is in force");

    // It was written before it was answered: no end can take it away.
    data_plane = restarted(data_plane, Signal::KILL);
    answers(&data_plane, &["one"]);
    let table = ask(&data_plane, &["status"]);
    assert!(table.contains("draining") && table.contains("disabled in the configuration"));
    let configured = data_plane.running.ask(&["loadbalancer", "config", "--json"]).json();
    assert_eq!(configured["clusters"][0]["endpoints"][1]["disabled"], true);
    assert_eq!(configured["clusters"][0]["endpoints"][0]["disabled"], false);

    // Enabled for now: a reload leaves that as it is, a restart does not.
    ask(&data_plane, &["enable", &second]);
    answers(&data_plane, &["one", "two"]);
    ask(&data_plane, &["reload"]);
    assert!(!drains(&data_plane, &second));
    data_plane = restarted(data_plane, Signal::TERM);
    assert!(drains(&data_plane, &second));
    // Nor is it enabled any more when it is disabled again, though the file says so already.
    ask(&data_plane, &["enable", &second]);
    ask(&data_plane, &["disable", &second, "--persist"]);
    assert!(drains(&data_plane, &second));

    ask(&data_plane, &["enable", &second, "--persist"]);
    answers(&data_plane, &["one", "two"]);
    assert!(!data_plane.text().contains("disabled"), "{}", data_plane.text());
    data_plane = restarted(data_plane, Signal::KILL);
    answers(&data_plane, &["one", "two"]);
}

#[test]
fn a_persisted_drain_is_disabled_after_a_restart() {
    let (one, two) = (Origin::start("one"), Origin::start("two"));
    let mut data_plane = DataPlane::serve(&config(&[&one, &two]));
    let second = two.address.to_string();
    let said = ask(&data_plane, &["drain", &second, "--persist"]);
    assert!(said.contains("nothing is under way any more"), "{said}");
    data_plane = restarted(data_plane, Signal::KILL);
    assert!(drains(&data_plane, &second));
    assert_eq!(shares(data_plane.running.address("web"), 16), [("one".to_owned(), 16)].into());
    ask(&data_plane, &["drain", &second, "--undo", "--persist"]);
    data_plane = restarted(data_plane, Signal::KILL);
    assert!(!drains(&data_plane, &second));
    data_plane.running.ask(&["loadbalancer", "drain", "--all", "--persist"]).fails(2);
}

#[test]
fn what_cannot_be_persisted_leaves_an_endpoint_as_it_was() {
    let (one, two) = (Origin::start("one"), Origin::start("two"));
    let data_plane = DataPlane::serve(&config(&[&one]));
    let [first, second] = [&one, &two].map(|origin| origin.address.to_string());
    ask(&data_plane, &["add", &second]);
    // In force, yet not in the files.
    let said = data_plane.running.ask(&["loadbalancer", "disable", &second, "--persist"]).fails(3);
    assert!(said.contains("in the files"), "{said}");
    assert!(!drains(&data_plane, &second));

    let text = data_plane.text();
    fixture::write(&data_plane.path(), "[clusters.api]\nbalance = \"no such thing\"\n");
    for (verb, drained) in [("disable", false), ("disable", true), ("enable", true)] {
        ask(&data_plane, &[if drained { "disable" } else { "enable" }, &first]);
        data_plane.running.ask(&["loadbalancer", verb, &first, "--persist"]).fails(5);
        assert_eq!(drains(&data_plane, &first), drained, "{verb} was refused");
    }
    ask(&data_plane, &["enable", &first]);
    fixture::write(&data_plane.path(), &text);
    ask(&data_plane, &["disable", &first, "--persist"]);
    assert!(drains(&data_plane, &first));
}

#[test]
fn a_key_that_changes_in_the_file_counts_and_no_other() {
    let (one, two) = (Origin::start("one"), Origin::start("two"));
    let without = config(&[&one, &two]);
    let data_plane = DataPlane::serve(&without);
    let [first, second] = [&one, &two].map(|origin| origin.address.to_string());
    ask(&data_plane, &["disable", &second]);
    let entry = format!("{{ address = \"{first}\", disabled = true }}");
    data_plane.replace(&without.replace(&format!("\"{first}\""), &entry));
    eventually("the key is in force", || drains(&data_plane, &first).then_some(()));
    assert!(drains(&data_plane, &second), "an operator said so");
    ask(&data_plane, &["enable", &second]);
    data_plane.replace(&without);
    eventually("the key has gone", || (!drains(&data_plane, &first)).then_some(()));
    assert!(!drains(&data_plane, &second));
}

#[test]
fn a_drain_waits_for_what_is_under_way() {
    let (one, two) = (Origin::start("one"), Origin::start("two"));
    let data_plane = DataPlane::serve(&config(&[&one]));
    let web = data_plane.running.address("web");
    let first = one.address.to_string();
    let asking = thread::spawn(move || get(web, "/slow"));
    one.wait_for_slow(1);
    data_plane.running.ask(&["loadbalancer", "add", &two.address.to_string()]).ok();

    let short = ["loadbalancer", "drain", &first, "--timeout", "100ms"];
    let said = data_plane.running.ask(&short).fails(1);
    assert!(said.contains("1 under way") && said.contains("still under way"), "{said}");

    let mut drain = program();
    drain.args(["loadbalancer", "drain", &first, "--socket"]).arg(&data_plane.running.socket);
    drain.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut drain = drain.spawn().unwrap();
    let mut progress = [0; 11];
    drain.stderr.as_mut().unwrap().read_exact(&mut progress).unwrap();
    assert_eq!(&progress, b"1 under way");
    assert!(drain.try_wait().unwrap().is_none(), "it waits");
    assert_eq!(shares(web, 8), [("two".to_owned(), 8)].into());
    one.release();
    assert_eq!(asking.join().unwrap().body, "one");
    let said = Outcome::of(drain.wait_with_output().unwrap()).ok();
    assert!(said.contains("nothing is under way any more"), "{said}");
    data_plane.running.ask(&["loadbalancer", "drain", &first, "--undo"]).ok();
    assert!(!drains(&data_plane, &first));
}

#[test]
fn a_drain_of_everything_waits_for_its_end() {
    let one = Origin::start("one");
    let mut data_plane = DataPlane::serve(&config(&[&one]));
    let web = data_plane.running.address("web");
    let asking = thread::spawn(move || get(web, "/slow"));
    one.wait_for_slow(1);
    let socket = data_plane.running.socket.clone();
    let draining = thread::spawn(move || {
        let socket = socket.to_str().unwrap();
        fixture::bs9(["loadbalancer", "drain", "--all", "--socket", socket])
    });
    eventually("it drains", || (data_plane.running.status()["state"] == "draining").then_some(()));
    assert!(!draining.is_finished());
    one.release();
    assert_eq!(asking.join().unwrap().body, "one");
    let said = draining.join().unwrap().ok();
    assert!(said.contains("it has ended"), "{said}");
    assert_eq!(data_plane.running.ended().code(), Some(0));
}

/// Asks on a connection that stays open.
fn ask_again(mut stream: &TcpStream) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    let mut text = Vec::new();
    let mut room = [0; 4096];
    while !text.windows(4).any(|four| four == b"\r\n\r\n") || text.len() < 7 {
        let count = stream.read(&mut room).unwrap();
        assert_ne!(count, 0, "the connection is kept");
        text.extend_from_slice(&room[..count]);
    }
    let text = String::from_utf8(text).unwrap();
    text.rsplit("\r\n\r\n").next().unwrap().to_owned()
}

#[test]
fn a_change_of_endpoints_is_no_reload() {
    let (one, two) = (Origin::start("one"), Origin::start("two"));
    let data_plane = DataPlane::serve(&config(&[&one]));
    let web = data_plane.running.address("web");
    let client = TcpStream::connect(web).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    for _ in 0..10 {
        assert_eq!(ask_again(&client), "one");
    }
    let (first, second) = (one.address.to_string(), two.address.to_string());
    let ask = |arguments: &[&str]| data_plane.running.ask(arguments).ok();
    ask(&["loadbalancer", "add", &second, "--weight", "0"]);
    ask(&["loadbalancer", "weight", &first, "7", "--persist"]);
    ask(&["loadbalancer", "disable", &second]);
    ask(&["loadbalancer", "enable", &second]);
    ask(&["loadbalancer", "remove", &second]);
    for _ in 0..10 {
        assert_eq!(ask_again(&client), "one", "on the same connection");
    }
    let status = data_plane.running.status();
    let (listener, endpoint) = (&status["listeners"][0], &status["clusters"][0]["endpoints"][0]);
    assert_eq!(listener["accepted_connections_total"], 1);
    assert_eq!(listener["http"]["requests_total"], 20);
    assert_eq!(endpoint["weight"], 7);
    assert_eq!((&endpoint["requests_total"], &endpoint["connects_total"]), (&20.into(), &1.into()));
    let reloads = &status["generation"]["generation"];
    assert!(data_plane.text().contains("weight = 7"), "it survives a restart: {reloads}");
}

#[test]
fn top_shows_what_is_asked_how_often() {
    let (one, two) = (Origin::start("one"), Origin::start("two"));
    let data_plane = DataPlane::serve(&config(&[&one, &two]));
    let web = data_plane.running.address("web");
    data_plane.running.ask(&["loadbalancer", "weight", &two.address.to_string(), "0"]).ok();
    let mut top = program();
    top.args(["loadbalancer", "top", "--interval", "100ms", "--json", "--socket"]);
    top.arg(&data_plane.running.socket).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut top = top.spawn().unwrap();
    let looks = serde_json::Deserializer::from_reader(top.stdout.take().unwrap());
    // Asked between every two looks.
    let busiest = looks.into_iter::<Value>().find_map(|look| {
        get(web, "/");
        let busiest = look.unwrap()[0].clone();
        (busiest["requests_per_second"].as_f64().unwrap() > 0.0).then_some(busiest)
    });
    top.kill().unwrap();
    top.wait().unwrap();
    let busiest = busiest.expect("a look with traffic in it");
    assert_eq!(busiest["address"], one.address.to_string());
    assert_eq!((&busiest["share_ratio"], &busiest["standing"]), (&1.0.into(), &"unknown".into()));
    let once = ["loadbalancer", "top", "--interval", "100ms", "--count", "1"];
    let table = data_plane.running.ask(&once).ok();
    assert!(table.contains("REQUESTS/S") && table.contains(&two.address.to_string()), "{table}");
}
