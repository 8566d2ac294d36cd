//! A folder with a manager, its state, and a tree of control groups.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use bs9_api::ManagerClient;
use bs9_config::ManagerConfig;
use bs9_manager::Manager;
use tokio::{
    sync::oneshot,
    time::{self, Instant},
};

/// Generous: only a test that fails gets there.
const DEADLINE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

pub(crate) struct Place {
    folder: tempfile::TempDir,
    tcp: SocketAddr,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("cgroup/system.slice")).unwrap();
        fs::write(folder.path().join("cgroup/cgroup.controllers"), "cpu memory\n").unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Self { folder, tcp }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder().join("state")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder().join("manager.sock")
    }

    pub(crate) fn tcp(&self) -> SocketAddr {
        self.tcp
    }

    fn group(&self, unit: &str) -> PathBuf {
        self.folder().join("cgroup/system.slice").join(unit)
    }

    /// A unit with this process in it.
    pub(crate) fn unit(&self, unit: &str, cpu_micros: u64, memory_bytes: u64) {
        // It is there with all of its files at once, as with the kernel.
        let making = self.folder().join("making");
        fs::create_dir(&making).unwrap();
        fs::write(making.join("cpu.stat"), format!("usage_usec {cpu_micros}\n")).unwrap();
        fs::write(making.join("memory.current"), format!("{memory_bytes}\n")).unwrap();
        fs::write(making.join("memory.max"), "max\n").unwrap();
        fs::write(making.join("cgroup.procs"), format!("{}\n", std::process::id())).unwrap();
        fs::rename(making, self.group(unit)).unwrap();
    }

    pub(crate) fn remove_unit(&self, unit: &str) {
        fs::rename(self.group(unit), self.folder().join("removed")).unwrap();
        fs::remove_dir_all(self.folder().join("removed")).unwrap();
    }

    /// The group goes and another takes its place between two looks.
    pub(crate) fn restart_unit(&self, unit: &str) {
        let again = self.folder().join("again");
        fs::create_dir(&again).unwrap();
        fs::write(again.join("cpu.stat"), "usage_usec 1\n").unwrap();
        rustix::fs::renameat_with(
            rustix::fs::CWD,
            &again,
            rustix::fs::CWD,
            self.group(unit),
            rustix::fs::RenameFlags::EXCHANGE,
        )
        .unwrap();
        fs::remove_dir_all(again).unwrap();
    }

    pub(crate) fn config(&self) -> ManagerConfig {
        let place = |name: &str| self.folder().join(name).display().to_string();
        let text = format!(
            "state_folder = {:?}\n[services]\nfolder = {:?}\n[admin]\nsocket = {:?}\nlisten = \"{}\"\n\
             [dataplane]\nsocket = {:?}\n[collect]\ninterval = \"100ms\"\ncgroups = {:?}\n",
            place("state"),
            place("services"),
            place("manager.sock"),
            self.tcp,
            place("nobody.sock"),
            place("cgroup"),
        );
        bs9_config::parse_manager_str("test", &text).unwrap()
    }
}

/// Runs a manager beside `scene` and ends it in an orderly way after it.
pub(crate) async fn beside(place: &Place, scene: impl AsyncFnOnce(&ManagerClient)) {
    let manager = Manager::bind(&place.config()).unwrap();
    let client = ManagerClient::unix(manager.socket());
    let (stop, stopped) = oneshot::channel();
    let run = manager.run(async {
        let _ = stopped.await;
    });
    let scene = async {
        scene(&client).await;
        stop.send(()).unwrap();
    };
    let (result, ()) = tokio::join!(run, scene);
    result.unwrap();
}

/// Asks until there is an answer.
pub(crate) async fn eventually<T>(ask: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "it did not come to that in time");
        time::sleep(LOOK_AGAIN).await;
    }
}
