//! Rows for the tables that the regression SQL copies in: of the same form and size as PostgreSQL's
//! own, drawn by a rule.

use std::{fmt::Write as _, fs, path::Path};

/// Writes the files that `test_setup.sql` and `copy.sql` ask for.
pub(crate) fn write(folder: &Path) {
    // Steps that have no factor in common with the count meet every number once.
    fs::write(folder.join("onek.data"), wisconsin(1_000, 617)).unwrap();
    fs::write(folder.join("tenk.data"), wisconsin(10_000, 6_151)).unwrap();
    let mut people = String::new();
    for n in 0..50 {
        writeln!(people, "person{n}\t{}\t({},{})", 20 + n % 50, n % 7, n % 11).unwrap();
    }
    fs::write(folder.join("person.data"), people).unwrap();
}

/// The table of the Wisconsin benchmark.
fn wisconsin(count: u32, step: u32) -> String {
    let mut rows = String::new();
    for second in 0..count {
        let first = (second * step + count / 3) % count;
        write!(rows, "{first}\t{second}").unwrap();
        for modulus in [2, 4, 10, 20, 100, 1_000, 2_000, 5_000, 10_000] {
            write!(rows, "\t{}", first % modulus).unwrap();
        }
        let (odd, even) = (first % 100 * 2 + 1, first % 100 * 2);
        let word = ["AAAA", "HHHH", "OOOO", "VVVV"][second as usize % 4];
        writeln!(rows, "\t{odd}\t{even}\t{}\t{}\t{word}", name(first), name(second)).unwrap();
    }
    rows
}

/// A number in letters, the smallest first.
fn name(number: u32) -> String {
    let letter = |place: u32| char::from(b'A' + (number / 26u32.pow(place) % 26) as u8);
    (0..4).map(letter).chain("AA".chars()).collect()
}
