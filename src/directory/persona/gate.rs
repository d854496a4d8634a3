//! Where answers are held until a test lets them go.

use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;

use super::seen::Asked;

/// The holds that are in force.
#[derive(Default)]
pub(super) struct Gate {
    holds: Mutex<Vec<Hold>>,
}

struct Hold {
    matches: Box<dyn Fn(&Asked) -> bool + Send>,
    opens: Arc<Semaphore>,
}

impl Gate {
    pub(super) fn hold(&self, matches: Box<dyn Fn(&Asked) -> bool + Send>) {
        self.holds.lock().unwrap().push(Hold { matches, opens: Arc::new(Semaphore::new(0)) });
    }

    /// Lets all answers go, and holds no more.
    pub(super) fn release(&self) {
        self.holds.lock().unwrap().drain(..).for_each(|hold| hold.opens.close());
    }

    /// Lets go what the oldest hold holds, and ends it.
    pub(super) fn release_oldest(&self) {
        let mut holds = self.holds.lock().unwrap();
        assert!(!holds.is_empty(), "nothing is held");
        holds.remove(0).opens.close();
    }

    /// Lets so many go.
    pub(super) fn release_some(&self, count: usize) {
        self.holds.lock().unwrap().iter().for_each(|hold| hold.opens.add_permits(count));
    }

    /// What the answer to this search has to pass.
    pub(super) fn at(&self, asked: &Asked) -> Option<Arc<Semaphore>> {
        let holds = self.holds.lock().unwrap();
        holds.iter().find(|hold| (hold.matches)(asked)).map(|hold| hold.opens.clone())
    }
}

/// Waits until the answer may go.
pub(super) async fn pass(opens: &Semaphore) {
    if let Ok(permit) = opens.acquire().await {
        permit.forget();
    }
}
