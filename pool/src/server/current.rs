//! Asking a server for parameters, and for what it listens to.

use std::time::Duration;

use bs9_wire::{
    encode::frontend,
    frame::Frame,
    ledger::{Origin, Request},
    tag::BackendTag,
};

use super::{Server, ServerError};
use crate::{
    failure::LoginFailure,
    listen::{self, Channel, Unlistened},
    settings,
};

/// A value, unless the parameter has none.
type Value = Option<Box<[u8]>>;

/// What a parameter is in a session.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) value: Value,
    /// Whether the session was given it; `None`: the server does not list it.
    pub(crate) given: Option<bool>,
}

/// What a session listens to, and what was noted in it.
#[derive(Debug, Default)]
pub(crate) struct Listened {
    pub(crate) channels: Vec<Channel>,
    pub(crate) notes: Vec<Unlistened>,
}

impl Server {
    /// What the session listens to. An error of the server is returned inside.
    pub(crate) async fn listened(
        &mut self,
        limit: Duration,
    ) -> Result<Result<Listened, LoginFailure>, ServerError> {
        let mut request = Vec::with_capacity(256);
        frontend::query(&mut request, listen::QUESTION);
        self.state.prepared.drop_unnamed();
        let _owed = self.state.ledger.expect(Request::Query, Origin::Pool, 0)?;
        let mut listened = Listened::default();
        let conversation = self.exchange(&request, |frame| {
            if frame.tag == BackendTag::DataRow {
                match read_row(frame).as_slice() {
                    [Some(what), Some(name)] if **what == *b"channel" => {
                        listened.channels.push(Channel::from(&**name));
                    }
                    [_, Some(notes)] => listened.notes = listen::read_notes(notes),
                    _ => {}
                }
            }
        });
        let answer = bs9_net::time::timeout(limit, conversation).await;
        let answer = answer.unwrap_or(Err(ServerError::TimedOut))?;
        Ok(answer.map(|()| listened))
    }

    /// What parameters are in this session. An error of the server is returned inside. Whether the
    /// session was given them is asked of the `uncertain` ones alone, which come last. `waits`: as of
    /// [`expect_batches`](Self::expect_batches).
    pub(crate) async fn current(
        &mut self,
        certain: &[Box<str>],
        uncertain: &[Box<str>],
        waits: bool,
        limit: Duration,
    ) -> Result<Result<Vec<Current>, LoginFailure>, ServerError> {
        let mut batch = Vec::with_capacity(256);
        settings::write_question(&mut batch, certain, uncertain);
        let requests = self.expect_batches(batch, 1, waits)?;
        let conversation = self.ask(&requests);
        let answer = bs9_net::time::timeout(limit, conversation).await;
        let answer = answer.unwrap_or(Err(ServerError::TimedOut))?;
        Ok(answer.map(|mut values| {
            let count = certain.len() + uncertain.len();
            values.resize(count + uncertain.len(), None);
            let asked = values.split_off(count).into_iter();
            let given = asked.map(|given| given.map(|given| *given == *b"t"));
            let given = std::iter::repeat_n(Some(true), certain.len()).chain(given);
            values.into_iter().zip(given).map(|(value, given)| Current { value, given }).collect()
        }))
    }

    async fn ask(
        &mut self,
        requests: &[u8],
    ) -> Result<Result<Vec<Value>, LoginFailure>, ServerError> {
        let mut values = Vec::new();
        let failure = self
            .exchange(requests, |frame| {
                if frame.tag == BackendTag::DataRow {
                    values = read_row(frame);
                }
            })
            .await?;
        Ok(failure.map(|()| values))
    }
}

fn read_row(frame: &Frame<'_, BackendTag>) -> Vec<Value> {
    let mut rest = frame.body.get(2..).unwrap_or_default();
    let mut values = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(i32::from_be_bytes(*length)).ok();
        let taken = length.unwrap_or(0).min(after.len());
        let (value, after) = after.split_at(taken);
        values.push(length.map(|_| value.into()));
        rest = after;
    }
    values
}
