//! Reload by signal, by file change and through the API; refused whole when invalid.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
};

use fixture::{ADMIN, DataPlane, eventually, get, origin::Origin, try_get, write};
use rustix::process::Signal;

/// One listener in front of `endpoints`; `extra` is appended to the cluster.
fn config(endpoints: &[SocketAddr], extra: &str) -> String {
    let endpoints: Vec<_> = endpoints.iter().map(|address| format!("\"{address}\"")).collect();
    format!(
        "[listeners.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n[[listeners.web.routes]]\n\
         cluster = \"api\"\n[clusters.api]\nendpoints = [{}]\n{extra}",
        endpoints.join(", ")
    )
}

/// As [`config`], without watching the files.
fn unwatched(endpoints: &[SocketAddr], extra: &str) -> String {
    format!("watch = false\n{}", config(endpoints, extra))
}

#[test]
fn sighup_puts_the_file_in_force() {
    let (one, two) = (Origin::start("one"), Origin::start("two"));
    let data_plane = DataPlane::serve(&unwatched(&[one.address], ""));
    let web = data_plane.running.address("web");
    assert_eq!(get(web, "/").body, "one");
    data_plane.replace(&unwatched(&[two.address], ""));
    assert_eq!(get(web, "/").body, "one");
    data_plane.running.signal(Signal::HUP);
    eventually("the new endpoint answers", || (get(web, "/").body == "two").then_some(()));
    assert_eq!(data_plane.running.address("web"), web, "the listener was not touched");
    assert_eq!(data_plane.running.generation(), 2);
}

#[test]
fn a_changed_file_is_noticed() {
    let (one, two) = (Origin::start("one"), Origin::start("two"));
    let data_plane = DataPlane::serve(&config(&[one.address], ""));
    let web = data_plane.running.address("web");
    // Put in place of the old one, then written in place.
    data_plane.replace(&config(&[two.address], ""));
    eventually("the replaced file is in force", || (get(web, "/").body == "two").then_some(()));
    write(&data_plane.path(), &format!("{ADMIN}{}", config(&[one.address], "")));
    eventually("the rewritten file is in force", || (get(web, "/").body == "one").then_some(()));
}

#[test]
fn a_folder_is_reloaded_as_a_whole() {
    let (one, two) = (Origin::start("one"), Origin::start("two"));
    let folder = tempfile::tempdir().unwrap();
    let files = folder.path().join("bs9.d");
    std::fs::create_dir(&files).unwrap();
    let text = config(&[one.address], "");
    let (listeners, clusters) = text.split_at(text.find("[clusters").unwrap());
    write(
        &files.join("10-base.toml"),
        &format!("[admin]\nsocket = \"../dataplane.sock\"\n{listeners}"),
    );
    write(&files.join("20-api.toml"), clusters);
    let data_plane = DataPlane::serve_in(folder, "bs9.d");
    let web = data_plane.running.address("web");
    assert_eq!(get(web, "/").body, "one");
    write(
        &files.join("20-api.toml"),
        &clusters.replace(&one.address.to_string(), &two.address.to_string()),
    );
    eventually("the changed part is in force", || (get(web, "/").body == "two").then_some(()));
}

#[test]
fn the_api_says_what_a_reload_did() {
    let (one, two) = (Origin::start("one"), Origin::start("two"));
    let data_plane = DataPlane::serve(&unwatched(&[one.address], ""));
    let said = data_plane.running.ask(&["loadbalancer", "reload"]).ok();
    assert!(said.contains("nothing changed") && said.contains("generation 1"), "{said}");
    let more = "[clusters.more]\nendpoints = []\n[listeners.extra]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"tcp\"\ncluster = \"more\"\n";
    data_plane.replace(&unwatched(&[two.address], more));
    let answer = data_plane.running.ask(&["loadbalancer", "reload", "--json"]).json();
    assert_eq!(answer["generation"], 2);
    let changes: Vec<_> = answer["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| change.as_str().unwrap())
        .collect();
    for line in ["listener extra added", "cluster more added", "cluster api changed"] {
        assert!(changes.contains(&line), "{line} is missing: {changes:?}");
    }
    assert!(
        changes.iter().any(|change| change.starts_with("now listening on 127.0.0.1:")),
        "{changes:?}"
    );

    data_plane.replace(
        &unwatched(&[two.address], "")
            .replace("watch = false", "watch = false\nbuffer_size = \"32KiB\""),
    );
    let answer = data_plane.running.ask(&["loadbalancer", "reload", "--json"]).json();
    assert!(answer["warnings"][0].as_str().unwrap().contains("runtime.buffer_size"), "{answer}");
}

#[test]
fn an_invalid_file_is_refused_whole_while_traffic_goes_on() {
    let origin = Origin::start("one");
    let data_plane = DataPlane::serve(&unwatched(&[origin.address], ""));
    let web = data_plane.running.address("web");
    let traffic = Traffic::start(web);
    for round in 0..10 {
        data_plane.replace(&unwatched(&[origin.address], "balanse = \"random\"\n"));
        let refused = data_plane.running.ask(&["loadbalancer", "reload"]);
        let said = refused.fails(5);
        let line = ADMIN.lines().count() + 9;
        assert!(
            said.contains(&format!("bs9.toml:{line}:1"))
                && said.contains("did you mean `balance`?"),
            "{said}"
        );
        data_plane.replace(&unwatched(
            &[origin.address],
            &format!("connect_timeout = \"{}s\"\n", round + 1),
        ));
        data_plane.running.ask(&["loadbalancer", "reload"]).ok();
    }
    let (good, bad) = traffic.stop();
    assert!(good > 0);
    assert_eq!(bad, 0, "of {} requests", good + bad);
    assert_eq!(data_plane.running.generation(), 11);
}

#[test]
fn a_refused_reload_is_remembered_until_one_succeeds() {
    let origin = Origin::start("one");
    let data_plane = DataPlane::serve(&config(&[origin.address], ""));
    data_plane.replace("nonsense = 1\n");
    let failure = eventually("the refusal is in the status", || {
        let status = data_plane.running.status();
        let failure = &status["generation"]["last_failure"];
        (!failure.is_null()).then(|| failure.clone())
    });
    let error = &failure["errors"][0];
    assert_eq!(error["line"], ADMIN.lines().count() + 1);
    assert_eq!(error["column"], 1);
    let table = data_plane.running.ask(&["status"]).ok();
    assert!(table.contains("reload refused"), "{table}");
    let log = data_plane.running.log();
    assert!(log.contains("configuration refused") && log.contains("bs9.toml:5:1"), "{log}");
    assert_eq!(data_plane.running.generation(), 1);

    // What was in force before, put back: the refusal is forgotten, nothing is touched.
    data_plane.replace(&config(&[origin.address], ""));
    eventually("the refusal is forgotten", || {
        data_plane.running.status()["generation"]["last_failure"].is_null().then_some(())
    });
    assert_eq!(data_plane.running.generation(), 1);
}

#[test]
fn an_address_that_cannot_be_had_refuses_the_reload() {
    let origin = Origin::start("one");
    let data_plane = DataPlane::serve(&unwatched(&[origin.address], ""));
    let web = data_plane.running.address("web");
    let taken = origin.address;
    let extra =
        format!("[listeners.extra]\nbind = [\"{taken}\"]\nprotocol = \"tcp\"\ncluster = \"api\"\n");
    data_plane.replace(&unwatched(&[origin.address], &extra));
    let said = data_plane.running.ask(&["loadbalancer", "reload"]).fails(5);
    assert!(said.contains("listeners.extra.bind") && said.contains(&taken.to_string()), "{said}");
    assert_eq!(get(web, "/").body, "one");
    assert_eq!(data_plane.running.status()["listeners"].as_array().unwrap().len(), 1);
}

/// Requests one after the other, until it is stopped.
struct Traffic {
    stop: Arc<AtomicBool>,
    good: Arc<AtomicU64>,
    bad: Arc<AtomicU64>,
    thread: thread::JoinHandle<()>,
}

impl Traffic {
    fn start(address: SocketAddr) -> Self {
        let (stop, good, bad) = (
            Arc::<AtomicBool>::default(),
            Arc::<AtomicU64>::default(),
            Arc::<AtomicU64>::default(),
        );
        let (ends, goods, bads) = (Arc::clone(&stop), Arc::clone(&good), Arc::clone(&bad));
        let thread = thread::spawn(move || {
            while !ends.load(SeqCst) {
                match try_get(address, "/") {
                    Ok(answer) if answer.status == 200 => goods.fetch_add(1, SeqCst),
                    _ => bads.fetch_add(1, SeqCst),
                };
            }
        });
        let this = Self { stop, good, bad, thread };
        eventually("traffic flows", || (this.good.load(SeqCst) > 0).then_some(()));
        this
    }

    fn stop(self) -> (u64, u64) {
        self.stop.store(true, SeqCst);
        self.thread.join().unwrap();
        (self.good.load(SeqCst), self.bad.load(SeqCst))
    }
}
