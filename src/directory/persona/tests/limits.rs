use ldap3::SearchOptions;
use ldap3::controls::{Control, ControlType, PagedResults};

use super::*;

const MANY: usize = 3200;

/// A group with so many members, none of which there is.
fn large(count: usize) -> String {
    let members = (0..count).map(|number| format!("CN=u{number},OU=People,DC=corp,DC=example"));
    group("CN=large,OU=Groups,DC=corp,DC=example", "group", ("sAMAccountName", "large"), members)
}

fn people(count: usize) -> String {
    let person = |number| {
        let name = format!("u{number}");
        let dn = format!("CN={name},OU=People,DC=corp,DC=example");
        record(&dn, "user", &[("sAMAccountName", &name)])
    };
    (0..count).map(person).collect()
}

#[tokio::test]
async fn of_many_values_a_range_comes() {
    let server = Persona::active_directory(COMPANY).await;
    server.change(|content| content.add(&large(MANY)));
    let mut ldap = client(&server).await;
    let dn = "CN=large,OU=Groups,DC=corp,DC=example";
    let mut last = Vec::new();
    for (asked, given, count) in [
        ("member", "member;range=0-1499", 1500),
        ("member;range=1500-*", "member;range=1500-2999", 1500),
        ("member;range=3000-*", "member;range=3000-*", 200),
        ("member;range=10-19", "member;range=10-19", 10),
    ] {
        let group = read(&mut ldap, dn, &[asked]).await;
        assert_eq!(group[given].len(), count, "{asked}");
        assert_eq!(group.get("member").map(Vec::len), (asked == "member").then_some(0), "{asked}");
        last = group[given].clone();
    }
    assert_eq!(text(&last)[0], "CN=u10,OU=People,DC=corp,DC=example");
    assert!(read(&mut ldap, dn, &["member;range=3200-*"]).await.is_empty());
    server.set(|manner| manner.max_val_range = None);
    assert_eq!(read(&mut ldap, dn, &["member"]).await["member"].len(), MANY);
}

/// One page; says how many entries it had, the result, and the cookie for the next one.
async fn page(ldap: &mut Ldap, size: i32, cookie: &[u8]) -> (usize, u32, Vec<u8>) {
    ldap.with_controls(PagedResults { size, cookie: cookie.to_vec() });
    let found = ldap.search(ROOT, Scope::Subtree, "(objectClass=*)", vec!["1.1"]).await.unwrap();
    let cookie = found.1.ctrls.iter().find_map(|Control(kind, raw)| {
        matches!(kind, Some(ControlType::PagedResults)).then(|| raw.parse::<PagedResults>().cookie)
    });
    (found.0.len(), found.1.rc, cookie.unwrap_or_default())
}

#[tokio::test]
async fn pages_come_one_after_the_other_and_several_searches_beside_each_other() {
    let server = Persona::active_directory(COMPANY).await;
    let mut ldap = client(&server).await;
    let all = below(&mut ldap, "(objectClass=*)").await.len();
    let (count, _, first) = page(&mut ldap, 3, b"").await;
    let (_, _, second) = page(&mut ldap, 5, b"").await;
    assert_eq!(count, 3);
    assert_eq!(page(&mut ldap, 4, &first).await.0, 4);
    assert_eq!(page(&mut ldap, 100, &second).await, (all - 5, 0, Vec::new()));
    assert_eq!(page(&mut ldap, 100, &second).await.1, 53, "a cookie is good for one page");
}

#[tokio::test]
async fn in_open_ldap_a_second_paged_search_ends_the_first() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let mut ldap = client(&server).await;
    let (_, _, first) = page(&mut ldap, 2, b"").await;
    let (_, _, second) = page(&mut ldap, 2, b"").await;
    assert_eq!(page(&mut ldap, 2, &first).await.1, 53);
    assert_eq!(page(&mut ldap, 2, &second).await.1, 0);
}

#[tokio::test]
async fn one_cookie_can_do_for_all_pages_or_lead_nowhere() {
    let server = Persona::active_directory(COMPANY).await;
    let mut ldap = client(&server).await;
    let all = below(&mut ldap, "(objectClass=*)").await.len();
    server.set(|manner| manner.page_cookies = PageCookies::One);
    let (_, _, cookie) = page(&mut ldap, 2, b"").await;
    assert_eq!(page(&mut ldap, 2, &cookie).await, (2, 0, cookie.clone()));
    assert_eq!(page(&mut ldap, 100, &cookie).await, (all - 4, 0, Vec::new()));
    server.set(|manner| manner.page_cookies = PageCookies::Endless);
    let (_, _, cookie) = page(&mut ldap, 2, b"").await;
    for _ in 0..all {
        assert_eq!(page(&mut ldap, 2, &cookie).await, (2, 0, cookie.clone()));
    }
}

#[tokio::test]
async fn active_directory_gives_a_thousand_entries_at_once() {
    let server = Persona::active_directory(&format!("{COMPANY}\n{}", people(1001))).await;
    let mut ldap = client(&server).await;
    let found = search(&mut ldap, ROOT, Scope::Subtree, "(objectClass=user)", &["1.1"]).await;
    assert_eq!((found.entries.len(), found.code()), (1000, 4));
    let (count, code, cookie) = page(&mut ldap, 5000, b"").await;
    assert_eq!((count, code), (1000, 0));
    assert!(!cookie.is_empty());
}

#[tokio::test]
async fn the_limits_of_the_server_and_of_the_request_cut_a_search() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let mut ldap = client(&server).await;
    ldap.with_search_options(SearchOptions::new().sizelimit(3));
    let found = search(&mut ldap, ROOT, Scope::Subtree, "(objectClass=*)", &["1.1"]).await;
    assert_eq!((found.entries.len(), found.code()), (3, 4));
    server.set(|manner| manner.ignores_size_limits = true);
    ldap.with_search_options(SearchOptions::new().sizelimit(3));
    assert_eq!(search(&mut ldap, ROOT, Scope::Subtree, "(objectClass=*)", &["1.1"]).await.code(), 0);
    server.set(|manner| manner.size_limit = Some(5));
    let found = search(&mut ldap, ROOT, Scope::Subtree, "(objectClass=*)", &["1.1"]).await;
    assert_eq!((found.entries.len(), found.code()), (5, 4));
    let (_, _, cookie) = page(&mut ldap, 4, b"").await;
    assert_eq!(page(&mut ldap, 4, &cookie).await, (1, 4, Vec::new()), "paging does not lift it");
    assert_eq!(read(&mut ldap, "", &["namingContexts"]).await.len(), 1);
}
