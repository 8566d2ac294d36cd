//! The time of day, without asking for it at every line.

use std::{
    cell::{Cell, RefCell},
    fmt::Write as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bs9_net::{CoarseInstant, now};
use jiff::{Timestamp, tz::TimeZone};

/// How long the difference between the two clocks is believed.
const TRUSTED: Duration = Duration::from_secs(1);

/// Turns the shard's clock into time of day.
#[derive(Debug)]
pub(super) struct Calendar {
    /// Instants that were the same.
    instant: Cell<CoarseInstant>,
    unix_nanoseconds: Cell<u64>,
    written: RefCell<Written>,
}

/// A second, as people write it.
#[derive(Debug, Default)]
struct Written {
    second: Option<u64>,
    rfc3339: String,
    common: String,
}

impl Calendar {
    pub(super) fn new() -> Self {
        let calendar = Self {
            instant: Cell::new(now()),
            unix_nanoseconds: Cell::new(0),
            written: RefCell::default(),
        };
        calendar.look();
        calendar
    }

    fn look(&self) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.instant.set(now());
        self.unix_nanoseconds.set(since.as_nanos() as u64);
    }

    /// Milliseconds since the epoch at `instant`, which lies behind us.
    pub(super) fn unix_milliseconds(&self, instant: CoarseInstant) -> u64 {
        if now().since(self.instant.get()) > TRUSTED {
            self.look();
        }
        let (known, base) = (self.instant.get(), self.unix_nanoseconds.get());
        let ahead = instant.since(known).as_nanos() as u64;
        let behind = known.since(instant).as_nanos() as u64;
        (base + ahead).saturating_sub(behind) / 1_000_000
    }

    /// Appends `2026-11-21T08:00:51.123Z` (RFC 3339).
    pub(super) fn write_rfc3339(&self, unix_milliseconds: u64, out: &mut Vec<u8>) {
        self.second(unix_milliseconds / 1000, |written| {
            out.extend_from_slice(written.rfc3339.as_bytes());
        });
        let thousandths = unix_milliseconds % 1000;
        let digit = |value: u64| b'0' + (value % 10) as u8;
        let digits = [digit(thousandths / 100), digit(thousandths / 10), digit(thousandths)];
        out.push(b'.');
        out.extend_from_slice(&digits);
        out.push(b'Z');
    }

    /// Appends `21/Nov/2026:08:00:51 +0000`, as the Common Log Format has it.
    pub(super) fn write_common(&self, unix_milliseconds: u64, out: &mut Vec<u8>) {
        self.second(unix_milliseconds / 1000, |written| {
            out.extend_from_slice(written.common.as_bytes());
        });
    }

    fn second(&self, second: u64, used: impl FnOnce(&Written)) {
        let mut written = self.written.borrow_mut();
        if written.second != Some(second) {
            let instant = i64::try_from(second).ok().and_then(|s| Timestamp::from_second(s).ok());
            let day = instant.unwrap_or_default().to_zoned(TimeZone::UTC);
            let Written { second: known, rfc3339, common } = &mut *written;
            *known = Some(second);
            for (text, format) in
                [(rfc3339, "%Y-%m-%dT%H:%M:%S"), (common, "%d/%b/%Y:%H:%M:%S +0000")]
            {
                text.clear();
                // Neither the formats nor writing to a string can fail.
                let _infallible = write!(text, "{}", day.strftime(format));
            }
        }
        used(&written);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_written_both_ways() {
        let calendar = Calendar::new();
        for (milliseconds, rfc3339, common) in [
            (0, "1970-01-01T00:00:00.000Z", "01/Jan/1970:00:00:00 +0000"),
            (1_795_248_051_007, "2026-11-21T08:00:51.007Z", "21/Nov/2026:08:00:51 +0000"),
        ] {
            let (mut one, mut other) = (Vec::new(), Vec::new());
            calendar.write_rfc3339(milliseconds, &mut one);
            calendar.write_common(milliseconds, &mut other);
            assert_eq!(String::from_utf8(one).unwrap(), rfc3339);
            assert_eq!(String::from_utf8(other).unwrap(), common);
        }
    }

    #[test]
    fn the_clocks_agree() {
        let calendar = Calendar::new();
        let here = calendar.unix_milliseconds(now());
        let there = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        assert!(there.abs_diff(here) < 60_000, "{here} and {there}");
        // What began before the clocks were last compared.
        let early = now();
        calendar.instant.set(early.plus(Duration::from_millis(250)));
        calendar.unix_nanoseconds.set(1_000_000_000);
        assert_eq!(calendar.unix_milliseconds(early), 750);
    }
}
