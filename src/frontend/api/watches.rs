//! How many watches each user has open: one user's must not be everybody's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::shared_lines::SharedLines;
use crate::frontend::status::ApiError;

/// How many watches a user has open at most. A client has one for each resource that it looks after; all users together
/// have [`MAX_WATCHES`](crate::frontend::storage::MAX_WATCHES).
pub const MAX_WATCHES_OF_ONE: usize = 250;

/// When who has too many may come again, in seconds.
const COME_AGAIN_SECONDS: u32 = 5;

/// The watches of each user, and what is written once for all of them.
#[derive(Debug, Default)]
pub struct Watches {
    open: Mutex<HashMap<String, usize>>,
    lines: SharedLines,
}

/// A watch that is open, until it is dropped.
#[must_use]
#[derive(Debug)]
pub(super) struct Place {
    watches: Arc<Watches>,
    user: String,
}

impl Watches {
    /// A place for one more watch of this user.
    ///
    /// # Errors
    /// 429 where the user has too many.
    pub(super) fn enter(self: &Arc<Self>, user: &str) -> Result<Place, ApiError> {
        let mut open = self.open();
        let count = open.get(user).copied().unwrap_or_default();
        if count >= MAX_WATCHES_OF_ONE {
            let message = format!("{MAX_WATCHES_OF_ONE} watches of this user are open: end one first");
            return Err(ApiError::too_many_requests(message, COME_AGAIN_SECONDS));
        }
        open.insert(user.to_owned(), count.saturating_add(1));
        drop(open);
        Ok(Place { watches: Arc::clone(self), user: user.to_owned() })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The lines of the latest changes.
    pub(super) fn lines(&self) -> &SharedLines {
        &self.watches.lines
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.watches.open();
        match open.get_mut(&self.user) {
            Some(count) if *count > 1 => *count = count.saturating_sub(1),
            _ => {
                open.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_users_watches_are_not_everybodys() {
        let watches = Arc::new(Watches::default());
        let mut places: Vec<Place> = (0..MAX_WATCHES_OF_ONE).map(|_| watches.enter("ada").unwrap()).collect();
        assert_eq!(watches.enter("ada").unwrap_err().code, 429);
        places.push(watches.enter("bob").unwrap());
        drop(places.remove(0));
        places.push(watches.enter("ada").unwrap());
        drop(places);
        assert!(watches.open().is_empty(), "nothing is left of who has none");
    }
}
