//! What psql said on either side, and why it may differ.

use std::collections::BTreeMap;

/// Files whose answers name objects by numbers. PostgreSQL draws two of them when a process first
/// makes temporary objects: how many processes there were is seen in every number behind.
const NUMBERED: [&str; 3] = ["alter_table", "opr_sanity", "type_sanity"];

/// Lines that differ, by what is in them, with the reason.
const EXPLAINED: [(&str, &[&str], &str); 3] = [
    (
        "temp",
        &["cannot PREPARE a transaction that has operated on temporary objects"],
        "the process behind a new session has had a schema for temporary objects before",
    ),
    (
        "stats",
        &["<  t", ">  f"],
        "a client's new session starts none on the server (`sessions` of pg_stat_database)",
    ),
    (
        "guc",
        &[
            "plpgsql.extra_foo_warnings",
            "\"plpgsql\" is a reserved prefix.",
            "\"plpgsql\" is now a reserved prefix.",
        ],
        "the process behind a new session has loaded PL/pgSQL before",
    ),
];

/// How two answers differ.
pub(crate) enum Difference {
    None,
    Explained(&'static str),
    /// The lines of either side alone.
    Unexplained(String),
}

pub(crate) fn compare(file: &str, direct: &str, pooled: &str) -> Difference {
    if plain(direct) == plain(pooled) {
        return Difference::None;
    }
    let numbered = NUMBERED.contains(&file);
    let read = |said| lines(&plain(said), numbered);
    let (direct, pooled) = (read(direct), read(pooled));
    let alone = |one: &BTreeMap<String, usize>, other: &BTreeMap<String, usize>, mark| {
        let more = |(line, count): (&String, &usize)| {
            (count > other.get(line).unwrap_or(&0)).then(|| format!("{mark} {line}"))
        };
        one.iter().filter_map(more).collect::<Vec<_>>()
    };
    let mut differing = alone(&direct, &pooled, '<');
    differing.extend(alone(&pooled, &direct, '>'));
    if differing.is_empty() && numbered {
        return Difference::Explained("objects have other numbers");
    }
    let explained = EXPLAINED.iter().find(|(known, ..)| *known == file);
    if let Some((_, words, why)) = explained
        && !differing.is_empty()
        && differing.iter().all(|line| words.iter().any(|word| line.contains(word)))
    {
        return Difference::Explained(why);
    }
    if differing.is_empty() {
        differing.push("the same lines in another order".into());
    }
    Difference::Unexplained(differing.join("\n"))
}

/// Without the line of the file that psql had reached: a notice may arrive while it reads on.
fn plain(said: &str) -> String {
    let line = |line: &str| match line.strip_prefix("psql:").and_then(|rest| rest.split_once(": "))
    {
        Some((_, message)) => format!("psql: {message}\n"),
        None => format!("{line}\n"),
    };
    said.lines().map(line).collect()
}

/// Each line, and how often. `numbered`: numbers of objects, and how wide they are, do not count.
fn lines(said: &str, numbered: bool) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for line in said.lines() {
        let line = if numbered { without_numbers(line) } else { line.to_owned() };
        *counted.entry(line).or_default() += 1;
    }
    counted
}

fn without_numbers(line: &str) -> String {
    let word = |word: &str| {
        let mut parts = word.split('_').map(|part| {
            let number = part.len() >= 5 && part.bytes().all(|byte| byte.is_ascii_digit());
            if number { "NUMBER" } else { part }
        });
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |whole, part| whole + "_" + part)
    };
    line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_may_differ() {
    let same = |file, direct, pooled| match compare(file, direct, pooled) {
        Difference::None => "same".to_owned(),
        Difference::Explained(_) => "explained".to_owned(),
        Difference::Unexplained(lines) => lines,
    };
    assert_eq!(same("a", "psql:x.sql:3: NOTICE:  b", "psql:x.sql:4: NOTICE:  b"), "same");
    assert_eq!(same("a", "one\ntwo", "one\nthree"), "< two\n> three");
    assert_eq!(same("a", "one\ntwo", "two\none"), "the same lines in another order");
    assert_eq!(
        same("alter_table", " 23237 | pg_toast_23237", " 23239 | pg_toast_23239"),
        "explained"
    );
    assert_eq!(same("a", " 23237 |", " 23239 |"), "<  23237 |\n>  23239 |");
    assert_eq!(same("guc", "x plpgsql.extra_foo_warnings", ""), "explained");
    assert_eq!(same("guc", "x", ""), "< x");
}
