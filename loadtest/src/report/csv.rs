//! The series as comma-separated values (RFC 4180, with line feeds alone).

use std::fmt::Write as _;

use super::{Report, series::Second};

impl Report {
    /// Second by second, with a line of names first.
    pub fn to_csv(&self) -> String {
        let mut out = "at_seconds,succeeded,failed,received_bytes\n".to_owned();
        for Second { at_seconds, succeeded, failed, received_bytes } in &self.series {
            let _infallible =
                writeln!(out, "{at_seconds:.3},{succeeded},{failed},{received_bytes}");
        }
        out
    }
}
