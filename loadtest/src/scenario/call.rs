//! `[[requests]]`: what is sent.

use std::{fs, path::Path};

use super::{
    Content, Fault, MixRequest, Scope, check,
    root::{think_time, thresholds},
    scope::{Given, nearest},
};
use crate::{
    feed::Feed,
    http::request::{check_field, check_method},
    mix::{Entry, Pause},
    plan::HttpOptions,
    target::Service,
    template::{Context, PlaceError, Template},
    workload::check_query,
};

/// Largest body, in bytes.
const MAX_BODY_BYTES: u64 = 64 << 20;
/// Highest weight.
const MAX_WEIGHT: i64 = 1_000_000;

/// What all requests have in common.
pub(super) struct Common<'c> {
    pub(super) folder: &'c Path,
    pub(super) feeds: &'c [Feed],
    /// Whether all feeds could be read: else one that seems to be missing may be there.
    pub(super) feeds_known: bool,
    /// What the target speaks, if there is one.
    pub(super) service: Option<&'c Service>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) think_time: Option<Pause>,
    pub(super) open: bool,
}

/// `Name = "value"`, in the order of the file.
pub(super) fn headers(given: &Given<'_>) -> Vec<(String, String)> {
    let Some(scope) = given.table() else { return Vec::new() };
    let header = |(name, given): (&str, Given<'_>)| {
        let value = given.text_or_number()?;
        let checked = check_field(name, &value);
        given.accept(checked.map_err(|error| Fault::new(error.to_string())))?;
        Some((name.to_owned(), value))
    };
    scope.all().into_iter().filter_map(header).collect()
}

impl Common<'_> {
    /// The `index`-th request.
    pub(super) fn read(&self, index: usize, given: &Given<'_>) -> Option<MixRequest> {
        let scope = given.table()?;
        let name = scope.get("name").map(|given| given.text().map(str::to_owned));
        let weight = scope.get("weight").map(|given| given.integer(0..=MAX_WEIGHT));
        let think_time = think_time(&scope, self.open).or(self.think_time).unwrap_or_default();
        let thresholds = thresholds(&scope);
        let content = match self.service {
            Some(Service::Postgres { .. }) => self.query(&scope),
            Some(Service::Http { .. }) => self.http(&scope),
            Some(Service::Tcp | Service::WebSocket { .. }) => {
                scope.all();
                scope.fault(
                    Fault::new("a tcp:// or ws:// target is sent payloads, not requests")
                        .hint("say how large they are: payload_size = \"4KiB\""),
                );
                None
            }
            // Nothing is said about keys while nobody knows which there are.
            None => {
                scope.all();
                None
            }
        };
        let content = content?;
        let name = match name {
            Some(name) => name?,
            None => called(&content, index),
        };
        let weight = weight.unwrap_or(Some(1))?;
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        Some(MixRequest {
            entry: Entry { name: Some(name), weight, think_time, thresholds },
            content,
        })
    }

    fn query(&self, scope: &Scope<'_>) -> Option<Content> {
        let given = scope.required("query", "write query = \"SELECT 1\"")?;
        let text = given.text()?;
        given.accept(check_query(text).map_err(|error| Fault::new(error.to_string())))?;
        self.places(&given, text.as_bytes(), Context::Query)?;
        Some(Content::Query(text.to_owned()))
    }

    fn http(&self, scope: &Scope<'_>) -> Option<Content> {
        let method = scope.get("method").map(|given| {
            let text = given.text()?;
            given.accept(check_method(text).map_err(|error| Fault::new(error.to_string())))?;
            Some(text.to_owned())
        });
        let path = scope.get("path").map(|given| self.path(&given));
        let own = scope.get("headers");
        let body = self.body(scope);
        let checks = scope.get("expect").map(|given| check::read(&given));
        let mut fields = self.headers.clone();
        if let Some(given) = own {
            for (name, value) in headers(&given) {
                self.places(&given, value.as_bytes(), Context::Field)?;
                fields.retain(|(other, _)| !other.eq_ignore_ascii_case(&name));
                fields.push((name, value));
            }
        }
        let options = HttpOptions {
            method: method.flatten(),
            headers: fields,
            body: body?,
            ..HttpOptions::default()
        };
        let checks = checks.unwrap_or_else(|| Some(options.checks()))?;
        let path = path.unwrap_or_else(|| Some("/".to_owned()))?;
        Some(Content::Http { path, options, checks })
    }

    fn path(&self, given: &Given<'_>) -> Option<String> {
        let text = given.text()?;
        if !text.starts_with('/') && !text.starts_with("{{") {
            given.fault(Fault::new("a path begins with `/`"));
            return None;
        }
        // Places may have spaces in them; what they are filled with is encoded.
        let outside = text.split("{{").map(|part| part.split_once("}}").map_or(part, |(_, b)| b));
        if outside.flat_map(str::bytes).any(|byte| !byte.is_ascii_graphic()) {
            given.fault(
                Fault::new("the path holds a character that has to be percent-encoded")
                    .hint("a space is %20"),
            );
            return None;
        }
        self.places(given, text.as_bytes(), Context::Path)?;
        Some(text.to_owned())
    }

    /// `body`, or what `body_file` holds; `None` inside when there is none.
    fn body(&self, scope: &Scope<'_>) -> Option<Option<Vec<u8>>> {
        let file = scope.get("body_file");
        let Some(given) = scope.get("body") else {
            let Some(given) = file else { return Some(None) };
            let path = self.folder.join(given.text()?);
            let body = read_body(&path).map_err(|what| {
                let fault = Fault::new(format!("cannot use {}: {what}", path.display()));
                fault.hint("the path is relative to the scenario file")
            });
            let body = given.accept(body)?;
            self.places(&given, &body, Context::Body)?;
            return Some(Some(body));
        };
        if let Some(file) = file {
            file.fault(Fault::new("a request has either `body` or `body_file`"));
            return None;
        }
        let body = given.text()?.as_bytes().to_vec();
        self.places(&given, &body, Context::Body)?;
        Some(Some(body))
    }

    /// Whether all places of a text can be filled.
    fn places(&self, given: &Given<'_>, text: &[u8], context: Context) -> Option<()> {
        let error = match Template::new(text, context, self.feeds) {
            Ok(_) => return Some(()),
            Err(PlaceError::NoFeed { .. }) if !self.feeds_known => return None,
            Err(error) => error,
        };
        let names = || self.feeds.iter().map(|feed| feed.name.as_str());
        let meant = |word: &str, candidates: Vec<&str>| match nearest(word, candidates.clone()) {
            Some(meant) => Some(format!("did you mean `{meant}`?")),
            None if candidates.is_empty() => None,
            None => Some(format!("there are {}", candidates.join(", "))),
        };
        let hint = match &error {
            PlaceError::NoFeed { name } => meant(name, names().collect())
                .or_else(|| Some(format!("add a table [data.{name}] with its `file`"))),
            PlaceError::NoColumn { feed, name } => {
                let feed = self.feeds.iter().find(|other| other.name == *feed);
                feed.and_then(|feed| meant(name, feed.columns().collect()))
            }
            PlaceError::Form { .. } => {
                Some("write {{feed.column}}, or {{\"{{\"}} for two braces".to_owned())
            }
            PlaceError::Open | PlaceError::Control { .. } => None,
        };
        given.fault(Fault::new(error.to_string()).maybe_hint(hint));
        None
    }
}

fn read_body(path: &Path) -> Result<Vec<u8>, String> {
    let text = |error: std::io::Error| error.to_string();
    if fs::metadata(path).map_err(text)?.len() > MAX_BODY_BYTES {
        return Err("it is longer than 64 MiB".to_owned());
    }
    fs::read(path).map_err(text)
}

/// What a request without a name is called.
fn called(content: &Content, index: usize) -> String {
    match content {
        Content::Http { path, options, .. } => format!("{} {path}", options.method()),
        Content::Query(_) | Content::OfTarget => format!("query {}", index + 1),
    }
}
