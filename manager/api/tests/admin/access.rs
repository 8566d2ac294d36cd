//! Who may do what: every endpoint, every kind of caller.

use std::{fs, os::unix::fs::PermissionsExt, os::unix::process::CommandExt, process::Command};

use bs9_api::{Access, Endpoint, endpoints};
use bs9_config::Process;

use crate::harness::{ADMIN, OPERATOR, Served, VIEWER, head};

/// What a caller gets: let through (whatever the call itself then says), or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Allowed,
    Unauthorized,
    Forbidden,
}
use Verdict::{Allowed, Forbidden, Unauthorized};

impl Verdict {
    fn of(status: u16) -> Self {
        match status {
            401 => Unauthorized,
            403 => Forbidden,
            _ => Allowed,
        }
    }
}

/// Anonymous, unknown token, viewer, operator, admin.
fn expected(access: Access) -> [Verdict; 5] {
    match access {
        Access::Anyone => [Allowed, Unauthorized, Allowed, Allowed, Allowed],
        Access::Viewer => [Unauthorized, Unauthorized, Allowed, Allowed, Allowed],
        Access::Operator => [Unauthorized, Unauthorized, Forbidden, Allowed, Allowed],
        Access::Admin => [Unauthorized, Unauthorized, Forbidden, Forbidden, Allowed],
    }
}

async fn verdicts(served: &Served, endpoint: &Endpoint) -> [Verdict; 5] {
    let mut verdicts = Vec::new();
    let tokens = [None, Some("wrong"), Some(VIEWER), Some(OPERATOR), Some(ADMIN)];
    for token in tokens {
        let authorization = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<_> =
            authorization.iter().map(|value| ("Authorization", value.as_str())).collect();
        let path = endpoint.path_parameters().fold(endpoint.path.to_owned(), |path, name| {
            path.replace(&format!("{{{name}}}"), "web")
        });
        let answer = served.by_tcp(&head(endpoint.method.as_str(), &path, &headers)).await;
        let verdict = Verdict::of(answer.status);
        match verdict {
            Unauthorized => {
                assert_eq!(answer.code(), "unauthorized");
                assert!(answer.head.contains("www-authenticate: bearer"));
            }
            Forbidden => assert_eq!(answer.code(), "forbidden"),
            Allowed => {}
        }
        verdicts.push(verdict);
    }
    verdicts.try_into().unwrap()
}

#[tokio::test]
async fn every_endpoint_of_the_data_plane_keeps_to_its_role() {
    let (served, _) = Served::data_plane();
    for endpoint in endpoints::of(Process::DataPlane) {
        assert_eq!(
            verdicts(&served, endpoint).await,
            expected(endpoint.access),
            "{}",
            endpoint.operation_id
        );
    }
}

#[tokio::test]
async fn every_endpoint_of_the_manager_keeps_to_its_role() {
    let (served, _) = Served::manager();
    for endpoint in endpoints::of(Process::Manager) {
        assert_eq!(
            verdicts(&served, endpoint).await,
            expected(endpoint.access),
            "{}",
            endpoint.operation_id
        );
    }
}

#[tokio::test]
async fn a_refused_call_changes_nothing() {
    let (served, api) = Served::data_plane();
    let body = r#"{"address":"a:1","weight":5}"#;
    let length = body.len().to_string();
    let request = |authorization: &str| {
        let headers = [
            ("Authorization", authorization),
            ("Content-Type", "application/json"),
            ("Content-Length", &length),
        ];
        head("POST", "/v1/clusters/web/endpoints/weight", &headers) + body
    };
    let refused = served.by_tcp(&request(&format!("Bearer {VIEWER}"))).await;
    assert_eq!(refused.status, 403);
    assert!(api.calls().is_empty());
    let done = served.by_tcp(&request(&format!("Bearer {OPERATOR}"))).await;
    assert_eq!(done.status, 200);
    assert_eq!(api.calls(), ["weight a:1 5"]);
}

#[tokio::test]
async fn strangers_do_not_learn_which_paths_exist() {
    let (served, _) = Served::data_plane();
    for (method, path) in [("GET", "/nowhere"), ("DELETE", "/v1/status"), ("GET", "/")] {
        let answer = served.by_tcp(&head(method, path, &[])).await;
        assert_eq!(answer.status, 401, "{method} {path}");
        let bearer = format!("Bearer {VIEWER}");
        let answer = served.by_tcp(&head(method, path, &[("Authorization", &bearer)])).await;
        assert!([404, 405].contains(&answer.status), "{method} {path}");
    }
}

#[tokio::test]
async fn the_own_user_needs_no_token_on_the_socket() {
    let (served, api) = Served::data_plane();
    let answer = served.by_socket(&head("POST", "/v1/drain", &[])).await;
    assert_eq!(answer.status, 200);
    assert_eq!(api.calls(), ["drain"]);
}

/// Only root can become another user, so elsewhere the unit test of the rule
/// has to do; what root sees here is the kernel's word about a real peer.
#[tokio::test]
async fn another_user_is_refused_on_the_socket_whatever_its_mode() {
    const NOBODY: u32 = 65534;
    let (served, _) = Served::data_plane();
    let open = |path: &std::path::Path| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    };
    open(&served.socket);
    open(served.socket.parent().unwrap());
    open(served.folder.path());
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--max-time", "20", "--unix-socket"])
        .arg(&served.socket)
        .arg("http://localhost/v1/status");
    let own = rustix::process::geteuid();
    let code = if own.is_root() {
        curl.uid(NOBODY);
        "forbidden"
    } else {
        eprintln!("not root, so the call is made as user {}", own.as_raw());
        ""
    };
    let output = tokio::task::spawn_blocking(move || curl.output())
        .await
        .unwrap()
        .expect("curl is installed");
    assert!(output.status.success(), "{output:?}");
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["code"].as_str().unwrap_or_default(), code, "{answer}");
}
