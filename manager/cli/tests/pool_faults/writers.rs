//! Clients that write numbers, check what they read, and know of each number whether it has to be
//! there, must not be there, or may be.

use std::{
    collections::BTreeSet,
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{runtime::Handle, task::JoinHandle};
use tokio_postgres::{Client, Error, NoTls};

use crate::fixture::{
    DEADLINE, eventually,
    postgres::{PASSWORD, USER},
};

/// Of each mode.
const COUNT: usize = 8;

pub(crate) struct Writers {
    shared: Arc<Shared>,
    commits: Vec<Arc<AtomicU64>>,
    tasks: Vec<JoinHandle<()>>,
    runtime: Handle,
}

#[derive(Default)]
struct Shared {
    next: AtomicI64,
    stop: AtomicBool,
    books: Mutex<Books>,
}

/// What is known in the end.
#[derive(Default)]
pub(crate) struct Books {
    /// Acknowledged: they are there.
    kept: Vec<i64>,
    /// Their transaction failed before its end: they are not there.
    lost: Vec<i64>,
    /// Cut off while they were committed: those of one transaction are there, or none of them.
    in_doubt: Vec<[i64; 2]>,
    errors: Vec<String>,
    /// Rows that were not asked for, and errors that no cut explains.
    pub(crate) wrong: Vec<String>,
}

impl Writers {
    pub(crate) fn start(address: SocketAddr) -> Self {
        let driver = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let runtime = driver.handle().clone();
        // Ends with the test's process.
        std::thread::spawn(move || driver.block_on(std::future::pending::<()>()));
        let shared = Arc::new(Shared::default());
        let (mut commits, mut tasks) = (Vec::new(), Vec::new());
        for number in 0..2 * COUNT {
            let mode = ["transaction", "session"][number % 2];
            let count = Arc::new(AtomicU64::new(0));
            let writer = Writer {
                number: i32::try_from(number).unwrap(),
                address,
                mode,
                shared: Arc::clone(&shared),
                commits: Arc::clone(&count),
            };
            commits.push(count);
            tasks.push(runtime.spawn(writer.run()));
        }
        Self { shared, commits, tasks, runtime }
    }

    /// Waits until each has committed so many times more.
    #[track_caller]
    pub(crate) fn wait_until_each_commits(&self, more: u64) {
        let count = || self.commits.iter().map(|one| one.load(SeqCst));
        let wanted: Vec<_> = count().map(|now| now + more).collect();
        eventually("every client commits", || {
            count().zip(&wanted).all(|(now, wanted)| now >= *wanted).then_some(())
        });
    }

    /// What went wrong so far, in order.
    pub(crate) fn errors(&self) -> Vec<String> {
        self.shared.books.lock().unwrap().errors.clone()
    }

    pub(crate) fn close(&mut self) -> Books {
        self.shared.stop.store(true, SeqCst);
        for task in self.tasks.drain(..) {
            self.runtime.block_on(task).expect("a client does not panic");
        }
        std::mem::take(&mut *self.shared.books.lock().unwrap())
    }
}

impl Books {
    /// Compares with what the table has.
    pub(crate) fn check(&self, table: impl Iterator<Item = i64>) {
        let table: BTreeSet<i64> = table.collect();
        let missing: Vec<_> = self.kept.iter().filter(|id| !table.contains(id)).collect();
        assert!(missing.is_empty(), "acknowledged and not there: {missing:?}");
        let risen: Vec<_> = self.lost.iter().filter(|id| table.contains(id)).collect();
        assert!(risen.is_empty(), "failed and there: {risen:?}");
        let half =
            self.in_doubt.iter().filter(|[one, two]| table.contains(one) != table.contains(two));
        assert_eq!(half.count(), 0, "half a transaction is there");
        let doubtful = self.in_doubt.iter().flatten();
        let known: BTreeSet<i64> = self.kept.iter().chain(doubtful).copied().collect();
        let unknown: Vec<_> = table.difference(&known).collect();
        assert!(unknown.is_empty(), "nobody wrote {unknown:?}");
    }
}

impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kept, lost) = (self.kept.len(), self.lost.len());
        let (doubt, errors) = (self.in_doubt.len(), self.errors.len());
        write!(f, "{kept} kept, {lost} lost, {doubt} in doubt, {errors} errors")
    }
}

struct Writer {
    number: i32,
    address: SocketAddr,
    mode: &'static str,
    shared: Arc<Shared>,
    commits: Arc<AtomicU64>,
}

/// How far a transaction came that was cut off.
enum Cut {
    Before(Error),
    AtItsEnd(Error),
    Wrong(String),
}

impl From<Error> for Cut {
    fn from(error: Error) -> Self {
        Self::Before(error)
    }
}

impl Writer {
    async fn run(self) {
        while !self.shared.stop.load(SeqCst) {
            match self.connect().await {
                Ok(client) => self.write(&client).await,
                Err(error) => self.note(&error),
            }
            // Everybody who was cut off comes back, though not at once.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn connect(&self) -> Result<Client, Error> {
        let mut config = tokio_postgres::Config::new();
        config.host(self.address.ip().to_string()).port(self.address.port());
        config.user(USER).password(PASSWORD).dbname(self.mode).connect_timeout(DEADLINE);
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(async move {
            // The client sees the same error.
            let _ended = connection.await;
        });
        Ok(client)
    }

    /// Until the connection is lost, or all are to stop.
    async fn write(&self, client: &Client) {
        while !self.shared.stop.load(SeqCst) {
            let first = self.shared.next.fetch_add(2, SeqCst);
            let numbers = [first, first + 1];
            let outcome = self.transaction(client, numbers).await;
            {
                let mut books = self.shared.books.lock().unwrap();
                match &outcome {
                    Ok(()) => books.kept.extend(numbers),
                    Err(Cut::Before(_)) => books.lost.extend(numbers),
                    Err(Cut::AtItsEnd(_)) => books.in_doubt.push(numbers),
                    Err(Cut::Wrong(what)) => {
                        books.wrong.push(what.clone());
                        books.in_doubt.push(numbers);
                    }
                }
            }
            match outcome {
                Ok(()) => _ = self.commits.fetch_add(1, SeqCst),
                Err(Cut::Before(error) | Cut::AtItsEnd(error)) => return self.note(&error),
                Err(Cut::Wrong(_)) => return,
            }
        }
    }

    async fn transaction(&self, client: &Client, numbers: [i64; 2]) -> Result<(), Cut> {
        client.simple_query("begin").await?;
        let insert =
            client.prepare("insert into ledger values ($1, $2) returning id, writer").await?;
        for number in numbers {
            let row = client.query_one(&insert, &[&number, &self.number]).await?;
            let told: (i64, i32) = (row.get(0), row.get(1));
            if told != (number, self.number) {
                return Err(Cut::Wrong(format!("{told:?} for {number} of {}", self.number)));
            }
        }
        let own = "select id from ledger where writer = $1 and id >= $2 order by id";
        let rows = client.query(own, &[&self.number, &numbers[0]]).await?;
        let found: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        if found != numbers {
            return Err(Cut::Wrong(format!("{found:?} for {numbers:?} of {}", self.number)));
        }
        client.simple_query("commit").await.map(drop).map_err(Cut::AtItsEnd)
    }

    /// Only what a cut explains may go wrong.
    fn note(&self, error: &Error) {
        let mut books = self.shared.books.lock().unwrap();
        let text = match error.code() {
            Some(code) => format!("{}: {error:?}", code.code()),
            None => format!("{error:?}"),
        };
        let by_a_cut = match error.code() {
            // Connections that fail, servers that go or start.
            Some(code) => ["08", "57P0"].iter().any(|class| code.code().starts_with(class)),
            None => error.is_closed() || is_broken(error),
        };
        if !by_a_cut {
            books.wrong.push(text.clone());
        }
        books.errors.push(text);
    }
}

/// Whether the socket broke off.
fn is_broken(error: &Error) -> bool {
    use io::ErrorKind as Kind;
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref());
    let broken = |error: &io::Error| {
        matches!(
            error.kind(),
            Kind::BrokenPipe
                | Kind::ConnectionAborted
                | Kind::ConnectionReset
                | Kind::UnexpectedEof
        )
    };
    source.is_some_and(broken)
}
