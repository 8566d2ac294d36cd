//! Configuration of bs9, from text to something the program can run on.
//!
//! `raw` reads TOML and remembers where everything stood; validation turns it
//! into a [`Config`] or into every error at once; [`model`] is the result.

pub mod model;

pub use model::*;
