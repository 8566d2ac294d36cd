//! One entry of `endpoints`.

use std::{collections::HashMap, sync::Arc};

use super::name::check_name;
use crate::{
    address,
    model::{Endpoint, EndpointAddress},
    read::{Format, Key, Located, Scope, boolean, either, integer, table, text},
    report::Finding,
};

/// What `endpoints` entries look like.
const ADDRESS: &str = "an address (\"host:port\" or \"unix:/path\")";

pub(super) fn endpoint() -> impl Format<Output = Endpoint> {
    let bare = text(ADDRESS, None, address::endpoint).map(|address| Endpoint::new(address, 1));
    either(bare, table(spelled))
}

fn spelled(t: &mut Scope<'_>) -> Option<Endpoint> {
    let address =
        t.required(Key::new("address", "Where it is."), text(ADDRESS, None, address::endpoint));
    let weight = t.or(
        Key::new(
            "weight",
            "Its share of the traffic, relative to the others. 0 takes no new traffic.",
        ),
        integer(0..=65_535),
        1,
    );
    let priority = t.or(
        Key::new("priority", "Endpoints of a priority above 0 take traffic only while too few of those below are available (`failover_below`)."),
        integer(0..=15),
        0,
    );
    let zone =
        t.optional(Key::new("zone", "Where it stands; see the cluster's `zone`."), zone_name());
    let disabled = t.or(
        Key::new("disabled", "Takes no new traffic until it is enabled; health checks go on. `bs9 loadbalancer disable`, `drain` and `enable` with `--persist` set and remove it; what they do without lasts through reloads, unless this key has changed in the file."),
        boolean(),
        false,
    );
    Some(Endpoint { address: address?, weight, priority, zone, disabled })
}

/// The name of a zone.
pub(super) fn zone_name() -> impl Format<Output = Arc<str>> {
    text("the name of a zone", Some(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$"), |name: &str, _| {
        check_name(name).map(|()| Arc::from(name))
    })
}

/// Reports an address that is there twice.
pub(super) fn check_unique(t: &Scope<'_>, endpoints: &[Located<Endpoint>]) {
    let mut seen: HashMap<&EndpointAddress, _> = HashMap::with_capacity(endpoints.len());
    for endpoint in endpoints {
        let address = &endpoint.value.address;
        if let Some(first) = seen.insert(address, endpoint.spot) {
            t.reader().push(
                Finding::error(format!("the endpoint `{address}` is given twice"))
                    .at(endpoint.spot, &endpoint.path)
                    .related(first, "first given here")
                    .hint("to send it more traffic, give it a weight"),
            );
        }
    }
}
