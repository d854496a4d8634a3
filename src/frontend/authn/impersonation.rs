//! Acting as somebody else, by headers, each value of which is authorised.
//!
//! Source: `k8s.io/apiserver/pkg/endpoints/filters/impersonation.go`. Stricter than that one: a user or UID that
//! is given twice is refused (the first would count), values are bounded, and the source address in `extra` is
//! never another than the requester's.

use std::collections::BTreeMap;

use actix_web::http::header::HeaderMap;

use super::headers::{self, HeaderFault};
use super::service_account::{group_names, split_user_name};
use super::{ANONYMOUS, AUTHENTICATED_GROUP, UNAUTHENTICATED_GROUP};
use crate::frontend::status::ApiError;
use crate::model::{Action, ResourceAction, Subject};

const USER: &str = "impersonate-user";
const UID: &str = "impersonate-uid";
const GROUP: &str = "impersonate-group";
const EXTRA_PREFIX: &str = "impersonate-extra-";
/// The most values that somebody may be impersonated with: each costs an authorisation.
pub const MAX_VALUES: usize = 64;
/// The longest value, in bytes: each is asked for and written down. Directories' names are shorter.
pub const MAX_VALUE_BYTES: usize = 4_096;

/// Whom a requester wants to act as. Nothing of it is authorised yet: [`checks`](Self::checks) says what has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Impersonation {
    user: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
    /// The key of `extra` that stays the requester's.
    source_address_key: String,
}

/// Reads the headers; `None` where nobody is to be impersonated. What is said under `source_address_key` is
/// overlooked.
///
/// # Errors
/// 500, as an API server answers, for groups, a UID or `extra` without a user; 400 for headers that cannot be read,
/// are too many or too long.
pub fn read(headers: &HeaderMap, source_address_key: &str) -> Result<Option<Impersonation>, ApiError> {
    let unreadable = |fault: HeaderFault| ApiError::bad_request(format!("impersonation: {fault}"));
    let user = headers::one(headers, USER).map_err(unreadable)?;
    let uid = headers::one(headers, UID).map_err(unreadable)?;
    let groups = headers::all(headers, GROUP).map_err(unreadable)?;
    let mut extra = headers::by_key(headers, EXTRA_PREFIX).map_err(unreadable)?;
    let Some(user) = user else {
        let what = [(uid.is_some(), "a UID"), (!groups.is_empty(), "groups"), (!extra.is_empty(), "extra")];
        let what: Vec<&str> =
            what.into_iter().filter_map(|(is_there, what)| is_there.then_some(what)).collect();
        return if what.is_empty() {
            Ok(None)
        } else {
            Err(ApiError::internal(format!("requested {} without impersonating a user", what.join(", "))))
        };
    };
    let values = groups.len() + extra.values().map(Vec::len).sum::<usize>();
    if values > MAX_VALUES {
        return Err(ApiError::bad_request(format!(
            "impersonation: more than {MAX_VALUES} groups and extra values"
        )));
    }
    let extra_texts = extra.iter().flat_map(|(key, values)| values.iter().chain([key]));
    if extra_texts.chain(&groups).chain(&uid).chain([&user]).any(|text| text.len() > MAX_VALUE_BYTES) {
        return Err(ApiError::bad_request(format!(
            "impersonation: a value is longer than {MAX_VALUE_BYTES} bytes"
        )));
    }
    extra.retain(|key, _| !key.eq_ignore_ascii_case(source_address_key));
    let source_address_key = source_address_key.to_owned();
    Ok(Some(Impersonation { user, uid: uid.unwrap_or_default(), groups, extra, source_address_key }))
}

impl Impersonation {
    /// What the requester must be allowed, all of it, in this order.
    #[must_use]
    pub fn checks(&self) -> Vec<Action> {
        let mut checks = vec![match split_user_name(&self.user) {
            Some((namespace, name)) => impersonate("serviceaccounts", name, |action| {
                namespace.clone_into(&mut action.namespace);
            }),
            None => impersonate("users", &self.user, |_| {}),
        }];
        checks.extend(self.groups.iter().map(|group| impersonate("groups", group, |_| {})));
        let authentication = |action: &mut ResourceAction| {
            "authentication.k8s.io".clone_into(&mut action.group);
            "v1".clone_into(&mut action.version);
        };
        for (key, values) in &self.extra {
            checks.extend(values.iter().map(|value| {
                impersonate("userextras", value, |action| {
                    authentication(action);
                    key.clone_into(&mut action.subresource);
                })
            }));
        }
        if !self.uid.is_empty() {
            checks.push(impersonate("uids", &self.uid, authentication));
        }
        checks
    }

    /// Who the requester is once all of it is allowed. Groups that are given are all groups, but for the one that
    /// says whether somebody is known at all; a ServiceAccount for which none are given has its own.
    #[must_use]
    pub fn subject(&self, requester: &Subject) -> Subject {
        let mut groups = self.groups.clone();
        if let (true, Some((namespace, _))) = (groups.is_empty(), split_user_name(&self.user)) {
            groups = group_names(namespace);
        }
        let has = |group: &str| groups.iter().any(|other| other == group);
        if self.user == ANONYMOUS {
            if !has(UNAUTHENTICATED_GROUP) {
                groups.push(UNAUTHENTICATED_GROUP.to_owned());
            }
        } else if !has(AUTHENTICATED_GROUP) && !has(UNAUTHENTICATED_GROUP) {
            groups.push(AUTHENTICATED_GROUP.to_owned());
        }
        let mut extra = self.extra.clone();
        if let Some(address) = requester.extra.get(&self.source_address_key) {
            extra.insert(self.source_address_key.clone(), address.clone());
        }
        Subject { user: self.user.clone(), uid: self.uid.clone(), groups, extra }
    }
}

fn impersonate(resource: &str, name: &str, change: impl FnOnce(&mut ResourceAction)) -> Action {
    let mut action = ResourceAction {
        verb: "impersonate".to_owned(),
        resource: resource.to_owned(),
        name: name.to_owned(),
        ..ResourceAction::default()
    };
    change(&mut action);
    Action::Resource(action)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "bailiwick.dev/source-address";

    fn impersonation(headers: &[(&str, &str)]) -> Result<Option<Impersonation>, ApiError> {
        read(&headers::of(headers), KEY)
    }

    fn of(headers: &[(&str, &str)]) -> Impersonation {
        impersonation(headers).unwrap().unwrap()
    }

    /// `resource[/subresource] [namespace/]name`, and the group where it is not the core's.
    fn checks(headers: &[(&str, &str)]) -> Vec<String> {
        let told = |action: Action| {
            let Action::Resource(action) = action else { panic!() };
            assert_eq!(action.verb, "impersonate");
            let ResourceAction { group, version, resource, subresource, namespace, name, .. } = action;
            let before = |text: String, between| if text.is_empty() { text } else { text + between };
            let after = |text: String| if text.is_empty() { text } else { format!("/{text}") };
            let place = format!("{}{}", before(group, "/"), before(version, "/"));
            format!("{place}{resource}{} {}{name}", after(subresource), before(namespace, "/"))
        };
        of(headers).checks().into_iter().map(told).collect()
    }

    fn groups(headers: &[(&str, &str)]) -> Vec<String> {
        of(headers).subject(&Subject::default()).groups
    }

    #[test]
    fn every_value_is_checked() {
        assert_eq!(
            checks(&[
                ("Impersonate-User", "ada"),
                ("impersonate-group", "dev"),
                ("Impersonate-Group", "system:masters"),
                ("Impersonate-Uid", "7"),
                ("Impersonate-Extra-Acme.com%2FTeam", "red"),
                ("Impersonate-Extra-acme.com%2fteam", "blue"),
            ]),
            [
                "users ada",
                "groups dev",
                "groups system:masters",
                "authentication.k8s.io/v1/userextras/acme.com/team red",
                "authentication.k8s.io/v1/userextras/acme.com/team blue",
                "authentication.k8s.io/v1/uids 7",
            ]
        );
        assert_eq!(
            checks(&[("Impersonate-User", "system:serviceaccount:prod:web")]),
            ["serviceaccounts prod/web"]
        );
        let odd = "system:serviceaccount:prod:web:x";
        assert_eq!(checks(&[("Impersonate-User", odd)]), [format!("users {odd}")]);
    }

    #[test]
    fn nobody_is_impersonated_without_a_user() {
        assert_eq!(impersonation(&[("Accept", "*/*")]), Ok(None));
        for header in [("Impersonate-Group", "g"), ("Impersonate-Uid", "1"), ("Impersonate-Extra-a", "b")] {
            for user in [&[][..], &[("Impersonate-User", "")]] {
                let error = impersonation(&[user, &[header]].concat()).unwrap_err();
                assert_eq!(error.code, 500);
                assert!(error.message.ends_with("without impersonating a user"), "{error}");
            }
        }
    }

    #[test]
    fn a_user_that_is_given_twice_and_too_many_values_are_refused() {
        let twice = [("Impersonate-User", "ada"), ("impersonate-user", "root")];
        assert_eq!(impersonation(&twice).unwrap_err().code, 400);
        let mut many = vec![("Impersonate-User", "ada")];
        many.extend((0..MAX_VALUES).map(|_| ("Impersonate-Group", "g")));
        assert!(impersonation(&many).is_ok());
        many.push(("Impersonate-Extra-a", "b"));
        assert_eq!(impersonation(&many).unwrap_err().code, 400);
        let long = "g".repeat(MAX_VALUE_BYTES + 1);
        let key = format!("Impersonate-Extra-{long}");
        for header in [("Impersonate-Group", &*long), ("Impersonate-Uid", &long), (&key, "x")] {
            assert_eq!(impersonation(&[many[0], header]).unwrap_err().code, 400, "{}", header.0);
        }
        assert_eq!(impersonation(&[("Impersonate-User", &long)]).unwrap_err().code, 400);
    }

    #[test]
    fn whoever_is_somebody_is_authenticated_and_the_anonymous_is_not() {
        assert_eq!(groups(&[("Impersonate-User", "ada")]), ["system:authenticated"]);
        assert_eq!(
            groups(&[("Impersonate-User", "ada"), ("Impersonate-Group", "dev")]),
            ["dev", "system:authenticated"]
        );
        let with = |group| groups(&[("Impersonate-User", "ada"), ("Impersonate-Group", group)]);
        assert_eq!(with("system:authenticated"), ["system:authenticated"]);
        assert_eq!(with("system:unauthenticated"), ["system:unauthenticated"]);
        assert_eq!(groups(&[("Impersonate-User", "system:anonymous")]), ["system:unauthenticated"]);
        let account = ("Impersonate-User", "system:serviceaccount:prod:web");
        assert_eq!(
            groups(&[account]),
            ["system:serviceaccounts", "system:serviceaccounts:prod", "system:authenticated"]
        );
        assert_eq!(groups(&[account, ("Impersonate-Group", "dev")]), ["dev", "system:authenticated"]);
    }

    #[test]
    fn the_source_address_stays_the_requesters() {
        let headers = [
            ("Impersonate-User", "ada"),
            ("Impersonate-Extra-Bailiwick.dev%2FSource-Address", "10.0.0.1"),
            ("Impersonate-Extra-bailiwick.dev%2fsource-address", "10.0.0.2"),
        ];
        let real = |address: &str| [(KEY.to_owned(), vec![address.to_owned()])].into();
        let requester = Subject { user: "bob".to_owned(), extra: real("192.0.2.7"), ..Subject::default() };
        let impersonation = of(&headers);
        assert_eq!(impersonation.checks().len(), 1);
        let subject = impersonation.subject(&requester);
        assert_eq!((subject.user.as_str(), subject.extra), ("ada", real("192.0.2.7")));
        assert!(impersonation.subject(&Subject::default()).extra.is_empty());
    }
}
