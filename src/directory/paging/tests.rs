//! Searches in pages, on servers that say what they are told to say.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::conn::tests::{origin_at, soon};
use super::super::pool::Pool;
use super::super::scripted::{Asked, Scripted, done, entry, page, usual};
use super::super::{LookupError, ResultCode};
use super::*;
use ldap3::Scope;

const ACTIVE_DIRECTORY: &[(&str, &str)] =
    &[("supportedCapabilities", "1.2.840.113556.1.4.800"), ("supportedControl", PAGED_RESULTS)];
const OTHER: &[(&str, &str)] = &[("supportedControl", PAGED_RESULTS)];

/// What a page holds, and the cookie after it.
type Page = (std::ops::Range<usize>, &'static str);

fn people(asked: &Asked, range: std::ops::Range<usize>) -> Vec<u8> {
    range.flat_map(|number| entry(asked, &format!("cn={number}"), &[], &[])).collect()
}

/// The cookie that a paged search came with; `None` where it is not paged.
fn cookie_of(asked: &Asked) -> Option<String> {
    let value = asked.control(PAGED_RESULTS)??;
    let (_, parts) = Elements::of(&value).next().unwrap();
    let (_, cookie) = Elements::of(parts).nth(1).unwrap();
    Some(String::from_utf8(cookie.to_vec()).unwrap())
}

/// A server of pages: the first after the empty cookie, the next after its cookie, and so on. A search without pages is
/// cut after its first entry.
async fn server(root: &'static [(&str, &str)], pages: &'static [(&str, Page)]) -> Scripted {
    Scripted::start(move |asked| {
        let answer = usual(asked, root).unwrap_or_else(|| match cookie_of(asked) {
            None => [people(asked, 0..1), done(asked, 4, &[])].concat(),
            Some(cookie) => match pages.iter().find(|(before, _)| *before == cookie) {
                None => done(asked, 53, &[]),
                Some((_, (range, next))) => {
                    let control = page(0, next.as_bytes());
                    [people(asked, range.clone()), done(asked, 0, &[(PAGED_RESULTS, &control)])].concat()
                }
            },
        });
        Some(answer)
    })
    .await
}

fn query(limit: usize) -> Query {
    Query { limit, paged: true, ..Query::new("o=x".to_owned(), Scope::Subtree) }
}

async fn search(server: &Scripted, query: Query) -> Result<(usize, Option<Cut>), LookupError> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("password"), "pw").unwrap();
    let pool = Pool::new(vec![Arc::new(origin_at(server.port, folder.path()))]);
    pool.search(&query, soon()).await.map(|found| (found.entries.len(), found.cut))
}

/// Of each search of people: its connection, and its cookie.
fn searches(server: &Scripted) -> Vec<(u32, Option<String>)> {
    let asked = server.asked.lock().unwrap();
    asked
        .iter()
        .filter(|asked| asked.name == "o=x")
        .map(|asked| (asked.connection, cookie_of(asked)))
        .collect()
}

const THREE_PAGES: &[(&str, Page)] = &[("", (0..3, "a")), ("a", (3..6, "b")), ("b", (6..7, ""))];

#[tokio::test]
async fn active_directory_is_searched_in_pages_and_what_fits_one_shares_its_connection() {
    let small = server(ACTIVE_DIRECTORY, &[("", (0..3, ""))]).await;
    assert_eq!(search(&small, query(10)).await, Ok((3, None)));
    assert_eq!(searches(&small), [(0, Some(String::new()))]);

    let large = server(ACTIVE_DIRECTORY, THREE_PAGES).await;
    assert_eq!(search(&large, query(10)).await, Ok((7, None)));
    let places = [(0, ""), (1, ""), (1, "a"), (1, "b")].map(|(at, cookie)| (at, Some(cookie.to_owned())));
    assert_eq!(searches(&large), places);
}

#[tokio::test]
async fn elsewhere_a_search_is_paged_where_the_server_cut_it() {
    let server = server(OTHER, THREE_PAGES).await;
    assert_eq!(search(&server, query(10)).await, Ok((7, None)));
    let cookies = ["", "a", "b"].map(|cookie| (1, Some(cookie.to_owned())));
    assert_eq!(searches(&server), [vec![(0, None)], cookies.to_vec()].concat());

    let not_wished_for = Query { paged: false, ..query(10) };
    let cut = Some(Cut::ByServer(ResultCode::SIZE_LIMIT));
    assert_eq!(search(&server, not_wished_for).await, Ok((1, cut)));
}

#[tokio::test]
async fn a_server_that_cannot_page_is_not_asked_to_and_one_that_will_not_is_taken_by_its_word() {
    let cut = Some(Cut::ByServer(ResultCode::SIZE_LIMIT));
    let unable = server(&[], THREE_PAGES).await;
    assert_eq!(search(&unable, query(10)).await, Ok((1, cut)));
    assert_eq!(searches(&unable), [(0, None)]);
    let unwilling = server(OTHER, &[]).await;
    assert_eq!(search(&unwilling, query(10)).await, Ok((1, cut)));
}

#[tokio::test]
async fn the_limit_of_entries_is_for_all_pages_together() {
    let server = server(ACTIVE_DIRECTORY, THREE_PAGES).await;
    for (limit, found) in
        [(2, (2, Some(Cut::ByUs))), (4, (4, Some(Cut::ByUs))), (6, (6, Some(Cut::ByUs))), (7, (7, None))]
    {
        assert_eq!(search(&server, query(limit)).await, Ok(found), "{limit}");
    }
}

#[tokio::test]
async fn pages_without_end_are_an_error() {
    const SAME: &[(&str, Page)] = &[("", (0..3, "a")), ("a", (0..3, "a"))];
    const EMPTY: &[(&str, Page)] = &[("", (0..3, "a")), ("a", (3..3, "a"))];
    for pages in [SAME, EMPTY] {
        let endless = server(ACTIVE_DIRECTORY, pages).await;
        assert_eq!(search(&endless, query(100)).await, Err(ENDLESS), "{pages:?}");
    }
}

#[tokio::test]
async fn one_cookie_for_all_pages_is_fine() {
    // Samba and 389 know by the connection where they are.
    let count = Arc::new(AtomicUsize::new(0));
    let server = Scripted::start(move |asked| {
        let answer = usual(asked, ACTIVE_DIRECTORY).unwrap_or_else(|| {
            let start = if cookie_of(asked).unwrap().is_empty() { 0 } else { count.load(Ordering::SeqCst) };
            count.store(start + 2, Ordering::SeqCst);
            let control = page(0, if start == 6 { b"" } else { b"same" });
            [people(asked, start..start + 2), done(asked, 0, &[(PAGED_RESULTS, &control)])].concat()
        });
        Some(answer)
    })
    .await;
    assert_eq!(search(&server, query(100)).await, Ok((8, None)));
}

#[tokio::test]
async fn a_page_that_is_refused_or_cut_is_never_the_whole() {
    let server = server(ACTIVE_DIRECTORY, &[("", (0..3, "gone"))]).await;
    assert_eq!(search(&server, query(10)).await, Err(LookupError::Refused(ResultCode(53))));
    let cut = Scripted::start(|asked| {
        let answer = usual(asked, ACTIVE_DIRECTORY).unwrap_or_else(|| {
            let control = page(0, b"more");
            [people(asked, 0..3), done(asked, 4, &[(PAGED_RESULTS, &control)])].concat()
        });
        Some(answer)
    });
    let by_server = Some(Cut::ByServer(ResultCode::SIZE_LIMIT));
    assert_eq!(search(&cut.await, query(10)).await, Ok((3, by_server)));
}

#[test]
fn a_control_that_cannot_be_read_is_an_error_and_none_is_the_end() {
    let with = |value: Option<&[u8]>| {
        let control =
            RawControl { ctype: PAGED_RESULTS.to_owned(), crit: false, val: value.map(<[u8]>::to_vec) };
        cookie(&Part { entries: Vec::new(), cut: None, controls: vec![control] })
    };
    assert_eq!(with(Some(&page(0, b"c"))), Ok(b"c".to_vec()));
    for broken in [None, Some(&b""[..]), Some(b"\x30\x03\x02\x01\x00"), Some(b"\x04\x00"), Some(b"\x30\x84")]
    {
        assert_eq!(with(broken), Err(MALFORMED), "{broken:?}");
    }
    assert_eq!(cookie(&Part { entries: Vec::new(), cut: None, controls: Vec::new() }), Ok(Vec::new()));
}
