//! What a route asks of a request.

use super::error::RouteError;
use super::value::ValueMatch;

/// The match of one route. Two routes with equal matches are a conflict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RouteSpec {
    /// The host.
    pub host: HostMatch,
    /// The path.
    pub path: PathMatch,
    /// Methods, any of which will do; empty: any method. They are told apart by case.
    pub methods: Vec<String>,
    /// Header fields, all of which must match. Names are compared without regard to case.
    pub headers: Vec<(String, ValueMatch)>,
    /// Cookies, all of which must match.
    pub cookies: Vec<(String, ValueMatch)>,
    /// Query parameters, all of which must match, decoded.
    pub query: Vec<(String, ValueMatch)>,
}

/// Which hosts a route is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum HostMatch {
    /// Every host, and requests without one.
    #[default]
    Any,
    /// This host.
    Exact(String),
    /// Every host below this one, however deep: `*.example.com`, given here without the `*.`.
    Wildcard(String),
}

impl HostMatch {
    /// Reads the configuration's form: `name` or `*.name`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.strip_prefix("*.") {
            Some(suffix) => Self::Wildcard(suffix.to_owned()),
            None => Self::Exact(text.to_owned()),
        }
    }
}

/// Which paths a route is for. In an exact path and in a prefix, a segment in braces (`{id}`) is a
/// parameter: it stands for any segment with at least one byte.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum PathMatch {
    /// Every path.
    #[default]
    Any,
    /// This path.
    Exact(String),
    /// Every path that begins with these bytes.
    Prefix(String),
    /// Every path the regular expression finds a match in. Write `^` and `$` to anchor it.
    Regex(String),
}

impl PathMatch {
    /// Reads the configuration's form: `=/exact`, `~regex`, or a prefix.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        if let Some(path) = text.strip_prefix('=') {
            Self::Exact(path.to_owned())
        } else if let Some(pattern) = text.strip_prefix('~') {
            Self::Regex(pattern.to_owned())
        } else {
            Self::Prefix(text.to_owned())
        }
    }
}

impl RouteSpec {
    /// Checks the match of route `index` and brings it into the one form in which equal matches are
    /// equal.
    pub(super) fn normalized(mut self, index: usize) -> Result<Self, RouteError> {
        self.host = self.host.normalized(index)?;
        self.path = self.path.normalized(index)?;
        if let Some(method) = self.methods.iter().find(|method| !is_token(method)) {
            return Err(RouteError::InvalidMethod { index, method: method.clone() });
        }
        if let Some((name, _)) = self.headers.iter().find(|(name, _)| !is_token(name)) {
            return Err(RouteError::InvalidHeader { index, name: name.clone() });
        }
        self.headers.iter_mut().for_each(|(name, _)| name.make_ascii_lowercase());
        self.methods.sort_unstable();
        self.methods.dedup();
        for values in [&mut self.headers, &mut self.cookies, &mut self.query] {
            values.sort_unstable();
            values.dedup();
        }
        Ok(self)
    }
}

impl HostMatch {
    fn normalized(self, index: usize) -> Result<Self, RouteError> {
        let clean = |host: String| {
            let name = host.strip_suffix('.').unwrap_or(&host).to_ascii_lowercase();
            if super::host::is_name(&name) {
                Ok(name)
            } else {
                Err(RouteError::InvalidHost { index, host })
            }
        };
        Ok(match self {
            Self::Any => Self::Any,
            Self::Exact(host) => Self::Exact(clean(host)?),
            Self::Wildcard(suffix) => Self::Wildcard(clean(suffix)?),
        })
    }
}

impl PathMatch {
    fn normalized(self, index: usize) -> Result<Self, RouteError> {
        let well_formed = |path: &str| path.starts_with('/') && !path.contains(['?', '#']);
        match self {
            Self::Prefix(path) if path == "/" => Ok(Self::Any),
            // `OPTIONS *` asks for the path `*`.
            Self::Exact(path) if path != "*" && !well_formed(&path) => {
                Err(RouteError::InvalidPath { index, path })
            }
            Self::Prefix(path) if !well_formed(&path) => {
                Err(RouteError::InvalidPath { index, path })
            }
            Self::Exact(path) => Ok(Self::Exact(nameless(path))),
            Self::Prefix(path) => Ok(Self::Prefix(nameless(path))),
            path => Ok(path),
        }
    }
}

/// Whether a segment of a path is a parameter.
pub(super) fn is_parameter(segment: &str) -> bool {
    segment.starts_with('{') && segment.ends_with('}')
}

/// The path with its parameters, whatever they are called: `/users/{}`.
fn nameless(path: String) -> String {
    if !path.contains('{') {
        return path;
    }
    let segments =
        path.split('/').map(|segment| if is_parameter(segment) { "{}" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

/// `token` of RFC 9110 section 5.6.2.
fn is_token(text: &str) -> bool {
    let special = b"!#$%&'*+-.^_`|~";
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || special.contains(&byte))
}
