use super::super::fake::Memory;
use super::super::{Attribute, Bind};
use super::*;
use crate::model::EntityId;
use crate::telemetry::Metrics;

fn resolver(change: impl FnOnce(&mut Settings)) -> Resolver {
    let bind = Bind::Simple { dn: "cn=svc".to_owned(), password_file: "password".into() };
    let mut settings = Settings::new(vec!["ldaps://x".to_owned()], bind, "");
    settings.attributes.insert("department".to_owned(), Attribute { from: "departmentNumber".to_owned() });
    change(&mut settings);
    let filter = settings.checked().unwrap().user_filter;
    Resolver::new(&settings, filter, Metrics::new().unwrap().directory)
}

async fn resolved(resolver: &Resolver, directory: &Memory, user: &str) -> Result<Facts, LookupError> {
    resolver.resolve(directory, user, None, Timestamp::UNIX_EPOCH).await
}

const ALICE: (&str, &[(&str, &str)]) = (
    "uid=alice,ou=people",
    &[
        ("uid", "alice"),
        ("departmentNumber", "7"),
        ("entryUUID", "A-1"),
        ("nsAccountLock", "TRUE"),
        ("secret", "x"),
    ],
);

#[tokio::test]
async fn facts_hold_what_was_asked_for_and_everything_that_was_touched() {
    let directory = Memory::new(&[
        ALICE,
        ("cn=devs", &[("cn", "devs"), ("member", "uid=alice,ou=people"), ("entryUUID", "G-1")]),
    ]);
    let facts = resolved(&resolver(|_| ()), &directory, "alice").await.unwrap();
    let Person::Found { id, dn } = &facts.person else { panic!("{facts:?}") };
    assert_eq!((id, dn.as_str()), (&EntityId::new("A-1"), "uid=alice,ou=people"));
    assert_eq!(
        facts.attributes,
        [("department", Values::Known(vec!["7".to_owned()].into()))].into_iter().collect()
    );
    assert_eq!(facts.account.disabled, Some(true));
    let triggers: Vec<Trigger> = facts.triggers().collect();
    let entities = ["a-1", "g-1"].map(|id| Trigger::entity(&EntityId::new(id)));
    let names = [Trigger::named("ALICE"), Trigger::listed("uid=alice,ou=people"), Trigger::listed("alice")];
    assert_eq!(triggers, [&entities[..], &names].concat());
    assert_eq!(facts.read_at, Timestamp::UNIX_EPOCH);
}

#[tokio::test]
async fn an_entry_with_another_name_is_nobody() {
    let directory = Memory::new(&[ALICE]);
    let exact = resolver(|_| ());
    assert_eq!(resolved(&exact, &directory, "ALICE").await.unwrap().person, Person::NotFound);
    assert_eq!(exact.metrics.identity_mismatches.get(), 1);
    let folded = resolver(|settings| settings.user_search.match_rule = MatchRule::AsciiCaseFold);
    assert!(matches!(resolved(&folded, &directory, "ALICE").await.unwrap().person, Person::Found { .. }));
    assert_eq!(resolved(&exact, &directory, "bob").await.unwrap().person, Person::NotFound);
    assert_eq!(exact.metrics.identity_mismatches.get(), 1);
}

#[tokio::test]
async fn several_entries_are_ambiguous_and_a_limit_is_an_error() {
    let mut directory = Memory::new(&[ALICE, ("uid=alice,ou=old", &[("uid", "alice")])]);
    let resolver = resolver(|_| ());
    assert_eq!(resolved(&resolver, &directory, "alice").await.unwrap().person, Person::Ambiguous);
    directory.limit = Some(0);
    let refused = LookupError::Refused(ResultCode::SIZE_LIMIT);
    assert_eq!(resolved(&resolver, &directory, "alice").await, Err(refused));
}

#[tokio::test]
async fn a_group_name_is_one_group_or_it_is_not_resolved() {
    let directory = Memory::new(&[
        ("cn=one", &[("cn", "one"), ("member", "x"), ("entryUUID", "G-1")]),
        ("cn=two,ou=a", &[("cn", "two"), ("member", "x")]),
        ("cn=two,ou=b", &[("cn", "two"), ("member", "x")]),
        ("cn=system:masters", &[("cn", "system:masters"), ("member", "x")]),
    ]);
    let resolver = resolver(|_| ());
    for (name, expected) in [
        ("one", Resolved::Group(EntityId::new("g-1"))),
        ("ONE", Resolved::Group(EntityId::new("g-1"))),
        ("two", Resolved::Several),
        ("three", Resolved::None),
        ("system:masters", Resolved::None),
        ("", Resolved::None),
    ] {
        assert_eq!(resolver.resolve_group_name(&directory, name).await, Ok(expected), "{name}");
    }
}
