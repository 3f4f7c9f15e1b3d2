//! How long a pass waits for search clusters: the rest is the operator's own time and the apiserver's.

use std::{cell::RefCell, time::Duration};

use tokio::time::Instant;

tokio::task_local! {
    static WAITS: RefCell<Waits>;
}

/// Several requests may be waited for at once: what counts is the time in which at least one is.
#[derive(Default)]
struct Waits {
    going_on: u32,
    since: Option<Instant>,
    ended: Duration,
}

/// Runs a pass, and tells for how long it waited in [`waiting`].
pub async fn timed<T>(pass: impl Future<Output = T>) -> (T, Duration) {
    let both = async { (pass.await, WAITS.with(|waits| waits.borrow().ended)) };
    WAITS.scope(RefCell::default(), both).await
}

/// Begins to wait, until what is returned is dropped; in a task that is not [`timed`], nobody asks for how long.
pub fn waiting() -> Waiting {
    change(|waits| {
        waits.since.get_or_insert_with(Instant::now);
        waits.going_on += 1;
    });
    Waiting
}

/// One wait that goes on.
#[must_use]
pub struct Waiting;

impl Drop for Waiting {
    fn drop(&mut self) {
        change(|waits| {
            waits.going_on -= 1;
            if waits.going_on == 0 {
                waits.ended += waits.since.take().map_or(Duration::ZERO, |since| since.elapsed());
            }
        });
    }
}

fn change(change: impl FnOnce(&mut Waits)) {
    // Nobody asks where there is none.
    let _ = WAITS.try_with(|waits| change(&mut waits.borrow_mut()));
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    async fn wait(seconds: u64) {
        let _waiting = waiting();
        sleep(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_waited_for_at_once_counts_once() {
        let pass = async {
            sleep(Duration::from_secs(100)).await;
            tokio::join!(wait(2), wait(3));
            wait(4).await;
            let given_up = tokio::time::timeout(Duration::from_secs(5), wait(60)).await;
            given_up.is_err()
        };
        assert_eq!(timed(pass).await, (true, Duration::from_secs(12)));
    }

    #[tokio::test(start_paused = true)]
    async fn each_pass_has_waits_of_its_own() {
        let pass = |seconds| timed(wait(seconds));
        let (one, other) = tokio::join!(pass(2), pass(7));
        assert_eq!((one.1, other.1), (Duration::from_secs(2), Duration::from_secs(7)));
    }
}
