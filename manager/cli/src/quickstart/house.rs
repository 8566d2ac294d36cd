//! Everything the sample consists of, and its order of coming and going.

use std::{fs, io, net::SocketAddr, path::Path, time::Duration};

use bs9_api::{ClientError, DataPlaneClient, ManagerClient};
use rustix::process::Signal;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::{
    PATIENCE,
    configuration::{self, Addresses},
    folder::Folder,
    guide::{self, Guide},
    live::Live,
    port::Port,
    postgres::{self, Login, Programs},
};
use crate::{
    child::{self, Child},
    exit::{Exit, Failure},
    sample_endpoint::SampleEndpoint,
    terminal::{self, NOTE},
};

/// Between two looks at the children.
const TICK: Duration = Duration::from_millis(250);
/// How long a child may take to end.
const FAREWELL: Duration = Duration::from_secs(10);
/// How often ports are looked for.
const PORT_ATTEMPTS: u32 = 5;
/// Lines of a log shown when its process ended too early.
const LAST_WORDS: usize = 20;

/// The sample. [`close`](Self::close) ends it in good order; when it is merely dropped,
/// the children are killed and the folder goes.
pub(super) struct House {
    /// In the order they were started; they end in the opposite one.
    children: Vec<Child>,
    endpoints: Vec<JoinHandle<io::Result<()>>>,
    /// Goes last.
    folder: Folder,
}

impl House {
    pub(super) fn new(folder: Folder) -> Self {
        Self { children: Vec::new(), endpoints: Vec::new(), folder }
    }

    /// Starts everything, says what there is, and shows it live. Only an error ends it.
    pub(super) async fn open_and_show(&mut self) -> Result<(), Failure> {
        let guide = self.open().await?;
        guide.print()?;
        self.show().await
    }

    async fn open(&mut self) -> Result<Guide, Failure> {
        terminal::say(guide::starting(self.folder.path()))?;
        let login = self.open_database().await?;
        let endpoints = self.open_endpoints()?;
        let addresses = self.open_data_plane(endpoints, login.as_ref()).await?;
        self.write("manager.toml", configuration::manager())?;
        self.start("manager", "manager", "manager.toml", "manager.log")?;
        let manager = ManagerClient::unix(self.folder.join("manager.sock"));
        self.wait("the manager", async || manager.health_ready().await.map(drop)).await?;
        Ok(Guide {
            addresses,
            login,
            manager_socket: self.folder.join("manager.sock"),
            folder: self.folder.path().to_owned(),
            kept: self.folder.is_kept(),
        })
    }

    /// A PostgreSQL server, when one is installed.
    async fn open_database(&mut self) -> Result<Option<Login>, Failure> {
        let Some(programs) = Programs::find() else {
            terminal::say(format_args!(
                "{NOTE}PostgreSQL is not installed{NOTE:#}, so there will be no pool; \
                 on Debian: apt-get install postgresql"
            ))?;
            return Ok(None);
        };
        postgres::start(&programs, &self.folder, &mut self.children).await.map(Some)
    }

    /// The two sample endpoints.
    fn open_endpoints(&mut self) -> Result<[SocketAddr; 2], Failure> {
        let one = SampleEndpoint::bind("one", 0).map_err(no_port)?;
        let two = SampleEndpoint::bind("two", 0).map_err(no_port)?;
        let addresses = [one.address, two.address];
        for endpoint in [one, two] {
            self.endpoints.push(tokio::task::spawn_local(endpoint.serve()));
        }
        Ok(addresses)
    }

    /// A data plane on free ports. Somebody may take one between the moment it is found
    /// free and the moment it is used; then it is tried again.
    async fn open_data_plane(
        &mut self,
        endpoints: [SocketAddr; 2],
        login: Option<&Login>,
    ) -> Result<Addresses, Failure> {
        let client = DataPlaneClient::unix(self.folder.join("dataplane.sock"));
        let mut attempts_left = PORT_ATTEMPTS;
        loop {
            let ports = Ports::choose().map_err(no_port)?;
            let addresses = ports.addresses(endpoints);
            self.write("bs9.toml", &configuration::data_plane(&addresses, login))?;
            self.start("data plane", "serve", "bs9.toml", "dataplane.log")?;
            attempts_left -= 1;
            match self.wait("the data plane", async || client.health_ready().await.map(drop)).await
            {
                Ok(()) => {
                    ports.announce(login.is_some())?;
                    return Ok(addresses);
                }
                Err(_) if attempts_left > 0 && self.lost_a_port() => {
                    self.children.pop();
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Whether what was started last could not have an address.
    fn lost_a_port(&mut self) -> bool {
        let code = self.children.last_mut().and_then(Child::exit_code);
        code == Some(Exit::Network as i32)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        fs::write(self.folder.join(name), text)
            .map_err(|error| Failure::io(format!("cannot write {name}"), error))
    }

    fn start(
        &mut self,
        name: &'static str,
        verb: &str,
        config: &str,
        log: &str,
    ) -> Result<(), Failure> {
        let failed = |error| Failure::io(format!("cannot start the {name}"), error);
        let command =
            child::bs9([verb, "--config"], Some(&self.folder.join(config))).map_err(failed)?;
        let child =
            Child::start(name, command, &self.folder.join(log), Signal::TERM).map_err(failed)?;
        self.children.push(child);
        Ok(())
    }

    /// Until `ready` says so, or somebody has died.
    async fn wait(
        &mut self,
        what: &str,
        ready: impl AsyncFn() -> Result<(), ClientError>,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Err(error) = ready().await else { return Ok(()) };
            self.mourn()?;
            if Instant::now() > deadline {
                return Err(
                    Failure::new(Exit::Error, format!("{what} is not ready")).because(error)
                );
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// An error when a child has ended, with its last words.
    fn mourn(&mut self) -> Result<(), Failure> {
        let Some(dead) =
            self.children.iter_mut().find_map(|child| child.has_ended().then_some(&*child))
        else {
            return Ok(());
        };
        let words = dead.last_lines(LAST_WORDS).join("\n  ");
        Err(Failure::new(
            Exit::Error,
            format!("the {} ended; its last words:\n  {words}", dead.name()),
        ))
    }

    /// Shows what is going on until a child ends.
    async fn show(&mut self) -> Result<(), Failure> {
        let mut live = Live::new(ManagerClient::unix(self.folder.join("manager.sock")));
        loop {
            if let Err(failure) = self.mourn() {
                live.clear()?;
                return Err(failure);
            }
            live.tick().await?;
            sleep(TICK).await;
        }
    }

    /// Ends the children, last one first, and removes the folder.
    pub(super) async fn close(mut self) {
        if !self.children.is_empty() {
            terminal::remark("\ncleaning up");
        }
        while let Some(mut child) = self.children.pop() {
            child.stop(FAREWELL).await;
        }
        self.endpoints.drain(..).for_each(|endpoint| endpoint.abort());
        if self.folder.is_kept() {
            terminal::remark(format_args!("kept: {}", Path::display(self.folder.path())));
        }
    }
}

/// Where the data plane's listeners are to be.
struct Ports {
    http: Port,
    tcp: Port,
    pool: Port,
    admin: Port,
}

impl Ports {
    fn choose() -> io::Result<Self> {
        Ok(Self {
            http: Port::choose("http", 8080)?,
            tcp: Port::choose("tcp", 6380)?,
            pool: Port::choose("the pool", 6432)?,
            admin: Port::choose("metrics", 9901)?,
        })
    }

    fn addresses(&self, endpoints: [SocketAddr; 2]) -> Addresses {
        Addresses {
            http: self.http.address,
            tcp: self.tcp.address,
            pool: self.pool.address,
            admin: self.admin.address,
            endpoints,
        }
    }

    /// Says which usual ports could not be had.
    fn announce(&self, with_pool: bool) -> Result<(), Failure> {
        let pool = with_pool.then_some(&self.pool);
        for port in [&self.http, &self.tcp, &self.admin].into_iter().chain(pool) {
            if let Some(usual) = port.instead_of {
                terminal::say(format_args!(
                    "{NOTE}port {usual} is taken{NOTE:#}; {} uses {} instead",
                    port.purpose,
                    port.address.port()
                ))?;
            }
        }
        Ok(())
    }
}

fn no_port(error: io::Error) -> Failure {
    Failure::io("there is no free port", error)
}
