//! What a client leaves in its session: carried over to its next server, or kept where it is.

use bs9_config::{PoolMode, Stateful};

use super::{Client, End, checkout, relay::Outcome};
use crate::{
    server::Server,
    session::{Effects, Reason},
    settings::Settings,
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
            cancelling.cancel_settled().await;
        }
        self.note_settings(&mut server, &effects).await?;
        let mut pins = effects.pins.clone();
        if effects.listens {
            self.settle_listening(&mut server, &effects, &mut pins).await?;
        }
        if pins.is_empty() {
            self.release(server);
            return Ok(());
        }
        Err(self.stay(server, &pins).await)
    }

    /// Asks the server for the parameters that were touched.
    async fn note_settings(
        &mut self,
        server: &mut Box<Server>,
        effects: &Effects,
    ) -> Result<(), End> {
        let mut names: Vec<Box<str>> = effects.set.iter().chain(&effects.reset).cloned().collect();
        if effects.reset_all {
            names.extend(self.settings.unreported().map(Box::from));
        }
        names.retain(|name| !self.settings.is_reported(name));
        if names.is_empty() {
            return Ok(());
        }
        let limit = self.local.with_plan(crate::plan::Plan::connect_timeout);
        let values = match server.current(&names, limit).await {
            Ok(Ok(values)) => values,
            Ok(Err(failure)) => return Err(End::Setting(failure.into())),
            Err(error) => return Err(End::ServerLost(error.to_string())),
        };
        let (mut has, mut wants) = (Settings::clone(&self.settings), None);
        for (name, value) in names.iter().zip(values) {
            let was_reset =
                effects.reset.contains(name) || effects.reset_all && !effects.set.contains(name);
            // A reset that was rolled back has left things as they were.
            let is_reset = was_reset && value.as_deref() != self.settings.asked(name);
            match value.filter(|_| !is_reset) {
                Some(value) => has.follow(name, &value),
                None => has.unfollow(name),
            }
            if is_reset && let Some(initial) = self.initial.asked(name) {
                wants.get_or_insert_with(Vec::new).push((name, initial));
            }
        }
        let mut settings = has.clone();
        for (name, value) in wants.into_iter().flatten() {
            settings.follow(name, value);
        }
        server.state.settings = self.local.share_settings(has);
        self.settings = self.local.share_settings(settings);
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
