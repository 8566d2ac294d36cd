//! The name and value pairs of a StartupMessage.

use memchr::memchr;

use super::StartupError;

/// Prefix of protocol options, as opposed to run-time parameters.
const PROTOCOL_OPTION: &str = "_pq_.";

/// The parameters a client asks for a session with: checked, borrowed from the packet.
///
/// Names and values are UTF-8 here. PostgreSQL itself takes any bytes; a user or database whose
/// name is not UTF-8 cannot be reached through the pool, whose configuration is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters<'a> {
    pairs: &'a str,
    user: &'a str,
    database: Option<&'a str>,
    replication: Replication,
}

/// Whether the session is for replication ("Streaming Replication Protocol").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Replication {
    /// An ordinary session.
    #[default]
    None,
    /// `replication=true`: physical, no database.
    Physical,
    /// `replication=database`: logical, in a database.
    Logical,
}

impl<'a> Parameters<'a> {
    /// Reads everything behind the version word: pairs of strings, then a NUL.
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, StartupError> {
        let Some((0, list)) = body.split_last() else { return Err(StartupError::BadLayout) };
        let pairs = str::from_utf8(list).map_err(|_| StartupError::NotUtf8)?;
        let (mut user, mut database, mut replication) = (None, None, None);
        let mut rest = pairs;
        while !rest.is_empty() {
            let (name, value, behind) = split_pair(rest).ok_or(StartupError::BadLayout)?;
            rest = behind;
            match name {
                // An empty name is the terminator, and the terminator comes last.
                "" => return Err(StartupError::BadLayout),
                "user" => set_once(&mut user, value, "user")?,
                "database" => set_once(&mut database, value, "database")?,
                "replication" => set_once(&mut replication, value, "replication")?,
                _ => {}
            }
        }
        let user = user.filter(|user| !user.is_empty()).ok_or(StartupError::MissingUser)?;
        let database = database.filter(|database| !database.is_empty());
        let replication = replication.map_or(Ok(Replication::None), Replication::parse)?;
        Ok(Self { pairs, user, database, replication })
    }

    /// Every pair, in the order sent.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let mut rest = self.pairs;
        std::iter::from_fn(move || {
            let (name, value, behind) = split_pair(rest)?;
            rest = behind;
            Some((name, value))
        })
    }

    /// The last value sent under this name, as the server would take it.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.iter().filter(|(found, _)| *found == name).last().map(|(_, value)| value)
    }

    /// Who logs in. Never empty.
    pub fn user(&self) -> &'a str {
        self.user
    }

    /// The database: the user's name when none was sent.
    pub fn database(&self) -> &'a str {
        self.database.unwrap_or(self.user)
    }

    /// Whether and how the session replicates.
    pub fn replication(&self) -> Replication {
        self.replication
    }

    /// The raw `options`; [`options::settings`](super::options::settings) takes them apart.
    pub fn options(&self) -> Option<&'a str> {
        self.get("options")
    }

    /// The `application_name`.
    pub fn application_name(&self) -> Option<&'a str> {
        self.get("application_name")
    }

    /// Run-time parameters: what is neither identity, `replication`, `options` nor a protocol
    /// option. Later values of one name override earlier ones.
    pub fn settings(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.iter().filter(|(name, _)| {
            !matches!(*name, "user" | "database" | "replication" | "options")
                && !name.starts_with(PROTOCOL_OPTION)
        })
    }

    /// Names of the protocol options (`_pq_.…`). This crate knows none of them, so they belong
    /// into NegotiateProtocolVersion.
    pub fn protocol_options(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.iter().map(|(name, _)| name).filter(|name| name.starts_with(PROTOCOL_OPTION))
    }
}

fn set_once<'a>(
    slot: &mut Option<&'a str>,
    value: &'a str,
    name: &'static str,
) -> Result<(), StartupError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(StartupError::Duplicate { name }),
    }
}

fn split_pair(text: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = split_string(text)?;
    let (value, rest) = split_string(rest)?;
    Some((name, value, rest))
}

fn split_string(text: &str) -> Option<(&str, &str)> {
    let end = memchr(0, text.as_bytes())?;
    Some((&text[..end], &text[end + 1..]))
}

impl Replication {
    /// `database`, or a boolean as the server's `parse_bool` takes it.
    fn parse(value: &str) -> Result<Self, StartupError> {
        if value == "database" {
            return Ok(Self::Logical);
        }
        let lower = value.to_ascii_lowercase();
        let prefix_of = |word: &str| !lower.is_empty() && word.starts_with(&lower);
        if prefix_of("true") || prefix_of("yes") || lower == "on" || lower == "1" {
            return Ok(Self::Physical);
        }
        // A lone `o` could be on or off, so it is neither.
        let off = lower.len() >= 2 && prefix_of("off");
        if prefix_of("false") || prefix_of("no") || off || lower == "0" {
            return Ok(Self::None);
        }
        Err(StartupError::BadReplication)
    }
}
