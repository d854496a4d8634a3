use lber::structure::StructureTag;
use ldap3::controls::Control;

use super::*;
use crate::directory::embedded::message::{encode, integer, octets, sequence};

const DIR_SYNC: &str = "1.2.840.113556.1.4.841";
const SECURITY: i64 = 1;
const INCREMENTAL: i64 = i32::MIN as i64;
const LIST: [&str; 8] = [
    "objectClass",
    "objectSid",
    "sAMAccountName",
    "userAccountControl",
    "member",
    "name",
    "isDeleted",
    "userPrincipalName",
];

/// A consumer with its cookie.
struct Consumer {
    ldap: Ldap,
    flags: i64,
    cookie: Vec<u8>,
}

type Attributes = BTreeMap<String, Vec<Vec<u8>>>;

/// What one poll gave: names with their attributes, whether there is more, and the result.
struct Polled {
    entries: Vec<(String, Attributes)>,
    more: bool,
    code: u32,
}

impl Consumer {
    async fn new(server: &Persona, flags: i64) -> Self {
        Self { ldap: client(server).await, flags, cookie: Vec::new() }
    }

    async fn poll(&mut self, filter: &str) -> Polled {
        let mut value = bytes::BytesMut::new();
        let parts = vec![integer(self.flags), integer(1 << 20), octets(self.cookie.clone())];
        encode(&mut value, sequence(parts));
        self.ldap.with_controls(control(DIR_SYNC, Some(value.to_vec())));
        let found = search(&mut self.ldap, ROOT, Scope::Subtree, filter, &LIST).await;
        let control = found.result.ctrls.iter().find(|Control(_, raw)| raw.ctype == DIR_SYNC);
        let mut more = false;
        if let Some(Control(_, raw)) = control {
            let (_, value) = lber::parse::parse_tag(raw.val.as_deref().unwrap()).unwrap();
            let mut parts = value.expect_constructed().unwrap().into_iter();
            let mut octets = || parts.next().and_then(StructureTag::expect_primitive).unwrap();
            (more, _, self.cookie) = (octets() != [0], octets(), octets());
        }
        let code = found.code();
        let entries = found.entries.into_iter().map(|entry| (entry.dn.clone(), all_values(entry))).collect();
        Polled { entries, more, code }
    }

    async fn changes(&mut self) -> Vec<(String, Attributes)> {
        let polled = self.poll("(objectClass=*)").await;
        assert_eq!((polled.code, polled.more), (0, false));
        polled.entries
    }

    /// The one object that changed: its name, and its attributes but for those that always come.
    async fn change(&mut self) -> (String, Attributes) {
        let mut changes = self.changes().await;
        assert_eq!(changes.len(), 1, "{changes:?}");
        let (dn, mut attributes) = changes.remove(0);
        assert!(attributes.remove("objectGUID").is_some() && attributes.remove("instanceType").is_some());
        (dn, attributes)
    }
}

#[tokio::test]
async fn the_right_to_replicate_is_needed_or_the_flag_that_does_without() {
    let server = Persona::active_directory(COMPANY).await;
    assert_eq!(Consumer::new(&server, 0).await.poll("(objectClass=*)").await.code, 50);
    assert_eq!(Consumer::new(&server, SECURITY).await.poll("(objectClass=*)").await.code, 0);
    server.set(|manner| manner.may_replicate = true);
    let mut consumer = Consumer::new(&server, 0).await;
    assert_eq!(consumer.poll("(objectClass=*)").await.code, 0);
    assert_eq!(consumer.cookie.len(), 108);
    consumer.cookie.truncate(20);
    assert_eq!(consumer.poll("(objectClass=*)").await.code, 12);
}

#[tokio::test]
async fn the_first_poll_gives_everything_and_the_next_one_nothing() {
    let server = Persona::active_directory(COMPANY).await;
    let mut consumer = Consumer::new(&server, SECURITY | INCREMENTAL).await;
    let all = consumer.changes().await;
    let leaf = &all.iter().find(|(dn, _)| dn == LEAF).unwrap().1;
    assert_eq!(text(&leaf["member;range=1-1"]), [ADA]);
    assert!(leaf.contains_key("objectSid") && !leaf.contains_key("cn"));
    assert!(consumer.changes().await.is_empty());
    let mut cheap = Consumer::new(&server, SECURITY).await;
    assert!(cheap.poll("(cn=nobody)").await.entries.is_empty());
    assert_eq!(cheap.cookie, consumer.cookie);
}

#[tokio::test]
async fn members_come_as_they_came_and_went() {
    let server = Persona::active_directory(COMPANY).await;
    let mut consumer = Consumer::new(&server, SECURITY | INCREMENTAL).await;
    let mut whole = Consumer::new(&server, SECURITY).await;
    consumer.changes().await;
    whole.changes().await;
    server.change(|content| content.add_value(LEAF, "member", BOB));
    let (dn, attributes) = consumer.change().await;
    assert_eq!((dn.as_str(), attributes.len(), text(&attributes["member;range=1-1"])), (LEAF, 1, vec![BOB]));
    server.change(|content| content.remove_value(LEAF, "member", ADA));
    assert_eq!(text(&consumer.change().await.1["member;range=0-0"]), [ADA]);
    assert_eq!(text(&whole.change().await.1["member"]), [BOB]);
    server.change(|content| content.set(LEAF, "member", &[ADA]));
    let (_, attributes) = consumer.change().await;
    assert_eq!(text(&attributes["member;range=0-0"]), [BOB]);
    assert_eq!(text(&attributes["member;range=1-1"]), [ADA]);
    server.change(|content| content.set(LEAF, "member", &[]));
    assert_eq!(whole.change().await.1["member"], Vec::<Vec<u8>>::new());
    consumer.change().await;
    server.change(|content| {
        content.add_value(LEAF, "member", BOB);
        content.remove_value(LEAF, "member", BOB);
    });
    assert_eq!(text(&consumer.change().await.1["member;range=0-0"]), [BOB]);
}

#[tokio::test]
async fn of_an_object_only_what_changed_comes_and_only_if_it_was_asked_for() {
    let server = Persona::active_directory(COMPANY).await;
    let mut consumer = Consumer::new(&server, SECURITY).await;
    consumer.changes().await;
    server.change(|content| content.set(BOB, "userAccountControl", &["514"]));
    let (dn, attributes) = consumer.change().await;
    assert_eq!((dn.as_str(), attributes.len()), (BOB, 1));
    assert_eq!(text(&attributes["userAccountControl"]), ["514"]);
    server.change(|content| content.set(BOB, "description", &["not asked for"]));
    assert!(consumer.changes().await.is_empty());
    let robert = "CN=Robert,OU=People,DC=corp,DC=example";
    server.change(|content| content.rename(BOB, robert));
    let (dn, attributes) = consumer.change().await;
    assert_eq!((dn.as_str(), attributes.len(), text(&attributes["name"])), (robert, 1, vec!["Robert"]));
}

#[tokio::test]
async fn deletions_are_shown_to_who_may_see_them() {
    let server = Persona::active_directory(COMPANY).await;
    let mut consumer = Consumer::new(&server, SECURITY).await;
    let mut other = Consumer::new(&server, SECURITY).await;
    consumer.changes().await;
    other.changes().await;
    let guid = server.change(|content| content.uuid(BOB));
    server.change(|content| content.delete(BOB));
    assert!(consumer.changes().await.is_empty());
    server.set(|manner| manner.sees_deleted = true);
    let (dn, attributes) = other.change().await;
    assert_eq!(dn, format!("CN=Bob\\0ADEL:{guid},CN=Deleted Objects,{ROOT}"));
    assert_eq!(text(&attributes["isDeleted"]), ["TRUE"]);
    assert_eq!(text(&attributes["name"]), [format!("Bob\nDEL:{guid}")]);
    assert!(attributes["userPrincipalName"].is_empty() && !attributes.contains_key("objectSid"));
}

#[tokio::test]
async fn what_is_too_much_at_once_comes_in_parts() {
    let server = Persona::active_directory(COMPANY).await;
    let mut consumer = Consumer::new(&server, SECURITY).await;
    let all = consumer.changes().await.len();
    server.set(|manner| manner.dir_sync_batch = 5);
    let mut parts = Consumer::new(&server, SECURITY).await;
    let (mut count, mut more) = (0, true);
    while more {
        let polled = parts.poll("(objectClass=*)").await;
        (count, more) = (count + polled.entries.len(), polled.more);
    }
    assert_eq!(count, all);
}
