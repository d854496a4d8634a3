//! Nothing that was invalidated is used again, whatever it races.

use super::*;

pub(super) type Invalidate = fn(&FactsCache<()>);

/// Every way in which facts are made invalid.
pub(super) const INVALIDATIONS: [(&str, Invalidate); 5] = [
    ("user", |cache| {
        cache.invalidate_user("alice");
    }),
    ("group", |cache| {
        cache.invalidate([entity("other"), entity("G1")]);
    }),
    ("name", |cache| {
        cache.invalidate([Trigger::named("ALICE")]);
    }),
    ("joining", |cache| {
        cache.invalidate_joining([Trigger::listed("uid=alice,dc=example")], &EntityId::new("g2"));
    }),
    ("all", |cache| {
        cache.invalidate_all();
    }),
];

#[tokio::test]
async fn what_was_invalidated_is_loaded_again_and_awaited() {
    for (name, invalidate) in INVALIDATIONS {
        let it = fixture();
        it.open_gate(2);
        let old = fresh(it.get("alice").await);
        invalidate(&it.cache);
        it.answer(Ok(person(&[])));
        assert!(matches!(it.cache.peek("alice"), Lookup::Stale(_, Why::Changed)), "{name}");
        let new = fresh(it.get("alice").await);
        assert!(!Arc::ptr_eq(&old, &new), "{name}");
        assert!(Arc::ptr_eq(&new, &fresh(it.get("alice").await)), "{name}");
        assert_eq!(it.loads(), 2, "{name}");
    }
}

#[tokio::test]
async fn a_clock_that_stands_still_makes_no_old_facts_new() {
    for (name, invalidate) in INVALIDATIONS {
        let it = fixture();
        it.open_gate(1);
        fresh(it.get("alice").await);
        invalidate(&it.cache);
        let soon = Instant::now() + Duration::from_millis(20);
        assert_eq!(stale(it.get_until("alice", soon).await), Why::Late, "{name}");
    }
}

#[tokio::test]
async fn an_invalidation_beats_the_load_that_it_races() {
    for (name, invalidate) in INVALIDATIONS {
        let it = fixture();
        let get = it.spawn_get("alice");
        it.reading().await;
        invalidate(&it.cache);
        it.answer(Ok(person(&["new"])));
        it.open_gate(2);
        let entry = fresh(get.await.unwrap());
        assert!(entry.facts.is_in(&EntityId::new("new")), "{name}: read before the invalidation");
        assert_eq!(it.loads(), 2, "{name}");
        fresh(it.get("alice").await);
        assert_eq!(it.loads(), 2, "{name}");
    }
}

#[tokio::test]
async fn an_invalidation_outlives_the_end_of_another_load() {
    let it = fixture();
    let get = it.spawn_get("alice");
    it.reading().await;
    it.cache.invalidate([entity("g1")]);
    fresh(it.cache.get("bob", || |_| async { Ok::<_, String>(nobody()) }, patient()).await);
    it.open_gate(2);
    fresh(get.await.unwrap());
    assert_eq!(it.loads(), 2);
}

#[tokio::test]
async fn what_was_invalidated_after_it_was_loaded_is_not_handed_to_who_awaited_it() {
    for (name, invalidate) in INVALIDATIONS {
        let it = fixture();
        let mut get = Box::pin(it.get("alice"));
        assert!(get.as_mut().now_or_never().is_none(), "{name}");
        it.open_gate(2);
        it.settled().await;
        invalidate(&it.cache);
        it.answer(Ok(person(&["new"])));
        assert!(fresh(get.await).facts.is_in(&EntityId::new("new")), "{name}");
    }
}

#[tokio::test]
async fn a_load_that_ended_since_the_caller_looked_is_not_made_again() {
    let it = fixture();
    it.open_gate(1);
    let entry = fresh(it.get("alice").await);
    let load = Arc::new(|_| async { Ok::<_, String>(nobody()) });
    let joined = loads::join(&it.cache.shared, "alice", &load);
    assert!(matches!(joined, Joined::Ended(held) if Arc::ptr_eq(&held, &entry)));
}

#[tokio::test]
async fn where_the_directory_changes_during_every_load_what_was_read_since_is_good_for_that_question_alone() {
    for (name, invalidate) in INVALIDATIONS {
        let it = fixture();
        let get = it.spawn_get("alice");
        for _ in 0..loads::ATTEMPTS {
            it.reading().await;
            invalidate(&it.cache);
            it.open_gate(1);
        }
        fresh(get.await.unwrap());
        assert!(matches!(it.cache.peek("alice"), Lookup::Stale(_, Why::Changed)), "{name}");
        assert_eq!(it.loads(), loads::ATTEMPTS, "{name}");
        it.grow_old(Duration::from_secs(1));
        let get = it.spawn_get("alice");
        it.reading().await;
        invalidate(&it.cache);
        it.grow_old(Duration::from_secs(1));
        // It was read before this one was asked.
        let late = it.cache.get("alice", || |_| async { Ok::<_, String>(nobody()) }, Instant::now());
        assert_eq!(stale(late.await), Why::Late, "{name}");
        it.open_gate(2);
        fresh(get.await.unwrap());
    }
}

#[tokio::test]
async fn a_load_that_found_somebody_in_a_group_is_not_overtaken_by_the_news_that_they_are_in_it() {
    let it = fixture();
    let get = it.spawn_get("alice");
    it.reading().await;
    it.cache.invalidate_joining([Trigger::listed("uid=alice,dc=example")], &EntityId::new("g1"));
    it.open_gate(2);
    fresh(get.await.unwrap());
    assert_eq!(it.loads(), 1);
}

#[tokio::test]
async fn invalidating_what_others_touched_leaves_an_entry_and_a_load_alone() {
    let it = fixture();
    let get = it.spawn_get("alice");
    it.reading().await;
    it.cache.invalidate([entity("g2")]);
    it.cache.invalidate_user("bob");
    it.open_gate(1);
    fresh(get.await.unwrap());
    assert_eq!(it.cache.invalidate([entity("g2")]), 0);
    fresh(it.get("alice").await);
    assert_eq!(it.loads(), 1);
}

#[tokio::test]
async fn an_invalidation_counts_the_subjects_that_it_concerned() {
    let it = fixture();
    it.open_gate(3);
    for user in ["alice", "bob", "carol"] {
        fresh(it.get(user).await);
    }
    assert_eq!(it.cache.invalidate_user("alice"), 1);
    assert_eq!(it.cache.invalidate_user("nobody"), 0);
    assert_eq!(it.cache.invalidate([entity("g1")]), 2);
    assert_eq!(it.cache.invalidate([entity("g1")]), 0);
}

#[tokio::test]
async fn who_is_in_the_group_already_does_not_join_it() {
    let it = fixture();
    it.open_gate(1);
    fresh(it.get("alice").await);
    let members = || [Trigger::listed("uid=alice,dc=example"), Trigger::listed("uid=bob,dc=example")];
    assert_eq!(it.cache.invalidate_joining(members(), &EntityId::new("g1")), 0);
    fresh(it.get("alice").await);
    assert_eq!(it.cache.invalidate_joining(members(), &EntityId::new("g2")), 1);
    assert!(matches!(it.cache.peek("alice"), Lookup::Stale(_, Why::Changed)));
}

#[tokio::test]
async fn a_subgroup_that_joins_a_group_concerns_all_who_are_in_it() {
    let it = fixture();
    it.open_gate(2);
    for user in ["alice", "bob"] {
        fresh(it.get(user).await);
    }
    assert_eq!(it.cache.invalidate_joining([entity("g1")], &EntityId::new("parent")), 2);
}

#[tokio::test]
async fn a_subgroup_that_nobody_was_known_to_be_in_concerns_a_load_by_its_name() {
    let it = fixture();
    let mut facts = person(&[]);
    let dn = Some(Dn::parse("cn=G1,dc=example").unwrap());
    let group = Arc::new(Group { id: EntityId::new("g1"), sid: None, dn, name: "g1".into() });
    facts.groups = [GroupMembership { group, via: None }].into_iter().collect();
    it.answer(Ok(facts));
    let get = it.spawn_get("alice");
    it.reading().await;
    it.cache.invalidate_joining([Trigger::listed("cn=g1,dc=example")], &EntityId::new("parent"));
    it.answer(Ok(person(&["g1", "parent"])));
    it.open_gate(2);
    assert!(fresh(get.await.unwrap()).facts.is_in(&EntityId::new("parent")));
}

#[tokio::test]
async fn with_more_stamps_than_are_kept_a_load_is_made_twice_rather_than_trusted() {
    let it = fixture();
    let get = it.spawn_get("alice");
    it.reading().await;
    for number in 0..=ledger::MAX_STAMPS {
        it.cache.invalidate([entity(&format!("other-{number}"))]);
    }
    it.open_gate(2);
    fresh(get.await.unwrap());
    assert_eq!(it.loads(), 2);
}

#[tokio::test]
async fn the_ledger_forgets_stamps_when_no_load_is_in_flight() {
    let it = fixture();
    let get = it.spawn_get("alice");
    it.reading().await;
    it.cache.invalidate([entity("g2")]);
    it.cache.invalidate_user("bob");
    assert_eq!(it.cache.shared.ledger().stamps(), 2);
    it.open_gate(1);
    fresh(get.await.unwrap());
    it.cache.invalidate_user("bob");
    assert_eq!(it.cache.shared.ledger().stamps(), 0);
}

#[tokio::test]
async fn the_index_does_not_grow_with_refreshes_and_forgets_groups_that_were_left() {
    let it =
        fixture_with(Settings { soft_ttl: Duration::ZERO, hard_ttl: Duration::ZERO, ..Settings::default() });
    it.open_gate(1_001);
    for round in 0..1_000 {
        it.answer(Ok(person(if round % 2 == 0 { &["g1", "g2"] } else { &["g2", "g3"] })));
        fresh(it.get("alice").await);
    }
    let (references, places) = {
        let ledger = it.cache.shared.ledger();
        (ledger.index.references(), ledger.index.places())
    };
    assert_eq!((references, places), (5, 1));
    assert_eq!(it.cache.invalidate([entity("g1")]), 0, "she left it");
    assert_eq!(it.cache.invalidate([entity("g3")]), 1);
}

#[tokio::test]
async fn places_of_subjects_that_were_pushed_out_are_used_again() {
    // moka lets go of what it evicted a moment later, and on a busy machine later still: how many places there are is not
    // to be said, but they do not grow for ever.
    const ROUNDS: usize = 20;
    let it = fixture_with(Settings { max_entries: 10, ..Settings::default() });
    it.open_gate(ROUNDS * index::MIN_PLACES);
    let mut places = Vec::new();
    for round in 0..ROUNDS {
        for user in 0..index::MIN_PLACES {
            fresh(it.get(&format!("{round}-{user}")).await);
            it.cache.shared.people.run_pending_tasks();
        }
        places.push(it.cache.shared.ledger().index.places());
        if places.len() > 2 && places[places.len() - 2..].iter().all(|count| *count == places[round]) {
            break;
        }
    }
    assert!(places.len() < ROUNDS, "in each round there are more: {places:?}");
    let concerned = it.cache.invalidate([entity("g1")]);
    assert!((10..places[places.len() - 1] as u64).contains(&concerned), "{concerned} of {places:?}");
}
