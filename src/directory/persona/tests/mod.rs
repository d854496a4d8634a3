//! Each thing that the server can do, once.

mod active_directory;
mod content;
mod dirsync;
mod faults;
mod hooks;
mod limits;
mod notify;
mod open_ldap;
mod slapd_bytes;
mod syncrepl;

use std::collections::BTreeMap;
use std::time::Duration;

use ldap3::controls::RawControl;
use ldap3::{Ldap, LdapConnAsync, LdapResult, ResultEntry, Scope, SearchEntry, SearchStream};

use super::samples::*;
use super::*;

const ROOT: &str = "DC=corp,DC=example";
const ADA: &str = "CN=Ada Lovelace,OU=People,DC=corp,DC=example";
const BOB: &str = "CN=Bob,OU=People,DC=corp,DC=example";
const LEAF: &str = "CN=leaf,OU=Groups,DC=corp,DC=example";
const MID: &str = "CN=mid,OU=Groups,DC=corp,DC=example";
const TOP: &str = "CN=top,OU=Groups,DC=corp,DC=example";
const UID_ADA: &str = "uid=ada,ou=people,dc=corp,dc=example";
const UID_BOB: &str = "uid=bob,ou=people,dc=corp,dc=example";
const CN_LEAF: &str = "cn=leaf,ou=groups,dc=corp,dc=example";

/// What a search gave, whatever it gave.
struct Given {
    entries: Vec<SearchEntry>,
    result: LdapResult,
}

impl Given {
    fn names(&self) -> Vec<&str> {
        self.entries.iter().map(|entry| entry.dn.split(',').next().unwrap()).collect()
    }

    fn code(&self) -> u32 {
        self.result.rc
    }
}

/// A client that has bound.
async fn client(server: &Persona) -> Ldap {
    let mut ldap = stranger(server).await;
    assert_eq!(ldap.simple_bind("cn=svc", "secret").await.unwrap().rc, 0);
    ldap
}

/// A client that has not.
async fn stranger(server: &Persona) -> Ldap {
    let (connection, ldap) = LdapConnAsync::new(&server.url()).await.unwrap();
    tokio::spawn(connection.drive());
    ldap
}

async fn search(ldap: &mut Ldap, base: &str, scope: Scope, filter: &str, attributes: &[&str]) -> Given {
    let found = ldap.search(base, scope, filter, attributes.to_vec()).await.unwrap();
    Given { entries: found.0.into_iter().map(SearchEntry::construct).collect(), result: found.1 }
}

async fn below(ldap: &mut Ldap, filter: &str) -> Vec<String> {
    let found = search(ldap, ROOT, Scope::Subtree, filter, &["1.1"]).await;
    assert_eq!(found.code(), 0, "{filter}");
    found.names().into_iter().map(str::to_owned).collect()
}

/// The attributes of one entry, whether their values are text or not.
async fn read(ldap: &mut Ldap, dn: &str, attributes: &[&str]) -> BTreeMap<String, Vec<Vec<u8>>> {
    let found = search(ldap, dn, Scope::Base, "(objectClass=*)", attributes).await;
    assert_eq!((found.entries.len(), found.code()), (1, 0), "{dn}");
    all_values(found.entries.into_iter().next().unwrap())
}

fn all_values(entry: SearchEntry) -> BTreeMap<String, Vec<Vec<u8>>> {
    let texts = entry
        .attrs
        .into_iter()
        .map(|(kind, values)| (kind, values.into_iter().map(String::into_bytes).collect::<Vec<_>>()));
    texts.chain(entry.bin_attrs).collect()
}

fn text(values: &[Vec<u8>]) -> Vec<&str> {
    values.iter().map(|value| std::str::from_utf8(value).unwrap()).collect()
}

fn control(oid: &str, value: Option<Vec<u8>>) -> RawControl {
    RawControl { ctype: oid.to_owned(), crit: true, val: value }
}

type Stream = SearchStream<'static, &'static str, Vec<&'static str>>;

/// Begins a search that may go on.
async fn feed(
    ldap: &mut Ldap,
    base: &'static str,
    filter: &'static str,
    attributes: &[&'static str],
) -> Stream {
    ldap.streaming_search(base, Scope::Subtree, filter, attributes.to_vec()).await.unwrap()
}

async fn next(stream: &mut Stream) -> ResultEntry {
    let next = tokio::time::timeout(Duration::from_secs(10), stream.next());
    next.await.expect("something comes").unwrap().expect("it is no end")
}
