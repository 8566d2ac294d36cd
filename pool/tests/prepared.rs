//! Prepared statements of the extended protocol where servers change hands.

mod dialogues;
mod drivers;
mod limits;
