//! The same bytes sent to PostgreSQL and to the pool: the same replies, message by message.
//!
//! Dialogues are recorded (`dialogues/*.txt`), combined from statements and ways to send them
//! ([`matrix`]), and made up at random ([`random`]; `BS9_SEED=` repeats one). Each is played to the
//! server, and then through pools of one mode after the other, in one piece and in many, with
//! other clients' work between two transactions. Everything that is said is compared, but for
//! numbers of tables and of notifying processes ([`play`]).

mod matrix;
mod play;
mod random;
mod script;

use std::net::SocketAddr;

use bs9_config::{PoolMode, Stateful};

use crate::postgres::{Cluster, Dialogue, Pooler, batch};
use play::{Heard, Player};
use script::{Needs, Script};

/// A server and pools in front of it, with a user and tables of their own.
struct Stage {
    role: String,
    mode: PoolMode,
    /// Past the pool, as who may do everything.
    control: Dialogue,
    direct: Option<Dialogue>,
}

/// How a pool is set up, and what is done to it.
struct Setting {
    size: usize,
    /// Statements that a server connection may have.
    statements: usize,
    /// What would tie a client to its server is ignored: it is the only one.
    ignores: bool,
    /// Others use the server between two transactions.
    disturbed: bool,
    /// Bytes that are sent at once.
    piece: Option<usize>,
}

/// Dialogues that go otherwise where a server has no room for a client's statements: what a
/// statement's name stood for is then prepared again from its text.
const NEED_ROOM: &[&str] = &[
    // It works, where a server of one's own refuses.
    "a result that cannot be changed unseen",
];

impl Setting {
    fn has_room(&self) -> bool {
        self.statements > 1
    }

    /// Whether that is the same. Where statements are closed to make room for others, there is one
    /// more reason to fail: in a failed transaction none is prepared again, however else it would
    /// have failed.
    fn allows(&self, heard: &Heard, wanted: &Heard) -> bool {
        let refused = |line: &str| line.starts_with("E ") && line.contains("C25P02");
        let same = |(heard, wanted): (&String, &String)| {
            let prepares_again = !self.has_room() && refused(heard) && wanted.starts_with("E ");
            heard == wanted || prepares_again
        };
        heard.len() == wanted.len()
            && heard.iter().zip(wanted).all(|(heard, wanted)| {
                heard.len() == wanted.len() && heard.iter().zip(wanted).all(same)
            })
    }
}

/// Told before each dialogue, past the pool.
const SCENE: &str = "\
    DELETE FROM sink; DELETE FROM children; DELETE FROM things; \
    INSERT INTO things VALUES (1, 'one', 1.5), (2, 'two', NULL), (3, 'three', 3.25); \
    ALTER SEQUENCE tickets RESTART";

fn stage_setup(role: &str) -> String {
    format!(
        "DROP SCHEMA IF EXISTS {role} CASCADE; DROP ROLE IF EXISTS {role}; \
         CREATE ROLE {role} LOGIN; CREATE SCHEMA {role} AUTHORIZATION {role}; \
         SET SESSION AUTHORIZATION {role}; SET search_path = {role}; \
         SET client_min_messages = warning; \
         CREATE TABLE things (id int PRIMARY KEY, label text NOT NULL, amount numeric); \
         CREATE TABLE sink (n int CHECK (n < 1000), note text); \
         CREATE TABLE children (thing int REFERENCES things DEFERRABLE INITIALLY DEFERRED); \
         CREATE TYPE mood AS ENUM ('sad', 'happy'); \
         CREATE SEQUENCE tickets; \
         CREATE FUNCTION shout(t text) RETURNS text LANGUAGE plpgsql AS \
            $$ BEGIN RAISE NOTICE '%!', t; RAISE WARNING 'hoarse' USING HINT = 'rest'; \
               RETURN upper(t); END $$; \
         CREATE FUNCTION fail(code text) RETURNS int LANGUAGE plpgsql AS \
            $$ BEGIN RAISE EXCEPTION 'failed on purpose' USING ERRCODE = code, \
               DETAIL = 'a detail', HINT = 'a hint', SCHEMA = 's', TABLE = 't', COLUMN = 'c', \
               DATATYPE = 'd', CONSTRAINT = 'k'; END $$; \
         RESET SESSION AUTHORIZATION"
    )
}

impl Stage {
    /// Roles are named after tests, so that these can run at the same time.
    fn new(name: &str, mode: PoolMode) -> Self {
        let role = format!("teller_{name}");
        let mut control = Dialogue::log_in(Cluster::shared().address(), "alice", &[]);
        // An earlier run may have been cut off in the middle.
        control.query(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'"
        ));
        control.until_ready();
        for statement in [&*stage_setup(&role), SCENE] {
            control.query(statement);
            let replies = control.until_ready();
            assert!(replies.iter().all(|reply| reply.tag != 'E'), "{replies:?}");
        }
        Self { role, mode, control, direct: None }
    }

    fn set_scene(control: &mut Dialogue) {
        control.query(SCENE);
        let replies = control.until_ready();
        assert!(replies.iter().all(|reply| reply.tag != 'E'), "{replies:?}");
    }

    fn pool(&self, setting: &Setting) -> Pooler {
        let cluster = Cluster::shared();
        let text = format!("{}[postgres.users.{}]\n", Pooler::text(cluster), self.role);
        Pooler::in_front_of(cluster, |config| {
            *config = Pooler::parse(cluster.path(), &text);
            let postgres = config.postgres.as_mut().unwrap();
            postgres.max_prepared_statements = setting.statements;
            if setting.ignores {
                let state = &mut postgres.session_state;
                state.advisory_locks = Stateful::Ignore;
                state.temporary_tables = Stateful::Ignore;
                state.hold_cursors = Stateful::Ignore;
                state.sql_prepared_statements = Stateful::Ignore;
            }
            let database = postgres.databases.get_mut("app").unwrap();
            (database.pool_mode, database.pool_size) = (self.mode, setting.size);
        })
    }

    /// What the server says itself.
    fn listen_directly(&mut self, scripts: &[Script]) -> Vec<Heard> {
        let play = |script| {
            let client = match self.direct.take() {
                Some(client) => client,
                None => Dialogue::log_in(Cluster::shared().address(), &self.role, &[]),
            };
            let (heard, mut client, idle) = perform(
                &mut self.control,
                &self.role,
                client,
                Cluster::shared().address(),
                None,
                &mut || {},
                script,
            );
            if idle {
                client.query("DISCARD ALL");
                assert_eq!(client.tags_until_ready().trim_start_matches('S'), "CZ");
                self.direct = Some(client);
            }
            heard
        };
        scripts.iter().map(play).collect()
    }

    fn compare(&mut self, scripts: &[Script], settings: &[Setting]) {
        let wanted = self.listen_directly(scripts);
        for setting in settings {
            let pooler = self.pool(setting);
            let mut other = setting.disturbed.then(|| Other::new(pooler.address, &self.role));
            let mut between = || other.iter_mut().for_each(Other::disturb);
            let mut differences = Vec::new();
            let fits = |script: &Script| setting.has_room() || !NEED_ROOM.contains(&&*script.name);
            for (script, wanted) in scripts.iter().zip(&wanted).filter(|pair| fits(pair.0)) {
                let client = Dialogue::log_in(pooler.address, &self.role, &[]);
                let address = pooler.address;
                let (control, role) = (&mut self.control, &self.role);
                let (heard, ..) =
                    perform(control, role, client, address, setting.piece, &mut between, script);
                if !setting.allows(&heard, wanted) {
                    differences.push(difference(script, &heard, wanted));
                }
            }
            let count = differences.len();
            differences.truncate(20);
            assert!(
                differences.is_empty(),
                "{count} of {} differ with {} servers, {} statements, pieces of {:?}:\n{}",
                scripts.len(),
                setting.size,
                setting.statements,
                setting.piece,
                differences.join("\n")
            );
        }
    }
}

/// Plays one dialogue on a fresh scene.
fn perform(
    control: &mut Dialogue,
    role: &str,
    client: Dialogue,
    address: SocketAddr,
    piece: Option<usize>,
    between: &mut dyn FnMut(),
    script: &Script,
) -> (Heard, Dialogue, bool) {
    Stage::set_scene(control);
    let sleeps = format!(
        "SELECT count(*) FROM pg_stat_activity \
         WHERE usename = '{role}' AND state = 'active' AND wait_event = 'PgSleep'"
    );
    let mut asleep = || control.value(&sleeps) == "1";
    let mut player = Player { client, address, piece, asleep: &mut asleep, between };
    let (heard, idle) = player.play(script);
    (heard, player.client, idle)
}

fn difference(script: &Script, heard: &Heard, wanted: &Heard) -> String {
    let step = heard.iter().zip(wanted).position(|(heard, wanted)| heard != wanted);
    let step = step.unwrap_or(heard.len().min(wanted.len()));
    let show = |heard: &Heard| {
        let lines = heard.get(step).map(|lines| lines.join("\n    "));
        lines.unwrap_or_else(|| "nothing".into())
    };
    let (sent, name) =
        (&script.steps.get(step).map(|step| step.bytes.escape_ascii()), &script.name);
    let sent = sent.as_ref().map(ToString::to_string).unwrap_or_default();
    format!(
        "= {name}, step {step}: {sent}\n  by the pool:\n    {}\n  by the server:\n    {}",
        show(heard),
        show(wanted)
    )
}

/// A client that leaves a server other than it was: with other statements, and other settings.
struct Other {
    client: Dialogue,
    turn: usize,
}

impl Other {
    fn new(address: SocketAddr, role: &str) -> Self {
        let settings = [("application_name", "other"), ("extra_float_digits", "2")];
        Self { client: Dialogue::log_in(address, role, &settings), turn: 0 }
    }

    fn disturb(&mut self) {
        self.turn += 1;
        let text = format!("SELECT 'disturbance {}'", self.turn % 7);
        let name = format!("d{}", self.turn);
        self.client.send(&batch().parse(&name, &text).parse("", &text).run(&name, &[]).sync().0);
        assert_eq!(self.client.tags_until_ready(), "112DCZ");
        self.client.send(&batch().close(&name).sync().0);
        assert_eq!(self.client.tags_until_ready(), "3Z");
    }
}

fn recorded() -> Vec<Script> {
    let files = [
        include_str!("dialogues/simple.txt"),
        include_str!("dialogues/extended.txt"),
        include_str!("dialogues/errors.txt"),
        include_str!("dialogues/copy.txt"),
        include_str!("dialogues/session.txt"),
    ];
    files.into_iter().flat_map(Script::read_all).collect()
}

/// Those that a mode allows.
fn all(most: Needs) -> Vec<Script> {
    let mut scripts = recorded();
    scripts.extend(matrix::all());
    scripts.retain(|script| script.needs <= most);
    scripts
}

const ALONE: Setting =
    Setting { size: 2, statements: 200, ignores: false, disturbed: false, piece: None };
/// A single server, which others use, too.
const SHARED: Setting = Setting { size: 1, ignores: true, disturbed: true, ..ALONE };

#[test]
fn there_are_enough() {
    for (needs, least) in
        [(Needs::Statement, 300), (Needs::Transaction, 450), (Needs::Session, 500)]
    {
        let count = all(needs).len();
        assert!(count >= least, "{count} of {least} for {needs:?}");
    }
}

#[test]
fn replies_in_session_mode_are_the_servers() {
    let mut stage = Stage::new("session", PoolMode::Session);
    let settings = [ALONE, Setting { piece: Some(41), ..ALONE }];
    stage.compare(&all(Needs::Session), &settings);
}

#[test]
fn replies_in_transaction_mode_are_the_servers() {
    let mut stage = Stage::new("transaction", PoolMode::Transaction);
    let settings = [ALONE, SHARED, Setting { statements: 1, piece: Some(37), ..SHARED }];
    stage.compare(&all(Needs::Transaction), &settings);
}

#[test]
fn replies_in_statement_mode_are_the_servers() {
    let mut stage = Stage::new("statement", PoolMode::Statement);
    stage.compare(&all(Needs::Statement), &[SHARED, Setting { piece: Some(29), ..SHARED }]);
}

#[test]
fn replies_to_whatever_is_made_up_are_the_servers_in_session_mode() {
    let mut stage = Stage::new("session_random", PoolMode::Session);
    stage.compare(&random::scripts(Needs::Transaction), &[ALONE]);
}

#[test]
fn replies_to_whatever_is_made_up_are_the_servers_in_transaction_mode() {
    let mut stage = Stage::new("transaction_random", PoolMode::Transaction);
    let settings = [SHARED, Setting { statements: 1, piece: Some(11), ..SHARED }];
    stage.compare(&random::scripts(Needs::Transaction), &settings);
}

#[test]
fn replies_to_whatever_is_made_up_are_the_servers_in_statement_mode() {
    let mut stage = Stage::new("statement_random", PoolMode::Statement);
    stage.compare(&random::scripts(Needs::Statement), &[SHARED]);
}
