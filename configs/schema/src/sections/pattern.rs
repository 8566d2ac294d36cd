//! Text with places for parts of the request.

use std::{path::Path, sync::Arc};

use regex::bytes::Regex;

use crate::{
    model::{Part, PathMatch, Pattern, Piece},
    read::{Fault, Located, Scope},
    report::Finding,
};

/// Names of parts that every request has.
const BUILT_IN: [(&str, Part); 5] = [
    ("scheme", Part::Scheme),
    ("host", Part::Host),
    ("path", Part::Path),
    ("query", Part::Query),
    ("rest", Part::Rest),
];

/// Whether a parameter or a group could not be told from a part that every request has.
pub(super) fn is_built_in(name: &str) -> bool {
    BUILT_IN.iter().any(|(built_in, _)| *built_in == name)
}

/// Whether `name` can be that of a parameter.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Reads `/users/{id}`.
pub(super) fn parse(text: &str) -> Result<Pattern, Fault> {
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Fault::new("visible ASCII only can stand here, and some of it does not")
            .hint("percent-encode the rest"));
    }
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, after) = rest.split_at(at);
        let inside = after.strip_prefix('{').and_then(|inside| inside.split_once('}'));
        let Some((name, behind)) = inside else {
            return Err(Fault::new(format!("`{text}` has a brace without its other half"))
                .hint("braces stand around names of parts: {host}; write %7B for one itself"));
        };
        if !before.is_empty() {
            pieces.push(Piece::Text(before.into()));
        }
        pieces.push(Piece::Part(part(name)?));
        rest = behind;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.into()));
    }
    Ok(Pattern(pieces))
}

fn part(name: &str) -> Result<Part, Fault> {
    if let Some((_, part)) = BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
        return Ok(part.clone());
    }
    match name.parse::<u8>() {
        Ok(group) => Ok(Part::Group(group.into())),
        Err(_) if is_name(name) => Ok(Part::Named(name.into())),
        Err(_) => Err(Fault::new(format!("`{{{name}}}` names no part of a request"))
            .hint("write {host}, {path}, {1} or the name of a parameter")),
    }
}

/// A pattern that begins with `/`.
pub(super) fn path(text: &str, _: &Path) -> Result<Pattern, Fault> {
    if !text.starts_with('/') {
        return Err(Fault::new(format!("the path `{text}` does not start with /"))
            .hint(format!("write \"/{text}\"")));
    }
    if text.contains(['?', '#']) {
        return Err(Fault::new(format!("the path `{text}` holds more than a path"))
            .hint("the query of the request stays as it is"));
    }
    parse(text)
}

/// A pattern of a host.
pub(super) fn host(text: &str, _: &Path) -> Result<Pattern, Fault> {
    if text.is_empty() || text.contains(['/', '?', '#', '@', '\\']) {
        return Err(Fault::new(format!("`{text}` is not a host"))
            .hint("write \"app.internal\", \"app.internal:8080\" or \"{1}.internal\""));
    }
    parse(text)
}

/// Which parts there are beside those of every request.
pub(super) struct Available {
    names: Vec<Arc<str>>,
    /// Groups of a regular expression, the whole match among them.
    groups: usize,
    /// Whether a prefix matches, so that something can follow it.
    rest: bool,
}

impl Available {
    /// Those of a route with this path.
    pub(super) fn of(path: &PathMatch) -> Self {
        match path {
            PathMatch::Regex(regex) => Self::of_regex(regex),
            path => Self {
                names: path.parameters().map(Arc::from).collect(),
                groups: 0,
                rest: matches!(path, PathMatch::Prefix(_) | PathMatch::Any),
            },
        }
    }

    /// Those of an expression that has been found to compile.
    pub(super) fn of_regex(regex: &str) -> Self {
        let compiled = Regex::new(regex).ok();
        let names = compiled.iter().flat_map(|regex| regex.capture_names().flatten());
        Self {
            names: names.map(Arc::from).collect(),
            groups: compiled.as_ref().map_or(0, Regex::captures_len),
            rest: false,
        }
    }

    /// Reports parts of `pattern` that there are not.
    pub(super) fn check(&self, t: &Scope<'_>, pattern: &Located<Pattern>) {
        for piece in &pattern.value.0 {
            let Piece::Part(part) = piece else { continue };
            let missing = match part {
                Part::Named(name) => !self.names.contains(name),
                Part::Group(number) => *number >= self.groups,
                Part::Rest => !self.rest,
                Part::Scheme | Part::Host | Part::Path | Part::Query => false,
            };
            if missing {
                let finding = Finding::error(format!("there is no part `{{{part}}}` here"));
                t.reader().push(finding.at(pattern.spot, &pattern.path).hint(self.hint(part)));
            }
        }
    }

    fn hint(&self, part: &Part) -> String {
        match part {
            Part::Rest => "{rest} follows the prefix of a route's path".to_owned(),
            Part::Group(_) if self.groups > 0 => {
                format!("the expression has groups up to {{{}}}", self.groups - 1)
            }
            Part::Group(_) => "groups are those of a regular expression".to_owned(),
            _ if self.names.is_empty() => {
                "name it in `path`: \"/users/{id}\", or \"~^/users/(?<id>[0-9]+)\"".to_owned()
            }
            _ => format!("there are {{{}}}", self.names.join("}, {")),
        }
    }
}
