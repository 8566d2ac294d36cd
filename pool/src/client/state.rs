//! What a client leaves in its session: carried over to its next server, or kept where it is.

use std::sync::Arc;

use bs9_config::{PoolMode, Stateful};
use bs9_wire::encode::backend;

use super::{Client, End, checkout, relay::Outcome};
use crate::{
    failure::LoginFailure,
    listen::Subscription,
    server::Server,
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
        effects: Effects,
    ) -> Result<(), End> {
        // A cancel request is for what the client ran.
        if let Some(cancelling) = self.registered.unlink() {
            cancelling.settle(&mut server).await;
        }
        let mut pins = effects.pins.clone();
        self.note_settings(&mut server, &effects, &mut pins).await?;
        let spoken = self.settings.reported(CLIENT_ENCODING.as_bytes());
        let understood = |known: &Subscription| Some(known.encoding().as_bytes()) == spoken;
        if !self.subscription.as_deref().is_none_or(understood) && !pins.contains(&Reason::Listen) {
            // The shared connection speaks another character set.
            pins.push(Reason::Listen);
        }
        if effects.listens {
            self.settle_listening(&mut server, &effects, &mut pins).await?;
        }
        if pins.is_empty() {
            self.release(server);
            return Ok(());
        }
        Err(self.stay(server, &pins).await)
    }

    /// Asks the server for the parameters that were touched. What cannot be followed is a reason to
    /// stay with the server.
    async fn note_settings(
        &mut self,
        server: &mut Server,
        effects: &Effects,
        pins: &mut Vec<Reason>,
    ) -> Result<(), End> {
        let limit = self.local.with_plan(crate::plan::Plan::connect_timeout);
        let touched = Touched::by(effects, &self.settings, &self.initial);
        let waits = touched.defers || server.state.settings.may_defer();
        let mut given = Vec::new();
        if !touched.uncertain.is_empty() {
            match server.given(&touched.uncertain, waits, limit).await {
                Ok(Ok(answers)) => given = answers,
                Ok(Err(failure)) => {
                    stay_for(pins, &failure);
                    return Ok(());
                }
                Err(error) => return Err(End::ServerLost(error.to_string())),
            }
        }
        let (mut followed, mut reset) = (touched.followed, Vec::new());
        for (name, given) in touched.uncertain.iter().zip(&given) {
            match given {
                Some(false) => reset.push(name.clone()),
                _ if !self.settings.is_reported(name) => followed.push(name.clone()),
                _ => {}
            }
        }
        let mut values = Vec::new();
        if !followed.is_empty() {
            match server.current(&followed, waits, limit).await {
                Ok(Ok(answers)) => values = answers,
                Ok(Err(failure)) => {
                    stay_for(pins, &failure);
                    return Ok(());
                }
                Err(error) => return Err(End::ServerLost(error.to_string())),
            }
        }
        if followed.is_empty() && reset.is_empty() {
            return Ok(());
        }
        let mut has = Settings::clone(&self.settings);
        for (name, value) in followed.into_iter().zip(values) {
            let was_reset = effects.reset_all || effects.reset.contains(&name);
            match value {
                // Of parameters that are not listed this is what a reset leaves.
                Some(value) if was_reset && settings::is_empty(&name, &value) => reset.push(name),
                Some(value) => has.follow(&name, &value),
                None => reset.push(name),
            }
        }
        reset.iter().for_each(|name| has.unfollow(name));
        let mut settings = has.clone();
        let mut news = Vec::new();
        for name in &reset {
            // What was asked for at login is what a reset leads back to.
            if let Some(initial) = self.initial.asked(name) {
                settings.follow(name, initial);
            } else if let Some(initial) = self.initial.reported(name.as_bytes())
                && settings.report(name.as_bytes(), initial)
            {
                backend::parameter_status(&mut news, name.as_bytes(), initial);
            }
        }
        if settings.unreported().count() > MAX_FOLLOWED && !pins.contains(&Reason::Setting) {
            pins.push(Reason::Setting);
        }
        server.state.settings = self.local.share_settings(has);
        if pins.is_empty() {
            if !news.is_empty() {
                self.down.passage.put_behind(&news);
            }
            self.settings = self.local.share_settings(settings);
        } else {
            self.settings = Arc::clone(&server.state.settings);
        }
        Ok(())
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
struct Touched {
    /// Set, and followed before: whatever value they have now.
    followed: Vec<Box<str>>,
    /// Perhaps set and perhaps not: it failed, was reset or was rolled back.
    uncertain: Vec<Box<str>>,
    /// Transactions may be deferrable by default now.
    defers: bool,
}

impl Touched {
    fn by(effects: &Effects, has: &Settings, initial: &Settings) -> Self {
        let (mut followed, mut uncertain): (Vec<Box<str>>, Vec<Box<str>>) = Default::default();
        let was_reset = |name: &str| {
            let named = |names: &[Box<str>]| names.iter().any(|known| **known == *name);
            named(&effects.reset) || effects.reset_all
        };
        let all = has.unreported().filter(|_| effects.reset_all).map(Box::from);
        // Bytes of values are what they are in one character set.
        let recoded =
            effects.set.iter().chain(&effects.reset).any(|name| **name == *CLIENT_ENCODING)
                || effects.reset_all;
        let encoded = has.encoded().filter(|_| recoded).map(Box::from);
        for name in effects.set.iter().chain(&effects.reset).cloned().chain(all).chain(encoded) {
            if has.is_reported(&name) || !settings::is_followed(&name) {
                continue;
            }
            let certain = has.asked(&name).is_some() && !was_reset(&name);
            let list = if certain { &mut followed } else { &mut uncertain };
            if !list.contains(&name) {
                list.push(name);
            }
        }
        // Of those that are reported the client may have asked for others than the server's own.
        uncertain.extend(
            initial
                .differing(has)
                .filter(|name| was_reset(&name.to_ascii_lowercase()))
                .map(Box::from),
        );
        let defers = effects.set.iter().any(|name| name.ends_with("_deferrable"));
        Self { followed, uncertain, defers }
    }
}

/// The server did not say what was asked.
fn stay_for(pins: &mut Vec<Reason>, failure: &LoginFailure) {
    tracing::debug!(%failure, "parameters of a session cannot be followed");
    if !pins.contains(&Reason::Setting) {
        pins.push(Reason::Setting);
    }
}
