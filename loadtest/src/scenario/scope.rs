//! Tables and values of a scenario, read key by key; whatever is wrong becomes a finding.

use std::{
    cell::{Cell, RefCell},
    ops::{Range, RangeInclusive},
    time::Duration,
};

use toml_edit::{Item, TableLike, Value};

use super::finding::{Fault, Findings};
use crate::quantity::parse_duration;

/// A table that is being read.
pub(super) struct Scope<'a> {
    table: &'a dyn TableLike,
    findings: &'a RefCell<Findings>,
    /// Where it stands.
    pub(super) span: Range<usize>,
    path: String,
    asked: RefCell<Vec<&'static str>>,
    /// Whether all of its keys may be given.
    open: Cell<bool>,
}

/// A value that is being read.
#[derive(Clone)]
pub(super) struct Given<'a> {
    item: Held<'a>,
    findings: &'a RefCell<Findings>,
    pub(super) span: Range<usize>,
    pub(super) path: String,
}

/// Where a value is kept.
#[derive(Clone, Copy)]
enum Held<'a> {
    Value(&'a Value),
    Tables(&'a toml_edit::ArrayOfTables),
    Table(&'a toml_edit::Table),
}

// === impl Scope ===

impl<'a> Scope<'a> {
    /// The whole file.
    pub(super) fn root(table: &'a dyn TableLike, findings: &'a RefCell<Findings>) -> Self {
        Self::new(table, findings, 0..1, String::new())
    }

    fn new(
        table: &'a dyn TableLike,
        findings: &'a RefCell<Findings>,
        span: Range<usize>,
        path: String,
    ) -> Self {
        let (asked, open) = (RefCell::new(Vec::new()), Cell::new(false));
        Self { table, findings, span, path, asked, open }
    }

    /// The value of a key, if it is given.
    pub(super) fn get(&self, key: &'static str) -> Option<Given<'a>> {
        self.asked.borrow_mut().push(key);
        self.given(key)
    }

    /// The value of a key that has to be given.
    pub(super) fn required(&self, key: &'static str, hint: &str) -> Option<Given<'a>> {
        let given = self.get(key);
        if given.is_none() {
            self.fault(Fault::new(format!("`{key}` is missing")).hint(hint));
        }
        given
    }

    /// All keys and their values, whatever they are called.
    pub(super) fn all(&self) -> Vec<(&'a str, Given<'a>)> {
        self.open.set(true);
        self.table.iter().filter_map(|(key, _)| Some((key, self.given(key)?))).collect()
    }

    /// The place of a key.
    pub(super) fn key_span(&self, key: &str) -> Range<usize> {
        let span = self.table.key(key).and_then(toml_edit::Key::span);
        span.unwrap_or_else(|| self.span.clone())
    }

    /// About the table as a whole.
    pub(super) fn fault(&self, fault: Fault) {
        self.findings.borrow_mut().push(self.span.clone(), &self.path, fault);
    }

    fn given(&self, key: &str) -> Option<Given<'a>> {
        let item = self.table.get(key)?;
        let key_span = self.key_span(key);
        let path = match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        };
        let (item, span) = match item {
            Item::None => return None,
            Item::Value(value) => (Held::Value(value), value.span().unwrap_or(key_span)),
            // The span of a table with a header would be many lines.
            Item::Table(table) => (Held::Table(table), key_span),
            Item::ArrayOfTables(tables) => (Held::Tables(tables), key_span),
        };
        Some(Given { item, findings: self.findings, span, path })
    }
}

/// A key that nobody asked for does not exist.
impl Drop for Scope<'_> {
    fn drop(&mut self) {
        if self.open.get() {
            return;
        }
        let asked = self.asked.borrow();
        for (key, _) in self.table.iter().filter(|(key, _)| !asked.contains(key)) {
            let hint = match nearest(key, asked.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("there are {}", listed(&asked)),
            };
            let fault = Fault::new(format!("unknown key `{key}`")).hint(hint);
            self.findings.borrow_mut().push(self.key_span(key), &self.path, fault);
        }
    }
}

fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// The candidate a misspelt word was most likely meant to be.
pub(super) fn nearest<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    let scored = candidates.into_iter().map(|candidate| {
        let folded = |text: &str| text.to_lowercase().replace('-', "_");
        (strsim::jaro_winkler(&folded(word), &folded(candidate)), candidate)
    });
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= 0.75).then_some(best.1)
}

// === impl Given ===

impl<'a> Given<'a> {
    pub(super) fn fault(&self, fault: Fault) {
        self.findings.borrow_mut().push(self.span.clone(), &self.path, fault);
    }

    /// The value, or a finding that says why not.
    pub(super) fn accept<T>(&self, result: Result<T, Fault>) -> Option<T> {
        result.map_err(|fault| self.fault(fault)).ok()
    }

    /// What `parse` makes of its text; its error is the finding.
    pub(super) fn parsed<T, E: ToString>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text()?;
        self.accept(parse(text).map_err(|error| Fault::new(error.to_string())))
    }

    pub(super) fn text(&self) -> Option<&'a str> {
        match self.item {
            Held::Value(Value::String(text)) => Some(text.value()),
            Held::Value(Value::Integer(_) | Value::Float(_) | Value::Boolean(_)) => {
                self.wrong("text", Some("put it in quotes"))
            }
            _ => self.wrong("text", None),
        }
    }

    /// A text without quotes is welcome where it is a number.
    pub(super) fn text_or_number(&self) -> Option<String> {
        match self.item {
            Held::Value(Value::Integer(number)) => Some(number.value().to_string()),
            Held::Value(Value::Float(number)) => Some(number.value().to_string()),
            _ => self.text().map(str::to_owned),
        }
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        match self.item {
            Held::Value(Value::Boolean(yes)) => Some(*yes.value()),
            _ => self.wrong("true or false", None),
        }
    }

    pub(super) fn integer(&self, range: RangeInclusive<i64>) -> Option<i64> {
        let Held::Value(Value::Integer(number)) = self.item else {
            let quoted = matches!(self.item, Held::Value(Value::String(_)));
            return self.wrong("an integer", quoted.then_some("write it without quotes"));
        };
        let number = *number.value();
        self.accept(within(number, &range, |number| number.to_string()))
    }

    pub(super) fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        if let Held::Value(Value::Integer(number)) = self.item {
            let number = number.value();
            return self.wrong("a duration", Some(&format!("write \"{number}s\" for seconds")));
        }
        let duration = self.parsed(parse_duration)?;
        self.accept(within(duration, &range, |duration| format!("{duration:?}")))
    }

    pub(super) fn table(&self) -> Option<Scope<'a>> {
        let table: &dyn TableLike = match self.item {
            Held::Value(Value::InlineTable(table)) => table,
            Held::Table(table) => table,
            Held::Tables(_) => {
                return self.wrong("a table", Some("write it in [single] brackets"));
            }
            Held::Value(_) => return self.wrong("a table", None),
        };
        Some(Scope::new(table, self.findings, self.span.clone(), self.path.clone()))
    }

    pub(super) fn is_table(&self) -> bool {
        matches!(self.item, Held::Table(_) | Held::Value(Value::InlineTable(_)))
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self.item, Held::Tables(_) | Held::Value(Value::Array(_)))
    }

    /// The elements of a list.
    pub(super) fn list(&self) -> Option<Vec<Given<'a>>> {
        let (findings, path) = (self.findings, &self.path);
        let element = |index: usize, item: Held<'a>, span: Option<Range<usize>>| Given {
            item,
            findings,
            span: span.unwrap_or_else(|| self.span.clone()),
            path: format!("{path}[{index}]"),
        };
        match self.item {
            Held::Value(Value::Array(list)) => {
                let elements = list.iter().enumerate();
                Some(elements.map(|(index, v)| element(index, Held::Value(v), v.span())).collect())
            }
            Held::Tables(tables) => {
                let elements = tables.iter().enumerate();
                Some(elements.map(|(index, t)| element(index, Held::Table(t), t.span())).collect())
            }
            Held::Table(_) => self.wrong("a list", Some("write it in [[double]] brackets")),
            Held::Value(_) => self.wrong("a list", None),
        }
    }

    fn wrong<T>(&self, expected: &str, hint: Option<&str>) -> Option<T> {
        let found = match self.item {
            Held::Value(Value::String(_)) => "text",
            Held::Value(Value::Integer(_)) => "an integer",
            Held::Value(Value::Float(_)) => "a number",
            Held::Value(Value::Boolean(_)) => "true or false",
            Held::Value(Value::Datetime(_)) => "a time",
            Held::Value(Value::Array(_)) | Held::Tables(_) => "a list",
            Held::Value(Value::InlineTable(_)) | Held::Table(_) => "a table",
        };
        let fault = Fault::new(format!("expected {expected}, found {found}"));
        self.fault(fault.maybe_hint(hint.map(str::to_owned)));
        None
    }
}

/// Checks limits; `show` writes a value the way the file would.
pub(super) fn within<T: PartialOrd + Copy>(
    value: T,
    range: &RangeInclusive<T>,
    show: impl Fn(T) -> String,
) -> Result<T, Fault> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (least, most) = (show(*range.start()), show(*range.end()));
    let fault = Fault::new(format!("{} is out of range", show(value)));
    Err(fault.hint(format!("allowed is {least} to {most}")))
}
