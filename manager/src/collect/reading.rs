//! A measured number, or the reason why there is none.

use std::{fmt, io};

use bs9_api::types::Reading;

/// What a collector found.
pub(crate) type Measured = Result<f64, Missing>;

/// Why there is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The kernel does not offer the file.
    NoFile(&'static str),
    /// The file may not be read.
    Denied(&'static str),
    /// The file cannot be read for another reason.
    Failed(&'static str, io::ErrorKind),
    /// The file does not say.
    NotSaid(&'static str),
    /// A rate needs a second sample.
    FirstSample,
    /// There is no limit.
    NoLimit,
    /// It is counted now and then, and was not yet.
    NotYet,
}

impl Missing {
    pub(crate) fn of(file: &'static str, error: &io::Error) -> Self {
        match error.kind() {
            // A group that is gone answers ENODEV.
            io::ErrorKind::NotFound => Self::NoFile(file),
            io::ErrorKind::PermissionDenied => Self::Denied(file),
            kind => Self::Failed(file, kind),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFile(file) => {
                write!(f, "there is no {file} here: the kernel does not account for it")
            }
            Self::Denied(file) => write!(f, "{file} may not be read by this user"),
            Self::Failed(file, kind) => write!(f, "{file} cannot be read: {kind}"),
            Self::NotSaid(file) => write!(f, "{file} does not say"),
            Self::FirstSample => f.write_str("a rate needs a second sample"),
            Self::NoLimit => f.write_str("there is no limit"),
            Self::NotYet => f.write_str("it is counted every ten samples, and was not yet"),
        }
    }
}

/// As the API tells it.
pub(crate) fn told(measured: Measured) -> Reading {
    match measured {
        Ok(value) => Reading::of(value),
        Err(missing) => Reading::missing(missing.to_string()),
    }
}

/// Turns a counter into what it grew by a second.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rate {
    before: Option<f64>,
}

impl Rate {
    /// `seconds` have passed since the last call. A counter that was set back
    /// begins anew.
    pub(crate) fn next(&mut self, counter: Measured, seconds: f64) -> Measured {
        let counter = match counter {
            Ok(counter) => counter,
            Err(missing) => {
                self.before = None;
                return Err(missing);
            }
        };
        let before = self.before.replace(counter).ok_or(Missing::FirstSample)?;
        if counter < before || seconds <= 0.0 {
            return Err(Missing::FirstSample);
        }
        Ok((counter - before) / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_never_negative_and_never_made_up() {
        let mut rate = Rate::default();
        assert_eq!(rate.next(Ok(10.0), 1.0), Err(Missing::FirstSample));
        assert_eq!(rate.next(Ok(14.0), 2.0), Ok(2.0));
        assert_eq!(rate.next(Ok(3.0), 1.0), Err(Missing::FirstSample));
        assert_eq!(rate.next(Ok(3.0), 1.0), Ok(0.0));
        assert_eq!(rate.next(Err(Missing::NotYet), 1.0), Err(Missing::NotYet));
        assert_eq!(rate.next(Ok(9.0), 1.0), Err(Missing::FirstSample));
    }
}
