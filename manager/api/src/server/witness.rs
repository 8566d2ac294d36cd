//! Changes are witnessed: who asks for what, how things were, what came of it.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;
use serde_json::Value;

use super::Caller;
use crate::error::ApiError;

/// A future that a trait object can return.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Keeps a record of every call that changes something.
pub trait Witness: fmt::Debug + Send + Sync {
    /// Told before a change is carried out; what it returns comes back in
    /// [`end`](Self::end). An error stops the change.
    fn begin(&self, change: Asked) -> Pending<'_, Result<u64, ApiError>>;

    /// Told what came of a change.
    fn end(&self, ticket: u64, change: Asked, outcome: Outcome) -> Pending<'_, ()>;

    /// Told of a change that a known caller was refused.
    fn refused(&self, change: Asked, reason: ApiError) -> Pending<'_, ()>;
}

/// A change that somebody asks for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Who.
    pub caller: Caller,
    /// The operation of the endpoint table.
    pub operation: &'static str,
    /// The path of the call.
    pub target: String,
    /// The body, when there is one and it is JSON. Holds whatever secrets the
    /// caller sent.
    pub request: Option<Value>,
}

/// What came of a change.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Why it was not done; `None`: it was.
    pub failure: Option<ApiError>,
    /// How things were, as the implementation told its [`Attempt`].
    pub before: Option<Value>,
    /// How things are.
    pub after: Option<Value>,
}

/// A change that is being carried out: who asked for it, and what its record is
/// to say about the difference it makes.
#[derive(Debug, Clone)]
pub struct Attempt {
    caller: Caller,
    evidence: Arc<Mutex<Evidence>>,
}

#[derive(Debug, Default)]
struct Evidence {
    before: Option<Value>,
    after: Option<Value>,
}

impl Attempt {
    /// An attempt by `caller`.
    pub fn new(caller: Caller) -> Self {
        Self { caller, evidence: Arc::default() }
    }

    /// Who asked for it.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Records how things were. Secrets do not belong here; what looks like one
    /// is taken out before it is written.
    pub fn before<T: Serialize>(&self, state: &T) {
        self.evidence().before = serde_json::to_value(state).ok();
    }

    /// Records how things are now.
    pub fn after<T: Serialize>(&self, state: &T) {
        self.evidence().after = serde_json::to_value(state).ok();
    }

    pub(super) fn outcome(&self, failure: Option<ApiError>) -> Outcome {
        let mut evidence = self.evidence();
        Outcome { failure, before: evidence.before.take(), after: evidence.after.take() }
    }

    fn evidence(&self) -> std::sync::MutexGuard<'_, Evidence> {
        // Two fields that are each set whole: a panic cannot leave half of one.
        self.evidence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
