//! Admission webhooks, configured by `kubectl` and seen through it.

use super::demo::{Demo, eventually};
use super::kubectl::KUBECTLS;

/// A configuration of the demo's validating sample, for all namespaces with a label of the test's own.
fn configuration(demo: &Demo, side_effects: &str) -> String {
    let text = std::fs::read_to_string(demo.path("webhooks.yaml")).unwrap();
    let validating = text.split("---\n").nth(1).unwrap();
    validating
        .replacen("metadata: {name: sample}", "metadata: {name: of-the-test}", 1)
        .replacen("pods.sample.bailiwick.dev", "pods.test.bailiwick.dev", 1)
        .replacen("bailiwick.dev/sample-webhooks: enabled", "team: payments", 1)
        .replacen("sideEffects: None", &format!("sideEffects: {side_effects}"), 1)
}

#[test]
fn a_configured_webhook_is_asked_from_the_next_request_on_and_its_words_reach_the_user() {
    let demo = Demo::start();
    for program in KUBECTLS.iter() {
        let admin = demo.kubectl("admin").by(program);
        let host = "apiVersion: v1\nkind: Pod\n\
            metadata: {name: pay-host, namespace: payments-dev, labels: {app: a}}\n\
            spec: {hostNetwork: true, containers: [{name: c, image: nginx}]}\n";
        let before = admin.with_input(&["create", "--dry-run=server", "-f", "-"], host);
        assert_eq!(before.code, 0, "{before:?}");
        let applied = admin.with_input(&["apply", "-f", "-"], &configuration(&demo, "None"));
        assert_eq!(applied.code, 0, "{applied:?}");
        assert_eq!(
            applied.out,
            "validatingwebhookconfiguration.admissionregistration.k8s.io/of-the-test created\n"
        );
        let table = admin.ok(&["get", "validatingwebhookconfigurations"]);
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["NAME", "WEBHOOKS", "AGE"]);
        assert_eq!(rows[1][..2], ["of-the-test", "1"]);
        let policy = admin.ok(&[
            "get",
            "validatingwebhookconfigurations/of-the-test",
            "-o",
            "jsonpath={.webhooks[0].matchPolicy} {.metadata.generation}",
        ]);
        assert_eq!(policy, "Equivalent 1");
        for dry_run in ["--dry-run=server", "--dry-run=none"] {
            let refused = admin.with_input(&["create", dry_run, "-f", "-"], host);
            assert_ne!(refused.code, 0);
            let said = "admission webhook \"pods.test.bailiwick.dev\" denied the request: hostNetwork shares a \
                 namespace of the node";
            assert!(refused.err.contains(said), "{refused:?}");
            assert!(
                refused.err.contains("Warning: container \"c\": its image has no fixed tag"),
                "{refused:?}"
            );
        }
        admin.refused(&["get", "pod", "pay-host", "-n", "payments-dev"]);
        admin.ok(&["delete", "validatingwebhookconfiguration", "of-the-test"]);
        let after = admin.with_input(&["create", "--dry-run=server", "-f", "-"], host);
        assert_eq!(after.code, 0, "{after:?}");
        let wrong = admin.with_input(&["create", "-f", "-"], &configuration(&demo, "Some"));
        let said = "webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\"";
        assert!(wrong.code != 0 && wrong.err.contains(said), "{wrong:?}");
    }
    let journey = demo.journey(|journey| journey["code"] == 403 && journey["method"] == "POST");
    assert_eq!(journey["annotations"]["pods.test.bailiwick.dev/verdict"], "refused");
}

#[test]
fn the_demo_has_one_request_that_a_webhook_changed_and_one_that_it_refused() {
    let demo = Demo::start();
    let admin = demo.kubectl("admin");
    let made = admin.run(&["run", "nb-job", "-n", "notebooks-research", "--image=nginx"]);
    assert_eq!(made.code, 0, "{made:?}");
    assert!(made.err.contains("Warning: container \"nb-job\": its image has no fixed tag"), "{made:?}");
    let annotation = "jsonpath={.metadata.annotations.sample\\.bailiwick\\.dev/requested-by}";
    assert_eq!(admin.ok(&["get", "pod", "nb-job", "-n", "notebooks-research", "-o", annotation]), "admin");
    let refused =
        admin.refused(&["run", "nb-root", "-n", "notebooks-research", "--image=nginx", "--privileged"]);
    assert!(
        refused.contains(
            "admission webhook \"pods.sample.bailiwick.dev\" denied the request: container \"nb-root\" is privileged"
        ),
        "{refused}"
    );
    eventually("the journey names the webhooks", || {
        let text = admin.raw("/debug/journeys?format=text");
        text.contains("requester.sample.bailiwick.dev") && text.contains("pods.sample.bailiwick.dev")
    });
}
