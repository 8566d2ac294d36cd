//! Prepared statements of the extended protocol where servers change hands.

mod at_random;
mod dialogues;
mod drivers;
mod forgetting;
mod limits;
