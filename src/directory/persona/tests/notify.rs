use super::*;

const NOTIFICATION: &str = "1.2.840.113556.1.4.528";

async fn notifications(server: &Persona, ldap: &mut Ldap, attributes: &[&'static str]) -> Stream {
    let feeds = server.seen().feeds;
    ldap.with_controls(control(NOTIFICATION, None));
    let stream = feed(ldap, ROOT, "(objectClass=*)", attributes).await;
    server.until(|seen| seen.feeds > feeds).await;
    stream
}

#[tokio::test]
async fn each_change_gives_the_entry_as_it_is_then() {
    let server = Persona::active_directory(COMPANY).await;
    let mut ldap = client(&server).await;
    let mut stream = notifications(&server, &mut ldap, &["member", "userAccountControl"]).await;
    server.change(|content| content.add_value(LEAF, "member", BOB));
    server.change(|content| content.set(BOB, "userAccountControl", &["514"]));
    server.change(|content| content.delete(BOB));
    server.change(|content| content.set(LEAF, "description", &["bob is gone"]));
    let entry = SearchEntry::construct(next(&mut stream).await);
    assert_eq!((entry.dn.as_str(), entry.attrs["member"].len()), (LEAF, 2));
    let entry = SearchEntry::construct(next(&mut stream).await);
    assert_eq!(
        (entry.dn.as_str(), entry.attrs["userAccountControl"].as_slice()),
        (BOB, ["514".to_owned()].as_slice())
    );
    let entry = SearchEntry::construct(next(&mut stream).await);
    assert_eq!((entry.dn.as_str(), entry.attrs["member"].len()), (LEAF, 1), "the deletion is not told");
    assert_eq!(ldap.simple_bind("cn=svc", "secret").await.unwrap().rc, 51);
}

#[tokio::test]
async fn who_may_see_deleted_objects_is_told_of_deletions() {
    let server = Persona::active_directory(COMPANY).await;
    server.set(|manner| manner.sees_deleted = true);
    let mut ldap = client(&server).await;
    ldap.with_controls(vec![control(NOTIFICATION, None), control("1.2.840.113556.1.4.417", None)]);
    let mut stream = feed(&mut ldap, ROOT, "(objectClass=*)", &["isDeleted", "sAMAccountName"]).await;
    server.until(|seen| seen.feeds == 1).await;
    let guid = server.change(|content| content.uuid(BOB));
    server.change(|content| content.delete(BOB));
    let entry = SearchEntry::construct(next(&mut stream).await);
    assert_eq!(entry.dn, format!("CN=Bob\\0ADEL:{guid},CN=Deleted Objects,{ROOT}"));
    assert_eq!(
        (entry.attrs["isDeleted"][0].as_str(), entry.attrs["sAMAccountName"][0].as_str()),
        ("TRUE", "bob")
    );
}

#[tokio::test]
async fn a_connection_has_five_at_most_and_an_abandoned_one_makes_room() {
    let server = Persona::active_directory(COMPANY).await;
    let mut ldap = client(&server).await;
    let mut streams = Vec::new();
    for _ in 0..5 {
        streams.push(notifications(&server, &mut ldap, &["1.1"]).await);
    }
    ldap.with_controls(control(NOTIFICATION, None));
    assert_eq!(search(&mut ldap, ROOT, Scope::Subtree, "(objectClass=*)", &["1.1"]).await.code(), 51);
    let id = streams[0].ldap_handle().last_id();
    ldap.abandon(id).await.unwrap();
    server.until(|seen| seen.feeds == 4).await;
    notifications(&server, &mut ldap, &["1.1"]).await;
    ldap.with_controls(control(NOTIFICATION, None));
    assert_eq!(search(&mut ldap, ROOT, Scope::Subtree, "(cn=*)", &["1.1"]).await.code(), 53);
}

#[tokio::test]
async fn a_feed_can_fall_silent_or_be_ended() {
    let server = Persona::active_directory(COMPANY).await;
    let mut ldap = client(&server).await;
    let mut stream = notifications(&server, &mut ldap, &["description"]).await;
    server.mute_feeds();
    server.change(|content| content.set(BOB, "description", &["unsaid"]));
    server.unmute_feeds();
    server.change(|content| content.set(BOB, "description", &["said"]));
    let entry = SearchEntry::construct(next(&mut stream).await);
    assert_eq!(entry.attrs["description"], ["said"]);
    server.end_feeds(Outcome::new(52, "shutting down"));
    assert!(stream.next().await.unwrap().is_none());
    assert_eq!(stream.finish().await.rc, 52);
}

#[tokio::test]
async fn a_replica_that_lags_tells_its_feeds_later() {
    let server = Persona::active_directory(COMPANY).await;
    let mut ldap = client(&server).await;
    let mut stream = notifications(&server, &mut ldap, &["description"]).await;
    server.lag();
    server.fault(Fault::Delay(Duration::from_millis(20)));
    let mut late = notifications(&server, &mut ldap, &["description"]).await;
    server.heal();
    server.change(|content| content.set(BOB, "description", &["late"]));
    assert!(below(&mut ldap, "(description=late)").await.is_empty());
    server.catch_up();
    assert_eq!(SearchEntry::construct(next(&mut stream).await).dn, BOB);
    assert_eq!(SearchEntry::construct(next(&mut late).await).dn, BOB);
}
