//! The fixture `samba` does what others build on, and the server behaves as they take it to.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use ldap3::{Ldap, Scope};

use crate::processes::{program, run};
use crate::samba::{
    ADMINISTRATOR, BASE, Entry, GROUPS, NETBIOS, PACKAGES, PASSWORD, PEOPLE, SERVICE, SYNC, Samba,
};
use crate::wire::{self, Attributes};

/// The timer by which Samba tells of changes that another of its processes made is 5 s: what is below does not wait for it.
const AT_ONCE: Duration = Duration::from_millis(2500);
/// DirSync as somebody without rights (MS-ADTS 3.1.1.3.4.1.3), and with each value of `member` by itself.
const OBJECT_SECURITY: u32 = 0x1;
const INCREMENTAL_VALUES: u32 = 0x8000_0000;
/// insufficientAccessRights (RFC 4511, 4.1.9).
const INSUFFICIENT_ACCESS: u32 = 50;
/// schemaIDGUID of `tokenGroups`.
const TOKEN_GROUPS: &str = "b7c69e6d-2cc7-11d2-854e-00a0c983f608";
/// `msDS-User-Account-Control-Computed`: locked, password expired (MS-ADTS 3.1.1.4.5.17).
const COMPUTED: &str = "msDS-User-Account-Control-Computed";
const LOCKED: &str = "16";
const PASSWORD_EXPIRED: &str = "8388608";
const USER_PASSWORD: &str = "Passw0rd-of-Ada";

#[test]
fn an_account_binds_by_its_password_and_says_when_it_may_not() {
    let samba = Samba::start();
    assert_eq!(samba.bind(SERVICE, PASSWORD), Ok(()));
    assert!(samba.bind(SERVICE, "wrong").unwrap_err().contains("data 52e"));
    let ada = samba.add_user_with_password("ada", USER_PASSWORD);
    assert_eq!(samba.bind("ada", USER_PASSWORD), Ok(()));
    samba.disable(&ada);
    assert!(samba.bind("ada", USER_PASSWORD).unwrap_err().contains("data 533"));
    assert_eq!(control(&samba, &ada), "514");
    samba.enable(&ada);
    assert_eq!(samba.bind("ada", USER_PASSWORD), Ok(()));
    assert_eq!(control(&samba, &ada), "512");
}

fn control(samba: &Samba, user: &str) -> String {
    wire::text(&samba.read(user, &["userAccountControl"]).unwrap(), "userAccountControl")
}

#[test]
fn ldapsearch_reaches_it_by_start_tls_and_by_each_form_of_a_name() {
    let samba = Samba::start();
    let [url, ca] = [samba.ldap_url(), samba.ca_file().display().to_string()];
    let names =
        [samba.bind_name(SERVICE), format!("{NETBIOS}\\{SERVICE}"), format!("CN={SERVICE},CN=Users,{BASE}")];
    for name in names {
        let printed = run(Command::new(program("ldapsearch", PACKAGES))
            .env("LDAPTLS_CACERT", &ca)
            .args(["-LLL", "-x", "-ZZ", "-H", &url, "-D", &name, "-y"])
            .arg(password_without_line_end(&samba))
            .args(["-b", "", "-s", "base", "defaultNamingContext"]));
        assert!(printed.contains(BASE), "{name}: {printed}");
    }
}

/// As `ldapsearch -y` wants it.
fn password_without_line_end(samba: &Samba) -> std::path::PathBuf {
    let file = samba.path("password.bare");
    std::fs::write(&file, std::fs::read_to_string(samba.password_file()).unwrap().trim_end()).unwrap();
    file
}

#[test]
fn two_of_them_run_side_by_side_and_leave_nothing_behind() {
    let [one, other] = [Samba::start(), Samba::start()];
    assert_ne!(one.urls(), other.urls());
    let ada = one.add_user("ada");
    assert!(one.read(&ada, &["cn"]).is_some());
    assert_eq!(other.read(&ada, &["cn"]), None);
    let left = [address(&one), address(&other)];
    let folders = [one.path("smb.conf"), other.path("smb.conf")];
    drop([one, other]);
    assert!(left.iter().all(|address| TcpStream::connect(address).is_err()));
    assert!(folders.iter().all(|file| !file.exists()));
}

fn address(samba: &Samba) -> String {
    samba.urls()[0].replace("ldaps://", "") + ":636"
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_frozen_killed_and_started_again_and_keeps_what_it_held() {
    let mut samba = Samba::start();
    let ada = samba.add_user("ada");
    let mut client = samba.client(SERVICE).await;
    samba.freeze();
    let asked =
        tokio::time::timeout(Duration::from_millis(200), wire::read(&mut client, &ada, &["cn"])).await;
    assert!(asked.is_err(), "it answers nothing: {asked:?}");
    TcpStream::connect(address(&samba)).unwrap();
    samba.thaw();
    assert!(wire::read(&mut samba.client(SERVICE).await, &ada, &["cn"]).await.is_some());
    let before = samba.urls();
    samba.kill();
    assert!(TcpStream::connect(address(&samba)).is_err());
    samba.restart();
    samba.restart();
    assert_eq!(samba.urls(), before);
    assert!(samba.read(&ada, &["cn"]).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_has_nested_groups_and_the_primary_one_and_anybody_may_read_it() {
    let samba = Samba::start();
    let ada = samba.add_user("ada");
    let leaf = samba.add_group("leaf", &[&ada]);
    let middle = samba.add_group("middle", &[&leaf]);
    let top = samba.add_group("top", &[&middle]);
    let mut client = samba.client(SERVICE).await;
    let found = wire::read(&mut client, &ada, &["tokenGroups", "memberOf"]).await.unwrap();
    let token: BTreeSet<_> = found["tokenGroups"].iter().cloned().collect();
    let domain_users = samba.identity(&format!("CN=Domain Users,CN=Users,{BASE}")).sid;
    let users = samba.identity(&format!("CN=Users,CN=Builtin,{BASE}"));
    assert_eq!(users.sid_text(), "S-1-5-32-545");
    let expected = [&leaf, &middle, &top].map(|group| samba.identity(group).sid);
    assert_eq!(token, expected.into_iter().chain([domain_users, users.sid]).collect());
    assert_eq!(wire::text(&found, "memberOf"), leaf);
    samba.deny_reading(SERVICE, &ada, TOKEN_GROUPS);
    let found =
        wire::read(&mut samba.client(SERVICE).await, &ada, &["tokenGroups", "memberOf"]).await.unwrap();
    assert_eq!(found.keys().collect::<Vec<_>>(), ["memberOf"], "what may not be read is absent, not refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn dir_sync_tells_each_change_once_and_deletions_to_those_with_rights() {
    let samba = Samba::start();
    let [ada, bob] = ["ada", "bob"].map(|name| samba.add_user(name));
    let group = samba.add_group("group", &[&ada]);
    let mut sync = samba.client(SYNC).await;
    let mut service = samba.client(SERVICE).await;
    let refused = poll(&mut service, 0, &[]).await;
    assert_eq!(refused.unwrap_err(), INSUFFICIENT_ACCESS);
    let (_, everything) = poll(&mut sync, 0, &[]).await.unwrap();
    let (entries, _) = poll(&mut sync, 0, &everything).await.unwrap();
    assert_eq!(entries, [], "nothing has changed");

    samba.remove_member(&group, &ada);
    samba.add_member(&group, &bob);
    for (client, flags) in [(&mut sync, 0), (&mut service, OBJECT_SECURITY)] {
        let (entries, _) = poll(client, flags | INCREMENTAL_VALUES, &everything).await.unwrap();
        let [(dn, changed)] = &entries[..] else { panic!("{entries:?}") };
        assert_eq!(dn, &group);
        assert_eq!(wire::text(changed, "member;range=0-0"), ada, "removed");
        assert_eq!(wire::text(changed, "member;range=1-1"), bob, "added");
        let (entries, _) = poll(client, flags, &everything).await.unwrap();
        assert_eq!(wire::text(&entries[0].1, "member"), bob, "as it is now");
    }
    let (_, before) = poll(&mut sync, 0, &everything).await.unwrap();
    samba.delete(&group);
    let (entries, _) = poll(&mut sync, 0, &before).await.unwrap();
    assert_eq!(wire::text(&entries[0].1, "isDeleted"), "TRUE");
    let (entries, _) = poll(&mut service, OBJECT_SECURITY, &before).await.unwrap();
    assert_eq!(entries, []);
}

/// What has changed since the cookie, and the next cookie; or the result code.
async fn poll(
    ldap: &mut Ldap,
    flags: u32,
    cookie: &[u8],
) -> Result<(Vec<(String, Attributes)>, Vec<u8>), u32> {
    let names =
        ["objectClass", "objectGUID", "sAMAccountName", "userAccountControl", "member", "name", "isDeleted"];
    let search = ldap.with_controls(wire::dir_sync(flags, cookie));
    let ldap3::SearchResult(entries, result) =
        search.search(BASE, Scope::Subtree, "(objectClass=*)", names).await.unwrap();
    if result.rc != 0 {
        return Err(result.rc);
    }
    Ok((entries.into_iter().map(wire::attributes).collect(), wire::cookie(&result).unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_notified_at_once_to_those_who_wait() {
    let samba = Samba::start();
    let ada = samba.add_user("ada");
    let group = samba.add_group("group", &[]);
    let mut client = samba.client(SERVICE).await;
    let waiting = client.with_controls(wire::notification());
    let mut changes =
        waiting.streaming_search(BASE, Scope::Subtree, "(objectClass=*)", ["member"]).await.unwrap();
    // There is no sign that it waits: what was asked later on the same connection is answered later.
    wire::read(&mut client, BASE, &["dc"]).await.unwrap();
    let mut taken = Vec::new();
    for turn in 0..20 {
        let started = Instant::now();
        if turn % 2 == 0 {
            samba.add_member(&group, &ada)
        } else {
            samba.remove_member(&group, &ada)
        }
        let change = tokio::time::timeout(AT_ONCE, changes.next()).await.expect("no change within 2.5 s");
        let (dn, attributes) = wire::attributes(change.unwrap().unwrap());
        taken.push(started.elapsed());
        assert_eq!((&dn, attributes.contains_key("member")), (&group, turn % 2 == 0));
    }
    taken.sort();
    println!("from the change to its notification: {:?} median, {:?} at most", taken[10], taken[19]);
    changes.finish().await;
}

#[test]
fn an_account_can_be_locked_and_expired_and_its_password_aged() {
    let samba = Samba::start();
    let [locked, aged, expired] =
        ["locked", "aged", "expired"].map(|name| samba.add_user_with_password(name, USER_PASSWORD));
    let computed = |user: &str| wire::text(&samba.read(user, &[COMPUTED]).unwrap(), COMPUTED);
    samba.lock_after(2, Duration::from_secs(600));
    for _ in 0..2 {
        samba.bind("locked", "wrong").unwrap_err();
    }
    assert!(samba.bind("locked", USER_PASSWORD).unwrap_err().contains("data 775"));
    assert_eq!(computed(&locked), LOCKED);
    samba.age_password(&aged, Duration::from_secs(50 * 24 * 3600));
    assert!(samba.bind("aged", USER_PASSWORD).unwrap_err().contains("data 532"));
    assert_eq!(computed(&aged), PASSWORD_EXPIRED);
    samba.set(&expired, "accountExpires", &["132000000000000000"]);
    assert!(samba.bind("expired", USER_PASSWORD).unwrap_err().contains("data 701"));
    assert_eq!(computed(&expired), "0", "there is no bit for it");
}

#[test]
fn an_object_keeps_its_identity_under_another_name_and_in_another_place() {
    let samba = Samba::start();
    let ada = samba.add_user("ada");
    let (first, mark) = (samba.identity(&ada), samba.highest_usn());
    let renamed = samba.rename(&ada, "ada lovelace");
    assert_eq!(renamed, format!("CN=ada lovelace,{PEOPLE}"));
    let moved = samba.move_to(&renamed, "ada", GROUPS);
    let last = samba.identity(&moved);
    assert_eq!((last.guid, last.sid), (first.guid, first.sid));
    assert!(last.usn > first.usn && last.usn == samba.highest_usn() && last.usn > mark);
    samba.delete(&moved);
    assert_eq!(samba.read(&moved, &["cn"]), None);
}

#[test]
fn thousands_are_loaded_in_bulk() {
    let samba = Samba::start();
    let started = Instant::now();
    let users: Vec<Entry> = (0..1200).map(|number| Entry::user(&format!("user{number}"))).collect();
    let dns: Vec<String> = users.iter().map(|user| user.dn.clone()).collect();
    samba.add_all(users);
    let loaded = started.elapsed();
    let everybody = samba.add_group("everybody", &[]);
    samba.add_members(&everybody, &dns.iter().map(String::as_str).collect::<Vec<_>>());
    println!("1200 users in {loaded:?}, into one group in {:?}", started.elapsed() - loaded);
    assert_eq!(samba.read(&everybody, &["member"]).unwrap()["member"].len(), 1200);
    samba.add_all((0..50).map(|number| Entry::group(&format!("group{number}"), &[&dns[0]])).collect());
    assert_eq!(samba.read(&dns[0], &["memberOf"]).unwrap()["memberOf"].len(), 51);
}

#[test]
fn the_administrator_is_one_of_its_accounts() {
    assert_eq!(Samba::start().bind(ADMINISTRATOR, PASSWORD), Ok(()));
}
