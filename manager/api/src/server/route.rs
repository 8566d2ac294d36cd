//! From a request to the method that answers it, and back.

use std::{error::Error, sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    body::{Body as HttpBody, Bytes},
    extract::{FromRequest, FromRequestParts, Path, Query as UrlQuery, Request},
    handler::Handler,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodFilter, MethodRouter, on},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header, request::Parts};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    Asked, Attempt, BODY_LIMIT_BYTES, BODY_TIMEOUT, Caller, EventFeed, Witness,
    access::{Door, Refusal},
    strict,
};
use crate::{
    endpoints::{Answer, ContentKind, Endpoint},
    error::{ApiError, ProblemCode},
};

/// `handler` behind the access check of `endpoint`.
pub(crate) fn guarded<H, T>(endpoint: &'static Endpoint, handler: H) -> MethodRouter
where
    H: Handler<T, ()>,
    T: 'static,
{
    let method = MethodFilter::try_from(endpoint.method.clone())
        .expect("the table only has methods that can be routed");
    let check =
        middleware::from_fn(move |request: Request, next: Next| admit(endpoint, request, next));
    on(method, handler).route_layer(check)
}

/// Answers for what no endpoint is there for. Paths are only told apart to
/// callers who may read.
pub(crate) fn with_fallbacks(router: Router) -> Router {
    router
        .fallback(async |door: Option<Extension<Door>>, headers: HeaderMap, uri: Uri| {
            check(door.as_deref(), None, &headers).map_err(|refusal| refusal.reason)?;
            Err::<(), _>(ApiError::not_found(format!("there is no {}", uri.path())))
        })
        .method_not_allowed_fallback(
            async |door: Option<Extension<Door>>, headers: HeaderMap, method: Method, uri: Uri| {
                check(door.as_deref(), None, &headers).map_err(|refusal| refusal.reason)?;
                Err::<(), _>(ApiError::new(
                    ProblemCode::MethodNotAllowed,
                    format!("{} does not take {method}", uri.path()),
                ))
            },
        )
}

async fn admit(endpoint: &'static Endpoint, request: Request, next: Next) -> Response {
    let door = request.extensions().get::<Door>();
    let witness = door.and_then(|door| door.guard.witness.clone());
    match check(door, Some(endpoint), request.headers()) {
        Ok(caller) if endpoint.changes() => {
            tracing::info!(operation = endpoint.operation_id, %caller, path = request.uri().path(), "admin call");
            // It runs to its end even when the caller hangs up in the middle of it.
            let change = change(endpoint, caller, witness, request, next);
            tokio::spawn(change).await.unwrap_or_else(|error| {
                tracing::error!(operation = endpoint.operation_id, %error, "an admin call did not finish");
                ApiError::internal("the call did not finish; see the log").into_response()
            })
        }
        Ok(_) => next.run(request).await,
        Err(Refusal { caller, reason }) => {
            tracing::warn!(operation = endpoint.operation_id, %reason, "admin call refused");
            if let (true, Some(caller), Some(witness)) = (endpoint.changes(), caller, witness) {
                let change = asked(endpoint, caller, request.uri(), None);
                witness.refused(change, reason.clone()).await;
            }
            reason.into_response()
        }
    }
}

fn check(
    door: Option<&Door>,
    endpoint: Option<&Endpoint>,
    headers: &HeaderMap,
) -> Result<Caller, Refusal> {
    door.ok_or_else(|| ApiError::internal("a request that came through no door"))?
        .admit(endpoint, headers)
}

/// Carries out a change, between the two looks of the witness.
async fn change(
    endpoint: &'static Endpoint,
    caller: Caller,
    witness: Option<Arc<dyn Witness>>,
    mut request: Request,
    next: Next,
) -> Response {
    let attempt = Attempt::new(caller.clone());
    request.extensions_mut().insert(attempt.clone());
    let Some(witness) = witness else {
        return next.run(request).await;
    };
    let (request, body) = match seen(endpoint, request).await {
        Ok(seen) => seen,
        Err(error) => return error.into_response(),
    };
    let asked = asked(endpoint, caller, request.uri(), body);
    let ticket = match witness.begin(asked.clone()).await {
        Ok(ticket) => ticket,
        Err(error) => return error.into_response(),
    };
    let response = next.run(request).await;
    let failure = response.extensions().get::<ApiError>().cloned();
    let mut outcome = attempt.outcome(failure);
    if outcome.after.is_none() {
        // The answer to a change says how things are after it.
        outcome.after = response
            .extensions()
            .get()
            .and_then(|Answered(json)| serde_json::from_slice(json).ok());
    }
    witness.end(ticket, asked, outcome).await;
    response
}

/// The request with its body read, and what the body says.
async fn seen(endpoint: &Endpoint, request: Request) -> Result<(Request, Option<Value>), ApiError> {
    if endpoint.request.is_none() {
        return Ok((request, None));
    }
    let (parts, body) = request.into_parts();
    let bytes = read(body, BODY_TIMEOUT).await?;
    let value = serde_json::from_slice(&bytes).ok();
    Ok((Request::from_parts(parts, HttpBody::from(bytes)), value))
}

fn asked(endpoint: &Endpoint, caller: Caller, uri: &Uri, request: Option<Value>) -> Asked {
    Asked { caller, operation: endpoint.operation_id, target: uri.path().to_owned(), request }
}

/// Carries out a call and writes its answer.
pub(crate) async fn answer<T, F>(endpoint: &'static Endpoint, call: F) -> Response
where
    T: Answer,
    F: Future<Output = Result<T, ApiError>> + Send + 'static,
{
    match call.await.and_then(|answer| encode(endpoint, &answer)) {
        Ok(response) => response,
        Err(error) => failed(endpoint, error),
    }
}

/// The answer to a change, for its witness.
#[derive(Debug, Clone)]
struct Answered(Bytes);

/// Begins to answer with events as they happen.
pub(crate) async fn stream<F>(endpoint: &'static Endpoint, call: F) -> Response
where
    F: Future<Output = Result<EventFeed, ApiError>> + Send + 'static,
{
    match call.await {
        Ok(feed) => respond(ContentKind::EventStream, feed.into_body()),
        Err(error) => failed(endpoint, error),
    }
}

fn failed(endpoint: &Endpoint, error: ApiError) -> Response {
    if endpoint.changes() || error.code == ProblemCode::Internal {
        tracing::warn!(operation = endpoint.operation_id, code = %error.code, %error, "admin call failed");
    }
    error.into_response()
}

fn encode<T: Answer>(endpoint: &Endpoint, answer: &T) -> Result<Response, ApiError> {
    let body = answer
        .encode()
        .map_err(|error| ApiError::internal(format!("the answer cannot be written: {error}")))?;
    let body = Bytes::from(body);
    let mut response = respond(T::KIND, HttpBody::from(body.clone()));
    if endpoint.changes() {
        response.extensions_mut().insert(Answered(body));
    }
    Ok(response)
}

fn respond(kind: ContentKind, body: HttpBody) -> Response {
    let mut response = (StatusCode::OK, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind.media_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The change under way, for implementations that say what difference it makes.
pub(crate) struct UnderWay(pub(crate) Attempt);

impl<S: Send + Sync> FromRequestParts<S> for UnderWay {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let attempt = parts.extensions.get::<Attempt>().cloned();
        attempt.map(Self).ok_or_else(|| ApiError::internal("a change that nobody attempts"))
    }
}

/// The id of the last event a browser has seen before it connected anew.
pub(crate) struct LastEventId(pub(crate) Option<u64>);

impl<S: Send + Sync> FromRequestParts<S> for LastEventId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let value = parts.headers.get("last-event-id").filter(|value| !value.is_empty());
        let Some(value) = value else { return Ok(Self(None)) };
        let id = value.to_str().ok().and_then(|text| text.parse().ok());
        id.map(|id| Self(Some(id))).ok_or_else(|| {
            ApiError::new(ProblemCode::BadRequest, "Last-Event-ID is not the id of an event")
        })
    }
}

/// The one parameter of a path, decoded.
pub(crate) struct PathParameter(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for PathParameter {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(value) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|error| ApiError::new(ProblemCode::BadRequest, error.body_text()))?;
        Ok(Self(value))
    }
}

/// What stands after the `?`.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let UrlQuery(value) = UrlQuery::<T>::from_request_parts(parts, state)
            .await
            .map_err(|error| ApiError::new(ProblemCode::BadRequest, error.body_text()))?;
        Ok(Self(value))
    }
}

/// A JSON body, at most [`BODY_LIMIT_BYTES`] long and in within [`BODY_TIMEOUT`].
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::new(
                ProblemCode::UnsupportedMediaType,
                "the body must be declared as Content-Type: application/json",
            ));
        }
        let bytes = read(request.into_body(), BODY_TIMEOUT).await?;
        strict::from_slice(&bytes).map(Self).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => {
                ApiError::invalid_request(format!("the body is not what this call takes: {error}"))
            }
            _ => ApiError::new(ProblemCode::BadRequest, format!("the body is not JSON: {error}")),
        })
    }
}

/// Whether the body is declared as JSON: `application/json`, or anything `+json`
/// (RFC 6839).
fn is_json(headers: &HeaderMap) -> bool {
    let essence = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(|value| value.trim().to_ascii_lowercase());
    essence.is_some_and(|essence| {
        essence == "application/json"
            || (essence.starts_with("application/") && essence.ends_with("+json"))
    })
}

async fn read(body: HttpBody, limit: Duration) -> Result<Vec<u8>, ApiError> {
    let collected = Limited::new(body, BODY_LIMIT_BYTES).collect();
    match tokio::time::timeout(limit, collected).await {
        Ok(Ok(body)) => Ok(body.to_bytes().into()),
        Ok(Err(error)) if is_too_long(error.as_ref()) => Err(ApiError::new(
            ProblemCode::TooLarge,
            format!("the body is longer than {BODY_LIMIT_BYTES} bytes"),
        )),
        Ok(Err(error)) => {
            Err(ApiError::new(ProblemCode::BadRequest, format!("the body cannot be read: {error}")))
        }
        Err(_) => Err(ApiError::new(
            ProblemCode::RequestTimeout,
            format!("the body was not complete after {} s", limit.as_secs()),
        )),
    }
}

fn is_too_long(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, pin::Pin, task};

    use super::*;

    #[test]
    fn only_json_counts_as_json() {
        let cases = [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/merge-patch+json", true),
            ("text/json", false),
            ("application/x-www-form-urlencoded", false),
            ("application/jsonp", false),
            ("", false),
        ];
        for (value, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            assert_eq!(is_json(&headers), expected, "{value:?}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }

    struct Endless;

    impl hyper::body::Body for Endless {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut task::Context<'_>,
        ) -> task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Infallible>>> {
            task::Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up() {
        let error = read(HttpBody::new(Endless), Duration::from_secs(3)).await.unwrap_err();
        assert_eq!(error.code, ProblemCode::RequestTimeout);
    }
}
