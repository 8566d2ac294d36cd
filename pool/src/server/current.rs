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

    /// The values that parameters have in this session. An error of the server is returned
    /// inside. `waits`: as of [`expect_batches`](Self::expect_batches).
    pub(crate) async fn current(
        &mut self,
        names: &[Box<str>],
        waits: bool,
        limit: Duration,
    ) -> Result<Result<Vec<Value>, LoginFailure>, ServerError> {
        self.question(settings::write_question, names, waits, limit).await
    }

    /// Which of these parameters have a value that the session was given; `None`: not to be known.
    pub(crate) async fn given(
        &mut self,
        names: &[Box<str>],
        waits: bool,
        limit: Duration,
    ) -> Result<Result<Vec<Option<bool>>, LoginFailure>, ServerError> {
        let answer = self.question(settings::write_question_of_source, names, waits, limit).await?;
        let is_true = |value: Value| value.map(|value| *value == *b"t");
        Ok(answer.map(|values| values.into_iter().map(is_true).collect()))
    }

    async fn question(
        &mut self,
        write: fn(&mut Vec<u8>, &[Box<str>]),
        names: &[Box<str>],
        waits: bool,
        limit: Duration,
    ) -> Result<Result<Vec<Value>, LoginFailure>, ServerError> {
        let mut batch = Vec::with_capacity(256);
        write(&mut batch, names);
        let requests = self.expect_batches(batch, 1, waits)?;
        let conversation = self.ask(&requests);
        let answer = bs9_net::time::timeout(limit, conversation).await;
        let answer = answer.unwrap_or(Err(ServerError::TimedOut))?;
        Ok(answer.map(|mut values| {
            values.resize(names.len(), None);
            values
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
