//! What the policy set is to know of the configuration around it.

use std::collections::{BTreeMap, BTreeSet};

use super::ast::AttributeType;
use super::pattern::Pattern;
use crate::model::Subject;

/// The settings that a policy set is checked against and compiled with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `location.sourceAddressKey`: the key of `extra` under which the source address stands; lower case.
    pub source_address_key: String,
    /// `location.trustedClusters`: from which clusters an address (and a clearance in `extra`) is believed.
    pub trusted_clusters: BTreeSet<String>,
    /// `location.proxies`: the users that may impersonate our own `extra` keys.
    pub proxies: Vec<String>,
    /// `clearance.extraKey`: the key of `extra` under which the clearance stands; `None`: it is a directory attribute.
    pub clearance_extra_key: Option<String>,
    /// The attributes that the directory is configured to read; `None` where that is not known (offline checks).
    pub attributes: Option<BTreeMap<String, AttributeType>>,
    /// Whoever is answered NoOpinion before any policy: `decisions.exempt`, and Bailiwick's own identity.
    pub exempt: Vec<Exempt>,
    /// Which built-in guards are on: `decisions.guards`.
    pub guards: BTreeSet<Guard>,
}

/// One element of `decisions.exempt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exempt {
    /// Which users.
    pub user: Pattern,
    /// The group that they must also have.
    pub group: Option<String>,
}

/// A built-in Deny policy (DESIGN 3.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Guard {
    /// Nobody impersonates an exempt identity or `system:masters`.
    ImpersonateExempt,
    /// Nobody but the proxies impersonates `userextras` under our own keys.
    ImpersonateExtras,
}

impl Guard {
    /// Every guard.
    pub const ALL: [Self; 2] = [Self::ImpersonateExempt, Self::ImpersonateExtras];

    /// The words of the configuration.
    pub const WORDS: [(&'static str, Self); 2] = [
        (Self::ImpersonateExempt.as_str(), Self::ImpersonateExempt),
        (Self::ImpersonateExtras.as_str(), Self::ImpersonateExtras),
    ];

    /// The name by which it is switched, and under which it is reported after `guard/`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ImpersonateExempt => "impersonate-exempt",
            Self::ImpersonateExtras => "impersonate-extras",
        }
    }
}

impl Exempt {
    /// Whether this subject is exempt by this element.
    #[must_use]
    pub fn matches(&self, subject: &Subject) -> bool {
        self.user.matches(&subject.user)
            && self.group.as_ref().is_none_or(|group| subject.groups.iter().any(|asserted| asserted == group))
    }

    /// The default of `decisions.exempt`: the API server's own parts, nodes, and the ServiceAccounts of `kube-system`.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        let exact = |user: &str| Self { user: Pattern::exact(user), group: None };
        let prefix =
            |user: &str, group: &str| Self { user: Pattern::prefixed(user), group: Some(group.to_owned()) };
        vec![
            exact("system:apiserver"),
            exact("system:kube-controller-manager"),
            exact("system:kube-scheduler"),
            prefix("system:node:", "system:nodes"),
            prefix("system:serviceaccount:kube-system:", "system:serviceaccounts:kube-system"),
        ]
    }
}

impl Settings {
    /// The settings of commands that have no configuration: these clusters are trusted with source addresses, and which
    /// attributes a directory has is not known. With no cluster, policies may still speak of locations.
    #[must_use]
    pub fn offline(trusted_clusters: impl IntoIterator<Item = String>) -> Self {
        let mut trusted_clusters: BTreeSet<String> = trusted_clusters.into_iter().collect();
        if trusted_clusters.is_empty() {
            // No cluster has an empty name: this trusts nobody, and only says that the configuration may.
            trusted_clusters.insert(String::new());
        }
        Self { trusted_clusters, ..Self::default() }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            source_address_key: "bailiwick.dev/source-address".to_owned(),
            trusted_clusters: BTreeSet::new(),
            proxies: Vec::new(),
            clearance_extra_key: None,
            attributes: None,
            exempt: Exempt::defaults(),
            guards: Guard::ALL.into(),
        }
    }
}
