//! 3.1: three values.

use bailiwick::model::{Person, SourceAddress};
use bailiwick::policy::ast::Conditions;

use super::{ALLOW, DENY, NO_OPINION, Row, row};
use crate::scene::{
    HeldFacts, Writing, allow, ask, at_site, cleared, deny, from_network, hours, in_department, in_groups,
    nobody, person, with_attributes, with_extra,
};

const PODS: &[&str] = &["get pods"];

pub(super) fn rows() -> Vec<Row> {
    [subjects(), exceptions(), conditions(), clearances()].concat()
}

fn subjects() -> Vec<Row> {
    let subject_row = |name, subjects: &[&str], user: &str, groups: &[&str], applies: bool| {
        let policy = allow("a", PODS).of(subjects);
        let set = |s: &mut crate::scene::Scene| {
            s.documents.policies = vec![policy];
            s.request = in_groups(ask(user, "get pods ns=dev name=web-1"), groups);
        };
        let applying: &[&str] = if applies { &["a"] } else { &[] };
        row(name, set, if applies { ALLOW } else { NO_OPINION }, applying, &[])
    };
    vec![
        subject_row("3.1 everyone is whoever asks", &["everyone"], "", &[], true),
        subject_row("3.1 a user is compared exactly", &["user:alice"], "alice", &[], true),
        subject_row("3.1 a user in other case is another", &["user:alice"], "Alice", &[], false),
        subject_row("3.1 an asserted group counts", &["group:oncall"], "alice", &["oncall"], true),
        subject_row(
            "3.1 a group of the directory is no asserted group",
            &["dir:oncall"],
            "alice",
            &["oncall"],
            false,
        ),
        subject_row("3.1 any subject will do", &["user:bob", "group:oncall"], "alice", &["oncall"], true),
        subject_row(
            "3.1 a ServiceAccount is its user name",
            &["sa:ci/deployer"],
            "system:serviceaccount:ci:deployer",
            &[],
            true,
        ),
        subject_row(
            "3.1 a ServiceAccount of another namespace is another",
            &["sa:ci/deployer"],
            "system:serviceaccount:dev:deployer",
            &[],
            false,
        ),
        subject_row(
            "3.1 allOf asks for all",
            &["group:oncall & group:staff"],
            "alice",
            &["oncall", "staff"],
            true,
        ),
        subject_row(
            "3.1 allOf does not do with one",
            &["group:oncall & group:staff"],
            "alice",
            &["staff"],
            false,
        ),
        row(
            "3.1 a known-true subject wins over an unknown one",
            |s| {
                s.documents.policies = vec![allow("a", PODS).of(&["dir:payments", "user:alice"])];
                s.facts = HeldFacts::Unknown;
            },
            ALLOW,
            &["a"],
            &[],
        ),
        row(
            "3.1 in allOf known-false wins over unknown",
            |s| {
                s.documents.policies = vec![deny("d", PODS).of(&["dir:payments & user:bob"])];
                s.facts = HeldFacts::Unknown;
            },
            NO_OPINION,
            &[],
            &[],
        ),
    ]
}

fn exceptions() -> Vec<Row> {
    vec![
        row(
            "3.1 a true exception excuses although the directory is down",
            |s| {
                let policy = deny("d", PODS).of(&["dir:payments"]).except(&["group:break-glass"]);
                s.documents.policies = vec![policy];
                s.request = in_groups(ask("alice", "get pods ns=dev name=web-1"), &["break-glass"]);
                s.facts = HeldFacts::Unknown;
            },
            NO_OPINION,
            &[],
            &[],
        ),
        row(
            "3.1 an unknown exception makes a Deny unknown",
            |s| {
                s.documents.policies = vec![deny("d", PODS).except(&["dir:payments"])];
                s.facts = HeldFacts::Unknown;
            },
            DENY,
            &[],
            &["d"],
        ),
        row(
            "3.1 an exceptSubject takes an Allow away",
            |s| s.documents.policies = vec![allow("a", PODS).except(&["user:alice"])],
            NO_OPINION,
            &[],
            &[],
        ),
        row(
            "3.1 an element of unless that fully holds excuses",
            |s| {
                s.documents.policies =
                    vec![deny("d", PODS).unless(&[in_department(&["risk"]), at_site("hq")])]
            },
            NO_OPINION,
            &[],
            &[],
        ),
        row(
            "3.1 an element of unless that holds in part does not excuse",
            |s| {
                let both = Conditions { location: at_site("hq").location, ..in_department(&["risk"]) };
                s.documents.policies = vec![deny("d", PODS).unless(&[both])];
            },
            DENY,
            &["d"],
            &[],
        ),
        row(
            "3.1 an unknown element of unless makes a Deny unknown",
            |s| {
                s.documents.policies = vec![deny("d", PODS).unless(&[at_site("hq")])];
                s.circumstances.source = SourceAddress::Missing;
            },
            DENY,
            &[],
            &["d"],
        ),
        row(
            "3.1 a rule that is false wins over everything unknown",
            |s| {
                s.documents.policies =
                    vec![deny("d", &["get secrets"]).of(&["dir:payments"]).when(at_site("hq"))];
                s.facts = HeldFacts::Unknown;
                s.circumstances.source = SourceAddress::Untrusted;
            },
            NO_OPINION,
            &[],
            &[],
        ),
    ]
}

fn conditions() -> Vec<Row> {
    let mut rows = vec![
        row(
            "3.1 when asks for all of it, and known-false wins over unknown",
            |s| {
                let both =
                    Conditions { location: at_site("hq").location, ..hours(0x7f, &[(0, 60)], "UTC", false) };
                s.documents.policies = vec![deny("d", PODS).when(both)];
                s.circumstances.source = SourceAddress::Missing;
            },
            NO_OPINION,
            &[],
            &[],
        ),
        row(
            "3.1 an address of the network is there",
            |s| s.documents.policies = vec![allow("a", PODS).when(from_network("10.1.2.0/24"))],
            ALLOW,
            &["a"],
            &[],
        ),
        row(
            "3.1 an address of another site is not there",
            |s| s.documents.policies = vec![allow("a", PODS).when(at_site("branch"))],
            NO_OPINION,
            &[],
            &[],
        ),
        row(
            "3.1 an attribute with one of the values holds",
            |s| {
                s.documents.policies = vec![allow("a", PODS).when(in_department(&["payments", "risk"]))];
                s.facts = HeldFacts::Current(with_attributes(person(&[]), &[("department", &["x", "risk"])]));
            },
            ALLOW,
            &["a"],
            &[],
        ),
        row(
            "3.1 known absent: a comparison with it is false",
            |s| s.documents.policies = vec![deny("d", PODS).when(in_department(&["risk"]))],
            NO_OPINION,
            &[],
            &[],
        ),
        row(
            "3.1 an attribute of somebody who is no directory user is known absent",
            |s| {
                s.documents.policies = vec![deny("d", PODS).when(in_department(&["risk"]))];
                s.facts = HeldFacts::NotDirectoryUser;
            },
            NO_OPINION,
            &[],
            &[],
        ),
        row(
            "3.1 an attribute of an ambiguous person is unknown",
            |s| {
                s.documents.policies = vec![allow("a", PODS).when(in_department(&["risk"]))];
                s.facts = HeldFacts::Current(nobody(Person::Ambiguous));
            },
            DENY,
            &["account/ambiguous"],
            &["a"],
        ),
        row(
            "3.1 an attribute is unknown where the directory is",
            |s| {
                s.documents.policies = vec![deny("d", PODS).when(in_department(&["risk"]))];
                s.facts = HeldFacts::Unknown;
            },
            DENY,
            &[],
            &["d"],
        ),
        row(
            "3.1 a policy of other clusters does not apply",
            |s| s.documents.policies = vec![allow("a", PODS).clusters(&["dev-*", "test"])],
            NO_OPINION,
            &[],
            &[],
        ),
        row(
            "3.1 a policy of this cluster applies",
            |s| s.documents.policies = vec![allow("a", PODS).clusters(&["dev-*", "prod-*"])],
            ALLOW,
            &["a"],
            &[],
        ),
        row(
            "3.1 without a cluster's name a policy of some clusters is unknown",
            |s| {
                s.documents.policies = vec![deny("d", PODS).clusters(&["prod-*"])];
                s.circumstances.cluster = None;
            },
            DENY,
            &[],
            &["d"],
        ),
    ];
    let sources =
        [SourceAddress::Missing, SourceAddress::Several, SourceAddress::Malformed, SourceAddress::Untrusted];
    rows.extend(sources.map(|source| {
        row(
            "3.1 an address that is missing, malformed, untrusted or not exactly one is unknown",
            |s| {
                s.documents.policies = vec![deny("d", PODS).when(from_network("192.0.2.0/24"))];
                s.circumstances.source = source;
            },
            DENY,
            &[],
            &["d"],
        )
    }));
    rows
}

fn clearances() -> Vec<Row> {
    let held = |name, values: &[&str], condition: Conditions, expected: Option<bool>| {
        let set = |s: &mut crate::scene::Scene| {
            s.documents.policies = vec![deny("d", PODS).when(condition)];
            s.facts = HeldFacts::Current(with_attributes(person(&[]), &[("clearance", values)]));
        };
        match expected {
            Some(true) => row(name, set, DENY, &["d"], &[]),
            Some(false) => row(name, set, NO_OPINION, &[], &[]),
            None => row(name, set, DENY, &[], &["d"]),
        }
    };
    let secret = || cleared(Some("secret"), &[]);
    let crypto = || cleared(Some("internal"), &["crypto"]);
    let asserted = |name, cluster: Option<&str>, extra: &[(&str, &[&str])], expected: Option<bool>| {
        let set = |s: &mut crate::scene::Scene| {
            s.documents.policies = vec![deny("d", PODS).when(secret())];
            s.settings.clearance_extra_key = Some("example.com/clearance".to_owned());
            s.circumstances.cluster = cluster.map(Into::into);
            for (key, values) in extra {
                s.request = with_extra(s.request.clone(), key, values);
            }
            s.facts = HeldFacts::Current(with_attributes(person(&[]), &[("clearance", &["public"])]));
        };
        match expected {
            Some(true) => row(name, set, DENY, &["d"], &[]),
            Some(false) => row(name, set, NO_OPINION, &[], &[]),
            None => row(name, set, DENY, &[], &["d"]),
        }
    };
    let key = "example.com/clearance";
    vec![
        held("3.1 a clearance of the very level is enough", &["secret"], secret(), Some(true)),
        held("3.1 a higher clearance is enough", &["top-secret"], secret(), Some(true)),
        held("3.1 a lower clearance is not", &["internal"], secret(), Some(false)),
        held("3.1 a missing clearance is known absent", &[], secret(), Some(false)),
        held("3.1 several levels are unknown", &["secret", "internal"], secret(), None),
        held("3.1 an unlisted level is unknown", &["Secret"], secret(), None),
        held("3.1 a level beside an unlisted value is unknown", &["secret", "x"], secret(), None),
        held("3.1 compartments without a level are unknown", &["crypto"], crypto(), None),
        held("3.1 all compartments must be there", &["secret", "crypto", "nuclear"], crypto(), Some(true)),
        held("3.1 no compartment may be missing", &["top-secret", "nuclear"], crypto(), Some(false)),
        asserted(
            "3.1 a clearance from extra is believed from a trusted cluster",
            Some("prod-1"),
            &[(key, &["secret"])],
            Some(true),
        ),
        asserted(
            "3.1 a clearance from extra rules, not the directory's",
            Some("prod-1"),
            &[(key, &["internal"])],
            Some(false),
        ),
        asserted(
            "3.1 a clearance from extra of another cluster is unknown",
            Some("dev-1"),
            &[(key, &["secret"])],
            None,
        ),
        asserted("3.1 a clearance from extra of no cluster is unknown", None, &[(key, &["secret"])], None),
        asserted(
            "3.1 a clearance that extra lacks is unknown",
            Some("prod-1"),
            &[("other", &["secret"])],
            None,
        ),
    ]
}
