//! Changes of what a domain controller holds, made by the administrator over LDAPS: each takes 3 ms, a user with a password
//! 35 ms. What fails, fails the test.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt as _;
use futures_util::stream;
use ldap3::{Ldap, LdapResult, Mod};

use super::{BASE, GROUPS, PACKAGES, PEOPLE, Samba, block_on};
use crate::processes::{program, run};
use crate::wire;

/// How long one change may take: with thousands of objects, and somebody who waits for notifications, a second.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many requests of a bulk load are in flight.
const IN_FLIGHT: usize = 32;
/// How many members one request adds.
const MEMBERS: usize = 1000;
/// `userAccountControl`: a normal account; disabled; that needs no password (MS-ADTS 2.2.16).
const NORMAL: u32 = 0x200;
const DISABLED: u32 = 0x2;
const NO_PASSWORD: u32 = 0x20;
/// From 1601 to 1970, in seconds.
const FILETIME_EPOCH: u64 = 11_644_473_600;

/// What is to be added: a DN, and attributes with their values.
#[derive(Debug, Clone)]
pub struct Entry {
    pub dn: String,
    pub attributes: Vec<(&'static str, Vec<Vec<u8>>)>,
}

impl Entry {
    /// A person who cannot log in by password, and is not disabled.
    pub fn user(name: &str) -> Self {
        let control = (NORMAL | NO_PASSWORD).to_string();
        let user_principal_name = format!("{name}@{}", super::DOMAIN);
        Self::new(
            format!("CN={name},{PEOPLE}"),
            &[
                ("objectClass", "user"),
                ("sAMAccountName", name),
                ("userPrincipalName", &user_principal_name),
                ("userAccountControl", &control),
            ],
        )
    }

    /// A global security group with these members, by their DNs.
    pub fn group(name: &str, members: &[&str]) -> Self {
        let mut entry =
            Self::new(format!("CN={name},{GROUPS}"), &[("objectClass", "group"), ("sAMAccountName", name)]);
        if !members.is_empty() {
            let members = members.iter().map(|member| member.as_bytes().to_vec()).collect();
            entry.attributes.push(("member", members));
        }
        entry
    }

    pub fn new(dn: String, attributes: &[(&'static str, &str)]) -> Self {
        let attributes = attributes.iter().map(|(name, value)| (*name, vec![value.as_bytes().to_vec()]));
        Self { dn, attributes: attributes.collect() }
    }
}

/// What an object is known by, whatever its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `objectGUID`, 16 bytes as stored.
    pub guid: Vec<u8>,
    /// `objectSid` as stored.
    pub sid: Vec<u8>,
    /// `uSNChanged`.
    pub usn: u64,
}

impl Identity {
    /// The GUID as Windows writes it: the first three fields are little-endian (MS-DTYP 2.3.4.2).
    pub fn guid_text(&self) -> String {
        let hex = |range: std::ops::Range<usize>, is_reversed: bool| {
            let mut bytes = self.guid[range].to_vec();
            if is_reversed {
                bytes.reverse();
            }
            bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        [hex(0..4, true), hex(4..6, true), hex(6..8, true), hex(8..10, false), hex(10..16, false)].join("-")
    }

    /// `S-1-5-...` (MS-DTYP 2.4.2.1).
    pub fn sid_text(&self) -> String {
        let authority = self.sid[2..8].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let start = format!("S-{}-{authority}", self.sid[0]);
        self.sid[8..].chunks_exact(4).fold(start, |mut text, part| {
            let _ = write!(text, "-{}", u32::from_le_bytes(part.try_into().unwrap()));
            text
        })
    }
}

impl Samba {
    /// Adds a person who cannot log in, `CN=name` below `PEOPLE`, and gives the DN.
    pub fn add_user(&self, name: &str) -> String {
        self.add(Entry::user(name))
    }

    /// Adds a person with a password, and gives the DN.
    pub fn add_user_with_password(&self, name: &str, password: &str) -> String {
        let mut entry = Entry::user(name);
        entry.attributes.retain(|(attribute, _)| *attribute != "userAccountControl");
        entry.attributes.push(("userAccountControl", vec![NORMAL.to_string().into_bytes()]));
        entry.attributes.push(("unicodePwd", vec![unicode_password(password)]));
        self.add(entry)
    }

    /// Adds a group of these members (DNs), `CN=name` below `GROUPS`, and gives its DN.
    pub fn add_group(&self, name: &str, members: &[&str]) -> String {
        self.add(Entry::group(name, members))
    }

    /// Adds an entry, and gives its DN.
    pub fn add(&self, entry: Entry) -> String {
        let dn = entry.dn.clone();
        block_on(async { add(self.administrator().await, entry).await });
        dn
    }

    /// Adds thousands of entries. An entry may name only members that are there before.
    pub fn add_all(&self, entries: Vec<Entry>) {
        block_on(async {
            let administrator = self.administrator().await;
            let adding = stream::iter(entries).map(|entry| add(administrator.clone(), entry));
            adding.buffer_unordered(IN_FLIGHT).collect::<()>().await;
        });
    }

    pub fn add_member(&self, group: &str, member: &str) {
        self.add_members(group, &[member]);
    }

    /// Adds thousands of members to one group.
    pub fn add_members(&self, group: &str, members: &[&str]) {
        for members in members.chunks(MEMBERS) {
            self.modify(group, Mod::Add(bytes("member"), members.iter().copied().map(bytes).collect()));
        }
    }

    pub fn remove_member(&self, group: &str, member: &str) {
        self.modify(group, Mod::Delete(bytes("member"), HashSet::from([bytes(member)])));
    }

    pub fn disable(&self, user: &str) {
        self.change_control(user, |control| control | DISABLED);
    }

    pub fn enable(&self, user: &str) {
        self.change_control(user, |control| control & !DISABLED);
    }

    /// Sets an attribute to these values, and removes it where there are none.
    pub fn set(&self, dn: &str, attribute: &str, values: &[&str]) {
        self.modify(dn, Mod::Replace(bytes(attribute), values.iter().copied().map(bytes).collect()));
    }

    /// Renames an object, within its container, and gives its new DN.
    pub fn rename(&self, dn: &str, name: &str) -> String {
        let (_, parent) = dn.split_once(',').unwrap();
        self.move_to(dn, name, parent)
    }

    /// Renames an object and moves it below another, and gives its new DN.
    pub fn move_to(&self, dn: &str, name: &str, parent: &str) -> String {
        self.change_name(dn, format!("CN={name}"), parent)
    }

    /// Renames an organizational unit, and with it whatever stands below it.
    pub fn rename_unit(&self, dn: &str, name: &str) -> String {
        let (_, parent) = dn.split_once(',').unwrap();
        self.change_name(dn, format!("OU={name}"), parent)
    }

    fn change_name(&self, dn: &str, rdn: String, parent: &str) -> String {
        block_on(async {
            let mut ldap = self.administrator().await;
            checked(dn, ldap.with_timeout(PATIENCE).modifydn(dn, &rdn, true, Some(parent)).await);
        });
        format!("{rdn},{parent}")
    }

    pub fn delete(&self, dn: &str) {
        block_on(async {
            checked(dn, self.administrator().await.with_timeout(PATIENCE).delete(dn).await);
        });
    }

    /// Makes that `failures` wrong passwords lock an account for this long (at least a second). Locks that are over leave
    /// `lockoutTime` as it is until the next bind.
    pub fn lock_after(&self, failures: u32, duration: Duration) {
        // Negative, in units of 100 ns.
        let duration = format!("-{}", duration.as_nanos() / 100);
        self.set(BASE, "lockoutDuration", &[&duration]);
        self.set(BASE, "lockOutObservationWindow", &[&duration]);
        self.set(BASE, "lockoutThreshold", &[&failures.to_string()]);
    }

    /// Makes a password as old as that. The server lets nobody do so, which is why it is done in its files; nobody who
    /// waits for changes sees it.
    pub fn age_password(&self, user: &str, age: Duration) {
        let then = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - age;
        let file_time = (then.as_secs() + FILETIME_EPOCH) * 10_000_000;
        self.ldbmodify(
            &format!("private/sam.ldb.d/{}.ldb", BASE.to_uppercase()),
            &[],
            &format!("dn: {user}\nchangetype: modify\nreplace: pwdLastSet\npwdLastSet: {file_time}\n"),
        );
    }

    /// Lets an account no longer read one attribute of an object, given by its schemaIDGUID. Cannot be taken back.
    pub fn deny_reading(&self, account: &str, dn: &str, attribute: &str) {
        self.add_access_entry(account, dn, &format!("OD;;RP;{attribute};"));
    }

    /// Lets an account no longer read one attribute of an object and of all below it.
    pub fn deny_reading_below(&self, account: &str, dn: &str, attribute: &str) {
        self.add_access_entry(account, dn, &format!("OD;CI;RP;{attribute};"));
    }

    /// Lets an account no longer read anything of an object.
    pub fn deny_all(&self, account: &str, dn: &str) {
        self.add_access_entry(account, dn, "D;;RP;;");
    }

    /// Adds an entry to the access control list of an object (MS-DTYP 2.5.1): all of it but whom it is about.
    fn add_access_entry(&self, account: &str, dn: &str, entry: &str) {
        let sid = self.identity(&account_dn(account)).sid_text();
        self.tool(&["dsacl", "set", &format!("--sddl=({entry};{sid})"), &format!("--objectdn={dn}")]);
    }

    /// What an object is known by.
    pub fn identity(&self, dn: &str) -> Identity {
        let names = ["objectGUID", "objectSid", "uSNChanged"];
        let mut found = self.read(dn, &names).unwrap_or_else(|| panic!("there is no {dn}"));
        let usn = wire::text(&found, "uSNChanged").parse().unwrap();
        let mut bytes = |name: &str| found.remove(name).unwrap_or_default().pop().unwrap_or_default();
        Identity { guid: bytes("objectGUID"), sid: bytes("objectSid"), usn }
    }

    /// The number of the last change that the server made.
    pub fn highest_usn(&self) -> u64 {
        let root = self.read("", &["highestCommittedUSN"]).unwrap();
        wire::text(&root, "highestCommittedUSN").parse().unwrap()
    }

    /// Changes its files past the server.
    pub(super) fn ldbmodify(&self, file: &str, options: &[&str], ldif: &str) {
        let change = self.path("change.ldif");
        std::fs::write(&change, ldif).unwrap();
        let file = self.path(file);
        run(Command::new(program("ldbmodify", PACKAGES)).arg("-H").arg(file).args(options).arg(change));
    }

    fn change_control(&self, user: &str, change: impl Fn(u32) -> u32) {
        let held = self.read(user, &["userAccountControl"]).unwrap();
        let control: u32 = wire::text(&held, "userAccountControl").parse().unwrap();
        self.set(user, "userAccountControl", &[&change(control).to_string()]);
    }

    fn modify(&self, dn: &str, change: Mod<Vec<u8>>) {
        block_on(async {
            let mut ldap = self.administrator().await;
            checked(dn, ldap.with_timeout(PATIENCE).modify(dn, vec![change]).await);
        });
    }
}

/// One of the fixture's own accounts.
pub(super) fn account_dn(account: &str) -> String {
    format!("CN={account},CN=Users,{BASE}")
}

/// What `unicodePwd` is set to (MS-ADTS 3.1.1.3.1.5.1).
pub(super) fn unicode_password(password: &str) -> Vec<u8> {
    format!("\"{password}\"").encode_utf16().flat_map(u16::to_le_bytes).collect()
}

async fn add(mut ldap: Ldap, entry: Entry) {
    let attributes = entry.attributes.into_iter();
    let attributes = attributes.map(|(name, values)| (bytes(name), values.into_iter().collect())).collect();
    checked(&entry.dn, ldap.with_timeout(PATIENCE).add(&entry.dn, attributes).await);
}

fn checked(dn: &str, result: ldap3::result::Result<LdapResult>) {
    if let Err(error) = result.and_then(LdapResult::success) {
        panic!("{dn}: {error}");
    }
}

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}
