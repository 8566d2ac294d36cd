//! Events as they happen, as Server-Sent Events (WHATWG HTML, section 9.2).

use std::{fmt, pin::Pin, time::Duration};

use axum::body::{Body, Bytes};
use futures_util::{Stream, StreamExt, stream};

use crate::types::Event;

/// A comment is sent after so much silence, so that nobody on the way takes the
/// connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a browser waits before it connects anew, in milliseconds.
const RETRY: &str = "retry: 2000\n\n";

/// Events as they happen; ends when the client or the server does.
pub struct EventFeed(Pin<Box<dyn Stream<Item = Event> + Send>>);

impl EventFeed {
    /// The feed of what `events` yields.
    pub fn new(events: impl Stream<Item = Event> + Send + 'static) -> Self {
        Self(Box::pin(events))
    }

    pub(crate) fn into_body(self) -> Body {
        let first = stream::iter([Bytes::from_static(RETRY.as_bytes())]);
        let events = stream::unfold(self.0, async |mut events| {
            let text = match tokio::time::timeout(KEEP_ALIVE, events.next()).await {
                Ok(Some(event)) => written(&event),
                Ok(None) => return None,
                Err(_) => Bytes::from_static(b":\n\n"),
            };
            Some((text, events))
        });
        Body::from_stream(first.chain(events).map(Ok::<_, std::convert::Infallible>))
    }
}

impl fmt::Debug for EventFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventFeed").finish_non_exhaustive()
    }
}

fn written(event: &Event) -> Bytes {
    // JSON has no line breaks of its own, so it is one `data` line.
    match serde_json::to_string(event) {
        Ok(json) => {
            format!("id: {}\nevent: {}\ndata: {json}\n\n", event.id, event.what.kind()).into()
        }
        Err(error) => {
            tracing::error!(%error, id = event.id, "an event cannot be written");
            Bytes::new()
        }
    }
}
