//! The listening connection of a database: the users that share it, and the limits it is under.

use std::time::Duration;

use bs9_api::types::{OrderPools, PoolOrder};
use bs9_config::{Config, Database};

use super::{past, run, told};
use crate::postgres::{Cluster, Dialogue, Pooler, eventually};

/// A database of the test's own that clients call `app`, with users `NAME_one` and `NAME_two`.
struct Own {
    name: &'static str,
    pooler: Pooler,
}

fn database(config: &mut Config) -> &mut Database {
    config.postgres.as_mut().unwrap().databases.get_mut("app").unwrap()
}

fn at_most(limit: usize) -> impl FnOnce(&mut Config) {
    move |config| database(config).limits.max_connections = Some(limit)
}

impl Own {
    fn start(name: &'static str, change: impl FnOnce(&mut Config)) -> Self {
        Cluster::shared().sql(&format!(
            "DROP DATABASE IF EXISTS {name} WITH (FORCE);
             CREATE DATABASE {name}"
        ));
        let pooler = Pooler::with_roles(&Self::users(name), |config| {
            database(config).dbname = Some(name.into());
            change(config);
        });
        Self { name, pooler }
    }

    fn users(name: &str) -> [String; 2] {
        ["one", "two"].map(|user| format!("{name}_{user}"))
    }

    fn reload(&self, change: impl FnOnce(&mut Config)) {
        let mut config = Pooler::config(Cluster::shared());
        Pooler::add_users(&mut config, &Self::users(self.name));
        database(&mut config).dbname = Some(self.name.into());
        change(&mut config);
        self.pooler.reload(config);
    }

    fn user(&self, user: &str) -> String {
        format!("{}_{user}", self.name)
    }

    fn client(&self, user: &str) -> Dialogue {
        Dialogue::log_in(self.pooler.address, &self.user(user), &[])
    }

    /// A client of each user, both of which listen to this channel.
    fn listening(&self, channel: &str) -> [Dialogue; 2] {
        ["one", "two"].map(|user| {
            let mut client = self.client(user);
            assert_eq!(run(&mut client, &format!("LISTEN {channel}")), "CZ");
            client
        })
    }

    /// Past the pool.
    fn sql(&self, statement: &str) -> String {
        past(self.name, statement)
    }

    fn notify(&self, channel: &str, payload: &str) {
        self.sql(&format!("SELECT pg_notify('{channel}', '{payload}')"));
    }

    /// Server connections there are.
    fn connections(&self) -> usize {
        let count = format!(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = '{}' AND backend_type = 'client backend'",
            self.name
        );
        Cluster::shared().sql(&count).parse().unwrap()
    }

    fn come_down_to(&self, connections: usize) {
        eventually("the others are closed", || self.connections() == connections);
    }

    /// What the console says of that.
    fn counted(&self) -> String {
        let user = "user=alice dbname=pgbouncer";
        let shown = self.pooler.psql(user, "SHOW DATABASES").unwrap();
        let app = shown.lines().find(|line| line.starts_with("app|")).unwrap();
        app.split('|').nth(12).unwrap().to_owned()
    }

    /// Connections that listen to this channel for all: process and user of each.
    fn ears(&self, channel: &str) -> Vec<(String, String)> {
        let query = format!(
            "SELECT pid, usename FROM pg_stat_activity WHERE datname = '{}'
             AND query LIKE '%LISTEN \"{channel}\"%' AND state = 'idle'",
            self.name
        );
        let found = Cluster::shared().sql(&query);
        let pair = |line: &str| line.split_once('|').map(|(a, b)| (a.to_owned(), b.to_owned()));
        found.lines().map(|line| pair(line).unwrap()).collect()
    }

    /// Ends the one there is.
    fn end_ear(&self, channel: &str) -> String {
        let ears = self.ears(channel);
        assert_eq!(ears.len(), 1, "{ears:?}");
        let (pid, _) = ears.into_iter().next().unwrap();
        Cluster::shared().sql(&format!("SELECT pg_terminate_backend({pid}, 20000)"));
        pid
    }

    /// How often clients of this user were tied to a server for what they listen to.
    fn pins(&self, user: &str) -> u64 {
        let pins = self.pooler.status(&self.user(user)).pins_total;
        pins.iter().filter(|pin| pin.reason == "listen").map(|pin| pin.count).sum()
    }

    fn pinned(&self) -> (u64, u64) {
        (self.pins("one"), self.pins("two"))
    }
}

fn both_hear(clients: [&mut Dialogue; 2], payload: &str) {
    for client in clients {
        assert_eq!(told(&client.receive()).1, payload);
    }
}

fn payload(client: &mut Dialogue) -> Vec<u8> {
    let reply = client.receive();
    let _is_a_notification = told(&reply);
    reply.body.split(|byte| *byte == 0).rev().nth(1).unwrap().to_vec()
}

// === Users ===

#[test]
fn clients_of_all_users_share_one_connection() {
    let own = Own::start("ln_users", |_| {});
    let [mut one, mut two] = own.listening("everyone");
    let ears = own.ears("everyone");
    assert_eq!((ears.len(), ears[0].1.as_str()), (1, "ln_users_one"));
    assert_eq!(own.connections(), 3, "that, and a server of each");
    assert_eq!(own.counted(), "3");
    own.notify("everyone", "x");
    both_hear([&mut one, &mut two], "x");
    run(&mut one, "UNLISTEN *");
    own.notify("everyone", "y");
    assert_eq!(told(&two.receive()).1, "y");
    assert_eq!(one.value("SELECT 'nothing came'"), "nothing came");
    assert_eq!(own.pinned(), (0, 0));
}

#[test]
fn when_one_user_cannot_log_in_another_does() {
    let own = Own::start("ln_heirs", |_| {});
    let [mut one, mut two] = own.listening("heirs");
    assert_eq!(own.ears("heirs")[0].1, "ln_heirs_one");
    Cluster::shared().sql("ALTER ROLE ln_heirs_one NOLOGIN");
    own.end_ear("heirs");
    eventually("another listens", || {
        own.ears("heirs").first().is_some_and(|(_, user)| user == "ln_heirs_two")
    });
    own.notify("heirs", "x");
    both_hear([&mut one, &mut two], "x");
    // It goes on when its clients leave, and is made anew as one of those who are left.
    drop(two);
    own.pooler.wait_for("ln_heirs_two", "it has left", |pool| pool.clients_active == 0);
    own.notify("heirs", "y");
    assert_eq!(told(&one.receive()).1, "y");
    Cluster::shared().sql("ALTER ROLE ln_heirs_one LOGIN");
    own.end_ear("heirs");
    eventually("the first listens again", || {
        own.ears("heirs").first().is_some_and(|(_, user)| user == "ln_heirs_one")
    });
    own.notify("heirs", "z");
    assert_eq!(told(&one.receive()).1, "z");
}

#[test]
fn every_user_is_tried_before_anybody_is_refused() {
    let own = Own::start("ln_rounds", |_| {});
    let [_one, mut two] = own.listening("rounds");
    run(&mut two, "BEGIN");
    run(&mut two, "LISTEN another");
    Cluster::shared().sql("ALTER ROLE ln_rounds_one NOLOGIN");
    // Whoever asks in the pause waits for the end of it.
    let order = |order, timeout_seconds| {
        let database = Some("app".to_owned());
        own.pooler.operate(&OrderPools { order, database, timeout_seconds })
    };
    order(PoolOrder::Pause, Some(0.05)).unwrap_err();
    own.pooler.wait_for("ln_rounds_one", "the loss", |pool| pool.listener_losses_total == 1);
    two.query("COMMIT");
    own.pooler.wait_for("ln_rounds_two", "the commit", |pool| pool.queries_total == 4);
    order(PoolOrder::Resume, None).unwrap();
    assert_eq!(two.tags_until_ready(), "CZ");
    let ears = own.ears("another");
    assert_eq!((ears.len(), ears[0].1.as_str()), (1, "ln_rounds_two"));
    own.notify("another", "x");
    assert_eq!(told(&two.receive()).1, "x");
    assert_eq!(own.pinned(), (0, 0));
}

#[test]
fn it_is_shared_though_nobody_has_logged_in_again_since_an_order() {
    let own = Own::start("ln_orders", |_| {});
    let [mut one, mut two] = ["one", "two"].map(|user| own.client(user));
    run(&mut one, "LISTEN before");
    for client in [&mut one, &mut two] {
        run(client, "BEGIN");
        run(client, "LISTEN after");
    }
    let order = PoolOrder::Reconnect;
    own.pooler.operate(&OrderPools { order, database: None, timeout_seconds: None }).unwrap();
    for client in [&mut one, &mut two] {
        assert_eq!(run(client, "COMMIT"), "CZ");
    }
    own.notify("after", "x");
    both_hear([&mut one, &mut two], "x");
    assert_eq!(own.pinned(), (0, 0));
}

#[test]
fn who_comes_when_nobody_can_log_in_is_asked_for_its_own() {
    let own = Own::start("ln_late", |_| {});
    let [mut one, mut two] = ["one", "two"].map(|user| own.client(user));
    for client in [&mut one, &mut two] {
        assert_eq!(client.value("SELECT 1"), "1");
    }
    Cluster::shared().sql("ALTER ROLE ln_late_one NOLOGIN");
    run(&mut one, "LISTEN late");
    assert_eq!(own.pinned(), (1, 0), "its server listens");
    run(&mut two, "LISTEN late");
    assert_eq!(own.pinned(), (1, 0));
    own.notify("late", "x");
    both_hear([&mut one, &mut two], "x");
}

#[test]
fn everybody_hears_in_the_encoding_it_speaks() {
    let own = Own::start("ln_words", |_| {});
    Cluster::shared().sql("ALTER ROLE ln_words_one SET client_encoding = 'LATIN1'");
    let [mut one, mut two] = ["one", "two"].map(|user| own.client(user));
    // The first decides.
    run(&mut one, "LISTEN words");
    run(&mut two, "LISTEN words");
    assert_eq!(own.pinned(), (0, 1));
    let speak = || own.sql("SELECT pg_notify('words', chr(228))");
    speak();
    assert_eq!(payload(&mut one), b"\xe4");
    assert_eq!(payload(&mut two), "ä".as_bytes());
    drop(one);
    own.pooler.wait_for("ln_words_one", "it has left", |pool| pool.clients_active == 0);
    let mut three = own.client("two");
    run(&mut three, "LISTEN words");
    assert_eq!(own.pinned(), (0, 1), "nobody is left who speaks otherwise");
    // What its user begins with by now is another matter.
    Cluster::shared().sql("ALTER ROLE ln_words_two SET client_encoding = 'LATIN1'");
    let old = own.end_ear("words");
    eventually("another listens", || own.ears("words").first().is_some_and(|(pid, _)| *pid != old));
    speak();
    assert_eq!(payload(&mut three), "ä".as_bytes());
}

#[test]
fn who_turns_to_another_encoding_hears_in_that() {
    let own = Own::start("ln_recoded", |_| {});
    let mut client = own.client("one");
    run(&mut client, "LISTEN words");
    let speak = || own.sql("SELECT pg_notify('words', chr(228))");
    speak();
    assert_eq!(payload(&mut client), "ä".as_bytes());
    run(&mut client, "SET client_encoding = 'LATIN1'");
    assert_eq!(own.pinned(), (1, 0));
    speak();
    assert_eq!(payload(&mut client), b"\xe4");
}

#[test]
fn a_reload_that_takes_the_database_away_tells_those_who_listen() {
    let own = Own::start("ln_removed", |_| {});
    let mut one = own.client("one");
    run(&mut one, "LISTEN removed");
    own.reload(|config| config.postgres.as_mut().unwrap().databases.clear());
    assert_eq!(one.receive().sqlstate(), "57P01");
    assert_eq!(one.next(), None);
    own.come_down_to(0);
}

// === Limits ===

#[test]
fn the_last_connection_is_not_for_all() {
    let own = Own::start("ln_single", at_most(1));
    let mut one = own.client("one");
    run(&mut one, "LISTEN single");
    assert_eq!((own.pinned(), own.connections()), ((1, 0), 1));
    own.notify("single", "x");
    assert_eq!(told(&one.receive()).1, "x");
    assert_eq!(own.counted(), "1");
}

#[test]
fn it_is_one_of_those_the_database_may_have() {
    let own = Own::start("ln_pair", at_most(2));
    let mut one = own.client("one");
    run(&mut one, "LISTEN pair");
    assert_eq!((own.pinned(), own.connections()), ((0, 0), 2));
    // The other one is everybody's, in turn.
    let mut two = own.client("two");
    run(&mut two, "LISTEN pair");
    for _ in 0..2 {
        for client in [&mut one, &mut two] {
            assert_eq!(client.value("SELECT 1"), "1");
            own.come_down_to(2);
            assert_eq!(own.counted(), "2");
        }
    }
    own.notify("pair", "x");
    both_hear([&mut one, &mut two], "x");
    assert_eq!(own.pinned(), (0, 0));
}

#[test]
fn it_is_one_of_those_its_user_may_have() {
    let own = Own::start("ln_members", |config| {
        let users = &mut config.postgres.as_mut().unwrap().users;
        users.get_mut("ln_members_one").unwrap().limits.max_connections = Some(1);
    });
    let [mut one, mut two] = ["one", "two"].map(|user| own.client(user));
    run(&mut two, "LISTEN members");
    run(&mut one, "LISTEN members");
    assert_eq!((own.pinned(), own.connections()), ((0, 0), 3));
    // Nobody else may take its part, so it is waited for.
    Cluster::shared().sql("ALTER ROLE ln_members_two NOLOGIN");
    own.end_ear("members");
    own.pooler.wait_for("ln_members_two", "the loss", |pool| pool.listener_losses_total == 1);
    let mut late = own.client("one");
    run(&mut late, "LISTEN members");
    assert_eq!(own.pinned(), (1, 0));
    drop(late);
    Cluster::shared().sql("ALTER ROLE ln_members_two LOGIN");
    eventually("it is back", || !own.ears("members").is_empty());
    own.notify("members", "x");
    both_hear([&mut one, &mut two], "x");
}

#[test]
fn servers_that_nobody_uses_make_room_for_it() {
    let own = Own::start("ln_room", at_most(3));
    let mut clients: Vec<_> = (0..3).map(|_| own.client("one")).collect();
    for client in &mut clients {
        run(client, "BEGIN");
    }
    for client in &mut clients {
        run(client, "COMMIT");
    }
    assert_eq!(own.connections(), 3);
    run(&mut clients[0], "LISTEN room");
    assert_eq!(own.pinned(), (0, 0));
    // Two shards may each have closed one.
    eventually("the others are closed", || own.connections() <= 3);
    assert_eq!(own.ears("room").len(), 1);
}

#[test]
fn it_gives_way_when_nobody_listens() {
    let own = Own::start("ln_way", |config| {
        at_most(2)(config);
        // Less than it lingers.
        config.postgres.as_mut().unwrap().wait_timeout = Duration::from_secs(6);
    });
    let mut one = own.client("one");
    run(&mut one, "LISTEN way");
    assert_eq!(own.ears("way").len(), 1);
    drop(one);
    let mut busy = [own.client("one"), own.client("one")];
    for client in &mut busy {
        assert_eq!(run(client, "BEGIN"), "CZ");
    }
    eventually("nobody listens", || own.ears("way").is_empty());
}

#[test]
fn its_place_is_given_back_in_the_end() {
    let own = Own::start("ln_end", at_most(2));
    let mut one = own.client("one");
    run(&mut one, "LISTEN the_end");
    assert_eq!(own.counted(), "2");
    drop(one);
    eventually("nobody listens any more", || own.counted() == "1");
    own.come_down_to(1);
}

#[test]
fn it_keeps_its_place_when_it_is_lost() {
    let own = Own::start("ln_kept", at_most(2));
    let [mut one, mut holder, mut waiting] = ["one"; 3].map(|user| own.client(user));
    run(&mut one, "LISTEN kept");
    run(&mut holder, "BEGIN");
    waiting.query("BEGIN");
    own.pooler.wait_for("ln_kept_one", "it waits", |pool| pool.clients_waiting == 1);
    let old = own.end_ear("kept");
    eventually("it is back", || own.ears("kept").first().is_some_and(|(pid, _)| *pid != old));
    assert_eq!(own.pooler.status("ln_kept_one").clients_waiting, 1);
    own.notify("kept", "x");
    assert_eq!(told(&one.receive()).1, "x");
    run(&mut holder, "COMMIT");
    assert_eq!(waiting.tags_until_ready(), "CZ");
}

#[test]
fn a_lower_limit_disconnects_those_who_listen() {
    let own = Own::start("ln_lower", at_most(3));
    let mut one = own.client("one");
    run(&mut one, "LISTEN lower");
    own.reload(at_most(1));
    assert_eq!(one.receive().sqlstate(), "53400");
    assert_eq!(one.next(), None);
    let mut again = own.client("one");
    run(&mut again, "LISTEN lower");
    own.come_down_to(1);
    own.notify("lower", "x");
    assert_eq!(told(&again.receive()).1, "x");
    assert_eq!(own.pinned(), (1, 0));
}
