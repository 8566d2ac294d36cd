//! Letting events gather before a loop turn, when that costs nobody much.
//!
//! A shard that wakes for every event pays a wake-up, a system call and cold caches for
//! each, and so does every process it wakes in turn. Network cards know the same problem
//! and coalesce their interrupts; a shard does so with its wake-ups: before it waits for
//! sockets it sleeps a moment, so that one turn serves what several would have. The moment
//! is shorter than what exchanges with the servers behind take anyway, and it is left
//! out unless several of them would end in it, so a few connections or a slow trickle of
//! requests are answered as fast as ever. Whether it pays is not assumed: now and then a
//! shard does the other of the two for a while, and keeps to what costs it less CPU time for
//! an exchange, as long as nobody waits much for that: neither are there fewer exchanges, as
//! where clients wait for answers before they ask again, nor do they take much longer, as
//! where requests come at a rate of their own. The figures are in
//! `docs/adr/0006-coalesced-wake-ups.md`.

use std::{
    cell::{Cell, RefCell},
    fs::File,
    io,
    num::NonZeroU64,
    os::unix::fs::FileExt,
    time::Duration,
};

use crate::clock::{self, CoarseInstant};

/// Nanoseconds over which exchanges are counted before the moment is chosen anew.
const SLOT: u64 = 25_000_000;
/// Slots in a run, through which the shard either coalesces or does not. In the first half
/// what went before still has its effect: where the scheduler put the others, and who waits
/// for whom.
const RUN: u32 = 8;
/// Runs before a first verdict is tried again: it rests on one run of each.
const FIRST: u32 = 2;
/// Runs between two trials, in which the shard does what it thinks is the dearer: so many when
/// they disagree, or when the load is not what it was.
const SOONEST: u32 = 4;
/// Likewise, when each confirms the one before: a trial is dear to whoever meets it.
const RAREST: u32 = 128;
/// Each trial that confirms the one before makes them rarer by this factor; one that does not,
/// less rare.
const BACK_OFF: u32 = 8;
/// By this share of what it was the cost of an exchange has to change for the load to be
/// another one.
const CHANGE: f64 = 0.2;
/// The moment is at most this share of the mean exchange: a half.
const SHARE: u64 = 2;
/// Nanoseconds in a row without a load that allows for it, after which what was learnt of it no
/// longer holds. A single slot says little: a server may have stood still.
const FORGET: u64 = 1_000_000_000;
/// Nanoseconds below which sleeping saves little: servers that answer so fast are waited for.
const SHORTEST: u64 = 40_000;
/// What coalescing has to bring, and what it may take from the rate of exchanges.
const WORTH: f64 = 0.95;
/// What coalescing may make of the time that exchanges take, unless there are more of them with
/// it: then whoever waits for them waits less altogether (Little's law).
const LONGER: f64 = 1.4;
/// The rate by which there are more, rather than by chance.
const MORE: f64 = 1.05;
/// For `LONGER` an exchange counts up to so many of the longest moment: one that takes more than
/// two and a half of them is never lengthened so much, and would hide others that are.
const TELLING: u64 = 5;
/// Nanoseconds by which the kernel may be late; its default of 50 µs (prctl(2)) is as long
/// as the moment itself.
const SLACK: NonZeroU64 = NonZeroU64::new(1_000).expect("it is not zero");

thread_local! {
    static COALESCE: Coalesce = const { Coalesce::new() };
}

/// Chooses the moment by the exchanges that ended lately.
struct Coalesce {
    /// Nanoseconds; 0: never sleep.
    longest: Cell<u64>,
    /// Nanoseconds to sleep in this slot; 0: do not.
    moment: Cell<u64>,
    /// Nanoseconds of the clock.
    slot_began: Cell<u64>,
    /// Exchanges that ended in this slot.
    ended: Cell<u64>,
    /// Nanoseconds they took in all, each up to what allows for the longest moment.
    took: Cell<u64>,
    /// Likewise, each up to where a moment still tells.
    lasted: Cell<u64>,
    trials: RefCell<Trials>,
    /// Tells the thread's CPU time.
    usage: RefCell<Option<File>>,
}

/// What came of sleeping and of not sleeping, while the load allowed for both.
struct Trials {
    /// Runs from one trial to the next.
    interval: u32,
    /// Runs until the next one; 0: this is one.
    left: u32,
    /// Slots of this run that are over.
    slots: u32,
    /// Whether this run sleeps.
    coalesces: bool,
    /// Nanoseconds of CPU time the thread had used when the slot began.
    used: u64,
    /// Nanoseconds since the load last allowed for it.
    without: u64,
    /// Of the second half of this run.
    sums: Sums,
    awake: Option<Yield>,
    coalesced: Option<Yield>,
}

#[derive(Debug, Clone, Copy)]
struct Sums {
    ended: u64,
    lasted: u64,
    used: u64,
    elapsed: u64,
}

/// What a run gave.
#[derive(Debug, Clone, Copy)]
struct Yield {
    /// CPU nanoseconds per exchange.
    cost: f64,
    /// Exchanges per nanosecond.
    rate: f64,
    /// Nanoseconds per exchange.
    lasted: f64,
}

impl Yield {
    /// The mean of this and what was known before.
    fn after(self, before: Option<Self>) -> Self {
        before.map_or(self, |before| Self {
            cost: f64::midpoint(self.cost, before.cost),
            rate: f64::midpoint(self.rate, before.rate),
            lasted: f64::midpoint(self.lasted, before.lasted),
        })
    }
}

impl Sums {
    const ZERO: Self = Self { ended: 0, lasted: 0, used: 0, elapsed: 0 };

    fn add(&mut self, slot: &Self) {
        self.ended += slot.ended;
        self.lasted += slot.lasted;
        self.used += slot.used;
        self.elapsed += slot.elapsed;
    }

    fn given(&self) -> Yield {
        let ended = self.ended as f64;
        Yield {
            cost: self.used as f64 / ended,
            rate: ended / self.elapsed as f64,
            lasted: self.lasted as f64 / ended,
        }
    }
}

impl Trials {
    const fn new(used: u64) -> Self {
        Self {
            interval: FIRST,
            left: 1,
            slots: 0,
            coalesces: false,
            used,
            without: 0,
            sums: Sums::ZERO,
            awake: None,
            coalesced: None,
        }
    }

    /// Nanoseconds of CPU time since the slot began, which is over.
    fn spend(&mut self, used: u64) -> u64 {
        used.saturating_sub(std::mem::replace(&mut self.used, used))
    }

    /// A slot is over in which there was too little to gather.
    fn pass_slot(&mut self, elapsed: u64) {
        self.without = self.without.saturating_add(elapsed);
        if self.without >= FORGET {
            *self = Self::new(self.used);
        }
    }

    /// A slot is over. Decides by what it gave whether to coalesce in the next.
    fn end_slot(&mut self, slot: &Sums) {
        self.without = 0;
        if self.slots >= RUN / 2 {
            self.sums.add(slot);
        }
        self.slots += 1;
        if self.slots == RUN {
            self.end_run();
            self.slots = 0;
            self.sums = Sums::ZERO;
        }
    }

    /// A run is over. Decides whether to coalesce in the next, and whether that is a trial.
    fn end_run(&mut self) {
        let thought = self.pays();
        let given = self.sums.given();
        let of = if self.coalesces { &mut self.coalesced } else { &mut self.awake };
        let known = of.replace(given.after(*of));
        let changed = known.is_some_and(|known| (given.cost / known.cost - 1.0).abs() > CHANGE);
        let confirmed = self.pays() == thought;
        let tried = self.left == 0;
        if changed {
            self.interval = SOONEST;
        } else if known.is_some() && !confirmed {
            self.interval = (self.interval / BACK_OFF).max(SOONEST);
        } else if known.is_some() && tried {
            self.interval = (self.interval * BACK_OFF).min(RAREST);
        }
        self.left = if tried { self.interval } else { self.left.min(self.interval) - 1 };
        self.coalesces = self.pays() != (self.left == 0);
    }

    fn pays(&self) -> bool {
        let (Some(awake), Some(coalesced)) = (self.awake, self.coalesced) else { return false };
        let cheaper = coalesced.cost < awake.cost * WORTH;
        let more = coalesced.rate > awake.rate * MORE;
        let as_many = coalesced.rate > awake.rate * WORTH;
        let in_time = coalesced.lasted < awake.lasted * LONGER;
        cheaper && (more || (as_many && in_time))
    }
}

impl Coalesce {
    const fn new() -> Self {
        Self {
            longest: Cell::new(0),
            moment: Cell::new(0),
            slot_began: Cell::new(0),
            ended: Cell::new(0),
            took: Cell::new(0),
            lasted: Cell::new(0),
            trials: RefCell::new(Trials::new(0)),
            usage: RefCell::new(None),
        }
    }

    /// An exchange ended that took so many nanoseconds. A long one counts as one that
    /// allows for the longest moment: a few that wait for minutes say nothing of the others.
    fn note(&self, took: u64) {
        self.ended.set(self.ended.get() + 1);
        self.took.set(self.took.get() + took.min(self.longest.get() * SHARE));
        self.lasted.set(self.lasted.get() + took.min(self.longest.get() * TELLING));
    }

    /// Nanoseconds to sleep now, at the time `now`; `used` tells the thread's CPU time.
    fn moment(&self, now: u64, used: impl FnOnce() -> u64) -> u64 {
        let elapsed = now.saturating_sub(self.slot_began.get());
        if elapsed >= SLOT {
            let moment = self.begin_slot(elapsed, used());
            self.moment.set(moment);
            self.slot_began.set(now);
            self.ended.set(0);
            self.took.set(0);
            self.lasted.set(0);
        }
        self.moment.get()
    }

    fn begin_slot(&self, elapsed: u64, used: u64) -> u64 {
        let mut trials = self.trials.borrow_mut();
        let spent = trials.spend(used);
        let allowed = self.allowed(elapsed);
        if allowed == 0 {
            trials.pass_slot(elapsed);
            return 0;
        }
        let (ended, lasted) = (self.ended.get(), self.lasted.get());
        trials.end_slot(&Sums { ended, lasted, used: spent, elapsed });
        if trials.coalesces { allowed } else { 0 }
    }

    /// The moment that the load allows for.
    fn allowed(&self, elapsed: u64) -> u64 {
        let ended = self.ended.get();
        if ended == 0 {
            return 0;
        }
        let moment = (self.took.get() / ended / SHARE).min(self.longest.get());
        // An exchange in each moment is two events or more: its request and its answer.
        let gathers = moment.saturating_mul(ended) >= elapsed;
        if moment >= SHORTEST && gathers { moment } else { 0 }
    }
}

/// Sets the longest moment of this thread's shard; zero: its wake-ups are not coalesced.
pub(crate) fn set_longest(longest: Duration) {
    if longest.is_zero() {
        return;
    }
    let usage = match File::open("/proc/thread-self/schedstat") {
        Ok(usage) => usage,
        Err(error) => {
            tracing::warn!(%error, "wake-ups are not coalesced: what they cost cannot be told");
            return;
        }
    };
    if let Err(error) = rustix::thread::set_current_timer_slack(Some(SLACK)) {
        tracing::warn!(%error, "a shard's sleeps may be longer than asked for");
    }
    COALESCE.with(|coalesce| {
        coalesce.longest.set(longest.as_nanos().try_into().unwrap_or(u64::MAX / TELLING));
        *coalesce.usage.borrow_mut() = Some(usage);
    });
}

/// Nanoseconds of CPU time the thread has used: the first field of
/// `/proc/[pid]/task/[tid]/schedstat` (Documentation/scheduler/sched-stats.rst).
fn used(usage: &File) -> io::Result<u64> {
    let mut line = [0; 80];
    let length = usage.read_at(&mut line, 0)?;
    let field = line[..length].split(|byte| *byte == b' ').next().unwrap_or_default();
    let number = std::str::from_utf8(field).ok().and_then(|field| field.parse().ok());
    number.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// A server answered what was sent to it at `sent`: tells the shard how long its exchanges
/// take, which is what its wake-ups are coalesced by.
#[inline]
pub fn answered(sent: CoarseInstant) {
    COALESCE.with(|coalesce| {
        if coalesce.longest.get() > 0 {
            coalesce.note(clock::now().since(sent).as_nanos() as u64);
        }
    });
}

/// Sleeps before a wait for sockets, when that is worth it.
pub(super) fn rest() {
    let moment = COALESCE.with(|coalesce| match coalesce.longest.get() {
        0 => 0,
        _ => coalesce.moment(clock::now().nanoseconds(), || {
            // What is not known is no reason to coalesce: equal costs.
            coalesce.usage.borrow().as_ref().and_then(|usage| used(usage).ok()).unwrap_or(0)
        }),
    });
    if moment > 0 {
        std::thread::sleep(Duration::from_nanos(moment));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shard under a load: so many exchanges a second, of so many microseconds each.
    struct Shard {
        coalesce: Coalesce,
        now: u64,
        used: u64,
    }

    impl Shard {
        fn new(longest: u64) -> Self {
            let coalesce = Coalesce::new();
            coalesce.longest.set(longest * 1_000);
            Self { coalesce, now: 0, used: 0 }
        }

        /// The moment, in microseconds, after a slot in which an exchange cost `cost` CPU
        /// nanoseconds.
        fn slot(&mut self, per_second: u64, took: u64, cost: u64) -> u64 {
            let ended = per_second / 40;
            (0..ended).for_each(|_| self.coalesce.note(took * 1_000));
            self.now += SLOT;
            self.used += ended * cost;
            self.coalesce.moment(self.now, || self.used) / 1_000
        }

        /// The share of slots with a moment, when sleeping or not makes such a difference to
        /// what an exchange costs and how many there are.
        fn share(&mut self, slots: u32, awake: (u64, u64), coalesced: (u64, u64)) -> f64 {
            let lasting = |(cost, per_second)| (cost, per_second, 1_000);
            self.share_lasting(slots, lasting(awake), lasting(coalesced))
        }

        /// Likewise, and to how many microseconds one takes.
        fn share_lasting(
            &mut self,
            slots: u32,
            awake: (u64, u64, u64),
            coalesced: (u64, u64, u64),
        ) -> f64 {
            let mut slept = 0;
            for _ in 0..slots {
                let sleeps = self.coalesce.moment.get() > 0;
                slept += u32::from(sleeps);
                let (cost, per_second, took) = if sleeps { coalesced } else { awake };
                self.slot(per_second, took, cost);
            }
            f64::from(slept) / f64::from(slots)
        }
    }

    #[test]
    fn a_moment_is_half_an_exchange_and_gathers_several() {
        for (longest, per_second, took, expected) in [
            // Twenty servers that share a core.
            (200, 20_000, 300, 150),
            (200, 15_000, 1_300, 200),
            // One client, or a few, of a server nearby: each waits for its own answer alone.
            (200, 12_000, 70, 0),
            (200, 60_000, 75, 0),
            (200, 13_000, 150, 0),
            // A slow trickle.
            (200, 1_000, 20_000, 0),
            (200, 0, 0, 0),
            // Many, of a far server: never longer than allowed.
            (200, 50_000, 5_000, 200),
            (50, 100_000, 5_000, 50),
            (30, 100_000, 5_000, 0),
            (0, 50_000, 5_000, 0),
        ] {
            let mut shard = Shard::new(longest);
            let moments: Vec<u64> =
                (0..2 * RUN).map(|_| shard.slot(per_second, took, 20_000)).collect();
            // The first run is awake, the second one a trial.
            let (awake, trial) = moments.split_at(RUN as usize - 1);
            assert!(awake.iter().all(|moment| *moment == 0), "{moments:?}");
            assert!(
                trial[..RUN as usize].iter().all(|moment| *moment == expected),
                "{per_second}/s of {took} µs: {moments:?}"
            );
        }
    }

    #[test]
    fn a_few_that_take_long_do_not_delay_the_others() {
        let mut shard = Shard::new(200);
        for number in 0..1_000 {
            shard.coalesce.note(if number % 100 == 0 { 30_000_000_000 } else { 70_000 });
        }
        assert_eq!(shard.slot(0, 0, 0), 0);
    }

    #[test]
    fn a_shard_keeps_to_what_costs_less() {
        let cheap = (20_000, 15_000);
        let dear = (25_000, 15_000);
        assert!(Shard::new(200).share(320, dear, cheap) > 0.9, "coalescing pays");
        assert!(Shard::new(200).share(320, cheap, dear) < 0.1, "it does not");
        assert!(Shard::new(200).share(320, cheap, cheap) < 0.1, "it makes no difference");
        let slow = (20_000, 13_000);
        assert!(Shard::new(200).share(320, dear, slow) < 0.1, "it costs throughput");
        let mut changing = Shard::new(200);
        assert!(changing.share(320, dear, cheap) > 0.9);
        assert!(changing.share(320, cheap, dear) < 0.3, "the load has changed");
    }

    #[test]
    fn what_costs_less_is_left_if_exchanges_take_much_longer_with_it() {
        let awake = (25_000, 15_000, 300);
        for (took, pays) in [(390, true), (450, false), (600, false)] {
            let share = Shard::new(200).share_lasting(320, awake, (20_000, 15_000, took));
            assert_eq!(share > 0.9, pays, "{took} µs instead of 300");
            assert!(pays || share < 0.1, "{took} µs: {share}");
        }
        let more = Shard::new(200).share_lasting(320, awake, (20_000, 17_000, 450));
        assert!(more > 0.9, "clients that wait for answers have more of them: {more}");
        // The longest moment is a small part of these, which some of them exceed by far.
        let (awake, coalesced) = ((25_000, 15_000, 900), (20_000, 15_000, 9_000));
        assert!(Shard::new(200).share_lasting(320, awake, coalesced) > 0.9);
    }

    #[test]
    fn trials_become_rare_while_they_agree_and_frequent_when_the_load_changes() {
        let (cheap, dear) = ((20_000, 15_000), (25_000, 15_000));
        let mut shard = Shard::new(200);
        shard.share(RUN * 200, dear, cheap);
        assert!(shard.share(RUN * 500, dear, cheap) > 0.99);
        // Both cost more, and which of them costs less stays as it was.
        let (cheap, dear) = ((30_000, 15_000), (40_000, 15_000));
        let after = shard.share(RUN * (SOONEST + 2), dear, cheap);
        assert!((0.6..0.9).contains(&after), "it is tried anew, soon: {after}");
        shard.share(RUN * 200, dear, cheap);
        assert!(shard.share(RUN * 500, dear, cheap) > 0.99, "and rare again");
    }

    #[test]
    fn a_wrong_first_impression_does_not_last() {
        let (cheap, dear) = ((20_000, 15_000), (25_000, 15_000));
        let mut shard = Shard::new(200);
        // What was measured first was not the load's doing.
        shard.share(RUN * 2, cheap, cheap);
        assert!(shard.share(RUN * 20, dear, cheap) > 0.7);
    }

    #[test]
    fn the_time_a_thread_has_used_grows() {
        let usage = File::open("/proc/thread-self/schedstat").unwrap();
        let before = used(&usage).unwrap();
        while used(&usage).unwrap() == before {
            std::hint::spin_loop();
        }
        assert!(used(&usage).unwrap() > before);
    }

    #[test]
    fn it_ends_with_the_load() {
        let mut shard = Shard::new(200);
        assert!(shard.share(320, (25_000, 15_000), (20_000, 15_000)) > 0.9);
        assert_eq!(shard.slot(400, 1_000, 20_000), 0, "there was next to nothing");
    }

    #[test]
    fn what_was_learnt_outlives_a_gap_and_no_more() {
        let taught = || {
            let mut shard = Shard::new(200);
            assert!(shard.share(320, (25_000, 15_000), (20_000, 15_000)) > 0.9);
            assert!(shard.coalesce.trials.borrow().left > 1, "no trial is near");
            shard
        };
        for (slots, expected) in [(1, 200), (20, 200), (40, 0)] {
            let mut shard = taught();
            (0..slots).for_each(|_| assert_eq!(shard.slot(0, 0, 0), 0));
            assert_eq!(shard.slot(15_000, 1_000, 20_000), expected, "after {slots} slots");
        }
    }
}
