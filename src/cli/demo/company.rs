//! The sample company of `policies/`, inside the binary: the demo runs where there is no clone of the repository.

/// The people, as LDIF.
pub(super) const PEOPLE: &str = include_str!("../../../policies/people.ldif");

/// The words that the policies use.
pub(super) const VOCABULARY: &str = include_str!("../../../policies/vocabulary.yaml");

/// The policies: file names and contents.
pub(super) const POLICIES: [(&str, &str); 17] = [
    ("policies/auditors.yaml", include_str!("../../../policies/auditors.yaml")),
    ("policies/break-glass.yaml", include_str!("../../../policies/break-glass.yaml")),
    ("policies/ci-deployer.yaml", include_str!("../../../policies/ci-deployer.yaml")),
    ("policies/clearance.yaml", include_str!("../../../policies/clearance.yaml")),
    ("policies/contractors.yaml", include_str!("../../../policies/contractors.yaml")),
    ("policies/default-namespace.yaml", include_str!("../../../policies/default-namespace.yaml")),
    ("policies/discovery.yaml", include_str!("../../../policies/discovery.yaml")),
    ("policies/night-maintenance.yaml", include_str!("../../../policies/night-maintenance.yaml")),
    ("policies/no-exec-in-production.yaml", include_str!("../../../policies/no-exec-in-production.yaml")),
    ("policies/notebooks.yaml", include_str!("../../../policies/notebooks.yaml")),
    ("policies/office-hours.yaml", include_str!("../../../policies/office-hours.yaml")),
    ("policies/payments-oncall.yaml", include_str!("../../../policies/payments-oncall.yaml")),
    ("policies/payments-secrets.yaml", include_str!("../../../policies/payments-secrets.yaml")),
    ("policies/payments-team.yaml", include_str!("../../../policies/payments-team.yaml")),
    ("policies/site-bound-writes.yaml", include_str!("../../../policies/site-bound-writes.yaml")),
    ("policies/suspended.yaml", include_str!("../../../policies/suspended.yaml")),
    ("policies/year-end-freeze.yaml", include_str!("../../../policies/year-end-freeze.yaml")),
];
