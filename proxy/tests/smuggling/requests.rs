//! Requests of HTTP/1.x by what they try.

mod chunked;
mod codings;
mod connections;
mod hosts;
mod lengths;
mod lines;
mod pipelines;
mod targets;

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use bs9_config::BindAddress;

use crate::{
    book::Row,
    case::{Case, shown},
    conversation::{Delivery, hold, probe},
    fixture::{Proxy, Site},
    strict_origin::StrictOrigin,
    wire::PATIENCE,
};

/// Every case, in the order of the book.
pub(crate) fn all() -> Vec<Case> {
    [
        lengths::cases(),
        codings::cases(),
        chunked::cases(),
        lines::cases(),
        targets::cases(),
        hosts::cases(),
        connections::cases(),
        pipelines::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// How peers are set up, too: `/fixed` is answered without an endpoint, a request with `X-Nowhere` has no route, and
/// bodies end at 64 KiB.
pub(crate) fn site(endpoint: SocketAddr) -> Proxy {
    Site {
        listener: "max_body_size = \"64KiB\"",
        route: "headers = { x-nowhere = false }\n\
                [[listeners.web.routes]]\npath = \"/fixed\"\nrespond = { status = 403 }\n\
                headers = { x-nowhere = false }",
        ..Site::of([endpoint])
    }
    .start()
}

pub(crate) fn address(proxy: &Proxy) -> SocketAddr {
    match proxy.address("web") {
        BindAddress::Tcp(address) => address,
        BindAddress::Unix(path) => panic!("a TCP address: {}", path.display()),
    }
}

/// What whoever listens at `address` makes of a case, and what is wrong with that beyond the verdict.
pub(crate) fn judged(
    origin: &StrictOrigin,
    address: SocketAddr,
    case: &Case,
    delivery: Delivery,
    patience: Duration,
) -> (String, Vec<String>) {
    let heard = hold(address, case, delivery, patience);
    let (seen, faults) = (origin.take_requests(), origin.take_faults());
    let mut wrong: Vec<String> =
        faults.into_iter().map(|fault| format!("the origin was sent {fault}")).collect();
    let numbers: Vec<_> = seen.iter().map(|seen| seen.number).collect();
    if heard.numbers() != numbers {
        wrong.push(format!("answers {:?}, but the origin answered {seen:?}", heard.told));
    }
    let smuggled = |text: &str| text.split(' ').any(|word| word == "/smuggled");
    wrong.extend(seen.iter().filter(|seen| smuggled(&seen.summary)).map(|_| "smuggled".to_owned()));
    let after = probe(address, patience);
    if after.verdict() != "GET /probe" || origin.take_requests().len() != 1 {
        wrong.push(format!("the next client is told {:?}", after.verdict()));
    }
    (heard.verdict(), wrong)
}

fn expect_verdicts(name: &str, origin: &StrictOrigin, address: SocketAddr, delivery: Delivery) {
    let mut wrong = Vec::new();
    for case in all() {
        let (found, more) = judged(origin, address, &case, delivery, PATIENCE);
        let input = shown(&case.input, 300);
        if found != case.verdict {
            wrong.push(format!(
                "RFC {} {}: {found:?} instead of {:?}: {input}",
                case.section, case.what, case.verdict
            ));
        }
        wrong.extend(more.into_iter().map(|more| format!("{}: {more}: {input}", case.what)));
    }
    assert!(wrong.is_empty(), "{name}: {} of {}: {wrong:#?}", wrong.len(), all().len());
}

#[test]
fn every_input_is_refused_or_has_one_reading() {
    let origin = StrictOrigin::start();
    let proxy = site(origin.address);
    expect_verdicts("at once", &origin, address(&proxy), Delivery::AtOnce);
    drop(proxy);
    origin.expect_one_reading();
}

#[test]
fn how_the_bytes_arrive_changes_no_verdict() {
    let origin = StrictOrigin::start();
    let proxy = site(origin.address);
    expect_verdicts("in pieces", &origin, address(&proxy), Delivery::InPieces);
    drop(proxy);
    origin.expect_one_reading();
}

#[test]
fn two_hops_agree() {
    let origin = StrictOrigin::start();
    let inner = site(origin.address);
    let outer = site(address(&inner));
    expect_verdicts("two hops", &origin, address(&outer), Delivery::AtOnce);
    // What the outer one sent, the inner one never refused.
    let refused: Vec<_> = inner.failures().into_iter().collect();
    let known = ["client_gone"];
    assert!(
        refused.iter().all(|(reason, _)| known.contains(&reason.as_str())),
        "the inner proxy refused what the outer one had passed on: {refused:?}"
    );
    drop(outer);
    drop(inner);
    origin.expect_one_reading();
}

/// Rows of the book: what bs9 makes of each case.
pub(crate) fn rows() -> Vec<Row> {
    let row = |case: &Case| Row {
        section: case.section,
        what: case.what.clone(),
        input: shown(&case.input, 400),
        bs9: case.verdict.to_owned(),
    };
    all().iter().map(row).collect()
}

#[test]
fn there_are_enough_cases_and_each_is_there_once() {
    let (mut inputs, cases) = (BTreeMap::new(), all());
    for case in &cases {
        let before = inputs.insert((&case.input, case.ends), &case.what);
        assert_eq!(before, None, "{:?} is there twice", case.what);
    }
    assert!(cases.len() >= 150, "{}", cases.len());
}
