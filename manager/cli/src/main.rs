//! bs9.
fn main() {}
