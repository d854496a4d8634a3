use super::*;

#[tokio::test]
async fn the_root_dse_is_open_ldaps() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let mut ldap = stranger(&server).await;
    assert_eq!(read(&mut ldap, "", &[]).await.keys().collect::<Vec<_>>(), ["objectClass"]);
    let root = read(&mut ldap, "", &["*", "+"]).await;
    assert_eq!(text(&root["structuralObjectClass"]), ["OpenLDAProotDSE"]);
    assert_eq!(text(&root["namingContexts"]), ["dc=corp,dc=example"]);
    for oid in ["1.2.840.113556.1.4.319", "1.2.826.0.1.3344810.2.3", "1.3.6.1.4.1.4203.1.9.1.1"] {
        assert!(text(&root["supportedControl"]).contains(&oid), "{oid}");
    }
}

#[tokio::test]
async fn the_suffix_has_the_stamp_of_the_last_change() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let mut ldap = client(&server).await;
    let suffix = "dc=corp,dc=example";
    let before = server.change(|content| content.csn());
    assert_eq!(text(&read(&mut ldap, suffix, &["contextCSN"]).await["contextCSN"]), [before.as_str()]);
    server.change(|content| content.set(UID_BOB, "mail", &["bob@corp.example"]));
    let after = text(&read(&mut ldap, suffix, &["contextCSN"]).await["contextCSN"])[0].to_owned();
    assert!(after > before);
    assert_eq!(text(&read(&mut ldap, UID_BOB, &["entryCSN"]).await["entryCSN"]), [after.as_str()]);
    assert_eq!(below(&mut ldap, &format!("(entryCSN>={after})")).await, ["uid=bob"]);
    assert!(!read(&mut ldap, suffix, &["*"]).await.contains_key("contextCSN"));
}

#[tokio::test]
async fn only_values_that_match_come_where_that_is_asked_for() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    server.change(|content| content.add_value(CN_LEAF, "member", UID_BOB));
    let mut ldap = client(&server).await;
    let wanted = format!("((member={UID_ADA}))");
    ldap.with_controls(ldap3::controls::MatchedValues::new(&wanted));
    let group = read(&mut ldap, CN_LEAF, &["cn", "member"]).await;
    assert_eq!((group.len(), text(&group["member"])), (1, vec![UID_ADA]));
}

#[tokio::test]
async fn member_of_is_maintained_where_that_is_so() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let mut ldap = client(&server).await;
    assert!(read(&mut ldap, UID_ADA, &["memberOf"]).await.is_empty());
    server.change(|content| content.maintain_member_of(MemberOf::Direct));
    assert_eq!(text(&read(&mut ldap, UID_ADA, &["memberOf"]).await["memberOf"]), [CN_LEAF]);
    server.change(|content| content.maintain_member_of(MemberOf::Nested));
    assert_eq!(read(&mut ldap, UID_ADA, &["memberOf"]).await["memberOf"].len(), 3);
    assert!(!read(&mut ldap, UID_ADA, &["*"]).await.contains_key("memberOf"));
}

#[tokio::test]
async fn a_389_directory_server_names_its_vendor() {
    let server = Persona::ds389(OPEN_COMPANY).await;
    let mut ldap = client(&server).await;
    assert_eq!(text(&read(&mut ldap, "", &["vendorName"]).await["vendorName"]), ["389 Project"]);
    assert_eq!(text(&read(&mut ldap, UID_ADA, &["memberOf"]).await["memberOf"]), [CN_LEAF]);
    ldap.with_controls(control("1.3.6.1.4.1.4203.1.9.1.1", Some(b"\x30\x03\x0a\x01\x01".to_vec())));
    assert_eq!(search(&mut ldap, UID_ADA, Scope::Base, "(objectClass=*)", &["1.1"]).await.code(), 12);
}

#[tokio::test]
async fn a_wrong_password_is_refused_where_there_is_a_right_one() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let mut ldap = stranger(&server).await;
    server.set(|manner| manner.password = Some("right".to_owned()));
    for (password, code) in [("wrong", 49), ("right", 0), ("", 53)] {
        assert_eq!(ldap.simple_bind("cn=svc", password).await.unwrap().rc, code, "{password}");
    }
    assert_eq!(server.seen().binds, ["cn=svc"; 3]);
    assert_eq!(ldap.sasl_external_bind().await.unwrap().rc, 7);
}
