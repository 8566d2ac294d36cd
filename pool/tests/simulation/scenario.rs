//! What a seed stands for: limits, modes, who there is and what goes wrong.

use std::{fmt::Write as _, path::Path};

/// SplitMix64: the same numbers for the same seed, on every machine.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    /// `stream` tells those of one seed apart.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut dice = Self(seed ^ stream.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        dice.next();
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// True once in so many times.
    pub(super) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Session,
    Transaction,
    Statement,
}

/// Databases there are. Few seeds have clients of the second.
pub(super) const DATABASES: [&str; 2] = ["app", "etc"];

/// Users there are.
const USERS: usize = 3;

/// A pool, by the numbers of what it is called by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Pool {
    pub(super) database: usize,
    pub(super) user: usize,
}

/// What a reload may change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) mode: Mode,
    pub(super) pool_size: usize,
    pub(super) reserve: usize,
    pub(super) database: Option<usize>,
}

#[derive(Debug, Clone)]
pub(super) struct Scenario {
    pub(super) seed: u64,
    pub(super) shards: usize,
    /// At the beginning.
    pub(super) limits: Limits,
    /// The pool of each client.
    pub(super) clients: Vec<Pool>,
    /// What each client does, in turns.
    pub(super) turns: u64,
    pub(super) least: usize,
    pub(super) logins: usize,
    /// Likewise, of all pools.
    pub(super) entries: usize,
    pub(super) statements: usize,
    pub(super) wait_timeout: Option<u64>,
    pub(super) waiting: Option<usize>,
    pub(super) idle_transaction_timeout: Option<u64>,
    pub(super) query_timeout: Option<u64>,
    /// Milliseconds that a server takes to let the pool in.
    pub(super) login_takes: u64,
    /// Logins that a server refuses first.
    pub(super) refusals: u64,
    /// Servers are killed.
    pub(super) kills: bool,
    /// Clients leave in the middle of things.
    pub(super) vanishing: bool,
    /// Clients cancel.
    pub(super) cancels: bool,
    /// Clients make what belongs to their session.
    pub(super) keeps: bool,
    /// The pool refuses that.
    pub(super) refuses: bool,
    /// Servers are reset behind sessions whether there is a need or not.
    pub(super) resets: bool,
    /// Clients listen and notify.
    pub(super) listens: bool,
    /// Operators give orders.
    pub(super) orders: bool,
    /// Limits are changed.
    pub(super) reloads: bool,
    /// And with them whether clients have servers to themselves.
    pub(super) switches: bool,
}

impl Limits {
    fn draw(dice: &mut Dice, modes: &[Mode]) -> Self {
        Self {
            mode: dice.pick(modes),
            pool_size: dice.pick(&[1, 1, 2, 3]),
            reserve: dice.pick(&[0, 0, 1]),
            database: dice.pick(&[None, None, Some(1), Some(2)]),
        }
    }

    /// Servers that a pool may have.
    pub(super) fn most(&self) -> usize {
        self.pool_size + self.reserve
    }
}

impl Scenario {
    pub(super) fn draw(seed: u64) -> Self {
        let mut dice = Dice::new(seed, 0);
        let (users, databases) = (1 + dice.below(3), if dice.once_in(4) { 2 } else { 1 });
        let clients = 1 + dice.below(10);
        let pool = |dice: &mut Dice| Pool {
            database: dice.below(databases) as usize,
            user: dice.below(users) as usize,
        };
        let sometimes = |dice: &mut Dice, of: &[u64]| {
            let one = dice.pick(of);
            dice.once_in(5).then_some(one)
        };
        let modes = [Mode::Transaction, Mode::Transaction, Mode::Session, Mode::Statement];
        let limits = Limits::draw(&mut dice, &modes);
        let (keeps, reloads) = (dice.once_in(3), dice.once_in(3));
        let switches = reloads && limits.mode != Mode::Statement && dice.once_in(2);
        let has_sessions = switches || limits.mode == Mode::Session;
        Self {
            seed,
            shards: if dice.once_in(6) { 2 } else { 1 },
            limits,
            clients: (0..clients).map(|_| pool(&mut dice)).collect(),
            turns: 1 + dice.below(10),
            least: dice.pick(&[0, 0, 1]),
            logins: dice.pick(&[1, 2, 8]),
            entries: dice.pick(&[1, 3, 32]),
            statements: dice.pick(&[1, 2, 200]),
            wait_timeout: sometimes(&mut dice, &[200, 600]),
            waiting: sometimes(&mut dice, &[0, 1, 3]).map(|most| most as usize),
            idle_transaction_timeout: sometimes(&mut dice, &[50, 200]),
            query_timeout: sometimes(&mut dice, &[60, 200]),
            login_takes: dice.pick(&[0, 0, 20, 100]),
            refusals: dice.pick(&[0, 0, 0, 2]),
            kills: dice.once_in(4),
            vanishing: dice.once_in(2),
            cancels: dice.once_in(2),
            keeps,
            refuses: keeps && !has_sessions && dice.once_in(4),
            resets: has_sessions || dice.once_in(2),
            listens: dice.once_in(4),
            orders: dice.once_in(3),
            reloads,
            switches,
        }
    }

    /// Whether clients may have servers to themselves at some time.
    pub(super) fn has_sessions(&self) -> bool {
        self.switches || self.limits.mode == Mode::Session
    }

    /// Whether it may be that nobody can be listened for.
    pub(super) fn may_be_deaf(&self) -> bool {
        let limited = self.reloads || self.limits.database.is_some();
        self.kills || self.refusals > 0 || self.orders || limited
    }

    /// What a reload changes the limits to.
    pub(super) fn redraw(&self, dice: &mut Dice) -> Limits {
        let modes = [Mode::Transaction, Mode::Session];
        let drawn = Limits::draw(dice, &modes);
        let mode = if self.switches { drawn.mode } else { self.limits.mode };
        Limits { mode, ..drawn }
    }

    pub(super) fn config(&self, limits: &Limits, folder: &Path) -> String {
        let folder = folder.display();
        let mode = match limits.mode {
            Mode::Session => "session",
            Mode::Transaction => "transaction",
            Mode::Statement => "statement",
        };
        let mut text = format!(
            "[runtime]\nshards = {}\npin = false\nbuffer_size = \"4KiB\"\ncoalesce = \"0s\"\n\
             [listeners.db]\nbind = [\"unix:{folder}/pool\"]\nprotocol = \"postgres\"\n\
             [postgres]\nauth = \"trust\"\npool_mode = \"{mode}\"\npool_size = {}\n\
             reserve_pool_size = {}\nreserve_pool_delay = \"100ms\"\nmin_pool_size = {}\n\
             max_concurrent_logins = {}\nmax_concurrent_server_logins = {}\n\
             max_prepared_statements = {}\n\
             server_idle_timeout = \"2s\"\nserver_lifetime = \"4s\"\n",
            self.shards,
            limits.pool_size,
            limits.reserve,
            self.least,
            self.logins,
            self.entries,
            self.statements,
        );
        let mut key = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                writeln!(text, "{name} = {value}").expect("a string takes it");
            }
        };
        let duration = |milliseconds: u64| format!("\"{milliseconds}ms\"");
        key("max_database_connections", limits.database.map(|limit| limit.to_string()));
        key("max_waiting_clients", self.waiting.map(|limit| limit.to_string()));
        key("wait_timeout", Some(duration(self.wait_timeout.unwrap_or(600_000))));
        key("idle_transaction_timeout", self.idle_transaction_timeout.map(duration));
        key("query_timeout", self.query_timeout.map(duration));
        key("reset_query", (!self.resets).then(|| "\"\"".into()));
        let kept =
            ["advisory_locks", "temporary_tables", "hold_cursors", "sql_prepared_statements"];
        for name in kept {
            key(name, self.refuses.then(|| "\"refuse\"".into()));
        }
        for user in 0..USERS {
            writeln!(text, "[postgres.users.u{user}]").expect("a string takes it");
        }
        for name in DATABASES {
            writeln!(text, "[postgres.databases.{name}]\nhost = \"{folder}\"\nport = 5432")
                .expect("a string takes it");
        }
        text
    }

    /// Codes of errors that the pool may end a client with.
    pub(super) fn allows(&self, sqlstate: &str) -> bool {
        match sqlstate {
            "57014" => self.wait_timeout.is_some() || self.query_timeout.is_some(),
            "53300" => self.waiting.is_some(),
            // A limit was lowered to where nobody can be listened for.
            "53400" => self.listens && self.reloads,
            "25P03" => self.idle_transaction_timeout.is_some(),
            "57P01" | "08001" | "08003" | "08006" => self.kills,
            "57P03" => self.refusals > 0,
            _ => false,
        }
    }
}
