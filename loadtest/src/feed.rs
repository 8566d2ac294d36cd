//! Values from files that take the place of `{{feed.column}}` in requests.

use std::{io, path::Path, sync::Arc};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

/// Largest file of values, in bytes.
pub const MAX_FEED_BYTES: u64 = 64 << 20;

/// How values are written in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedFormat {
    /// Comma-separated values (RFC 4180) whose first line names the columns.
    Csv,
    /// A JSON object a line; its keys are the columns.
    JsonLines,
}

/// Which row comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedOrder {
    /// The one behind the one before; behind the last one the first. All connections together
    /// go through the rows, each thread through every so manieth.
    Sequential,
    /// Any.
    Random,
}

/// How long a row is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedHold {
    /// For one request.
    Request,
    /// For all requests of a connection, also when it is opened again.
    Connection,
}

/// A file that is no feed.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// It cannot be read.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// It is longer than [`MAX_FEED_BYTES`].
    #[error("it is longer than 64 MiB")]
    TooLong,
    /// It has no rows.
    #[error("it holds no rows")]
    Empty,
    /// Two columns have the same name.
    #[error("two columns are called `{0}`")]
    Twice(String),
    /// Not what its format says.
    #[error("line {line}: {what}")]
    Malformed {
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
}

/// Rows of named columns.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) name: String,
    columns: Vec<Column>,
    rows: usize,
    order: FeedOrder,
    hold: FeedHold,
}

/// All values of a column, one behind the other.
#[derive(Debug)]
struct Column {
    name: String,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// One thread's way through all feeds.
#[derive(Debug, Clone)]
pub(crate) struct Feeder {
    feeds: Arc<[Feed]>,
    /// The next row of each, where they come in turn.
    next: Vec<usize>,
    step: usize,
    random: SmallRng,
}

/// The rows a connection has now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows(Box<[Option<usize>]>);

// === impl Feed ===

impl Feed {
    /// Reads a file.
    pub(crate) fn read(
        name: &str,
        file: &Path,
        format: FeedFormat,
        order: FeedOrder,
        hold: FeedHold,
    ) -> Result<Self, FeedError> {
        if std::fs::metadata(file)?.len() > MAX_FEED_BYTES {
            return Err(FeedError::TooLong);
        }
        let text = std::fs::read(file)?;
        let columns = match format {
            FeedFormat::Csv => csv_columns(&text)?,
            FeedFormat::JsonLines => json_columns(&text)?,
        };
        let rows = columns.first().map_or(0, |column| column.ends.len());
        if rows == 0 {
            return Err(FeedError::Empty);
        }
        Ok(Self { name: name.to_owned(), columns, rows, order, hold })
    }

    /// The names of its columns.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }

    /// All values of a column.
    pub(crate) fn values(&self, column: usize) -> impl Iterator<Item = &[u8]> {
        (0..self.rows).map(move |row| self.columns[column].value(row))
    }

    #[inline]
    pub(crate) fn value(&self, column: usize, row: usize) -> &[u8] {
        self.columns[column].value(row)
    }
}

impl Column {
    fn named(name: &str) -> Self {
        Self { name: name.to_owned(), bytes: Vec::new(), ends: Vec::new() }
    }

    fn push(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.ends.push(self.bytes.len());
    }

    #[inline]
    fn value(&self, row: usize) -> &[u8] {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[row]]
    }
}

fn check_names(columns: &[Column]) -> Result<(), FeedError> {
    for (index, column) in columns.iter().enumerate() {
        if columns[..index].iter().any(|other| other.name == column.name) {
            return Err(FeedError::Twice(column.name.clone()));
        }
    }
    Ok(())
}

fn csv_columns(text: &[u8]) -> Result<Vec<Column>, FeedError> {
    let malformed = |error: csv::Error| FeedError::Malformed {
        line: error.position().map_or(1, csv::Position::line),
        what: match error.kind() {
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                format!("{len} values for {expected_len} columns")
            }
            _ => error.to_string(),
        },
    };
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(text);
    let names = reader.byte_headers().map_err(malformed)?.clone();
    let mut columns: Vec<_> =
        names.iter().map(|name| Column::named(&String::from_utf8_lossy(name))).collect();
    check_names(&columns)?;
    let mut record = csv::ByteRecord::new();
    while reader.read_byte_record(&mut record).map_err(malformed)? {
        columns.iter_mut().zip(&record).for_each(|(column, value)| column.push(value));
    }
    Ok(columns)
}

fn json_columns(text: &[u8]) -> Result<Vec<Column>, FeedError> {
    let mut columns: Vec<Column> = Vec::new();
    for (line, text) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        if text.trim_ascii().is_empty() {
            continue;
        }
        let malformed = |what: String| FeedError::Malformed { line, what };
        let row: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(text).map_err(|error| malformed(error.to_string()))?;
        if columns.is_empty() {
            columns = row.keys().map(|name| Column::named(name)).collect();
        }
        for column in &mut columns {
            let value = row.get(&column.name);
            let value = value.ok_or_else(|| malformed(format!("`{}` is missing", column.name)))?;
            match value {
                // As people see it: without quotes.
                serde_json::Value::String(text) => column.push(text.as_bytes()),
                other => column.push(other.to_string().as_bytes()),
            }
        }
    }
    Ok(columns)
}

// === impl Feeder ===

impl Feeder {
    pub(crate) fn new(feeds: Arc<[Feed]>) -> Self {
        let next = vec![0; feeds.len()];
        Self { feeds, next, step: 1, random: SmallRng::seed_from_u64(0) }
    }

    /// This is thread `index` of `threads` from now on.
    pub(crate) fn settle(&mut self, index: usize, threads: usize) {
        self.step = threads;
        self.random = SmallRng::seed_from_u64(index as u64);
        for (next, feed) in self.next.iter_mut().zip(self.feeds.iter()) {
            *next = index % feed.rows;
        }
    }

    /// For a connection that has no rows yet.
    pub(crate) fn no_rows(&self) -> Rows {
        Rows(vec![None; self.feeds.len()].into())
    }

    /// The rows of a connection's next request, which uses these feeds.
    #[inline]
    pub(crate) fn advance(&mut self, rows: &mut Rows, used: &[usize]) {
        for &index in used {
            let (feed, row) = (&self.feeds[index], &mut rows.0[index]);
            if row.is_some() && feed.hold == FeedHold::Connection {
                continue;
            }
            *row = Some(match feed.order {
                FeedOrder::Random => self.random.random_range(0..feed.rows),
                FeedOrder::Sequential => {
                    let next = self.next[index];
                    self.next[index] = (next + self.step) % feed.rows;
                    next
                }
            });
        }
    }

    /// The value a connection has now; the feed was among those used.
    #[inline]
    pub(crate) fn value(&self, rows: &Rows, feed: usize, column: usize) -> &[u8] {
        self.feeds[feed].value(column, rows.0[feed].unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn feed(text: &str, format: FeedFormat) -> Result<Feed, FeedError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rows");
        fs::write(&file, text).unwrap();
        Feed::read("f", &file, format, FeedOrder::Sequential, FeedHold::Request)
    }

    fn column(feed: &Feed, column: usize) -> Vec<String> {
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
        feed.values(column).map(text).collect()
    }

    #[test]
    fn rows_of_both_formats() {
        let text = "id, name\n1,ann\n2,\"b, \"\"o\"\"\"\n3,\n";
        let csv = feed(text, FeedFormat::Csv).unwrap();
        assert_eq!(csv.columns().collect::<Vec<_>>(), ["id", "name"]);
        assert_eq!(column(&csv, 1), ["ann", "b, \"o\"", ""]);
        let text = "{\"id\": 1, \"name\": \"ann\"}\n\n{\"name\": null, \"id\": [2]}\n";
        let json = feed(text, FeedFormat::JsonLines).unwrap();
        assert_eq!(json.columns().collect::<Vec<_>>(), ["id", "name"]);
        assert_eq!(
            (column(&json, 0), column(&json, 1)),
            (vec!["1".to_owned(), "[2]".to_owned()], vec!["ann".to_owned(), "null".to_owned()],)
        );
    }

    #[test]
    fn what_is_no_feed_says_where() {
        use FeedFormat::{Csv, JsonLines};
        for (text, format, said) in [
            ("", Csv, "it holds no rows"),
            ("a,b\n", Csv, "it holds no rows"),
            ("a,a\n1,2\n", Csv, "two columns are called `a`"),
            ("a,b\n1,2\n3\n", Csv, "line 3: 1 values for 2 columns"),
            ("\n", JsonLines, "it holds no rows"),
            ("{\"a\": 1}\n{\"b\": 1}", JsonLines, "line 2: `a` is missing"),
            ("{\"a\": 1}\n[]", JsonLines, "line 2: invalid type"),
        ] {
            let error = feed(text, format).unwrap_err().to_string();
            assert!(error.starts_with(said), "{text:?}: {error}");
        }
    }

    #[test]
    fn threads_share_the_rows() {
        let mut rows = feed("n\n0\n1\n2\n3\n4\n", FeedFormat::Csv).unwrap();
        rows.hold = FeedHold::Request;
        let feeder = Feeder::new(Arc::new([rows]));
        let mut seen = Vec::new();
        for thread in 0..2 {
            let mut feeder = feeder.clone();
            feeder.settle(thread, 2);
            let mut rows = feeder.no_rows();
            for _ in 0..3 {
                feeder.advance(&mut rows, &[0]);
                seen.push(feeder.value(&rows, 0, 0)[0] - b'0');
            }
        }
        assert_eq!(seen, [0, 2, 4, 1, 3, 0]);
    }

    #[test]
    fn a_connection_may_keep_its_row() {
        let mut rows = feed("n\n0\n1\n2\n", FeedFormat::Csv).unwrap();
        (rows.hold, rows.order) = (FeedHold::Connection, FeedOrder::Random);
        let mut feeder = Feeder::new(Arc::new([rows]));
        let mut rows = feeder.no_rows();
        feeder.advance(&mut rows, &[0]);
        let first = feeder.value(&rows, 0, 0).to_vec();
        for _ in 0..50 {
            feeder.advance(&mut rows, &[0]);
            assert_eq!(feeder.value(&rows, 0, 0), first);
        }
    }
}
