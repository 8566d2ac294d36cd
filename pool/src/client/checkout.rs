//! Getting a server for a client, and what happens to it afterwards.

use std::{
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use bs9_wire::{encode::backend, ledger::Condition};

use super::{Client, End, Phase};
use crate::{
    cancel::Cancelling,
    cell::Place,
    local::{LocalPool, TooManyWaiting},
    server::Server,
    wait::Waits as _,
};

/// Servers that are tried, one after the other, when they cannot be given a client's parameters.
const MOST_ATTEMPTS: u32 = 3;
/// Resets everything a session has.
const RESET: &str = "DISCARD ALL";

impl Client {
    /// A server, with the client's parameters in force on it.
    pub(super) async fn check_out(&mut self) -> Result<Box<Server>, End> {
        if self.local.with_plan(|plan| plan.removed) {
            return Err(End::Removed);
        }
        let mut attempts = MOST_ATTEMPTS;
        loop {
            let mut server = match self.local.take_idle() {
                Some(server) => server,
                None => {
                    self.enter(Phase::Waiting);
                    self.wait().await?
                }
            };
            let same = Arc::ptr_eq(&server.state.settings, &self.settings);
            if !(same && server.state.settings_certain && self.asked.is_none()) {
                attempts -= 1;
                // Boxed: rare, and large beside the rest of the task.
                let synchronised = Box::pin(self.synchronise(server, attempts == 0)).await?;
                let Some(own) = synchronised else { continue };
                server = own;
            }
            self.registered.link(&server.state.target);
            return Ok(server);
        }
    }

    /// Waits in line for a server.
    pub(super) async fn wait(&mut self) -> Result<Box<Server>, End> {
        self.local
            .queue(self.registered.waits_as())
            .map_err(|TooManyWaiting { limit }| End::TooManyWaiting(limit))?;
        let granted = std::future::poll_fn(|cx| self.poll_wait(cx)).await;
        if granted.is_err() {
            self.local.leave_queue(self.registered.waits_as());
        }
        granted
    }

    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<Result<Box<Server>, End>> {
        match self.registered.waits_as().waiter().poll(cx) {
            Poll::Ready(Ok(server)) => return Poll::Ready(Ok(server)),
            Poll::Ready(Err(failure)) => return Poll::Ready(Err(End::LoginFailed(failure))),
            Poll::Pending => {}
        }
        // A client that gives up is not to be served; more of what it sends is welcome.
        while !self.up.passage.is_full() {
            let buffers = self.local.shard().buffers();
            match self.stream.poll_read_pooled(cx, &mut self.up.passage.buffer, buffers) {
                Poll::Pending => break,
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(End::Gone)),
                Poll::Ready(Ok(count)) => self.local.cell().received_bytes.add(count as u64),
            }
        }
        self.up.rest();
        let ended = self.interrupted(cx);
        if self.down.passage.is_unsent() {
            // A notice that it waits.
            let _taken = self.write_client(cx)?;
        }
        ended.map_or(Poll::Pending, |end| Poll::Ready(Err(end)))
    }

    /// Sets on the server what differs from what the client wants, in one round trip, and
    /// tells the client where the server understood something else. `None`: this server cannot be
    /// brought there, and another may; unless it is the `last` to be tried.
    async fn synchronise(
        &mut self,
        mut server: Box<Server>,
        last: bool,
    ) -> Result<Option<Box<Server>>, End> {
        let limit = self.local.with_plan(crate::plan::Plan::connect_timeout);
        self.local.cell().synchronisations.increment();
        let bears_others = server.state.settings.has_beside(&self.settings);
        match server.apply(&self.settings, limit).await {
            Ok(Ok(())) => {}
            Ok(Err(failure)) if self.asked.is_some() && !bears_others => {
                // What the client asks for is what no server does.
                self.local.give_back(server);
                return Err(End::Setting(failure.into()));
            }
            Ok(Err(failure)) => {
                // What another client left there is none of this one's business.
                tracing::warn!(pool = %self.local.name(), error = %failure, "a server connection cannot be given a client's parameters: closed");
                self.local.close_dirty(*server);
                return if last { Err(End::Setting(failure.into())) } else { Ok(None) };
            }
            Err(error) => {
                // One that was there before may be: nothing of the client's was sent.
                let may_be_dead = server.state.reused && !last;
                self.local.close_dirty(*server);
                if may_be_dead {
                    tracing::debug!(pool = %self.local.name(), %error, "a server connection was dead when it was prepared for use");
                    return Ok(None);
                }
                return Err(End::ServerLost(error.to_string()));
            }
        }
        let confirmed = self.settings.confirmed_by(&server.state.settings);
        let mut news = Vec::new();
        for (name, value) in confirmed.news(&self.settings) {
            backend::parameter_status(&mut news, name.as_bytes(), value);
        }
        debug_assert!(self.down.passage.unread().is_empty(), "messages of the server come later");
        if !self.down.passage.replace(0, &news) {
            self.stream.write_all(&news).await.map_err(|_| End::Gone)?;
        }
        let settings = self.local.share_settings(confirmed);
        server.state.settings = Arc::clone(&settings);
        server.state.settings_certain = true;
        if let Some(asked) = self.asked.take() {
            self.local.learn_settings(*asked, &settings);
        }
        self.settings = settings;
        Ok(Some(server))
    }
}

/// Gives a server back once the cancel request under way to it has been acted on: it might hit
/// the next client's query otherwise.
pub(super) fn give_back_settled(mut server: Box<Server>, cancelling: Rc<Cancelling>) {
    server.seat.move_to(Place::Used);
    let local = Rc::clone(server.seat.local());
    bs9_net::spawn(async move {
        cancelling.settle(&mut server).await;
        give_back_active(&local, server);
    });
}

/// The server of a session that has ended: brought back to how it was, then given back.
///
/// `everything`: state is known to be left behind, so it is reset even if that is not configured.
pub(super) fn reset_and_give_back(
    mut server: Box<Server>,
    cancelling: Option<Rc<Cancelling>>,
    everything: bool,
) {
    let local = Rc::clone(server.seat.local());
    let plan = local.plan();
    let configured = &plan.postgres().reset_query;
    // What is configured need not undo what a client was kept with its server for.
    let query = if everything { RESET.into() } else { Arc::clone(configured) };
    if query.is_empty() && cancelling.is_none() {
        local.give_back(server);
        return;
    }
    server.seat.move_to(Place::Tested);
    bs9_net::spawn(async move {
        if let Some(cancelling) = cancelling {
            cancelling.settle(&mut server).await;
        }
        if !query.is_empty() && !server.state.unfit {
            server.state.settings_certain = false;
            let outcome = server.run(&query, plan.connect_timeout()).await;
            if !matches!(outcome, Ok(Ok(()))) {
                tracing::warn!(pool = %local.name(), ?outcome, "the reset query failed: the server connection is closed");
                local.close_dirty(*server);
                return;
            }
        }
        give_back_active(&local, server);
    });
}

fn give_back_active(local: &Rc<LocalPool>, mut server: Box<Server>) {
    server.seat.move_to(Place::Active);
    local.give_back(server);
}

/// Closes a server whose client has gone before it was done. What it still runs is cancelled
/// first, so that it does not work for nobody.
pub(super) fn abandon(server: Box<Server>) {
    let local = Rc::clone(server.seat.local());
    let works = server.state.ledger.condition() == Condition::Busy && !server.stream.has_news();
    if !works || server.state.said_goodbye {
        local.close_dirty(*server);
        return;
    }
    bs9_net::spawn(async move {
        let buffers = Rc::clone(server.seat.local().shard().buffers());
        let _closed_either_way = server.state.target.cancel(&buffers).await;
        local.close_dirty(*server);
    });
}
