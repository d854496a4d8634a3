//! Paths, verbs and methods that mean one thing to who decides and another to who carries it out.

use super::{PRODUCTION, Scene};

const FORBIDDEN: &str = "403 Authorization Refused";
const MALFORMED: &str = "400 Authentication Passed";

#[test]
fn a_path_written_in_another_way_is_no_way_to_what_is_denied() {
    let scene = Scene::new();
    let rows = [
        ("/api/v1/namespaces/payments-prod/secrets", FORBIDDEN),
        ("/api/v1/namespaces/payments-prod/secrets/", FORBIDDEN),
        ("/api/v1/namespaces/payments-prod/secret%73", FORBIDDEN),
        ("/api/v1/namespaces/payments-prod/secrets;x=y", FORBIDDEN),
        ("/api/v1/namespaces/payments-prod;/secrets", FORBIDDEN),
        ("/api/v1/namespaces/payments-prod%20/secrets", FORBIDDEN),
        ("/api/v1/namespaces/PAYMENTS-PROD/secrets", FORBIDDEN),
        ("/api/v1/namespaces/payments-prod/secrets%3Fx", FORBIDDEN),
        ("/api/v1/namespaces/payments-prod/secrets/pay-db/status", FORBIDDEN),
        ("/API/v1/namespaces/payments-prod/secrets", FORBIDDEN),
        ("//api/v1/namespaces/payments-prod/secrets", MALFORMED),
        ("/api/v1//namespaces/payments-prod/secrets", MALFORMED),
        ("/api/v1/namespaces/payments-prod//secrets", MALFORMED),
        ("/api/v1/namespaces/payments-dev/../payments-prod/secrets", MALFORMED),
        ("/api/v1/namespaces/payments-dev/%2e%2e/payments-prod/secrets", MALFORMED),
        ("/api/v1/namespaces/payments-dev%2f..%2fpayments-prod/secrets", MALFORMED),
        ("/api/v1/namespaces/payments-dev/pods/%252e%252e", MALFORMED),
        ("/api/v1/namespaces/payments-prod/secrets%00", MALFORMED),
        ("/api/v1/watch/namespaces/payments-prod/secrets", MALFORMED),
        ("/api/v1/namespaces/payments-prod/secrets/%zz", MALFORMED),
        // To an authoriser this is no resource; neither is it one to what serves it.
        ("/%61pi/v1/namespaces/payments-prod/secrets", "404 Authorization Passed"),
    ];
    for version in ["--http1.1", "--http2"] {
        for (path, how) in rows {
            let ended = scene.alice(&[version], path);
            assert_eq!((ended.how().as_str(), ended.user()), (how, "alice"), "{version} {path}");
        }
    }
    for target in
        ["https://other.example.com", "http://admin:s3cr3t@other.example.com", "https://127.0.0.1:1"]
    {
        let target = format!("{target}{PRODUCTION}/secrets");
        assert_eq!(
            scene.alice(&["--http1.1", "--request-target", &target], "/").how(),
            FORBIDDEN,
            "{target}"
        );
    }
    assert_eq!(scene.alice(&["--request-target", "*", "-X", "OPTIONS"], "/").how(), FORBIDDEN);
    scene.is_nowhere("s3cr3t");
}

#[test]
fn another_verb_for_the_same_is_refused_with_it() {
    let scene = Scene::new();
    for (arguments, target) in [
        (&["--head"][..], "secrets"),
        (&["--head"], "secrets/pay-db"),
        (&[], "secrets?watch=true"),
        (&[], "secrets?watch"),
        (&[], "secrets?watch=true&watch=false"),
        (&[], "secrets?limit=1"),
        (&[], "secrets?fieldSelector=metadata.name%3Dpay-db"),
        (&[], "secrets/pay-db?watch=true"),
        (&["-X", "DELETE"], "secrets"),
        (&["-X", "DELETE"], "secrets?fieldSelector=metadata.name%3Dpay-db"),
        (&["-X", "TRACE"], "secrets"),
        (&["-X", "OPTIONS"], "secrets"),
        (&["-X", "get"], "secrets"),
        (&["-X", "LIST"], "secrets"),
        (&["-H", "X-HTTP-Method-Override: GET", "-X", "POST"], "secrets"),
        // She may delete a pod there, and not all of them, of which there is one.
        (&["-X", "DELETE"], "pods"),
        (&["-X", "DELETE"], "pods?fieldSelector=metadata.name%3Dpay-web-1"),
    ] {
        let path = format!("{PRODUCTION}/{target}");
        assert_eq!(scene.alice(arguments, &path).how(), FORBIDDEN, "{arguments:?} {path}");
    }
    // What is denied in one namespace is denied to whoever would see it among others; RBAC's leave does not help.
    let admin = scene.demo.kubectl("admin");
    admin.ok(&[
        "create",
        "clusterrole",
        "secrets",
        "--verb=get,list,watch,deletecollection",
        "--resource=secrets",
    ]);
    admin.ok(&["create", "clusterrolebinding", "secrets", "--clusterrole=secrets", "--user=nina"]);
    let nina = scene.static_token("nina");
    let secrets = |path: &str| scene.ask(&nina, &[], path).how();
    assert_eq!(secrets("/api/v1/namespaces/payments-dev/secrets"), "200 Storage Passed");
    for query in [
        "",
        "?watch=true",
        "?limit=1",
        "?fieldSelector=metadata.namespace%3Dpayments-dev",
        "?labelSelector=a",
    ] {
        assert_eq!(secrets(&format!("/api/v1/secrets{query}")), FORBIDDEN, "{query}");
    }
    assert_eq!(scene.ask(&nina, &["-X", "DELETE"], "/api/v1/secrets").how(), FORBIDDEN);
    assert!(
        admin.ok(&["get", "secret,pod", "-n", "payments-prod", "-o", "name"]).contains("secret/pay-db\n")
    );
}

#[test]
fn a_method_that_is_none_of_the_apis_does_nothing_for_anybody() {
    let scene = Scene::new();
    for method in ["TRACE", "OPTIONS", "get", "Delete", "PROPFIND", "CONNECT"] {
        for path in [&*format!("{PRODUCTION}/secrets/pay-db"), "/version", "/debug/journeys", "/api"] {
            let ended = scene.admin(&["-X", method, "--http1.1"], path);
            assert_eq!(ended.how(), "405 Authorization Passed", "{method} {path}");
        }
    }
    let long = "X".repeat(5_000);
    assert_eq!(scene.admin(&["-X", &long], "/version").how(), MALFORMED);
}
