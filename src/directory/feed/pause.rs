//! When a broken feed is begun again: later and later, and sooner where the directory is itself again.

use std::time::Duration;

use tokio::time::Instant;

use super::super::credentials::Content;
use super::super::pool::Pool;

/// The pause before a broken feed is begun again; each failure doubles it.
const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(30);
/// A feed that was up for so long is begun again after the first pause.
const GOOD_RUN: Duration = Duration::from_secs(10);
/// How often it is looked whether the directory is itself again, and so the least pause that this can shorten.
const LOOK: Duration = Duration::from_secs(1);

/// The pauses of one feed.
pub(super) struct Pause {
    next: Duration,
}

impl Pause {
    pub(super) fn new() -> Self {
        Self { next: FIRST }
    }

    /// Waits until a feed that was up for so long, and is not any more, is to be begun again. `jitter` is between 0 and 1.
    ///
    /// An outage of the directory makes pauses long, and facts age until the feed is back: so its end ends the pause, seen
    /// by the searches of others, or by another secret where ours was refused. A feed that fails while they succeed waits.
    pub(super) async fn wait(&mut self, was_up: Duration, jitter: f64, pool: &Pool) {
        let until = Instant::now() + self.after(was_up).mul_f64(0.5 + jitter / 2.0);
        let mut seen = Seen::of(pool);
        loop {
            let look = Instant::now() + LOOK;
            tokio::time::sleep_until(look.min(until)).await;
            if look >= until {
                return;
            }
            let now = Seen::of(pool);
            if now.is_back_since(&seen) {
                self.next = FIRST;
                return;
            }
            seen = now;
        }
    }

    fn after(&mut self, was_up: Duration) -> Duration {
        let pause = if was_up >= GOOD_RUN { FIRST } else { self.next };
        self.next = (pause * 2).min(LONGEST);
        pause
    }
}

/// What is seen of the directory.
struct Seen {
    is_well: bool,
    secret: Option<Content>,
}

impl Seen {
    fn of(pool: &Pool) -> Self {
        Self { is_well: pool.is_well(), secret: pool.secret() }
    }

    fn is_back_since(&self, before: &Self) -> bool {
        (self.is_well && !before.is_well) || self.secret != before.secret
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::super::LookupError;
    use super::super::super::conn::tests::origin_at;
    use super::*;

    fn pool(folder: &tempfile::TempDir) -> Arc<Pool> {
        std::fs::write(folder.path().join("password"), "old").unwrap();
        Pool::new(vec![Arc::new(origin_at(1, folder.path()))])
    }

    fn fail(pool: &Pool) {
        pool.each_breaker(|breaker| breaker.failed(LookupError::Lost, std::time::Instant::now(), 1.0));
    }

    #[test]
    fn pauses_grow_until_a_feed_was_up_for_a_while() {
        let mut pause = Pause::new();
        let waits = [9, 9, 9, 9, 9, 9, 9, 9, 9, 10, 0]
            .map(|was_up| pause.after(Duration::from_secs(was_up)).as_millis());
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 250, 500]);
    }

    #[tokio::test]
    async fn a_directory_that_is_itself_again_or_another_password_ends_a_pause() {
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(&folder);
        let before = Seen::of(&pool);
        assert!(!Seen::of(&pool).is_back_since(&before), "it always was");
        fail(&pool);
        let ill = Seen::of(&pool);
        assert!(!ill.is_back_since(&before) && !Seen::of(&pool).is_back_since(&ill));
        pool.each_breaker(|breaker| breaker.connected());
        assert!(!Seen::of(&pool).is_back_since(&ill), "that it can be connected to says little");
        pool.each_breaker(|breaker| breaker.succeeded());
        assert!(Seen::of(&pool).is_back_since(&ill));
        pool.watch_secret_now();
        let old = Seen::of(&pool);
        std::fs::write(folder.path().join("password"), "new").unwrap();
        pool.watch_secret_now();
        assert!(Seen::of(&pool).is_back_since(&old));
    }

    #[tokio::test]
    async fn a_pause_that_is_ended_is_followed_by_the_shortest() {
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(&folder);
        fail(&pool);
        let mut pause = Pause { next: LONGEST };
        let waiting = async {
            let begun = Instant::now();
            pause.wait(Duration::ZERO, 1.0, &pool).await;
            begun.elapsed()
        };
        let back = async { pool.each_breaker(|breaker| breaker.succeeded()) };
        let (waited, ()) = tokio::join!(waiting, back);
        assert!(waited < LONGEST / 2, "{waited:?}");
        assert_eq!(pause.next, FIRST);
    }
}
