//! Following events as they happen.

use std::{fmt, pin::Pin};

use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::ClientError;
use crate::types::Event;

/// Bytes of one event that are read at most.
const EVENT_LIMIT_BYTES: usize = 1024 * 1024;

/// Events of a manager as they happen. Dropping it hangs up.
pub struct EventFollower {
    connection: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    body: Incoming,
    unread: Vec<u8>,
}

impl EventFollower {
    pub(super) fn new(
        connection: impl Future<Output = ()> + Send + 'static,
        body: Incoming,
    ) -> Self {
        Self { connection: Some(Box::pin(connection)), body, unread: Vec::new() }
    }

    /// The next event; `None` when the server has ended the stream. Ask again
    /// with the id of the last one to go on where it ended.
    ///
    /// # Errors
    ///
    /// [`ClientError::Protocol`], also when the connection is lost.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            if let Some(block) = self.take_block() {
                match event(&block)? {
                    Some(event) => return Ok(Some(event)),
                    None => continue,
                }
            }
            if self.unread.len() > EVENT_LIMIT_BYTES {
                return Err(ClientError::Protocol {
                    what: "an event is longer than 1 MiB".to_owned(),
                    source: None,
                });
            }
            let Some(frame) = self.frame().await else { return Ok(None) };
            let frame =
                frame.map_err(|error| ClientError::protocol("the connection was lost", error))?;
            if let Ok(bytes) = frame.into_data() {
                self.unread.extend_from_slice(&bytes);
            }
        }
    }

    /// Drives the connection while it waits.
    async fn frame(
        &mut self,
    ) -> Option<Result<hyper::body::Frame<hyper::body::Bytes>, hyper::Error>> {
        loop {
            let Some(connection) = &mut self.connection else {
                return self.body.frame().await;
            };
            tokio::select! {
                biased;
                frame = self.body.frame() => return frame,
                () = connection => self.connection = None,
            }
        }
    }

    /// Everything up to the next blank line.
    fn take_block(&mut self) -> Option<Vec<u8>> {
        let end = self.unread.windows(2).position(|pair| pair == b"\n\n")?;
        let rest = self.unread.split_off(end + 2);
        Some(std::mem::replace(&mut self.unread, rest))
    }
}

impl fmt::Debug for EventFollower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventFollower").finish_non_exhaustive()
    }
}

/// The event of a block; `None` for comments and the like.
fn event(block: &[u8]) -> Result<Option<Event>, ClientError> {
    let lines = block.split(|byte| *byte == b'\n');
    let data: Vec<&[u8]> = lines.filter_map(|line| line.strip_prefix(b"data: ")).collect();
    if data.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(&data.join(&b'\n'))
        .map(Some)
        .map_err(|error| ClientError::protocol("an event makes no sense", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_no_events() {
        assert!(event(b":\n\n").unwrap().is_none());
        assert!(event(b"retry: 2000\n\n").unwrap().is_none());
        let text = br#"{"id":3,"at":"2026-01-01T00:00:00Z","kind":"generation","from":1,"to":2}"#;
        let block = [b"id: 3\nevent: generation\ndata: ".as_slice(), text, b"\n\n"].concat();
        assert_eq!(event(&block).unwrap().unwrap().id, 3);
        assert!(event(b"data: {\n\n").is_err());
    }
}
