//! A folder with a manager and, at times, a data plane.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bs9_api::{
    AdminAddress, AdminServer, ManagerClient,
    endpoints::data_plane_router,
    types::{HistoryQuery, ManagerStatus, Rates},
};
use bs9_config::ManagerConfig;
use bs9_manager::Manager;
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{self, Instant},
};

use crate::fake::FakeDataPlane;

/// Generous: only a test that fails gets there.
const DEADLINE: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn data_plane(&self) -> PathBuf {
        self.0.path().join("dataplane.sock")
    }

    pub(crate) fn manager(&self) -> PathBuf {
        self.0.path().join("manager.sock")
    }

    pub(crate) fn config(&self) -> ManagerConfig {
        let place = |name: &str| self.0.path().join(name).display().to_string();
        let text = format!(
            "state_folder = {:?}\n[services]\nfolder = {:?}\n[admin]\nsocket = {:?}\n\
             [dataplane]\nsocket = {:?}\ntimeout = \"500ms\"\n[history]\nkeep = \"1m\"\n\
             [collect]\ninterval = \"100ms\"\n",
            place("state"),
            place("services"),
            place("manager.sock"),
            place("dataplane.sock"),
        );
        let mut config = bs9_config::parse_manager_str("test", &text).unwrap();
        // Shorter than a configuration may say: tests wait for it.
        config.dataplane.poll_interval = POLL_INTERVAL;
        config.history.resolution = POLL_INTERVAL;
        config
    }

    /// Starts a data plane.
    pub(crate) fn start(&self, fake: FakeDataPlane) -> Running {
        let address = AdminAddress { socket: self.data_plane(), ..AdminAddress::default() };
        let server = AdminServer::bind(address).unwrap();
        let (stop, stopped) = oneshot::channel();
        let router = data_plane_router(Arc::new(fake));
        let task = tokio::spawn(server.serve(router, async {
            let _ = stopped.await;
        }));
        Running { stop, task }
    }

    /// Asks the manager until its history has so many points with rates. Polls that come close
    /// together make one point.
    pub(crate) async fn wait_for_rates(&self, client: &ManagerClient, count: usize) -> Vec<Rates> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let points = client.history(&HistoryQuery { seconds: None }).await.unwrap().points;
            let rates: Vec<_> = points.into_iter().filter_map(|point| point.rates).collect();
            if rates.len() >= count {
                return rates;
            }
            assert!(Instant::now() < deadline, "still {rates:#?}");
            time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Asks the manager until its status is as wanted.
    pub(crate) async fn wait_for(
        &self,
        client: &ManagerClient,
        wanted: impl Fn(&ManagerStatus) -> bool,
    ) -> ManagerStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let status = client.status().await.unwrap();
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "still {status:#?}");
            time::sleep(POLL_INTERVAL).await;
        }
    }
}

/// A data plane that runs.
pub(crate) struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Running {
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
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
