use futures_util::future::join_all;

use super::*;

#[tokio::test]
async fn a_held_answer_is_that_of_the_moment_of_the_question_and_holds_no_other() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let ldap = client(&server).await;
    is_shared(&server);
    server.hold(|search| search.base.starts_with("ou=groups"));
    let mut asking = ldap.clone();
    let groups = tokio::spawn(async move {
        let filter = format!("(member={UID_ADA})");
        search(&mut asking, "ou=groups,dc=corp,dc=example", Scope::Subtree, &filter, &["cn"])
            .await
            .entries
            .len()
    });
    server.held(1).await;
    server.change(|content| content.delete(CN_LEAF));
    assert_eq!(below(&mut ldap.clone(), "(uid=ada)").await, ["uid=ada"]);
    assert!(!groups.is_finished());
    server.release();
    assert_eq!(groups.await.unwrap(), 1, "the group that is gone by now");
    assert_eq!(server.seen().held, 0);
}

/// Tasks and threads of a test may all use it.
fn is_shared(_: &(impl Send + Sync)) {}

#[tokio::test]
async fn held_answers_are_let_go_one_by_one() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let ldap = client(&server).await;
    server.hold(|_| true);
    let asking: Vec<_> = (0..3)
        .map(|_| {
            let mut ldap = ldap.clone();
            tokio::spawn(async move { below(&mut ldap, "(uid=ada)").await.len() })
        })
        .collect();
    server.held(3).await;
    assert_eq!(server.seen().most_in_flight, 3);
    server.release_some(1);
    server.until(|seen| seen.held == 2).await;
    server.release();
    assert_eq!(join_all(asking).await.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [1, 1, 1]);
    server.until(|seen| seen.in_flight == 0).await;
}

#[tokio::test]
async fn every_operation_is_seen() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let mut ldap = client(&server).await;
    let filter = r"(&(|(cn=a*b*)(cn=*\2a)(cn>=1))(!(uid~=x))(mail=*)(member:1.2.3:=y))";
    search(&mut ldap, ROOT, Scope::Subtree, filter, &["cn", "entryUUID"]).await;
    search(&mut ldap, UID_ADA, Scope::Base, "(objectClass=*)", &[]).await;
    search(&mut ldap, "", Scope::Base, "(objectClass=*)", &[]).await;
    ldap.abandon(2).await.unwrap();
    assert_eq!(ldap.delete(UID_ADA).await.unwrap().rc, 53);
    ldap.unbind().await.unwrap();
    server.until(|seen| seen.unbinds == 1 && seen.open == 0).await;
    let seen = server.seen();
    assert_eq!((seen.connections, seen.binds.len(), seen.abandons, seen.others), (1, 1, 1, 1));
    assert_eq!(
        seen.questions(),
        [format!("sub {ROOT} {filter} cn entryUUID"), format!("base {UID_ADA} (objectClass=*)"),]
    );
    assert_eq!((seen.searches_of("base", "uid="), seen.searches_of("sub", "")), (1, 1));
    server.forget();
    assert!(server.seen().searches.is_empty());
}

#[tokio::test]
async fn a_connection_with_too_many_unanswered_requests_is_closed() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    server.set(|manner| manner.max_pending = Some(3));
    let ldap = client(&server).await;
    server.hold(|_| true);
    let asking = (0..4).map(|_| {
        let mut ldap = ldap.clone();
        async move { ldap.search(ROOT, Scope::Base, "(objectClass=*)", vec!["1.1"]).await.is_err() }
    });
    assert_eq!(join_all(asking).await, [true; 4]);
    server.until(|seen| seen.open == 0).await;
}

#[tokio::test]
async fn a_frozen_server_goes_on_where_it_was() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let mut ldap = client(&server).await;
    server.freeze();
    let asking = tokio::spawn(async move { below(&mut ldap, "(uid=ada)").await });
    let mut other = stranger(&server).await;
    server.until(|seen| seen.connections == 2).await;
    assert!(!asking.is_finished() && server.seen().questions().is_empty());
    server.thaw();
    assert_eq!(asking.await.unwrap(), ["uid=ada"]);
    assert_eq!(below(&mut other, "(uid=ada)").await, ["uid=ada"]);
}

#[tokio::test]
async fn a_server_that_was_down_comes_back_on_its_port() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let ldap = client(&server).await;
    server.down().await;
    server.until(|seen| seen.open == 0).await;
    assert!(LdapConnAsync::new(&server.url()).await.is_err());
    server.up().await;
    assert_eq!(below(&mut client(&server).await, "(uid=ada)").await, ["uid=ada"]);
    drop(ldap);
}
