//! HTTP/2 from the outside: with the `h2` crate as a client, with frames made by hand, and with
//! the tools people use.

#[path = "http2/bodies.rs"]
mod bodies;
#[path = "http2/ending.rs"]
mod ending;
#[path = "http2/floods.rs"]
mod floods;
#[path = "http2/frames.rs"]
pub(crate) mod frames;
#[path = "http2/malformed.rs"]
mod malformed;
#[path = "http2/requests.rs"]
mod requests;
#[path = "http2/session.rs"]
pub(crate) mod session;
#[path = "http2/tools.rs"]
mod tools;
#[path = "http2/websocket.rs"]
mod websocket;
