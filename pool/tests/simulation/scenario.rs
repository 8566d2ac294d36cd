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

#[derive(Debug, Clone)]
pub(super) struct Scenario {
    pub(super) seed: u64,
    pub(super) mode: Mode,
    /// The user of each client.
    pub(super) clients: Vec<usize>,
    /// What each client does, in turns.
    pub(super) turns: u64,
    pub(super) pool_size: usize,
    pub(super) reserve: usize,
    pub(super) least: usize,
    pub(super) database: Option<usize>,
    pub(super) logins: usize,
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
}

impl Scenario {
    pub(super) fn draw(seed: u64) -> Self {
        let mut dice = Dice::new(seed, 0);
        let users = 1 + dice.below(3);
        let clients = 1 + dice.below(10);
        let sometimes = |dice: &mut Dice, of: &[u64]| {
            let one = dice.pick(of);
            dice.once_in(5).then_some(one)
        };
        Self {
            seed,
            mode: dice.pick(&[
                Mode::Transaction,
                Mode::Transaction,
                Mode::Session,
                Mode::Statement,
            ]),
            clients: (0..clients).map(|_| dice.below(users) as usize).collect(),
            turns: 1 + dice.below(10),
            pool_size: dice.pick(&[1, 1, 2, 3]),
            reserve: dice.pick(&[0, 0, 1]),
            least: dice.pick(&[0, 0, 1]),
            database: dice.pick(&[None, None, Some(1), Some(2)]),
            logins: dice.pick(&[1, 2, 8]),
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
        }
    }

    pub(super) fn config(&self, folder: &Path) -> String {
        let folder = folder.display();
        let mode = match self.mode {
            Mode::Session => "session",
            Mode::Transaction => "transaction",
            Mode::Statement => "statement",
        };
        let mut text = format!(
            "[runtime]\nshards = 1\npin = false\nbuffer_size = \"4KiB\"\ncoalesce = \"0s\"\n\
             [listeners.db]\nbind = [\"unix:{folder}/pool\"]\nprotocol = \"postgres\"\n\
             [postgres]\nauth = \"trust\"\npool_mode = \"{mode}\"\npool_size = {}\n\
             reserve_pool_size = {}\nreserve_pool_delay = \"100ms\"\nmin_pool_size = {}\n\
             max_concurrent_logins = {}\nmax_prepared_statements = {}\n\
             server_idle_timeout = \"2s\"\nserver_lifetime = \"4s\"\n",
            self.pool_size, self.reserve, self.least, self.logins, self.statements,
        );
        let mut key = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                writeln!(text, "{name} = {value}").expect("a string takes it");
            }
        };
        let duration = |milliseconds: u64| format!("\"{milliseconds}ms\"");
        key("max_database_connections", self.database.map(|limit| limit.to_string()));
        key("max_waiting_clients", self.waiting.map(|limit| limit.to_string()));
        key("wait_timeout", Some(duration(self.wait_timeout.unwrap_or(600_000))));
        key("idle_transaction_timeout", self.idle_transaction_timeout.map(duration));
        key("query_timeout", self.query_timeout.map(duration));
        for user in 0..3 {
            writeln!(text, "[postgres.users.u{user}]").expect("a string takes it");
        }
        text + &format!("[postgres.databases.app]\nhost = \"{folder}\"\nport = 5432\n")
    }

    /// Codes of errors that the pool may end a client with.
    pub(super) fn allows(&self, sqlstate: &str) -> bool {
        match sqlstate {
            "57014" => self.wait_timeout.is_some() || self.query_timeout.is_some(),
            "53300" => self.waiting.is_some(),
            "25P03" => self.idle_transaction_timeout.is_some(),
            "57P01" | "08001" | "08003" | "08006" => self.kills,
            "57P03" => self.refusals > 0,
            _ => false,
        }
    }
}
