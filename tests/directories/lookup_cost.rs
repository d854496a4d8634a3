//! How many LDAP operations a lookup takes, and how long one with many groups.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bailiwick::directory::{ChangeFeed, Strategy};
use bailiwick::model::Facts;
use bailiwick::telemetry::Metrics;

use crate::logon_names::{later, open};
use crate::samba::{Entry, SERVICE, Samba};

/// Within this a person of a thousand groups is looked up on a machine that is busy with other tests.
const A_THOUSAND_GROUPS: Duration = Duration::from_secs(10);

/// How many searches there were, by the metrics of the client.
fn searches(metrics: &Metrics, url: &str) -> u64 {
    metrics.directory.operations.with_label_values(&[url, "search", "success"]).get()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_takes_three_round_trips_and_fewer_where_something_is_known() {
    let samba = Samba::start();
    let [few, some, many] = ["few", "some", "many"].map(|name| samba.add_user(name));
    let members = |number| match number {
        0..190 => vec![few.as_str(), some.as_str(), many.as_str()],
        190..298 => vec![some.as_str(), many.as_str()],
        _ => vec![many.as_str()],
    };
    samba
        .add_all((0..998).map(|number| Entry::group(&format!("group-{number}"), &members(number))).collect());
    let mut settings = samba.settings(SERVICE);
    settings.change_feed = ChangeFeed::Off;
    settings.timeouts.operation = A_THOUSAND_GROUPS;
    settings.timeouts.total = A_THOUSAND_GROUPS;
    // Each user's first lookup knows no group. With `Domain Users` and `Users` each is in two groups more.
    for (user, groups, cold, warm) in [("few", 192, 3, 2), ("some", 300, 4, 2), ("many", 1000, 7, 2)] {
        let (directory, metrics) = open(settings.clone());
        let url = &samba.urls()[0];
        assert_eq!(directory.probe(later()).await, Ok(()));
        let mut known: Option<Arc<Facts>> = None;
        for (what, expected) in [("cold", cold), ("warm", warm), ("known", 1)] {
            let (before, started) = (searches(&metrics, url), Instant::now());
            let held = known.take().filter(|_| what == "known");
            let facts = directory.resolve(user, held, later()).await.unwrap();
            println!(
                "{user}: {groups} groups, {what}: {} searches, {:?}",
                searches(&metrics, url) - before,
                started.elapsed()
            );
            assert_eq!((facts.groups.len(), facts.partial), (groups, None), "{user} {what}");
            assert_eq!(searches(&metrics, url) - before, expected, "{user} {what}");
            known = Some(Arc::new(facts));
        }
        // What is known of somebody who is somebody else by now saves nothing and does no harm.
        if user == "few" {
            let renamed = samba.rename(&few, "few-renamed");
            let before = searches(&metrics, url);
            let facts = directory.resolve(user, known, later()).await.unwrap();
            assert_eq!((facts.groups.len(), searches(&metrics, url) - before), (groups, 2));
            samba.rename(&renamed, "few");
        }
    }
    // Other strategies find them too, but for the two groups that stand below no base of theirs. Samba takes 10 ms for each
    // group whose own groups it is asked for.
    for strategy in [Strategy::Search, Strategy::MemberOf] {
        let mut settings = settings.clone();
        settings.group_search.strategy = strategy;
        let started = Instant::now();
        let facts = open(settings).0.resolve("few", None, later()).await.unwrap();
        println!("few: 190 groups by {strategy:?}: {:?}", started.elapsed());
        assert_eq!((facts.groups.len(), facts.partial), (190, None), "{strategy:?}");
    }
    settings.group_search.max_groups = 300;
    for (user, partial) in [("some", false), ("many", true)] {
        let facts = open(settings.clone()).0.resolve(user, None, later()).await.unwrap();
        assert_eq!((facts.groups.len(), facts.partial.is_some()), (300, partial), "{user}");
    }
}
