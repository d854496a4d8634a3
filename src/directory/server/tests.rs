//! The care for the connections to one server, and what the metrics show of it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ldap3::Scope;

use super::super::conn::tests::{origin_at, soon};
use super::super::pool::Pool;
use super::super::scripted::{Asked, SEARCH, Scripted, done, refused, usual};
use super::*;

fn query() -> Query {
    Query::new("o=x".to_owned(), Scope::Base)
}

fn origin(server: &Scripted, change: impl FnOnce(&mut Origin)) -> (Arc<Origin>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("password"), "pw").unwrap();
    let mut origin = origin_at(server.port, folder.path());
    change(&mut origin);
    (Arc::new(origin), folder)
}

async fn until(mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), waiting).await.unwrap();
}

#[tokio::test]
async fn the_metrics_show_what_is_used_what_is_idle_and_who_waits() {
    let held = Arc::<Mutex<Vec<Asked>>>::default();
    let holding = held.clone();
    let server = Scripted::start(move |asked| {
        Some(usual(asked, &[]).unwrap_or_else(|| {
            holding.lock().unwrap().push(asked.clone());
            Vec::new()
        }))
    })
    .await;
    let (origin, _folder) = origin(&server, |origin| origin.pool.in_flight = 1);
    let ours = origin.ours.clone();
    let seen = || (ours.in_use.get(), ours.idle.get(), ours.waiters.get());
    let pool = Pool::new(vec![origin]);
    let asking: Vec<_> = (0..3)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.search(&query(), soon()).await.unwrap() })
        })
        .collect();
    until(|| held.lock().unwrap().len() == 1 && seen() == (1, 0, 2)).await;
    for _ in 0..3 {
        until(|| !held.lock().unwrap().is_empty()).await;
        let asked = held.lock().unwrap().remove(0);
        asked.send(done(&asked, 0, &[]));
    }
    for asked in asking {
        asked.await.unwrap();
    }
    until(|| seen() == (0, 1, 0)).await;
    // The root DSE and three searches, of which two had to wait.
    assert_eq!(ours.wait.get_sample_count(), 4);
    pool.stop();
    until(|| seen() == (0, 0, 0)).await;
}

#[tokio::test]
async fn a_server_that_was_busy_is_probed_on_the_connection_that_is_there() {
    let is_busy = Arc::new(AtomicBool::new(true));
    let busy = is_busy.clone();
    let server = Scripted::start(move |asked| {
        let code = if busy.load(Ordering::SeqCst) { 51 } else { 0 };
        Some(usual(asked, &[]).unwrap_or_else(|| done(asked, code, &[])))
    })
    .await;
    let (origin, _folder) = origin(&server, |origin| origin.pool.connections = 1);
    let ours = origin.ours.clone();
    let pool = Pool::new(vec![origin]);
    let care = tokio::spawn(pool.clone().maintain());
    until(|| ours.up.get() == 1).await;
    for _ in 0..2 {
        assert_eq!(pool.search(&query(), soon()).await, Err(LookupError::Refused(ResultCode::BUSY)));
    }
    assert_eq!((ours.breaker_open.get(), ours.up.get(), pool.is_up()), (1, 0, false));
    is_busy.store(false, Ordering::SeqCst);
    until(|| ours.breaker_open.get() == 0).await;
    assert!(pool.search(&query(), soon()).await.is_ok());
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    pool.stop();
    care.await.unwrap();
}

#[tokio::test]
async fn a_connection_whose_bind_the_server_forgot_is_replaced_and_costs_no_lookup() {
    for text in [
        "000004DC: LdapErr: DSID-0C090A5C, comment: In order to perform this operation a successful bind must be \
         completed on the connection., data 0, v4563",
        "00002020: Operation unavailable without authentication",
    ] {
        let forgets = Arc::new(AtomicUsize::new(1));
        let left = forgets.clone();
        let server = Scripted::start(move |asked| {
            Some(usual(asked, &[]).unwrap_or_else(|| {
                let forgot =
                    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
                if forgot.is_ok() { refused(asked, 1, text) } else { done(asked, 0, &[]) }
            }))
        })
        .await;
        let (origin, _folder) = origin(&server, |_| ());
        let pool = Pool::new(vec![origin]);
        assert!(pool.search(&query(), soon()).await.is_ok(), "{text}");
        assert_eq!((server.connections.load(Ordering::SeqCst), server.count(SEARCH)), (2, 4));
    }
    let other = Scripted::start(|asked| {
        let text = "00002020: Indexed and full searches failed";
        Some(usual(asked, &[]).unwrap_or_else(|| refused(asked, 1, text)))
    })
    .await;
    let (origin, _folder) = origin(&other, |_| ());
    let refused = Err(LookupError::Refused(ResultCode(1)));
    assert_eq!(Pool::new(vec![origin]).search(&query(), soon()).await, refused);
}
