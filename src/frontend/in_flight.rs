//! How many requests are carried out at one time, of those that bring a body: each may hold as much memory as a body and
//! what is made of it.
//!
//! Source: `k8s.io/apiserver/pkg/server/filters/maxinflight.go`. As there, superusers are never turned away. Smaller here:
//! requests that only read are not counted.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::authorizers::is_superuser;
use super::status::ApiError;
use crate::model::Subject;

/// How many requests that may change something are carried out at one time (`--max-mutating-requests-inflight`).
pub(super) const MAX_MUTATING: usize = 200;

/// When who is turned away may come again, in seconds.
const COME_AGAIN_SECONDS: u32 = 1;

/// Those that are being carried out.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Semaphore>);

/// Leave to carry out a request, until it is dropped.
#[must_use]
#[derive(Debug)]
pub(super) struct Leave(#[expect(dead_code, reason = "holding it is all")] Option<OwnedSemaphorePermit>);

impl Default for InFlight {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_MUTATING)))
    }
}

impl InFlight {
    /// Leave for a request of this method.
    ///
    /// # Errors
    /// 429 where there are too many.
    pub(super) fn leave(&self, method: &str, subject: &Subject) -> Result<Leave, ApiError> {
        if matches!(method, "GET" | "HEAD" | "OPTIONS") || is_superuser(&subject.groups) {
            return Ok(Leave(None));
        }
        let leave = Arc::clone(&self.0).try_acquire_owned().map(|permit| Leave(Some(permit)));
        leave.map_err(|_| {
            ApiError::too_many_requests("Too many requests, please try again later.", COME_AGAIN_SECONDS)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_brings_a_body_too_many_comes_again_and_superusers_are_let_through() {
        let in_flight = InFlight::default();
        let ada = Subject { user: "ada".to_owned(), ..Subject::default() };
        let mut held: Vec<Leave> =
            (0..MAX_MUTATING).map(|_| in_flight.leave("POST", &ada).unwrap()).collect();
        let refused = in_flight.leave("PATCH", &ada).unwrap_err();
        assert_eq!((refused.code, refused.retry_after), (429, Some(1)));
        assert!(in_flight.leave("GET", &ada).is_ok());
        let root = Subject { groups: vec!["system:masters".to_owned()], ..Subject::default() };
        assert!(in_flight.leave("POST", &root).is_ok());
        held.pop();
        assert!(in_flight.leave("DELETE", &ada).is_ok());
    }
}
