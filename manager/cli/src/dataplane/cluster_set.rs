//! A whole cluster, as the admin API is asked to put it in or take it out.

use std::time::Duration;

use bs9_api::{
    ApiError,
    types::{ClusterRoute as AskedRoute, SetCluster},
};
use bs9_config::{ClusterChange, ClusterProbe, ClusterRoute, Endpoint};

use super::endpoint_change;

/// What a caller asked for, as a change of the configuration.
///
/// # Errors
/// An address or a time makes no sense.
pub(super) fn change(cluster: String, asked: SetCluster) -> Result<ClusterChange, ApiError> {
    let endpoints = asked
        .endpoints
        .iter()
        .map(|endpoint| {
            Ok(Endpoint::new(endpoint_change::parse(&endpoint.address)?, endpoint.weight))
        })
        .collect::<Result<_, ApiError>>()?;
    let probe = asked
        .health_check
        .map(|check| {
            let interval = Duration::try_from_secs_f64(check.interval_seconds)
                .map_err(|error| ApiError::invalid_request(format!("interval_seconds: {error}")))?;
            Ok::<_, ApiError>(ClusterProbe { path: check.path, interval })
        })
        .transpose()?;
    Ok(ClusterChange {
        cluster,
        endpoints,
        probe,
        route: asked.route.map(route),
        former_route: asked.former_route.map(route),
    })
}

fn route(asked: AskedRoute) -> ClusterRoute {
    ClusterRoute { listener: asked.listener, host: asked.host, path: asked.path }
}
