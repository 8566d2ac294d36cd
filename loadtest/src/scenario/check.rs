//! `expect`: what has to come back.

use regex::bytes::Regex;

use super::{Fault, scope::Given};
use crate::checks::{BodyCheck, Checks, HeaderCheck, MAX_HEADER_CHECKS, Rule, StatusSet};

/// Most checks of one body.
const MAX_BODY_CHECKS: usize = 16;

/// `expect = { status = 200, headers = { … }, body = { contains = … } }`.
pub(super) fn read(given: &Given<'_>) -> Option<Checks> {
    let scope = given.table()?;
    let status = scope.get("status").map(|given| status(&given));
    let headers = scope.get("headers").map(|given| headers(&given)).unwrap_or_default();
    let bodies = scope.get("body").map(|given| bodies(&given)).unwrap_or_default();
    Some(Checks { status: status.unwrap_or(Some(StatusSet::default()))?, headers, bodies })
}

/// `200`, `"2xx,404"`.
fn status(given: &Given<'_>) -> Option<StatusSet> {
    let text = given.text_or_number()?;
    given.accept(text.parse().map_err(|error: crate::StatusError| Fault::new(error.to_string())))
}

/// `Name = "value"`, or a rule in a table.
fn headers(given: &Given<'_>) -> Vec<HeaderCheck> {
    let Some(scope) = given.table() else { return Vec::new() };
    let all = scope.all();
    let mut checks = Vec::new();
    for (name, given) in all {
        let Some(rules) = rules(&given) else { continue };
        let rule = |wanted| match wanted {
            Wanted::Equals(text) => Rule::Equals(text.into_bytes()),
            Wanted::Contains(text) => Rule::Contains(text.into_bytes()),
            Wanted::Matches(pattern) => Rule::Matches(pattern),
        };
        let mut rules: Vec<_> = rules.into_iter().map(rule).collect();
        if rules.is_empty() {
            rules.push(Rule::Present);
        }
        let named = rules.into_iter().map(|rule| HeaderCheck { name: name.to_owned(), rule });
        checks.extend(named);
    }
    if checks.len() > MAX_HEADER_CHECKS {
        let fault = format!("{} checks are more than {MAX_HEADER_CHECKS}", checks.len());
        given.fault(Fault::new(fault));
    }
    checks
}

/// `"a text it holds"`, a rule in a table, or a list of these.
fn bodies(given: &Given<'_>) -> Vec<BodyCheck> {
    let list = if given.is_list() { given.list().unwrap_or_default() } else { vec![given.clone()] };
    if list.len() > MAX_BODY_CHECKS {
        let fault = format!("{} checks are more than {MAX_BODY_CHECKS}", list.len());
        given.fault(Fault::new(fault));
        return Vec::new();
    }
    let check = |wanted| match wanted {
        Wanted::Equals(text) => Some(BodyCheck::Equals(text.into_bytes())),
        Wanted::Contains(text) => BodyCheck::contains(text.as_bytes()),
        Wanted::Matches(pattern) => Some(BodyCheck::Matches(pattern)),
    };
    let of = |given: &Given<'_>| -> Vec<BodyCheck> {
        if given.is_table() {
            return rules(given).unwrap_or_default().into_iter().filter_map(check).collect();
        }
        given.text().and_then(|text| BodyCheck::contains(text.as_bytes())).into_iter().collect()
    };
    list.iter().flat_map(of).collect()
}

/// What a value has to be.
enum Wanted {
    Equals(String),
    Contains(String),
    Matches(Regex),
}

/// A text it equals, or `{ equals = … }`, `{ contains = … }`, `{ matches = … }`; `{}` asks for
/// nothing but that it is there.
fn rules(given: &Given<'_>) -> Option<Vec<Wanted>> {
    if !given.is_table() {
        return Some(vec![Wanted::Equals(given.text()?.to_owned())]);
    }
    let scope = given.table()?;
    let (equals, contains, matches) =
        (scope.get("equals"), scope.get("contains"), scope.get("matches"));
    let mut wanted = Vec::new();
    if let Some(given) = equals {
        wanted.push(Wanted::Equals(given.text()?.to_owned()));
    }
    if let Some(given) = contains {
        wanted.push(Wanted::Contains(given.text()?.to_owned()));
    }
    if let Some(given) = matches {
        wanted.push(Wanted::Matches(pattern(&given)?));
    }
    Some(wanted)
}

fn pattern(given: &Given<'_>) -> Option<Regex> {
    let text = given.text()?;
    given.accept(Regex::new(text).map_err(|error| {
        let error = error.to_string();
        let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
        Fault::new(format!("not a regular expression: {reason}"))
            .hint("write it in 'single quotes', so that \\ stays what it is")
    }))
}
