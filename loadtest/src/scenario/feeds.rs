//! `[data.NAME]`: files whose values take the place of `{{NAME.column}}`.

use std::path::Path;

use super::{Fault, Scope, scope::Given};
use crate::feed::{Feed, FeedFormat, FeedHold, FeedOrder};

/// Most files.
const MAX_FEEDS: usize = 32;

/// All of them, and whether none is left out for a mistake in it.
pub(super) fn read(scope: &Scope<'_>, folder: &Path) -> (Vec<Feed>, bool) {
    let Some(given) = scope.get("data") else { return (Vec::new(), true) };
    let Some(table) = given.table() else { return (Vec::new(), false) };
    let all = table.all();
    if all.len() > MAX_FEEDS {
        given.fault(Fault::new(format!("{} files are more than {MAX_FEEDS}", all.len())));
        return (Vec::new(), false);
    }
    let count = all.len();
    let feeds: Vec<_> =
        all.into_iter().filter_map(|(name, given)| feed(name, &given, folder)).collect();
    let complete = feeds.len() == count;
    (feeds, complete)
}

fn feed(name: &str, given: &Given<'_>, folder: &Path) -> Option<Feed> {
    let scope = given.table()?;
    let file = scope.required("file", "write file = \"users.csv\"");
    let format = scope.get("format").map(|given| {
        choose(&given, &[("csv", FeedFormat::Csv), ("json-lines", FeedFormat::JsonLines)])
    });
    let order = scope.get("order").map(|given| {
        choose(&given, &[("sequential", FeedOrder::Sequential), ("random", FeedOrder::Random)])
    });
    let hold = scope.get("per").map(|given| {
        choose(&given, &[("request", FeedHold::Request), ("connection", FeedHold::Connection)])
    });
    let file = file?;
    let path = folder.join(file.text()?);
    let format = match format {
        Some(format) => format?,
        None => file.accept(format_of(&path))?,
    };
    let order = order.unwrap_or(Some(FeedOrder::Sequential))?;
    let hold = hold.unwrap_or(Some(FeedHold::Request))?;
    let feed = Feed::read(name, &path, format, order, hold);
    file.accept(feed.map_err(|error| {
        let hint = "the path is relative to the scenario file";
        let fault = Fault::new(format!("cannot use {}: {error}", path.display()));
        if path.exists() { fault } else { fault.hint(hint) }
    }))
}

/// What the ending of a file's name says.
fn format_of(path: &Path) -> Result<FeedFormat, Fault> {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("csv") => Ok(FeedFormat::Csv),
        Some("jsonl" | "ndjson") => Ok(FeedFormat::JsonLines),
        _ => Err(Fault::new("the name does not say how the values are written")
            .hint("write format = \"csv\" or format = \"json-lines\"")),
    }
}

/// One of a few words.
fn choose<T: Copy>(given: &Given<'_>, words: &[(&str, T)]) -> Option<T> {
    let text = given.text()?;
    let found = words.iter().find(|(word, _)| *word == text);
    let listed = words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>();
    let fault = || Fault::new(format!("`{text}` is not a choice here"));
    let hint = || format!("write {}", listed.join(" or "));
    given.accept(found.map(|(_, value)| *value).ok_or_else(|| fault().hint(hint())))
}
