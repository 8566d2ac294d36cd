//! LISTEN for clients that change servers.
//!
//! In transaction mode a client has no server connection of its own to listen on, so one more
//! connection for each database, the *listening connection*, listens for the clients of all its
//! pools ([`hub`], [`ear`]). Each client has a bounded queue that its notifications wait in until
//! it is outside of a transaction ([`subscription`]); PostgreSQL gives them out at the same points.
//! A client for which more comes than the queue holds is given what there is and then
//! disconnected: it must not believe that it has heard everything.
//!
//! # What a client listens to
//!
//! A `LISTEN` is run by the server that works for the client, like any other statement, so that
//! errors, rights, savepoints and rollbacks are the server's own. When the transaction is over,
//! the pool asks the server what it listens to by now (`pg_listening_channels`), has the
//! listening connection listen to it for the client, and the server `UNLISTEN *`; only then is
//! the client told that the server is ready ([`crate::client`], `listening`). So whatever is
//! notified after that is heard.
//!
//! `UNLISTEN` does nothing on a server that does not listen. Sent alone, it has been done when no
//! error came. In a transaction or a batch, a note is set right before it in a parameter of the
//! pool's own ([`note`]): that is transactional, so the note is there in the end if and only if
//! the `UNLISTEN` was not rolled back. (`RESET ALL` in the same transaction block wipes it out:
//! then the client goes on listening.)
//!
//! # As whom it is logged in
//!
//! As one of the pools whose clients listen ([`pools`]). When that does not work, or no client of
//! it is left, the next connection is made as another; who listens to what needs no rights in
//! PostgreSQL. All of them have the same `client_encoding`, which the connection is given as well.
//!
//! It is beyond `pool_size`, but counts under `max_connections` of the database and of the user
//! it is logged in as ([`right`], [`budget`](crate::budget)). It gives way when nobody listens and
//! a client waits for a server.
//!
//! # When it cannot be shared
//!
//! The listening connection cannot be made, a limit leaves no room for it, the client's
//! `client_encoding` is not the server's own or not that of others who listen, or the client is
//! pinned for another reason: then it is pinned, and its server listens for it. What it listened
//! to by way of the listening connection is moved to its server; what is notified during the move
//! may be heard twice, and never not at all.

mod ear;
mod hub;
mod pools;
mod right;
mod subscription;
mod way;

use std::{collections::BTreeSet, fmt::Write as _, sync::Arc};

use bs9_wire::tag::FrontendTag;

pub(crate) use subscription::Subscription;
pub(crate) use way::Listening;

use crate::sql::cut_off;

/// The name of a channel, in the server's encoding.
pub(crate) type Channel = Arc<[u8]>;

/// Asks a session what it listens to, and for the notes in it. Rows: what it is, and a name.
pub(crate) const QUESTION: &str = "\
    SELECT 'note', pg_catalog.current_setting('bs9.unlistened', true) \
    UNION ALL SELECT 'channel', pg_catalog.pg_listening_channels()";
/// Brings a session back to how it was.
pub(crate) const TIDY: &str = "UNLISTEN *; RESET \"bs9.unlistened\"";

/// What an UNLISTEN is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unlistened {
    All,
    One(Box<[u8]>),
}

impl Unlistened {
    /// The channel that is called like that when it is not too long.
    pub(crate) fn named(name: String) -> Self {
        Self::One(cut_off(&name).as_bytes().into())
    }

    /// Takes out what is not listened to any more.
    pub(crate) fn apply(&self, channels: &mut BTreeSet<Channel>) {
        match self {
            Self::All => channels.clear(),
            Self::One(name) => drop(channels.remove(&**name)),
        }
    }
}

/// A query that notes these, to be run in their transaction. Takes them; `None`: there are none.
pub(crate) fn note(unlistened: &mut Vec<Unlistened>) -> Option<String> {
    if unlistened.is_empty() {
        return None;
    }
    let mut notes = String::new();
    for one in unlistened.drain(..) {
        match one {
            Unlistened::All => notes.push('*'),
            Unlistened::One(name) => {
                for byte in name {
                    let _infallible = write!(notes, "{byte:02x}");
                }
            }
        }
        notes.push(',');
    }
    Some(format!(
        "SELECT pg_catalog.set_config('bs9.unlistened',\
         pg_catalog.concat(pg_catalog.current_setting('bs9.unlistened', true),'{notes}'),false)"
    ))
}

/// What was noted. What nobody could have noted is left out.
pub(crate) fn read_notes(notes: &[u8]) -> Vec<Unlistened> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let read = |note: &[u8]| match note {
        b"" => None,
        b"*" => Some(Unlistened::All),
        hex => {
            let (pairs, rest) = hex.as_chunks::<2>();
            let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
            let name: Option<Vec<u8>> = bytes.collect();
            name.filter(|_| rest.is_empty()).map(|name| Unlistened::One(name.into()))
        }
    };
    notes.split(|byte| *byte == b',').filter_map(read).collect()
}

/// Appends a Query that runs `command`, `LISTEN` say, for each of these.
pub(crate) fn for_each<'a>(
    out: &mut Vec<u8>,
    commands: impl Iterator<Item = (&'static str, &'a [u8])>,
) {
    bs9_wire::encode::message(out, FrontendTag::Query, |out| {
        for (command, channel) in commands {
            out.extend_from_slice(command.as_bytes());
            out.extend_from_slice(b" \"");
            for byte in channel {
                out.extend(std::iter::repeat_n(*byte, if *byte == b'"' { 2 } else { 1 }));
            }
            out.extend_from_slice(b"\";");
        }
        out.push(0);
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn noted(query: &str) -> Vec<Unlistened> {
        let (_, notes) = query.split_once("true),'").expect("notes");
        read_notes(notes.split_once('\'').expect("their end").0.as_bytes())
    }

    proptest! {
        #[test]
        fn notes_are_read_as_they_were_written(names in prop::collection::vec(
            prop::option::of("[^\0]{1,40}"), 1..8,
        )) {
            let wanted: Vec<Unlistened> = names
                .into_iter()
                .map(|name| name.map_or(Unlistened::All, Unlistened::named))
                .collect();
            let query = note(&mut wanted.clone()).expect("there are some");
            prop_assert_eq!(noted(&query), wanted);
        }

        #[test]
        fn whatever_stands_in_their_place_is_no_panic(notes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _any = read_notes(&notes);
        }
    }

    #[test]
    fn names_are_quoted_and_cut_off_as_the_server_does() {
        let mut out = Vec::new();
        let commands = [("LISTEN", &b"a\"b"[..]), ("UNLISTEN", b"c")];
        for_each(&mut out, commands.into_iter());
        assert_eq!(&out[5..], b"LISTEN \"a\"\"b\";UNLISTEN \"c\";\0");
        let Unlistened::One(name) = Unlistened::named("ä".repeat(40)) else { panic!("one") };
        assert_eq!(name.len(), 62, "no half of a character");
        let mut channels: BTreeSet<Channel> =
            [b"a", b"b"].map(|name| Channel::from(&name[..])).into();
        Unlistened::named("a".to_owned()).apply(&mut channels);
        assert_eq!(channels.len(), 1);
        Unlistened::All.apply(&mut channels);
        assert!(channels.is_empty());
    }
}
