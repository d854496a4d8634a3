//! The names by which Active Directory knows a user: the account name alone, with the domain before it (`DOMAIN\alice`), or
//! as a user principal name (`alice@corp.example.com`), which every account has though few have it written down
//! (MS-ADTS 5.1.1.1.1, MS-NRPC's "down-level logon name").

use super::LookupError;
use super::about::ServerKind;
use super::entry::Entry;
use super::filter::{any_of, equals};
use super::settings::MatchRule;
use crate::model::Trigger;

pub(super) const ACCOUNT_NAME: &str = "sAMAccountName";
const PRINCIPAL_NAME: &str = "userPrincipalName";

/// The attributes that hold such names.
pub(super) const NAME_ATTRIBUTES: [&str; 2] = [ACCOUNT_NAME, PRINCIPAL_NAME];

/// What a user name asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogonName<'a> {
    /// An account name.
    Account(&'a str),
    /// `DOMAIN\account`: an account name in the domain with this NETBIOS name.
    DownLevel { domain: &'a str, account: &'a str },
    /// `account@domain`: a written user principal name, or an account in the domain with this DNS name.
    Principal { whole: &'a str, account: &'a str, domain: &'a str },
}

/// The domain whose accounts are asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Domain<'a> {
    dns: Option<&'a str>,
    netbios: Option<&'a str>,
}

impl<'a> Domain<'a> {
    pub(super) fn of(kind: &'a ServerKind) -> Self {
        match kind {
            ServerKind::ActiveDirectory { dns_domain, netbios_domain } => {
                Self { dns: dns_domain.as_deref(), netbios: netbios_domain.as_deref() }
            }
            _ => Self { dns: None, netbios: None },
        }
    }
}

impl<'a> LogonName<'a> {
    pub(super) fn read(name: &'a str) -> Self {
        if let Some((domain, account)) = name.split_once('\\') {
            return Self::DownLevel { domain, account };
        }
        match name.rsplit_once('@') {
            Some((account, domain)) => Self::Principal { whole: name, account, domain },
            None => Self::Account(name),
        }
    }

    /// The filter that finds the account; `None` where it is of another domain, or of none that is known.
    ///
    /// # Errors
    /// Where the name says a domain, and what ours is called could not be read.
    pub(super) fn filter(self, domain: Domain<'_>, rule: MatchRule) -> Result<Option<String>, LookupError> {
        let names = match self {
            Self::Account(account) => vec![equals(ACCOUNT_NAME, account)],
            Self::DownLevel { domain: asked, account } => {
                let netbios = domain.netbios.ok_or(LookupError::Protocol(
                    "the domain's NETBIOS name is not known: the partitions of the forest cannot be read",
                ))?;
                if !rule.matches(netbios, asked) {
                    return Ok(None);
                }
                vec![equals(ACCOUNT_NAME, account)]
            }
            Self::Principal { whole, account, domain: asked } => {
                let mut names = vec![equals(PRINCIPAL_NAME, whole)];
                if domain.dns.is_some_and(|dns| rule.matches(dns, asked)) {
                    names.push(equals(ACCOUNT_NAME, account));
                }
                names
            }
        };
        // An account name with none of these would find everybody who has none.
        let is_empty = match self {
            Self::Account(account) | Self::DownLevel { account, .. } | Self::Principal { account, .. } => {
                account.is_empty()
            }
        };
        Ok((!is_empty).then(|| format!("(&(objectClass=user){})", any_of(&names))))
    }

    /// Whether the entry has this name, by the configured comparison: the directory's is looser.
    ///
    /// # Errors
    /// Where the entry's names cannot be read.
    pub(super) fn is_of(
        self,
        entry: &Entry,
        domain: Domain<'_>,
        rule: MatchRule,
    ) -> Result<bool, LookupError> {
        let has = |attribute: &str, asked: &str| -> Result<bool, LookupError> {
            let names = entry.texts(&attribute.to_ascii_lowercase())?;
            Ok(names.iter().any(|name| rule.matches(name, asked)))
        };
        match self {
            Self::Account(account) => has(ACCOUNT_NAME, account),
            Self::DownLevel { domain: asked, account } => {
                Ok(domain.netbios.is_some_and(|netbios| rule.matches(netbios, asked))
                    && has(ACCOUNT_NAME, account)?)
            }
            Self::Principal { whole, account, domain: asked } => Ok(has(PRINCIPAL_NAME, whole)?
                || (domain.dns.is_some_and(|dns| rule.matches(dns, asked)) && has(ACCOUNT_NAME, account)?)),
        }
    }

    /// What a change of the names of accounts that could be meant is recognised by.
    pub(super) fn triggers(self) -> Vec<Trigger> {
        match self {
            Self::Account(account) | Self::DownLevel { account, .. } => vec![Trigger::named(account)],
            Self::Principal { whole, account, .. } => vec![Trigger::named(whole), Trigger::named(account)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOMAIN: Domain<'static> = Domain { dns: Some("corp.example.com"), netbios: Some("CORP") };

    fn filter(name: &str) -> Option<String> {
        LogonName::read(name).filter(DOMAIN, MatchRule::Exact).unwrap()
    }

    #[test]
    fn each_form_of_a_name_asks_for_what_it_says() {
        for (name, expected) in [
            ("alice", Some("(&(objectClass=user)(sAMAccountName=alice))")),
            ("CORP\\alice", Some("(&(objectClass=user)(sAMAccountName=alice))")),
            ("OTHER\\alice", None),
            ("corp\\alice", None),
            (
                "alice@corp.example.com",
                Some(
                    "(&(objectClass=user)(|(userPrincipalName=alice@corp.example.com)(sAMAccountName=alice)))",
                ),
            ),
            ("alice@example.org", Some("(&(objectClass=user)(userPrincipalName=alice@example.org))")),
            ("*)(cn=*", Some("(&(objectClass=user)(sAMAccountName=\\2a\\29\\28cn=\\2a))")),
            ("@corp.example.com", None),
            ("CORP\\", None),
        ] {
            assert_eq!(filter(name).as_deref(), expected, "{name}");
        }
        let unknown = Domain { dns: None, netbios: None };
        assert!(LogonName::read("CORP\\alice").filter(unknown, MatchRule::Exact).is_err());
        assert!(LogonName::read("alice@x").filter(unknown, MatchRule::Exact).is_ok());
    }

    #[test]
    fn an_entry_has_a_name_only_as_it_is_written() {
        let alice =
            Entry::of("cn=a", &[("sAMAccountName", "alice"), ("userPrincipalName", "a.smith@example.org")]);
        for (name, exact, folded) in [
            ("alice", true, true),
            ("ALICE", false, true),
            ("alice ", false, false),
            ("CORP\\alice", true, true),
            ("corp\\Alice", false, true),
            ("OTHER\\alice", false, false),
            ("alice@corp.example.com", true, true),
            ("alice@CORP.EXAMPLE.COM", false, true),
            ("a.smith@example.org", true, true),
            ("alice@example.org", false, false),
            ("a.smith@corp.example.com", false, false),
        ] {
            for (rule, expected) in [(MatchRule::Exact, exact), (MatchRule::AsciiCaseFold, folded)] {
                let is = LogonName::read(name).is_of(&alice, DOMAIN, rule).unwrap();
                assert_eq!(is, expected, "{name} {rule:?}");
            }
        }
    }
}
