//! Payloads that are sent to be echoed, and whether they are.

use std::sync::Arc;

use crate::failure::Failure;

/// Payloads begin at one of so many places of the pattern, a different one each time: an echo
/// that is late, or another connection's, does not pass for the right one. A prime, so that the
/// sequence does not fall in step with the number of connections.
const WINDOWS: usize = 251;

/// Windows of one pattern. Nothing is copied for them.
#[derive(Debug, Clone)]
pub(crate) struct Payloads {
    pattern: Arc<[u8]>,
    bytes: usize,
    next_window: usize,
}

/// Where a payload begins in the pattern, and how much of it came back.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Echoed {
    window: usize,
    returned: usize,
}

impl Payloads {
    /// Payloads of so many bytes, at least one.
    pub(crate) fn new(bytes: usize) -> Self {
        // xorshift64 (Marsaglia 2003): no two windows look alike.
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        let pattern = (0..bytes + WINDOWS).map(|_| next()).collect();
        Self { pattern, bytes, next_window: 0 }
    }

    /// Another payload, of which nothing came back yet.
    pub(crate) fn next(&mut self) -> Echoed {
        let window = self.next_window;
        self.next_window = (window + 1) % WINDOWS;
        Echoed { window, returned: 0 }
    }

    pub(crate) fn payload(&self, echoed: Echoed) -> &[u8] {
        &self.pattern[echoed.window..][..self.bytes]
    }

    /// Compares what came back. Says whether that is all of it.
    ///
    /// # Errors
    /// When it is something else, or more.
    pub(crate) fn compare(&self, echoed: &mut Echoed, input: &[u8]) -> Result<bool, Failure> {
        let expected = &self.payload(*echoed)[echoed.returned..];
        if input.len() > expected.len() {
            return Err(Failure::Body("more came back than was sent"));
        }
        if *input != expected[..input.len()] {
            return Err(Failure::Body("what came back is not what was sent"));
        }
        echoed.returned += input.len();
        Ok(echoed.returned == self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_payload_is_another() {
        let mut payloads = Payloads::new(16);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..WINDOWS {
            let echoed = payloads.next();
            assert!(seen.insert(payloads.payload(echoed).to_vec()));
        }
    }

    #[test]
    fn only_the_echo_will_do() {
        let mut payloads = Payloads::new(16);
        let mut echoed = payloads.next();
        let payload = payloads.payload(echoed).to_vec();
        assert!(!payloads.compare(&mut echoed, &payload[..7]).unwrap());
        assert!(payloads.compare(&mut echoed, &payload[7..]).unwrap());
        assert!(payloads.compare(&mut echoed, b"!").is_err(), "longer than it was sent");
        // The same once more is late: another payload is under way.
        let mut next = payloads.next();
        assert!(payloads.compare(&mut next, &payload).is_err());
    }
}
