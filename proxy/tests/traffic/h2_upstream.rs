//! HTTP/2 to endpoints from the outside: endpoints are the `h2` crate as a server, or frames made
//! by hand.

#[path = "h2_upstream/agreeing.rs"]
mod agreeing;
#[path = "h2_upstream/bodies.rs"]
mod bodies;
#[path = "h2_upstream/connections.rs"]
mod connections;
#[path = "h2_upstream/departing.rs"]
mod departing;
#[path = "h2_upstream/faults.rs"]
mod faults;
#[path = "h2_upstream/hostile.rs"]
mod hostile;
#[path = "h2_upstream/origin.rs"]
pub(crate) mod origin;
#[path = "h2_upstream/probes.rs"]
mod probes;
#[path = "h2_upstream/requests.rs"]
mod requests;
#[path = "h2_upstream/scripted.rs"]
pub(crate) mod scripted;
#[path = "h2_upstream/websocket.rs"]
mod websocket;
