use std::collections::BTreeSet;

use futures_util::future::join_all;
use ldap3::exop::{WhoAmI, WhoAmIResp};
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, Scope, SearchEntry, SearchOptions, StdStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::UnixStream;

use super::*;
use crate::tls::{Authority, ClientContext, MinVersion};

const PEOPLE: &str = r"
version: 1

dn: dc=example
objectClass: domain
dc: example

dn: ou=people,dc=example
objectClass: organizationalUnit
ou: people

dn: uid=ada,ou=people,dc=example
objectClass: inetOrgPerson
uid: ada
cn: Ada Lovelace
cn;lang-de: Augusta Ada
mail: ada@example.com
uidNumber: 900
userPassword: lovelace
objectSid:: AQUAAP8=
entryUUID: 00000000-0000-4000-8000-000000000001

dn:: dWlkPWrDvHJnZW4sb3U9cGVvcGxlLGRjPWV4YW1wbGU=
objectClass: inetOrgPerson
uid:: asO8cmdlbg==
cn:: SsO8cmdlbiBPJ1JlaWxseSAoT3BzKQ==
uidNumber: 1000
manager: uid=ada,ou=people,dc=example

dn: cn=Doe\, Jane (Ops),ou=people,dc=example
objectClass: inetOrgPerson
cn: Doe, Jane (Ops)
uid: jane

dn: cn=inner,dc=example
objectClass: groupOfNames
cn: inner
member: UID=Ada,OU=People,DC=Example
member: cn=Doe\, Jane (Ops),ou=people,dc=example

dn: cn=outer,dc=example
objectClass: groupOfNames
cn: outer
member: cn=inner,dc=example
member:: dWlkPUrDnHJnZW4sb3U9cGVvcGxlLGRjPWV4YW1wbGU=
";

struct Fixture {
    directory: EmbeddedDirectory,
    authority: Authority,
}

impl Fixture {
    fn new(ldif: &str, access: Access) -> Self {
        let authority = Authority::new("embedded").unwrap();
        let identity = authority.server(&["localhost"], &[Ipv4Addr::LOCALHOST.into()]).unwrap();
        let tls = ServerContext::from_pem("ldap", &identity, None, MinVersion::Tls12).unwrap();
        let ldif = Ldif::parse(ldif).unwrap();
        let directory = EmbeddedDirectory::start(&ldif, access, tls, &Handle::current()).unwrap();
        Self { directory, authority }
    }

    /// `ldap3` over TLS: it speaks to one end of a socket pair, whose other end is bridged.
    async fn client(&self) -> Ldap {
        let tls = ClientContext::from_pem("test", self.authority.ca_pem(), None, MinVersion::Tls12);
        let tcp = TcpStream::connect(self.directory.address()).await.unwrap();
        let mut tls = tls.unwrap().connect("localhost", tcp).await.unwrap();
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut ours = UnixStream::from_std(ours).unwrap();
        tokio::spawn(async move { copy_bidirectional(&mut ours, &mut tls).await });
        let settings = LdapConnSettings::new().set_std_stream(StdStream::Unix(theirs));
        let (connection, ldap) = LdapConnAsync::with_settings(settings, "ldapi://%2F").await.unwrap();
        tokio::spawn(connection.drive());
        ldap
    }

    async fn bound(&self) -> Ldap {
        let mut ldap = self.client().await;
        ldap.simple_bind(ADA, "lovelace").await.unwrap().success().unwrap();
        ldap
    }
}

const ADA: &str = "uid=ada,ou=people,dc=example";

async fn search(
    ldap: &mut Ldap,
    base: &str,
    scope: Scope,
    filter: &str,
    attributes: &[&str],
) -> Vec<SearchEntry> {
    let found = ldap.search(base, scope, filter, attributes.to_vec()).await.unwrap().success().unwrap();
    found.0.into_iter().map(SearchEntry::construct).collect()
}

/// The first relative names of what a subtree search finds.
async fn found(ldap: &mut Ldap, filter: &str) -> Vec<String> {
    let entries = search(ldap, "dc=example", Scope::Subtree, filter, &["1.1"]).await;
    assert!(entries.iter().all(|entry| entry.attrs.is_empty() && entry.bin_attrs.is_empty()));
    entries.into_iter().map(|entry| entry.dn.split([',', '\\']).next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn nested_groups_are_found_through_their_members() {
    let fixture = Fixture::new(PEOPLE, Access::Authenticated);
    let mut ldap = fixture.bound().await;
    assert_eq!(found(&mut ldap, "(member=uid=ada,ou=people,dc=example)").await, ["cn=inner"]);
    assert_eq!(found(&mut ldap, "(member=cn=inner,dc=example)").await, ["cn=outer"]);
    assert_eq!(
        found(&mut ldap, "(&(objectClass=GROUPOFNAMES)(member=CN=INNER , dc=EXAMPLE))").await,
        ["cn=outer"]
    );
    assert_eq!(
        found(&mut ldap, "(|(member=cn=inner,dc=example)(member=uid=ADA,ou=people,dc=example))").await,
        ["cn=inner", "cn=outer"]
    );
    assert!(found(&mut ldap, "(member=cn=outer,dc=example)").await.is_empty());
}

#[tokio::test]
async fn names_with_commas_parentheses_and_accents_are_found() {
    let fixture = Fixture::new(PEOPLE, Access::Authenticated);
    let mut ldap = fixture.bound().await;
    let jane = r"cn=Doe\, Jane (Ops),ou=people,dc=example";
    let filter = format!("(member={})", ldap3::ldap_escape(jane));
    assert_eq!(found(&mut ldap, &filter).await, ["cn=inner"]);
    assert_eq!(
        search(&mut ldap, jane, Scope::Base, "(uid=jane)", &["cn"]).await[0].attrs["cn"],
        ["Doe, Jane (Ops)"]
    );
    assert_eq!(found(&mut ldap, "(member=uid=jürgen,ou=people,dc=example)").await, ["cn=outer"]);
    assert_eq!(found(&mut ldap, r"(member=uid=j\5cc3\5cbcrgen,ou=people,dc=example)").await, ["cn=outer"]);
    assert_eq!(found(&mut ldap, "(uid=JÜRGEN)").await, ["uid=jürgen"]);
    let base = "uid=JÜRGEN,ou=people,dc=example";
    assert_eq!(
        search(&mut ldap, base, Scope::Base, "(objectClass=*)", &["uid"]).await[0].attrs["uid"],
        ["jürgen"]
    );
}

#[tokio::test]
async fn filters_are_true_false_or_undefined() {
    let fixture = Fixture::new(PEOPLE, Access::Authenticated);
    let mut ldap = fixture.bound().await;
    for (filter, expected) in [
        ("(cn=ada*)", vec!["uid=ada"]),
        ("(cn=*LACE)", vec!["uid=ada"]),
        ("(cn=a*a  l*e)", vec!["uid=ada"]),
        ("(cn=*e*e*)", vec!["uid=ada", "uid=jürgen", "cn=Doe"]),
        ("(cn=*lace*lace*)", vec![]),
        ("(cn=ada lovelace*ada lovelace)", vec![]),
        ("(cn;lang-de=augusta ada)", vec!["uid=ada"]),
        ("(cn=augusta ada)", vec!["uid=ada"]),
        ("(uidNumber=0900)", vec!["uid=ada"]),
        ("(uidNumber>=901)", vec!["uid=jürgen"]),
        ("(uidNumber<=950)", vec!["uid=ada"]),
        ("(&(uid=*)(!(uid=ada)))", vec!["uid=jürgen", "cn=Doe"]),
        ("(&(uid=*)(!(uidNumber>=ten)))", vec![]),
        ("(|(uidNumber>=ten)(uid=ada))", vec!["uid=ada"]),
        ("(!(manager=*uid*))", vec![]),
        ("(!(cn:caseExactMatch:=Ada))", vec![]),
        ("(userPassword=lovelace)", vec![]),
        ("(userPassword=*)", vec![]),
        (r"(objectSid=\01\05\00\00\ff)", vec!["uid=ada"]),
        ("(entryUUID=00000000-0000-4000-8000-000000000001)", vec!["uid=ada"]),
        ("(entryDN=cn=outer,dc=example)", vec!["cn=outer"]),
        ("(&(|(cn=inner)(cn=outer))(!(cn=outer)))", vec!["cn=inner"]),
    ] {
        assert_eq!(found(&mut ldap, filter).await, expected, "{filter}");
    }
}

#[tokio::test]
async fn a_scope_is_the_base_its_children_or_everything_below() {
    let fixture = Fixture::new(PEOPLE, Access::Authenticated);
    let mut ldap = fixture.bound().await;
    for (base, scope, filter, count) in [
        ("dc=example", Scope::Base, "(objectClass=*)", 1),
        ("dc=example", Scope::OneLevel, "(objectClass=*)", 3),
        ("dc=example", Scope::Subtree, "(objectClass=*)", 7),
        ("OU=People,DC=example", Scope::OneLevel, "(objectClass=*)", 3),
        ("ou=people,dc=example", Scope::Subtree, "(objectClass=*)", 4),
        ("ou=people,dc=example", Scope::Subtree, "(cn=inner)", 0),
        ("dc=example", Scope::OneLevel, "(uid=ada)", 0),
    ] {
        assert_eq!(
            search(&mut ldap, base, scope, filter, &["1.1"]).await.len(),
            count,
            "{base} {scope:?} {filter}"
        );
    }
    let missing =
        ldap.search("uid=x,ou=people,dc=example", Scope::Base, "(uid=*)", vec!["1.1"]).await.unwrap().1;
    assert_eq!((missing.rc, missing.matched.as_str()), (32, "ou=people,dc=example"));
    let no_name = ldap.search("people", Scope::Base, "(uid=*)", vec!["1.1"]).await.unwrap().1;
    assert_eq!(no_name.rc, 34);
}

#[tokio::test]
async fn attributes_are_those_that_were_asked_for_and_never_a_password() {
    let fixture = Fixture::new(PEOPLE, Access::Authenticated);
    let mut ldap = fixture.bound().await;
    let user = ["cn", "cn;lang-de", "mail", "objectClass", "objectSid", "uid", "uidNumber"];
    let all = [&user[..4], &["entryDN", "entryUUID"], &user[4..]].concat();
    for (asked, expected) in [
        (vec![], user.to_vec()),
        (vec!["*"], user.to_vec()),
        (vec!["*", "+"], all),
        (vec!["+"], vec!["entryDN", "entryUUID"]),
        (vec!["MAIL", "CN", "userPassword", "unknown"], vec!["cn", "cn;lang-de", "mail"]),
        (vec!["cn;lang-de", "entryuuid"], vec!["cn;lang-de", "entryUUID"]),
    ] {
        let entry = &search(&mut ldap, ADA, Scope::Base, "(objectClass=*)", &asked).await[0];
        let got: BTreeSet<&str> =
            entry.attrs.keys().chain(entry.bin_attrs.keys()).map(String::as_str).collect();
        assert_eq!(got, expected.into_iter().collect(), "{asked:?}");
    }
    let entry = &search(&mut ldap, ADA, Scope::Base, "(objectClass=*)", &["objectSid"]).await[0];
    assert_eq!(entry.bin_attrs["objectSid"], [[1, 5, 0, 0, 255]]);
}

#[tokio::test]
async fn an_entry_uuid_that_the_ldif_does_not_give_is_the_same_in_every_server() {
    let mut uuids = BTreeSet::new();
    for _ in 0..2 {
        let fixture = Fixture::new(PEOPLE, Access::Anonymous);
        let mut ldap = fixture.client().await;
        for name in ["cn=inner,dc=example", "cn=outer,dc=example"] {
            let entry = &search(&mut ldap, name, Scope::Base, "(objectClass=*)", &["entryUUID"]).await[0];
            uuids.insert(entry.attrs["entryUUID"][0].clone());
        }
    }
    assert_eq!(uuids.len(), 2);
    for uuid in uuids {
        let groups: Vec<usize> = uuid.split('-').map(str::len).collect();
        assert_eq!((groups, &uuid[14..15]), (vec![8, 4, 4, 4, 12], "8"));
    }
}

#[tokio::test]
async fn a_size_limit_gives_that_many_entries_and_says_so() {
    let fixture = Fixture::new(PEOPLE, Access::Authenticated);
    let mut ldap = fixture.bound().await;
    for (limit, count, code) in [(2, 2, 4), (7, 7, 0), (0, 7, 0)] {
        let options = SearchOptions::new().sizelimit(limit);
        let result = ldap.with_search_options(options).search(
            "dc=example",
            Scope::Subtree,
            "(objectClass=*)",
            vec!["cn"],
        );
        let result = result.await.unwrap();
        assert_eq!((result.0.len(), result.1.rc), (count, code), "{limit}");
    }
}

#[tokio::test]
async fn a_bind_needs_the_right_password() {
    let fixture = Fixture::new(PEOPLE, Access::Authenticated);
    let mut ldap = fixture.bound().await;
    assert_eq!(who(&mut ldap).await, format!("dn:{ADA}"));
    for (name, password, code) in [
        (ADA, "Lovelace", 49),
        ("uid=nobody,dc=example", "lovelace", 49),
        ("cn=inner,dc=example", "lovelace", 49),
        (ADA, "", 53),
        ("", "", 48),
        ("ada", "lovelace", 34),
    ] {
        assert_eq!(ldap.simple_bind(name, password).await.unwrap().rc, code, "{name} {password}");
        assert_eq!(who(&mut ldap).await, "", "{name} {password}");
    }
    assert_eq!(ldap.sasl_external_bind().await.unwrap().rc, 7);
    let refused = ldap.search("dc=example", Scope::Base, "(objectClass=*)", vec!["*"]).await.unwrap();
    assert_eq!((refused.0.len(), refused.1.rc), (0, 50));
}

async fn who(ldap: &mut Ldap) -> String {
    let (exop, _) = ldap.extended(WhoAmI).await.unwrap().success().unwrap();
    exop.parse::<WhoAmIResp>().authzid
}

#[tokio::test]
async fn everybody_may_read_the_root_and_search_where_that_is_allowed() {
    let closed = Fixture::new(PEOPLE, Access::Authenticated);
    let root = search(&mut closed.client().await, "", Scope::Base, "(objectClass=*)", &["*", "+"]).await;
    assert_eq!(root[0].attrs["namingContexts"], ["dc=example"]);
    assert_eq!(root[0].attrs["supportedLDAPVersion"], ["3"]);
    assert_eq!(root[0].attrs["vendorName"], ["Bailiwick"]);
    let open = Fixture::new(PEOPLE, Access::Anonymous);
    let mut ldap = open.client().await;
    assert_eq!(ldap.simple_bind("", "").await.unwrap().rc, 0);
    assert_eq!(found(&mut ldap, "(uid=ada)").await, ["uid=ada"]);
}

#[tokio::test]
async fn what_is_not_supported_is_refused() {
    let fixture = Fixture::new(PEOPLE, Access::Authenticated);
    let mut ldap = fixture.bound().await;
    let control = |crit, oid: &str| ldap3::controls::RawControl { ctype: oid.into(), crit, val: None };
    for (control, code) in [
        (control(true, "1.2.3.4"), 12),
        (control(false, "1.2.3.4"), 0),
        (control(true, "2.16.840.1.113730.3.4.2"), 0),
    ] {
        let oid = control.ctype.clone();
        let search =
            ldap.with_controls(control).search("dc=example", Scope::Base, "(objectClass=*)", vec!["1.1"]);
        assert_eq!(search.await.unwrap().1.rc, code, "{oid}");
    }
    assert_eq!(ldap.delete(ADA).await.unwrap().rc, 53);
    assert_eq!(ldap.compare(ADA, "uid", "ada").await.unwrap().0.rc, 53);
    let unknown = ldap3::exop::Exop { name: Some("1.2.3".into()), val: None };
    assert_eq!(ldap.extended(unknown).await.unwrap().1.rc, 2);
    assert_eq!(found(&mut ldap, "(uid=ada)").await, ["uid=ada"]);
}

#[tokio::test]
async fn fifty_searches_run_at_once_on_one_connection() {
    let fixture = Fixture::new(PEOPLE, Access::Authenticated);
    let ldap = fixture.bound().await;
    let searches = (0..50).map(|number| {
        let mut ldap = ldap.clone();
        async move {
            let filter = ["(uid=ada)", "(cn=inner)", "(uid=nobody)"][number % 3];
            (number % 3, found(&mut ldap, filter).await)
        }
    });
    for (kind, names) in join_all(searches).await {
        assert_eq!(names, [vec!["uid=ada"], vec!["cn=inner"], vec![]][kind]);
    }
}

#[tokio::test]
async fn another_ldif_takes_the_place_of_the_first_while_a_client_is_connected() {
    let fixture = Fixture::new(PEOPLE, Access::Authenticated);
    let mut ldap = fixture.bound().await;
    let members = "(member=uid=ada,ou=people,dc=example)";
    assert_eq!(found(&mut ldap, members).await, ["cn=inner"]);
    fixture
        .directory
        .replace(&Ldif::parse(&PEOPLE.replace("member: UID=Ada,OU=People,DC=Example\n", "")).unwrap());
    assert!(found(&mut ldap, members).await.is_empty());
}

#[tokio::test]
async fn ten_thousand_entries_are_searched_by_their_index() {
    let mut ldif = String::from("dn: dc=example\ndc: example\n");
    for number in 0..10_000 {
        ldif += &format!("\ndn: uid=u{number},dc=example\nuid: u{number}\nobjectClass: person\n");
    }
    let fixture = Fixture::new(&ldif, Access::Anonymous);
    let mut ldap = fixture.client().await;
    for number in (0..10_000).step_by(100) {
        let filter = format!("(&(objectClass=person)(uid=U{number}))");
        assert_eq!(found(&mut ldap, &filter).await, [format!("uid=u{number}")]);
    }
    assert_eq!(found(&mut ldap, "(objectClass=person)").await.len(), 10_000);
}

#[tokio::test]
async fn a_stopped_directory_cuts_its_connections_and_takes_no_more() {
    let fixture = Fixture::new(PEOPLE, Access::Authenticated);
    let mut ldap = fixture.bound().await;
    fixture.directory.stop();
    while !ldap.is_closed() {
        tokio::task::yield_now().await;
    }
    assert!(ldap.search("", Scope::Base, "(objectClass=*)", vec!["1.1"]).await.is_err());
    assert!(TcpStream::connect(fixture.directory.address()).await.is_err());
}

/// What a session answers to these bytes, until it closes.
async fn answers(bytes: &[u8]) -> Vec<u8> {
    let ldif = Ldif::parse(PEOPLE).unwrap();
    let shared = Shared { tree: ArcSwap::from_pointee(Tree::new(&ldif)), access: Access::Anonymous };
    let (mut ours, theirs) = tokio::io::duplex(1 << 16);
    let served = tokio::spawn(async move { session::serve(theirs, &shared).await });
    ours.write_all(bytes).await.unwrap();
    ours.shutdown().await.unwrap();
    let mut answer = Vec::new();
    ours.read_to_end(&mut answer).await.unwrap();
    served.await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn bytes_that_are_no_ldap_are_answered_by_a_notice_of_disconnection() {
    for bytes in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), b"\x30\x80", b"\x30\x84\x7f\xff\xff\xff", &[0x30; 8]]
    {
        let mut guard = crate::directory::frame::FrameGuard::new(
            crate::directory::frame::Peer::Server,
            crate::directory::frame::Limits::default(),
        );
        guard.push(&answers(bytes).await);
        if let Some(frame) = guard.next().unwrap() {
            assert_eq!(frame.disconnection_notice(), Some(2), "{bytes:x?}");
        } else {
            assert_eq!(bytes, [0x30; 8], "only the incomplete message has no answer");
        }
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_and_unbind_ends_them() {
    // Bind, a search without a filter, abandon, bind with version 2, unbind, and a bind that comes too late.
    let bytes = b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00\
        \x30\x05\x02\x01\x02\x63\x00\
        \x30\x06\x02\x01\x03\x50\x01\x02\
        \x30\x0c\x02\x01\x04\x60\x07\x02\x01\x02\x04\x00\x80\x00\
        \x30\x05\x02\x01\x05\x42\x00\
        \x30\x0c\x02\x01\x06\x60\x07\x02\x01\x03\x04\x00\x80\x00";
    let answer = answers(bytes).await;
    let mut rest = answer.as_slice();
    let mut results = Vec::new();
    while !rest.is_empty() {
        let (after, message) = lber::parse::parse_tag(rest).unwrap();
        let parts = message.expect_constructed().unwrap();
        let code = parts[1].clone().expect_constructed().unwrap()[0].clone().expect_primitive().unwrap();
        results.push((parts[0].clone().expect_primitive().unwrap()[0], parts[1].id, code[0]));
        rest = after;
    }
    assert_eq!(results, [(1, 1, 0), (2, 5, 2), (4, 1, 2)]);
}

/// A search for `(&(cn=a*b)(uid>=1)(!(x=y)))` below `dc=example`.
const SEARCH: &[u8] =
    b"\x30\x46\x02\x01\x02\x63\x41\x04\x0adc=example\x0a\x01\x02\x0a\x01\x00\x02\x01\x00\x02\x01\x00\
    \x01\x01\x00\xa0\x22\xa4\x0c\x04\x02cn\x30\x06\x80\x01a\x82\x01b\xa5\x08\x04\x03uid\x04\x011\xa2\x08\xa3\
    \x06\x04\x01x\x04\x01y\x30\x00";

#[tokio::test]
async fn a_search_in_raw_bytes_is_answered_by_its_result() {
    assert_eq!(answers(SEARCH).await, b"\x30\x0c\x02\x01\x02\x65\x07\x0a\x01\x00\x04\x00\x04\x00");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_bytes_make_a_session_panic(
        changes in proptest::collection::vec((0..SEARCH.len(), proptest::prelude::any::<u8>()), 0..6),
    ) {
        let mut bytes = SEARCH.to_vec();
        for (at, octet) in changes {
            bytes[at] = octet;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(answers(&bytes));
    }
}
