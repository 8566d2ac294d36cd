//! One request and its answer, on a connection of its own.

use std::io;

use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

use super::{ANSWER_LIMIT_BYTES, Call, ClientError, EventFollower, ServerAddress};
use crate::types::Problem;

/// Sends `call` and returns the body of a good answer.
pub(super) async fn exchange(address: &ServerAddress, call: Call) -> Result<Vec<u8>, ClientError> {
    let (stream, request) = connect(address, call).await?;
    let (status, body) = speak(stream, request).await?;
    if status.is_success() { Ok(body) } else { Err(refusal(status, &body)) }
}

/// Sends `call` and returns what follows the head of a good answer, as it comes.
pub(super) async fn open(
    address: &ServerAddress,
    call: Call,
) -> Result<EventFollower, ClientError> {
    let lost = |error| ClientError::protocol("the connection was lost", error);
    let (stream, request) = connect(address, call).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
    let mut connection = Box::pin(async move {
        // Its error, if any, comes out of the body too.
        let _ = connection.await;
    });
    let response = tokio::select! {
        biased;
        response = sender.send_request(request) => response.map_err(lost)?,
        () = &mut connection => {
            return Err(ClientError::Protocol { what: "the connection was lost".to_owned(), source: None });
        }
    };
    if response.status().is_success() {
        return Ok(EventFollower::new(connection, response.into_body()));
    }
    let status = response.status();
    let (body, ()) = tokio::join!(read(response.into_body()), connection);
    Err(refusal(status, &body?))
}

/// A stream of either kind.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

async fn connect(
    address: &ServerAddress,
    call: Call,
) -> Result<(Box<dyn Stream>, Request<Full<Bytes>>), ClientError> {
    match address {
        ServerAddress::Unix(path) => {
            let request = call.into_request("localhost", None)?;
            let stream =
                UnixStream::connect(path).await.map_err(|error| not_connected(address, error))?;
            Ok((Box::new(stream), request))
        }
        ServerAddress::Tcp { address: to, token, .. } => {
            let authorization = token.as_ref().map(authorization).transpose()?;
            let request = call.into_request(&to.to_string(), authorization)?;
            let stream =
                TcpStream::connect(to).await.map_err(|error| not_connected(address, error))?;
            Ok((Box::new(stream), request))
        }
    }
}

fn authorization(token: &bs9_config::Secret) -> Result<HeaderValue, ClientError> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.reveal()))
        .map_err(|error| ClientError::protocol("the token does not fit in a header", error))?;
    value.set_sensitive(true);
    Ok(value)
}

fn not_connected(address: &ServerAddress, error: io::Error) -> ClientError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            ClientError::NotRunning { address: address.to_string(), source: error }
        }
        io::ErrorKind::PermissionDenied => {
            ClientError::Denied { message: format!("{address} may not be opened by this user") }
        }
        _ => ClientError::protocol(format!("cannot connect to {address}"), error),
    }
}

/// Drives connection and exchange together, so that nothing is left running
/// when the caller loses interest.
async fn speak<S>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Vec<u8>), ClientError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| ClientError::protocol("the connection was lost", error))?;
    let exchange = async move {
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| ClientError::protocol("the connection was lost", error))?;
        let status = response.status();
        Ok((status, read(response.into_body()).await?))
    };
    tokio::pin!(exchange, connection);
    let mut open = true;
    loop {
        tokio::select! {
            biased;
            result = &mut exchange => return result,
            // Its error, if any, comes out of the exchange too.
            _ = &mut connection, if open => open = false,
        }
    }
}

async fn read(body: Incoming) -> Result<Vec<u8>, ClientError> {
    let body = Limited::new(body, ANSWER_LIMIT_BYTES)
        .collect()
        .await
        .map_err(|error| ClientError::protocol("the answer cannot be read", error))?;
    Ok(body.to_bytes().into())
}

fn refusal(status: StatusCode, body: &[u8]) -> ClientError {
    let Ok(problem) = serde_json::from_slice::<Problem>(body) else {
        return ClientError::Protocol {
            what: format!("answered {status}, and not in the way of this API"),
            source: None,
        };
    };
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            ClientError::Denied { message: problem.message }
        }
        StatusCode::NOT_FOUND => ClientError::NotFound { message: problem.message },
        _ => ClientError::Problem { status: status.as_u16(), problem },
    }
}
