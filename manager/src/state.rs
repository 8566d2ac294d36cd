//! What outlives a run of the manager, and what is known of the moment: opened
//! together, because each part tells the others what it finds.

use std::{
    fs::{DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::Path,
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use bs9_api::types::Happening;
use bs9_config::ManagerConfig;
use jiff::Timestamp;

use crate::{
    access::TokenBook,
    audit::Audit,
    collect::{Collector, Latest, Running},
    event::Events,
    memory::Memory,
    store::{Opened, Store},
};

/// Of the folder, when it is made: it holds hashes of tokens and the audit log.
const FOLDER_MODE: u32 = 0o700;

/// Everything the manager's answers come from; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) latest: Latest,
    pub(crate) store: Store,
    pub(crate) events: Events,
    pub(crate) audit: Audit,
    pub(crate) tokens: TokenBook,
}

/// What runs beside the answers, before it does.
#[derive(Debug)]
pub(crate) struct Keeper {
    collector: Collector,
    store: Store,
    writer: Option<JoinHandle<()>>,
    lock: File,
}

/// What runs beside the answers.
#[derive(Debug)]
pub(crate) struct Keeping {
    collector: Running,
    store: Store,
    writer: Option<JoinHandle<()>>,
    _lock: File,
}

/// Opens everything in `folder`, which is made when it is missing.
///
/// # Errors
///
/// What the file system says; another manager uses the folder.
pub(crate) fn open(
    config: &ManagerConfig,
    folder: &Path,
    memory: &Arc<Mutex<Memory>>,
) -> io::Result<(State, Keeper)> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
    let lock = lock(folder)?;
    let now = Timestamp::now();
    // Events need the store's last number, the store tells of itself by an event.
    let early: Arc<Mutex<Early>> = Arc::default();
    let told = Arc::clone(&early);
    let on_set_aside = Box::new(move |path: &Path, reason: &str| {
        let what =
            Happening::SetAside { path: path.display().to_string(), reason: reason.to_owned() };
        early_of(&told).tell(what);
    });
    let settings = config.history.store.as_ref();
    let Opened { store, rollup, last_event, writer } =
        Store::open(folder, settings, config.events.keep, now, on_set_aside)?;
    let events = Events::new(last_event, now);
    early_of(&early).open(&events);
    events.publish(Happening::ManagerStarted {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
    });
    let audit = Audit::open(&folder.join("audit"), config.audit.size_limit_bytes, events.clone())?;
    let tokens = TokenBook::open(folder)?;
    let collector =
        Collector::new(&config.collect, Arc::clone(memory), rollup, store.clone(), events.clone());
    let state = State { latest: collector.latest(), store: store.clone(), events, audit, tokens };
    Ok((state, Keeper { collector, store, writer, lock }))
}

/// Two managers in one folder would each undo what the other wrote.
fn lock(folder: &Path) -> io::Result<File> {
    let handle = File::create(folder.join("lock"))?;
    handle.try_lock().map_err(|error| match error {
        std::fs::TryLockError::WouldBlock => io::Error::new(
            io::ErrorKind::AddrInUse,
            "another manager uses this folder; give this one its own state_folder",
        ),
        std::fs::TryLockError::Error(error) => error,
    })?;
    Ok(handle)
}

/// Events before there is anybody to take them.
#[derive(Debug, Default)]
struct Early {
    waiting: Vec<Happening>,
    events: Option<Events>,
}

impl Early {
    fn tell(&mut self, what: Happening) {
        match &self.events {
            Some(events) => events.publish(what),
            None => self.waiting.push(what),
        }
    }

    fn open(&mut self, events: &Events) {
        self.events = Some(events.clone());
        self.waiting.drain(..).for_each(|what| events.publish(what));
    }
}

fn early_of(early: &Mutex<Early>) -> std::sync::MutexGuard<'_, Early> {
    early.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Keeper {
    /// Begins to measure and to write.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub(crate) fn start(self) -> io::Result<Keeping> {
        let Self { collector, store, writer, lock } = self;
        Ok(Keeping { collector: collector.start()?, store, writer, _lock: lock })
    }
}

impl Keeping {
    /// Ends it; what was measured is written.
    pub(crate) fn stop(self) {
        self.collector.stop();
        self.store.stop();
        if let Some(writer) = self.writer
            && writer.join().is_err()
        {
            tracing::error!("the writer of history has panicked");
        }
    }
}
