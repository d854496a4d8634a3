//! The commands beside a service: `healthcheck`, `check --config` and `explain --config`.

use super::fixture::{
    PATIENCE, PATIENT, Service, Site, Transport, directory, group, group_dn, person, policy, run, user_dn,
};
use crate::slapd::Slapd;

/// A port that is free now, and likely to be for the next second.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn engineers() -> (String, String) {
    let people = person("alice")
        + &person("bob")
        + &group("oncall", &[user_dn("alice")])
        + &group("engineers", &[group_dn("oncall")]);
    let policies = policy("engineers", "Allow", "[{kind: DirectoryGroup, name: engineers}]", "[pods]")
        + &policy("no-secrets", "Deny", "[{kind: Everyone}]", "[secrets]");
    (people, policies)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_check_says_whether_the_service_is_ready() {
    let site = Site::new(&[("all.yaml", &engineers().1)]);
    let path = site.configure("directory: {kind: none}");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        path,
        text.replace(
            "admin: {listen: \"127.0.0.1:0\"",
            &format!("admin: {{listen: \"127.0.0.1:{}\"", free_port()),
        ),
    )
    .unwrap();
    let check = || run(&site.path(""), &["healthcheck", "--config", "config.yaml"]);
    let (code, _, err) = check();
    assert!(code == 1 && err.contains("/readyz"), "{code}: {err}");
    let mut service = Service::start(&site).await;
    let (code, out, err) = check();
    assert!(code == 0 && out.contains("readyz check passed"), "{code}: {out}{err}");
    service.signal("-TERM");
    service.ended(PATIENCE);
    assert_eq!(check().0, 1);
    assert_eq!(run(&site.path(""), &["healthcheck"]).0, 2, "it needs a configuration");
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_asks_the_live_directory() {
    let (people, policies) = engineers();
    let mut slapd = Slapd::start(&people, "");
    let site = Site::new(&[("all.yaml", &policies)]);
    site.configure(&directory(&slapd, Transport::Ldaps, PATIENT, ""));
    let explain = |user: &str, resource: &str| {
        let request = ["--as", user, "-n", "dev", "get", resource, "x"];
        run(&site.path(""), &[["explain", "--config", "config.yaml"].as_slice(), &request].concat())
    };
    let (code, out, err) = explain("alice", "pods");
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("Allow") && out.contains("oncall") && out.contains(&user_dn("alice")), "{out}");
    let (code, out, _) = explain("bob", "pods");
    assert!(code == 4 && out.contains("NoOpinion"), "{code}: {out}");
    let (code, out, _) = explain("bob", "secrets");
    assert!(code == 3 && out.contains("by no-secrets"), "{code}: {out}");
    slapd.kill();
    let (code, out, _) = explain("alice", "pods");
    assert_ne!(code, 0, "{out}");
    assert!(!out.starts_with("Allow"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_reads_a_whole_configuration_without_asking_anybody() {
    let (people, policies) = engineers();
    let mut slapd = Slapd::start(&people, "");
    slapd.kill();
    let site = Site::new(&[("all.yaml", &policies)]);
    site.configure(&directory(&slapd, Transport::StartTls, PATIENT, ""));
    let (code, out, err) = run(&site.path(""), &["check", "--config", "config.yaml"]);
    assert!(code == 0 && out.contains("2 policies"), "{code}: {out}{err}");
}

#[test]
fn the_example_configuration_is_one() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let (code, out, err) = run(root, &["check", "--config", "deploy/config.yaml"]);
    // Nothing is wrong with it but that this machine has none of its files.
    assert!(code == 1 && err.contains("no such file"), "{code}: {out}{err}");
}
