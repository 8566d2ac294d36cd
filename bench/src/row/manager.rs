//! The manager with a hundred units, all measured each second.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};

use super::{Row, Stage};
use crate::bench::Bench;
use crate::contender::Installed;
use crate::http_client::HttpClient;
use crate::measure::{Measure, Unit};
use crate::process::Launch;
use crate::rounds::Figures;

const UNITS: usize = 100;
/// Of the manager, resident, at its peak.
const MEMORY_LIMIT_BYTES: u64 = 50_000_000;
/// How long it is watched at least, after its first look.
const LENGTH: Duration = Duration::from_secs(20);
const READY_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);

pub(super) static MANAGER: Row = Row {
    name: "manager",
    about: "bs9 manager with 100 units measured each second, history written: CPU time each second (1 % of a core); at most 50 MB",
    unit: Unit::SECOND,
    measure: Measure::Cpu,
    peers: &[],
    limit: Some(0.010),
    stage: |bench, _| Ok(Box::new(Managed { tree: Tree::make(bench)? })),
};

#[derive(Debug)]
struct Managed {
    tree: Tree,
}

impl Stage for Managed {
    fn versions(&self) -> anyhow::Result<Vec<(&'static str, String)>> {
        Ok(vec![("control groups", self.tree.kind.to_owned())])
    }

    fn most_rounds(&self) -> Option<u32> {
        Some(3)
    }

    fn lacks(&self, _: &Bench, _: &Installed) -> anyhow::Result<Option<String>> {
        Ok(None)
    }

    fn turn(&self, bench: &Bench, contender: &Installed) -> anyhow::Result<Figures> {
        let state = tempfile::Builder::new().prefix("state-").tempdir_in(bench.dir.path())?;
        let socket = state.path().join("manager.sock");
        let text = format!(
            "state_folder = {:?}\n[services]\nfolder = {:?}\n[admin]\nsocket = {socket:?}\n\
             [dataplane]\nsocket = {:?}\n[collect]\ncgroups = {:?}\nunits = [\"bs9-bench-*.service\"]\n",
            state.path().join("state"),
            state.path().join("services"),
            state.path().join("nobody.sock"),
            self.tree.root,
        );
        let config = bench.dir.write("manager.toml", &text)?;
        let mut process = Launch::contender(bench, contender.contender.name(), &contender.program)
            .args_of_manager(&config)
            .start(bench)?;
        let deadline = std::time::Instant::now() + READY_LIMIT;
        while !measures_all(&socket) {
            bench.interrupt.check()?;
            process.still_starting(deadline)?;
            std::thread::sleep(POLL);
        }
        let begun = std::time::Instant::now();
        let before = process.cpu_time()?;
        bench.interrupt.pause(bench.measured.max(LENGTH))?;
        let cpu = process.cpu_time()?.saturating_sub(before);
        let seconds = begun.elapsed().as_secs_f64();
        ensure!(measures_all(&socket), "the manager lost sight of units");
        let memory = process.memory_peak_bytes()?;
        ensure!(
            memory <= MEMORY_LIMIT_BYTES,
            "the manager took {memory} bytes; {MEMORY_LIMIT_BYTES} are the most"
        );
        let each = cpu.as_secs_f64() / seconds;
        Ok(Figures {
            value: each,
            cpu_seconds_per_unit: Some(each),
            memory_bytes: Some(memory),
            core_ratio: Some(each),
            ..Figures::default()
        })
    }
}

/// Whether every unit has a number for its processor time.
fn measures_all(socket: &Path) -> bool {
    let ask = || -> anyhow::Result<usize> {
        let answer = HttpClient::connect_unix(socket)?.get("/v1/units")?;
        let answer: serde_json::Value = serde_json::from_slice(&answer.body)?;
        let units = answer["units"].as_array().context("an answer with units")?;
        Ok(units.iter().filter(|unit| unit["cpu_ratio"]["value"].is_number()).count())
    };
    ask().is_ok_and(|measured| measured == UNITS)
}

/// A hundred units: real control groups with a process each where they can be made,
/// else a folder that looks like them.
#[derive(Debug)]
struct Tree {
    root: PathBuf,
    kind: &'static str,
    /// Folders of the kernel that go at the end, inner ones first.
    groups: Vec<PathBuf>,
    processes: Vec<Child>,
}

const SLICE: &str = "bs9bench.slice";

impl Tree {
    fn make(bench: &Bench) -> anyhow::Result<Self> {
        let root = PathBuf::from("/sys/fs/cgroup");
        let mut tree = Self { root, kind: "real", groups: Vec::new(), processes: Vec::new() };
        if tree.make_real().is_ok() {
            return Ok(tree);
        }
        // What was made so far goes with it.
        drop(tree);
        Self::pretend(bench)
    }

    fn make_real(&mut self) -> anyhow::Result<()> {
        let unified = self.root.join("cgroup.controllers").is_file();
        let trees: Vec<PathBuf> = if unified {
            vec![self.root.clone()]
        } else {
            let names = ["systemd", "unified", "cpuacct", "cpu,cpuacct", "memory", "pids", "blkio"];
            names
                .map(|name| self.root.join(name))
                .into_iter()
                .filter(|path| path.is_dir())
                .collect()
        };
        ensure!(!trees.is_empty(), "no control groups are mounted");
        for tree in &trees {
            let slice = tree.join(SLICE);
            self.make_group(&slice)?;
            if unified {
                fs::write(slice.join("cgroup.subtree_control"), "+cpu +memory +io +pids")?;
            }
        }
        for number in 0..UNITS {
            let sleeper = Command::new("sleep")
                .arg("infinity")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .context("starting sleep")?;
            let pid = sleeper.id().to_string();
            self.processes.push(sleeper);
            for tree in &trees {
                let group = tree.join(SLICE).join(unit(number));
                self.make_group(&group)?;
                fs::write(group.join("cgroup.procs"), &pid)?;
            }
        }
        Ok(())
    }

    fn make_group(&mut self, path: &Path) -> anyhow::Result<()> {
        fs::create_dir(path).with_context(|| format!("making {}", path.display()))?;
        self.groups.push(path.to_owned());
        Ok(())
    }

    /// Files in memory, as the kernel would show them.
    fn pretend(bench: &Bench) -> anyhow::Result<Self> {
        const PRESSURE: &str = "some avg10=0.00 avg60=0.00 avg300=0.00 total=4711\n\
                                full avg10=0.00 avg60=0.00 avg300=0.00 total=42\n";
        let root = bench.dir.path().join("cgroup");
        for number in 0..UNITS {
            let group = root.join(SLICE).join(unit(number));
            fs::create_dir_all(&group)?;
            let files = [
                ("cpu.stat", "usage_usec 4711\nuser_usec 4000\nsystem_usec 711\n"),
                ("memory.current", "10485760\n"),
                ("memory.max", "max\n"),
                ("memory.events", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n"),
                ("io.stat", "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n"),
                ("pids.current", "3\n"),
                ("cpu.pressure", PRESSURE),
                ("memory.pressure", PRESSURE),
                ("io.pressure", PRESSURE),
                ("cgroup.procs", ""),
            ];
            for (name, text) in files {
                fs::write(group.join(name), text)?;
            }
        }
        fs::write(root.join("cgroup.controllers"), "cpu io memory pids\n")?;
        Ok(Self {
            root,
            kind: "files that look like them",
            groups: Vec::new(),
            processes: Vec::new(),
        })
    }
}

fn unit(number: usize) -> String {
    format!("bs9-bench-{number:03}.service")
}

impl Drop for Tree {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // One that has ended already is no loss.
            let _ = process.kill();
            let _ = process.wait();
        }
        for group in self.groups.iter().rev() {
            let _ = fs::remove_dir(group);
        }
    }
}
