//! A server in a folder of its own, and HTTP by hand.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration};

use axum::Router;
use bs9_api::{
    AdminAddress, AdminServer,
    endpoints::{data_plane_router, manager_router},
};
use bs9_config::{AdminToken, RateLimit, Role, Secret};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    sync::oneshot,
    task::JoinHandle,
};

use crate::fake::{FakeDataPlane, FakeManager};

/// Generous: only a test that fails gets there.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

const MANY: NonZeroU32 = NonZeroU32::MAX;

pub(crate) const VIEWER: &str = "viewer-secret";
pub(crate) const OPERATOR: &str = "operator-secret";
pub(crate) const ADMIN: &str = "admin-secret";

/// A running server; its folder goes with it.
pub(crate) struct Served {
    pub(crate) socket: PathBuf,
    pub(crate) tcp: SocketAddr,
    pub(crate) folder: tempfile::TempDir,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Served {
    pub(crate) fn data_plane() -> (Self, Arc<FakeDataPlane>) {
        let api = Arc::new(FakeDataPlane::default());
        (Self::start(data_plane_router(Arc::clone(&api))), api)
    }

    pub(crate) fn manager() -> (Self, Arc<FakeManager>) {
        let api = Arc::new(FakeManager::default());
        (Self::start(manager_router(Arc::clone(&api))), api)
    }

    /// A manager at an address that is `changed`.
    pub(crate) fn manager_at(change: impl FnOnce(&mut AdminAddress)) -> (Self, Arc<FakeManager>) {
        let api = Arc::new(FakeManager::default());
        (Self::start_with(manager_router(Arc::clone(&api)), change, |server| server), api)
    }

    /// A manager whose server is made into another.
    pub(crate) fn manager_with(
        make: impl FnOnce(AdminServer) -> AdminServer,
    ) -> (Self, Arc<FakeManager>) {
        let api = Arc::new(FakeManager::default());
        (Self::start_with(manager_router(Arc::clone(&api)), |_| {}, make), api)
    }

    fn start(router: Router) -> Self {
        Self::start_with(router, |_| {}, |server| server)
    }

    fn start_with(
        router: Router,
        change: impl FnOnce(&mut AdminAddress),
        make: impl FnOnce(AdminServer) -> AdminServer,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut address = address(folder.path().join("run/admin.sock"));
        change(&mut address);
        let server = make(AdminServer::bind(address).unwrap());
        let socket = server.socket().to_owned();
        let tcp = server.tcp_address().unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.serve(router, async {
            let _ = stopped.await;
        }));
        Self { socket, tcp, folder, stop, task }
    }

    /// Tells the server to stop, without waiting for it.
    pub(crate) fn stop(self) -> (JoinHandle<std::io::Result<()>>, tempfile::TempDir) {
        self.stop.send(()).unwrap();
        (self.task, self.folder)
    }

    pub(crate) async fn by_socket(&self, request: &str) -> Answer {
        let stream = UnixStream::connect(&self.socket).await.unwrap();
        converse(stream, request.as_bytes()).await
    }

    pub(crate) async fn by_tcp(&self, request: &str) -> Answer {
        let stream = TcpStream::connect(self.tcp).await.unwrap();
        converse(stream, request.as_bytes()).await
    }
}

pub(crate) fn address(socket: PathBuf) -> AdminAddress {
    let token = |name: &str, role, secret: &str| AdminToken {
        name: name.into(),
        role,
        token: Secret::new(secret),
    };
    AdminAddress {
        socket,
        listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        tokens: vec![
            token("v", Role::Viewer, VIEWER),
            token("o", Role::Operator, OPERATOR),
            token("a", Role::Admin, ADMIN),
        ],
        // The table of who may do what presents more wrong tokens than a stranger may.
        rate_limit: RateLimit { burst: MANY, calls_per_second: MANY, wrong_tokens: MANY },
        ..AdminAddress::default()
    }
}

/// The head of a request, with a blank line, that asks for the connection to be closed.
pub(crate) fn head(method: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head + "\r\n"
}

/// A whole request with a JSON body.
pub(crate) fn post(path: &str, body: &str) -> String {
    let length = body.len().to_string();
    let headers = [("Content-Type", "application/json"), ("Content-Length", length.as_str())];
    head("POST", path, &headers) + body
}

/// An answer as it came over the wire.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        assert!(self.head.contains("content-type: application/json"), "{self:?}");
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// The code of a refusal.
    pub(crate) fn code(&self) -> String {
        let problem = self.json();
        assert_eq!(problem["schema"], 1, "{self:?}");
        assert!(!problem["message"].as_str().unwrap().is_empty(), "{self:?}");
        problem["code"].as_str().unwrap().to_owned()
    }
}

/// Writes while reading, as the server may answer before it has read everything.
pub(crate) async fn converse<S>(stream: S, request: &[u8]) -> Answer
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut bytes = Vec::new();
    let both = async {
        tokio::join!(reader.read_to_end(&mut bytes), async {
            // A server that has answered may not want the rest.
            let _ = writer.write_all(request).await;
        })
    };
    let (read, ()) =
        tokio::time::timeout(DEADLINE, both).await.expect("an answer before the deadline");
    // A reset after the answer leaves what was read before it.
    if let Err(error) = read {
        assert!(!bytes.is_empty(), "{error}");
    }
    parse(&String::from_utf8(bytes).unwrap())
}

fn parse(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}
