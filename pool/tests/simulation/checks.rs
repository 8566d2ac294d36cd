//! What must hold when a server is handed out, and when nothing goes on.

use std::rc::Rc;

use bs9_wire::tag::BackendTag;

use super::{
    listening::Notice,
    orders::concerned_by,
    scenario::{Limits, Pool},
    server::Server,
    text::Sender,
    world::World,
};

/// For how long a client may wait beside an idle server, and a server be idle that is to be closed:
/// keepers and cancel requests take a turn or two.
const OVERSIGHT: u64 = 400;
/// By then a listening connection that was closed is there again.
const RECOVERY: u64 = 3000;

impl World {
    // === Clients ===

    /// Whether this session goes on.
    pub(super) fn is_on(&self, sender: Sender) -> bool {
        self.clients[sender.client].began(sender).is_some()
    }

    /// Whether the client may have been told to go.
    pub(super) fn may_have_been_killed(&self, sender: Sender) -> bool {
        let client = &self.clients[sender.client];
        let killed = self.orders.borrow().of(client.pool.database).killed;
        let began = client.began(sender);
        // A session that is over may have ended by that.
        killed.is_some_and(|at| began.is_none_or(|began| at >= began))
    }

    /// A client was told that it may begin.
    pub(super) fn let_in(&self, sender: Sender) {
        let client = &self.clients[sender.client];
        client.logged_in.set(true);
        let disabled = self.orders.borrow().of(client.pool.database).disabled;
        if disabled.zip(client.began(sender)).is_some_and(|(since, began)| since < began) {
            self.violated(format!("{sender} was let in, though nobody is to be"));
        }
    }

    /// Whether a client may be turned away that wants to log in.
    pub(super) fn may_turn_away(&self, sender: Sender) -> bool {
        let client = &self.clients[sender.client];
        let effect = self.orders.borrow().of(client.pool.database);
        let ended = effect.enabled.zip(client.began(sender));
        effect.disabled.is_some() || ended.is_some_and(|(ended, began)| ended >= began)
    }

    /// Whether a client keeps the server that works for it: certainly, in session mode.
    pub(super) fn has_server_to_itself(&self, sender: Sender) -> bool {
        let since = self.clients[sender.client].since.get();
        self.is_on(sender) && self.limits.borrow().has_only_had_sessions_since(since)
    }

    /// A client's request begins to be worked at.
    pub(super) fn begins(&self, server: &Server, sender: Sender) {
        let own = &self.clients[sender.client];
        if !self.is_on(sender) {
            return;
        }
        let Some(asked) = own.asked.take() else { return };
        let effect = self.orders.borrow().of(own.pool.database);
        if effect.paused.is_some_and(|since| since < self.now()) {
            self.violated(format!("{sender} was given a server in a pause"));
        }
        if effect.renewed.is_some_and(|at| server.since < at && at < self.now()) {
            self.violated(format!("{sender} was given a server that was to be replaced"));
        }
        // A server that died may have sent its client to the end of the line.
        if self.scenario.kills {
            return;
        }
        let passed_over = self.clients.iter().position(|other| {
            let same = other.pool == own.pool && other.shard == own.shard;
            same && other.asked.get().is_some_and(|before| before < asked)
        });
        // Those who are given servers together are heard of in any order.
        let spoken_to = |other: &Rc<Server>| {
            let another = other.process != server.process;
            another && other.pool.get() == server.pool.get() && other.is_spoken_to()
        };
        if let Some(other) = passed_over
            && !self.servers.borrow().iter().any(spoken_to)
        {
            self.violated(format!("{sender} was served before client {other}"));
        }
    }

    // === When nothing goes on ===

    pub(super) fn look_around(&self) {
        if self.clients.iter().any(|client| client.dawdles.get()) {
            return;
        }
        for (number, client) in self.clients.iter().enumerate() {
            if let Some(asked) = client.asked.get() {
                self.look_at_waiting(number, client.pool, self.now() - asked);
            }
        }
        if self.scenario.orders || self.scenario.reloads {
            self.look_at_idle();
            self.look_at_pauses();
        }
    }

    /// Servers that the pool has not let go of, but for those that listen for clients.
    pub(super) fn open(&self, of: impl Fn(&Server) -> bool) -> usize {
        self.open_to_all(|server| of(server) && !server.is_ear.get())
    }

    /// All servers that the pool has not let go of.
    pub(super) fn open_to_all(&self, of: impl Fn(&Server) -> bool) -> usize {
        let servers = self.servers.borrow();
        servers.iter().filter(|server| of(server) && !server.is_gone()).count()
    }

    /// Whether a server of this pool, other than the `new` one, may turn out to be the one that
    /// listens for its clients.
    pub(super) fn may_be_ear(&self, pool: Pool, new: &Server) -> bool {
        let servers = self.servers.borrow();
        let unknown = |server: &Server| {
            !(server.has_worked.get() || server.is_ear.get()) && server.process != new.process
        };
        let own = servers.iter().filter(|server| server.pool.get() == Some(pool));
        self.scenario.listens && own.into_iter().any(|server| unknown(server))
    }

    // === What is notified ===

    /// A server has committed a NOTIFY.
    pub(super) fn notify(&self, server: &Server, channel: String, payload: String) {
        let Some(pool) = server.pool.get() else { return };
        self.note(|| format!("server {} notifies {channel} of {payload}", server.process));
        let mut message = Vec::new();
        bs9_wire::encode::message(&mut message, BackendTag::NotificationResponse, |out| {
            out.extend(server.process.to_be_bytes());
            out.extend([channel.as_bytes(), &[0], payload.as_bytes(), &[0]].concat());
        });
        let servers = self.servers.borrow().clone();
        for other in servers.iter().filter(|other| other.is_of(pool.database)) {
            other.notify(&channel, &message);
        }
        let (at, database) = (self.now(), pool.database);
        let effect = self.orders.borrow().of(database);
        let of_late = |when: Option<u64>| when.is_some_and(|when| at - when < RECOVERY);
        let deaf = effect.paused.is_some() || of_late(effect.resumed) || of_late(effect.renewed);
        let sure = !deaf && !self.scenario.kills && self.scenario.refusals == 0;
        self.notices.borrow_mut().push(Notice { database, channel, payload, at, sure });
    }

    /// Servers that nobody has had for a while.
    fn spare(&self) -> Vec<Rc<Server>> {
        let spare = |server: &&Rc<Server>| {
            server.may_be_of(self).is_none() && server.is_idle_for(OVERSIGHT, self.now())
        };
        self.servers.borrow().iter().filter(spare).cloned().collect()
    }

    /// Whether clients of a database have been served for a while.
    fn is_served(&self, database: usize) -> bool {
        let effect = self.orders.borrow().of(database);
        let of_late = effect.resumed.is_some_and(|at| self.now() - at < OVERSIGHT);
        effect.paused.is_none() && !of_late
    }

    /// A client has waited for so long.
    fn look_at_waiting(&self, number: usize, pool: Pool, waited: u64) {
        if waited < OVERSIGHT || !self.is_served(pool.database) {
            return;
        }
        if let Some(idle) = self.spare().iter().find(|server| server.pool.get() == Some(pool)) {
            let process = idle.process;
            self.violated(format!("client {number} waits beside the idle server {process}"));
        }
        let enough = OVERSIGHT + self.scenario.login_takes;
        let troubled = self.scenario.kills || self.scenario.refusals > 0;
        if waited < enough || troubled {
            return;
        }
        let limits = self.limits.borrow();
        let of_late: Vec<_> = limits.since(self.now() - waited).collect();
        let room = of_late.iter().all(|limits| limits.database.is_none());
        let size = of_late.iter().map(|limits| limits.pool_size).min();
        let own = |server: &Server| server.pool.get() == Some(pool);
        let logs_in = self.open(|server| own(server) && !server.logged_in.get()) > 0;
        let open = self.open(own);
        if room && !logs_in && size.is_some_and(|size| open < size) {
            self.violated(format!("client {number} waits, where there are {open} servers"));
        }
    }

    /// What is of no more use is closed.
    fn look_at_idle(&self) {
        let before = self.now().saturating_sub(OVERSIGHT);
        for server in self.spare() {
            let Some(pool) = server.pool.get() else { continue };
            let (process, effect) = (server.process, self.orders.borrow().of(pool.database));
            if effect.paused.is_some_and(|since| since <= before) {
                self.violated(format!("server {process} stays idle in a pause"));
            }
            if effect.renewed.is_some_and(|at| server.since < at && at <= before) {
                self.violated(format!("server {process} was to be replaced, and stays idle"));
            }
            let most = self.limits.borrow().most_since(before, Limits::most);
            // Who is new may be the one that listens for clients.
            let certain = |server: &Server| server.has_worked.get() || !self.scenario.listens;
            let open = self.open(|server| server.pool.get() == Some(pool) && certain(server));
            if open > most {
                self.violated(format!("{open} servers where {most} may be, and {process} is idle"));
            }
        }
    }

    /// A pause is answered when no server is left.
    fn look_at_pauses(&self) {
        // A client that waits to be listened for does not notice that its server dies.
        if self.scenario.kills && self.scenario.listens {
            return;
        }
        for database in self.orders.borrow().unanswered(self.now()) {
            if self.open_in(database) == 0 {
                self.violated(format!("no server is left, and the pause of {database:?} goes on"));
            }
        }
    }

    /// Servers of a database, or of all.
    pub(super) fn open_in(&self, database: Option<usize>) -> usize {
        self.open(|server| concerned_by(database).any(|one| server.is_of(one)))
    }
}
