//! What a client leaves in its session: carried over to its next server, or kept where it is.

use std::sync::Arc;

use bs9_config::{PoolMode, Stateful};
use bs9_wire::encode::backend;

use super::{Client, End, checkout, relay::Outcome};
use crate::{
    listen::Subscription,
    server::{Current, Server},
    session::{Effects, Reason},
    settings::{self, CLIENT_ENCODING, MAX_FOLLOWED, Settings},
};

impl Client {
    /// A transaction is over in which the client changed what outlives it. Takes note of the
    /// parameters as they are now, and gives the server back, unless something ties the client
    /// to it.
    pub(super) async fn carry_over(
        &mut self,
        mut server: Box<Server>,
        mut effects: Effects,
    ) -> Result<(), End> {
        // A cancel request is for what the client ran.
        if let Some(cancelling) = self.registered.unlink() {
            cancelling.settle(&mut server).await;
        }
        if !self.note_settings(&mut server, &effects).await? {
            effects.note_pin(Reason::Setting);
        }
        let spoken = self.settings.reported(CLIENT_ENCODING.as_bytes());
        let understood = |known: &Subscription| Some(known.encoding().as_bytes()) == spoken;
        if !self.subscription.as_deref().is_none_or(understood) {
            // The shared connection speaks another character set.
            effects.note_pin(Reason::Listen);
        }
        let mut pins = std::mem::take(&mut effects.pins);
        if effects.listens {
            self.settle_listening(&mut server, &effects, &mut pins).await?;
        }
        if pins.is_empty() {
            self.release(server);
            return Ok(());
        }
        Err(self.stay(server, &pins).await)
    }

    /// Asks the server for the parameters that were touched. False when they cannot be followed: a
    /// reason to stay with the server.
    async fn note_settings(&mut self, server: &mut Server, effects: &Effects) -> Result<bool, End> {
        let Touched { certain, uncertain } = Touched::by(effects, &self.settings, &self.initial);
        if certain.is_empty() && uncertain.is_empty() {
            return Ok(true);
        }
        let limit = self.local.with_plan(crate::plan::Plan::connect_timeout);
        let waits = effects.may_defer() || server.state.settings.may_defer();
        let current = match server.current(&certain, &uncertain, waits, limit).await {
            Ok(Ok(current)) => current,
            Ok(Err(failure)) => {
                tracing::debug!(%failure, "parameters of a session cannot be followed");
                return Ok(false);
            }
            Err(error) => return Err(End::ServerLost(error.to_string())),
        };
        let (mut has, mut reset) = (Settings::clone(&self.settings), Vec::new());
        for (name, Current { value, given }) in certain.into_iter().chain(uncertain).zip(current) {
            // Of a parameter that the server does not list its value tells.
            let emptied = |value: &[u8]| {
                given.is_none() && effects.resets(&name) && settings::is_empty(&name, value)
            };
            match value.filter(|value| given != Some(false) && !emptied(value)) {
                Some(_) if has.is_reported(&name) => {}
                Some(value) => has.follow(&name, &value),
                None => reset.push(name),
            }
        }
        reset.iter().for_each(|name| has.unfollow(name));
        let follows = has.unreported().count() <= MAX_FOLLOWED;
        server.state.settings = self.local.share_settings(has);
        self.settings = Arc::clone(&server.state.settings);
        if follows && effects.pins.is_empty() {
            self.lead_back(&reset);
        }
        Ok(follows)
    }

    /// What was asked for at login is what a reset leads back to, on the next server.
    fn lead_back(&mut self, reset: &[Box<str>]) {
        let mut wanted = Settings::clone(&self.settings);
        let mut news = Vec::new();
        for name in reset {
            if let Some(initial) = self.initial.asked(name) {
                wanted.follow(name, initial);
            } else if let Some(initial) = self.initial.reported(name.as_bytes())
                && wanted.report(name.as_bytes(), initial)
            {
                backend::parameter_status(&mut news, name.as_bytes(), initial);
            }
        }
        if wanted != *self.settings {
            self.settings = self.local.share_settings(wanted);
        }
        if !news.is_empty() {
            self.down.passage.put_behind(&news);
        }
    }

    /// Keeps the server until the client leaves, which is what is returned.
    async fn stay(&mut self, mut server: Box<Server>, reasons: &[Reason]) -> End {
        for reason in reasons {
            self.local.cell().pins.count(*reason);
            let reason = reason.name();
            tracing::info!(pool = %self.local.name(), reason, "a client stays with its server connection");
        }
        self.registered.link(&server.state.target);
        // What it has there cannot be had from another.
        server.state.reused = false;
        if let Err(end) = self.listen_there(&mut server).await {
            return end;
        }
        let mut terms = super::Terms { mode: PoolMode::Session, ..self.terms() };
        terms.session.listen = Stateful::Ignore;
        match self.relay(&mut server, terms).await {
            Outcome::Ended(end) => {
                if self.up.is_settled() && server.is_settled() {
                    server.state.reused = true;
                    checkout::reset_and_give_back(server, self.registered.unlink(), true);
                } else {
                    self.leave(server, PoolMode::Session);
                }
                end
            }
            Outcome::Released | Outcome::Unsent => {
                let _settles_by_itself = self.registered.unlink();
                self.local.close_dirty(*server);
                End::ServerLost("the server connection was let go of".into())
            }
        }
    }
}

/// Parameters that a client's texts have touched.
#[derive(Default)]
struct Touched {
    /// Set, and followed before: whatever value they have now.
    certain: Vec<Box<str>>,
    /// Perhaps set and perhaps not: it failed, was reset or was rolled back.
    uncertain: Vec<Box<str>>,
}

impl Touched {
    fn by(effects: &Effects, has: &Settings, initial: &Settings) -> Self {
        let mut touched = Self::default();
        let named = || effects.set.iter().chain(&effects.reset);
        let all = has.unreported().filter(|_| effects.reset_all).map(Box::from);
        // Bytes of values are what they are in one character set.
        let encoded = has.encoded().filter(|_| effects.may_recode()).map(Box::from);
        for name in named().cloned().chain(all).chain(encoded) {
            if has.is_reported(&name) || !settings::is_followed(&name) {
                continue;
            }
            let certain = has.asked(&name).is_some() && !effects.resets(&name);
            let list = if certain { &mut touched.certain } else { &mut touched.uncertain };
            if !list.contains(&name) {
                list.push(name);
            }
        }
        // Of those that are reported the client may have asked for others than the server's own.
        let other = initial.differing(has);
        let reset = other.filter(|name| effects.resets(&name.to_ascii_lowercase()));
        touched.uncertain.extend(reset.map(Box::from));
        touched
    }
}
