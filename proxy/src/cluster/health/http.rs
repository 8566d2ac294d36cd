//! A probe by HTTP/1.1.

use std::sync::Arc;

use bs9_config::Expectation;
use memchr::memmem;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::probe::ProbeFailure;
use crate::http1::{BodyReader, HeadLimits, HeaderStorage, Parsed, ResponseTo, parse_response};

/// Bytes of a response head that are read at most.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Bytes of a response body that are looked at.
pub(super) const MAX_BODY_BYTES: usize = 64 * 1024;

/// Asks for `path` and judges the answer.
pub(super) async fn ask(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    path: &str,
    host: &str,
    headers: &[(Arc<str>, Arc<str>)],
    expected: &Expectation,
) -> Result<(), ProbeFailure> {
    let mut request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n");
    let usual = [("User-Agent", "bs9-health-check"), ("Accept", "*/*")];
    let given = |name: &str| headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
    let usual = usual.into_iter().filter(|(name, _)| !given(name));
    for (name, value) in usual.chain(headers.iter().map(|(name, value)| (&**name, &**value))) {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let (received, body) = read_head(&mut stream, expected).await?;
    match &expected.body {
        Some(wanted) => find(&mut stream, received, body, wanted.as_bytes()).await,
        None => Ok(()),
    }
}

/// Reads and judges the head of the first response that is not an interim one. Gives what came
/// behind it.
async fn read_head(
    stream: &mut (impl AsyncRead + Unpin),
    expected: &Expectation,
) -> Result<(Vec<u8>, BodyReader), ProbeFailure> {
    let limits = HeadLimits { max_head_bytes: MAX_HEAD_BYTES, ..HeadLimits::default() };
    let mut received = Vec::with_capacity(1024);
    loop {
        let mut storage = HeaderStorage::new();
        let parsed = parse_response(&received, &limits, ResponseTo::default(), &mut storage)?;
        if let Parsed::Complete(head) = parsed {
            let (head_len, interim) = (head.head_len, head.is_interim());
            let body = BodyReader::from(head.framing);
            if !interim {
                judge(head.status, expected, |name, value| {
                    let mut fields = head.headers();
                    fields.any(|(found, is)| found.eq_ignore_ascii_case(name) && is == value)
                })?;
            }
            received.drain(..head_len);
            if interim {
                continue;
            }
            return Ok((received, body));
        }
        if stream.read_buf(&mut received).await? == 0 {
            return Err(ProbeFailure::Closed);
        }
    }
}

/// Judges an answer's status, and its fields by whether it `has` them.
pub(super) fn judge(
    status: u16,
    expected: &Expectation,
    has: impl Fn(&str, &[u8]) -> bool,
) -> Result<(), ProbeFailure> {
    if !expected.statuses.iter().any(|range| range.contains(status)) {
        return Err(ProbeFailure::Status(status));
    }
    match expected.headers.iter().find(|(name, value)| !has(name, value.as_bytes())) {
        Some((name, _)) => Err(ProbeFailure::Header(Arc::clone(name))),
        None => Ok(()),
    }
}

/// Reads on until the body holds `wanted`.
async fn find(
    stream: &mut (impl AsyncRead + Unpin),
    mut received: Vec<u8>,
    mut reader: BodyReader,
    wanted: &[u8],
) -> Result<(), ProbeFailure> {
    let mut body = Vec::new();
    loop {
        let (taken, ended) =
            reader.advance_decoding(&received, |span| body.extend_from_slice(span))?;
        received.drain(..taken);
        body.truncate(MAX_BODY_BYTES);
        if memmem::find(&body, wanted).is_some() {
            return Ok(());
        }
        if ended || reader.is_done() || body.len() >= MAX_BODY_BYTES {
            return Err(ProbeFailure::Body);
        }
        if stream.read_buf(&mut received).await? == 0 {
            return Err(ProbeFailure::Body);
        }
    }
}
