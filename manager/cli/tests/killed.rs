//! `kill -9` of the manager at random moments of changes, on a real systemd: each change
//! ends as it was asked for or as it was before, and nothing else changes.
//!
//! The moments are drawn from a seed, which is told; `BS9_SEED` sets it. Sixteen kills,
//! with `BS9_DEEP=1` a hundred.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking")]

mod fixture;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Stdio,
    time::{Duration, Instant, SystemTime},
};

use fixture::{
    Outcome,
    sandbox::{DATA_PLANE, Sandbox},
};

/// Answers everything with its version. It is up sooner than with `http.server`.
const APP: &str = r#"
import os, socket

body = os.environ["VERSION"]
answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])), backlog=64)
while True:
    client, _ = listener.accept()
    try:
        client.settimeout(5)
        client.recv(65536)
        client.sendall(answer.encode())
    except OSError:
        pass
    client.close()
"#;

/// What a change is thought to take before one was seen to its end.
const FIRST_GUESS: Duration = Duration::from_millis(800);

/// Numbers by chance: SplitMix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

#[derive(Debug, Clone, Copy)]
enum Change {
    Deploy { version: u32, instances: u32 },
    Start,
    Stop,
    Restart,
    Reload,
    Scale(u32),
    Delete,
}

impl Change {
    fn by(chance: &mut Chance, present: Option<Service>) -> Self {
        let version = u32::try_from(chance.below(1_000)).unwrap();
        let instances = u32::try_from(1 + chance.below(3)).unwrap();
        // A new one, of which there is more than one kind of half, comes twice as often.
        match (present, chance.below(8)) {
            (None, _) | (Some(_), 0 | 1) => Self::Deploy { version, instances },
            (Some(_), 2) => Self::Start,
            (Some(_), 3) => Self::Stop,
            (Some(_), 4) => Self::Restart,
            (Some(_), 5) => Self::Reload,
            (Some(_), 6) => Self::Scale(instances),
            (Some(_), _) => Self::Delete,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Deploy { .. } => "deploy",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Reload => "reload",
            Self::Scale(_) => "scale",
            Self::Delete => "delete",
        }
    }

    fn arguments(self) -> Vec<String> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        match self {
            Self::Deploy { version, instances } => words(&[
                "start",
                "--name=web",
                "--port=3000",
                "--health=/healthz",
                "--route=/",
                &format!("--instances={instances}"),
                &format!("--env=VERSION=v{version}."),
                "--",
                "python3",
                "-S",
                "/home/ann/app/server.py",
            ]),
            Self::Scale(instances) => words(&["scale", "web", &instances.to_string()]),
            plain => words(&[plain.word(), "web"]),
        }
    }

    /// What it makes of a service.
    fn of(self, present: Option<Service>) -> Option<Service> {
        if let Self::Deploy { version, instances } = self {
            return Some(Service { version, instances, units: instances, running: true });
        }
        let present = present?;
        let running = Service { units: present.instances, running: true, ..present };
        Some(match self {
            Self::Delete => return None,
            Self::Stop => Service { running: false, ..present },
            Self::Scale(instances) if present.running => {
                Service { instances, units: instances, ..present }
            }
            // Of one that is stopped, those beyond the number go, and no other comes yet.
            Self::Scale(instances) => {
                Service { instances, units: present.units.min(instances), ..present }
            }
            _ => running,
        })
    }
}

/// The service as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Service {
    version: u32,
    /// As described.
    instances: u32,
    units: u32,
    running: bool,
}

/// Compares what there is with what there should be; what differs is the error.
fn is(sandbox: &Sandbox, wanted: Option<Service>) -> Result<(), String> {
    let expect = |what: &str, found: String, expected: String| match found == expected {
        true => Ok(()),
        false => Err(format!("{what} is {found}, not {expected}")),
    };
    let numbers = |count: u32| (1..=count).map(|n| format!("web@{n}.service")).collect();
    let none = BTreeSet::new();
    let (units, up): (BTreeSet<String>, _) = match wanted {
        Some(service) if service.running => (numbers(service.units), numbers(service.units)),
        Some(service) => (numbers(service.units), none),
        None => (none.clone(), none),
    };
    let folder = sandbox.home().join(".config/systemd/user");
    expect("what has a unit file", named(&folder), format!("{units:?}"))?;
    expect("what is enabled", named(&folder.join("default.target.wants")), format!("{up:?}"))?;
    let list = ["--user", "list-units", "--plain", "--no-legend", "web@*"];
    let listed = sandbox.run("systemctl", &list).ok();
    let active: BTreeSet<_> = listed
        .lines()
        .filter(|line| !line.contains(" inactive "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    expect("what systemd runs", format!("{active:?}"), format!("{up:?}"))?;

    let status = sandbox.bs9(&["status", "web", "--json"]);
    let Some(service) = wanted else {
        expect("the exit code of status", format!("{:?}", status.code), "Some(3)".to_owned())?;
        expect("the answer", format!("{:?}", sandbox.get(8000, "/")), "None".to_owned())?;
        return Ok(());
    };
    let status = status.json();
    let state = if service.running { "\"running\"" } else { "\"stopped\"" };
    expect("its state", status["state"].to_string(), state.to_owned())?;
    let drifted = service.units != service.instances;
    expect("whether it drifted", status["drifted"].to_string(), drifted.to_string())?;
    expect(
        "how many are wanted",
        status["instances_wanted"].to_string(),
        service.instances.to_string(),
    )?;
    expect("whether it is fronted", status["cluster"]["wired"].to_string(), "true".to_owned())?;
    let file = sandbox.home().join(".config/bs9/services/web.toml");
    let version = format!("v{}.", service.version);
    let definition = fs::read_to_string(file).map_err(|error| error.to_string())?;
    if !definition.contains(&version) {
        return Err(format!("it is not described as {version}: {definition}"));
    }
    if service.running {
        let ports = (0..service.units).map(|n| 3000 + u16::try_from(n).unwrap());
        for port in ports.chain([8000]) {
            let said = sandbox.get(port, "/").unwrap_or_default();
            if !said.contains(&version) {
                return Err(format!("{port} does not answer as {version}: {said}"));
            }
        }
    }
    Ok(())
}

/// Units of `web` in a folder.
fn named(folder: &Path) -> String {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    format!("{:?}", names.filter(|name| name.contains("web@")).collect::<BTreeSet<_>>())
}

/// Every file that the manager writes is whole.
fn files_are_whole(sandbox: &Sandbox) {
    let mut folders = vec![sandbox.home()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().flatten() {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() {
                folders.push(path);
                continue;
            }
            let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            assert_ne!(ending, "tmp", "{} is left", path.display());
            if ending == "json" {
                let text = fs::read_to_string(&path).unwrap();
                let read: Result<serde_json::Value, _> = serde_json::from_str(&text);
                assert!(read.is_ok(), "{}: {text}", path.display());
            }
        }
    }
    sandbox.bs9(&["check", "bs9.toml"]).ok();
}

#[test]
fn a_manager_that_is_killed_at_any_moment_leaves_nothing_half_done() {
    let deep = std::env::var_os("BS9_DEEP").is_some();
    let rounds = if deep { 100 } else { 16 };
    let seed = match std::env::var("BS9_SEED") {
        Ok(seed) => seed.parse().expect("BS9_SEED is a number"),
        Err(_) => {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            u64::try_from(now.as_micros()).unwrap()
        }
    };
    eprintln!("BS9_SEED={seed}");
    let mut chance = Chance(seed);
    let sandbox = Sandbox::start();
    let _data_plane = sandbox.data_plane(DATA_PLANE);
    let mut manager = sandbox.manager();
    sandbox.write("app/server.py", APP);
    sandbox.bs9(&["start", "--name", "bystander", "--", "sleep", "1000000"]).ok();
    let bystander = || sandbox.property("bystander@1.service", "MainPID");
    let unharmed = bystander();

    let mut takes: BTreeMap<&str, Duration> = BTreeMap::new();
    let mut present: Option<Service> = None;
    let (mut done, mut undone) = (0, 0);
    for round in 1..=rounds {
        let change = Change::by(&mut chance, present);
        let asked = change.of(present);
        let whole = takes.get(change.word()).copied().unwrap_or(FIRST_GUESS);
        // Sometimes a little after its end.
        let moment = whole.mul_f64(chance.below(1_100) as f64 / 1_000.0);
        eprintln!("{round}: {change:?} of {present:?}, killed after {moment:?}");
        let begun = Instant::now();
        let mut client = sandbox
            .command(env!("CARGO_BIN_EXE_bs9"))
            .args(change.arguments())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // No condition tells the moment: any may be the wrong one, and that is the test.
        let mut ended = false;
        while begun.elapsed() < moment && !ended {
            std::thread::sleep(Duration::from_millis(1));
            ended = client.try_wait().unwrap().is_some();
        }
        if ended {
            takes.insert(change.word(), begun.elapsed());
        }
        manager.kill();
        let told = Outcome::of(client.wait_with_output().unwrap());
        assert!(!ended || told.code == Some(0), "round {round}, {change:?}: {told:#?}");
        manager = sandbox.manager();
        sandbox.settled();
        let mut differ = String::new();
        let as_asked = eventually_either(
            || is(&sandbox, asked).map_err(|why| differ = why),
            // What has been answered is done.
            || if told.code == Some(0) { Err(()) } else { is(&sandbox, present).map_err(drop) },
        );
        match as_asked {
            Some(true) => (present, done) = (asked, done + 1),
            Some(false) => undone += 1,
            None => panic!(
                "BS9_SEED={seed}, round {round}: {change:?} of {present:?}, killed after \
                 {moment:?}, left what is neither that nor {asked:?}: {differ}"
            ),
        }
        files_are_whole(&sandbox);
        assert_eq!(bystander(), unharmed, "round {round}: what nobody asked about changed");
    }
    let verified = sandbox.bs9(&["audit", "verify", "--json"]);
    assert_eq!(verified.code, Some(0), "{verified:#?}");
    eprintln!("{done} changes are as asked, {undone} as before");
    assert!(done > 0, "no change was ever carried out");
}

/// Whether the one holds (`true`) or the other, as soon as one of them does.
fn eventually_either(
    mut one: impl FnMut() -> Result<(), ()>,
    mut other: impl FnMut() -> Result<(), ()>,
) -> Option<bool> {
    let deadline = Instant::now() + fixture::DEADLINE;
    while Instant::now() < deadline {
        if one().is_ok() {
            return Some(true);
        }
        if other().is_ok() {
            return Some(false);
        }
    }
    None
}
