//! A database of history that is filled at once instead of second by second: for
//! benchmarks, and for taking over what another program remembered.

use std::{io, path::Path};

use bs9_api::types::SeriesName;
use bs9_config::HistoryStore;

use crate::store::{Batch, Database, Level, Point, Step};

/// A database that is being filled. No manager may use its folder meanwhile.
#[derive(Debug)]
pub struct Archive {
    database: Database,
    series: Vec<SeriesName>,
}

impl Archive {
    /// Makes a database in `folder` for these series, which are numbered from 0 on.
    ///
    /// # Errors
    ///
    /// The file system or SQLite refuse.
    pub fn create(
        folder: &Path,
        settings: &HistoryStore,
        series: Vec<SeriesName>,
    ) -> io::Result<Self> {
        let database = Database::open(&folder.join("history.db"), settings, 1_024)
            .map_err(io::Error::other)?;
        Ok(Self { database, series })
    }

    /// Adds what every series did within the minute that begins at `at`, seconds
    /// since 1970; `values` gives the smallest and the largest of sixty values.
    ///
    /// # Errors
    ///
    /// The file system or SQLite refuse.
    pub fn add_minute(&mut self, at: i64, values: impl Fn(usize) -> (f64, f64)) -> io::Result<()> {
        let points = (0..self.series.len()).map(|number| {
            let (min, max) = values(number);
            let point = Point { min, max, sum: (min + max) * 30.0, count: 60, sketch: None };
            (number as u32 + 1, point)
        });
        let step =
            Step { level: Level::Minute, at: Level::Minute.floor(at), points: points.collect() };
        let series = std::mem::take(&mut self.series);
        let named =
            series.iter().enumerate().map(|(number, name)| (number as u32 + 1, name.clone()));
        // Once a day is enough for their last sign of life.
        let named = if at.rem_euclid(86_400) < 60 { named.collect() } else { Vec::new() };
        self.series = series;
        let batch = Batch { at, series: named, steps: vec![step] };
        self.database.write(&batch, &[]).map_err(io::Error::other)
    }

    /// Bytes of the database.
    ///
    /// # Errors
    ///
    /// SQLite refuses.
    pub fn size_bytes(&self) -> io::Result<u64> {
        self.database.size_bytes().map_err(io::Error::other)
    }
}
