//! Endpoints added, removed, weighted and drained while traffic flows.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::{collections::BTreeMap, net::SocketAddr};

use fixture::{DataPlane, eventually, get, origin::Origin};

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
