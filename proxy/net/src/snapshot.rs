//! What is in force, as one immutable whole.

use std::{any::Any, cell::RefCell, rc::Rc, sync::Arc};

use arc_swap::{ArcSwap, Cache};
use bs9_config::{Config, Generation};

/// A configuration and everything the engines compiled from it.
pub struct Snapshot {
    /// Counts up with every snapshot put in force.
    pub generation: Generation,
    /// What it was compiled from.
    pub config: Arc<Config>,
    pub(crate) parts: Vec<Arc<dyn Any + Send + Sync>>,
}

impl Snapshot {
    /// The part of the engine that was registered as number `engine`.
    ///
    /// # Panics
    /// When that engine compiles to another type: an engine only ever asks for its
    /// own part.
    pub fn part<P: Send + Sync + 'static>(&self, engine: usize) -> Arc<P> {
        Arc::clone(&self.parts[engine]).downcast().expect("an engine asks for its own part")
    }
}

/// The one place where the snapshot in force is found.
pub type SnapshotCell = Arc<ArcSwap<Snapshot>>;

/// A shard's way to the snapshot in force: one load and one compare unless it changed.
///
/// `V` is what the shard derives from its engine's part (handles to its own
/// counters, its own upstream connections); it is derived anew when the snapshot
/// changes, and shared by whatever was started under it.
pub struct SnapshotReader<V> {
    cache: RefCell<Cache<SnapshotCell, Arc<Snapshot>>>,
    view: RefCell<(Generation, Rc<V>)>,
}

impl<V> SnapshotReader<V> {
    /// Starts with `first` as what `cell`'s snapshot gives.
    pub fn new(cell: &SnapshotCell, derive: impl FnOnce(&Snapshot) -> V) -> Self {
        let mut cache = Cache::new(Arc::clone(cell));
        let snapshot = cache.load();
        let view = (snapshot.generation, Rc::new(derive(snapshot)));
        Self { cache: RefCell::new(cache), view: RefCell::new(view) }
    }

    /// The view of the snapshot in force; `derive` gets the one before.
    pub fn load(&self, derive: impl FnOnce(&Snapshot, &V) -> V) -> Rc<V> {
        let mut cache = self.cache.borrow_mut();
        let snapshot = cache.load();
        let mut view = self.view.borrow_mut();
        if snapshot.generation != view.0 {
            let next = Rc::new(derive(snapshot, &view.1));
            *view = (snapshot.generation, next);
        }
        Rc::clone(&view.1)
    }
}
