//! Waiting for time to pass on a shard, away from the path of a byte: a [`Timer`] made for
//! one wait. What waits over and over keeps a timer of its own.

use std::{future::Future, pin::pin, task::Poll, time::Duration};

use thiserror::Error;

use crate::{Timer, runtime};

/// What was waited for did not happen in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the time is over")]
pub struct Elapsed;

/// Returns `after` from now, or up to 16 ms later.
///
/// # Panics
/// Outside of a shard.
pub async fn sleep(after: Duration) {
    let timer = Timer::new(&runtime::current_wheel());
    timer.set(after);
    timer.elapsed().await;
}

/// Waits for `work`, but not longer than `limit`, or up to 16 ms more.
///
/// # Errors
/// [`Elapsed`]; `work` has been dropped then.
///
/// # Panics
/// Outside of a shard.
pub async fn timeout<F: Future>(limit: Duration, work: F) -> Result<F::Output, Elapsed> {
    let timer = Timer::new(&runtime::current_wheel());
    timer.set(limit);
    let mut work = pin!(work);
    std::future::poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => timer.poll_elapsed(cx).map(|()| Err(Elapsed)),
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::{Runtime, refresh_clock};

    #[test]
    fn a_sleep_lasts_as_long_as_it_should() {
        Runtime::new().unwrap().block_on(async {
            let before = refresh_clock();
            sleep(Duration::from_millis(20)).await;
            assert!(refresh_clock().since(before) >= Duration::from_millis(20));
        });
    }

    #[test]
    fn work_in_time_is_done_and_work_too_slow_is_given_up() {
        Runtime::new().unwrap().block_on(async {
            assert_eq!(timeout(Duration::from_secs(60), async { 5 }).await, Ok(5));
            assert_eq!(timeout(Duration::from_millis(1), pending::<()>()).await, Err(Elapsed));
        });
    }
}
