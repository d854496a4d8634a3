//! The state of an account in Active Directory, as it is read, and what becomes of it in a decision.

use std::time::Duration;

use bailiwick::directory::Directory;
use bailiwick::model::Decision::{Allow, Deny};
use bailiwick::model::{AccountState, Decision, UnreadableState};

use crate::fixture::{Service, Site, policy};
use crate::logon_names::{open, resolve};
use crate::samba::{SERVICE, Samba};

/// schemaIDGUIDs of the attributes that say it.
const CONTROL: &str = "bf967a68-0de6-11d0-a285-00aa003049e2";
const COMPUTED: &str = "2cc4b836-b63f-4940-8d23-ea7acf06af56";
const EXPIRES: &str = "bf967915-0de6-11d0-a285-00aa003049e2";

const PASSWORD: &str = "Passw0rd-of-Ada";
/// 2019-04-18T03:00:00Z and 2043-07-16T10:46:40Z as FILETIME (MS-DTYP 2.3.3).
const PAST: &str = "132000300000000000";
const FUTURE: &str = "139651300000000000";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What every one of these is where nothing is the matter.
fn normal() -> AccountState {
    AccountState {
        disabled: Some(false),
        locked: Some(false),
        locked_until: None,
        expires: None,
        password_expired: Some(false),
        unreadable: UnreadableState::default(),
    }
}

fn unreadable(what: fn(&mut UnreadableState)) -> UnreadableState {
    let mut unreadable = UnreadableState::default();
    what(&mut unreadable);
    unreadable
}

async fn state(directory: &Directory, user: &str) -> AccountState {
    resolve(directory, user).await.unwrap().account
}

/// An account, its state, and what a review of it is answered with every state refused, with the reason.
struct Case {
    user: &'static str,
    state: AccountState,
    decision: Decision,
    reason: &'static str,
}

fn case(user: &'static str, reason: &'static str, change: impl FnOnce(&mut AccountState)) -> Case {
    let mut state = normal();
    change(&mut state);
    Case { user, state, decision: if reason.is_empty() { Allow } else { Deny }, reason }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_state_of_an_account_is_read_and_refuses_by_its_name() {
    let samba = Samba::start();
    let cases = [
        case("normal", "", |_| ()),
        case("disabled", "disabled", |state| state.disabled = Some(true)),
        case("enabled", "", |_| ()),
        case("expired", "expired", |state| state.expires = Some("2019-04-18T03:00:00Z".parse().unwrap())),
        case("expires", "", |state| state.expires = Some("2043-07-16T10:46:40Z".parse().unwrap())),
        case("zero", "", |_| ()),
        case("locked", "locked", |state| state.locked = Some(true)),
        case("unlocked", "", |_| ()),
        case("must-change", "password", |state| state.password_expired = Some(true)),
        case("aged", "password", |state| state.password_expired = Some(true)),
        case("ageless", "", |_| ()),
        case("no-control", "could not find out", |state| {
            (state.disabled, state.unreadable) = (None, unreadable(|parts| parts.disabled = true));
        }),
        case("no-computed", "could not find out", |state| {
            (state.locked, state.password_expired) = (None, None);
            state.unreadable = unreadable(|parts| (parts.locked, parts.password_expired) = (true, true));
        }),
        case("no-expiry", "could not find out", |state| {
            state.unreadable = unreadable(|parts| parts.expires = true);
        }),
    ];
    samba.lock_after(2, DAY);
    for Case { user, .. } in &cases {
        let dn = samba.add_user_with_password(user, PASSWORD);
        match *user {
            "disabled" => samba.disable(&dn),
            "enabled" => {
                samba.disable(&dn);
                samba.enable(&dn);
            }
            "expired" => samba.set(&dn, "accountExpires", &[PAST]),
            "expires" => samba.set(&dn, "accountExpires", &[FUTURE]),
            "zero" => samba.set(&dn, "accountExpires", &["0"]),
            "locked" | "unlocked" => {
                for _ in 0..2 {
                    samba.bind(user, "wrong").unwrap_err();
                }
                if *user == "unlocked" {
                    samba.set(&dn, "lockoutTime", &["0"]);
                }
            }
            "must-change" => samba.set(&dn, "pwdLastSet", &["0"]),
            "aged" => samba.age_password(&dn, 50 * DAY),
            "ageless" => {
                samba.age_password(&dn, 50 * DAY);
                samba.set(&dn, "userAccountControl", &["66048"]);
            }
            "no-control" => samba.deny_reading(SERVICE, &dn, CONTROL),
            "no-computed" => samba.deny_reading(SERVICE, &dn, COMPUTED),
            "no-expiry" => samba.deny_reading(SERVICE, &dn, EXPIRES),
            _ => {}
        }
    }
    let (directory, _) = open(samba.settings(SERVICE));
    for case in &cases {
        assert_eq!(state(&directory, case.user).await, case.state, "{}", case.user);
    }
    let site = Site::new(&[("all.yaml", &policy("all", "Allow", "[{kind: Everyone}]", "[pods]"))]);
    let accounts = "accounts: {disabled: Deny, expired: Deny, locked: Deny, passwordExpired: Deny}";
    site.configure(&samba.section(SERVICE, &["changeFeed: off"], &[accounts]));
    let service = Service::start(&site).await;
    for Case { user, decision, reason, .. } in &cases {
        let answer = service.ask(user, "get", "pods").await;
        assert_eq!(answer.decision, *decision, "{user}: {}", answer.reason);
        assert!(answer.reason.contains(reason), "{user}: {}", answer.reason);
    }
    // By default a lock and an old password refuse nothing: others can lock an account.
    site.configure(&samba.section(SERVICE, &["changeFeed: off"], &[]));
    let service = Service::start(&site).await;
    for (user, expected) in [
        ("disabled", Deny),
        ("expired", Deny),
        ("locked", Allow),
        ("must-change", Allow),
        ("no-control", Deny),
        ("no-computed", Allow),
    ] {
        assert_eq!(service.decides(user, "get", "pods").await, expected, "{user}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_over_is_none_though_it_is_still_written_down() {
    let samba = Samba::start();
    let dn = samba.add_user_with_password("ada", PASSWORD);
    samba.lock_after(2, Duration::from_secs(2));
    for _ in 0..2 {
        samba.bind("ada", "wrong").unwrap_err();
    }
    let (directory, _) = open(samba.settings(SERVICE));
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while state(&directory, "ada").await.locked != Some(false) {
        assert!(std::time::Instant::now() < until, "still locked");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let held = samba.read(&dn, &["lockoutTime"]).unwrap();
    assert_ne!(crate::wire::text(&held, "lockoutTime"), "0");
}
