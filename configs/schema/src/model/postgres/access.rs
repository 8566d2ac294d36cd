//! Who is let in, beyond `users`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Where users come from besides `users`, and how hard somebody may try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// `auth_user` and what belongs to it; `None`: only users that are listed are known.
    pub query: Option<AuthQuery>,
    /// `auth_ident_file`.
    pub ident_maps: Arc<IdentMaps>,
    /// What somebody who fails to log in has to put up with.
    pub attempts: LoginAttempts,
}

/// `auth_query`: asks the server for users that are not listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthQuery {
    /// `auth_query`: takes a user's name, gives its name, its password as `pg_authid` stores it,
    /// and, if there is a third column, when it ends, as seconds since 1970.
    pub query: Arc<str>,
    /// `auth_user`: who runs it. One of `users`.
    pub user: Arc<str>,
    /// `auth_dbname`: where, as one of `databases`; `None`: in the database that is asked for.
    pub database: Option<Arc<str>>,
    /// `auth_cache_ttl`: how long an answer is good. Default 10 s.
    pub ttl: Duration,
    /// `auth_cache_negative_ttl`: how long it is remembered that there is no such user.
    /// Default 2 s.
    pub negative_ttl: Duration,
    /// `auth_query_timeout`: for connecting and asking. Default 5 s.
    pub timeout: Duration,
}

/// What somebody who fails to log in has to put up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginAttempts {
    /// `max_login_failures`: failures of one address in a row that cost nothing; 0: any number.
    /// Default 10.
    pub free: u32,
    /// `login_backoff`: longest time an address is refused after one failure more. Default 60 s.
    pub longest: Duration,
}

/// What stands in a `pg_ident.conf`: names by which certificates may log in as a user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdentMaps {
    /// By the map's name: pairs of a certificate's name and a user's.
    pub maps: BTreeMap<Arc<str>, Vec<(Arc<str>, IdentUser)>>,
}

/// Whom a line of a map lets log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentUser {
    /// `all`: as anyone.
    Any,
    /// As this user.
    Is(Arc<str>),
}

impl IdentMaps {
    /// Whether `map` lets the holder of a certificate for `name` log in as `user`. Without a
    /// map, only as the user of that name.
    pub fn lets(&self, map: Option<&str>, name: &str, user: &str) -> bool {
        let Some(map) = map else { return name == user };
        let lines = self.maps.get(map).map_or(&[][..], Vec::as_slice);
        let names = |asked: &IdentUser| match asked {
            IdentUser::Any => true,
            IdentUser::Is(one) => **one == *user,
        };
        lines.iter().any(|(own, as_user)| **own == *name && names(as_user))
    }
}
