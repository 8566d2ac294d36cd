use proptest::prelude::*;

use super::*;
use crate::{
    budget::Budget,
    part::Part,
    plan::{Plan, ServerUser},
    registry::Shared,
};

fn load(waiting: usize, servers: usize) -> Load {
    Load { waiting, servers }
}

#[test]
fn a_shard_without_waiters_gives_to_the_neediest() {
    assert_eq!(needier_than(0, &[load(0, 5), load(0, 0)]), None);
    assert_eq!(needier_than(0, &[load(0, 5), load(1, 9), load(3, 2)]), Some(2));
    assert_eq!(needier_than(1, &[load(4, 0), load(0, 1)]), Some(0));
}

#[test]
fn a_shard_with_waiters_parts_only_with_what_others_clearly_need_more() {
    assert_eq!(needier_than(0, &[load(100, 10), load(100, 10)]), None);
    assert_eq!(needier_than(0, &[load(100, 10), load(120, 10)]), None);
    assert_eq!(needier_than(0, &[load(100, 19), load(100, 1)]), Some(1));
    assert_eq!(needier_than(0, &[load(100, 10), load(1, 0)]), Some(1));
    // 22 and 64 for a server are worse than 34 and 43, which is where it rests.
    assert_eq!(needier_than(0, &[load(67, 3), load(128, 2)]), Some(1));
    assert_eq!(needier_than(1, &[load(67, 2), load(128, 3)]), None);
    // One server for two shards: in turn.
    assert_eq!(needier_than(0, &[load(10, 1), load(10, 0)]), Some(1));
}

proptest! {
    /// Connections come to rest: where one was just handed over for need, it is not handed back.
    #[test]
    fn nothing_travels_back_and_forth(
        waiting in (1..200usize, 1..200usize),
        servers in (2..50usize, 1..50usize),
    ) {
        let before = [load(waiting.0, servers.0), load(waiting.1, servers.1)];
        if needier_than(0, &before) == Some(1) {
            let after = [load(waiting.0, servers.0 - 1), load(waiting.1, servers.1 + 1)];
            prop_assert_eq!(needier_than(1, &after), None);
        }
    }

    /// Someone who waits is served by a shard with nobody waiting, wherever that is.
    #[test]
    fn idle_servers_always_find_those_who_wait(
        loads in prop::collection::vec((0..3usize, 0..5usize), 2..8),
    ) {
        let mut loads: Vec<_> = loads.into_iter().map(|(w, s)| load(w, s)).collect();
        loads[0].waiting = 0;
        let anyone = loads.iter().any(|load| load.waiting > 0);
        let chosen = needier_than(0, &loads);
        prop_assert_eq!(chosen.is_some(), anyone);
        prop_assert!(chosen.is_none_or(|shard| loads[shard].waiting > 0));
    }
}

pub(crate) fn pool(size: usize, shards: usize) -> Arc<Pool> {
    pool_of(&format!("pool_size = {size}"), shards, [Budget::new(), Budget::new()])
}

fn pool_of(limits: &str, shards: usize, budgets: [Arc<Budget>; 2]) -> Arc<Pool> {
    let text = format!(
        "[postgres.databases.app]\n{limits}\nport = 1\n\
         [listeners.db]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"postgres\"\n"
    );
    let config = Arc::new(bs9_config::parse_str("bs9.toml", &text).unwrap());
    let database = config.postgres.as_ref().unwrap().databases["app"].clone();
    let door = Arc::new(crate::auth::Doorkeeper::new());
    let part = Part::of(&config, bs9_config::Generation(1), shards, None, &door).unwrap();
    let user = ServerUser { name: "alice".into(), secret: None };
    let key = PoolKey { database: "app".into(), user: "alice".into() };
    let plan = Plan::new(&part, &database, &key.database, &user);
    let shared = Shared { budgets, listening: Arc::default() };
    Pool::new(key, plan, false, shards, StatementStore::new(0), shared, Arc::default())
}

#[test]
fn the_limit_is_exact_however_many_shards_try_at_once() {
    let pool = pool(5, 4);
    let most = AtomicUsize::new(0);
    let held = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    let Ok(permit) = pool.permit(Ceiling::Size) else { continue };
                    most.fetch_max(held.fetch_add(1, SeqCst) + 1, SeqCst);
                    held.fetch_sub(1, SeqCst);
                    drop(permit);
                }
            });
        }
    });
    assert!(most.load(SeqCst) <= 5);
    assert_eq!(pool.open(), 0);
    let permits: Vec<_> = std::iter::from_fn(|| pool.permit(Ceiling::Size).ok()).collect();
    assert_eq!(permits.len(), 5);
}

#[test]
fn what_is_kept_for_nobody_gives_way_to_clients_of_others() {
    let shared = Budget::new();
    shared.set_limit(Some(1));
    let beside = |limits| pool_of(limits, 1, [Arc::clone(&shared), Budget::new()]);
    let (keeper, hungry) = (beside("min_pool_size = 1"), beside("pool_size = 1"));
    let kept = keeper.permit(Ceiling::Least).expect("nobody else wants one");
    assert_eq!(hungry.permit(Ceiling::Size).err(), Some(NoPermit::Shared));
    drop(kept);
    // However soon the keeper tries again.
    assert_eq!(keeper.permit(Ceiling::Least).err(), Some(NoPermit::Shared));
    let used = hungry.permit(Ceiling::Size).expect("it was left to it");
    drop(used);
    assert!(keeper.permit(Ceiling::Least).is_ok(), "nobody is hungry any more");
}

#[test]
fn who_listens_counts_under_a_shared_limit_and_leaves_one_to_clients() {
    let shared = Budget::new();
    shared.set_limit(Some(2));
    let pool = pool_of("pool_size = 5", 1, [Arc::clone(&shared), Budget::new()]);
    let listen = || shared.share_to_listen(&pool);
    let server = pool.permit(Ceiling::Size).expect("nobody has one");
    let ear = listen().expect("one is left");
    assert!(ear.has_room() && !ear.is_wanted() && !ear.is_the_last());
    assert!(listen().is_none(), "clients would have none");
    assert_eq!(pool.permit(Ceiling::Size).err(), Some(NoPermit::Shared));
    assert!(ear.is_wanted());
    drop(ear);
    let second = pool.permit(Ceiling::Size).expect("it was given back");
    assert!(!pool.should_yield());
    let ear = listen().expect("others are to make room");
    assert!(!ear.has_room() && pool.should_yield());
    assert_eq!(pool.permit(Ceiling::Size).err(), Some(NoPermit::Shared));
    drop(server);
    assert!(ear.has_room() && !pool.should_yield());
    assert_eq!(pool.permit(Ceiling::Size).err(), Some(NoPermit::Shared), "it is taken");
    shared.set_limit(Some(1));
    assert!(ear.is_the_last());
    drop((second, ear));
    assert!(listen().is_none());
    assert_eq!(shared.listening(), 0);
    let _last = pool.permit(Ceiling::Size).expect("all was given back");
}

#[test]
fn who_listens_comes_after_hungry_pools_that_have_less() {
    let shared = Budget::new();
    shared.set_limit(Some(3));
    let beside = || pool_of("pool_size = 5", 1, [Arc::clone(&shared), Budget::new()]);
    let (rich, poor) = (beside(), beside());
    let _all = [&rich, &rich, &poor].map(|pool| pool.permit(Ceiling::Size).expect("one of three"));
    assert_eq!(poor.permit(Ceiling::Size).err(), Some(NoPermit::Shared));
    assert!(shared.share_to_listen(&rich).is_none());
    assert!(shared.share_to_listen(&poor).is_some(), "nobody else is hungry");
}

#[test]
fn who_starves_is_counted_by_shard() {
    let pool = pool(1, 3);
    assert!(!pool.starves_elsewhere(false));
    pool.set_waiting(1, 2);
    assert!(pool.starves_elsewhere(false));
    assert!(!pool.starves_elsewhere(true), "that is the shard itself");
    pool.set_waiting(2, 1);
    assert!(pool.starves_elsewhere(true));
    assert_eq!(pool.starving_shards(1).collect::<Vec<_>>(), [2]);
    pool.set_waiting(1, 1);
    pool.set_waiting(1, 0);
    pool.set_waiting(2, 0);
    assert!(!pool.starves_elsewhere(false));
}
