//! Clients that write numbers into a table through the pool, and know of each number
//! whether it was acknowledged.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU64, Ordering::SeqCst},
    },
};

use tokio::{runtime::Handle, sync::watch, task::JoinHandle};
use tokio_postgres::{Client, Error, NoTls, error::SqlState};

use super::fixture::{
    DEADLINE, eventually,
    postgres::{PASSWORD, USER},
};

/// The table, and those who write in it.
pub(crate) struct Ledger {
    address: SocketAddr,
    runtime: Handle,
    state: Arc<State>,
    release: watch::Sender<bool>,
    writers: Vec<(Arc<AtomicU64>, JoinHandle<()>)>,
    holders: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    next: AtomicI64,
    open: AtomicU64,
    written: Mutex<Vec<i64>>,
    unclean: Mutex<Vec<String>>,
}

impl State {
    fn number(&self) -> i64 {
        self.next.fetch_add(1, SeqCst)
    }

    fn acknowledged(&self, numbers: &[i64]) {
        self.written.lock().unwrap().extend(numbers);
    }

    fn unclean(&self, what: &str, error: &Error) {
        self.unclean.lock().unwrap().push(format!("{what}: {error:?}"));
    }
}

impl Ledger {
    /// Nobody writes yet. The pool at `address` has the table.
    pub(crate) fn open(address: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        // Ends with the test's process.
        std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        Self {
            address,
            runtime: handle,
            state: Arc::default(),
            release: watch::channel(false).0,
            writers: Vec::new(),
            holders: Vec::new(),
        }
    }

    /// A client that writes two numbers a transaction, until it is refused at the
    /// beginning of one. To be refused later is unclean.
    pub(crate) fn write_in_transactions(&mut self, mode: &str) {
        let (client, state, count) = self.writer(mode);
        let mine = Arc::clone(&count);
        let writer = self.runtime.spawn(async move {
            loop {
                let numbers = [state.number(), state.number()];
                if let Err(error) = client.simple_query("begin").await {
                    return refused(&state, "at the beginning", &error);
                }
                for statement in [insert(numbers[0]), insert(numbers[1]), "commit".to_owned()] {
                    if let Err(error) = client.simple_query(&statement).await {
                        return state.unclean(&statement, &error);
                    }
                }
                state.acknowledged(&numbers);
                mine.fetch_add(1, SeqCst);
            }
        });
        self.writers.push((count, writer));
    }

    /// A client that writes a number a statement, simple and extended in turn.
    pub(crate) fn write_single_statements(&mut self, mode: &str) {
        let (client, state, count) = self.writer(mode);
        let mine = Arc::clone(&count);
        let writer = self.runtime.spawn(async move {
            loop {
                let number = state.number();
                let done = if number % 2 == 0 {
                    client.simple_query(&insert(number)).await.map(|_| ())
                } else {
                    let values = [(&number as _, tokio_postgres::types::Type::INT8)];
                    let text = "insert into ledger values ($1) returning id";
                    client.query_typed(text, &values).await.map(|rows| {
                        assert_eq!(rows[0].get::<_, i64>(0), number, "a wrong row");
                    })
                };
                if let Err(error) = done {
                    return refused(&state, "a statement", &error);
                }
                state.acknowledged(&[number]);
                mine.fetch_add(1, SeqCst);
            }
        });
        self.writers.push((count, writer));
    }

    /// A client that begins a transaction, and ends it when it is [released](Self::release).
    pub(crate) fn hold_a_transaction_open(&mut self, mode: &str) {
        let (client, state, _) = self.writer(mode);
        let mut released = self.release.subscribe();
        self.holders.push(self.runtime.spawn(async move {
            let numbers = [state.number(), state.number()];
            let begin = format!("begin; {}", insert(numbers[0]));
            if let Err(error) = client.simple_query(&begin).await {
                return state.unclean("at the beginning", &error);
            }
            state.open.fetch_add(1, SeqCst);
            released.wait_for(|released| *released).await.expect("the ledger lives");
            for statement in [insert(numbers[1]), "commit".to_owned()] {
                if let Err(error) = client.simple_query(&statement).await {
                    return state.unclean(&statement, &error);
                }
            }
            state.acknowledged(&numbers);
        }));
    }

    fn writer(&self, mode: &str) -> (Client, Arc<State>, Arc<AtomicU64>) {
        let mut config = tokio_postgres::Config::new();
        config.host(self.address.ip().to_string()).port(self.address.port());
        config.user(USER).password(PASSWORD).dbname(mode).connect_timeout(DEADLINE);
        let (client, connection) = self.runtime.block_on(config.connect(NoTls)).unwrap();
        self.runtime.spawn(async move {
            // The client sees the same error.
            let _ended = connection.await;
        });
        (client, Arc::clone(&self.state), Arc::default())
    }

    /// Waits until every writer has had so many acknowledgements.
    #[track_caller]
    pub(crate) fn wait_until_each_wrote(&self, count: u64) {
        eventually("every client writes", || {
            self.writers.iter().all(|(written, _)| written.load(SeqCst) >= count).then_some(())
        });
    }

    #[track_caller]
    pub(crate) fn wait_for_open_transactions(&self, count: u64) {
        eventually("transactions are open", || {
            (self.state.open.load(SeqCst) == count).then_some(())
        });
    }

    #[track_caller]
    pub(crate) fn wait_until_the_others_are_refused(&self) {
        eventually("clients outside a transaction are refused", || {
            self.writers.iter().all(|(_, writer)| writer.is_finished()).then_some(())
        });
    }

    /// Lets the open transactions go on.
    pub(crate) fn release(&self) {
        self.release.send(true).unwrap();
    }

    /// The numbers acknowledged, and what was cut off.
    pub(crate) fn close(self) -> (Vec<i64>, Vec<String>) {
        let writers = self.writers.into_iter().map(|(_, writer)| writer);
        for task in writers.chain(self.holders) {
            self.runtime.block_on(task).expect("a client does not panic");
        }
        let take = |list: &Mutex<Vec<i64>>| std::mem::take(&mut *list.lock().unwrap());
        let unclean = std::mem::take(&mut *self.state.unclean.lock().unwrap());
        (take(&self.state.written), unclean)
    }
}

fn insert(number: i64) -> String {
    format!("insert into ledger values ({number})")
}

/// Clean is to be told that the server shuts down, or to find the connection closed.
fn refused(state: &State, what: &str, error: &Error) {
    if !(error.is_closed() || error.code() == Some(&SqlState::ADMIN_SHUTDOWN)) {
        state.unclean(what, error);
    }
}
