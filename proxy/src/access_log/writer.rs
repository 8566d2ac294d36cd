//! The thread that writes what one output is given.

use std::{
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
    thread::JoinHandle,
};

use bs9_config::LogOutput;

use super::{
    journal::{self, Journal},
    queue::{Batch, Order, Queue},
    rotated_file::RotatedFile,
};

/// An output and its thread, which ends after it, when it has written what was handed over.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(super) output: LogOutput,
    pub(super) queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

enum Sink {
    Stdout(io::Stdout),
    File(RotatedFile),
    Journal(Journal),
}

impl Writer {
    /// Opens the output.
    ///
    /// # Errors
    /// When it cannot be had.
    pub(super) fn start(output: &LogOutput) -> io::Result<Arc<Self>> {
        let sink = match output {
            LogOutput::Stdout => Sink::Stdout(io::stdout()),
            LogOutput::Journald => Sink::Journal(Journal::open(Path::new(journal::SOCKET))?),
            LogOutput::File { path, rotation } => Sink::File(RotatedFile::open(path, *rotation)?),
        };
        let queue = Arc::new(Queue::default());
        let own = Arc::clone(&queue);
        let name = describe(output);
        let thread = std::thread::Builder::new().name("bs9-access-log".to_owned());
        let thread = thread.spawn(move || work(sink, &own, &name))?;
        Ok(Arc::new(Self { output: output.clone(), queue, thread: Mutex::new(Some(thread)) }))
    }

    /// What it writes to, for people.
    pub(super) fn name(&self) -> String {
        describe(&self.output)
    }
}

impl Writer {
    /// Waits until everything that was handed over is written; what comes later is not.
    pub(super) fn finish(&self) {
        self.queue.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _panicked = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Without waiting: this may be a shard.
        self.queue.close();
    }
}

fn describe(output: &LogOutput) -> String {
    match output {
        LogOutput::Stdout => "stdout".to_owned(),
        LogOutput::Journald => "journald".to_owned(),
        LogOutput::File { path, .. } => path.display().to_string(),
    }
}

fn work(mut sink: Sink, queue: &Queue, name: &str) {
    let mut failing = false;
    let mut done = None;
    loop {
        let outcome = match queue.next(done.take()) {
            Order::End => return,
            Order::Reopen => sink.reopen(),
            Order::Write(batch) => {
                // What could not be written may be again: the disk was full, the file is gone.
                let outcome = if failing { sink.reopen() } else { Ok(()) };
                let outcome = outcome.and_then(|()| sink.write(&batch));
                let counter = if outcome.is_ok() { &queue.written } else { &queue.dropped };
                counter.fetch_add(batch.count, Relaxed);
                done = Some(batch);
                outcome
            }
        };
        match outcome {
            Ok(()) => failing = false,
            Err(error) => {
                queue.errors.fetch_add(1, Relaxed);
                if !std::mem::replace(&mut failing, true) {
                    tracing::error!(
                        log = name, %error,
                        "an access log cannot be written; what is dropped is counted in bs9_access_log_dropped_total"
                    );
                }
            }
        }
    }
}

impl Sink {
    fn write(&mut self, batch: &Batch) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => {
                let mut stdout = stdout.lock();
                stdout.write_all(&batch.lines)?;
                stdout.flush()
            }
            Self::File(file) => file.write(&batch.lines),
            Self::Journal(journal) => journal.write(&batch.lines),
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(_) => Ok(()),
            Self::File(file) => file.reopen(),
            Self::Journal(journal) => journal.reopen(),
        }
    }
}
