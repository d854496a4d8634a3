//! One after the other, by secret: of many requests with one credential the first asks, and the others hear what
//! it heard.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;

use super::digest::Trace;

/// Who waits for whom. Holds nothing of those that nobody waits for.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<Trace, Weak<tokio::sync::Mutex<()>>>>);

/// Somebody's turn, until it is dropped.
#[must_use]
#[derive(Debug)]
pub(super) struct Turn(#[expect(dead_code, reason = "holding it is all")] OwnedMutexGuard<()>);

impl Turns {
    /// Waits until nobody else has a turn with this trace; `None` where that takes too long.
    pub(super) async fn turn(&self, trace: Trace, most: Duration) -> Option<Turn> {
        let queue = self.queue(trace);
        tokio::time::timeout(most, queue.lock_owned()).await.ok().map(Turn)
    }

    fn queue(&self, trace: Trace) -> Arc<tokio::sync::Mutex<()>> {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queues.get(&trace).and_then(Weak::upgrade) {
            return queue;
        }
        queues.retain(|_, queue| queue.strong_count() > 0);
        let queue = Arc::default();
        queues.insert(trace, Arc::downgrade(&queue));
        queue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn those_with_one_trace_wait_and_others_do_not() {
        let turns = Turns::default();
        let first = turns.turn([1; 32], LONG).await.unwrap();
        let mut second = Box::pin(turns.turn([1; 32], LONG));
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        let _other = turns.turn([2; 32], LONG).await.unwrap();
        drop(first);
        assert!(second.await.is_some());
        assert!(turns.0.lock().unwrap().len() <= 2);
    }

    #[tokio::test]
    async fn nobody_waits_for_ever_and_nothing_is_left_of_who_is_gone() {
        let turns = Turns::default();
        let first = turns.turn([1; 32], LONG).await.unwrap();
        assert!(turns.turn([1; 32], Duration::ZERO).await.is_none());
        drop(first);
        let _next = turns.turn([3; 32], LONG).await.unwrap();
        assert_eq!(turns.0.lock().unwrap().len(), 1);
    }
}
