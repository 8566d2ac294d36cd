//! From a request to the method that answers it, and back.

use std::{error::Error, time::Duration};

use axum::{
    Extension, Router,
    body::Body as HttpBody,
    extract::{FromRequest, FromRequestParts, Path, Query as UrlQuery, Request},
    handler::Handler,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodFilter, MethodRouter, on},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header, request::Parts};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::{BODY_LIMIT_BYTES, BODY_TIMEOUT, access::Door};
use crate::{
    endpoints::{Access, Answer, Endpoint},
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
            check(door.as_deref(), Access::Viewer, &headers)?;
            Err::<(), _>(ApiError::not_found(format!("there is no {}", uri.path())))
        })
        .method_not_allowed_fallback(
            async |door: Option<Extension<Door>>, headers: HeaderMap, method: Method, uri: Uri| {
                check(door.as_deref(), Access::Viewer, &headers)?;
                Err::<(), _>(ApiError::new(
                    ProblemCode::MethodNotAllowed,
                    format!("{} does not take {method}", uri.path()),
                ))
            },
        )
}

async fn admit(endpoint: &'static Endpoint, request: Request, next: Next) -> Response {
    let door = request.extensions().get::<Door>();
    let caller = match check(door, endpoint.access, request.headers()) {
        Ok(caller) => caller,
        Err(refusal) => {
            tracing::warn!(operation = endpoint.operation_id, reason = %refusal, "admin call refused");
            return refusal.into_response();
        }
    };
    if endpoint.changes() {
        tracing::info!(operation = endpoint.operation_id, %caller, path = request.uri().path(), "admin call");
    }
    next.run(request).await
}

fn check(
    door: Option<&Door>,
    access: Access,
    headers: &HeaderMap,
) -> Result<super::Caller, ApiError> {
    door.ok_or_else(|| ApiError::internal("a request that came through no door"))?
        .admit(access, headers)
}

/// Carries out a call and writes its answer. A call that changes something runs
/// to its end even when the caller hangs up in the middle of it.
pub(crate) async fn answer<T, F>(endpoint: &'static Endpoint, call: F) -> Response
where
    T: Answer,
    F: Future<Output = Result<T, ApiError>> + Send + 'static,
{
    let result = if endpoint.changes() {
        tokio::spawn(call).await.unwrap_or_else(|error| {
            tracing::error!(operation = endpoint.operation_id, %error, "an admin call did not finish");
            Err(ApiError::internal("the call did not finish; see the log"))
        })
    } else {
        call.await
    };
    match result.and_then(|answer| encode(&answer)) {
        Ok(response) => response,
        Err(error) => {
            if endpoint.changes() || error.code == ProblemCode::Internal {
                tracing::warn!(operation = endpoint.operation_id, code = %error.code, %error, "admin call failed");
            }
            error.into_response()
        }
    }
}

fn encode<T: Answer>(answer: &T) -> Result<Response, ApiError> {
    let body = answer
        .encode()
        .map_err(|error| ApiError::internal(format!("the answer cannot be written: {error}")))?;
    let mut response = (StatusCode::OK, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(T::KIND.media_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
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
        serde_json::from_slice(&bytes).map(Self).map_err(|error| match error.classify() {
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
        type Data = hyper::body::Bytes;
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
