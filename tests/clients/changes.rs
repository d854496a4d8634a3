//! Who may do what changes with the directory, the clock and the site, without a restart.

use super::demo::{Demo, eventually};

const WEB: &str = "/api/v1/namespaces/payments-prod/pods/pay-web-1";

#[test]
fn whoever_joins_a_group_in_the_directory_may_what_its_members_may() {
    let demo = Demo::start();
    let nina = demo.kubectl("nina");
    assert!(nina.refused(&["get", "pods", "-n", "payments-dev"]).contains("Forbidden"));
    let payments = "dn: cn=payments,ou=groups,dc=example,dc=com\n";
    let text = std::fs::read_to_string(demo.path("people.ldif")).unwrap();
    let (_, entry) = text.split_once(payments).unwrap();
    let member = entry.lines().find(|line| line.starts_with("member:")).unwrap();
    let with_nina = format!("{member}\nmember: uid=nina,ou=people,dc=example,dc=com");
    let whole = format!("{payments}{}", entry.split_once(member).unwrap().0);
    demo.edit("people.ldif", &format!("{whole}{member}"), &format!("{whole}{with_nina}"));
    eventually("nina is in payments", || nina.run(&["get", "pods", "-n", "payments-dev"]).code == 0);
    demo.edit("people.ldif", &with_nina, member);
    eventually("nina is not any more", || nina.run(&["get", "pods", "-n", "payments-dev"]).code != 0);
}

#[test]
fn the_site_counts_where_the_proxy_says_so_and_nowhere_else() {
    let demo = Demo::start();
    let file = |name: &str| demo.path(name).display().to_string();
    let proxy =
        ["--cert", &file("front-proxy.pem"), "--key", &file("front-proxy.key"), "-H", "X-Remote-User: alice"];
    let dry = format!("{WEB}?dryRun=All");
    let from = |address: &str, credentials: &[&str]| {
        let header = format!("X-Remote-Extra-Bailiwick.dev%2Fsource-Address: {address}");
        demo.curl(&[credentials, &["-X", "DELETE", "-H", &header]].concat(), &dry)
    };
    let in_london = from("10.1.2.3", &proxy);
    assert_eq!(in_london.code, 200, "{in_london:?}");
    let elsewhere = from("203.0.113.9", &proxy);
    assert_eq!(elsewhere.code, 403);
    assert!(elsewhere.body.contains("Changes to production are made from a site"), "{elsewhere:?}");
    // Her own certificate proves who she is, and not where: what she writes of that is not read.
    let own = ["--cert", &file("people/alice.pem"), "--key", &file("people/alice.key")];
    let claimed = from("203.0.113.9", &own);
    assert_eq!(claimed.code, 200, "this machine is on the VPN, whatever she says: {claimed:?}");
    let journey =
        demo.journey(|journey| journey["user"]["username"] == "alice" && journey["method"] == "DELETE");
    assert_eq!(journey["user"]["extra"]["bailiwick.dev/source-address"][0], "127.0.0.1");
}
