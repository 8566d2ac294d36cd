//! A small HTTP server that says who it is, to have something to balance over.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use axum::{
    Router,
    extract::{Query, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::{
    cli::Global,
    exit::Failure,
    runtime::{self, Stop},
    terminal,
};

/// Longest `?delay_ms=`.
const DELAY_LIMIT: Duration = Duration::from_secs(60);

/// Who it is and where it listens.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where it listens; 0 lets the kernel choose.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// What it calls itself.
    #[arg(long, default_value = "sample")]
    name: String,
}

pub(crate) fn run(arguments: Arguments, _global: &Global) -> Result<(), Failure> {
    let endpoint = SampleEndpoint::bind(&arguments.name, arguments.port).map_err(|error| {
        Failure::io(format!("cannot listen on 127.0.0.1:{}", arguments.port), error)
    })?;
    terminal::say(format_args!("{} answers on http://{}", arguments.name, endpoint.address))?;
    runtime::block_on(async {
        let mut stop = Stop::new()?;
        tokio::select! {
            _ = stop.wait() => Ok(()),
            served = endpoint.serve() => served.map_err(|error| Failure::io("cannot serve", error)),
        }
    })
}

/// A bound sample endpoint.
pub(crate) struct SampleEndpoint {
    pub(crate) address: SocketAddr,
    name: String,
    listener: TcpListener,
}

impl SampleEndpoint {
    /// On the loopback address.
    pub(crate) fn bind(name: &str, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        listener.set_nonblocking(true)?;
        Ok(Self { address: listener.local_addr()?, name: name.to_owned(), listener })
    }

    /// Answers until the future is dropped.
    pub(crate) async fn serve(self) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let router = Router::new()
            .route("/healthz", get(async || "ok\n"))
            .fallback(answer)
            .with_state(self.name);
        axum::serve(listener, router).await
    }
}

/// Who answered, and what was asked.
#[derive(Debug, Serialize)]
struct Answer {
    endpoint: String,
    method: String,
    path: String,
    host: Option<String>,
    forwarded_for: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Wish {
    /// Wait so long before answering.
    #[serde(default)]
    delay_ms: u64,
}

async fn answer(
    State(endpoint): State<String>,
    Query(wish): Query<Wish>,
    request: Request,
) -> Response {
    tokio::time::sleep(Duration::from_millis(wish.delay_ms).min(DELAY_LIMIT)).await;
    let header =
        |name| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let answer = Answer {
        endpoint,
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        host: header("host"),
        forwarded_for: header("x-forwarded-for"),
    };
    match serde_json::to_string(&answer) {
        // Ends in a newline, so that it looks right after `curl`.
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text + "\n").into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
