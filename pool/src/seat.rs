//! A server connection's place on a shard.

use std::rc::Rc;

use crate::{cell::Place, local::LocalPool, roster::ServerCard};

/// Keeps a server connection counted where it stands. Dropping it counts the connection as gone
/// and sees to it that whoever waits for the room hears of it.
pub(crate) struct Seat {
    local: Rc<LocalPool>,
    card: Rc<ServerCard>,
}

impl Seat {
    pub(crate) fn new(local: &Rc<LocalPool>, place: Place) -> Self {
        local.cell().servers_at(place).increment();
        local.count_servers(1);
        let card = ServerCard::new(place);
        local.roll.enter(&card);
        Self { local: Rc::clone(local), card }
    }

    pub(crate) fn local(&self) -> &Rc<LocalPool> {
        &self.local
    }

    pub(crate) fn move_to(&mut self, place: Place) {
        let before = self.card.place.replace(place);
        if before != place {
            self.local.cell().servers_at(before).decrement();
            self.local.cell().servers_at(place).increment();
        }
    }

    pub(crate) fn card(&self) -> &ServerCard {
        &self.card
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.local.cell().servers_at(self.card.place.get()).decrement();
        self.local.roll.leave(&self.card);
        self.local.count_servers(-1);
        self.local.room_freed();
    }
}
