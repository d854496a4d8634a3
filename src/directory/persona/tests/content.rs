use super::*;

#[tokio::test]
async fn entries_come_and_go_while_it_runs() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let mut ldap = client(&server).await;
    let eve = "uid=eve,ou=people,dc=corp,dc=example";
    let add = |content: &mut Content| content.add(&record(eve, "inetOrgPerson", &[("uid", "eve")]));
    server.change(add);
    assert_eq!(below(&mut ldap, "(uid=eve)").await, ["uid=eve"]);
    let first = server.change(|content| content.uuid(eve));
    server.change(|content| content.delete(eve));
    assert!(below(&mut ldap, "(uid=eve)").await.is_empty());
    server.change(add);
    assert_ne!(server.change(|content| content.uuid(eve)), first, "another person of the same name");
}

#[tokio::test]
async fn a_renamed_entry_keeps_its_identity_and_takes_what_is_below_it_along() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let mut ldap = client(&server).await;
    let uuid = server.change(|content| content.uuid(UID_ADA));
    server.change(|content| content.rename("ou=people,dc=corp,dc=example", "ou=staff,dc=corp,dc=example"));
    let moved = "uid=ada,ou=staff,dc=corp,dc=example";
    assert_eq!(text(&read(&mut ldap, moved, &["entryUUID"]).await["entryUUID"]), [uuid]);
    assert_eq!(text(&read(&mut ldap, CN_LEAF, &["member"]).await["member"]), [UID_ADA], "links stay");
    assert_eq!(below(&mut ldap, "(ou=staff)").await, ["ou=staff"]);
    assert!(below(&mut ldap, "(ou=people)").await.is_empty());
}

#[tokio::test]
async fn values_are_added_removed_and_replaced() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let mut ldap = client(&server).await;
    server.change(|content| {
        content.add_value(CN_LEAF, "member", UID_BOB);
        content.remove_value(CN_LEAF, "MEMBER", "UID=Ada,OU=People,DC=corp,DC=example");
        content.set(CN_LEAF, "description", &["one", "two"]);
    });
    let group = read(&mut ldap, CN_LEAF, &["member", "description"]).await;
    assert_eq!(text(&group["member"]), [UID_BOB]);
    assert_eq!(text(&group["description"]), ["one", "two"]);
    server.change(|content| content.set(CN_LEAF, "description", &[]));
    assert_eq!(read(&mut ldap, CN_LEAF, &["description"]).await.len(), 0);
}

#[tokio::test]
async fn two_servers_share_a_directory_and_one_can_lag_behind() {
    let first = Persona::active_directory(COMPANY).await;
    let second = first.twin().await;
    let (mut one, mut two) = (client(&first).await, client(&second).await);
    second.lag();
    first.change(|content| content.set(BOB, "description", &["new"]));
    assert_eq!(below(&mut one, "(description=new)").await, ["CN=Bob"]);
    assert!(below(&mut two, "(description=new)").await.is_empty());
    let usns = [
        read(&mut one, "", &["highestCommittedUSN"]).await,
        read(&mut two, "", &["highestCommittedUSN"]).await,
    ];
    assert!(usns[0] > usns[1]);
    second.catch_up();
    assert_eq!(below(&mut two, "(description=new)").await, ["CN=Bob"]);
    assert_eq!(text(&read(&mut two, "", &["dnsHostName"]).await["dnsHostName"]), ["dc2.corp.example"]);
}

#[tokio::test]
async fn what_is_hidden_is_neither_shown_nor_found() {
    let server = Persona::active_directory(COMPANY).await;
    let mut ldap = client(&server).await;
    server.hide(|dn, attribute| {
        (dn == LEAF && attribute == "member")
            || (dn == BOB && attribute == "entry")
            || attribute == "tokengroups"
    });
    assert!(!read(&mut ldap, LEAF, &[]).await.contains_key("member"));
    assert!(below(&mut ldap, &format!("(member={ADA})")).await.is_empty());
    assert!(below(&mut ldap, "(sAMAccountName=bob)").await.is_empty());
    assert_eq!(search(&mut ldap, BOB, Scope::Base, "(objectClass=*)", &[]).await.code(), 32);
    let ada = read(&mut ldap, ADA, &["memberOf", "tokenGroups"]).await;
    assert_eq!(ada.keys().collect::<Vec<_>>(), ["memberOf"]);
    server.reveal();
    assert_eq!(below(&mut ldap, &format!("(member={ADA})")).await, ["CN=leaf"]);
}
