//! A probe by `grpc.health.v1.Health/Check`
//! (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>).

use std::{future::poll_fn, pin::pin};

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::{RecvStream, client};
use http::{HeaderMap, Method, Request, header};
use tokio::io::{AsyncRead, AsyncWrite};

use super::probe::ProbeFailure;

/// Bytes of an answer: a few, and room for what later versions may add.
const MAX_ANSWER_BYTES: usize = 4 * 1024;

/// Asks whether `service` serves.
pub(super) async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    scheme: &str,
    authority: &str,
    service: &str,
) -> Result<(), ProbeFailure> {
    let (requests, connection) = client::handshake(stream).await?;
    let mut connection = pin!(connection);
    let mut asked = pin!(converse(requests, scheme, authority, service));
    // The connection is driven for as long as the answer takes.
    tokio::select! {
        answered = &mut asked => answered,
        ended = &mut connection => match ended {
            Ok(()) => Err(ProbeFailure::Closed),
            Err(error) => Err(error.into()),
        },
    }
}

async fn converse(
    requests: client::SendRequest<Bytes>,
    scheme: &str,
    authority: &str,
    service: &str,
) -> Result<(), ProbeFailure> {
    let mut requests = requests.ready().await?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("{scheme}://{authority}/grpc.health.v1.Health/Check"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, "bs9-health-check")
        .body(())
        .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidInput, error))?;
    let (response, mut body) = requests.send_request(request, false)?;
    body.send_data(question(service), true)?;
    let (head, mut answer) = response.await?.into_parts();
    if !head.status.is_success() {
        return Err(ProbeFailure::Status(head.status.as_u16()));
    }
    // An answer without a message says its status at once.
    check_status(&head.headers)?;
    let message = read(&mut answer).await?;
    check_status(&poll_fn(|cx| answer.poll_trailers(cx)).await?.unwrap_or_default())?;
    match serving_status(&message).ok_or(ProbeFailure::NotHealth)? {
        1 => Ok(()),
        2 => Err(ProbeFailure::NotServing("NOT_SERVING")),
        3 => Err(ProbeFailure::NotServing("SERVICE_UNKNOWN")),
        _ => Err(ProbeFailure::NotServing("UNKNOWN")),
    }
}

/// `HealthCheckRequest { service }`, framed.
fn question(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        // Field 1, a string; the configuration allows it no more than fits one byte of length.
        message.put_u8(0x0A);
        message.put_u8(service.len() as u8);
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.put_slice(&message);
    framed.freeze()
}

fn check_status(fields: &HeaderMap) -> Result<(), ProbeFailure> {
    match fields.get("grpc-status").map(|status| status.as_bytes()) {
        None | Some(b"0") => Ok(()),
        Some(status) => Err(ProbeFailure::GrpcStatus(String::from_utf8_lossy(status).into_owned())),
    }
}

async fn read(answer: &mut RecvStream) -> Result<Vec<u8>, ProbeFailure> {
    let mut message = Vec::new();
    while let Some(part) = poll_fn(|cx| answer.poll_data(cx)).await {
        let part = part?;
        answer.flow_control().release_capacity(part.len())?;
        message.extend_from_slice(&part);
        if message.len() > MAX_ANSWER_BYTES {
            return Err(ProbeFailure::NotHealth);
        }
    }
    Ok(message)
}

/// `status` of a framed `HealthCheckResponse`; absent fields are 0 in protobuf.
fn serving_status(framed: &[u8]) -> Option<u64> {
    let (prefix, mut message) = framed.split_at_checked(5)?;
    let [compressed, length @ ..] = prefix else { return None };
    let length = u32::from_be_bytes(length.try_into().ok()?);
    if *compressed != 0 || message.len() != usize::try_from(length).ok()? {
        return None;
    }
    let mut status = 0;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        match key & 7 {
            0 => {
                let value = varint(&mut message)?;
                if key >> 3 == 1 {
                    status = value;
                }
            }
            1 => message = message.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            5 => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

/// A base-128 varint at the start of `bytes`, which is moved behind it.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_is_protobuf_behind_a_prefix() {
        assert_eq!(&question("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&question("ab")[..], [0, 0, 0, 0, 4, 0x0A, 2, b'a', b'b']);
    }

    #[test]
    fn the_answer_is_read_and_nothing_else_passes_for_one() {
        assert_eq!(serving_status(&[0, 0, 0, 0, 2, 8, 1]), Some(1));
        assert_eq!(serving_status(&[0, 0, 0, 0, 0]), Some(0));
        // With fields of a later version before and behind it.
        assert_eq!(serving_status(&[0, 0, 0, 0, 8, 0x12, 1, 9, 8, 2, 0x18, 0x80, 1]), Some(2));
        let wrong: [&[u8]; 7] = [
            &[],
            &[0, 0, 0, 0],
            &[1, 0, 0, 0, 2, 8, 1],
            &[0, 0, 0, 0, 3, 8, 1],
            &[0, 0, 0, 0, 1, 8],
            &[0, 0, 0, 0, 2, 0x12, 9],
            &[0, 0, 0, 0, 2, 0x0B, 1],
        ];
        for bytes in wrong {
            assert_eq!(serving_status(bytes), None, "{bytes:?}");
        }
    }
}
