//! `bailiwick lookup` beside a real OpenLDAP and a running service.

use bailiwick::model::Decision::{Allow, NoOpinion};
use serde_json::{Value, json};

use super::commands::free_port;
use super::fixture::{
    PATIENT, Service, Site, TOKEN, Transport, configuration, directory, eventually, group, group_dn, person,
    policy, run, user_dn,
};
use crate::slapd::{GROUPS, PEOPLE, SERVICE, Slapd};

/// Alice in a chain of three groups, and bob beside it.
fn company() -> String {
    person("alice")
        + &person("bob")
        + &group("leaf", &[user_dn("alice")])
        + &group("mid", &[group_dn("leaf")])
        + &group("top", &[group_dn("mid"), user_dn("bob")])
}

/// A site whose service has a port for the admin listener, so that others find it: `admin` are more of its settings.
fn site(directory: &str, admin: &str) -> Site {
    let policies = policy("top", "Allow", "[{kind: DirectoryGroup, name: top}]", "[pods]");
    let site = Site::new(&[("all.yaml", &policies)]);
    let text = configuration(directory);
    let usual = "admin: {listen: \"127.0.0.1:0\", tokenFile: admin-token}";
    assert!(text.contains(usual));
    let port = free_port();
    let text = text.replace(usual, &format!("admin: {{listen: \"127.0.0.1:{port}\"{admin}}}"));
    site.write("config.yaml", &text);
    site
}

const WITH_TOKEN: &str = ", tokenFile: admin-token";
const LONG_LIVED: &str = "  cache: {softTTL: 60s, hardTTL: 5m, negativeTTL: 60s}";

/// The directory's section with no change feed, so that nothing but age and purges changes what is held.
fn unfollowed(slapd: &Slapd, more: &str) -> String {
    directory(slapd, Transport::Ldaps, &format!("{PATIENT}\n    changeFeed: off"), more)
}

fn lookup(site: &Site, user: &str) -> (i32, String, String) {
    run(&site.path(""), &["lookup", user, "--config", "config.yaml"])
}

fn lookup_json(site: &Site, user: &str) -> (i32, Value) {
    let (code, out, err) = run(&site.path(""), &["lookup", user, "--config", "config.yaml", "-o", "json"]);
    (code, serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}")))
}

fn searches(slapd: &Slapd) -> usize {
    slapd.logged(&["SRCH", "base=\"ou="]).len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_up_shows_each_search_that_open_ldap_got_and_the_way_to_every_group() {
    let slapd = Slapd::start(&company(), "");
    let site = site(&unfollowed(&slapd, ""), WITH_TOKEN);
    let before = searches(&slapd);
    let (code, shown) = lookup_json(&site, "alice");
    assert_eq!((code, &shown["person"]), (0, &json!("found")), "{shown}");
    let sent = shown["searches"].as_array().unwrap();
    assert_eq!(sent.len(), searches(&slapd) - before);
    let words = |name: &str| -> Vec<&Value> { sent.iter().map(|search| &search[name]).collect() };
    assert_eq!(words("step"), ["person", "groups", "groups", "groups", "groups"]);
    assert_eq!(words("base"), [PEOPLE, GROUPS, GROUPS, GROUPS, GROUPS]);
    assert_eq!(words("entries"), [1, 1, 1, 1, 0]);
    for search in sent {
        let ms = search["milliseconds"].as_f64().unwrap();
        assert!(ms > 0.0 && ms < 2000.0 && search["error"].is_null(), "{search}");
        let filter = search["filter"].as_str().unwrap();
        assert!(filter.contains("alice") || filter.contains("cn="), "{filter}");
    }
    assert!(shown["milliseconds"].as_f64() > shown["searches"][0]["milliseconds"].as_f64());
    let path = |name: &str| {
        let group = shown["groups"].as_array().unwrap().iter().find(|group| group["name"] == name);
        group.unwrap()["path"].clone()
    };
    assert_eq!(path("top"), json!(["leaf", "mid", "top"]));
    assert_eq!(
        (&shown["server"]["url"], &shown["server"]["kind"]),
        (&json!(slapd.ldaps_url()), &json!("OpenLDAP"))
    );
    let (code, text, err) = lookup(&site, "alice");
    assert_eq!((code, err.as_str()), (0, ""));
    for part in ["  leaf < mid < top\n", "  kind       OpenLDAP\n", &user_dn("alice"), "groups, level 4"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    for secret in [SERVICE, "svcpw", TOKEN] {
        assert!(!text.contains(secret) && !shown.to_string().contains(secret), "{secret}");
    }
    assert_eq!(lookup(&site, "nobody").0, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_up_says_what_the_service_holds_and_how_that_differs() {
    let slapd = Slapd::start(&company(), "");
    let site = site(&unfollowed(&slapd, LONG_LIVED), WITH_TOKEN);
    let service = Service::start(&site).await;
    let (code, shown) = lookup_json(&site, "alice");
    assert_eq!((code, &shown["service"]["holds"]["state"]), (0, &json!("absent")), "{shown}");
    assert_eq!(service.decides("alice", "get", "pods").await, Allow);
    let (_, text, _) = lookup(&site, "alice");
    for part in ["holds facts: fresh, read ", "answered from them at once\n", "they have the groups above\n"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (mid, leaf) = (group_dn("mid"), group_dn("leaf"));
    slapd.modify(&format!("dn: {mid}\nchangetype: modify\nreplace: member\nmember: {}\n", user_dn("bob")));
    slapd.modify(&format!(
        "dn: cn=new,{GROUPS}\nchangetype: add\nobjectClass: groupOfNames\ncn: new\nmember: {leaf}\n"
    ));
    let (_, shown) = lookup_json(&site, "alice");
    let differs =
        json!({"missing": [format!("cn=new,{GROUPS}")], "besides": [group_dn("mid"), group_dn("top")]});
    assert_eq!(shown["differs"], differs);
    let (_, text, _) = lookup(&site, "alice");
    assert!(text.contains(&format!("they lack cn=new,{GROUPS}\n")), "{text}");
    assert!(text.contains("they have besides"), "{text}");
    let misses = service.metric("facts_cache_requests_total{result=\"miss\"}").await;
    assert_eq!(service.post("/purge?user=alice", &Value::Null).await.0, 200);
    let (_, text, _) = lookup(&site, "alice");
    assert!(text.contains("holds facts: invalid") && text.contains("the directory changed since"), "{text}");
    assert!((service.metric("facts_cache_requests_total{result=\"miss\"}").await - misses).abs() < 0.5);
    assert_eq!(service.decides("alice", "get", "pods").await, NoOpinion);
    let (_, text, _) = lookup(&site, "system:node:n1");
    assert!(text.contains("to the service at 127.0.0.1:"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_feed_and_what_it_vouches_for_are_shown() {
    let slapd = Slapd::start(&company(), "overlay syncprov");
    let text = directory(&slapd, Transport::Ldaps, PATIENT, LONG_LIVED);
    let site = site(&text, WITH_TOKEN);
    let service = Service::start(&site).await;
    eventually("the feed is up", async || service.metric("directory_feed_up").await > 0.5).await;
    assert_eq!(service.decides("alice", "get", "pods").await, Allow);
    let (code, shown) = lookup_json(&site, "alice");
    let holds = &shown["service"]["holds"];
    assert_eq!((code, &holds["feed"]["mechanism"]), (0, &json!("syncrepl")), "{shown}");
    assert_eq!([&holds["feed"]["up"], &holds["feed"]["complete"], &holds["followed"]], [true, true, true]);
    assert_eq!(holds["feed"]["server"], json!(slapd.ldaps_url()));
    assert!(holds["confirmed"]["secondsAgo"].is_number(), "{holds}");
    let (_, text, _) = lookup(&site, "alice");
    assert!(
        text.contains("  syncrepl at ldaps://127.0.0.1:") && text.contains(" tells of every change"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_does_not_tell_is_no_failure_of_the_look_up() {
    let slapd = Slapd::start(&company(), "");
    let silent = |site: &Site, why: &str| {
        let (code, text, err) = lookup(site, "alice");
        assert_eq!((code, err.as_str()), (0, ""), "{text}");
        let line = text.lines().find(|line| line.contains("does not say what it holds")).unwrap();
        assert!(line.contains(why), "{line}");
    };
    let site = site(&unfollowed(&slapd, ""), "");
    silent(&site, "Connection refused");
    let service = Service::start(&site).await;
    silent(&site, "HTTP 403: /facts is off");
    drop(service);

    let site = self::site(&unfollowed(&slapd, ""), WITH_TOKEN);
    let _service = Service::start(&site).await;
    site.write("admin-token", "another-token");
    silent(&site, "HTTP 401");
    std::fs::remove_file(site.path("admin-token")).unwrap();
    silent(&site, "admin-token: No such file");
    let with_ca =
        ", tokenFile: admin-token, tls: {certFile: server.pem, keyFile: server.key, clientCAFile: ca.pem}";
    silent(&self::site(&unfollowed(&slapd, ""), with_ca), "wants a client certificate");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_is_asked_over_tls_where_it_has_that() {
    let slapd = Slapd::start(&company(), "");
    let tls = ", tokenFile: admin-token, tls: {certFile: server.pem, keyFile: server.key}";
    let site = site(&unfollowed(&slapd, LONG_LIVED), tls);
    let service = Service::start_with_admin(&site, "https").await;
    assert_eq!(service.decides("alice", "get", "pods").await, Allow);
    let (code, shown) = lookup_json(&site, "alice");
    assert_eq!((code, &shown["service"]["holds"]["state"]), (0, &json!("fresh")), "{shown}");
    let (code, out, err) = run(&site.path(""), &["healthcheck", "--config", "config.yaml"]);
    assert!(code == 0 && out.contains("readyz check passed"), "{code}: {out}{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_cannot_be_asked_is_an_operational_failure_with_what_led_to_it() {
    let mut slapd = Slapd::start(&company(), "");
    let site = site(&unfollowed(&slapd, ""), WITH_TOKEN);
    let password = std::fs::read_to_string(slapd.path("password")).unwrap();
    std::fs::write(slapd.path("password"), "wrong").unwrap();
    let (code, text, err) = lookup(&site, "alice");
    assert_eq!(code, 1, "{text}");
    assert!(err.starts_with("error: the user `alice`: ") && err.contains("credentials"), "{err}");
    assert!(text.starts_with("What the directory says of alice could not be found out: "), "{text}");
    assert_eq!(slapd.logged(&["BIND", SERVICE, "method=128"]).len(), 1, "it is not tried again");
    std::fs::write(slapd.path("password"), password).unwrap();
    slapd.kill();
    let (code, shown) = lookup_json(&site, "alice");
    assert_eq!((code, &shown["person"], &shown["accountDenies"]), (1, &json!("unknown"), &Value::Null));
    assert!(shown["error"].as_str().unwrap().contains("cannot be reached"), "{shown}");
    assert_eq!(shown["searches"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_result_and_a_refusing_account_are_said_plainly() {
    let many: String = (0..8).map(|number| group(&format!("many-{number}"), &[user_dn("bob")])).collect();
    let expired = format!(
        "dn: uid=carl,{PEOPLE}\nobjectClass: inetOrgPerson\nobjectClass: shadowAccount\nuid: carl\ncn: carl\nsn: carl\n\
         shadowExpire: 18000\n\n"
    );
    let limited = format!("limits dn.exact=\"{SERVICE}\" size.soft=5 size.hard=5 size.prtotal=5");
    let slapd = Slapd::start(&(company() + &many + &expired), &limited);
    let site = site(&unfollowed(&slapd, ""), WITH_TOKEN);
    let (code, text, err) = lookup(&site, "bob");
    assert_eq!((code, err.as_str()), (0, ""), "{text}");
    assert!(text.contains("and perhaps more, which are unknown: the server cut a result short"), "{text}");
    assert!(text.contains("cut short: by the server, with result 4 (sizeLimitExceeded)"), "{text}");
    let (code, text, _) = lookup(&site, "carl");
    assert_eq!(code, 3, "{text}");
    assert!(
        text.starts_with("carl is in the directory; everything is refused by account/expired\n"),
        "{text}"
    );
    let (_, shown) = lookup_json(&site, "carl");
    let states = shown["account"].as_array().unwrap();
    let expired = states.iter().find(|state| state["state"] == "account/expired").unwrap();
    assert_eq!(
        [&expired["holds"], &expired["denies"], &expired["setting"]],
        [&json!(true), &json!(true), &json!("Deny")]
    );
}
