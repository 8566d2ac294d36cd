//! How what goes in and comes out is written and described.

use std::borrow::Cow;

use serde::{Serialize, de::DeserializeOwned};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use super::integer;
use crate::types::{Event, MetricsText};

/// The kinds of body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContentKind {
    Json,
    /// Prometheus' text exposition format.
    Text,
    /// Server-Sent Events.
    EventStream,
}

impl ContentKind {
    /// The value of `Content-Type`.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::EventStream => "text/event-stream",
        }
    }
}

/// A type as the OpenAPI document needs to know it.
pub(crate) struct Described {
    pub(crate) name: Cow<'static, str>,
    pub(crate) kind: ContentKind,
    pub(crate) schema: RefOr<Schema>,
    /// The types it refers to, by name.
    pub(crate) parts: Vec<(String, RefOr<Schema>)>,
}

impl Described {
    pub(crate) fn json<T: ToSchema>() -> Self {
        let mut parts = Vec::new();
        T::schemas(&mut parts);
        let mut schema = T::schema();
        parts.iter_mut().map(|(_, part)| part).chain([&mut schema]).for_each(integer::widen);
        Self { name: T::name(), kind: ContentKind::Json, schema, parts }
    }
}

/// How a feed of events is described: its schema is that of each event.
pub(crate) fn event_stream() -> Described {
    Described { kind: ContentKind::EventStream, ..Described::json::<Event>() }
}

/// What an endpoint can answer with.
pub(crate) trait Answer: Sized + Send + 'static {
    const KIND: ContentKind;

    fn encode(&self) -> Result<Vec<u8>, serde_json::Error>;
    fn decode(body: Vec<u8>) -> Result<Self, serde_json::Error>;
    fn describe() -> Described;
}

impl<T> Answer for T
where
    T: Serialize + DeserializeOwned + ToSchema + Send + 'static,
{
    const KIND: ContentKind = ContentKind::Json;

    fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    fn decode(body: Vec<u8>) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(&body)
    }

    fn describe() -> Described {
        Described::json::<T>()
    }
}

impl Answer for MetricsText {
    const KIND: ContentKind = ContentKind::Text;

    fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        Ok(self.0.clone().into_bytes())
    }

    fn decode(body: Vec<u8>) -> Result<Self, serde_json::Error> {
        String::from_utf8(body).map(Self).map_err(serde::de::Error::custom)
    }

    fn describe() -> Described {
        Described {
            name: Cow::Borrowed("MetricsText"),
            kind: ContentKind::Text,
            schema: String::schema(),
            parts: Vec::new(),
        }
    }
}
