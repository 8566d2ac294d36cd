//! Which route a request takes, and why.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What to ask of `GET /v1/routes`. Without a `url` every route is told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoutesQuery {
    /// Only of this listener.
    #[serde(default)]
    pub listener: Option<String>,
    /// A request for this: `https://example.com/path?query`, or only `/path`.
    #[serde(default)]
    pub url: Option<String>,
    /// Its method; absent: `GET`.
    #[serde(default)]
    pub method: Option<String>,
    /// Its header fields, `name: value`, one on a line.
    #[serde(default)]
    pub headers: Option<String>,
}

/// `GET /v1/routes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Routes {
    /// Version of this shape.
    pub schema: u32,
    /// HTTP listeners in name order.
    pub listeners: Vec<ListenerRoutes>,
}

/// The routes of one listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ListenerRoutes {
    /// Its name.
    pub listener: String,
    /// The path that routes look at, when it is not the one that was asked about.
    pub normalized_path: Option<String>,
    /// Why the request is refused before any route is looked at.
    pub refused: Option<String>,
    /// Number of the route that the request takes; absent without a request, or when none does.
    pub taken: Option<u64>,
    /// What becomes of the request on that route.
    pub outcome: Option<String>,
    /// Without a request every route, in the order of the file. With one, those that match it, the
    /// most specific first, and those that nearly do.
    pub routes: Vec<RouteStatus>,
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RouteStatus {
    /// Its place among the routes of its listener, from 0: `routes[0]` in messages about the
    /// configuration.
    pub number: u64,
    /// What it does, such as `cluster api`.
    pub action: String,
    /// Whose requests it is for, such as `from 10.0.0.0/8, but not from 10.6.0.0/16`; others are
    /// answered 403. Absent: everybody's.
    pub clients: Option<String>,
    /// Whether the request matches it; absent without a request.
    pub matches: Option<bool>,
    /// Everything that it asks for; empty: it takes every request.
    pub checks: Vec<RouteCheck>,
}

/// One thing that a route asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RouteCheck {
    /// What it looks at: `host`, `path`, `method`, `header NAME`, `cookie NAME`, `query NAME`.
    pub subject: String,
    /// What it wants there.
    pub wanted: String,
    /// What the request has there.
    pub found: Option<String>,
    /// Whether that will do; absent without a request.
    pub holds: Option<bool>,
}
