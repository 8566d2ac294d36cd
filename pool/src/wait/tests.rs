use bs9_wire::sqlstate::SqlState;
use proptest::prelude::*;

use super::*;

impl<S> Waits for Waiter<S> {
    type For = S;

    fn waiter(&self) -> &Self {
        self
    }
}

fn now() -> CoarseInstant {
    bs9_net::refresh_clock()
}

#[test]
fn what_was_granted_is_taken_once() {
    let mut queue = WaitQueue::default();
    let waiter = Rc::new(Waiter::new());
    queue.push(&waiter, now());
    assert!(waiter.take().is_none());
    queue.pop().unwrap().grant(7);
    assert!(matches!(waiter.take(), Some(Ok(7))));
    assert!(waiter.take().is_none());
    queue.push(&waiter, now());
    queue.pop().unwrap().fail(&Rc::new(LoginFailure::new(SqlState::INTERNAL_ERROR, "no")));
    assert!(matches!(waiter.take(), Some(Err(_))));
}

#[test]
fn only_those_who_came_before_are_taken_out() {
    let mut queue: WaitQueue<Waiter<()>> = WaitQueue::default();
    let (early, late) = (Rc::new(Waiter::new()), Rc::new(Waiter::new()));
    let instant = now();
    queue.push(&early, instant);
    queue.push(&late, instant.plus(std::time::Duration::from_secs(1)));
    let out = queue.pop_until(instant);
    assert!(out.len() == 1 && Rc::ptr_eq(&out[0], &early));
    assert_eq!(queue.len(), 1);
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Queue(usize),
    Leave(usize),
    Grant,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..6usize).prop_map(Step::Queue),
        (0..6usize).prop_map(Step::Leave),
        Just(Step::Grant),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    /// First come, first served, whoever leaves; and nothing granted is lost.
    #[test]
    fn the_queue_is_fair(steps in steps()) {
        let waiters: Vec<_> = (0..6).map(|_| Rc::new(Waiter::new())).collect();
        let mut queue = WaitQueue::default();
        let mut model: VecDeque<usize> = VecDeque::new();
        let mut held = [None; 6];
        let mut servers = 0;
        for step in steps {
            match step {
                Step::Queue(n) if !model.contains(&n) && held[n].is_none() => {
                    queue.push(&waiters[n], now());
                    model.push_back(n);
                }
                Step::Queue(n) => {
                    if held[n].take().is_some() {
                        prop_assert!(matches!(waiters[n].take(), Some(Ok(_))));
                    }
                }
                Step::Leave(n) => {
                    let was_queued = model.contains(&n);
                    prop_assert_eq!(queue.remove(&waiters[n]), was_queued);
                    model.retain(|queued| *queued != n);
                    let granted = waiters[n].take().and_then(Result::ok);
                    prop_assert_eq!(granted, held[n].take());
                }
                Step::Grant => {
                    let expected = model.pop_front();
                    if let Some(waiter) = queue.pop() {
                        servers += 1;
                        waiter.grant(servers);
                        let n = waiters.iter().position(|one| Rc::ptr_eq(one, &waiter));
                        prop_assert_eq!(n, expected);
                        held[expected.unwrap()] = Some(servers);
                    } else {
                        prop_assert_eq!(expected, None);
                    }
                }
            }
            prop_assert_eq!(queue.len(), model.len());
        }
    }
}
