//! Bytes without an end that can be told from each other by their place.

/// Bytes that repeat, but for a number at the beginning of each block.
const BLOCK_BYTES: usize = 64 * 1024;
const NUMBER_BYTES: usize = 8;

/// A place in the pattern, and how it goes on there.
pub(crate) struct Pattern {
    position: u64,
    block: Vec<u8>,
}

impl Pattern {
    pub(crate) fn new() -> Self {
        let mut x = 0x2545_F491_u32;
        let mut next = || {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            x.to_le_bytes()
        };
        let block = (0..BLOCK_BYTES / 4).flat_map(|_| next()).collect();
        let mut this = Self { position: 0, block };
        this.number(0);
        this
    }

    /// Bytes so far.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    fn number(&mut self, number: u64) {
        self.block[..NUMBER_BYTES].copy_from_slice(&number.to_le_bytes());
    }

    /// What comes next, up to so many bytes.
    fn next(&mut self, most: usize, mut take: impl FnMut(&[u8]) -> bool) -> bool {
        let mut left = most;
        while left > 0 {
            let at = (self.position % BLOCK_BYTES as u64) as usize;
            if at == 0 {
                self.number(self.position / BLOCK_BYTES as u64);
            }
            let count = left.min(BLOCK_BYTES - at);
            if !take(&self.block[at..at + count]) {
                return false;
            }
            self.position += count as u64;
            left -= count;
        }
        true
    }

    pub(crate) fn fill(&mut self, mut into: &mut [u8]) {
        self.next(into.len(), |bytes| {
            let (front, rest) = std::mem::take(&mut into).split_at_mut(bytes.len());
            front.copy_from_slice(bytes);
            into = rest;
            true
        });
    }

    /// Whether these bytes come next.
    pub(crate) fn matches(&mut self, mut bytes: &[u8]) -> bool {
        self.next(bytes.len(), |expected| {
            let (front, rest) = bytes.split_at(expected.len());
            bytes = rest;
            front == expected
        })
    }
}
