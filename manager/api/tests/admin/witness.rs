//! Changes are witnessed; nobody changes anything behind the witness's back.

use std::sync::{Arc, Mutex};

use bs9_api::{
    ApiError,
    server::{Asked, Outcome, Pending, Witness},
};

use crate::harness::{ADMIN, OPERATOR, Served, VIEWER, head};

/// Writes down what it is told.
#[derive(Debug, Default)]
struct Notebook {
    lines: Mutex<Vec<String>>,
    /// Nothing can be written down.
    full: bool,
}

impl Notebook {
    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    fn note(&self, line: String) {
        self.lines.lock().unwrap().push(line);
    }
}

impl Witness for Notebook {
    fn begin(&self, change: Asked) -> Pending<'_, Result<u64, ApiError>> {
        Box::pin(async move {
            if self.full {
                return Err(ApiError::unavailable("the notebook is full"));
            }
            let from = change.caller.from();
            let from = from.split(':').next().unwrap_or_default().to_owned();
            let request = change.request.map(|request| request["name"].clone());
            self.note(format!(
                "begin {} {} by {} from {from} with {request:?}",
                change.operation, change.target, change.caller
            ));
            Ok(7)
        })
    }

    fn end(&self, ticket: u64, _: Asked, outcome: Outcome) -> Pending<'_, ()> {
        Box::pin(async move {
            let code = outcome.failure.map(|failure| failure.code.as_str());
            let after = outcome.after.map(|after| after["summary"]["name"].clone());
            self.note(format!("end {ticket} {code:?} {:?} {after:?}", outcome.before));
        })
    }

    fn refused(&self, change: Asked, reason: ApiError) -> Pending<'_, ()> {
        Box::pin(async move {
            self.note(format!("refused {} {} {}", change.operation, change.caller, reason.code));
        })
    }
}

fn create(token: &str, name: &str) -> String {
    let body = format!(r#"{{"name":"{name}","role":"viewer"}}"#);
    let (length, bearer) = (body.len().to_string(), format!("Bearer {token}"));
    let fields = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
        ("Content-Length", &length),
    ];
    head("POST", "/v1/tokens", &fields) + &body
}

#[tokio::test]
async fn a_change_is_told_before_and_after() {
    let notebook = Arc::new(Notebook::default());
    let (served, _) =
        Served::manager_with(|server| server.with_witness(Arc::clone(&notebook) as _));
    assert_eq!(served.by_tcp(&create(ADMIN, "new")).await.status, 200);
    assert_eq!(served.by_tcp(&create(ADMIN, "taken")).await.status, 409);
    assert_eq!(served.by_tcp(&create(OPERATOR, "new")).await.status, 403);
    assert_eq!(
        notebook.lines(),
        [
            r#"begin create_token /v1/tokens by token a from 127.0.0.1 with Some(String("new"))"#,
            r#"end 7 None Some(String("nothing")) Some(String("new by token a"))"#,
            r#"begin create_token /v1/tokens by token a from 127.0.0.1 with Some(String("taken"))"#,
            r#"end 7 Some("conflict") None None"#,
            "refused create_token token o forbidden",
        ]
    );
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_done() {
    let notebook = Arc::new(Notebook { full: true, ..Notebook::default() });
    let (served, _) =
        Served::manager_with(|server| server.with_witness(Arc::clone(&notebook) as _));
    let answer = served.by_tcp(&create(ADMIN, "new")).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "unavailable"));
}

#[tokio::test]
async fn reading_is_nobodys_business_and_strangers_fill_no_book() {
    let notebook = Arc::new(Notebook::default());
    let (served, _) =
        Served::manager_with(|server| server.with_witness(Arc::clone(&notebook) as _));
    let bearer = format!("Bearer {VIEWER}");
    let answer = served.by_tcp(&head("GET", "/v1/status", &[("Authorization", &bearer)])).await;
    assert_eq!(answer.status, 200);
    assert_eq!(served.by_tcp(&create("unknown", "new")).await.status, 401);
    assert_eq!(served.by_tcp(&head("POST", "/v1/tokens", &[])).await.status, 401);
    assert!(notebook.lines().is_empty(), "{:?}", notebook.lines());
}
