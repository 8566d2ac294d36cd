//! Run-time parameters that follow a client from server to server.
//!
//! Some parameters the server reports whenever they change (ParameterStatus); those a client
//! may set freely, and finds again on whichever server it gets next. Others it can only ask for
//! when it logs in (`extra_float_digits`, or anything in `options`): they are set on each server
//! that lacks them, and reset on servers whose next client did not ask.
//!
//! A server normalises what it is given (`ISO` becomes `ISO, MDY`), so what is compared is
//! always what a server reported, never what a client wrote.

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock},
};

use bs9_wire::{encode::frontend, tag::FrontendTag};

use crate::sql::Quoting;

mod encoding;

/// The character set that a client and its server speak.
pub(crate) const CLIENT_ENCODING: &str = "client_encoding";

/// Whether backslashes are nothing special in ordinary strings.
const CONFORMING_STRINGS: &str = "standard_conforming_strings";

/// Reported parameters that a session may set and that follow the client.
const TRACKED: [&str; 8] = [
    "application_name",
    CLIENT_ENCODING,
    "DateStyle",
    "default_transaction_read_only",
    "IntervalStyle",
    "search_path",
    CONFORMING_STRINGS,
    "TimeZone",
];

/// Those that do not change what a statement means.
const MEANINGLESS: [&str; 4] = [
    "application_name",
    "client_min_messages",
    "default_transaction_read_only",
    "synchronous_commit",
];

/// Those that are never carried to another server: they end with the transaction, cannot be read or
/// cannot be set.
const UNFOLLOWED: [&str; 6] = [
    "is_superuser",
    "seed",
    "session_authorization",
    "transaction_deferrable",
    "transaction_isolation",
    "transaction_read_only",
];

/// Under it, and serializable, a query of the pool's own would wait for other transactions.
pub(crate) const DEFAULT_DEFERRABLE: &str = "default_transaction_deferrable";
/// Decides what else may be set.
const ROLE: &str = "role";

/// Most parameters that follow a client, beside those that servers report.
pub(crate) const MAX_FOLLOWED: usize = 256;
/// Most parameters a client may ask for at login.
const MAX_ASKED: usize = 64;
/// Settings a pool remembers, so that clients alike share them.
const MAX_KNOWN: usize = 64;

/// Every parameter a server reported when it was logged in to, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parameters(Vec<Parameter>);

/// Name and value.
type Parameter = (Box<[u8]>, Box<[u8]>);

/// Values of the parameters that follow a client: what a client wants, what a server has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// By name, ignoring case.
    entries: Vec<Setting>,
    context: Context,
}

/// What [`Settings::context`] has found, and how strings are read by it; no part of the settings'
/// value.
#[derive(Debug, Default)]
struct Context(OnceLock<(Arc<[u8]>, Quoting)>);

impl Clone for Context {
    /// What is cloned is about to be changed.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Context {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Context {}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Setting {
    name: Box<str>,
    value: Box<[u8]>,
    /// Servers report it: every server has a value for it.
    reported: bool,
}

/// What a client asked for in its StartupMessage, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Asked(Vec<(Box<str>, Box<str>)>);

/// A parameter to be set on a server, or reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change<'a> {
    name: &'a str,
    value: Option<&'a [u8]>,
}

/// What a client asked for cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AskedError {
    #[error("invalid name of a startup parameter: \"{name}\"")]
    BadName { name: String },
    #[error("more than {MAX_ASKED} startup parameters")]
    TooMany,
}

// === impl Parameters ===

impl Parameters {
    pub(crate) fn set(&mut self, name: &[u8], value: &[u8]) {
        match self.0.iter_mut().find(|(known, _)| **known == *name) {
            Some((_, old)) => *old = value.into(),
            None => self.0.push((name.into(), value.into())),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| **known == *name.as_bytes()).map(|(_, value)| &**value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Those that follow a client.
    pub(crate) fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        for (name, value) in self.iter() {
            settings.report(name, value);
        }
        settings
    }
}

// === impl Settings ===

/// The name of a tracked parameter as servers spell it.
pub(crate) fn tracked(name: &[u8]) -> Option<&'static str> {
    TRACKED.into_iter().find(|known| known.as_bytes().eq_ignore_ascii_case(name))
}

/// Whether a parameter does not change what a statement means when it is prepared.
pub(crate) fn is_meaningless(name: &str) -> bool {
    MEANINGLESS.iter().any(|known| known.eq_ignore_ascii_case(name))
        || name.contains('.')
        || ["_timeout", "_mem"].iter().any(|end| {
            let start = name.len().saturating_sub(end.len());
            name.get(start..).is_some_and(|tail| tail.eq_ignore_ascii_case(end))
        })
}

/// Whether a parameter can be carried to another server.
pub(crate) fn is_followed(name: &str) -> bool {
    !UNFOLLOWED.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Whether this is what a parameter has that no server lists, when it was reset.
pub(crate) fn is_empty(name: &str, value: &[u8]) -> bool {
    let none: &[u8] = if name.eq_ignore_ascii_case(ROLE) { b"none" } else { b"" };
    value == none
}

/// How a server reads the strings in a text that is understood by this: see [`Settings::context`].
pub(crate) fn quoting_of(context: &[u8]) -> Quoting {
    let value = |name: &str| {
        let mut entries = context.split(|byte| *byte == 0);
        entries.find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    };
    Quoting::new(value(CONFORMING_STRINGS), value(CLIENT_ENCODING))
}

fn order(one: &str, other: &str) -> std::cmp::Ordering {
    one.bytes().map(|b| b.to_ascii_lowercase()).cmp(other.bytes().map(|b| b.to_ascii_lowercase()))
}

impl Settings {
    fn find(&self, name: &str) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| order(&entry.name, name))
    }

    /// What a statement's text is understood by: the same text means the same only where this
    /// is the same. (Literals are converted when a statement is prepared, by `DateStyle` for
    /// one; its bytes are read by `client_encoding`.)
    pub(crate) fn context(&self) -> &Arc<[u8]> {
        &self.understanding().0
    }

    /// How a server reads the strings in a text.
    pub(crate) fn quoting(&self) -> Quoting {
        self.understanding().1
    }

    fn understanding(&self) -> &(Arc<[u8]>, Quoting) {
        self.context.0.get_or_init(|| {
            let mut context = Vec::new();
            for entry in &self.entries {
                if !is_meaningless(&entry.name) {
                    context.extend_from_slice(entry.name.as_bytes());
                    context.push(b'=');
                    context.extend_from_slice(&entry.value);
                    context.push(0);
                }
            }
            let quoting = quoting_of(&context);
            (context.into(), quoting)
        })
    }

    /// Names of parameters that servers do not report.
    pub(crate) fn unreported(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter(|entry| !entry.reported).map(|entry| &*entry.name)
    }

    /// Those of them whose values have other bytes in another character set.
    pub(crate) fn encoded(&self) -> impl Iterator<Item = &str> {
        let encoded = self.entries.iter().filter(|entry| !entry.value.is_ascii());
        encoded.filter(|entry| !entry.reported).map(|entry| &*entry.name)
    }

    /// Whether transactions may be deferrable by default, as far as that is known.
    pub(crate) fn may_defer(&self) -> bool {
        self.find(DEFAULT_DEFERRABLE).is_ok()
    }

    /// Whether servers report this parameter.
    pub(crate) fn is_reported(&self, name: &str) -> bool {
        self.find(name).is_ok_and(|at| self.entries[at].reported)
    }

    /// The value of a parameter that servers do not report.
    pub(crate) fn asked(&self, name: &str) -> Option<&[u8]> {
        let entry = &self.entries[self.find(name).ok()?];
        (!entry.reported).then_some(&*entry.value)
    }

    /// A parameter that servers do not report has this value, and follows the client.
    pub(crate) fn follow(&mut self, name: &str, value: &[u8]) {
        self.set(name, value, false);
    }

    /// A parameter that servers do not report has its default.
    pub(crate) fn unfollow(&mut self, name: &str) {
        if let Ok(at) = self.find(name)
            && !self.entries[at].reported
        {
            self.context = Context::default();
            self.entries.remove(at);
        }
    }

    fn set(&mut self, name: &str, value: &[u8], reported: bool) {
        self.context = Context::default();
        match self.find(name) {
            Ok(at) => {
                self.entries[at].value = value.into();
                self.entries[at].reported |= reported;
            }
            Err(at) => {
                let entry = Setting { name: name.into(), value: value.into(), reported };
                self.entries.insert(at, entry);
            }
        }
    }

    /// Takes over a ParameterStatus; false when that parameter does not follow clients.
    pub(crate) fn report(&mut self, name: &[u8], value: &[u8]) -> bool {
        let tracked = tracked(name);
        if let Some(name) = tracked {
            self.set(name, value, true);
        }
        tracked.is_some()
    }

    /// Names of reported parameters that have another value in `other`.
    pub(crate) fn differing(&self, other: &Self) -> impl Iterator<Item = &str> {
        let reported = self.entries.iter().filter(|entry| entry.reported);
        let differs =
            |entry: &&Setting| other.reported(entry.name.as_bytes()) != Some(&entry.value);
        reported.filter(differs).map(|entry| &*entry.name)
    }

    /// The value of a reported parameter.
    pub(crate) fn reported(&self, name: &[u8]) -> Option<&[u8]> {
        let entry = &self.entries[self.find(tracked(name)?).ok()?];
        entry.reported.then_some(&*entry.value)
    }

    /// With what a client asked for on top.
    pub(crate) fn with(&self, asked: &Asked) -> Self {
        let mut settings = self.clone();
        for (name, value) in &asked.0 {
            settings.set(name, value.as_bytes(), false);
        }
        settings
    }

    /// What a client has after a server was brought to what it wanted: the server's word for
    /// what servers report, its own for the rest.
    pub(crate) fn confirmed_by(&self, server: &Self) -> Self {
        let mut settings = self.clone();
        for entry in &mut settings.entries {
            if let Ok(at) = server.find(&entry.name)
                && server.entries[at].reported
            {
                entry.clone_from(&server.entries[at]);
            }
        }
        settings
    }

    /// Whether there is something here that would have to be reset for `wanted`.
    pub(crate) fn has_beside(&self, wanted: &Self) -> bool {
        self.unreported().any(|name| wanted.find(name).is_err())
    }

    /// What has to change on a server that has `self` for a client that wants `wanted`.
    /// `certain` is false when the unreported values of the server are not known any more.
    pub(crate) fn changes_to<'a>(&'a self, wanted: &'a Self, certain: bool) -> Vec<Change<'a>> {
        let mut changes = Vec::new();
        for entry in &wanted.entries {
            let has = self.find(&entry.name).ok().map(|at| &self.entries[at]);
            let same = has.is_some_and(|has| has.value == entry.value && (certain || has.reported));
            if !same {
                changes.push(Change { name: &entry.name, value: Some(&entry.value) });
            }
        }
        for entry in self.entries.iter().filter(|entry| !entry.reported) {
            if wanted.find(&entry.name).is_err() {
                changes.push(Change { name: &entry.name, value: None });
            }
        }
        // A role that is left may set more than one that is taken on.
        let leaves = self.asked(ROLE).is_some() && changes.iter().any(Change::is_of_role);
        changes.sort_by_key(Change::is_of_role);
        if leaves {
            changes.retain(|change| !(change.is_of_role() && change.value.is_none()));
            changes.insert(0, Change { name: ROLE, value: None });
        }
        changes
    }

    /// The reported parameters in which `self` differs from what a client was `told`.
    pub(crate) fn news<'a>(&'a self, told: &'a Self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let differs = |entry: &&Setting| {
            let known = told.find(&entry.name).ok().map(|at| &told.entries[at].value);
            entry.reported && known != Some(&entry.value)
        };
        self.entries.iter().filter(differs).map(|entry| (&*entry.name, &*entry.value))
    }
}

// === impl Asked ===

impl Asked {
    /// From name and value pairs, later ones overriding earlier ones.
    pub(crate) fn new<'a>(
        pairs: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, AskedError> {
        let mut asked: Vec<(Box<str>, Box<str>)> = Vec::new();
        for (name, value) in pairs {
            if !is_parameter_name(name) {
                return Err(AskedError::BadName { name: name.to_owned() });
            }
            let name = tracked(name.as_bytes()).unwrap_or(name);
            // Drivers look at it right after the login, when no server may have been asked yet.
            let canonical = (name == CLIENT_ENCODING).then(|| encoding::canonical(value));
            let value = canonical.flatten().unwrap_or(value);
            match asked.binary_search_by(|(known, _)| order(known, name)) {
                Ok(at) => asked[at].1 = value.into(),
                Err(at) => asked.insert(at, (name.into(), value.into())),
            }
            if asked.len() > MAX_ASKED {
                return Err(AskedError::TooMany);
            }
        }
        Ok(Self(asked))
    }
}

/// Names of parameters: identifiers, with dots for those of extensions.
fn is_parameter_name(name: &str) -> bool {
    let word = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'$')
    };
    name.split('.').all(word)
}

// === impl Change ===

impl Change<'_> {
    fn is_of_role(&self) -> bool {
        self.name.eq_ignore_ascii_case(ROLE)
    }

    fn is_of_encoding(&self) -> bool {
        self.name == CLIENT_ENCODING
    }
}

/// Appends extended-query batches that make all `changes`: one, which makes none of them when one
/// fails; and another before it when values are to be read by another character set than the server's
/// of now. Values travel as parameters, so no quoting can go wrong. Returns how many.
pub(crate) fn write_changes(out: &mut Vec<u8>, changes: &[Change<'_>]) -> usize {
    let ascii = |change: &Change<'_>| change.value.is_none_or(<[u8]>::is_ascii);
    if changes.iter().any(Change::is_of_encoding) && !changes.iter().all(ascii) {
        let (first, rest): (Vec<_>, Vec<_>) =
            changes.iter().copied().partition(Change::is_of_encoding);
        write_batch_of_changes(out, &first);
        write_batch_of_changes(out, &rest);
        return 2;
    }
    write_batch_of_changes(out, changes);
    1
}

fn write_batch_of_changes(out: &mut Vec<u8>, changes: &[Change<'_>]) {
    // The values are of no interest, and may be long.
    let calls: Vec<String> = (0..changes.len())
        .map(|n| format!("pg_catalog.set_config(${},${},false) IS NULL", 2 * n + 1, 2 * n + 2))
        .collect();
    let query = format!("SELECT {}", calls.join(","));
    let values: Vec<_> =
        changes.iter().flat_map(|change| [Some(change.name.as_bytes()), change.value]).collect();
    write_batch(out, &query, values.into_iter());
}

/// Appends one extended-query batch that asks for the values of parameters, and of the `uncertain`
/// ones, behind all values, whether the session was given them, by `SET` or by the pool. A name that no
/// parameter has is answered with NULL, and so is whether what the server does not list was given.
pub(crate) fn write_question(out: &mut Vec<u8>, certain: &[Box<str>], uncertain: &[Box<str>]) {
    let names = certain.iter().chain(uncertain);
    let count = certain.len() + uncertain.len();
    let value = |n| format!("pg_catalog.current_setting(${n},true)");
    let given = |n| {
        format!(
            "pg_catalog.bool_or(given) FILTER \
             (WHERE name OPERATOR(pg_catalog.=) pg_catalog.lower(${n}))"
        )
    };
    let columns = (1..=count).map(value).chain((certain.len() + 1..=count).map(given));
    let mut query = format!("SELECT {}", columns.collect::<Vec<_>>().join(","));
    if !uncertain.is_empty() {
        query.push_str(
            " FROM (SELECT pg_catalog.lower(name), source OPERATOR(pg_catalog.=) 'session' \
             FROM pg_catalog.pg_settings) AS listed (name, given)",
        );
    }
    let values: Vec<_> = names.map(|name| Some(name.as_bytes())).collect();
    write_batch(out, &query, values.into_iter());
}

/// A query with text parameters, run once.
fn write_batch<'a>(
    out: &mut Vec<u8>,
    query: &str,
    values: impl ExactSizeIterator<Item = Option<&'a [u8]>>,
) {
    /// The type `text`.
    const TEXT: [u8; 4] = 25u32.to_be_bytes();
    frontend::parse(out, b"", query.as_bytes(), &TEXT.repeat(values.len()));
    bs9_wire::encode::message(out, FrontendTag::Bind, |out| {
        // Unnamed portal and statement, text format throughout.
        out.extend_from_slice(&[0, 0, 0, 0]);
        let count = u16::try_from(values.len()).expect("settings are few");
        out.extend_from_slice(&count.to_be_bytes());
        for value in values {
            bind_text(out, value);
        }
        out.extend_from_slice(&[0, 0]);
    });
    bs9_wire::encode::message(out, FrontendTag::Execute, |out| out.extend_from_slice(&[0; 5]));
    frontend::sync(out);
}

fn bind_text(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        None => out.extend_from_slice(&(-1i32).to_be_bytes()),
        Some(value) => {
            let len = i32::try_from(value.len()).expect("a setting fits its startup packet");
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(value);
        }
    }
}

/// Settings lately seen in a pool: clients that want the same share one copy, so that comparing
/// a client with a server is comparing two pointers.
#[derive(Default)]
pub(crate) struct KnownSettings {
    recent: VecDeque<Arc<Settings>>,
    /// What became of what clients asked for.
    learned: VecDeque<(Asked, Arc<Settings>)>,
}

impl KnownSettings {
    /// The shared copy of `settings`.
    pub(crate) fn share(&mut self, settings: Settings) -> Arc<Settings> {
        if let Some(known) = self.recent.iter().find(|known| ***known == settings) {
            return Arc::clone(known);
        }
        let settings = Arc::new(settings);
        push_bounded(&mut self.recent, Arc::clone(&settings));
        settings
    }

    /// What servers made of `asked`.
    pub(crate) fn recall(&self, asked: &Asked) -> Option<Arc<Settings>> {
        self.learned
            .iter()
            .find(|(known, _)| known == asked)
            .map(|(_, settings)| Arc::clone(settings))
    }

    pub(crate) fn learn(&mut self, asked: Asked, settings: &Arc<Settings>) {
        self.learned.retain(|(known, _)| *known != asked);
        push_bounded(&mut self.learned, (asked, Arc::clone(settings)));
    }

    /// Servers of another kind are logged in to from now on.
    pub(crate) fn forget(&mut self) {
        self.recent.clear();
        self.learned.clear();
    }
}

fn push_bounded<T>(list: &mut VecDeque<T>, item: T) {
    if list.len() >= MAX_KNOWN {
        list.pop_front();
    }
    list.push_back(item);
}

#[cfg(test)]
mod tests;
