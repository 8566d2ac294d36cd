//! Clients that go away while their endpoint is silent.

use std::sync::mpsc;

use crate::{
    fixture::{Site, eventually},
    origin::Origin,
    wire::{Wire, get, ok, post},
};

/// An endpoint that says nothing, and tells when its connection has ended.
fn silent() -> (Origin, mpsc::Receiver<()>) {
    let (ended, end) = mpsc::channel();
    let origin = Origin::scripted(move |connection, mut wire, log| {
        let Ok(Some(request)) = wire.try_request() else { return };
        log.push(connection, &request);
        let _however = wire.try_rest();
        let _nobody_asks = ended.send(());
    });
    (origin, end)
}

fn leave(how: fn(Wire), request: &str) {
    let (origin, end) = silent();
    // Longer than the test has patience: only the client's leaving can end it.
    let proxy = Site { route: "timeout = \"1h\"", ..Site::of([origin.address()]) }.start();
    let mut client = proxy.web();
    client.send(request);
    eventually("the request is under way", || origin.requests().len() == 1);
    how(client);
    end.recv_timeout(crate::wire::PATIENCE).expect("the endpoint is told");
    eventually("nothing is open", || proxy.open_connections() == 0);
    eventually("it is counted", || proxy.failures().get("client_gone") == Some(&1));
    assert_eq!(proxy.endpoint(origin.address()).active, 0);
    assert_eq!(origin.requests().len(), 1, "nobody else is asked");
}

#[test]
fn a_client_that_closes_ends_its_request() {
    leave(drop, &get("/"));
    leave(drop, &post("/", "with a body"));
}

#[test]
fn a_client_that_resets_ends_its_request() {
    leave(Wire::reset, &get("/"));
    leave(Wire::reset, &post("/", "with a body"));
}

#[test]
fn a_client_that_has_only_finished_asking_still_gets_an_answer_that_comes_soon() {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::answering(move |_| {
        wait.lock().unwrap().recv_timeout(crate::wire::PATIENCE).unwrap();
        ok("an answer")
    });
    let proxy = Site::of([origin.address()]).start();
    let mut client = proxy.web();
    client.send(get("/"));
    eventually("the request is under way", || origin.requests().len() == 1);
    client.finish();
    go_on.send(()).unwrap();
    assert_eq!(client.response().text(), "an answer");
}

#[test]
fn requests_that_wait_behind_another_are_no_departure() {
    let origin = Origin::answering(|request| ok(request.target()));
    let proxy = Site::of([origin.address()]).start();
    let mut client = proxy.web();
    client.send(format!("{}{}{}", get("/1"), get("/2"), get("/3")));
    client.finish();
    for number in 1..=3 {
        assert_eq!(client.response().text(), format!("/{number}"));
    }
}
