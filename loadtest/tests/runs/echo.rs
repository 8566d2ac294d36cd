//! TCP echo.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use bs9_loadtest::{FailureKind, Options};

use crate::{report, requests, server::Server};

pub(crate) fn echo(mut stream: TcpStream, change: impl Fn(&mut [u8])) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        change(&mut buffer[..count]);
        if stream.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}

#[test]
fn what_is_sent_comes_back() {
    let server = Server::start(|stream| echo(stream, |_| {}));
    let url = format!("tcp://{}", server.address);
    for payload_bytes in [1, 64, 300_000] {
        let options = Options { payload_bytes: Some(payload_bytes), ..requests(20, 3) };
        let report = report(&url, options);
        assert_eq!(report.requests.succeeded, 20, "{report}");
        assert_eq!(report.bytes.sent_bytes, 20 * payload_bytes as u64);
        assert_eq!(report.bytes.received_bytes, 20 * payload_bytes as u64);
        assert_eq!(report.protocol, "tcp");
    }
}

#[test]
fn a_changed_byte_is_noticed() {
    let server = Server::start(|stream| echo(stream, |bytes| bytes[0] ^= 1));
    let report = report(&format!("tcp://{}", server.address), requests(6, 2));
    assert_eq!((report.errors[0].kind, report.errors[0].count), (FailureKind::Body, 6));
    assert_eq!(report.requests.succeeded, 0);
}
