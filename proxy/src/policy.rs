//! What a route does to requests on their way to an endpoint, and to the responses on theirs back.
//!
//! A [`Policy`] is compiled with the configuration: a short list of [`Stage`]s, each a plain type
//! that edits the [`Draft`] of what the endpoint is asked. What a route does not configure is not
//! in its list.

mod fields;
mod location;
mod parts;
mod prefix;
mod rewrite;
mod split;
mod text;

pub(crate) use fields::FieldEdits;
pub(crate) use location::Redirect;
pub(crate) use parts::{PathParts, RequestParts};
pub(crate) use split::Split;

use rewrite::Rewrite;

use crate::http1::authority;

/// What a route does besides its action.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    /// In the order in which they are carried out; empty: what came in goes out.
    stages: Box<[Stage]>,
    /// Changes to the fields that the client gets.
    pub(crate) response: FieldEdits,
}

/// One thing that is done to a request.
#[derive(Debug)]
enum Stage {
    Rewrite(Rewrite),
    Fields(FieldEdits),
}

/// What the endpoint is asked for, as far as it is not what the client asked for.
pub(crate) struct Draft<'a> {
    /// Path, then host.
    text: &'a mut Vec<u8>,
    path_len: usize,
    pub(crate) fields: Option<&'a FieldEdits>,
}

/// A part of the request that leads to a place there cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request leads to a host that there cannot be")]
pub(crate) struct InvalidAuthority;

/// What of a route's policy cannot be carried out.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {message}")]
pub(crate) struct PolicyError {
    /// The key within the route.
    pub(crate) key: &'static str,
    pub(crate) message: String,
}

impl Policy {
    /// Compiles what `route` says. `everywhere`: fields of every response of the listener.
    pub(crate) fn compile(
        route: &bs9_config::Route,
        everywhere: &FieldEdits,
    ) -> Result<Self, PolicyError> {
        let mut stages = Vec::new();
        if let Some(rewrite) = &route.rewrite {
            let parts = PathParts::of(&route.matches.path)
                .map_err(|message| PolicyError { key: "path", message })?;
            let rewrite = Rewrite::compile(rewrite, &parts)
                .map_err(|message| PolicyError { key: "rewrite", message })?;
            stages.push(Stage::Rewrite(rewrite));
        }
        let request = FieldEdits::compile(&route.request_headers)
            .map_err(|message| PolicyError { key: "request_headers", message })?;
        if !request.is_empty() {
            stages.push(Stage::Fields(request));
        }
        let response = FieldEdits::compile(&route.response_headers)
            .map_err(|message| PolicyError { key: "response_headers", message })?;
        Ok(Self { stages: stages.into(), response: response.and(everywhere) })
    }

    /// Whether a request goes out as it came in.
    #[inline]
    pub(crate) fn leaves_requests(&self) -> bool {
        self.stages.is_empty()
    }

    /// Carries out every stage. `draft` has been begun with the path as it is.
    pub(crate) fn apply<'a>(
        &'a self,
        parts: &RequestParts<'_>,
        draft: &mut Draft<'a>,
    ) -> Result<(), InvalidAuthority> {
        self.stages.iter().try_for_each(|stage| match stage {
            Stage::Rewrite(rewrite) => rewrite.apply(parts, draft),
            Stage::Fields(fields) => {
                draft.fields = Some(fields);
                Ok(())
            }
        })
    }
}

impl<'a> Draft<'a> {
    /// Asks for what the client asked for. `text` is empty, and kept for its room.
    pub(crate) fn new(text: &'a mut Vec<u8>) -> Self {
        debug_assert!(text.is_empty());
        Self { text, path_len: 0, fields: None }
    }

    /// Asks for another path, which `write` writes, with this query. Comes before [`Self::set_host`].
    pub(crate) fn set_path(&mut self, query: Option<&str>, write: impl FnOnce(&mut Vec<u8>)) {
        self.text.clear();
        write(self.text);
        if self.text.first() != Some(&b'/') {
            self.text.insert(0, b'/');
        }
        if let Some(query) = query {
            self.text.push(b'?');
            self.text.extend_from_slice(query.as_bytes());
        }
        self.path_len = self.text.len();
    }

    /// Asks for another host.
    fn set_host(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), InvalidAuthority> {
        self.text.truncate(self.path_len);
        write(self.text);
        match authority::is_valid(&self.text[self.path_len..]) {
            true => Ok(()),
            false => Err(InvalidAuthority),
        }
    }

    /// Path and query, when they are others.
    pub(crate) fn path(&self) -> Option<&str> {
        visible(&self.text[..self.path_len])
    }

    /// The host, when it is another.
    pub(crate) fn host(&self) -> Option<&str> {
        visible(&self.text[self.path_len..])
    }
}

/// All of it comes from a configuration or through the parser: visible ASCII.
fn visible(text: &[u8]) -> Option<&str> {
    std::str::from_utf8(text).ok().filter(|text| !text.is_empty())
}
