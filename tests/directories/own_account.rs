//! The service's own account in Active Directory: how it binds, and what becomes of it when it may not.

use std::time::Duration;

use bailiwick::directory::{Bind, CredentialsFault, LookupError};

use crate::logon_names::{later, open, resolve};
use crate::samba::{BASE, SERVICE, SYNC, Samba};
use crate::wire;

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test(flavor = "multi_thread")]
async fn it_binds_over_start_tls_and_by_its_name_in_any_case() {
    let samba = Samba::start();
    samba.add_user("ada");
    let mut settings = samba.settings(SERVICE);
    settings.urls = vec![samba.ldap_url()];
    settings.tls.start_tls = true;
    let dn = samba.bind_name(SERVICE).to_uppercase();
    settings.bind = Bind::Simple { dn, password_file: samba.password_file() };
    assert!(resolve(&open(settings.clone()).0, "ada").await.is_ok());
    settings.tls.start_tls = false;
    assert!(settings.check().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn why_it_may_not_bind_is_said_and_a_wrong_password_locks_nobody() {
    let samba = Samba::start();
    let [service, sync] = [SERVICE, SYNC].map(|name| format!("CN={name},CN=Users,{BASE}"));
    samba.lock_after(3, DAY);
    let mut settings = samba.settings(SYNC);
    let wrong = samba.path("wrong");
    std::fs::write(&wrong, "not the password\n").unwrap();
    settings.bind = Bind::Simple { dn: samba.bind_name(SYNC), password_file: wrong };
    // Twice: it starts again, as a service that fails does.
    for _ in 0..2 {
        let (directory, _) = open(settings.clone());
        for _ in 0..5 {
            let refused = resolve(&directory, "ada").await;
            assert_eq!(refused, Err(LookupError::Credentials(CredentialsFault::WrongPassword)));
        }
    }
    let held = samba.read(&sync, &["badPwdCount"]).unwrap();
    assert_eq!(wire::text(&held, "badPwdCount"), "2", "it was sent once by each");

    let refusal = async |what: &str| {
        let refused = open(samba.settings(SERVICE)).0.probe(later()).await;
        let Err(LookupError::Credentials(fault)) = refused else { panic!("{what}: {refused:?}") };
        fault
    };
    samba.disable(&service);
    assert_eq!(refusal("disabled").await, CredentialsFault::Disabled);
    samba.enable(&service);
    samba.set(&service, "accountExpires", &["132000300000000000"]);
    assert_eq!(refusal("expired").await, CredentialsFault::AccountExpired);
    samba.set(&service, "accountExpires", &["0"]);
    samba.set(&service, "userAccountControl", &["512"]);
    samba.set(&service, "pwdLastSet", &["0"]);
    assert_eq!(refusal("must change").await, CredentialsFault::MustChangePassword);
    samba.age_password(&service, 50 * DAY);
    assert_eq!(refusal("aged").await, CredentialsFault::PasswordExpired);
    samba.set(&service, "pwdLastSet", &["0"]);
    samba.set(&service, "pwdLastSet", &["-1"]);
    for _ in 0..3 {
        samba.bind(SERVICE, "wrong").unwrap_err();
    }
    assert_eq!(refusal("locked").await, CredentialsFault::Locked);
    samba.set(&service, "lockoutTime", &["0"]);
    assert_eq!(open(samba.settings(SERVICE)).0.probe(later()).await, Ok(()));
}
