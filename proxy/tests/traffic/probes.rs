//! The kinds of health checks, and what they expect.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use bs9_api::types::EndpointHealth;
use bs9_config::BindAddress;
use bytes::Bytes;
use h2::{RecvStream, server::SendResponse};
use http::{HeaderMap, Request, Response};

use crate::{
    authority::Authority,
    fixture::{Proxy, Site, eventually},
    origin::Origin,
    tls::House,
    wire::{Message, PATIENCE, ok},
};

const PACE: &str = "interval = \"1s\", timeout = \"1s\", healthy_after = 1, unhealthy_after = 1";

fn start(address: SocketAddr, check: &str) -> Proxy {
    start_in(&Site::of([address]), check)
}

fn start_in(site: &Site, check: &str) -> Proxy {
    let check = format!("health_check = {{ {check}, {PACE} }}");
    Proxy::start(&site.toml().replace("[clusters.app]\n", &format!("[clusters.app]\n{check}\n")))
}

fn becomes(proxy: &Proxy, address: SocketAddr, health: EndpointHealth) {
    eventually("health changes", || proxy.endpoint(address).health == health);
}

fn reason(proxy: &Proxy, address: SocketAddr) -> String {
    proxy.endpoint(address).health_reason.expect("a reason")
}

/// Answers with whatever is put in.
fn scripted() -> (Origin, Arc<Mutex<Vec<u8>>>) {
    let answer = Arc::new(Mutex::new(ok("")));
    let given = Arc::clone(&answer);
    (Origin::answering(move |_| given.lock().unwrap().clone()), answer)
}

#[test]
fn an_http_check_expects_what_it_is_told_to() {
    let (origin, answer) = scripted();
    let address = origin.address();
    let check = "path = \"/up\", headers = { x-probe = \"1\", user-agent = \"mine\" }, \
        expected_status = [204, \"300-310\"], expected_headers = { X-Ready = \"yes\" }";
    let proxy = start(address, check);
    becomes(&proxy, address, EndpointHealth::Unhealthy);
    assert_eq!(reason(&proxy, address), "answered status 200");
    *answer.lock().unwrap() = b"HTTP/1.1 204 Fine\r\nx-ready: no\r\n\r\n".to_vec();
    eventually("the reason changes", || {
        reason(&proxy, address) == "answered without `x-ready` as expected"
    });
    *answer.lock().unwrap() = b"HTTP/1.1 204 Fine\r\nx-ready: yes\r\n\r\n".to_vec();
    becomes(&proxy, address, EndpointHealth::Healthy);
    let (_, probe): (usize, Message) = origin.requests().into_iter().next().unwrap();
    assert_eq!(probe.line(), "GET /up HTTP/1.1");
    assert_eq!(probe.header("x-probe"), Some("1"));
    assert_eq!(probe.headers("user-agent"), ["mine"]);
    assert_eq!(probe.header("host"), Some(&*address.to_string()));
}

#[test]
fn a_body_is_looked_through() {
    let (origin, answer) = scripted();
    let address = origin.address();
    let proxy = start(address, "path = \"/up\", expected_body = \"all well\"");
    becomes(&proxy, address, EndpointHealth::Unhealthy);
    assert_eq!(reason(&proxy, address), "answered without the expected body");
    // Divided by chunks, which are no part of it.
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
        6\r\nyes: a\r\n7\r\nll well\r\n0\r\n\r\n";
    *answer.lock().unwrap() = chunked.as_bytes().to_vec();
    becomes(&proxy, address, EndpointHealth::Healthy);
    *answer.lock().unwrap() = ok(&"x".repeat(100_000));
    becomes(&proxy, address, EndpointHealth::Unhealthy);
}

#[test]
fn an_endpoint_may_have_to_be_probed_before_it_takes_traffic() {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::answering(move |request| {
        if request.target() == "/up" {
            wait.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        }
        ok("ready")
    });
    let address = origin.address();
    let check = "path = \"/up\", initially_healthy = false, interval = \"20s\", timeout = \"20s\"";
    let toml = Site::of([address]).toml();
    let check = format!("[clusters.app]\nhealth_check = {{ {check} }}\n");
    let proxy = Proxy::start(&toml.replace("[clusters.app]\n", &check));
    assert_eq!(proxy.web().get("/").status(), 503);
    assert_eq!(proxy.endpoint(address).health, EndpointHealth::Unknown);
    go_on.send(()).unwrap();
    becomes(&proxy, address, EndpointHealth::Healthy);
    assert_eq!(proxy.web().get("/").text(), "ready");
}

#[test]
fn a_tls_check_wants_a_handshake() {
    // Accepts connections, and says nothing that TLS would.
    let origin = Origin::answering(|_| ok(""));
    let address = origin.address();
    let proxy = start(address, "probe = \"tls\"");
    becomes(&proxy, address, EndpointHealth::Unhealthy);
    let plain = start(address, "probe = \"tcp\"");
    becomes(&plain, address, EndpointHealth::Healthy);

    // Nobody vouches for this one, which the check does not ask for.
    let folder = tempfile::tempdir().unwrap();
    Authority::new().issue(folder.path(), "site", &["site.test"]);
    let sealed = Proxy::start(&format!(
        "[runtime]\nshards = 1\npin = false\n[listeners.web]\nbind = [\"127.0.0.1:0\"]\n\
         protocol = \"http\"\ntls = {{ certificates = [{{ certificate = \"{0}/site.pem\", \
         key = \"{0}/site.key\" }}] }}\n[[listeners.web.routes]]\nrespond = {{}}\n",
        folder.path().display()
    ));
    let BindAddress::Tcp(address) = sealed.address("web") else { unreachable!() };
    let proxy = start(address, "probe = \"tls\"");
    becomes(&proxy, address, EndpointHealth::Healthy);
}

/// A gRPC health service; `serving` is what it says.
fn grpc(serving: &Arc<AtomicBool>) -> SocketAddr {
    let serving = Arc::clone(serving);
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            while let Ok((socket, _)) = listener.accept().await {
                let serving = Arc::clone(&serving);
                tokio::spawn(async move { serve_grpc(socket, &serving).await });
            }
        });
    });
    told.recv_timeout(PATIENCE).unwrap()
}

async fn serve_grpc(socket: tokio::net::TcpStream, serving: &Arc<AtomicBool>) {
    let Ok(mut connection) = h2::server::handshake(socket).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        // Beside the connection, which brings the question.
        tokio::spawn(answer_grpc(request, respond, Arc::clone(serving)));
    }
}

async fn answer_grpc(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    serving: Arc<AtomicBool>,
) {
    let (head, mut body) = request.into_parts();
    let well = head.method == "POST"
        && head.uri.path() == "/grpc.health.v1.Health/Check"
        && head.headers["content-type"] == "application/grpc"
        && head.headers["te"] == "trailers";
    let question = body.data().await.and_then(Result::ok).unwrap_or_default();
    let known = question[..] == *b"\x00\x00\x00\x00\x0a\x0a\x08shop.Api";
    let response = Response::builder().header("content-type", "application/grpc");
    if !well || !known {
        let response = response.header("grpc-status", "5").body(()).unwrap();
        let _gone = respond.send_response(response, true);
        return;
    }
    let mut stream = respond.send_response(response.body(()).unwrap(), false).unwrap();
    let status = if serving.load(SeqCst) { 1 } else { 2 };
    let _gone = stream.send_data(Bytes::from(vec![0, 0, 0, 0, 2, 8, status]), false);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let _gone = stream.send_trailers(trailers);
}

#[test]
fn a_grpc_check_asks_the_health_service() {
    let serving = Arc::new(AtomicBool::new(true));
    let address = grpc(&serving);
    let proxy = start(address, "probe = \"grpc\", service = \"shop.Api\"");
    becomes(&proxy, address, EndpointHealth::Healthy);
    serving.store(false, SeqCst);
    becomes(&proxy, address, EndpointHealth::Unhealthy);
    assert_eq!(reason(&proxy, address), "the service is NOT_SERVING");
    serving.store(true, SeqCst);
    becomes(&proxy, address, EndpointHealth::Healthy);
    let unknown = start(address, "probe = \"grpc\", service = \"other\"");
    becomes(&unknown, address, EndpointHealth::Unhealthy);
    assert_eq!(reason(&unknown, address), "gRPC status 5");
    let http = Origin::answering(|_| ok(""));
    let proxy = start(http.address(), "probe = \"grpc\"");
    becomes(&proxy, http.address(), EndpointHealth::Unhealthy);
}

#[test]
fn a_grpc_check_goes_through_tls() {
    let serving = Arc::new(AtomicBool::new(true));
    let house = House::new();
    let sealed = Proxy::start(&format!(
        "[runtime]\nshards = 1\npin = false\n{}[clusters.app]\nendpoints = [\"{}\"]\n\
         protocol = \"h2\"\n",
        house.listener("web", "app", ""),
        grpc(&serving)
    ));
    let BindAddress::Tcp(address) = sealed.address("web") else { unreachable!() };
    let under = |name: &str| {
        let ca = house.path("ca.pem");
        let tls = format!("protocol = \"h2\"\ntls = {{ ca = {ca:?}, server_name = \"{name}\" }}");
        let site = Site { cluster: tls.leak(), ..Site::of([address]) };
        start_in(&site, "probe = \"grpc\", service = \"shop.Api\"")
    };
    let proxy = under("localhost");
    becomes(&proxy, address, EndpointHealth::Healthy);
    serving.store(false, SeqCst);
    becomes(&proxy, address, EndpointHealth::Unhealthy);
    assert_eq!(reason(&proxy, address), "the service is NOT_SERVING");
    let stranger = under("stranger.test");
    becomes(&stranger, address, EndpointHealth::Unhealthy);
    assert!(reason(&stranger, address).contains("TLS"), "{}", reason(&stranger, address));
}

#[test]
fn one_prober_watches_for_all_shards() {
    const INTERVAL: Duration = Duration::from_millis(100);
    let origin = Origin::named("up");
    let check = "path = \"/up\", interval = \"100ms\", timeout = \"100ms\", jitter = 0.0";
    let cluster: &str = format!("health_check = {{ {check} }}").leak();
    let begun = Instant::now();
    let proxy = Site { shards: 3, cluster, ..Site::of([origin.address()]) }.start();
    eventually("there were some probes", || origin.requests().len() >= 10);
    // Counted first: on a slow machine only the time gets longer.
    let (probes, passed) = (origin.requests().len(), begun.elapsed());
    let due = passed.as_millis() / INTERVAL.as_millis() + 1;
    assert!(probes as u128 <= due, "{probes} probes in {passed:?}, by one for each interval");
    becomes(&proxy, origin.address(), EndpointHealth::Healthy);
}
