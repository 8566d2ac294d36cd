//! Whole cycles through bs9: from the client's bytes to the endpoint or server, and
//! back. The kernel's part is not counted.

use std::net::SocketAddr;

use anyhow::ensure;

use crate::bench::Bench;
use crate::callgrind::{Cost, Instrumented};
use crate::contender::Contender;
use crate::http_client::HttpClient;
use crate::http_service::{Carry, HttpService};
use crate::http2_client::Http2Client;
use crate::load::pgbench::Queries;
use crate::load::wrk::Wrk;
use crate::origin;
use crate::pool_service::PoolService;
use crate::postgres_client::PostgresClient;
use crate::run_dir::free_address;

const WARMUP_TIMES: u32 = 200;
const TIMES: u32 = 2_000;

/// A request on a kept connection, answered from one.
pub(super) fn request(bench: &Bench) -> anyhow::Result<Cost> {
    through_proxy(bench, HttpClient::connect, |client| {
        origin::check(&client.get("/")?, origin::SMALL_BODY_BYTES)
    })
}

/// The same by HTTP/2 from the client.
pub(super) fn http2_request(bench: &Bench) -> anyhow::Result<Cost> {
    through_proxy(bench, Http2Client::connect, |client| {
        let body = client.get()?;
        ensure!(body.len() == origin::SMALL_BODY_BYTES, "a body of {} bytes", body.len());
        Ok(())
    })
}

/// A simple query of a client that holds no server connection between two.
pub(super) fn query(bench: &Bench) -> anyhow::Result<Cost> {
    through_pool(bench, "simple", |client| client.query("SELECT 1"))
}

/// A statement that was prepared once, bound and executed.
pub(super) fn prepared_query(bench: &Bench) -> anyhow::Result<Cost> {
    let mut prepared = false;
    through_pool(bench, "prepared", move |client| {
        if !std::mem::replace(&mut prepared, true) {
            client.prepare("one", "SELECT 1")?;
        }
        client.execute("one")
    })
}

fn through_proxy<C>(
    bench: &Bench,
    connect: impl Fn(SocketAddr) -> anyhow::Result<C>,
    ask: impl Fn(&mut C) -> anyhow::Result<()>,
) -> anyhow::Result<Cost> {
    let service = HttpService::start(bench, Carry::SmallHttp, Wrk::keep_alive(1))?;
    let address = free_address()?;
    let config = service.configure(bench, Contender::Bs9, address)?;
    let mut bs9 = Instrumented::start(bench, &config, || ask(&mut connect(address)?))?;
    let mut client = connect(address)?;
    per_time(&mut bs9, || ask(&mut client))
}

fn through_pool(
    bench: &Bench,
    protocol: &'static str,
    mut ask: impl FnMut(&mut PostgresClient) -> anyhow::Result<()>,
) -> anyhow::Result<Cost> {
    let service = PoolService::start(bench, Queries::new(protocol, 1))?;
    let address = free_address()?;
    let config = service.configure(bench, Contender::Bs9, address)?;
    let connect = || PostgresClient::connect(address).map(drop);
    let mut bs9 = Instrumented::start(bench, &config, connect)?;
    let mut client = PostgresClient::connect(address)?;
    per_time(&mut bs9, || ask(&mut client))
}

fn per_time(
    bs9: &mut Instrumented,
    mut work: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<Cost> {
    (0..WARMUP_TIMES).try_for_each(|_| work())?;
    Ok(bs9.count(|| (0..TIMES).try_for_each(|_| work()))?.over(TIMES))
}
