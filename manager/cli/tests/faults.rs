//! Endpoints that are killed, stall, reset, answer garbage, half an answer or one too many, while load runs: nobody gets
//! a wrong byte, nothing is sent twice that must not be, and what is whole again is used again. So it is by HTTP/1.1 and
//! by HTTP/2, with TLS and without.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and tells what it measured"
)]

#[path = "../../../proxy/net/tests/tls/authority.rs"]
#[allow(dead_code, reason = "shared with the tests of the host")]
mod authority;
#[path = "faults/clients.rs"]
mod clients;
#[path = "faults/endpoint.rs"]
mod endpoint;
mod fixture;
#[path = "faults/http1.rs"]
mod http1;
#[path = "faults/http2.rs"]
mod http2;
#[path = "faults/tls.rs"]
mod tls;

use std::sync::Arc;

use bs9_api::{
    client::DataPlaneClient,
    types::{EndpointHealth, EndpointStatus},
};
use clients::{Clients, Tally};
use endpoint::{Books, Fault, FaultyEndpoint, Speech};
use fixture::{ADMIN, DataPlane, eventually, write};

/// Requests that have to meet a fault before it is healed.
const HITS: u64 = 20;
/// Answers in a row, over all clients, after which nobody suffers any more.
const QUIET: u64 = 500;

struct House {
    speech: Speech,
    endpoints: Vec<FaultyEndpoint>,
    books: Arc<Books>,
    data_plane: DataPlane,
    admin: DataPlaneClient,
    runtime: tokio::runtime::Runtime,
}

impl House {
    fn open(speech: Speech) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let agreed = if speech.is_http2() { "h2" } else { "http/1.1" };
        let tls = speech.has_tls().then(|| tls::identity(folder.path(), agreed));
        let books = Arc::new(Books::default());
        let endpoint = |number| FaultyEndpoint::start(number, speech, tls.as_ref(), &books);
        let endpoints: Vec<_> = (0..3).map(endpoint).collect();
        let addresses: Vec<_> =
            endpoints.iter().map(|one| format!("\"{}\"", one.address)).collect();
        let trust = if speech.has_tls() {
            "tls = { ca = \"ca.pem\", server_name = \"localhost\" }\n"
        } else {
            ""
        };
        let config = format!(
            "{ADMIN}[listeners.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n\
             [[listeners.web.routes]]\ncluster = \"api\"\ntimeout = \"30s\"\n\
             retries = {{ attempts = 2, budget = 1.0, per_try_timeout = \"2s\" }}\n\
             [clusters.api]\nprotocol = \"{agreed}\"\n{trust}\
             balance = \"round-robin\"\nendpoints = [{}]\npanic_threshold = 0.5\n\
             health_check = {{ path = \"/healthz\", interval = \"1s\", timeout = \"1s\", \
             unhealthy_after = 2, healthy_after = 2 }}\n\
             outlier_detection = {{ consecutive_failures = 5, ejection_time = \"300ms\", \
             max_ejection_time = \"600ms\" }}\n",
            addresses.join(", ")
        );
        write(&folder.path().join("bs9.toml"), &config);
        let data_plane = DataPlane::serve_in(folder, "bs9.toml");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let admin = DataPlaneClient::unix(&data_plane.running.socket);
        Self { speech, endpoints, books, data_plane, admin, runtime }
    }

    fn status(&self, number: usize) -> EndpointStatus {
        let status = self.runtime.block_on(self.admin.status()).unwrap();
        let address = self.endpoints[number].address.to_string();
        let mut all = status.clusters.into_iter().flat_map(|cluster| cluster.endpoints);
        all.find(|one| one.address == address).unwrap()
    }

    /// Waits until the fault has been met, as the data plane sees it.
    fn wait_until_met(&self, number: usize, fault: Fault, before: &EndpointStatus) {
        let endpoint = &self.endpoints[number];
        let hits = endpoint.hits();
        eventually(&format!("{fault:?} is met"), || {
            let met = match fault {
                Fault::Killed => {
                    let now = self.status(number);
                    now.connect_failures_total > before.connect_failures_total
                        && now.health == EndpointHealth::Unhealthy
                }
                Fault::Stalled => {
                    endpoint.hits() > hits
                        && self.status(number).health == EndpointHealth::Unhealthy
                }
                _ => endpoint.hits() >= hits + HITS,
            };
            met.then_some(())
        });
    }

    /// Waits until an endpoint that is whole again is used again, and nobody suffers any more.
    fn wait_until_well(&self, number: usize, clients: &Clients) {
        let served = self.endpoints[number].served();
        eventually("what is whole again is used again", || {
            let now = self.status(number);
            let available = now.health == EndpointHealth::Healthy && !now.ejected;
            (available && self.endpoints[number].served() >= served + HITS).then_some(())
        });
        let mut before = clients.tally();
        eventually("nobody suffers any more", || {
            let now = clients.tally();
            if now.failed() != before.failed() {
                before = now;
                return None;
            }
            (now.right >= before.right + QUIET).then_some(())
        });
    }

    /// A GET whose endpoint fails before a byte of its answer is asked elsewhere; nobody notices.
    fn expect_no_more_than_needed(&self, fault: Fault, suffered: &Tally, clients: &Clients) {
        if matches!(fault, Fault::Killed | Fault::Reset | Fault::Stalled) {
            assert_eq!(suffered.failed_gets, 0, "{fault:?}: {suffered:?}");
        }
        if fault == Fault::Extra {
            self.expect_what_was_right(suffered, clients);
        }
    }

    /// What is too much costs nobody the answer before it. By HTTP/1.1 that was all there was on the connection; by
    /// HTTP/2, a stream that nobody opened is an error of the whole connection (RFC 9113 section 5.1.1), and what else
    /// is under way on it ends (section 5.4.1).
    fn expect_what_was_right(&self, suffered: &Tally, clients: &Clients) {
        let given = self.books.given();
        assert!(!given.is_empty(), "somebody was answered rightly, and more");
        let mut lost = clients.failed();
        lost.retain(|id| given.contains(id));
        assert!(lost.is_empty(), "answered, and failed all the same: {lost:?}");
        if !self.speech.is_http2() {
            assert_eq!(suffered.failed(), 0, "{suffered:?}");
        }
    }
}

fn fail_in_every_way(speech: Speech) {
    let house = House::open(speech);
    let clients = Clients::start(house.data_plane.running.address("web"), 8, &house.books);
    house.wait_until_well(0, &clients);
    for (turn, fault) in Fault::ALL.into_iter().enumerate() {
        let number = turn % house.endpoints.len();
        let (before, tally) = (house.status(number), clients.tally());
        house.endpoints[number].fail_by(fault);
        house.wait_until_met(number, fault, &before);
        house.endpoints[number].heal();
        house.wait_until_well(number, &clients);
        let suffered = clients.tally().since(&tally);
        println!("{speech:?}, {fault:?}: {suffered:?}");
        house.expect_no_more_than_needed(fault, &suffered, &clients);
    }
    let (tally, wrong) = clients.stop();
    assert!(wrong.is_empty(), "{} wrong answers: {:#?}", wrong.len(), &wrong[..wrong.len().min(9)]);
    assert!(tally.right > 3_000, "{tally:?}");
    let books = &house.books;
    assert_eq!(books.corrupt(), Vec::<String>::new(), "what an endpoint was sent is whole");
    let twice: Vec<_> = books.posts().into_iter().filter(|(_, times)| *times > 1).collect();
    assert!(twice.is_empty(), "sent more than once: {twice:?}");
}

#[test]
fn faulty_endpoints_cost_nobody_a_wrong_byte() {
    fail_in_every_way(Speech::Http1);
}

#[test]
fn faulty_endpoints_with_tls_cost_nobody_a_wrong_byte() {
    fail_in_every_way(Speech::Http1Tls);
}

#[test]
fn faulty_endpoints_of_http2_cost_nobody_a_wrong_byte() {
    fail_in_every_way(Speech::Http2);
}

#[test]
fn faulty_endpoints_of_http2_with_tls_cost_nobody_a_wrong_byte() {
    fail_in_every_way(Speech::Http2Tls);
}
