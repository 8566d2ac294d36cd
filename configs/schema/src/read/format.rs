//! Formats of single values and lists.

use std::{marker::PhantomData, ops::RangeInclusive, time::Duration};

use super::{At, Fault, Located, Reader, nearest};
use crate::{
    definition::{Kind, WordDefinition},
    raw::Value,
    unit,
};

/// How a value is written, and what it becomes.
pub(crate) trait Format {
    type Output;

    /// What it is, as data.
    fn kind(&self) -> Kind;

    /// Whether a value has the TOML type for it.
    fn fits(&self, value: &Value) -> bool;

    /// The typed value; `None` when a finding says why not.
    fn read(&self, at: At<'_>, reader: &Reader<'_>) -> Option<Self::Output>;

    /// The same format, with its output turned into something else.
    fn map<T, M: Fn(Self::Output) -> T>(self, convert: M) -> Map<Self, M>
    where
        Self: Sized,
    {
        Map { format: self, convert }
    }
}

/// Reports a value of another type than the format wants.
pub(super) fn wrong_type(at: At<'_>, reader: &Reader<'_>, kind: &Kind) {
    let message = format!("expected {}, found {}", kind.what(), at.node.value.type_name());
    let hint = match (kind, &at.node.value) {
        (Kind::Duration { .. }, Value::Integer(n)) => Some(format!("write \"{n}s\" for seconds")),
        (Kind::Size { .. }, Value::Integer(n)) => Some(format!("write \"{n}B\" for bytes")),
        (Kind::List { .. }, Value::Text(text)) => Some(format!("write [{text:?}]")),
        (Kind::List { .. }, Value::Table(_)) => {
            Some("use [[double brackets]] for each entry".to_owned())
        }
        (Kind::Bool, Value::Text(_)) => Some("write it without quotes".to_owned()),
        (Kind::Integer { .. } | Kind::Numbers(_), Value::Text(text))
            if text.parse::<i64>().is_ok() =>
        {
            Some(format!("write {text} without quotes"))
        }
        (
            Kind::Text(_) | Kind::Words(_) | Kind::Secret,
            Value::Integer(_) | Value::Float(_) | Value::Bool(_),
        ) => Some("put it in quotes".to_owned()),
        _ => None,
    };
    reader.fault(at, Fault { message, hint });
}

/// Checks limits; `show` writes a number the way the file would.
fn within<N: PartialOrd + Copy>(
    number: N,
    limits: &RangeInclusive<N>,
    show: impl Fn(N) -> String,
) -> Result<N, Fault> {
    if limits.contains(&number) {
        return Ok(number);
    }
    let (side, limit) = if number < *limits.start() {
        ("below the minimum", *limits.start())
    } else {
        ("above the maximum", *limits.end())
    };
    Err(Fault::new(format!("{} is {side} of {}", show(number), show(limit))).hint(format!(
        "allowed is {} to {}",
        show(*limits.start()),
        show(*limits.end())
    )))
}

fn report<T>(at: At<'_>, reader: &Reader<'_>, result: Result<T, Fault>) -> Option<T> {
    result.map_err(|fault| reader.fault(at, fault)).ok()
}

// === Map ===

/// See [`Format::map`].
pub(crate) struct Map<F, M> {
    format: F,
    convert: M,
}

impl<F: Format, T, M: Fn(F::Output) -> T> Format for Map<F, M> {
    type Output = T;

    fn kind(&self) -> Kind {
        self.format.kind()
    }

    fn fits(&self, value: &Value) -> bool {
        self.format.fits(value)
    }

    fn read(&self, at: At<'_>, reader: &Reader<'_>) -> Option<T> {
        self.format.read(at, reader).map(&self.convert)
    }
}

// === Bool ===

/// See [`boolean`].
pub(crate) struct Bool;

/// `true` or `false`.
pub(crate) fn boolean() -> Bool {
    Bool
}

impl Format for Bool {
    type Output = bool;

    fn kind(&self) -> Kind {
        Kind::Bool
    }

    fn fits(&self, value: &Value) -> bool {
        matches!(value, Value::Bool(_))
    }

    fn read(&self, at: At<'_>, reader: &Reader<'_>) -> Option<bool> {
        if let Value::Bool(yes) = at.node.value {
            return Some(yes);
        }
        wrong_type(at, reader, &self.kind());
        None
    }
}

// === Integer ===

/// See [`integer`].
pub(crate) struct Integer<T> {
    limits: RangeInclusive<i64>,
    output: PhantomData<T>,
}

/// An integer within limits, which must fit `T`.
pub(crate) fn integer<T: TryFrom<i64>>(limits: RangeInclusive<i64>) -> Integer<T> {
    Integer { limits, output: PhantomData }
}

impl<T: TryFrom<i64>> Format for Integer<T> {
    type Output = T;

    fn kind(&self) -> Kind {
        Kind::Integer { min: *self.limits.start(), max: *self.limits.end() }
    }

    fn fits(&self, value: &Value) -> bool {
        matches!(value, Value::Integer(_))
    }

    fn read(&self, at: At<'_>, reader: &Reader<'_>) -> Option<T> {
        let Value::Integer(number) = at.node.value else {
            wrong_type(at, reader, &self.kind());
            return None;
        };
        let number = report(at, reader, within(number, &self.limits, |n| n.to_string()))?;
        T::try_from(number).ok()
    }
}

// === Numbers ===

/// See [`numbers`].
pub(crate) struct Numbers(&'static [i64]);

/// One of a few integers.
pub(crate) fn numbers(allowed: &'static [i64]) -> Numbers {
    Numbers(allowed)
}

impl Format for Numbers {
    type Output = i64;

    fn kind(&self) -> Kind {
        Kind::Numbers(self.0)
    }

    fn fits(&self, value: &Value) -> bool {
        matches!(value, Value::Integer(_))
    }

    fn read(&self, at: At<'_>, reader: &Reader<'_>) -> Option<i64> {
        match at.node.value {
            Value::Integer(number) if self.0.contains(&number) => return Some(number),
            Value::Integer(number) => {
                let fault = Fault::new(format!("{number} is not allowed here"));
                reader.fault(at, fault.hint(format!("write {}", self.kind().what())));
            }
            _ => wrong_type(at, reader, &self.kind()),
        }
        None
    }
}

// === Float ===

/// See [`float`].
pub(crate) struct Float(RangeInclusive<f64>);

/// A number within limits; an integer will do.
pub(crate) fn float(limits: RangeInclusive<f64>) -> Float {
    Float(limits)
}

impl Format for Float {
    type Output = f64;

    fn kind(&self) -> Kind {
        Kind::Float { min: *self.0.start(), max: *self.0.end() }
    }

    fn fits(&self, value: &Value) -> bool {
        matches!(value, Value::Float(_) | Value::Integer(_))
    }

    fn read(&self, at: At<'_>, reader: &Reader<'_>) -> Option<f64> {
        let number = match at.node.value {
            Value::Float(number) => number,
            Value::Integer(number) => number as f64,
            _ => {
                wrong_type(at, reader, &self.kind());
                return None;
            }
        };
        report(at, reader, within(number, &self.0, |n| n.to_string()))
    }
}

// === Duration ===

/// See [`duration`].
pub(crate) struct DurationFormat(RangeInclusive<Duration>);

/// A number and a unit of time, within limits.
pub(crate) fn duration(limits: RangeInclusive<Duration>) -> DurationFormat {
    DurationFormat(limits)
}

impl Format for DurationFormat {
    type Output = Duration;

    fn kind(&self) -> Kind {
        Kind::Duration { min: *self.0.start(), max: *self.0.end() }
    }

    fn fits(&self, value: &Value) -> bool {
        matches!(value, Value::Text(_))
    }

    fn read(&self, at: At<'_>, reader: &Reader<'_>) -> Option<Duration> {
        let Value::Text(text) = &at.node.value else {
            wrong_type(at, reader, &self.kind());
            return None;
        };
        let parsed = unit::parse_duration(text);
        report(at, reader, parsed.and_then(|d| within(d, &self.0, unit::format_duration)))
    }
}

// === Size ===

/// See [`size`].
pub(crate) struct Size(RangeInclusive<u64>);

/// A number and a unit of size, in bytes, within limits.
pub(crate) fn size(limits: RangeInclusive<u64>) -> Size {
    Size(limits)
}

impl Format for Size {
    type Output = u64;

    fn kind(&self) -> Kind {
        Kind::Size { min: *self.0.start(), max: *self.0.end() }
    }

    fn fits(&self, value: &Value) -> bool {
        matches!(value, Value::Text(_))
    }

    fn read(&self, at: At<'_>, reader: &Reader<'_>) -> Option<u64> {
        let Value::Text(text) = &at.node.value else {
            wrong_type(at, reader, &self.kind());
            return None;
        };
        let parsed = unit::parse_size(text);
        report(at, reader, parsed.and_then(|bytes| within(bytes, &self.0, unit::format_size)))
    }
}

// === Words ===

/// One word of a choice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word<T> {
    /// As it is written. One that holds a `:` stands for all that start so.
    pub(crate) text: &'static str,
    pub(crate) choice: Choice<T>,
    pub(crate) doc: &'static str,
}

/// What a word means.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Choice<T> {
    Is(T),
    /// Part of the contract, yet refused by this version.
    Unsupported,
}

/// See [`words`].
pub(crate) struct Words<T: 'static>(&'static [Word<T>]);

/// One of a few words.
pub(crate) fn words<T: Clone>(allowed: &'static [Word<T>]) -> Words<T> {
    Words(allowed)
}

impl<T> Word<T> {
    pub(crate) const fn is(text: &'static str, value: T, doc: &'static str) -> Self {
        Self { text, choice: Choice::Is(value), doc }
    }

    pub(crate) const fn unsupported(text: &'static str, doc: &'static str) -> Self {
        Self { text, choice: Choice::Unsupported, doc }
    }

    /// Whether it stands for `value`.
    pub(crate) fn means(&self, value: &T) -> bool
    where
        T: PartialEq,
    {
        matches!(&self.choice, Choice::Is(own) if own == value)
    }

    fn matches(&self, text: &str) -> bool {
        match self.text.split_once(':') {
            Some((prefix, _)) => {
                text.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(':'))
            }
            None => self.text == text,
        }
    }
}

impl<T: Clone> Format for Words<T> {
    type Output = T;

    fn kind(&self) -> Kind {
        let words = self.0.iter().map(|word| WordDefinition {
            text: word.text,
            doc: word.doc,
            unsupported: matches!(word.choice, Choice::Unsupported),
        });
        Kind::Words(words.collect())
    }

    fn fits(&self, value: &Value) -> bool {
        matches!(value, Value::Text(_))
    }

    fn read(&self, at: At<'_>, reader: &Reader<'_>) -> Option<T> {
        let Value::Text(text) = &at.node.value else {
            wrong_type(at, reader, &self.kind());
            return None;
        };
        match self.0.iter().find(|word| word.matches(text)).map(|word| &word.choice) {
            Some(Choice::Is(value)) => return Some(value.clone()),
            Some(Choice::Unsupported) => {
                let fault = Fault::new(format!("\"{text}\" is not supported by this version"));
                reader.fault(at, fault.hint(format!("use {}", self.kind().what())));
            }
            None => {
                let fault =
                    Fault::new(format!("expected {}, found \"{text}\"", self.kind().what()));
                let near = nearest(text, self.0.iter().map(|word| word.text));
                let hint = near.map(|near| format!("did you mean \"{near}\"?"));
                reader.fault(at, Fault { hint, ..fault });
            }
        }
        None
    }
}

// === List ===

/// See [`list`].
pub(crate) struct List<F> {
    of: F,
    at_least: usize,
}

/// A list, `[[table]]` headers included. Entries that are wrong are left out.
pub(crate) fn list<F: Format>(of: F) -> List<F> {
    List { of, at_least: 0 }
}

impl<F> List<F> {
    /// An empty list is refused.
    pub(crate) fn not_empty(mut self) -> Self {
        self.at_least = 1;
        self
    }
}

impl<F: Format> Format for List<F> {
    type Output = Vec<F::Output>;

    fn kind(&self) -> Kind {
        Kind::List { of: Box::new(self.of.kind()), at_least: self.at_least }
    }

    fn fits(&self, value: &Value) -> bool {
        matches!(value, Value::List(_))
    }

    fn read(&self, at: At<'_>, reader: &Reader<'_>) -> Option<Vec<F::Output>> {
        let Value::List(nodes) = &at.node.value else {
            wrong_type(at, reader, &self.kind());
            return None;
        };
        if nodes.len() < self.at_least {
            let fault = Fault::new("the list is empty");
            reader.fault(at, fault.hint(format!("each entry is {}", self.of.kind().what())));
            return None;
        }
        let entries = nodes.iter().enumerate().filter_map(|(index, node)| {
            let path = format!("{}[{index}]", at.path);
            self.of.read(At { node, path: &path }, reader)
        });
        Some(entries.collect())
    }
}

// === Either ===

/// See [`either`].
pub(crate) struct Either<A, B>(A, B);

/// Two ways to write the same thing, told apart by their TOML type.
pub(crate) fn either<A: Format, B: Format<Output = A::Output>>(a: A, b: B) -> Either<A, B> {
    Either(a, b)
}

impl<A: Format, B: Format<Output = A::Output>> Format for Either<A, B> {
    type Output = A::Output;

    fn kind(&self) -> Kind {
        Kind::Either(Box::new(self.0.kind()), Box::new(self.1.kind()))
    }

    fn fits(&self, value: &Value) -> bool {
        self.0.fits(value) || self.1.fits(value)
    }

    fn read(&self, at: At<'_>, reader: &Reader<'_>) -> Option<A::Output> {
        if self.0.fits(&at.node.value) {
            self.0.read(at, reader)
        } else if self.1.fits(&at.node.value) {
            self.1.read(at, reader)
        } else {
            wrong_type(at, reader, &self.kind());
            None
        }
    }
}

// === Located ===

/// See [`located`].
pub(crate) struct LocatedFormat<F>(F);

/// The same format, remembering where the value stood.
pub(crate) fn located<F: Format>(format: F) -> LocatedFormat<F> {
    LocatedFormat(format)
}

impl<F: Format> Format for LocatedFormat<F> {
    type Output = Located<F::Output>;

    fn kind(&self) -> Kind {
        self.0.kind()
    }

    fn fits(&self, value: &Value) -> bool {
        self.0.fits(value)
    }

    fn read(&self, at: At<'_>, reader: &Reader<'_>) -> Option<Located<F::Output>> {
        let value = self.0.read(at, reader)?;
        Some(Located { value, spot: at.node.spot, path: at.path.to_owned() })
    }
}
