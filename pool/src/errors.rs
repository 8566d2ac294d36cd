//! Errors that servers report, counted by class of SQLSTATE.

use std::array;

use bs9_net::Counter;

/// Classes that PostgreSQL has (its documentation, appendix A), and one for every other.
const CLASSES: [[u8; 2]; 41] = [
    *b"03", *b"08", *b"09", *b"0A", *b"0B", *b"0F", *b"0L", *b"0P", *b"0Z", *b"20", *b"21", *b"22",
    *b"23", *b"24", *b"25", *b"26", *b"27", *b"28", *b"2B", *b"2D", *b"2F", *b"34", *b"38", *b"39",
    *b"3B", *b"3D", *b"3F", *b"40", *b"42", *b"44", *b"53", *b"54", *b"55", *b"57", *b"58", *b"72",
    *b"F0", *b"HV", *b"P0", *b"XX", *b"--",
];

/// Written by its shard alone. The last counts every other class.
#[derive(Debug)]
pub(crate) struct ErrorCounts([Counter; CLASSES.len()]);

/// What is not a class of PostgreSQL.
const OTHER: &str = "other";

impl Default for ErrorCounts {
    fn default() -> Self {
        Self(array::from_fn(|_| Counter::default()))
    }
}

impl ErrorCounts {
    /// Counts an error with this SQLSTATE.
    pub(crate) fn count(&self, sqlstate: Option<&[u8]>) {
        let last = CLASSES.len() - 1;
        let class = sqlstate.and_then(|sqlstate| sqlstate.get(..2));
        let known = &CLASSES[..last];
        let at = class.and_then(|class| known.iter().position(|known| known == class));
        self.0[at.unwrap_or(last)].increment();
    }

    /// The count at `index`.
    pub(crate) fn get(&self, index: usize) -> u64 {
        self.0[index].get()
    }
}

/// Every class by its index, in order.
pub(crate) fn classes() -> impl Iterator<Item = (usize, &'static str)> {
    CLASSES.iter().enumerate().map(|(index, class)| {
        let last = index == CLASSES.len() - 1;
        let name = if last { OTHER } else { std::str::from_utf8(class).unwrap_or(OTHER) };
        (index, name)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn errors_are_counted_by_class() {
        let counts = ErrorCounts::default();
        for sqlstate in [&b"42601"[..], b"42P01", b"22012", b"ZZ000", b"2"] {
            counts.count(Some(sqlstate));
        }
        counts.count(None);
        let found: BTreeMap<_, _> = classes()
            .map(|(index, class)| (class, counts.get(index)))
            .filter(|(_, count)| *count > 0)
            .collect();
        assert_eq!(found, BTreeMap::from([("22", 1), ("42", 2), ("other", 3)]));
    }
}
