//! The tables of fields (RFC 7541 section 2.3).

use std::collections::VecDeque;

/// What an entry counts for beside its bytes (section 4.1).
const ENTRY_BYTES: usize = 32;

/// Appendix A. Indices begin with 1.
pub(super) const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// The index of a static entry with this name, which is in lower case.
pub(super) fn static_name(name: &[u8]) -> Option<usize> {
    // Entries are in the order of their names but for one; statuses have a way of their own.
    const FROM: usize = 14;
    STATIC[FROM..].iter().position(|(known, _)| known.as_bytes() == name).map(|at| FROM + at + 1)
}

/// A field: its name, then its value.
#[derive(Debug)]
struct Entry {
    line: Box<[u8]>,
    name_len: usize,
}

impl Entry {
    fn size(&self) -> usize {
        self.line.len() + ENTRY_BYTES
    }
}

/// The dynamic table, newest first.
#[derive(Debug)]
pub(super) struct Table {
    entries: VecDeque<Entry>,
    size: usize,
    limit: usize,
}

impl Table {
    /// An empty one of at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { entries: VecDeque::new(), size: 0, limit }
    }

    /// Name and value of the entry at an index of either table.
    pub(super) fn get(&self, index: usize) -> Option<(&[u8], &[u8])> {
        let index = index.checked_sub(1)?;
        match STATIC.get(index) {
            Some((name, value)) => Some((name.as_bytes(), value.as_bytes())),
            None => {
                let entry = self.entries.get(index - STATIC.len())?;
                Some(entry.line.split_at(entry.name_len))
            }
        }
    }

    /// Adds a field, whose name is so long; what is too large for the table empties it.
    pub(super) fn insert(&mut self, line: &[u8], name_len: usize) {
        let size = line.len() + ENTRY_BYTES;
        self.shrink_to(self.limit.saturating_sub(size));
        if size <= self.limit {
            self.entries.push_front(Entry { line: line.into(), name_len });
            self.size += size;
        }
    }

    /// How many bytes it may have.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Changes how many bytes it may have.
    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.shrink_to(limit);
    }

    fn shrink_to(&mut self, size: usize) {
        while self.size > size {
            let Some(oldest) = self.entries.pop_back() else { return };
            self.size -= oldest.size();
        }
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the entry at a position, from the newest on, is this field.
    pub(super) fn is(&self, at: usize, line: &[u8], name_len: usize) -> bool {
        let found = self.entries.get(at);
        found.is_some_and(|entry| entry.name_len == name_len && *entry.line == *line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_make_room_and_what_is_too_large_empties_the_table() {
        let mut table = Table::new(80);
        table.insert(b"a1", 1);
        table.insert(b"b2", 1);
        assert_eq!(
            (table.get(62), table.get(63)),
            (Some((&b"b"[..], &b"2"[..])), Some((&b"a"[..], &b"1"[..])))
        );
        table.insert(b"c3", 1);
        assert_eq!((table.len(), table.size), (2, 68));
        assert!(table.is(0, b"c3", 1) && table.is(1, b"b2", 1) && !table.is(1, b"b2", 2));
        table.set_limit(67);
        assert_eq!(table.len(), 1);
        table.insert(&[b'x'; 36], 4);
        assert_eq!((table.len(), table.size, table.get(62)), (0, 0, None));
    }

    #[test]
    fn names_are_found_at_their_first_entry() {
        for (at, (name, _)) in STATIC.iter().enumerate().skip(14) {
            assert_eq!(static_name(name.as_bytes()), Some(at + 1), "{name}");
        }
        assert_eq!(static_name(b"x-other"), None);
        assert_eq!(Table::new(0).get(0), None);
    }
}
