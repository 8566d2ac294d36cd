//! Endpoints that answer what is no answer, more than one, or half of one. Whoever asked is told so or cut off; nobody
//! else ever gets a byte of it.

mod cases;
mod origin;

use std::net::SocketAddr;

use crate::{
    fixture::{Proxy, Site, eventually},
    requests::address,
    responses::origin::HostileOrigin,
    wire::{Message, Wire},
};

/// How the client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Get,
    Head,
    Post,
    /// A large body, of which the client sends a part.
    HalfAPost,
    /// For a WebSocket.
    Upgrade,
    Old,
}

/// What the endpoint does with its connection after its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// Goes on answering rightly.
    GoOn,
    Close,
    Reset,
}

/// An answer, byte for byte.
#[derive(Debug, Clone)]
pub(super) struct Attack {
    pub(super) section: &'static str,
    pub(super) what: &'static str,
    pub(super) ask: Ask,
    pub(super) answer: Vec<u8>,
    /// Sent when the client has had its answer.
    pub(super) late: Option<&'static [u8]>,
    pub(super) after: After,
    /// What the client gets, and whether its upstream connection is used again.
    pub(super) verdict: &'static str,
}

impl Ask {
    fn bytes(self) -> String {
        let (line, lines) = match self {
            Self::Get => ("GET /attack HTTP/1.1", ""),
            Self::Head => ("HEAD /attack HTTP/1.1", ""),
            Self::Post => ("POST /attack HTTP/1.1", "Content-Length: 5\r\n\r\nhello"),
            Self::HalfAPost => ("POST /attack HTTP/1.1", "Content-Length: 50000\r\n\r\nhello"),
            Self::Upgrade => {
                ("GET /attack HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\n")
            }
            Self::Old => ("GET /attack HTTP/1.0", ""),
        };
        let end = if lines.contains("\r\n\r\n") { "" } else { "\r\n" };
        format!("{line}\r\nHost: site.test\r\n{lines}{end}")
    }
}

/// What the client of an attack got.
fn outcome(client: &mut Wire, ask: Ask) -> String {
    let mut parts = Vec::new();
    loop {
        let head = match client.try_head() {
            Ok(Some(head)) => head,
            Ok(None) => {
                parts.push("closed".to_owned());
                return parts.join(" ");
            }
            Err(_) => {
                parts.push("half a head".to_owned());
                return parts.join(" ");
            }
        };
        let message = Message { head, body: Vec::new() };
        let status = message.status();
        parts.push(status.to_string());
        if (100..200).contains(&status) && status != 101 {
            continue;
        }
        let ours = status == 502;
        if matches!(status, 101 | 204 | 304) || ask == Ask::Head || ours {
            if ours && ask != Ask::Head {
                client.body(&message.head).expect("a whole answer of our own");
            }
            break;
        }
        let body = match client.body(&message.head) {
            Ok(None) => client.try_rest(),
            Ok(Some(body)) => Ok(body),
            Err(error) => Err(error),
        };
        parts.push(match body {
            Ok(body) if body.len() > 60 => format!("({} bytes)", body.len()),
            Ok(body) => format!("({})", crate::case::escaped(&body)),
            Err(_) => "cut".to_owned(),
        });
        break;
    }
    // A storm is shown by its end.
    let interim = parts.iter().take_while(|part| part.starts_with('1') && *part != "101").count();
    if interim > 3 {
        parts.splice(..interim, [format!("{interim} interim")]);
    }
    parts.join(" ")
}

/// Asks for something of its own and checks that it gets that, to the byte, and nothing behind it.
fn ask_for_its_own(address: SocketAddr, number: usize) -> Result<(), String> {
    let mut victim = Wire::connect_tcp(address, None);
    let request =
        format!("GET /mine/{number} HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n");
    victim.send(request);
    let answer = victim.try_rest().map_err(|error| format!("client {number}: {error}"))?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let body = format!("this is {number}");
    let right = text.starts_with("HTTP/1.1 200 OK\r\n")
        && text.split_once("\r\n\r\n").is_some_and(|(_, rest)| rest == body);
    if right { Ok(()) } else { Err(format!("client {number} was told {text:?}")) }
}

/// Likewise, on the attacked client's own connection, if that is still open.
fn goes_on_rightly(client: &mut Wire, number: usize) -> Result<(), String> {
    let request = format!("GET /mine/{number} HTTP/1.1\r\nHost: site.test\r\n\r\n");
    if client.try_send(request).is_err() {
        return Ok(());
    }
    match client.try_response() {
        Ok(answer) if answer.status() == 200 && answer.text() == format!("this is {number}") => {
            Ok(())
        }
        Ok(answer) => Err(format!("its own connection went on with {answer:?}")),
        Err(_) => Ok(()),
    }
}

fn suffer(origin: &HostileOrigin, proxy: &Proxy, attack: &Attack, number: usize) -> Vec<String> {
    let address = address(proxy);
    let mut wrong = Vec::new();
    let mut expect_right = |result: Result<(), String>| wrong.extend(result.err());
    // An upstream connection is there already, so that what is kept of the attack would be met.
    expect_right(ask_for_its_own(address, number));
    origin.arm(attack);
    let mut client = Wire::connect_tcp(address, None);
    client.send(attack.ask.bytes());
    let mut found = outcome(&mut client, attack.ask);
    origin.go_on();
    let attacked = origin.attacked_connection();
    if !matches!(attack.ask, Ask::Upgrade | Ask::HalfAPost) || found.starts_with('5') {
        expect_right(goes_on_rightly(&mut client, number + 1));
    }
    // A tunnel, or an upload under way, ends with its client.
    drop(client);
    for victim in 2..5 {
        expect_right(ask_for_its_own(address, number + victim));
    }
    let kept = origin.answered_on(attacked) > 0;
    found.push_str(if kept { ", kept" } else { ", dropped" });
    if found != attack.verdict {
        wrong.push(format!("{found:?} instead of {:?}", attack.verdict));
    }
    if attack.ask == Ask::Post && origin.attacks() != 1 {
        wrong.push(format!("a POST was sent {} times", origin.attacks()));
    }
    wrong
}

#[test]
fn no_client_gets_a_byte_of_anothers_answer() {
    let origin = HostileOrigin::start();
    let proxy = Site::of([origin.address]).start();
    let mut wrong = Vec::new();
    for (number, attack) in cases::all().iter().enumerate() {
        let found = suffer(&origin, &proxy, attack, number * 10);
        let (section, what) = (attack.section, attack.what);
        wrong.extend(found.into_iter().map(|found| format!("RFC {section} {what}: {found}")));
    }
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), cases::all().len());
    eventually("nothing is open", || proxy.open_connections() == 0);
}

#[test]
fn two_hops_keep_a_hostile_answer_from_everybody() {
    let origin = HostileOrigin::start();
    let inner = Site::of([origin.address]).start();
    let outer = Site::of([address(&inner)]).start();
    let mut wrong = Vec::new();
    // What is asked for in HTTP/1.0 is asked for in HTTP/1.1 behind the first hop.
    let attacks = cases::all().into_iter().filter(|attack| attack.ask != Ask::Old);
    for (number, attack) in attacks.enumerate() {
        let found = suffer(&origin, &outer, &attack, number * 10);
        wrong.extend(found.into_iter().map(|found| format!("{}: {found}", attack.what)));
    }
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), cases::all().len());
    // The inner one sends nothing that the outer one has to refuse.
    let failures = outer.failures();
    for reason in ["bad_response", "upstream_excess"] {
        assert!(!failures.contains_key(reason), "{failures:?}");
    }
}

#[test]
fn there_are_enough_attacks() {
    assert!(cases::all().len() >= 40, "{}", cases::all().len());
}
