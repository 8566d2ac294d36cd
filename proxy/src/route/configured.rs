//! Routes as the configuration has them.

use super::spec::{HostMatch, PathMatch, RouteSpec};
use super::value::ValueMatch;

impl From<&bs9_config::RouteMatch> for RouteSpec {
    fn from(matches: &bs9_config::RouteMatch) -> Self {
        let named = |named: &[bs9_config::NamedMatch]| {
            named.iter().map(|one| (one.name.to_string(), (&one.value).into())).collect()
        };
        Self {
            host: match &matches.host {
                bs9_config::HostMatch::Any => HostMatch::Any,
                bs9_config::HostMatch::Exact(name) => HostMatch::Exact(name.to_string()),
                bs9_config::HostMatch::Wildcard(name) => HostMatch::Wildcard(name.to_string()),
            },
            path: match &matches.path {
                bs9_config::PathMatch::Any => PathMatch::Any,
                bs9_config::PathMatch::Prefix(path) => PathMatch::Prefix(path.to_string()),
                bs9_config::PathMatch::Exact(path) => PathMatch::Exact(path.to_string()),
                bs9_config::PathMatch::Regex(regex) => PathMatch::Regex(regex.to_string()),
            },
            methods: matches.methods.iter().map(ToString::to_string).collect(),
            headers: named(&matches.headers),
            cookies: named(&matches.cookies),
            query: named(&matches.query),
        }
    }
}

impl From<&bs9_config::ValueMatch> for ValueMatch {
    fn from(value: &bs9_config::ValueMatch) -> Self {
        match value {
            bs9_config::ValueMatch::Present => Self::Present,
            bs9_config::ValueMatch::Absent => Self::Absent,
            bs9_config::ValueMatch::Exact(text) => Self::Exact(text.to_string()),
            bs9_config::ValueMatch::Prefix(text) => Self::Prefix(text.to_string()),
            bs9_config::ValueMatch::Regex(text) => Self::Regex(text.to_string()),
        }
    }
}
