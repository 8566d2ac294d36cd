//! Where a shard is: the kind of task it runs, for others to read when it does not go on.

use std::{
    any::{TypeId, type_name},
    cell::RefCell,
    sync::{PoisonError, RwLock},
};

use rustc_hash::FxHashMap;

/// A kind of task, which is the type of its future. There are as many as the program has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(u16);

/// The names of all places but the first, in order.
static NAMES: RwLock<Vec<&'static str>> = RwLock::new(Vec::new());

thread_local! {
    /// What this thread has asked for before, so that a task costs no lock.
    static KNOWN: RefCell<FxHashMap<TypeId, Place>> = RefCell::default();
}

impl Place {
    /// The shard's own loop, and what it is asked by the control thread and other shards.
    pub(crate) const LOOP: Self = Self(0);

    /// The place of this kind of task.
    pub(crate) fn of<T: 'static>() -> Self {
        KNOWN.with_borrow_mut(|known| {
            *known.entry(TypeId::of::<T>()).or_insert_with(|| Self::named(type_name::<T>()))
        })
    }

    fn named(name: &'static str) -> Self {
        let mut names = NAMES.write().unwrap_or_else(PoisonError::into_inner);
        let at = names.iter().position(|known| *known == name).unwrap_or_else(|| {
            names.push(name);
            names.len() - 1
        });
        // The last one stands for what is too many; no program comes near.
        Self(u16::try_from(at + 1).unwrap_or(u16::MAX))
    }

    /// For [`from_number`](Self::from_number).
    pub(crate) fn number(self) -> u16 {
        self.0
    }

    pub(crate) fn from_number(number: u16) -> Self {
        Self(number)
    }

    /// The path of the function whose future it is.
    pub(crate) fn name(self) -> &'static str {
        let Some(at) = usize::from(self.0).checked_sub(1) else { return "the shard's own loop" };
        let names = NAMES.read().unwrap_or_else(PoisonError::into_inner);
        let name = names.get(at).copied().unwrap_or("a task");
        name.trim_end_matches("::{{closure}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn somewhere() {}
    async fn elsewhere() {}

    fn of<T: 'static>(_task: T) -> Place {
        Place::of::<T>()
    }

    #[test]
    fn a_place_is_named_after_the_function_and_the_same_on_every_thread() {
        let (one, other) = (of(somewhere()), of(elsewhere()));
        assert_ne!(one, other);
        assert!(one.name().ends_with("place::tests::somewhere"), "{}", one.name());
        assert_eq!(Place::from_number(other.number()).name(), other.name());
        assert_eq!(Place::LOOP.name(), "the shard's own loop");
        let there = std::thread::spawn(|| of(somewhere())).join().unwrap();
        assert_eq!(there, one);
    }
}
