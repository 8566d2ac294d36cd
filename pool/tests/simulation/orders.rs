//! What operators have ordered, and which limits are in force: what clients and servers are judged
//! by.

use bs9_api::types::PoolOrder;

use super::scenario::{DATABASES, Limits, Mode};

/// Orders as they stand, for all databases and for each.
#[derive(Default)]
pub(super) struct Orders {
    all: Flags,
    own: [Flags; DATABASES.len()],
    effects: [Effect; DATABASES.len()],
    /// Pauses that have not been answered: since when, and for which database.
    unanswered: Vec<(u64, Option<usize>)>,
}

#[derive(Clone, Copy, Default)]
struct Flags {
    paused: bool,
    disabled: bool,
}

/// What they come to for one database. Times in milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Effect {
    /// Since when no server is handed out.
    pub(super) paused: Option<u64>,
    /// When that was so last.
    pub(super) resumed: Option<u64>,
    /// Since when nobody new is let in.
    pub(super) disabled: Option<u64>,
    /// When that was so last.
    pub(super) enabled: Option<u64>,
    /// Servers from before are not handed out any more.
    pub(super) renewed: Option<u64>,
    /// Clients from before were told to go.
    pub(super) killed: Option<u64>,
}

impl Orders {
    pub(super) fn of(&self, database: usize) -> Effect {
        self.effects[database]
    }

    /// Writes an order down. False when it is to be refused: it is about one of all databases, to
    /// which something else applies.
    pub(super) fn note(&mut self, order: PoolOrder, database: Option<usize>, now: u64) -> bool {
        let refused = match order {
            PoolOrder::Resume => self.all.paused,
            PoolOrder::Enable => self.all.disabled,
            _ => false,
        };
        if refused && database.is_some() {
            return false;
        }
        let undoes = matches!(order, PoolOrder::Resume | PoolOrder::Enable);
        let own = self.own.iter_mut().enumerate();
        let mut concerned: Vec<_> = own
            .filter(|(one, _)| database == Some(*one) || database.is_none() && undoes)
            .map(|(_, flags)| flags)
            .collect();
        if database.is_none() {
            concerned.push(&mut self.all);
        }
        for flags in concerned {
            match order {
                PoolOrder::Pause | PoolOrder::Kill => flags.paused = true,
                PoolOrder::Resume => flags.paused = false,
                PoolOrder::Disable => flags.disabled = true,
                PoolOrder::Enable => flags.disabled = false,
                PoolOrder::Reconnect => {}
            }
        }
        for one in concerned_by(database) {
            self.take_effect(order, one, now);
        }
        if matches!(order, PoolOrder::Pause | PoolOrder::Kill) {
            self.unanswered.push((now, database));
        }
        let effects = &self.effects;
        self.unanswered.retain(|(_, database)| {
            concerned_by(*database).all(|one| effects[one].paused.is_some())
        });
        true
    }

    fn take_effect(&mut self, order: PoolOrder, database: usize, now: u64) {
        let own = self.own[database];
        let effect = &mut self.effects[database];
        let (paused, disabled) = (own.paused || self.all.paused, own.disabled || self.all.disabled);
        if paused {
            effect.paused.get_or_insert(now);
        } else if effect.paused.take().is_some() {
            effect.resumed = Some(now);
        }
        if disabled {
            effect.disabled.get_or_insert(now);
        } else if effect.disabled.take().is_some() {
            effect.enabled = Some(now);
        }
        if matches!(order, PoolOrder::Pause | PoolOrder::Kill | PoolOrder::Reconnect) {
            effect.renewed = Some(now);
        }
        if order == PoolOrder::Kill {
            effect.killed = Some(now);
        }
    }

    /// A pause has been answered. False when it has been undone since it was ordered.
    pub(super) fn answered(&mut self, at: u64, database: Option<usize>) -> bool {
        let place = self.unanswered.iter().position(|known| *known == (at, database));
        place.map(|place| self.unanswered.remove(place)).is_some()
    }

    /// Databases for which pauses from before `now` have not been answered; `None`: all.
    pub(super) fn unanswered(&self, now: u64) -> impl Iterator<Item = Option<usize>> {
        self.unanswered.iter().filter(move |(at, _)| *at < now).map(|(_, database)| *database)
    }
}

/// The databases that an order is about.
pub(super) fn concerned_by(database: Option<usize>) -> impl Iterator<Item = usize> {
    (0..DATABASES.len()).filter(move |one| database.is_none_or(|only| only == *one))
}

/// Limits, each with when it came in force.
pub(super) struct History(Vec<(u64, Limits)>);

impl History {
    pub(super) fn new(limits: Limits) -> Self {
        Self(vec![(0, limits)])
    }

    pub(super) fn note(&mut self, now: u64, limits: Limits) {
        self.0.push((now, limits));
    }

    /// All that were in force at `instant` or after it; what is replaced at an instant is in force
    /// at it, too.
    pub(super) fn since(&self, instant: u64) -> impl Iterator<Item = &Limits> {
        let replaced = |place: usize| self.0.get(place + 1).map(|(at, _)| *at);
        let lasts = move |place: usize| replaced(place).is_none_or(|at| at >= instant);
        let numbered = self.0.iter().enumerate();
        numbered.filter(move |(place, _)| lasts(*place)).map(|(_, (_, limits))| limits)
    }

    /// The most that any of those allows.
    pub(super) fn most_since(&self, instant: u64, of: impl Fn(&Limits) -> usize) -> usize {
        self.since(instant).map(of).max().unwrap_or(0)
    }

    /// Whether a client that came at `instant` or later may have a server to itself.
    pub(super) fn had_sessions_since(&self, instant: u64) -> bool {
        self.since(instant).any(|limits| limits.mode == Mode::Session)
    }

    /// Whether any client that came at `instant` or later has a server to itself.
    pub(super) fn has_only_had_sessions_since(&self, instant: u64) -> bool {
        self.since(instant).all(|limits| limits.mode == Mode::Session)
    }
}
