//! Dialogues that nobody thought of: messages at random, of which most make sense.

use bs9_wire::message::frontend::Target;

use super::script::{Needs, Script};
use crate::postgres::{Batch, batch};

/// Dialogues made up for one run.
const COUNT: u64 = 150;
/// The first of the seeds that are used when none is asked for.
const SEED: u64 = 1;

/// SplitMix64: the same numbers for the same seed, on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// Dialogues by consecutive seeds, or by those of `BS9_SEED`: one, or a first and a last one with
/// a hyphen in between. A seed is part of the name.
pub(super) fn scripts(needs: Needs) -> Vec<Script> {
    let seeds = match std::env::var("BS9_SEED") {
        Ok(asked) => {
            let (first, last) = asked.split_once('-').unwrap_or((&asked, &asked));
            let number = |text: &str| text.parse().expect("a number");
            number(first)..=number(last)
        }
        Err(_) => SEED..=SEED + COUNT - 1,
    };
    seeds.map(|seed| script(seed, needs)).collect()
}

const STATEMENTS: [&str; 4] = ["", "a", "b", "c"];
const PORTALS: [&str; 3] = ["", "p", "q"];

/// Texts without parameters, for Query and Parse.
const TEXTS: &[&str] = &[
    "SELECT 1",
    "SELECT generate_series(1, 5)",
    "SELECT id, label FROM things ORDER BY id",
    "SELECT 1/0",
    "SELEKT",
    "SELECT 1/(3-n) FROM generate_series(1, 5) n",
    "INSERT INTO sink VALUES (1, 'random')",
    "INSERT INTO sink VALUES (5000)",
    "INSERT INTO children VALUES (77)",
    "UPDATE things SET label = 'new' WHERE id = 2 RETURNING label",
    "SELECT shout('random')",
    "SELECT count(*) FROM sink",
    "COPY (TABLE things ORDER BY id) TO STDOUT",
    "SELECT repeat('x', 3000)",
    "SHOW work_mem",
    "SET work_mem = '6MB'",
    "SET LOCAL work_mem = '7MB'",
    "RESET work_mem",
    "SET DateStyle = 'German'",
    "RESET DateStyle",
    "SELECT set_config('my.own', 'x', false), nullif(current_setting('my.own', true), '')",
    "SELECT nullif(current_setting('my.own', true), ''), '2026-11-21'::date",
    "DEALLOCATE a",
    "DEALLOCATE ALL",
    "DISCARD ALL",
    "FETCH 2 FROM k",
];

/// Those that make sense in a transaction alone.
const OF_TRANSACTIONS: &[&str] = &[
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT s",
    "ROLLBACK TO s",
    "DECLARE k CURSOR FOR SELECT generate_series(1, 9)",
];

/// Several in one Query.
const SEVERAL: &[&str] = &[
    "SELECT 1; SELECT 2; SELECT 1/0; SELECT 3",
    "SELECT 1; ; SELECT 2",
    "BEGIN; INSERT INTO sink VALUES (3); COMMIT; SELECT count(*) FROM sink",
    "INSERT INTO sink VALUES (4); SELEKT",
    "BEGIN; SELECT 1; ROLLBACK",
    // It leaves a transaction open.
    "BEGIN; SELECT 1/0; COMMIT",
];

fn text(dice: &mut Dice, needs: Needs) -> &'static str {
    if needs >= Needs::Transaction && dice.below(4) == 0 {
        return dice.pick(OF_TRANSACTIONS);
    }
    dice.pick(TEXTS)
}

fn script(seed: u64, needs: Needs) -> Script {
    let mut dice = Dice(seed);
    let mut script = Script::new(&format!("BS9_SEED={seed}"), needs);
    for _ in 0..1 + dice.below(4) {
        let mut one = batch();
        for _ in 0..1 + dice.below(14) {
            one = message(one, &mut dice, needs);
        }
        script = script.step_of_any_length(one);
    }
    // Leaves no transaction open, and nothing that another client would be surprised by.
    if needs >= Needs::Transaction {
        script.step_of_any_length(batch().query("ROLLBACK"))
    } else {
        script
    }
}

fn message(batch: Batch, dice: &mut Dice, needs: Needs) -> Batch {
    let name = dice.pick(&STATEMENTS);
    let portal = dice.pick(&PORTALS);
    match dice.below(40) {
        0..6 => batch.parse(name, text(dice, needs)),
        6..8 => batch.parse(name, "SELECT $1::int + 1"),
        8..10 => batch.parse_typed(name, "SELECT $1, 10/$2", &[25, 23]),
        10..15 => batch.bind_to(portal, name, &[]),
        15..17 => batch.bind_to(portal, name, &["41"]),
        17 => batch.bind_to(portal, name, &["x", "0"]),
        18..23 => batch.execute_some(portal, dice.pick(&[0, 0, 1, 2])),
        23 => batch.describe(name),
        24 => batch.describe_target(Target::Portal(portal.as_bytes())),
        25 => batch.close(name),
        26 => batch.close_target(Target::Portal(portal.as_bytes())),
        27 => batch.flush(),
        28..32 => batch.sync(),
        32..35 => batch.query(text(dice, needs)),
        35 if needs >= Needs::Transaction => batch.query(dice.pick(SEVERAL)),
        35 => batch.query(dice.pick(&SEVERAL[..SEVERAL.len() - 1])),
        36 => batch.extended(text(dice, needs)),
        37 => batch.call(177, &[], false),
        _ => copy(batch, dice),
    }
}

/// A COPY as a whole, simple or extended, that ends well or does not.
fn copy(batch: Batch, dice: &mut Dice) -> Batch {
    let extended = dice.below(2) == 0;
    let copy = "COPY sink (n) FROM STDIN";
    let mut batch = if extended { batch.extended(copy) } else { batch.query(copy) };
    for _ in 0..dice.below(3) {
        batch = batch.copy_data(dice.pick(&["1\n", "2\n3\n", "x\n", "9999\n", "\\.\n"]));
    }
    batch = if dice.below(3) == 0 { batch.copy_fail("enough") } else { batch.copy_done() };
    if extended { batch.sync() } else { batch }
}
