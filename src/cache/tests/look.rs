//! Looking at what is held changes nothing.

use super::*;

/// What is seen of alice: her facts' life, whether they are being read, and whether a pause is on.
fn seen(it: &Fixture) -> (Option<Life>, bool, bool) {
    let look = it.cache.look("alice");
    (look.held.map(|held| held.life), look.is_loading, look.backing_off.is_some())
}

#[tokio::test]
async fn a_look_tells_the_life_of_facts_and_begins_nothing() {
    let it = fixture();
    assert_eq!(seen(&it), (None, false, false));
    let get = it.spawn_get("alice");
    it.reading().await;
    assert_eq!(seen(&it), (None, true, false));
    it.open_gate(1);
    fresh(get.await.unwrap());
    assert_eq!(seen(&it), (Some(Life::Fresh), false, false));
    it.grow_old(Duration::from_secs(61));
    assert_eq!(seen(&it), (Some(Life::Soft), false, false));
    it.grow_old(Duration::from_secs(240));
    assert_eq!(seen(&it), (Some(Life::Hard), false, false));
    assert_eq!(it.cache.look("alice").held.unwrap().age, Duration::from_secs(301));
    it.cache.invalidate_user("alice");
    assert_eq!(seen(&it), (Some(Life::Invalid), false, false));
    it.grow_old(LAST_KNOWN);
    assert_eq!(seen(&it), (None, false, false), "too old to be the last known state");
    assert_eq!(it.loads(), 1);
    assert_eq!(["hit", "stale", "negative"].map(|result| it.counted(result)), [0; 3]);
    assert_eq!(it.counted("miss"), 1);
}

#[tokio::test]
async fn a_look_tells_why_nothing_is_read_and_for_how_long() {
    let it = fixture();
    it.answer(Err("connection refused"));
    it.open_gate(1);
    assert_eq!(failed(it.get("alice").await), Why::Load("connection refused".into()));
    it.grow_old(Duration::from_millis(400));
    let pause = BackingOff { why: "connection refused".into(), left: Duration::from_millis(600) };
    assert_eq!(it.cache.look("alice").backing_off, Some(pause));
    it.grow_old(Duration::from_millis(600));
    assert_eq!(it.cache.look("alice").backing_off, None);
}

#[tokio::test]
async fn a_look_tells_until_when_a_change_feed_vouched() {
    let it = fixture();
    let followed = Facts { followed: true, ..person(&["g1"]) };
    it.answer(Ok(followed));
    it.cache.confirm(it.now(), it.now());
    it.open_gate(1);
    fresh(it.get("alice").await);
    it.grow_old(Duration::from_secs(100));
    it.cache.confirm(it.now(), it.now());
    it.grow_old(Duration::from_secs(2));
    let confirmed = || it.cache.look("alice").held.unwrap().confirmed;
    let two_seconds = Duration::from_secs(2);
    assert_eq!(confirmed(), Some(Confirmed { ago: two_seconds, is_gapless: true }));
    assert_eq!(seen(&it).0, Some(Life::Fresh), "102 seconds old, and known to be true 2 seconds ago");
    it.cache.interrupt();
    assert_eq!(confirmed(), Some(Confirmed { ago: two_seconds, is_gapless: false }));
    assert_eq!(seen(&it).0, Some(Life::Soft));
    it.answer(Ok(person(&[])));
    it.cache.invalidate_all();
    it.open_gate(1);
    fresh(it.get("alice").await);
    assert_eq!(confirmed(), None, "nobody follows these");
}
