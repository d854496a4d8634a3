//! Plain LDAP connections for the tests themselves: `ldap3` over LDAPS, without our own client between.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use bailiwick::tls::{ClientContext, MinVersion};
use lber::structures::{ASNTag, Integer, OctetString, Sequence, Tag};
use ldap3::controls::RawControl;
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapResult, ResultEntry, Scope, SearchEntry, StdStream};
use tokio::net::{TcpStream, UnixStream};

/// How long a connection may take to be made, and how long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
const LDAPS: u16 = 636;
const DIR_SYNC: &str = "1.2.840.113556.1.4.841";
const NOTIFICATION: &str = "1.2.840.113556.1.4.528";

/// An entry's attributes by the name that the server gave, each value as its bytes.
pub type Attributes = BTreeMap<String, Vec<Vec<u8>>>;

/// Connects and binds. What goes wrong is said in words.
pub async fn connect(address: Ipv4Addr, ca_pem: &str, who: &str, password: &str) -> Result<Ldap, String> {
    let connecting = async {
        let context = ClientContext::from_pem("test", ca_pem, None, MinVersion::Tls12).unwrap();
        let tcp = TcpStream::connect((address, LDAPS)).await.map_err(|error| error.to_string())?;
        tcp.set_nodelay(true).unwrap();
        let mut tls = context.connect(&address.to_string(), tcp).await.map_err(|error| error.to_string())?;
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        tokio::spawn(async move { tokio::io::copy_bidirectional(&mut ours, &mut tls).await });
        let settings = LdapConnSettings::new().set_std_stream(StdStream::Unix(theirs.into_std().unwrap()));
        let (driver, mut ldap) =
            LdapConnAsync::with_settings(settings, "ldapi:///").await.map_err(|error| error.to_string())?;
        tokio::spawn(driver.drive());
        let bound = ldap.with_timeout(PATIENCE).simple_bind(who, password).await;
        bound.and_then(LdapResult::success).map_err(|error| error.to_string())?;
        Ok(ldap)
    };
    tokio::time::timeout(PATIENCE, connecting).await.map_err(|_| "no answer".to_owned())?
}

/// The DN of an entry and its attributes; text and bytes alike.
pub fn attributes(entry: ResultEntry) -> (String, Attributes) {
    let entry = SearchEntry::construct(entry);
    let texts =
        entry.attrs.into_iter().map(|(name, values)| (name, values.into_iter().map(String::into_bytes)));
    let mut all: Attributes = texts.map(|(name, values)| (name, values.collect())).collect();
    for (name, values) in entry.bin_attrs {
        all.entry(name).or_default().extend(values);
    }
    (entry.dn, all)
}

/// Reads one entry; `None` where there is none, or where one may not see it.
pub async fn read(ldap: &mut Ldap, dn: &str, names: &[&str]) -> Option<Attributes> {
    let found = ldap.with_timeout(PATIENCE).search(dn, Scope::Base, "(objectClass=*)", names).await;
    let ldap3::SearchResult(entries, result) = found.unwrap();
    assert!(matches!(result.rc, 0 | 32), "{dn}: {result}");
    entries.into_iter().map(|entry| attributes(entry).1).next()
}

/// One value as text.
pub fn text(attributes: &Attributes, name: &str) -> String {
    let value = attributes.get(name).and_then(|values| values.first());
    String::from_utf8(value.unwrap_or_else(|| panic!("no {name} in {attributes:?}")).clone()).unwrap()
}

/// The control of DirSync (MS-ADTS 3.1.1.3.4.1.3) with these flags, from this cookie on; an empty one is from the start.
pub fn dir_sync(flags: u32, cookie: &[u8]) -> RawControl {
    let numbers = [flags, u32::MAX >> 1]
        .map(|inner| Tag::Integer(Integer { inner: inner.into(), ..Default::default() }));
    let cookie = Tag::OctetString(OctetString { inner: cookie.to_vec(), ..Default::default() });
    let value = Sequence { inner: numbers.into_iter().chain([cookie]).collect(), ..Default::default() };
    let mut bytes = bytes::BytesMut::new();
    lber::write::encode_into(&mut bytes, Tag::Sequence(value).into_structure()).unwrap();
    RawControl { ctype: DIR_SYNC.to_owned(), crit: true, val: Some(bytes.to_vec()) }
}

/// The cookie that came with the end of a DirSync search, to go on from.
pub fn cookie(result: &LdapResult) -> Option<Vec<u8>> {
    let control = result.ctrls.iter().find(|control| control.1.ctype == DIR_SYNC)?;
    let (_, value) = lber::parse::parse_tag(control.1.val.as_ref()?).ok()?;
    value.expect_constructed()?.pop()?.expect_primitive()
}

/// The control of change notification (MS-ADTS 3.1.1.3.4.1.9): its search must have the filter `(objectClass=*)`.
pub fn notification() -> RawControl {
    RawControl { ctype: NOTIFICATION.to_owned(), crit: true, val: None }
}
