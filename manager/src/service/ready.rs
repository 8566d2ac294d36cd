//! Waiting until an instance is ready, or will not be.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use bs9_config::{ReadySign, Service};
use jiff::Timestamp;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{self, Instant},
};

use super::{ServiceError, journal};
use crate::{
    systemd::{Systemd, UnitState, Verb},
    unit::unit_name,
};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// One probe.
const PROBE_LIMIT: Duration = Duration::from_secs(2);
/// Bytes of an answer that are looked at.
const HEAD_BYTES: usize = 64;
/// Lines of its log that are told when it fails.
const LOG_LINES: u32 = 5;

/// Starts (or restarts) an instance and waits until it is ready.
///
/// # Errors
/// [`ServiceError::NotReady`] with the reason and the last of what it wrote. It is
/// left to systemd, which may go on trying.
pub(super) async fn start(
    systemd: &Systemd,
    service: &Service,
    instance: u32,
    verb: Verb,
) -> Result<(), ServiceError> {
    let unit = unit_name(&service.name, instance);
    systemd.reset_failed(&unit).await?;
    let deadline = Instant::now() + service.ready.timeout;
    let begun = Timestamp::now();
    let started = match systemd.job(verb, &unit).await {
        Ok(()) => until_ready(systemd, service, instance, &unit, deadline).await,
        Err(error) => Err(NotReady::Ended(error.to_string())),
    };
    let Err(why) = started else { return Ok(()) };
    let reason = match why {
        NotReady::Systemd(error) => return Err(error),
        NotReady::Ended(reason) | NotReady::Late(reason) => reason,
    };
    let state = systemd.state(&unit).await.ok();
    let mut reason = match state.as_ref().and_then(how_it_ended) {
        Some(how) => format!("{reason}; {how}"),
        None => reason,
    };
    let main_pid = state.as_ref().and_then(|state| state.number("ExecMainPID"));
    let words = journal::last_words(service.scope, &unit, begun, main_pid, LOG_LINES);
    for line in words.await {
        reason.push_str("\n  | ");
        reason.push_str(&line);
    }
    Err(ServiceError::NotReady { unit, reason })
}

enum NotReady {
    Systemd(ServiceError),
    Ended(String),
    Late(String),
}

async fn until_ready(
    systemd: &Systemd,
    service: &Service,
    instance: u32,
    unit: &str,
    deadline: Instant,
) -> Result<(), NotReady> {
    let begun = Instant::now();
    let address = service.port_of(instance).map(|port| reachable(service.host, port));
    loop {
        let state = systemd.state(unit).await.map_err(|error| NotReady::Systemd(error.into()))?;
        if !state.is_active() || state.restarts() > 0 {
            return Err(NotReady::Ended("it ended again".to_owned()));
        }
        let sign = match (&service.ready.sign, address) {
            (ReadySign::Http(path), Some(address)) => http(address, path).await,
            (ReadySign::Port, Some(address)) => port(address).await,
            // systemd has waited for its word.
            (ReadySign::Notify, _) => Ok(()),
            (ReadySign::Up(time), _) if begun.elapsed() >= *time => Ok(()),
            (ReadySign::Up(_), _) => Err("it has not been up for long enough".to_owned()),
            (_, None) => Ok(()),
        };
        let Err(reason) = sign else { return Ok(()) };
        if Instant::now() >= deadline {
            let limit = service.ready.timeout.as_secs_f64();
            return Err(NotReady::Late(format!("not within {limit} s: {reason}")));
        }
        time::sleep(LOOK).await;
    }
}

/// Where a service that listens everywhere can be asked.
fn reachable(host: IpAddr, port: u16) -> SocketAddr {
    let host = match host {
        IpAddr::V4(all) if all.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(all) if all.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    };
    SocketAddr::new(host, port)
}

async fn port(address: SocketAddr) -> Result<(), String> {
    match time::timeout(PROBE_LIMIT, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("{address} does not accept connections: {error}")),
        Err(_) => Err(format!("{address} does not accept connections")),
    }
}

/// `GET` with a 2xx or 3xx answer; only the status line is read.
async fn http(address: SocketAddr, path: &str) -> Result<(), String> {
    let status = time::timeout(PROBE_LIMIT, status_of(address, path)).await;
    match status {
        Ok(Ok(200..400)) => Ok(()),
        Ok(Ok(status)) => Err(format!("GET {path} is answered {status}")),
        Ok(Err(error)) => Err(format!("GET {path} from {address}: {error}")),
        Err(_) => Err(format!("GET {path} from {address} is not answered")),
    }
}

async fn status_of(address: SocketAddr, path: &str) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: bs9\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::with_capacity(HEAD_BYTES);
    while head.len() < HEAD_BYTES && !head.contains(&b'\n') {
        let mut part = [0; HEAD_BYTES];
        match stream.read(&mut part).await? {
            0 => break,
            read => head.extend_from_slice(&part[..read]),
        }
    }
    // RFC 9112, section 4: HTTP-version SP status-code.
    let line = String::from_utf8_lossy(&head);
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
    status
        .and_then(|status| status.get(..3)?.parse().ok())
        .ok_or_else(|| std::io::Error::other("the answer is not HTTP"))
}

/// The end of the last run in words.
pub(super) fn how_it_ended(state: &UnitState) -> Option<String> {
    let status = state.number("ExecMainStatus").unwrap_or(0);
    match state.word("Result") {
        "" | "success" => None,
        "exit-code" => Some(match status {
            // systemd.exec(5), "Process Exit Codes".
            200 => "its working folder cannot be entered".to_owned(),
            203 => "the program could not be executed".to_owned(),
            226 => {
                "its sandbox could not be set up; does every path in `writable` exist?".to_owned()
            }
            status => format!("it exited with {status}"),
        }),
        "signal" | "core-dump" => Some(format!("it was killed by signal {status}")),
        "oom-kill" => Some("the kernel killed it for its memory (limits.memory_max)".to_owned()),
        "timeout" => Some("it took too long".to_owned()),
        "start-limit-hit" => Some("it failed too often in a row (restart.attempts)".to_owned()),
        "resources" => Some("systemd could not set it up; see its log".to_owned()),
        other => Some(format!("systemd calls it `{other}`")),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn only_a_good_answer_is_a_sign() {
        let cases = [
            ("HTTP/1.1 200 OK\r\n\r\n", true),
            ("HTTP/1.0 302 Found\r\n\r\n", true),
            ("HTTP/1.1 503 No\r\n\r\n", false),
            ("SSH-2.0-x\r\n", false),
            ("", false),
        ];
        for (answer, good) in cases {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let serve = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 256];
                let read = stream.read(&mut request).await.unwrap();
                assert!(request[..read].starts_with(b"GET /healthz HTTP/1.1\r\n"));
                stream.write_all(answer.as_bytes()).await.unwrap();
            };
            let (result, ()) = tokio::join!(http(address, "/healthz"), serve);
            assert_eq!(result.is_ok(), good, "{answer:?}: {result:?}");
        }
    }
}
