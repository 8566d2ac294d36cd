//! What is asked of the value of a header field, a cookie or a query parameter.

use regex::bytes::{Regex, RegexBuilder};

/// Bytes one compiled expression may take.
const MAX_PATTERN_BYTES: usize = 1024 * 1024;

/// A test of values. Of several with one name, one that holds is enough.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ValueMatch {
    /// It is there, whatever it is.
    Present,
    /// It is not there.
    Absent,
    /// Exactly this.
    Exact(String),
    /// It begins with this.
    Prefix(String),
    /// The regular expression finds a match in it.
    Regex(String),
}

/// A test, made ready.
#[derive(Debug)]
pub(super) enum ValueTest {
    Present,
    Absent,
    Exact(Box<[u8]>),
    Prefix(Box<[u8]>),
    Regex(Box<Regex>),
}

impl ValueTest {
    pub(super) fn compile(wanted: &ValueMatch) -> Result<Self, regex::Error> {
        Ok(match wanted {
            ValueMatch::Present => Self::Present,
            ValueMatch::Absent => Self::Absent,
            ValueMatch::Exact(text) => Self::Exact(text.as_bytes().into()),
            ValueMatch::Prefix(text) => Self::Prefix(text.as_bytes().into()),
            ValueMatch::Regex(text) => {
                let builder = RegexBuilder::new(text).size_limit(MAX_PATTERN_BYTES).build();
                Self::Regex(Box::new(builder?))
            }
        })
    }

    /// Whether the test holds, when `any` says whether one of the values passes what it is given.
    #[inline]
    pub(super) fn holds(&self, any: impl FnOnce(&mut dyn FnMut(&[u8]) -> bool) -> bool) -> bool {
        match self {
            Self::Present => any(&mut |_| true),
            Self::Absent => !any(&mut |_| true),
            Self::Exact(wanted) => any(&mut |value| value == &**wanted),
            Self::Prefix(wanted) => any(&mut |value| value.starts_with(wanted)),
            Self::Regex(wanted) => any(&mut |value| wanted.is_match(value)),
        }
    }

    /// How exactly it says what it wants: fewer is more exactly.
    pub(super) fn looseness(&self) -> usize {
        match self {
            Self::Exact(_) => 0,
            Self::Prefix(_) => 1,
            Self::Regex(_) => 2,
            Self::Present | Self::Absent => 3,
        }
    }
}
