//! A server connection's place on a shard.

use std::rc::Rc;

use crate::{cell::Place, local::LocalPool};

/// Keeps a server connection counted where it stands. Dropping it counts the connection as gone
/// and sees to it that whoever waits for the room hears of it.
pub(crate) struct Seat {
    local: Rc<LocalPool>,
    place: Place,
}

impl Seat {
    pub(crate) fn new(local: &Rc<LocalPool>, place: Place) -> Self {
        local.cell().servers_at(place).increment();
        local.count_servers(1);
        Self { local: Rc::clone(local), place }
    }

    pub(crate) fn local(&self) -> &Rc<LocalPool> {
        &self.local
    }

    pub(crate) fn move_to(&mut self, place: Place) {
        if self.place != place {
            self.local.cell().servers_at(self.place).decrement();
            self.local.cell().servers_at(place).increment();
            self.place = place;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.local.cell().servers_at(self.place).decrement();
        self.local.count_servers(-1);
        self.local.room_freed();
    }
}
