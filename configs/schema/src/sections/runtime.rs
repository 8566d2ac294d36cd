//! `[runtime]`.

use std::{num::NonZeroUsize, time::Duration};

use super::{HOUR, MILLISECOND};
use crate::{
    model::{Runtime, Shards},
    read::{Format, Key, Scope, Word, boolean, duration, either, integer, size, words},
};

const SHARDS: &[Word<Shards>] =
    &[Word::is("auto", Shards::Auto, "One for each core this process may run on.")];

pub(super) fn runtime(t: &mut Scope<'_>) -> Option<Runtime> {
    let count = integer::<NonZeroCount>(1..=1_024).map(|count| Shards::Count(count.0));
    Some(Runtime {
        shards: t.or(
            Key::new("shards", "How many shards (data-plane threads). `\"auto\"` is one for each core this process may run on."),
            either(words(SHARDS), count),
            "auto",
        ),
        pin: t.or(
            Key::new("pin", "Pin each shard to a core when there are at least as many cores as shards."),
            boolean(),
            true,
        ),
        drain_timeout: t.or(
            Key::new("drain_timeout", "How long a drain waits for open work before it closes it."),
            duration(MILLISECOND..=24 * HOUR),
            "30s",
        ),
        buffer_bytes: t.or(
            Key::new("buffer_size", "Size of one I/O buffer. A connection holds one while bytes are under way."),
            size(4 << 10..=1 << 20).map(|bytes| bytes as usize),
            "16KiB",
        ),
        max_connections: t.or(
            Key::new("max_connections", "Client connections at once, over all listeners and shards. Further ones are closed at once, and counted."),
            integer(1..=10_000_000),
            100_000,
        ),
        coalesce: t.or(
            Key::new("coalesce", "The longest that a shard lets requests and answers gather before it goes on, as a network card does with its interrupts. It does so only when many are under way, never for more than half the time that servers take to answer, and only while it finds that this costs less CPU time and that answers are neither fewer nor much later for it. `\"0s\"`: never."),
            duration(Duration::ZERO..=MILLISECOND),
            "200us",
        ),
        watch: t.or(
            Key::new("watch", "Watch the configuration files and reload when they change. Likewise the files of certificates, keys, authorities, revocation lists and OCSP responses that they name: each is taken up by itself, and one that cannot be used leaves the one before in place."),
            boolean(),
            true,
        ),
    })
}

/// The limits of the key leave out 0.
struct NonZeroCount(NonZeroUsize);

impl TryFrom<i64> for NonZeroCount {
    type Error = std::num::TryFromIntError;

    fn try_from(number: i64) -> Result<Self, Self::Error> {
        let count = usize::try_from(number)?;
        Ok(Self(NonZeroUsize::try_from(count)?))
    }
}
