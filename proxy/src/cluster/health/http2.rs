//! A probe by HTTP/2.

use std::{io, pin::pin, sync::Arc};

use bs9_config::Expectation;
use bytes::Bytes;
use h2::{RecvStream, client};
use http::{HeaderName, HeaderValue, Request, header};
use memchr::memmem;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    http::{MAX_BODY_BYTES, judge},
    probe::ProbeFailure,
};

/// Asks `scheme://authority` for `path` and judges the answer.
pub(super) async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    (scheme, authority, path): (&str, &str, &str),
    headers: &[(Arc<str>, Arc<str>)],
    expected: &Expectation,
) -> Result<(), ProbeFailure> {
    let request = request(&format!("{scheme}://{authority}{path}"), headers)?;
    let (requests, connection) = client::handshake(stream).await?;
    let mut connection = pin!(connection);
    let mut asked = pin!(converse(requests, request, expected));
    // The connection is driven for as long as the answer takes.
    tokio::select! {
        answered = &mut asked => answered,
        ended = &mut connection => match ended {
            Ok(()) => Err(ProbeFailure::Closed),
            Err(error) => Err(error.into()),
        },
    }
}

fn request(uri: &str, headers: &[(Arc<str>, Arc<str>)]) -> io::Result<Request<()>> {
    let invalid = |error: http::Error| io::Error::new(io::ErrorKind::InvalidInput, error);
    let mut request = Request::get(uri)
        .header(header::USER_AGENT, "bs9-health-check")
        .header(header::ACCEPT, "*/*")
        .body(())
        .map_err(invalid)?;
    for (name, value) in headers {
        let name =
            HeaderName::from_bytes(name.as_bytes()).map_err(|error| invalid(error.into()))?;
        let value = HeaderValue::from_str(value).map_err(|error| invalid(error.into()))?;
        request.headers_mut().insert(name, value);
    }
    Ok(request)
}

async fn converse(
    requests: client::SendRequest<Bytes>,
    request: Request<()>,
    expected: &Expectation,
) -> Result<(), ProbeFailure> {
    let (response, _) = requests.ready().await?.send_request(request, true)?;
    let response = response.await?;
    judge(response.status().as_u16(), expected, |name, value| {
        response.headers().get_all(name).iter().any(|is| is.as_bytes() == value)
    })?;
    match &expected.body {
        Some(wanted) => find(response.into_body(), wanted.as_bytes()).await,
        None => Ok(()),
    }
}

/// Reads on until the body holds `wanted`.
async fn find(mut stream: RecvStream, wanted: &[u8]) -> Result<(), ProbeFailure> {
    let mut body = Vec::new();
    while let Some(part) = stream.data().await {
        let part = part?;
        stream.flow_control().release_capacity(part.len())?;
        body.extend_from_slice(&part);
        body.truncate(MAX_BODY_BYTES);
        if memmem::find(&body, wanted).is_some() {
            return Ok(());
        }
        if body.len() >= MAX_BODY_BYTES {
            break;
        }
    }
    Err(ProbeFailure::Body)
}
