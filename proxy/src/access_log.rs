//! Access logs: a line for each request, connection or session, when it has ended.
//!
//! A shard writes lines into a buffer of its own ([`Desk`]), and hands it over when it is full or
//! a moment has passed ([`queue`]). A thread for each output takes it from there ([`Writer`]):
//! no shard ever waits for a disk. What the queue does not take is dropped and counted.

mod calendar;
mod captured;
mod desk;
mod entry;
mod escape;
mod journal;
mod layout;
mod queue;
mod registry;
mod rotated_file;
mod writer;

pub(crate) use captured::Captured;
pub(crate) use desk::Desk;
pub(crate) use entry::Entry;
pub use registry::LogReport;
pub(crate) use registry::Writers;

use std::sync::Arc;

use layout::Layout;
use writer::Writer;

/// What a listener logs.
#[derive(Debug)]
pub(crate) struct AccessLog {
    listener: Arc<str>,
    /// Of a request's id; empty: it has none.
    request_id_header: Arc<str>,
    layout: Layout,
    /// Of 2³² successful ones, so many are logged.
    threshold: u64,
    writer: Arc<Writer>,
}

impl AccessLog {
    pub(crate) fn new(
        listener: &Arc<str>,
        request_id_header: Option<&Arc<str>>,
        config: &bs9_config::AccessLog,
        writer: Arc<Writer>,
    ) -> Self {
        Self {
            listener: Arc::clone(listener),
            request_id_header: request_id_header.cloned().unwrap_or_default(),
            layout: Layout::new(&config.format),
            threshold: (config.sample * 2_f64.powi(32)) as u64,
            writer,
        }
    }

    /// Whether a line is to be written; `ticket` is any number of 32 random bits.
    pub(crate) fn wants(&self, failed: bool, ticket: u32) -> bool {
        failed || u64::from(ticket) < self.threshold
    }
}
