//! How our own client reaches a domain controller: as settings, and as a configuration says it.

use std::time::Duration;

use bailiwick::directory::{Bind, Settings, TlsSettings};

use super::{BASE, GROUPS, PEOPLE, Samba};

/// How long one step of a lookup may take on a machine that is busy with other tests.
const STEP: Duration = Duration::from_secs(2);

impl Samba {
    /// Settings that reach it over LDAPS as one of the accounts, and take it for what it says it is.
    pub fn settings(&self, account: &str) -> Settings {
        let bind = Bind::Simple { dn: self.bind_name(account), password_file: self.password_file() };
        let mut settings = Settings::new(self.urls(), bind, BASE);
        settings.user_search.base = PEOPLE.to_owned();
        settings.group_search.base = GROUPS.to_owned();
        settings.tls = TlsSettings::trusting(self.ca_file());
        settings.timeouts.connect = STEP;
        settings.timeouts.operation = STEP;
        settings.timeouts.total = STEP * 3;
        settings
    }

    /// The `directory` section of a configuration for it, as one of the accounts. `ldap` are further lines of `ldap`, or
    /// others of `userSearch` and `groupSearch`; `more` are further lines of the section itself.
    pub fn section(&self, account: &str, ldap: &[&str], more: &[&str]) -> String {
        let (url, who) = (self.urls().remove(0), self.bind_name(account));
        let (ca, password) = (self.ca_file(), self.password_file());
        let own = [
            format!("urls: [\"{url}\"]"),
            format!("tls: {{caFile: \"{}\"}}", ca.display()),
            format!("bind: {{dn: \"{who}\", passwordFile: \"{}\"}}", password.display()),
            "timeouts: {connect: 2s, operation: 2s, total: 2900ms}".to_owned(),
        ];
        let bases = [("userSearch", PEOPLE), ("groupSearch", GROUPS)].into_iter();
        let bases = bases.filter(|(name, _)| !ldap.iter().any(|line| line.starts_with(name)));
        let bases = bases.map(|(name, base)| format!("{name}: {{base: \"{base}\"}}"));
        let ldap = own.into_iter().chain(bases).chain(ldap.iter().map(|line| (*line).to_owned()));
        let ldap = ldap.map(|line| format!("    {line}\n"));
        let more = more.iter().map(|line| format!("  {line}\n"));
        let head = "directory:\n  kind: ldap\n  ldap:\n".to_owned();
        std::iter::once(head).chain(ldap).chain(more).collect()
    }
}
