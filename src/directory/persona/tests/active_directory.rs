use super::*;

#[tokio::test]
async fn the_root_dse_is_a_domain_controllers() {
    let server = Persona::active_directory(COMPANY).await;
    let mut ldap = stranger(&server).await;
    let root = read(&mut ldap, "", &[]).await;
    assert_eq!(text(&root["defaultNamingContext"]), [ROOT]);
    assert_eq!(text(&root["configurationNamingContext"]), ["CN=Configuration,DC=corp,DC=example"]);
    assert_eq!(text(&root["dnsHostName"]), ["dc1.corp.example"]);
    assert_eq!(text(&root["isSynchronized"]), ["TRUE"]);
    assert!(text(&root["supportedCapabilities"]).contains(&"1.2.840.113556.1.4.800"));
    assert!(text(&root["supportedControl"]).contains(&"1.2.840.113556.1.4.841"));
    let usn = server.change(|content| content.usn()).to_string();
    assert_eq!(text(&root["highestCommittedUSN"]), [usn]);
    server.set(|manner| manner.root("isSynchronized", &["FALSE"]));
    server.set(|manner| manner.root("dsServiceName", &[]));
    let root = read(&mut ldap, "", &["isSynchronized", "dsServiceName"]).await;
    assert_eq!((root.len(), text(&root["isSynchronized"])), (1, vec!["FALSE"]));
}

#[tokio::test]
async fn the_partitions_give_the_netbios_name_and_stand_apart_from_the_domain() {
    let server = Persona::active_directory(COMPANY).await;
    let mut ldap = client(&server).await;
    let partitions = "CN=Partitions,CN=Configuration,DC=corp,DC=example";
    let filter = "(&(objectClass=crossRef)(nCName=DC=corp,DC=example))";
    let found = search(&mut ldap, partitions, Scope::OneLevel, filter, &["nETBIOSName", "dnsRoot"]).await;
    assert_eq!(found.entries[0].attrs["nETBIOSName"], ["CORP"]);
    assert!(below(&mut ldap, "(objectClass=crossRef)").await.is_empty());
}

#[tokio::test]
async fn token_groups_are_transitive_and_only_of_groups_that_grant() {
    let server = Persona::active_directory(COMPANY).await;
    let mut ldap = client(&server).await;
    let user = read(&mut ldap, ADA, &["tokenGroups", "memberOf", "primaryGroupID"]).await;
    let groups: Vec<String> = user["tokenGroups"].iter().map(|sid| sid_text(sid)).collect();
    let mut expected = [LEAF, MID, TOP].map(|group| server.change(|content| content.sid(group))).to_vec();
    expected.extend([format!("{DOMAIN_SID}-513"), BUILTIN_USERS.to_owned()]);
    assert_eq!(groups, expected);
    assert_eq!(text(&user["memberOf"]), [LEAF]);
    assert_eq!(text(&user["primaryGroupID"]), ["513"]);
    let everybody = search(&mut ldap, ROOT, Scope::Subtree, "(objectClass=user)", &["tokenGroups"]).await;
    assert_eq!((everybody.entries.len(), everybody.code()), (0, 1));
    server.set(|manner| manner.hides_token_groups = true);
    assert_eq!(read(&mut ldap, ADA, &["tokenGroups", "primaryGroupID"]).await.len(), 1);
}

#[tokio::test]
async fn objects_are_found_by_their_identities_in_each_form() {
    let server = Persona::active_directory(COMPANY).await;
    let mut ldap = client(&server).await;
    let (sid_of_ada, guid_of_ada) = server.change(|content| (content.sid(ADA), content.uuid(ADA)));
    let escaped = |octets: Vec<u8>| octets.iter().map(|octet| format!("\\{octet:02x}")).collect::<String>();
    for filter in [
        format!("(objectSid={sid_of_ada})"),
        format!("(objectSid={})", escaped(sid(&sid_of_ada).unwrap())),
        format!("(objectGUID={guid_of_ada})"),
        format!("(objectGUID={})", escaped(guid(&guid_of_ada))),
        "(&(objectCategory=person)(sAMAccountName=ADA))".to_owned(),
    ] {
        assert_eq!(below(&mut ldap, &filter).await, ["CN=Ada Lovelace"], "{filter}");
    }
    let digits = |octets: Vec<u8>| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
    for base in [
        format!("<SID={sid_of_ada}>"),
        format!("<SID={}>", digits(sid(&sid_of_ada).unwrap())),
        format!("<GUID={guid_of_ada}>"),
        format!("<GUID={}>", digits(guid(&guid_of_ada))),
    ] {
        assert_eq!(
            text(&read(&mut ldap, &base, &["sAMAccountName"]).await["sAMAccountName"]),
            ["ada"],
            "{base}"
        );
    }
    let nobody = search(&mut ldap, "<SID=S-1-5-9>", Scope::Base, "(objectClass=*)", &["1.1"]).await;
    assert_eq!(nobody.code(), 32);
}

#[tokio::test]
async fn bits_and_chains_are_matched_here_and_undefined_in_open_ldap() {
    let server = Persona::active_directory(COMPANY).await;
    server.change(|content| content.set(BOB, "userAccountControl", &["514"]));
    let mut ldap = client(&server).await;
    assert_eq!(below(&mut ldap, "(userAccountControl:1.2.840.113556.1.4.803:=2)").await, ["CN=Bob"]);
    assert_eq!(below(&mut ldap, "(userAccountControl:1.2.840.113556.1.4.804:=3)").await, ["CN=Bob"]);
    let member = format!("(member:1.2.840.113556.1.4.1941:={ADA})");
    assert_eq!(below(&mut ldap, &member).await, ["CN=leaf", "CN=mid", "CN=top", "CN=mail"]);
    let member_of = format!("(&(objectClass=user)(memberOf:1.2.840.113556.1.4.1941:={TOP}))");
    assert_eq!(below(&mut ldap, &member_of).await, ["CN=Ada Lovelace"]);
    let open = Persona::open_ldap(OPEN_COMPANY).await;
    let filter = format!("(member:1.2.840.113556.1.4.1941:={UID_ADA})");
    assert!(below(&mut client(&open).await, &filter).await.is_empty());
    assert!(below(&mut client(&open).await, &format!("(!{filter})")).await.is_empty());
}

#[tokio::test]
async fn a_search_of_the_whole_domain_ends_with_a_reference() {
    let server = Persona::active_directory(COMPANY).await;
    let mut ldap = client(&server).await;
    let found = search(&mut ldap, ROOT, Scope::Subtree, "(sAMAccountName=ada)", &["1.1"]).await;
    assert_eq!(found.result.refs, ["ldap://corp.example/CN=Configuration,DC=corp,DC=example"]);
    let found = search(&mut ldap, "OU=People,DC=corp,DC=example", Scope::Subtree, "(cn=Bob)", &["1.1"]).await;
    assert!(found.result.refs.is_empty());
    ldap.with_controls(control("1.2.840.113556.1.4.1339", None));
    let found = search(&mut ldap, ROOT, Scope::Subtree, "(cn=Bob)", &["1.1"]).await;
    assert!(found.result.refs.is_empty());
}

#[tokio::test]
async fn names_come_with_identities_where_that_is_asked_for() {
    let server = Persona::active_directory(COMPANY).await;
    let mut ldap = client(&server).await;
    ldap.with_controls(control("1.2.840.113556.1.4.529", Some(b"\x30\x03\x02\x01\x01".to_vec())));
    let found = search(&mut ldap, LEAF, Scope::Base, "(objectClass=*)", &["member"]).await;
    let extended = |dn: &str| {
        let (guid, sid) = server.change(|content| (content.uuid(dn), content.sid(dn)));
        format!("<GUID={guid}>;<SID={sid}>;{dn}")
    };
    assert_eq!(found.entries[0].dn, extended(LEAF));
    assert_eq!(found.entries[0].attrs["member"], [extended(ADA)]);
}

#[tokio::test]
async fn who_has_not_bound_is_told_nothing() {
    let server = Persona::active_directory(COMPANY).await;
    let mut ldap = stranger(&server).await;
    assert_eq!(search(&mut ldap, ROOT, Scope::Base, "(objectClass=*)", &["1.1"]).await.code(), 1);
    server.refuse_binds(Outcome::credentials("533"));
    let refused = ldap.simple_bind("ada@corp.example", "secret").await.unwrap();
    assert_eq!(
        (refused.rc, refused.text.as_str()),
        (49, "80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 533, v2580")
    );
}

#[tokio::test]
async fn the_state_of_an_account_is_computed() {
    let server = Persona::active_directory(COMPANY).await;
    server.change(|content| content.set(BOB, "lockoutTime", &["133500000000000000"]));
    server.change(|content| content.set(BOB, "pwdLastSet", &["0"]));
    let mut ldap = client(&server).await;
    let computed = "msDS-User-Account-Control-Computed";
    assert_eq!(text(&read(&mut ldap, BOB, &[computed]).await[computed]), [(0x80_0010).to_string()]);
    assert!(!read(&mut ldap, BOB, &[]).await.contains_key(computed));
}

#[tokio::test]
async fn links_follow_what_they_point_to() {
    let server = Persona::active_directory(COMPANY).await;
    let usn = |content: &mut Content| content.usn();
    let before = server.change(usn);
    let uuid = server.change(|content| content.uuid(ADA));
    server.change(|content| content.rename(ADA, "CN=Ada King,OU=People,DC=corp,DC=example"));
    assert_eq!(server.change(usn), before + 1);
    let mut ldap = client(&server).await;
    let renamed = "CN=Ada King,OU=People,DC=corp,DC=example";
    assert_eq!(text(&read(&mut ldap, LEAF, &["member"]).await["member"]), [renamed]);
    let ada = read(&mut ldap, renamed, &["cn", "name", "objectGUID"]).await;
    assert_eq!((text(&ada["cn"]), text(&ada["name"])), (vec!["Ada King"], vec!["Ada King"]));
    assert_eq!(ada["objectGUID"], [guid(&uuid)]);
    server.change(|content| content.delete(renamed));
    assert!(read(&mut ldap, LEAF, &["member"]).await.is_empty());
}

#[tokio::test]
async fn deleted_objects_are_found_by_who_asks_for_them_and_may_see_them() {
    let server = Persona::active_directory(COMPANY).await;
    let mut ldap = client(&server).await;
    let usn = server.change(|content| {
        content.delete(BOB);
        content.usn()
    });
    let filter = format!("(&(uSNChanged>={usn})(isDeleted=TRUE))");
    let polled = async |ldap: &mut Ldap| {
        ldap.with_controls(control("1.2.840.113556.1.4.417", None));
        let found = search(ldap, ROOT, Scope::Subtree, &filter, &["sAMAccountName"]).await.entries;
        found.into_iter().map(|entry| entry.attrs["sAMAccountName"][0].clone()).collect::<Vec<_>>()
    };
    assert!(polled(&mut ldap).await.is_empty());
    server.set(|manner| manner.sees_deleted = true);
    assert_eq!(polled(&mut ldap).await, ["bob"]);
    assert!(below(&mut ldap, &filter).await.is_empty());
}
