//! Acting as somebody else.

use super::{DEVELOPMENT, Scene};

#[test]
fn nobody_is_somebody_else_without_the_right_to_each_part_of_it() {
    let scene = Scene::new();
    let pods = format!("{DEVELOPMENT}/pods");
    // Nina may act as bob, and as nobody else.
    let nina = |headers: &[&str]| {
        let headers: Vec<&str> = headers.iter().flat_map(|header| ["-H", header]).collect();
        scene.ask(&scene.static_token("nina"), &headers, &pods)
    };
    let bob = "Impersonate-User: bob";
    assert_eq!(nina(&[bob]).how(), "200 Storage Passed");
    let long = format!("Impersonate-User: {}", "b".repeat(60_000));
    for (headers, how) in [
        (vec!["Impersonate-User: admin"], "403"),
        (vec!["Impersonate-User: BOB"], "403"),
        (vec!["Impersonate-User: nina"], "403"),
        (vec!["Impersonate-User: system:serviceaccount:ci:deployer"], "403"),
        (vec!["Impersonate-User: system:node:node-1", "Impersonate-Group: system:nodes"], "403"),
        (vec![bob, "Impersonate-Group: system:masters"], "403"),
        (vec![bob, "impersonate-GROUP: payments-oncall"], "403"),
        (vec![bob, "Impersonate-Uid: 1"], "403"),
        (vec![bob, "Impersonate-Extra-Scopes: all"], "403"),
        (vec![bob, "Impersonate-Extra-%42ailiwick.dev%2Fclearance: secret"], "403"),
        // As an API server: it is asked wrongly, whoever asks.
        (vec!["Impersonate-Group: system:masters"], "500"),
        (vec!["Impersonate-User;", "Impersonate-Group: system:masters"], "500"),
        (vec!["Impersonate-User: bob", "Impersonate-User: admin"], "400"),
        (vec![&long], "400"),
    ] {
        let expected = format!("{how} Impersonation Refused");
        assert_eq!(nina(&headers).how(), expected, "{headers:.80?}");
    }
    // Other spellings are not this header.
    let under = nina(&["Impersonate_User: bob"]);
    assert_eq!((under.how().as_str(), under.user()), ("403 Authorization Refused", "nina"));
    let address = "Impersonate-Extra-Bailiwick.dev%2FSource-Address: 10.1.2.3";
    let moved = nina(&[bob, address]);
    assert_eq!(moved.how(), "200 Storage Passed", "what is said of the address is not read");
    let extra = &moved.journey["impersonated"]["extra"];
    assert_eq!(extra["bailiwick.dev/source-address"][0], "127.0.0.1");
    let anonymous = scene.ask(&[], &["-H", bob], &pods);
    assert_eq!(anonymous.how(), "403 Impersonation Refused");
}
