//! Operators: what they order and change while everything goes on.

use std::{rc::Rc, sync::mpsc};

use bs9_api::types::{OrderPools, PoolOrder};
use bs9_pool::OrderError;

use super::{
    Reload,
    orders::concerned_by,
    scenario::{DATABASES, Dice},
    world::{World, dice, sleep},
};
use crate::postgres::Pooler;

/// The stream of numbers that operators draw from.
const OPERATORS: u64 = 2_000_000;
/// For as long as nobody waits, seconds: real time is to decide nothing.
const FOR_EVER: f64 = 80_000.0;

/// Does this and that, and has everyone served in the end.
pub(super) async fn operate(world: Rc<World>) {
    let mut dice = dice(&world, OPERATORS);
    for _ in 0..1 + dice.below(6) {
        // Never at once: a reload is over when time passes.
        sleep(dice.pick(&[10, 40, 150, 400])).await;
        if world.scenario.reloads && (!world.scenario.orders || dice.once_in(2)) {
            reload(&world, &mut dice);
        } else {
            let orders = [
                PoolOrder::Pause,
                PoolOrder::Pause,
                PoolOrder::Resume,
                PoolOrder::Reconnect,
                PoolOrder::Disable,
                PoolOrder::Enable,
                PoolOrder::Kill,
            ];
            give(&world, dice.pick(&orders), dice.pick(&[None, Some(0), Some(1)]));
        }
    }
    sleep(dice.pick(&[10, 200, 1000])).await;
    give(&world, PoolOrder::Resume, None);
    give(&world, PoolOrder::Enable, None);
}

fn give(world: &Rc<World>, order: PoolOrder, database: Option<usize>) {
    let at = world.now();
    let name = database.map(|one| DATABASES[one].to_owned());
    world.note(|| format!("an operator orders to {} {name:?}", order.name()));
    let accepted = world.orders.borrow_mut().note(order, database, at);
    // What was notified just now may not have been heard.
    let mut notices = world.notices.borrow_mut();
    for notice in notices.iter_mut().rev().take_while(|notice| notice.at == at) {
        notice.sure = false;
    }
    drop(notices);
    if order == PoolOrder::Kill {
        let concerned = |pool| concerned_by(database).any(|one| one == pool);
        let clients = world.clients.iter().filter(|client| concerned(client.pool.database));
        clients.for_each(|client| client.kill(at));
    }
    let world = Rc::clone(world);
    bs9_net::spawn(async move {
        let asked = OrderPools { order, database: name, timeout_seconds: Some(FOR_EVER) };
        let outcome = world.engine.order(&asked).await;
        world.note(|| format!("the order to {} is answered: {outcome:?}", order.name()));
        let waits = matches!(order, PoolOrder::Pause | PoolOrder::Kill);
        match outcome {
            Ok(()) if accepted => {}
            Err(OrderError::Undone(_)) if accepted && waits => {
                if world.orders.borrow_mut().answered(at, database) {
                    world.violated(format!("nobody has undone {} of {database:?}", order.name()));
                }
                return;
            }
            Err(OrderError::HoldsForAll(_)) if !accepted => return,
            outcome => world.violated(format!("{} of {database:?}: {outcome:?}", order.name())),
        }
        let emptied = waits && world.orders.borrow_mut().answered(at, database);
        // Who is only being made may be the one that listens for clients.
        let left = world.open(|server| {
            let certain = server.has_worked.get() || !world.scenario.listens;
            certain && concerned_by(database).any(|one| server.is_of(one))
        });
        if emptied && left > 0 {
            world.violated(format!("{database:?} has {left} servers, and is said to have none"));
        }
    });
}

/// Has other limits put in force. Returns when the pools have them, and their shards have not
/// looked yet.
fn reload(world: &World, dice: &mut Dice) {
    let limits = world.scenario.redraw(dice);
    world.note(|| format!("an operator changes limits to {limits:?}"));
    world.limits.borrow_mut().note(world.now(), limits);
    let text = world.scenario.config(&limits, &world.folder);
    let config = Pooler::parse(&world.folder, &text);
    let (applied, wait) = mpsc::channel();
    let asked = world.reloads.send(Reload { config, applied });
    // Nobody there: the seed has been played.
    let _applied = asked.is_ok().then(|| wait.recv());
}
