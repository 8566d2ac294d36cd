//! `docs/SMUGGLING.md`: what bs9 makes of each input, and what others make of it.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf};

use crate::{http2, peers, requests};

/// An input and what bs9 has to make of it.
pub(crate) struct Row {
    pub(crate) section: &'static str,
    pub(crate) what: String,
    pub(crate) input: String,
    pub(crate) bs9: String,
}

const UPDATE: &str = "UPDATE=1 cargo test -p bs9-proxy --test smuggling book";

fn path() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "docs", "SMUGGLING.md"].iter().collect()
}

/// A row of the book as it stands: section, name, input and bs9's verdict, and what the others make of it.
type Written = BTreeMap<[String; 4], Vec<String>>;

fn parse(text: &str) -> Written {
    let rows = text.lines().filter(|line| line.starts_with("| RFC ") && !line.contains("| bs9 |"));
    rows.map(|line| {
        let cells: Vec<String> = line
            .trim_matches('|')
            .split(" | ")
            .map(|cell| cell.trim().trim_matches('`').to_owned())
            .collect();
        let key = [0, 1, 2, 3].map(|at| cells.get(at).cloned().unwrap_or_default());
        (key, cells.get(4..).map(<[String]>::to_vec).unwrap_or_default())
    })
    .collect()
}

/// Text as it can stand in a cell.
fn cell(text: &str) -> String {
    text.replace('|', "¦").replace('`', "'")
}

fn key(row: &Row) -> [String; 4] {
    let section = format!("RFC {}", row.section);
    [section, cell(&row.what), cell(&row.input), cell(&row.bs9)]
}

/// The text before the tables.
fn introduction(versions: &[String]) -> String {
    format!(
        "# Request smuggling and framing\n\n\
         Whoever can make two hops disagree about where a message ends can slip a request past \
         the first one, or take another client's response. Every input below is sent through bs9 \
         by `proxy/tests/smuggling` in one piece and byte by byte, with one hop and with two, to an \
         origin that takes nothing but the plainest form of a request and keeps every byte. The \
         test demands that\n\n\
         - bs9 makes of each input what its column says;\n\
         - the origin never meets anything but plain requests, and never one called `/smuggled`;\n\
         - what the origin was sent reads alike to a panel of 48 careless readers: the first or \
           the last length counts, a length before a coding or after it, lines end at a bare LF or \
           a bare CR, lengths may be octal, names and codings match roughly;\n\
         - each answer goes to the client whose request the origin answered with it, and the next \
           client on the same upstream connection gets its own.\n\n\
         Each input is followed by another request on the same connection, `next`, unless it ends \
         in the middle. A verdict lists in order what the client is told and the origin sees:\n\n\
         | verdict | meaning |\n|---|---|\n\
         | `400` | answered by the proxy itself; the connection is closed after it, unless more follows |\n\
         | `GET /a` | the origin saw this request and its answer came back; another host than `site.test` stands behind an `@` |\n\
         | `POST /a (hello)` | with a body by `Content-Length` |\n\
         | `POST /a <hello> [;a] +{{x: y}}` | with a body in chunks, their extensions and trailers |\n\
         | `{{x: y}}` | further header fields that the origin saw |\n\
         | `next` | the request behind the input was seen as what it is |\n\
         | `closed` | the connection was closed without an answer |\n\
         | `reset`, `goaway` | (HTTP/2) the stream was reset; the connection was ended with an error |\n\
         | `passes on …` | the origin was sent something that is no plain request |\n\
         | `waits` | nothing came for a second, and the connection stayed open |\n\n\
         The columns of {} are for comparison: Debian's packages, set up as bs9 is (`/fixed` is \
         answered 403 without an endpoint, a request with `X-Nowhere` 404; upstream connections are \
         kept; paths are passed on as they come), one process, defaults otherwise. They are written \
         by `{UPDATE}` only; a difference is not a fault by itself, as RFCs leave room. HAProxy has \
         no limit on bodies.\n\n\
         Responses are attacked likewise (`proxy/tests/smuggling/responses`): bad framing, answers \
         too many, too early or cut off. There the demand is that no client ever gets a byte of \
         another's answer.\n",
        versions.join(" and ")
    )
}

fn table(title: &str, rows: &[Row], columns: &[String], others: &Written) -> String {
    let mut text = format!("\n## {title}\n\n| RFC and section | what | input | bs9 |");
    for column in columns {
        let _infallible = write!(text, " {column} |");
    }
    text.push_str("\n|---|---|---|---|");
    text.push_str(&"---|".repeat(columns.len()));
    text.push('\n');
    for row in rows {
        let [section, what, input, bs9] = key(row);
        let _infallible = write!(text, "| {section} | {what} | `{input}` | `{bs9}` |");
        for found in others.get(&key(row)).into_iter().flatten() {
            let _infallible = write!(text, " `{}` |", cell(found));
        }
        text.push('\n');
    }
    text
}

fn written() -> Written {
    let text = fs::read_to_string(path()).unwrap_or_default();
    parse(&text)
}

#[test]
fn the_book_is_as_the_cases_are() {
    let (one, two) = (requests::rows(), http2::rows());
    if std::env::var_os("UPDATE").is_some() {
        let found = peers::verdicts();
        let mut others = Written::new();
        let keys = one.iter().map(key).chain(two.iter().map(key));
        for (number, key) in keys.enumerate() {
            others.insert(key, found.iter().map(|peer| peer.verdicts[number].clone()).collect());
        }
        let names: Vec<_> = found.iter().map(|peer| peer.name.clone()).collect();
        let text = introduction(&names)
            + &table("HTTP/1.1 and HTTP/1.0", &one, &names, &others)
            + &table("HTTP/2, passed on as HTTP/1.1", &two, &names, &others);
        fs::write(path(), text).unwrap();
        return;
    }
    let written = written();
    for row in one.iter().chain(&two) {
        let others = written.get(&key(row));
        assert!(
            others.is_some_and(|others| others.len() == 2),
            "{:?} is not in docs/SMUGGLING.md as it is in the cases: {UPDATE}",
            row.what
        );
    }
    assert_eq!(written.len(), one.len() + two.len(), "rows without a case: {UPDATE}");
}
