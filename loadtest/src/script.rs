//! Transaction scripts in the manner of pgbench: statements of SQL, and variables between them.
//!
//! ```text
//! \set aid random(1, 100000 * :scale)
//! BEGIN;
//! UPDATE accounts SET balance = balance + 1 WHERE id = :aid;
//! SELECT balance FROM accounts WHERE id = :aid;
//! END;
//! ```
//!
//! `\sleep 10 ms` pauses (`us`, `ms`, `s`; seconds when nothing is said); it counts as part of the
//! transaction's latency, as with pgbench.
//!
//! `:name` in a statement is a variable, except in quotes and comments, and behind another colon
//! (a cast). Every variable is set before it is used, which is checked before anything is sent.

use std::time::Duration;

mod expression;
mod sql;

pub(crate) use expression::Expression;
use expression::ExpressionError;

/// Longest script, in bytes.
pub const MAX_SCRIPT_BYTES: usize = 1 << 20;
/// Most statements, settings and pauses of a script.
pub const MAX_STEPS: usize = 1_000;

/// A script that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    pub(crate) steps: Vec<Step>,
    /// What each variable begins with.
    pub(crate) initial: Vec<i64>,
}

/// A script that cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct ScriptError {
    /// Where, from 1 on.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}

/// What is done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A variable gets a value.
    Set(usize, Expression),
    /// Nothing happens for so many of these.
    Sleep(Expression, TimeUnit),
    /// A statement is sent.
    Send(Vec<Piece>),
}

/// What a pause is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeUnit {
    Microseconds,
    Milliseconds,
    Seconds,
}

/// A piece of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    Variable(usize),
}

/// The variables that are known so far.
#[derive(Debug, Default)]
struct Variables {
    names: Vec<String>,
    initial: Vec<i64>,
}

// === impl TimeUnit ===

impl TimeUnit {
    fn named(name: &str) -> Option<Self> {
        match name {
            "us" => Some(Self::Microseconds),
            "ms" => Some(Self::Milliseconds),
            "s" => Some(Self::Seconds),
            _ => None,
        }
    }

    /// So many of them; none when they are less than none.
    pub(crate) fn times(self, count: i64) -> Duration {
        let count = u64::try_from(count).unwrap_or(0);
        match self {
            Self::Microseconds => Duration::from_micros(count),
            Self::Milliseconds => Duration::from_millis(count),
            Self::Seconds => Duration::from_secs(count),
        }
    }
}

// === impl Variables ===

impl Variables {
    fn find(&self, name: &str) -> Result<usize, String> {
        let found = self.names.iter().position(|own| own == name);
        found.ok_or_else(|| {
            format!("`:{name}` is not set by any line above; use \\set, or define {name}=NUMBER")
        })
    }

    fn define(&mut self, name: &str, value: i64) -> Result<usize, String> {
        if !is_name(name) {
            return Err(format!("`{name}` is not the name of a variable"));
        }
        if let Ok(known) = self.find(name) {
            return Ok(known);
        }
        self.names.push(name.to_owned());
        self.initial.push(value);
        Ok(self.names.len() - 1)
    }
}

/// Letters, digits and underscores; digits not first.
fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.bytes().all(inner) && text.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
}

// === impl Script ===

impl Script {
    /// Reads a script. `definitions` are variables that have a value from the beginning.
    ///
    /// # Errors
    /// [`ScriptError`] with the first line that cannot be carried out.
    pub fn parse(text: &str, definitions: &[(String, i64)]) -> Result<Self, ScriptError> {
        let at = |line: usize| move |what: String| ScriptError { line, what };
        if text.len() > MAX_SCRIPT_BYTES {
            return Err(at(1)("the script is longer than 1 MiB".to_owned()));
        }
        if text.contains('\0') {
            return Err(at(1)("the script holds a NUL character".to_owned()));
        }
        let mut variables = Variables::default();
        for (name, value) in definitions {
            variables.define(name, *value).map_err(at(1))?;
        }
        let mut steps = Vec::new();
        let mut reader = sql::Reader::new(text);
        while let Some(found) = reader.next().map_err(|(line, what)| at(line)(what))? {
            let step = match found {
                sql::Found::Command { line, text } => {
                    command(&text, &mut variables).map_err(at(line))?
                }
                sql::Found::Statement { line, pieces } => {
                    Step::Send(statement(pieces, &variables).map_err(at(line))?)
                }
            };
            steps.push(step);
            if steps.len() > MAX_STEPS {
                return Err(at(reader.line())(format!("there are more than {MAX_STEPS} steps")));
            }
        }
        if !steps.iter().any(|step| matches!(step, Step::Send(_))) {
            return Err(at(reader.line())("the script sends nothing".to_owned()));
        }
        Ok(Self { steps, initial: variables.initial })
    }

    /// Statements of one transaction.
    pub fn statements(&self) -> usize {
        self.steps.iter().filter(|step| matches!(step, Step::Send(_))).count()
    }
}

fn statement(pieces: Vec<sql::Part>, variables: &Variables) -> Result<Vec<Piece>, String> {
    let piece = |part| match part {
        sql::Part::Text(text) => Ok(Piece::Text(text)),
        sql::Part::Variable(name) => variables.find(&name).map(Piece::Variable),
    };
    pieces.into_iter().map(piece).collect()
}

/// A line that begins with a backslash.
fn command(text: &str, variables: &mut Variables) -> Result<Step, String> {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    match word {
        "set" => set(rest, variables),
        "sleep" => sleep(rest, variables),
        _ => Err(format!(
            "`\\{word}` is not spoken here; there are \\set NAME EXPRESSION and \\sleep NUMBER [us|ms|s]"
        )),
    }
}

fn set(rest: &str, variables: &mut Variables) -> Result<Step, String> {
    let (name, expression) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let expression = Expression::parse(expression, |name| variables.find(name))
        .map_err(|ExpressionError(what)| what)?;
    Ok(Step::Set(variables.define(name, 0)?, expression))
}

/// How long: a number or a variable, and a unit, with or without space between them.
fn sleep(rest: &str, variables: &Variables) -> Result<Step, String> {
    let unit_at = match rest.strip_prefix(':') {
        Some(_) => rest.find(char::is_whitespace),
        None => rest.find(|c: char| !c.is_ascii_digit()),
    };
    let (count, unit) = rest.split_at(unit_at.unwrap_or(rest.len()));
    let unit = match unit.trim() {
        "" => TimeUnit::Seconds,
        name => TimeUnit::named(name)
            .ok_or_else(|| format!("\\sleep is given as NUMBER [us|ms|s], not as `{rest}`"))?,
    };
    if count.is_empty() {
        return Err("\\sleep needs to know how long: \\sleep NUMBER [us|ms|s]".to_owned());
    }
    let count = Expression::parse(count, |name| variables.find(name))
        .map_err(|ExpressionError(what)| what)?;
    Ok(Step::Sleep(count, unit))
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng as _, rngs::SmallRng};

    use super::*;

    fn script(text: &str) -> Result<Script, ScriptError> {
        Script::parse(text, &[("scale".to_owned(), 10)])
    }

    fn text(pieces: &[Piece]) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Variable(number) => format!("<{number}>"),
        };
        pieces.iter().map(piece).collect()
    }

    #[test]
    fn pgbenchs_own_script_is_understood() {
        let script = script(
            "\\set aid random(1, 100000 * :scale)\n\
             \\set bid random(1, 1 * :scale)\n\
             \\set delta random(-5000, 5000)\n\
             BEGIN;\n\
             UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;\n\
             SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n\
             INSERT INTO pgbench_history (bid, aid, delta, mtime)\n  \
               VALUES (:bid, :aid, :delta, CURRENT_TIMESTAMP);\n\
             END;\n",
        )
        .unwrap();
        assert_eq!((script.steps.len(), script.statements()), (8, 5));
        assert_eq!(script.initial, [10, 0, 0, 0]);
        let Step::Send(update) = &script.steps[4] else { panic!("{script:?}") };
        assert_eq!(
            text(update),
            "UPDATE pgbench_accounts SET abalance = abalance + <3> WHERE aid = <1>"
        );
    }

    #[test]
    fn pauses_are_counted_in_their_unit() {
        for (text, expected) in [
            ("\\sleep 10 ms\nSELECT 1;", Duration::from_millis(10)),
            ("\\sleep 10ms\nSELECT 1;", Duration::from_millis(10)),
            ("\\sleep 7 us\nSELECT 1;", Duration::from_micros(7)),
            ("\\sleep 2\nSELECT 1;", Duration::from_secs(2)),
            ("\\sleep :scale s\nSELECT 1;", Duration::from_secs(10)),
            ("\\sleep :scale\nSELECT 1;", Duration::from_secs(10)),
        ] {
            let script = script(text).unwrap();
            let Step::Sleep(count, unit) = &script.steps[0] else { panic!("{script:?}") };
            let count = count.evaluate(&script.initial, &mut SmallRng::seed_from_u64(0)).unwrap();
            assert_eq!(unit.times(count), expected, "{text:?}");
            assert_eq!(unit.times(-1), Duration::ZERO);
        }
    }

    #[test]
    fn what_cannot_be_carried_out_says_where() {
        for (text, line, said) in [
            ("", 1, "sends nothing"),
            ("\\set a 1\n\n-- nothing\n", 4, "sends nothing"),
            ("SELECT 1;\nSELECT :nobody;", 2, "`:nobody` is not set"),
            ("SELECT 1;\n\\set a :b + 1\n", 2, "`:b` is not set"),
            ("\\shell true\nSELECT 1;", 1, "`\\shell` is not spoken here"),
            ("\\sleep\nSELECT 1;", 1, "how long"),
            ("\\sleep ms\nSELECT 1;", 1, "NUMBER [us|ms|s]"),
            ("\\sleep 10 h\nSELECT 1;", 1, "not as `10 h`"),
            ("\\sleep -1 ms\nSELECT 1;", 1, "not as `-1 ms`"),
            ("\\sleep :nobody ms\nSELECT 1;", 1, "`:nobody` is not set"),
            ("\\sleep 10 ms\n", 2, "sends nothing"),
            ("\\set 1a 1\nSELECT 1;", 1, "`1a` is not the name"),
            ("\\set a\nSELECT 1;", 1, "expression"),
            ("SELECT 1\n\\set a 1\n", 1, "`;`"),
            ("SELECT 'open;\n", 1, "never closed"),
            ("SELECT \0;", 1, "NUL"),
        ] {
            let error = script(text).unwrap_err();
            assert_eq!(error.line, line, "{text:?}: {error}");
            assert!(error.what.contains(said), "{text:?}: {error}");
        }
        assert!(script(&"SELECT 1;".repeat(MAX_STEPS + 1)).is_err());
    }
}
