//! The writers of a process: one for each output, whatever listeners share it.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
};

use bs9_config::{AccessLog, LogOutput};

use super::writer::Writer;

/// Every writer that a configuration in force, or one being compiled, wants.
#[derive(Debug, Default)]
pub(crate) struct Writers(Mutex<BTreeMap<LogOutput, Arc<Writer>>>);

/// What an output has been given, for metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogReport {
    /// `stdout`, `journald` or a path.
    pub output: String,
    /// Lines written.
    pub written: u64,
    /// Lines dropped, because too many waited or writing failed.
    pub dropped: u64,
    /// Times that writing or opening failed.
    pub errors: u64,
}

impl Writers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<LogOutput, Arc<Writer>>> {
        // Nothing in it can be left half done by a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer of a log's output; opened when there is none yet.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn get(&self, log: &AccessLog) -> io::Result<Arc<Writer>> {
        let mut writers = self.lock();
        let known = writers.get(&log.output).map(Arc::clone);
        let writer = match known {
            Some(known) => known,
            None => {
                let started = Writer::start(&log.output)?;
                writers.insert(log.output.clone(), Arc::clone(&started));
                started
            }
        };
        writer.queue.set_limit(log.queue_bytes);
        Ok(writer)
    }

    /// Has every file opened anew.
    pub(crate) fn reopen(&self) {
        self.all().iter().for_each(|writer| writer.queue.reopen());
    }

    /// What each has been given, in the order of their outputs.
    pub(crate) fn reports(&self) -> Vec<LogReport> {
        let report = |writer: &Arc<Writer>| LogReport {
            output: writer.name(),
            written: writer.queue.written.load(Relaxed),
            dropped: writer.queue.dropped.load(Relaxed),
            errors: writer.queue.errors.load(Relaxed),
        };
        self.all().iter().map(report).collect()
    }

    /// Those that somebody wants; the others are let go.
    fn all(&self) -> Vec<Arc<Writer>> {
        let mut writers = self.lock();
        writers.retain(|_, writer| Arc::strong_count(writer) > 1);
        writers.values().cloned().collect()
    }
}

impl Drop for Writers {
    /// The end of the process: every line that was handed over is written before it.
    fn drop(&mut self) {
        self.lock().values().for_each(|writer| writer.finish());
    }
}
