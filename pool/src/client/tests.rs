//! What a client costs.

use super::{Client, greeting::serve};
use crate::cancel::Registration;

/// The size of what `make` makes, which is not called.
fn size_of_made<A, T>(_make: impl Fn(A) -> T) -> usize {
    size_of::<T>()
}

/// These are what an idle client keeps allocated, besides its buffers: none. There are a hundred
/// thousand of them, so think of a box for what is rare, and of what the task need not hold across
/// an await, before you raise a limit.
#[test]
fn an_idle_client_is_small() {
    let task = size_of_made(|(home, connection)| serve(home, connection));
    let (client, registration) = (size_of::<Client>(), size_of::<Registration>());
    assert!(task <= 192, "its task: {task} bytes");
    assert!(client <= 384, "the client: {client} bytes");
    assert!(registration <= 144, "its place in the directory and in line: {registration} bytes");
}
