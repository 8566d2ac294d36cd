//! Routes: what they match, and what they do.

use std::{fmt, sync::Arc};

/// When a route matches; everything given must hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct RouteMatch {
    /// `host`.
    pub host: HostMatch,
    /// `path`.
    pub path: PathMatch,
    /// `methods`; empty: any.
    pub methods: Vec<Arc<str>>,
    /// `headers`; all must match. Names in lower case.
    pub headers: Vec<NamedMatch>,
    /// `cookies`; all must match.
    pub cookies: Vec<NamedMatch>,
    /// `query`; all must match. Names and values as they are decoded.
    pub query: Vec<NamedMatch>,
}

/// `host`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum HostMatch {
    /// Absent.
    #[default]
    Any,
    /// `api.example.com`, lower case, without a port.
    Exact(Arc<str>),
    /// `*.example.com`: holds `example.com`; matches any name below it.
    Wildcard(Arc<str>),
}

/// `path`. In a prefix and in an exact path a segment can be a parameter: `/users/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum PathMatch {
    /// Absent.
    #[default]
    Any,
    /// `/v1/`: the path starts with these bytes.
    Prefix(Arc<str>),
    /// `=/exact`.
    Exact(Arc<str>),
    /// `~^/re`; proven to compile.
    Regex(Arc<str>),
}

impl PathMatch {
    /// Names of the parameters of a prefix or an exact path, in order.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        let text = match self {
            Self::Prefix(text) | Self::Exact(text) => text,
            Self::Any | Self::Regex(_) => "",
        };
        text.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
    }
}

/// One entry of `headers`, `cookies` or `query`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NamedMatch {
    /// Of the field, cookie or parameter.
    pub name: Arc<str>,
    /// What is asked of its value.
    pub value: ValueMatch,
}

/// What is asked of a value. Of several with one name, one that holds is enough.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ValueMatch {
    /// `true`: it is there.
    Present,
    /// `false`: it is not there.
    Absent,
    /// `"v2"`: exactly this.
    Exact(Arc<str>),
    /// `{ prefix = "v2." }`.
    Prefix(Arc<str>),
    /// `{ regex = "^v[0-9]+$" }`: a match is found in it; proven to compile.
    Regex(Arc<str>),
}

/// `cluster`, `clusters`, `redirect` or `respond`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteAction {
    /// Sent to one of these clusters by weight; at least one, all exist.
    Forward(Vec<WeightedCluster>),
    /// `redirect = "https://…"` or `{ to = "…", status = 308 }`.
    Redirect {
        /// `Location`.
        to: Location,
        /// 301, 302, 303, 307 or 308. Default 308.
        status: u16,
    },
    /// `respond = { status = 200, body = "…", content_type = "text/plain" }`.
    Respond {
        /// 200 to 599.
        status: u16,
        /// May be empty.
        body: Arc<[u8]>,
        /// Default `text/plain; charset=utf-8`.
        content_type: Arc<str>,
        /// Further fields.
        headers: Vec<HeaderField>,
    },
}

/// One entry of `clusters`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightedCluster {
    /// Name of a cluster that exists.
    pub cluster: Arc<str>,
    /// 1 to 65,535. Default 1.
    pub weight: u16,
}

/// `split_by`: requests with equal values go to the same cluster of `clusters`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SplitBy {
    /// By the value of this field, in lower case.
    Header(Arc<str>),
    /// By the value of this cookie.
    Cookie(Arc<str>),
}

/// Where a redirect leads: absent parts are those of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// `https`.
    pub scheme: Option<Arc<str>>,
    /// Host, in `to` with its port.
    pub authority: Option<Pattern>,
    /// Port; left out when it is the usual one of the scheme.
    pub port: Option<u16>,
    /// Path and query.
    pub target: LocationTarget,
}

/// See [`Location`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocationTarget {
    /// Path and query as in `to`.
    Whole(Pattern),
    /// Another path (`None`: the same), and the request's query if it is kept.
    Parts {
        /// Starts with `/`.
        path: Option<Pattern>,
        /// Default true.
        keep_query: bool,
    },
}

/// `rewrite`: what the endpoint is asked for instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    /// Another path; the query stays.
    pub path: Option<PathRewrite>,
    /// Another `Host`.
    pub host: Option<Pattern>,
}

/// See [`Rewrite`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathRewrite {
    /// Stands for the prefix that the route matches.
    Prefix(Arc<str>),
    /// Stands for the whole path.
    Whole(Pattern),
    /// Stands for what the expression finds first, if it does.
    Regex {
        /// Proven to compile.
        regex: Arc<str>,
        /// With the expression's groups.
        with: Pattern,
    },
}

/// `request_headers` and `response_headers`: removed first, then set, then added.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderEdits {
    /// In place of those of the same name.
    pub set: Vec<HeaderField>,
    /// Beside those of the same name.
    pub add: Vec<HeaderField>,
    /// Names.
    pub remove: Vec<Arc<str>>,
}

impl HeaderEdits {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
}

/// A header field; name and value can stand in any head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderField {
    /// As configured.
    pub name: Arc<str>,
    /// As configured.
    pub value: Arc<str>,
}

/// `normalize_path`: how the path of a request is made one of many that mean the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PathNormalization {
    /// Not at all.
    Off,
    /// What routes look at, and what endpoints get but for repeated slashes.
    #[default]
    Safe,
    /// Likewise, and repeated slashes are one for endpoints, too.
    MergeSlashes,
}

/// Text with places for parts of the request: `/users/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern(pub Vec<Piece>);

impl Pattern {
    /// The text, when there are no places in it.
    pub fn as_plain(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Part(part) => write!(f, "{{{part}}}"),
        })
    }
}

/// One piece of a [`Pattern`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Piece {
    /// Itself.
    Text(Arc<str>),
    /// What the request has there.
    Part(Part),
}

/// A part of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Part {
    /// `{scheme}`: `http` or `https`.
    Scheme,
    /// `{host}`, without its port.
    Host,
    /// `{path}`, normalized.
    Path,
    /// `{query}`, without its question mark.
    Query,
    /// `{rest}`: of the path, what follows the prefix that the route matches.
    Rest,
    /// `{id}`: a parameter of the path, or a named group of a regular expression.
    Named(Arc<str>),
    /// `{1}`: a group of a regular expression.
    Group(usize),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme => f.write_str("scheme"),
            Self::Host => f.write_str("host"),
            Self::Path => f.write_str("path"),
            Self::Query => f.write_str("query"),
            Self::Rest => f.write_str("rest"),
            Self::Named(name) => f.write_str(name),
            Self::Group(number) => number.fmt(f),
        }
    }
}
