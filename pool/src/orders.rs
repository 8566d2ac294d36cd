//! What operators have ordered, until they order otherwise. A reload changes nothing of it.

use std::sync::Arc;

use bs9_api::types::PoolOrder;
use rustc_hash::FxHashMap;

/// An order that cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// There is no such database.
    #[error("there is no database `{0}`")]
    UnknownDatabase(String),
    /// One database cannot be taken out of what holds for all.
    #[error("all databases are {0}: undo that for all")]
    HoldsForAll(&'static str),
    /// It is in force, but so many server connections are still in use.
    #[error("it is in force, but {0} server connections are still in use")]
    StillBusy(usize),
    /// It was in force until somebody resumed, with so many server connections still in use.
    #[error("it was undone by a resume while {0} server connections were still in use")]
    Undone(usize),
}

/// What is in force.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    all: Standing,
    databases: FxHashMap<Arc<str>, Standing>,
}

/// How a database stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Standing {
    pub(crate) paused: bool,
    pub(crate) disabled: bool,
}

impl Orders {
    /// How this database stands.
    pub(crate) fn of(&self, database: &str) -> Standing {
        let own = self.databases.get(database).copied().unwrap_or_default();
        Standing {
            paused: self.all.paused | own.paused,
            disabled: self.all.disabled | own.disabled,
        }
    }

    /// Whether every database is paused.
    pub(crate) fn all_paused(&self) -> bool {
        self.all.paused
    }

    /// Writes an order down; `None`: for all databases.
    pub(crate) fn note(
        &mut self,
        order: PoolOrder,
        database: Option<&str>,
    ) -> Result<(), OrderError> {
        match order {
            PoolOrder::Pause | PoolOrder::Kill => self.standing(database).paused = true,
            PoolOrder::Disable => self.standing(database).disabled = true,
            PoolOrder::Resume if database.is_some() && self.all.paused => {
                return Err(OrderError::HoldsForAll("paused"));
            }
            PoolOrder::Enable if database.is_some() && self.all.disabled => {
                return Err(OrderError::HoldsForAll("disabled"));
            }
            PoolOrder::Resume => self.undo(database, |standing| standing.paused = false),
            PoolOrder::Enable => self.undo(database, |standing| standing.disabled = false),
            PoolOrder::Reconnect => {}
        }
        Ok(())
    }

    fn standing(&mut self, database: Option<&str>) -> &mut Standing {
        match database {
            None => &mut self.all,
            Some(database) => self.databases.entry(database.into()).or_default(),
        }
    }

    fn undo(&mut self, database: Option<&str>, undo: impl Fn(&mut Standing)) {
        match database {
            Some(database) => undo(self.standing(Some(database))),
            None => {
                undo(&mut self.all);
                self.databases.values_mut().for_each(undo);
            }
        }
        self.databases.retain(|_, standing| *standing != Standing::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_for_one_and_for_all() {
        let mut orders = Orders::default();
        orders.note(PoolOrder::Pause, Some("a")).unwrap();
        orders.note(PoolOrder::Disable, Some("b")).unwrap();
        assert_eq!(orders.of("a"), Standing { paused: true, disabled: false });
        assert_eq!(orders.of("b"), Standing { paused: false, disabled: true });
        assert_eq!(orders.of("c"), Standing::default());
        orders.note(PoolOrder::Kill, None).unwrap();
        assert!(orders.of("c").paused);
        let refused = orders.note(PoolOrder::Resume, Some("a"));
        assert_eq!(refused, Err(OrderError::HoldsForAll("paused")));
        orders.note(PoolOrder::Resume, None).unwrap();
        assert_eq!(orders.of("a"), Standing::default());
        assert!(orders.of("b").disabled);
        orders.note(PoolOrder::Enable, Some("b")).unwrap();
        assert!(orders.databases.is_empty());
    }
}
