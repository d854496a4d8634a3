//! What ServiceAccounts are called as users (`k8s.io/apiserver/pkg/authentication/serviceaccount/util.go`).

use crate::frontend::selector::{is_dns_label, is_dns_subdomain};

const USER_PREFIX: &str = "system:serviceaccount:";
const ALL_ACCOUNTS: &str = "system:serviceaccounts";

/// The user name of an account.
#[must_use]
pub fn user_name(namespace: &str, name: &str) -> String {
    format!("{USER_PREFIX}{namespace}:{name}")
}

/// The groups of the accounts of a namespace; `system:authenticated` comes to everybody.
#[must_use]
pub fn group_names(namespace: &str) -> Vec<String> {
    vec![ALL_ACCOUNTS.to_owned(), format!("{ALL_ACCOUNTS}:{namespace}")]
}

/// Namespace and name, where a user is called as an account is.
#[must_use]
pub fn split_user_name(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(USER_PREFIX)?.split_once(':')?;
    (is_dns_label(namespace) && is_dns_subdomain(name)).then_some((namespace, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_an_account_only_by_its_whole_name() {
        assert_eq!(split_user_name(&user_name("prod", "web.v1")), Some(("prod", "web.v1")));
        for other in [
            "ada",
            "system:serviceaccount:prod",
            "system:serviceaccount:prod:",
            "system:serviceaccount::web",
            "system:serviceaccount:prod:web:x",
            "system:serviceaccount:Prod:web",
            "system:serviceaccount:prod:-web",
            "system:serviceaccount:a.b:web",
            "system:serviceaccounts:prod:web",
        ] {
            assert_eq!(split_user_name(other), None, "{other}");
        }
    }
}
