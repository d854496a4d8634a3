//! Asking for changes again and again, and at once where the server says that there are some.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ldap3::Scope;
use ldap3::controls::RawControl;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::super::LookupError;
use super::super::dedicated::{Dedicated, Streamed};
use super::super::resolve::Search;
use super::super::search::Query;
use super::Run;

/// Whom can be asked what changed since the last time.
pub(super) trait Source {
    /// The word for it in what is shown.
    const WORD: &'static str;

    /// Tells of what changed since the last time; the first time of nothing. Returns whether deletions are told of too.
    async fn poll(&mut self, run: &mut Run) -> Result<bool, LookupError>;
}

/// The change notification control (MS-ADTS 3.1.1.3.4.1.9).
const NOTIFICATION: &str = "1.2.840.113556.1.4.528";
/// The control that shows deleted objects (MS-ADTS 3.1.1.3.4.1.14).
const SHOW_DELETED: &str = "1.2.840.113556.1.4.417";
/// The control that leaves out references to other naming contexts (MS-ADTS 3.1.1.3.4.1.4).
const DOMAIN_SCOPE: &str = "1.2.840.113556.1.4.1339";
/// The least pause between two questions, however often the server says that there is something.
const LEAST_PAUSE: Duration = Duration::from_millis(5);

/// Asks until something breaks: every interval, and where `wakes`, whenever the server says that there is something.
pub(super) async fn run<S: Source>(
    source: &mut S,
    run: &mut Run,
    wakes: bool,
) -> Result<std::convert::Infallible, LookupError> {
    let since = Instant::now();
    let waker = if wakes { Some(Waker::start(&run.link, &run.scope.context).await?) } else { None };
    let mut is_up = false;
    loop {
        let asked = Instant::now();
        let is_complete = source.poll(run).await?;
        if !is_up {
            let every = waker.is_none().then_some(run.feed.settings.interval);
            run.up(S::WORD, is_complete, every);
            is_up = true;
        }
        if is_complete {
            run.confirm(since, asked);
        }
        // A large domain must not do nothing but answer us.
        tokio::time::sleep(asked.elapsed().max(LEAST_PAUSE)).await;
        let next = tokio::time::sleep_until((asked + run.feed.settings.interval).into());
        tokio::pin!(next);
        loop {
            tokio::select! {
                () = run.members.tend() => {}
                () = woken(waker.as_ref()) => break,
                () = &mut next => break,
            }
        }
    }
}

async fn woken(waker: Option<&Waker>) {
    match waker {
        Some(waker) => waker.something.notified().await,
        None => std::future::pending().await,
    }
}

/// Reads what the server sends when something changed, of which it only matters that it came. Where the server ends that,
/// asking at intervals goes on.
struct Waker {
    something: Arc<Notify>,
    task: AbortHandle,
}

impl Waker {
    async fn start(link: &Dedicated, context: &str) -> Result<Self, LookupError> {
        let control = |oid: &str, crit| RawControl { ctype: oid.to_owned(), crit, val: None };
        let controls = vec![control(NOTIFICATION, true), control(SHOW_DELETED, false)];
        let mut stream = link.stream(context, Scope::Subtree, "(objectClass=*)", &["1.1"], controls).await?;
        let something = Arc::new(Notify::new());
        let notify = Arc::clone(&something);
        let reading = async move {
            loop {
                match stream.next().await {
                    Ok(Some(Streamed::End { code, .. })) => {
                        tracing::warn!(%code, "the server does not say when something changes: it is asked at intervals");
                        return;
                    }
                    Ok(Some(_)) => notify.notify_one(),
                    // The connection ended, which whoever asks on it notices.
                    Ok(None) | Err(_) => return notify.notify_one(),
                }
            }
        };
        Ok(Self { something, task: link.handle().spawn(reading).abort_handle() })
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The controls of a search of Active Directory that sees what was deleted, and no other naming context.
pub(super) fn whole_domain() -> Vec<RawControl> {
    let control = |oid: &str| RawControl { ctype: oid.to_owned(), crit: false, val: None };
    vec![control(SHOW_DELETED), control(DOMAIN_SCOPE)]
}

/// The number of the last change that a domain controller has made (`highestCommittedUSN`).
pub(super) async fn last_usn(directory: &impl Search) -> Result<u64, LookupError> {
    let query = Query {
        attributes: vec!["highestCommittedUSN".to_owned()],
        limit: 1,
        ..Query::new(String::new(), Scope::Base)
    };
    let found = directory.search(query).await?;
    let number = found.entries.first().and_then(|root| usn(root.first("highestcommittedusn").ok()??));
    number.ok_or(LookupError::Protocol("the server shows no highestCommittedUSN"))
}

/// An update sequence number: 63 bits (MS-ADTS 3.1.1.1.9), so that there is always a next one.
fn usn(text: &str) -> Option<u64> {
    text.parse::<i64>().ok()?.try_into().ok()
}

/// Whether deleted objects are shown to us: whoever may list their container sees them (MS-ADTS 3.1.1.4.1.3).
pub(super) async fn sees_deleted(directory: &impl Search, context: &str) -> Result<bool, LookupError> {
    let query = Query {
        attributes: vec!["objectClass".to_owned()],
        limit: 1,
        controls: whole_domain(),
        ..Query::new(format!("CN=Deleted Objects,{context}"), Scope::Base)
    };
    match directory.search(query).await {
        Ok(found) => Ok(found.entries.first().is_some_and(|entry| entry.mentions("objectclass"))),
        Err(error) if error.is_of_one_question() => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::usn;

    #[test]
    fn there_is_always_a_next_update_sequence_number() {
        assert_eq!(usn("9223372036854775807"), Some(u64::MAX >> 1));
        for bad in ["18446744073709551615", "9223372036854775808", "-1", "", "x"] {
            assert_eq!(usn(bad), None, "{bad}");
        }
    }
}
