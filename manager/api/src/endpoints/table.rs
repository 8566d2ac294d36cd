//! The macro that turns the table into a trait, a router and a client.

use super::Described;

/// The only element, if there is one: the macro's way to write an optional part.
pub(super) const fn only(list: &[fn() -> Described]) -> Option<fn() -> Described> {
    match list {
        [describe, ..] => Some(*describe),
        [] => None,
    }
}

/// See its uses in [`endpoints`](super). Parameters come in the order path,
/// query, body; each has a name, which is the argument's name in the trait and
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
                $(, path $param:ident)?
                $(, query $query:ident: $query_type:ty)?
                $(, body $body:ident: $body_type:ty)?
                => $answer:ty;
        )+
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
        }

        $(#[$table_doc])*
        pub static $table: &[&Endpoint] = &[$(&$module::$name),+];

        $(#[$api_doc])*
        pub trait $api: Send + Sync + 'static {
            $(
                #[doc = $summary]
                #[doc = concat!("\n\n`", stringify!($method), " ", $path, "`")]
                fn $name(
                    &self,
                    $($param: String,)?
                    $($query: $query_type,)?
                    $($body: $body_type,)?
                ) -> impl Future<Output = Result<$answer, $crate::ApiError>> + Send;
            )+
        }

        $(#[$router_doc])*
        pub fn $router<A: $api>(api: std::sync::Arc<A>) -> axum::Router {
            use $crate::server::route;

            let router = axum::Router::new();
            $(
                let router = {
                    let api = std::sync::Arc::clone(&api);
                    router.route($path, route::guarded(&$module::$name, move |
                        $(route::PathParameter($param): route::PathParameter,)?
                        $(route::Query($query): route::Query<$query_type>,)?
                        $(route::Body($body): route::Body<$body_type>,)?
                    | {
                        let api = std::sync::Arc::clone(&api);
                        route::answer(&$module::$name, async move {
                            api.$name($($param,)? $($query,)? $($body,)?).await
                        })
                    }))
                };
            )+
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
        }
    };
}

pub(super) use endpoints;
