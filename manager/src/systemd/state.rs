//! What systemd knows of a unit.

use std::collections::HashMap;

use jiff::Timestamp;
use zbus::{OwnedVariant, Variant};

/// systemd's way to say that a number is not known.
const UNSET: u64 = u64::MAX;

/// Properties of a unit, as they were at one moment.
#[derive(Debug, Default)]
pub(crate) struct UnitState {
    properties: HashMap<String, OwnedVariant>,
}

impl UnitState {
    pub(super) fn new(properties: HashMap<String, OwnedVariant>) -> Self {
        Self { properties }
    }

    /// A word, such as `ActiveState`; empty when there is none.
    pub(crate) fn word(&self, name: &str) -> &str {
        match self.properties.get(name).map(|value| &**value) {
            Some(Variant::Str(text)) => text.as_str(),
            _ => "",
        }
    }

    /// A list of words, such as the units in `Requires`; empty when there is none.
    pub(crate) fn names(&self, name: &str) -> Vec<String> {
        let Some(Variant::Array(list)) = self.properties.get(name).map(|value| &**value) else {
            return Vec::new();
        };
        let words = list.iter().filter_map(|word| match word {
            Variant::Str(text) => Some(text.as_str().to_owned()),
            _ => None,
        });
        words.collect()
    }

    /// A number; `None` when systemd does not know it.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        let number = match &**self.properties.get(name)? {
            Variant::U64(number) => *number,
            Variant::U32(number) => u64::from(*number),
            Variant::I32(number) => u64::try_from(*number).ok()?,
            _ => return None,
        };
        (number != UNSET).then_some(number)
    }

    /// A moment; systemd counts microseconds.
    pub(crate) fn moment(&self, name: &str) -> Option<Timestamp> {
        let microseconds = self.number(name).filter(|at| *at > 0)?;
        Timestamp::from_microsecond(i64::try_from(microseconds).ok()?).ok()
    }

    /// The main process, while there is one.
    pub(crate) fn main_pid(&self) -> Option<u32> {
        u32::try_from(self.number("MainPID")?).ok().filter(|pid| *pid > 0)
    }

    /// `active`, `inactive`, `failed`, `activating`, `deactivating`, `reloading`.
    pub(crate) fn active(&self) -> &str {
        self.word("ActiveState")
    }

    /// Whether it is up.
    pub(crate) fn is_active(&self) -> bool {
        matches!(self.active(), "active" | "reloading")
    }

    /// Whether it is up, or on its way up or back up.
    pub(crate) fn is_wanted(&self) -> bool {
        self.is_active() || self.active() == "activating"
    }

    /// Restarts by systemd itself.
    pub(crate) fn restarts(&self) -> u32 {
        self.number("NRestarts").and_then(|count| u32::try_from(count).ok()).unwrap_or(0)
    }

    /// Whether it is started at boot.
    pub(crate) fn is_enabled(&self) -> bool {
        self.word("UnitFileState") == "enabled"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(properties: Vec<(&str, Variant<'_>)>) -> UnitState {
        let owned = properties
            .into_iter()
            .map(|(name, value)| (name.to_owned(), OwnedVariant::try_from(value).unwrap()));
        UnitState::new(owned.collect())
    }

    #[test]
    fn what_is_not_known_is_never_a_zero() {
        let state = state(vec![
            ("MemoryCurrent", Variant::U64(u64::MAX)),
            ("TasksCurrent", Variant::U64(3)),
            ("MainPID", Variant::U32(0)),
            ("ActiveEnterTimestamp", Variant::U64(0)),
        ]);
        assert_eq!(state.number("MemoryCurrent"), None);
        assert_eq!(state.number("TasksCurrent"), Some(3));
        assert_eq!(state.number("CPUUsageNSec"), None);
        assert_eq!((state.main_pid(), state.moment("ActiveEnterTimestamp")), (None, None));
    }

    #[test]
    fn waiting_for_a_restart_is_wanted_and_not_up() {
        let state = state(vec![
            ("ActiveState", Variant::from("activating")),
            ("SubState", Variant::from("auto-restart")),
        ]);
        assert!(state.is_wanted() && !state.is_active());
    }
}
