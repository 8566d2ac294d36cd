//! Why a call was not carried out, as the server says it.

use std::fmt;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use utoipa::ToSchema;

use crate::types::{ConfigError, Problem, SCHEMA};

/// The stable words of [`Problem::code`], each with its HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum ProblemCode {
    /// 400: not HTTP or not JSON as it should be.
    BadRequest,
    /// 401: no token, or one that is not known.
    Unauthorized,
    /// 403: known, but may not.
    Forbidden,
    /// 404: no such path, cluster or endpoint.
    NotFound,
    /// 405: the path exists, not with this method.
    MethodNotAllowed,
    /// 408: the body did not arrive in time.
    RequestTimeout,
    /// 409: at odds with what is there, such as an endpoint added twice.
    Conflict,
    /// 413: the body exceeds its limit.
    TooLarge,
    /// 415: the body is not declared as JSON.
    UnsupportedMediaType,
    /// 422: JSON, but not what this call takes.
    InvalidRequest,
    /// 422: the configuration is invalid; [`Problem::errors`] says where.
    InvalidConfig,
    /// 429: this caller calls too often.
    TooManyRequests,
    /// 500: a defect of bs9.
    Internal,
    /// 503: not now, such as while starting or draining.
    Unavailable,
}

impl ProblemCode {
    /// Every one.
    pub const ALL: [Self; 14] = [
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::Conflict,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::InvalidRequest,
        Self::InvalidConfig,
        Self::TooManyRequests,
        Self::Internal,
        Self::Unavailable,
    ];

    /// The word in the answer.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::RequestTimeout => "request_timeout",
            Self::Conflict => "conflict",
            Self::TooLarge => "too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::InvalidRequest => "invalid_request",
            Self::InvalidConfig => "invalid_config",
            Self::TooManyRequests => "too_many_requests",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
        }
    }

    /// What it says, in a sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::BadRequest => "Not HTTP, parameters or JSON as they should be.",
            Self::Unauthorized => "No token, or one that is not known.",
            Self::Forbidden => "Known, but may not; or a page of another origin.",
            Self::NotFound => "There is no such thing.",
            Self::MethodNotAllowed => "The path exists, not with this method.",
            Self::RequestTimeout => "The body did not arrive in time.",
            Self::Conflict => "At odds with what is there, or with a change under way.",
            Self::TooLarge => "The body exceeds its limit.",
            Self::UnsupportedMediaType => "The body is not declared as JSON.",
            Self::InvalidRequest => "Well-formed, but its values make no sense.",
            Self::InvalidConfig => "The configuration is invalid; `errors` says where.",
            Self::TooManyRequests => "This address calls too often.",
            Self::Internal => "A defect of bs9.",
            Self::Unavailable => "Not now, such as while starting, or without what it needs.",
        }
    }

    /// The status it is answered with.
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::InvalidRequest | Self::InvalidConfig => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an implementation of the API answers instead of a result. The message
/// goes to the caller as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What kind of refusal it is.
    pub code: ProblemCode,
    /// For a person.
    pub message: String,
    /// With [`ProblemCode::InvalidConfig`].
    pub errors: Vec<ConfigError>,
}

impl ApiError {
    /// A refusal of this kind.
    pub fn new(code: ProblemCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), errors: Vec::new() }
    }

    /// No such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ProblemCode::NotFound, message)
    }

    /// At odds with what is there.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ProblemCode::Conflict, message)
    }

    /// Well-formed, but its values make no sense, such as an address without a port.
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(ProblemCode::InvalidRequest, message)
    }

    /// The configuration is refused, for these reasons.
    pub fn invalid_config(message: impl Into<String>, errors: Vec<ConfigError>) -> Self {
        Self { code: ProblemCode::InvalidConfig, message: message.into(), errors }
    }

    /// Not now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ProblemCode::Unavailable, message)
    }

    /// A defect of bs9.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ProblemCode::Internal, message)
    }

    /// The body of the answer.
    pub fn into_problem(self) -> Problem {
        Problem {
            schema: SCHEMA,
            code: self.code.as_str().to_owned(),
            message: self.message,
            errors: self.errors,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let code = self.code;
        let told = self.clone();
        let mut response = (code.status(), Json(self.into_problem())).into_response();
        response.extensions_mut().insert(told);
        if code == ProblemCode::TooManyRequests {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if code == ProblemCode::Unauthorized {
            // RFC 9110, section 15.5.2: a 401 names the scheme that would do.
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"bs9\""));
        }
        response
    }
}
