//! What a variable is set to: whole numbers, `+ - * / %`, variables and `random(least, most)`.

use rand::{RngExt as _, rngs::SmallRng};

/// Longest expression, in bytes.
const MAX_BYTES: usize = 4 << 10;
/// Deepest nesting.
const MAX_DEPTH: usize = 64;

/// An expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expression {
    Number(i64),
    Variable(usize),
    Negative(Box<Self>),
    Binary(Operator, Box<[Self; 2]>),
    /// Any number between two, both included.
    Random(Box<[Self; 2]>),
}

/// Between two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// An expression that is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ExpressionError(pub(super) String);

// === impl Expression ===

impl Expression {
    /// Reads an expression; `find` knows the variables.
    pub(super) fn parse(
        text: &str,
        find: impl Fn(&str) -> Result<usize, String>,
    ) -> Result<Self, ExpressionError> {
        let mut parser = Parser { rest: text.trim(), find, depth: 0 };
        if parser.rest.is_empty() {
            return Err(ExpressionError("there is no expression behind the name".to_owned()));
        }
        if text.len() > MAX_BYTES {
            return Err(ExpressionError("the expression is longer than 4 KiB".to_owned()));
        }
        let expression = parser.sum()?;
        if !parser.rest.is_empty() {
            let rest = parser.rest;
            return Err(ExpressionError(format!("`{rest}` does not belong to an expression")));
        }
        Ok(expression)
    }

    /// Its value now.
    ///
    /// # Errors
    /// What went wrong, in words: a division by zero, or a number too large.
    pub(crate) fn evaluate(
        &self,
        variables: &[i64],
        random: &mut SmallRng,
    ) -> Result<i64, &'static str> {
        const TOO_LARGE: &str = "a number is too large";
        match self {
            Self::Number(number) => Ok(*number),
            Self::Variable(number) => Ok(variables[*number]),
            Self::Negative(inner) => {
                inner.evaluate(variables, random)?.checked_neg().ok_or(TOO_LARGE)
            }
            Self::Binary(operator, operands) => {
                let [left, right] = &**operands;
                let left = left.evaluate(variables, random)?;
                let right = right.evaluate(variables, random)?;
                match operator {
                    Operator::Add => left.checked_add(right),
                    Operator::Subtract => left.checked_sub(right),
                    Operator::Multiply => left.checked_mul(right),
                    Operator::Divide | Operator::Remainder if right == 0 => {
                        return Err("a division by zero");
                    }
                    Operator::Divide => left.checked_div(right),
                    Operator::Remainder => left.checked_rem(right),
                }
                .ok_or(TOO_LARGE)
            }
            Self::Random(bounds) => {
                let [least, most] = &**bounds;
                let least = least.evaluate(variables, random)?;
                let most = most.evaluate(variables, random)?;
                if least > most {
                    return Err("random() is given a least number above the most");
                }
                Ok(random.random_range(least..=most))
            }
        }
    }
}

/// Reads from left to right.
struct Parser<'a, F> {
    rest: &'a str,
    find: F,
    depth: usize,
}

impl<'a, F: Fn(&str) -> Result<usize, String>> Parser<'a, F> {
    fn skip(&mut self, len: usize) {
        self.rest = self.rest[len..].trim_start();
    }

    fn takes(&mut self, wanted: &str) -> bool {
        let found = self.rest.starts_with(wanted);
        if found {
            self.skip(wanted.len());
        }
        found
    }

    fn expect(&mut self, wanted: &str) -> Result<(), ExpressionError> {
        if self.takes(wanted) {
            return Ok(());
        }
        Err(ExpressionError(match self.rest {
            "" => format!("`{wanted}` is missing at the end"),
            rest => format!("`{wanted}` is missing before `{rest}`"),
        }))
    }

    fn sum(&mut self) -> Result<Expression, ExpressionError> {
        let mut left = self.product()?;
        loop {
            let operator = match () {
                () if self.takes("+") => Operator::Add,
                () if self.takes("-") => Operator::Subtract,
                () => return Ok(left),
            };
            left = Expression::Binary(operator, Box::new([left, self.product()?]));
        }
    }

    fn product(&mut self) -> Result<Expression, ExpressionError> {
        let mut left = self.operand()?;
        loop {
            let operator = match () {
                () if self.takes("*") => Operator::Multiply,
                () if self.takes("/") => Operator::Divide,
                () if self.takes("%") => Operator::Remainder,
                () => return Ok(left),
            };
            left = Expression::Binary(operator, Box::new([left, self.operand()?]));
        }
    }

    fn operand(&mut self) -> Result<Expression, ExpressionError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ExpressionError(format!("it is nested deeper than {MAX_DEPTH} times")));
        }
        let operand = self.inner_operand();
        self.depth -= 1;
        operand
    }

    fn inner_operand(&mut self) -> Result<Expression, ExpressionError> {
        if self.takes("-") {
            // The least number of all has no positive counterpart.
            if let Some(number) = self.number("-")? {
                return Ok(Expression::Number(number));
            }
            return Ok(Expression::Negative(Box::new(self.operand()?)));
        }
        if self.takes("(") {
            let inner = self.sum()?;
            self.expect(")")?;
            return Ok(inner);
        }
        if let Some(number) = self.number("")? {
            return Ok(Expression::Number(number));
        }
        let is_variable = self.takes(":");
        let name = self.word();
        if is_variable {
            return (self.find)(name).map(Expression::Variable).map_err(ExpressionError);
        }
        if name != "random" {
            return Err(ExpressionError(match (name, self.rest) {
                ("", "") => "the expression is not complete".to_owned(),
                ("", rest) => format!("`{rest}` does not belong to an expression"),
                (name, _) => format!(
                    "`{name}` is not known; there are numbers, :variables, + - * / %, \
                     parentheses and random(least, most)"
                ),
            }));
        }
        self.expect("(")?;
        let least = self.sum()?;
        self.expect(",")?;
        let most = self.sum()?;
        self.expect(")")?;
        Ok(Expression::Random(Box::new([least, most])))
    }

    /// The number that comes next, behind its sign.
    fn number(&mut self, sign: &str) -> Result<Option<i64>, ExpressionError> {
        let len = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        if len == 0 {
            return Ok(None);
        }
        let digits = &self.rest[..len];
        let number = format!("{sign}{digits}").parse();
        let number = number.map_err(|_| ExpressionError(format!("{digits} is too large")))?;
        self.skip(len);
        Ok(Some(number))
    }

    fn word(&mut self) -> &'a str {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let len = self.rest.bytes().take_while(|&byte| inner(byte)).count();
        let word = &self.rest[..len];
        self.skip(len);
        word
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng as _;

    use super::*;

    fn value(text: &str) -> Result<i64, String> {
        let find = |name: &str| match name {
            "seven" => Ok(0),
            _ => Err(format!("no {name}")),
        };
        let expression = Expression::parse(text, find).map_err(|error| error.0)?;
        let mut random = SmallRng::seed_from_u64(1);
        expression.evaluate(&[7], &mut random).map_err(str::to_owned)
    }

    #[test]
    fn numbers_come_out() {
        for (text, expected) in [
            ("1", 1),
            ("1 + 2 * 3", 7),
            ("(1 + 2) * 3", 9),
            ("10 - 2 - 3", 5),
            ("-7 / 2", -3),
            ("-7 % 3", -1),
            ("- -:seven", 7),
            ("2*-:seven", -14),
            ("-9223372036854775808", i64::MIN),
            ("random(5, 5)", 5),
            ("100000 * :seven + random(-1+1,0)", 700_000),
        ] {
            assert_eq!(value(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_none_says_why() {
        for (text, said) in [
            ("1 +", "not complete"),
            ("(1", "`)` is missing at the end"),
            ("1 2", "`2` does not belong"),
            ("1.5", "`.5` does not belong"),
            ("abs(1)", "`abs` is not known"),
            ("random(1)", "`,` is missing before `)`"),
            (":other", "no other"),
            ("9223372036854775808", "too large"),
            ("1 / (3 - 3)", "division by zero"),
            ("1 % 0", "division by zero"),
            ("9223372036854775807 + 1", "too large"),
            ("-9223372036854775808 / -1", "too large"),
            ("random(2, 1)", "least number above"),
        ] {
            let error = value(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
        assert!(value(&"(".repeat(100)).unwrap_err().contains("nested deeper"));
        assert!(value(&"-".repeat(100)).unwrap_err().contains("nested deeper"));
    }

    proptest! {
        #[test]
        fn arithmetic_is_what_it_is_elsewhere(
            a in -1_000i64..1_000, b in -1_000i64..1_000, c in 1i64..1_000,
        ) {
            prop_assert_eq!(value(&format!("{a} + {b} * {c}")), Ok(a + b * c));
            prop_assert_eq!(value(&format!("({a} - {b}) / {c}")), Ok((a - b) / c));
            prop_assert_eq!(value(&format!("{a}-{b}%{c}")), Ok(a - b % c));
        }

        #[test]
        fn random_numbers_lie_within_their_bounds(least in -50i64..50, more in 0i64..50) {
            let value = value(&format!("random({least}, {least} + {more})")).unwrap();
            prop_assert!((least..=least + more).contains(&value));
        }

        #[test]
        fn noise_is_no_reason_to_panic(text in "[-+*/%()0-9:a, ö]{0,40}") {
            let _either_way = value(&text);
        }
    }
}
