//! `--watch[=2s]`: how often something is shown anew.

use std::{str::FromStr, time::Duration};

use crate::{cli::Global, exit::Failure, runtime::Stop, terminal};

/// Between two looks; at least 100 ms, at most an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interval(pub(crate) Duration);

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) =
            text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
        let scale = match unit {
            "ms" => 0.001,
            "s" | "" => 1.0,
            "m" => 60.0,
            _ => return Err(format!("`{unit}` is not a unit; write 500ms, 2s or 1m")),
        };
        let amount: f64 = number
            .parse()
            .map_err(|_| format!("`{text}` is not a duration; write 500ms, 2s or 1m"))?;
        let seconds = amount * scale;
        if !(0.1..=3_600.0).contains(&seconds) {
            return Err("an interval lies between 100ms and 60m".to_owned());
        }
        Ok(Self(Duration::from_secs_f64(seconds)))
    }
}

/// Shows something: once, or every so often until the user ends it. What cannot be shown may come
/// back, which is what one watches for: it is said, and tried again.
///
/// # Errors
/// Without an interval, what `show` fails with.
pub(crate) async fn show(
    every: Option<Interval>,
    global: &Global,
    mut show: impl AsyncFnMut() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let Some(interval) = every else { return show().await };
    let mut stop = Stop::new()?;
    loop {
        if terminal::is_interactive() && !global.json {
            // Home, then clear to the end: less flicker than clearing first.
            terminal::say("\x1b[H\x1b[J")?;
        }
        if let Err(failure) = show().await {
            terminal::remark(failure.render().unwrap_or_default());
        }
        tokio::select! {
            _ = stop.wait() => return Ok(()),
            () = tokio::time::sleep(interval.0) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write() {
        for (text, milliseconds) in
            [("2s", 2_000), ("2", 2_000), ("500ms", 500), ("1.5s", 1_500), ("1m", 60_000)]
        {
            assert_eq!(
                text.parse::<Interval>().map(|i| i.0),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for text in ["", "s", "0", "10ms", "2h", "99m", "x", "-1s", "NaN"] {
            assert!(text.parse::<Interval>().is_err(), "{text}");
        }
    }
}
