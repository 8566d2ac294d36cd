//! A script as it goes on the wire: statements one after the other, and variables between them.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use bs9_wire::{
    encode::{self, frontend},
    tag::FrontendTag,
};
use rand::rngs::SmallRng;

use super::{QueryMode, statement::Bound};
use crate::{
    failure::Failure,
    script::{Expression, Piece, Script, Step, TimeUnit},
};

/// A transaction, over and over.
#[derive(Debug, Clone)]
pub(super) struct Transaction {
    actions: Arc<[Action]>,
    initial: Arc<[i64]>,
}

#[derive(Debug)]
enum Action {
    Set(usize, Expression),
    Sleep(Expression, TimeUnit),
    /// Simple: variables become literals.
    Query(Vec<Piece>),
    /// Otherwise: these variables are bound.
    Bound(Bound, Vec<usize>),
}

/// What going on in a transaction came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Advance {
    /// A statement is to be sent.
    Sent,
    /// It pauses for so long.
    Paused(Duration),
    /// There is nothing more.
    Ended,
}

/// How far a connection is in its transaction, and its variables.
#[derive(Debug, Default)]
pub(super) struct Place {
    next: usize,
    values: Vec<i64>,
    /// The same as statements say them.
    texts: Vec<String>,
    /// The transaction has failed, and is being rolled back.
    pub(super) failed: Option<Failure>,
}

// === impl Transaction ===

impl Transaction {
    /// What each connection has to send once for it is appended to `preparation`.
    pub(super) fn new(script: &Script, mode: QueryMode, preparation: &mut Vec<u8>) -> Self {
        let action = |(number, step): (usize, &Step)| match (step, mode) {
            (Step::Set(variable, expression), _) => Action::Set(*variable, expression.clone()),
            (Step::Sleep(count, unit), _) => Action::Sleep(count.clone(), *unit),
            (Step::Send(pieces), QueryMode::Simple) => Action::Query(pieces.clone()),
            (Step::Send(pieces), QueryMode::Extended | QueryMode::Prepared) => {
                let (text, variables) = numbered(pieces);
                Action::Bound(Bound::new(number, text.as_bytes(), mode, preparation), variables)
            }
        };
        let actions = script.steps.iter().enumerate().map(action).collect();
        Self { actions, initial: script.initial.clone().into() }
    }

    /// A connection that has not begun.
    pub(super) fn place(&self) -> Place {
        Place {
            next: 0,
            values: self.initial.to_vec(),
            texts: self.initial.iter().map(i64::to_string).collect(),
            failed: None,
        }
    }

    /// Appends the next statement, unless a pause is before it or there is none.
    pub(super) fn go_on(
        &self,
        place: &mut Place,
        random: &mut SmallRng,
        out: &mut Vec<u8>,
    ) -> Result<Advance, Failure> {
        while let Some(action) = self.actions.get(place.next) {
            place.next += 1;
            match action {
                Action::Set(variable, expression) => {
                    let value = place.evaluate(expression, random)?;
                    place.set(*variable, value);
                }
                Action::Sleep(count, unit) => {
                    return Ok(Advance::Paused(unit.times(place.evaluate(count, random)?)));
                }
                Action::Query(pieces) => {
                    encode::message(out, FrontendTag::Query, |out| {
                        for piece in pieces {
                            out.extend_from_slice(match piece {
                                Piece::Text(text) => text.as_bytes(),
                                Piece::Variable(variable) => place.texts[*variable].as_bytes(),
                            });
                        }
                        out.push(0);
                    });
                    return Ok(Advance::Sent);
                }
                Action::Bound(bound, variables) => {
                    bound.fill(variables.iter().map(|&number| place.texts[number].as_bytes()), out);
                    return Ok(Advance::Sent);
                }
            }
        }
        Ok(Advance::Ended)
    }
}

/// Ends what has failed.
pub(super) fn roll_back(out: &mut Vec<u8>) {
    frontend::query(out, "ROLLBACK");
}

/// The text with numbered parameters, and the variable of each: one for each variable.
fn numbered(pieces: &[Piece]) -> (String, Vec<usize>) {
    let (mut text, mut variables) = (String::new(), Vec::new());
    for piece in pieces {
        match piece {
            Piece::Text(literal) => text.push_str(literal),
            Piece::Variable(variable) => {
                // Each place may need another type.
                variables.push(*variable);
                // Writing to a string cannot fail.
                let _infallible = write!(text, "${}", variables.len());
            }
        }
    }
    (text, variables)
}

// === impl Place ===

impl Place {
    /// From the beginning; variables keep their values.
    pub(super) fn begin(&mut self) {
        (self.next, self.failed) = (0, None);
    }

    fn evaluate(&self, expression: &Expression, random: &mut SmallRng) -> Result<i64, Failure> {
        expression.evaluate(&self.values, random).map_err(|what| Failure::Script(what.to_owned()))
    }

    fn set(&mut self, variable: usize, value: i64) {
        self.values[variable] = value;
        let text = &mut self.texts[variable];
        text.clear();
        // Writing to a string cannot fail.
        let _infallible = write!(text, "{value}");
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    fn sent(mode: QueryMode) -> (String, Vec<String>) {
        let text = "\\set a 40\n\\set b :a + 2\nBEGIN;\nSELECT :b, 1 - :a, :b;\n\\sleep 1\n\\set a 0\nEND;";
        let script = Script::parse(text, &[]).unwrap();
        let mut preparation = Vec::new();
        let transaction = Transaction::new(&script, mode, &mut preparation);
        let mut place = transaction.place();
        let mut random = SmallRng::seed_from_u64(0);
        let mut statements = Vec::new();
        for _ in 0..2 {
            place.begin();
            loop {
                let mut out = Vec::new();
                match transaction.go_on(&mut place, &mut random, &mut out).unwrap() {
                    Advance::Sent => {}
                    Advance::Paused(_) => continue,
                    Advance::Ended => break,
                }
                statements.push(String::from_utf8_lossy(&out).into_owned());
            }
        }
        assert_eq!(statements[..3], statements[3..], "the same the second time");
        statements.truncate(3);
        (String::from_utf8_lossy(&preparation).into_owned(), statements)
    }

    #[test]
    fn variables_become_text_or_parameters() {
        let (_, simple) = sent(QueryMode::Simple);
        assert_eq!(simple[0], "Q\0\0\0\x0aBEGIN\0");
        assert_eq!(simple[1], "Q\0\0\0\x1aSELECT 42, 1 - 40, 42\0");
        let bound = "\0\0\0\x03\0\0\0\x0242\0\0\0\x0240\0\0\0\x0242\0\0";
        let (_, extended) = sent(QueryMode::Extended);
        assert!(extended[1].contains("\0SELECT $1, 1 - $2, $3\0"), "{extended:?}");
        assert!(extended[1].contains(bound), "{extended:?}");
        let (preparation, prepared) = sent(QueryMode::Prepared);
        assert_eq!(preparation.matches("bs9_loadtest_").count(), 3);
        assert!(preparation.contains("bs9_loadtest_3\0SELECT $1, 1 - $2, $3\0"));
        assert!(prepared[1].contains(&format!("bs9_loadtest_3\0{bound}")), "{prepared:?}");
    }

    #[test]
    fn what_cannot_be_computed_fails_the_script() {
        let script = Script::parse("\\set a 1 / :zero\nSELECT 1;", &[("zero".into(), 0)]).unwrap();
        let transaction = Transaction::new(&script, QueryMode::Simple, &mut Vec::new());
        let mut random = SmallRng::seed_from_u64(0);
        let result = transaction.go_on(&mut transaction.place(), &mut random, &mut Vec::new());
        assert!(matches!(result, Err(Failure::Script(_))));
    }
}
