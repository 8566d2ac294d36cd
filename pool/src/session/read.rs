//! Reading statements.

use super::{Effects, Kind, Lexer, Quoting, Reason, Token, Unlistened};

/// The words of a statement, white space and comments left out.
type Statement<'a> = [Token<'a>];

/// Reads a text behind what was read before.
pub(super) fn read_more(text: &[u8], quoting: Quoting, effects: &mut Effects) {
    let tokens: Vec<Token<'_>> =
        Lexer::new(text, quoting).filter(|token| token.kind != Kind::Space).collect();
    for statement in tokens.split(|token| token.is(b';')) {
        read_statement(statement, effects);
    }
}

fn read_statement(statement: &Statement<'_>, effects: &mut Effects) {
    let Some((first, rest)) = statement.split_first() else { return };
    if is_spelt_out(statement) {
        // Which parameter or channel it names is not read here.
        effects.note_pin(Reason::Setting);
        if ["SET", "RESET", "UNLISTEN"].iter().any(|word| first.is_word(word)) {
            return;
        }
    }
    if first.is_word("SET") {
        read_set(rest, effects);
    } else if first.is_word("RESET") {
        read_reset(rest, effects);
    } else if first.is_word("DISCARD") {
        if rest.first().is_some_and(|token| token.is_word("ALL")) {
            effects.add(all_reset());
        }
    } else if first.is_word("EXPLAIN") {
        // With ANALYZE it is run.
        let made = rest.iter().position(|token| token.is_word("CREATE"));
        read_statement(&rest[made.unwrap_or(rest.len())..], effects);
        read_functions(rest, effects);
    } else if first.is_word("LISTEN") {
        effects.note_pin(Reason::Listen);
    } else if first.is_word("UNLISTEN") {
        match rest.first() {
            Some(all) if all.is(b'*') => effects.unlistened.push(Unlistened::All),
            Some(one) => effects.unlistened.extend(one.identifier().map(Unlistened::named)),
            None => {}
        }
    } else if first.is_word("ROLLBACK") || first.is_word("ABORT") {
        // Better to hear too much than too little, where only a savepoint was meant.
        effects.unlistened.clear();
    } else if first.is_word("DECLARE") {
        if holds(rest) {
            effects.note_pin(Reason::HoldCursor);
        }
        read_functions(rest, effects);
    } else if first.is_word("PREPARE") {
        if names_a_statement(rest) {
            effects.note_pin(Reason::SqlPrepared);
        }
    } else if first.is_word("CREATE") {
        if is_temporary(rest) {
            effects.note_pin(Reason::TemporaryTable);
        }
        read_functions(rest, effects);
    } else {
        if selects_into_temporary(statement) {
            effects.note_pin(Reason::TemporaryTable);
        }
        read_functions(statement, effects);
    }
}

/// Whether a name in it is written as `U&"…"`, with characters by their numbers.
fn is_spelt_out(statement: &Statement<'_>) -> bool {
    let mut threes = statement.windows(3);
    threes.any(|three| three[0].is_word("U") && three[1].is(b'&') && three[2].kind == Kind::Quoted)
}

fn all_reset() -> Effects {
    Effects { reset_all: true, unsettles: true, ..Effects::default() }
}

fn begins(statement: &Statement<'_>, words: &[&str]) -> bool {
    statement.len() >= words.len()
        && statement.iter().zip(words).all(|(token, word)| token.is_word(word))
}

// === SET and RESET ===

fn read_set(rest: &Statement<'_>, effects: &mut Effects) {
    if !begins(rest, &["LOCAL"]) || is_dotted(rest) {
        return read_settable(rest, effects);
    }
    let mut set = Effects::default();
    read_settable(&rest[1..], &mut set);
    effects.unsettles |= set.unsettles;
    // What is made under such a path outlives the transaction.
    if set.pins.contains(&Reason::TemporaryTable) {
        effects.note_pin(Reason::TemporaryTable);
    }
}

/// What is set, for however long.
fn read_settable(mut rest: &Statement<'_>, effects: &mut Effects) {
    while begins(rest, &["SESSION"]) && !is_dotted(rest) {
        rest = &rest[1..];
    }
    let named = [
        (&["TIME", "ZONE"][..], "timezone"),
        (&["NAMES"], "client_encoding"),
        (&["ROLE"], "role"),
        (&["SCHEMA"], "search_path"),
        (&["XML", "OPTION"], "xmloption"),
        (&["AUTHORIZATION"], "session_authorization"),
    ];
    if is_dotted(rest) {
        read_assignment(rest, effects);
    } else if begins(rest, &["CHARACTERISTICS"]) {
        for name in ["isolation", "read_only", "deferrable"] {
            effects.note_set(format!("default_transaction_{name}").into());
        }
    } else if begins(rest, &["TRANSACTION"]) || begins(rest, &["CONSTRAINTS"]) {
        // Ends with the transaction.
    } else if let Some((_, name)) = named.iter().find(|(words, _)| begins(rest, words)) {
        effects.note_set((*name).into());
        note_temporary_path(name, &rest[1..], effects);
    } else {
        read_assignment(rest, effects);
    }
}

/// Whether a name with a dot in it stands here, whatever its first part means elsewhere.
fn is_dotted(rest: &Statement<'_>) -> bool {
    rest.get(1).is_some_and(|token| token.is(b'.'))
}

/// From the name of a parameter on.
fn read_assignment(rest: &Statement<'_>, effects: &mut Effects) {
    let Some((name, rest)) = parameter(rest) else { return };
    note_temporary_path(&name, rest, effects);
    let to_default = rest.get(1).is_some_and(|token| token.is_word("DEFAULT"));
    if to_default {
        effects.note_reset(name);
    } else {
        effects.note_set(name);
    }
}

/// With `pg_temp` first on its path, whatever a client makes is temporary. (Last, where it is put so
/// that nobody's temporary tables hide others, it makes nothing.) `value`: from the sign on.
fn note_temporary_path(name: &str, value: &Statement<'_>, effects: &mut Effects) {
    let first = value.iter().find(|token| !(token.is(b'=') || token.is_word("TO")));
    let first = first.and_then(|token| token.identifier().or_else(|| token.string()));
    let temporary = first.is_some_and(|first| {
        first.trim_start_matches([' ', '"']).to_ascii_lowercase().starts_with("pg_temp")
    });
    if name == "search_path" && temporary {
        effects.note_pin(Reason::TemporaryTable);
    }
}

fn read_reset(rest: &Statement<'_>, effects: &mut Effects) {
    if is_dotted(rest) {
        if let Some((name, _)) = parameter(rest) {
            effects.note_reset(name);
        }
    } else if begins(rest, &["ALL"]) {
        effects.add(all_reset());
    } else if begins(rest, &["TIME", "ZONE"]) {
        effects.note_reset("timezone".into());
    } else if begins(rest, &["TRANSACTION"]) || begins(rest, &["SESSION"]) {
        // Ends with the transaction; reported.
    } else if let Some((name, _)) = parameter(rest) {
        effects.note_reset(name);
    }
}

/// The name of a parameter, dots and all, and what follows it.
fn parameter<'a, 'b>(tokens: &'b Statement<'a>) -> Option<(Box<str>, &'b Statement<'a>)> {
    let mut name = tokens.first()?.identifier()?;
    let mut rest = &tokens[1..];
    while rest.first().is_some_and(|token| token.is(b'.')) {
        name.push('.');
        name.push_str(&rest.get(1)?.identifier()?);
        rest = &rest[2..];
    }
    Some((name.to_ascii_lowercase().into(), rest))
}

// === Functions ===

/// Functions that lock for the session.
const LOCKS: [&str; 4] = [
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_try_advisory_lock",
    "pg_try_advisory_lock_shared",
];

/// Whether a word, in lower case, is the name of one.
pub(super) fn locks(word: &[u8]) -> bool {
    word.starts_with(b"pg_") && LOCKS.iter().any(|lock| lock.as_bytes() == word)
}

/// Those that are called anywhere in a statement.
fn read_functions(statement: &Statement<'_>, effects: &mut Effects) {
    for (at, token) in statement.iter().enumerate() {
        let called = statement.get(at + 1).is_some_and(|token| token.is(b'('));
        let Some(name) = called.then(|| token.identifier()).flatten() else { continue };
        if name == "set_config" {
            read_set_config(&statement[at + 2..], effects);
        } else if locks(name.as_bytes()) {
            effects.note_pin(Reason::AdvisoryLock);
        }
    }
}

/// From behind the parenthesis on.
fn read_set_config(arguments: &Statement<'_>, effects: &mut Effects) {
    let mut depth = 0usize;
    let (mut first_end, mut last) = (None, 0);
    let mut end = arguments.len();
    for (at, token) in arguments.iter().enumerate() {
        if token.is(b'(') || token.is(b'[') {
            depth += 1;
        } else if token.is(b')') && depth == 0 {
            end = at;
            break;
        } else if token.is(b')') || token.is(b']') {
            depth = depth.saturating_sub(1);
        } else if token.is(b',') && depth == 0 {
            first_end.get_or_insert(at);
            last = at + 1;
        }
    }
    // What is put together from several pieces is the server's to know.
    let name = match first_end.map(|end| &arguments[..end]) {
        Some([name]) => name.string(),
        Some([name, colon, again, kind]) if colon.is(b':') && again.is(b':') => {
            kind.is_word("text").then(|| name.string()).flatten()
        }
        _ => None,
    };
    let is_local = |token: &Token<'_>| {
        token.is_word("true") || token.string().is_some_and(|text| text == "t" || text == "true")
    };
    let local = last > 0 && last + 1 == end && is_local(&arguments[last]);
    match name.map(|name| name.to_ascii_lowercase()) {
        Some(name) => {
            let value = first_end.map_or(end, |first| first + 1);
            note_temporary_path(&name, &arguments[value..end], effects);
            match local {
                true => effects.note_local(&name),
                false => effects.note_set(name.into()),
            }
        }
        None => {
            effects.unsettles = true;
            if !local {
                effects.note_pin(Reason::Setting);
            }
        }
    }
}

// === Statements, cursors and tables ===

/// Whether what follows `PREPARE` is a name and what it stands for, and not `TRANSACTION 'id'`.
fn names_a_statement(rest: &Statement<'_>) -> bool {
    let [name, next, ..] = rest else { return false };
    name.identifier().is_some() && (next.is_word("AS") || next.is(b'('))
}

/// Whether what follows `DECLARE` says `WITH HOLD` before its query.
fn holds(rest: &Statement<'_>) -> bool {
    let head = rest.iter().position(|token| token.is_word("FOR")).unwrap_or(rest.len());
    rest[..head].windows(2).any(|pair| pair[0].is_word("WITH") && pair[1].is_word("HOLD"))
}

/// Whether what follows `CREATE` makes something temporary that stays.
fn is_temporary(rest: &Statement<'_>) -> bool {
    let begin = usize::from(begins(rest, &["LOCAL"]) || begins(rest, &["GLOBAL"]));
    let rest = if begins(rest, &["OR", "REPLACE"]) { &rest[2..] } else { &rest[begin..] };
    let temporary = begins(rest, &["TEMP"]) || begins(rest, &["TEMPORARY"]);
    let dropped = rest.windows(3).any(|three| {
        three[0].is_word("ON") && three[1].is_word("COMMIT") && three[2].is_word("DROP")
    });
    temporary && !dropped || is_in_temporary_schema(rest)
}

/// Whether a query makes a temporary table of its rows: `SELECT … INTO TEMP t`. What `INSERT` and
/// `MERGE` go into is there already.
fn selects_into_temporary(statement: &Statement<'_>) -> bool {
    let begins_query = |word: &str| statement[0].is_word(word);
    if !(begins_query("SELECT") || begins_query("WITH") || statement[0].is(b'(')) {
        return false;
    }
    let into = |at: usize| {
        let before = at.checked_sub(1).map(|before| &statement[before]);
        let changes = |token: &Token<'_>| token.is_word("INSERT") || token.is_word("MERGE");
        statement[at].is_word("INTO") && !before.is_some_and(changes)
    };
    let makes = |rest: &Statement<'_>| {
        let scope = begins(rest, &["LOCAL"]) || begins(rest, &["GLOBAL"]);
        let rest = &rest[usize::from(scope)..];
        let named = rest.get(1).is_some_and(|token| token.identifier().is_some());
        let temporary = begins(rest, &["TEMP"]) || begins(rest, &["TEMPORARY"]);
        let rest = &rest[usize::from(begins(rest, &["TABLE"]))..];
        let schema = rest.first().and_then(Token::identifier).is_some_and(|name| name == "pg_temp");
        temporary && named || schema && rest.get(1).is_some_and(|token| token.is(b'.'))
    };
    (0..statement.len()).any(|at| into(at) && makes(&statement[at + 1..]))
}

/// Whether what is made, of whatever kind, is named `pg_temp.…`.
fn is_in_temporary_schema(rest: &Statement<'_>) -> bool {
    let head = rest.iter().position(|token| token.is(b'(') || token.is_word("AS"));
    let head = &rest[..head.unwrap_or(rest.len())];
    let schema = |token: &Token<'_>| token.identifier().is_some_and(|name| name == "pg_temp");
    head.windows(2).any(|pair| schema(&pair[0]) && pair[1].is(b'.'))
}
