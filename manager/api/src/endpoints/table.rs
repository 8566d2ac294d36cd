//! The macro that turns the table into a trait, a router and a client.

use super::Described;

/// The only element, if there is one: the macro's way to write an optional part.
pub(super) const fn only(list: &[fn() -> Described]) -> Option<fn() -> Described> {
    match list {
        [describe, ..] => Some(*describe),
        [] => None,
    }
}

/// See its uses in [`endpoints`](super). Parameters come in the order attempt (only
/// in the trait), path, query, body; each has a name, which is the argument's name in the trait and
/// in the client.
macro_rules! endpoints {
    (
        $(#[$api_doc:meta])* api $api:ident;
        $(#[$client_doc:meta])* client $client:ident;
        $(#[$table_doc:meta])* table $table:ident in $module:ident for $process:ident;
        $(#[$router_doc:meta])* router $router:ident;

        $(
            #[doc = $summary:literal]
            $name:ident: $method:ident $path:literal by $access:ident
                $(, attempt $attempt:ident)?
                $(, path $param:ident)?
                $(, query $query:ident: $query_type:ty)?
                $(, body $body:ident: $body_type:ty)?
                => $answer:ty;
        )+
        $(streams {
            #[doc = $stream_summary:literal]
            $stream:ident: $stream_path:literal by $stream_access:ident,
                query $stream_query:ident: $stream_query_type:ty;
        })?
    ) => {
        /// The entries by name, so that trait, router and client can point at them.
        #[allow(non_upper_case_globals, reason = "named as the operation is")]
        pub(crate) mod $module {
            use super::*;

            $(
                pub(crate) static $name: Endpoint = Endpoint {
                    process: Process::$process,
                    method: Method::$method,
                    path: $path,
                    access: Access::$access,
                    operation_id: stringify!($name),
                    summary: $summary.trim_ascii(),
                    query: table::only(&[$(Described::json::<$query_type>)?]),
                    request: table::only(&[$(Described::json::<$body_type>)?]),
                    response: <$answer as Answer>::describe,
                };
            )+
            $(
                pub(crate) static $stream: Endpoint = Endpoint {
                    process: Process::$process,
                    method: Method::GET,
                    path: $stream_path,
                    access: Access::$stream_access,
                    operation_id: stringify!($stream),
                    summary: $stream_summary.trim_ascii(),
                    query: Some(Described::json::<$stream_query_type>),
                    request: None,
                    response: content::event_stream,
                };
            )?
        }

        $(#[$table_doc])*
        pub static $table: &[&Endpoint] = &[$(&$module::$name,)+ $(&$module::$stream)?];

        $(#[$api_doc])*
        pub trait $api: Send + Sync + 'static {
            $(
                #[doc = $summary]
                #[doc = concat!("\n\n`", stringify!($method), " ", $path, "`")]
                fn $name(
                    &self,
                    $($attempt: $crate::server::Attempt,)?
                    $($param: String,)?
                    $($query: $query_type,)?
                    $($body: $body_type,)?
                ) -> impl Future<Output = Result<$answer, $crate::ApiError>> + Send;
            )+
            $(
                #[doc = $stream_summary]
                #[doc = concat!("\n\n`GET ", $stream_path, "`")]
                #[doc = "\n\n`last` is the event a browser saw last before it connected anew."]
                fn $stream(
                    &self,
                    last: Option<u64>,
                    $stream_query: $stream_query_type,
                ) -> impl Future<Output = Result<$crate::server::EventFeed, $crate::ApiError>> + Send;
            )?
        }

        $(#[$router_doc])*
        pub fn $router<A: $api>(api: std::sync::Arc<A>) -> axum::Router {
            use $crate::server::route;

            let router = axum::Router::new();
            $(
                let router = {
                    let api = std::sync::Arc::clone(&api);
                    router.route($path, route::guarded(&$module::$name, move |
                        $(route::UnderWay($attempt): route::UnderWay,)?
                        $(route::PathParameter($param): route::PathParameter,)?
                        $(route::Query($query): route::Query<$query_type>,)?
                        $(route::Body($body): route::Body<$body_type>,)?
                    | {
                        let api = std::sync::Arc::clone(&api);
                        route::answer(&$module::$name, async move {
                            api.$name($($attempt,)? $($param,)? $($query,)? $($body,)?).await
                        })
                    }))
                };
            )+
            $(
                let router = router.route($stream_path, route::guarded(&$module::$stream, move |
                    route::LastEventId(last): route::LastEventId,
                    route::Query($stream_query): route::Query<$stream_query_type>,
                | {
                    let api = std::sync::Arc::clone(&api);
                    route::stream(&$module::$stream, async move {
                        api.$stream(last, $stream_query).await
                    })
                }));
            )?
            route::with_fallbacks(router)
        }

        $(#[$client_doc])*
        #[derive(Debug, Clone)]
        pub struct $client($crate::client::Client);

        impl $client {
            /// Speaks over `client`.
            pub fn new(client: $crate::client::Client) -> Self {
                Self(client)
            }

            /// Over the Unix socket at `path`.
            pub fn unix(path: impl Into<std::path::PathBuf>) -> Self {
                Self::new($crate::client::Client::unix(path))
            }

            /// Over TCP, with a bearer token if there is one.
            pub fn tcp(address: std::net::SocketAddr, token: Option<bs9_config::Secret>) -> Self {
                Self::new($crate::client::Client::tcp(address, token))
            }

            $(
                #[doc = $summary]
                #[doc = concat!("\n\n`", stringify!($method), " ", $path, "`")]
                pub async fn $name(
                    &self,
                    $($param: &str,)?
                    $($query: &$query_type,)?
                    $($body: &$body_type,)?
                ) -> Result<$answer, $crate::client::ClientError> {
                    let call = $crate::client::Call::new(&$module::$name);
                    $(let call = call.path_parameter(stringify!($param), $param);)?
                    $(let call = call.query($query)?;)?
                    $(let call = call.body($body)?;)?
                    self.0.call(call).await
                }
            )+

            $(
                #[doc = $stream_summary]
                #[doc = concat!("\n\n`GET ", $stream_path, "`")]
                pub async fn $stream(
                    &self,
                    $stream_query: &$stream_query_type,
                ) -> Result<$crate::client::EventFollower, $crate::client::ClientError> {
                    let call = $crate::client::Call::new(&$module::$stream);
                    self.0.follow(call.query($stream_query)?).await
                }
            )?
        }
    };
}

pub(super) use endpoints;
