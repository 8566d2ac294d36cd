//! Asking the manager for series, page by page.

use bs9_api::{
    ManagerClient, Process,
    socket::find,
    types::{SeriesName, SeriesPoint, SeriesQuery},
};
use jiff::Timestamp;

use crate::{cli::Global, exit::Failure};

/// Points of one page.
const PAGE: u32 = 20_000;

/// The manager to ask.
pub(crate) fn manager(global: &Global) -> ManagerClient {
    ManagerClient::unix(find(Process::Manager, global.socket.as_deref()))
}

/// A time range at one resolution; `None`: what fits best.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    pub(crate) resolution_seconds: Option<u32>,
}

/// Every point of one series, however many there are.
///
/// # Errors
/// The manager does not answer, or has no history.
pub(crate) async fn points(
    client: &ManagerClient,
    name: &SeriesName,
    range: Range,
) -> Result<(u32, Vec<SeriesPoint>), Failure> {
    let mut all: Vec<SeriesPoint> = Vec::new();
    let mut from = range.from;
    loop {
        let query = SeriesQuery {
            name: Some(name.name.clone()),
            subject: Some(name.subject.clone()),
            from: Some(from),
            to: Some(range.to),
            seconds: None,
            resolution_seconds: range.resolution_seconds,
            limit: Some(PAGE),
        };
        let answer = client.series(&query).await?;
        let page = answer.series.into_iter().find(|series| series.of == *name);
        let page = page.map(|series| series.points).unwrap_or_default();
        let last = page.last().map(|point| point.at);
        all.extend(page);
        let next = last.and_then(|last| {
            Timestamp::from_second(last.as_second() + i64::from(answer.resolution_seconds)).ok()
        });
        match next {
            Some(next) if answer.truncated && next > from && next < range.to => from = next,
            _ => return Ok((answer.resolution_seconds, all)),
        }
    }
}

/// Whether `subject` is what a person calls `name`.
pub(crate) fn is_called(subject: &str, name: &str) -> bool {
    subject == name
        || subject.strip_suffix(".service") == Some(name)
        || subject.split_once('/').is_some_and(|(first, _)| first == name)
        || is_instance(subject, name)
}

/// Instances of a service are units of their own: `bs9-web@1.service`.
fn is_instance(subject: &str, name: &str) -> bool {
    let plain = subject.strip_prefix("bs9-").unwrap_or(subject);
    let plain = plain.strip_suffix(".service").unwrap_or(plain);
    plain == name || plain.split_once('@').is_some_and(|(template, _)| template == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_people_say_them() {
        for (subject, name, expected) in [
            ("web.service", "web", true),
            ("web.service", "web.service", true),
            ("bs9-web@2.service", "web", true),
            ("api/127.0.0.1:80", "api", true),
            ("website.service", "web", false),
            ("", "web", false),
        ] {
            assert_eq!(is_called(subject, name), expected, "{subject} {name}");
        }
    }
}
