//! What has to come back: status, header fields, body.
//!
//! Nothing of a body is kept unless a pattern is looked for in it.

use regex::bytes::Regex;

use crate::failure::Failure;

mod needle;
mod status;

use needle::Needle;
pub use status::{StatusError, StatusSet};

/// Longest body a pattern is looked for in, in bytes.
pub const MAX_MATCHED_BYTES: usize = 1 << 20;
/// Most checks of header fields of one request.
pub const MAX_HEADER_CHECKS: usize = 32;

/// What has to come back for one request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Checks {
    pub(crate) status: StatusSet,
    pub(crate) headers: Vec<HeaderCheck>,
    pub(crate) bodies: Vec<BodyCheck>,
}

/// What one of the fields of a name has to be.
#[derive(Debug, Clone)]
pub(crate) struct HeaderCheck {
    pub(crate) name: String,
    pub(crate) rule: Rule,
}

/// What a value has to be.
#[derive(Debug, Clone)]
pub(crate) enum Rule {
    /// Anything, as long as it is there.
    Present,
    Equals(Vec<u8>),
    Contains(Vec<u8>),
    Matches(Regex),
}

/// What a body has to be.
#[derive(Debug, Clone)]
pub(crate) enum BodyCheck {
    Equals(Vec<u8>),
    Contains(Needle),
    Matches(Regex),
}

/// What was seen of a response so far. Belongs to a connection, or to a stream of one.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// A bit for each header check that one field passed.
    headers: u32,
    /// For each check of the body how far it is.
    progress: Vec<usize>,
    /// The body, where a pattern is looked for in it.
    body: Vec<u8>,
    too_long: bool,
}

/// The body is known to be another one.
const DIFFERS: usize = usize::MAX;

// === impl Rule ===

impl Rule {
    fn holds(&self, value: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Equals(text) => value == text,
            Self::Contains(text) => memchr::memmem::find(value, text).is_some(),
            Self::Matches(pattern) => pattern.is_match(value),
        }
    }
}

// === impl BodyCheck ===

impl BodyCheck {
    /// That it holds a text; an empty one is held by every body.
    pub(crate) fn contains(text: &[u8]) -> Option<Self> {
        (!text.is_empty()).then(|| Self::Contains(Needle::new(text)))
    }

    /// Goes on with a piece of the body.
    fn step(&self, progress: &mut usize, piece: &[u8]) {
        match self {
            Self::Contains(needle) => needle.search(progress, piece),
            Self::Equals(text) if *progress != DIFFERS => {
                let goes_on = text[*progress..].starts_with(piece);
                *progress = if goes_on { *progress + piece.len() } else { DIFFERS };
            }
            Self::Equals(_) | Self::Matches(_) => {}
        }
    }

    fn verdict(&self, progress: usize, seen: &Seen) -> Result<(), Failure> {
        match self {
            Self::Contains(needle) if needle.is_found(progress) => Ok(()),
            Self::Contains(_) => Err(Failure::Body("it does not hold the text it should")),
            Self::Equals(text) if progress == text.len() => Ok(()),
            Self::Equals(_) => Err(Failure::Body("it is not the text it should be")),
            Self::Matches(_) if seen.too_long => {
                Err(Failure::Body("it is longer than 1 MiB, too long to look for a pattern"))
            }
            Self::Matches(pattern) if pattern.is_match(&seen.body) => Ok(()),
            Self::Matches(_) => Err(Failure::Body("it does not match the pattern it should")),
        }
    }
}

// === impl Checks ===

impl Checks {
    /// Another response begins.
    #[inline]
    pub(crate) fn begin(&self, seen: &mut Seen) {
        seen.headers = 0;
        seen.too_long = false;
        seen.body.clear();
        seen.progress.clear();
        seen.progress.resize(self.bodies.len(), 0);
    }

    /// Whether header fields matter.
    #[inline]
    pub(crate) fn wants_headers(&self) -> bool {
        !self.headers.is_empty()
    }

    /// A header field of the response that counts.
    pub(crate) fn header(&self, seen: &mut Seen, name: &[u8], value: &[u8]) {
        for (index, check) in self.headers.iter().enumerate() {
            if name.eq_ignore_ascii_case(check.name.as_bytes()) && check.rule.holds(value) {
                seen.headers |= 1 << index;
            }
        }
    }

    /// A piece of the body.
    #[inline]
    pub(crate) fn body(&self, seen: &mut Seen, piece: &[u8]) {
        if self.bodies.is_empty() {
            return;
        }
        for (check, progress) in self.bodies.iter().zip(&mut seen.progress) {
            check.step(progress, piece);
        }
        if self.bodies.iter().any(|check| matches!(check, BodyCheck::Matches(_))) {
            seen.too_long |= seen.body.len() + piece.len() > MAX_MATCHED_BYTES;
            if !seen.too_long {
                seen.body.extend_from_slice(piece);
            }
        }
    }

    /// The response is all there.
    ///
    /// # Errors
    /// The first thing that is not as it should be.
    pub(crate) fn verdict(&self, seen: &Seen, status: u16) -> Result<(), Failure> {
        if !self.status.contains(status) {
            return Err(Failure::Status(status));
        }
        for (index, check) in self.headers.iter().enumerate() {
            if seen.headers & 1 << index == 0 {
                return Err(Failure::Header { name: check.name.clone() });
            }
        }
        for (check, progress) in self.bodies.iter().zip(&seen.progress) {
            check.verdict(*progress, seen)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::failure::FailureKind;

    fn pattern(text: &str) -> Regex {
        Regex::new(text).unwrap()
    }

    fn outcome(
        checks: &Checks,
        seen: &mut Seen,
        fields: &[(&str, &str)],
        pieces: &[&str],
    ) -> Option<FailureKind> {
        checks.begin(seen);
        for (name, value) in fields {
            checks.header(seen, name.as_bytes(), value.as_bytes());
        }
        pieces.iter().for_each(|piece| checks.body(seen, piece.as_bytes()));
        checks.verdict(seen, 200).err().map(|failure| failure.kind())
    }

    #[test]
    fn one_field_of_the_name_is_enough() {
        let header = |name: &str, rule| HeaderCheck { name: name.to_owned(), rule };
        let headers = vec![
            header("Content-Type", Rule::Contains(b"json".to_vec())),
            header("X-A", Rule::Equals(b"b".to_vec())),
            header("X-B", Rule::Present),
            header("X-C", Rule::Matches(pattern("^[0-9]+$"))),
        ];
        let checks = Checks { headers, ..Checks::default() };
        let mut seen = Seen::default();
        let all = [
            ("content-type", "application/json"),
            ("x-a", "a"),
            ("X-A", "b"),
            ("x-b", ""),
            ("x-c", "12"),
        ];
        assert_eq!(outcome(&checks, &mut seen, &all, &[]), None);
        for left_out in [0, 2, 3, 4] {
            let mut fields = all.to_vec();
            fields.remove(left_out);
            let kind = outcome(&checks, &mut seen, &fields, &[]);
            assert_eq!(kind, Some(FailureKind::Header), "{left_out}");
        }
    }

    #[test]
    fn a_pattern_sees_the_whole_body_or_none() {
        let checks =
            Checks { bodies: vec![BodyCheck::Matches(pattern("^a.*z$"))], ..Checks::default() };
        let mut seen = Seen::default();
        assert_eq!(outcome(&checks, &mut seen, &[], &["ab", "yz"]), None);
        assert_eq!(outcome(&checks, &mut seen, &[], &["ab", "y"]), Some(FailureKind::Body));
        let long = "a".repeat(MAX_MATCHED_BYTES);
        assert_eq!(outcome(&checks, &mut seen, &[], &[&long, "z"]), Some(FailureKind::Body));
        assert_eq!(outcome(&checks, &mut seen, &[], &["az"]), None, "nothing is left of it");
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(text in "[ab]{1,5}", body in "[ab]{0,12}", split in 0usize..12) {
            let (first, second) = body.split_at(split.min(body.len()));
            let contains = Checks {
                bodies: BodyCheck::contains(text.as_bytes()).into_iter().collect(),
                ..Checks::default()
            };
            let equals =
                Checks { bodies: vec![BodyCheck::Equals(text.clone().into())], ..Checks::default() };
            let mut seen = Seen::default();
            let pieces = [first, second];
            prop_assert_eq!(outcome(&contains, &mut seen, &[], &pieces).is_none(), body.contains(&text));
            prop_assert_eq!(outcome(&equals, &mut seen, &[], &pieces).is_none(), body == text);
        }
    }
}
