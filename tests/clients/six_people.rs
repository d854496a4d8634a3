//! One request by six people, each of whom shows in another way who they are.

use std::process::Command;

use super::demo::{Demo, stages};
use super::processes::run;

const PODS: &str = "/api/v1/namespaces/payments-dev/pods";

/// What the demo's own tour stored.
const TOUR: &str = "pod/pay-web\n";

/// What of the answer counts: the status, who it was, and the stage that ended it.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    code: u16,
    user: String,
    method: String,
    by: String,
}

fn ask(demo: &Demo, arguments: &[&str]) -> Answer {
    let answered = demo.curl(&[arguments, &["--include"]].concat(), PODS);
    let id =
        answered.body.lines().find_map(|line| line.strip_prefix("audit-id: ")).unwrap().trim().to_owned();
    let journey = demo.journey(|journey| journey["id"] == id.as_str());
    let summary = journey["stages"][0]["summary"].as_str().unwrap();
    let method = summary.split_once("(by ").map_or("", |(_, method)| method.trim_end_matches(')'));
    let steps = journey["stages"][1]["steps"].as_array().unwrap();
    let last = steps.last().unwrap();
    Answer {
        code: answered.code,
        user: journey["user"]["username"].as_str().unwrap().to_owned(),
        method: method.to_owned(),
        by: format!("{} {}", last["name"].as_str().unwrap(), last["outcome"].as_str().unwrap()),
    }
}

#[test]
fn six_people_show_who_they_are_in_six_ways_and_get_six_answers() {
    let demo = Demo::start();
    let file = |name: &str| demo.path(name).display().to_string();
    let token = |of: &str| {
        let tokens = std::fs::read_to_string(demo.path("tokens.csv")).unwrap();
        let line = tokens.lines().find(|line| line.split(',').nth(1) == Some(of)).unwrap().to_owned();
        format!("Authorization: Bearer {}", line.split(',').next().unwrap())
    };
    let kubeconfig = |of: &str, key: &str| {
        let text = std::fs::read_to_string(demo.path(&format!("kubeconfigs/{of}.yaml"))).unwrap();
        let prefix = format!("{key}: ");
        text.lines().find_map(|line| line.trim().strip_prefix(&prefix)).unwrap().to_owned()
    };
    let expected = |code, user: &str, method: &str, by: &str| Answer {
        code,
        user: user.into(),
        method: method.into(),
        by: by.into(),
    };

    let by_certificate =
        ask(&demo, &["--cert", &file("people/alice.pem"), "--key", &file("people/alice.key")]);
    assert_eq!(by_certificate, expected(200, "alice", "client certificate", "bailiwick Passed"));

    let password = format!("bob:{}", kubeconfig("bob", "password"));
    let by_password = ask(&demo, &["--user", &password]);
    assert_eq!(by_password, expected(200, "bob", "HTTP basic", "bailiwick Passed"));

    let by_token = ask(&demo, &["-H", &token("nina")]);
    assert_eq!(by_token, expected(403, "nina", "static token file", "rbac Abstained"));

    let account = format!("Authorization: Bearer {}", kubeconfig("deployer", "token"));
    let by_account = ask(&demo, &["-H", &account]);
    assert_eq!(
        by_account,
        expected(200, "system:serviceaccount:ci:deployer", "ServiceAccount token", "rbac Passed")
    );

    let proxy = ["--cert", &file("front-proxy.pem"), "--key", &file("front-proxy.key")];
    let by_proxy = ask(&demo, &[&proxy[..], &["-H", "X-Remote-User: ivan"]].concat());
    assert_eq!(by_proxy, expected(403, "ivan", "authenticating proxy", "bailiwick Refused"));

    let by_nothing = ask(&demo, &[]);
    assert_eq!(by_nothing, expected(403, "system:anonymous", "anonymous", "rbac Abstained"));
}

#[test]
fn each_stage_can_end_a_request_and_what_passes_all_is_stored() {
    let demo = Demo::start();
    // A certificate of another authority stops at the first stage.
    let strange = demo.path("strange.pem").display().to_string();
    let key = demo.path("strange.key").display().to_string();
    run(Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args([
            "-nodes",
            "-subj",
            "/O=system:masters/CN=admin",
            "-days",
            "1",
            "-keyout",
            &key,
            "-out",
            &strange,
        ]));
    let refused = demo.curl(&["--cert", &strange, "--key", &key], PODS);
    assert_eq!((refused.code, &refused.json()["message"]), (401, &"Unauthorized".into()));
    let journey = demo.journey(|journey| journey["code"] == 401);
    assert_eq!(stages(&journey), [("Authentication".into(), "Refused".into())]);

    // A missing group stops at the second.
    let refused =
        demo.kubectl("nina").refused(&["run", "job", "-n", "payments-dev", "--image=nginx", "-l", "app=web"]);
    assert!(refused.contains("User \"nina\" cannot create resource \"pods\""), "{refused}");
    let journey = demo.journey(|journey| journey["code"] == 403 && journey["method"] == "POST");
    assert_eq!(stages(&journey).last().unwrap(), &("Authorization".to_owned(), "Refused".to_owned()));

    // A missing label, and a name of another namespace, stop at the third.
    let alice = demo.kubectl("alice");
    let refused = alice.refused(&["run", "job", "-n", "payments-dev", "--image=nginx", "-l", "x=y"]);
    assert!(refused.contains("metadata.labels[app]: Required value"), "{refused}");
    let refused = alice.refused(&["run", "nb-job", "-n", "payments-dev", "--image=nginx", "-l", "app=web"]);
    assert!(refused.contains("names that begin with nb- belong to"), "{refused}");
    let journey = demo.journey(|journey| journey["code"] == 403 && journey["user"]["username"] == "alice");
    assert_eq!(stages(&journey).last().unwrap(), &("Admission".to_owned(), "Refused".to_owned()));
    let none = demo.kubectl("admin").ok(&["get", "pods", "-n", "payments-dev", "-o", "name"]);
    assert_eq!(none, TOUR, "nothing was stored");

    // A name without the prefix arrives in storage with it.
    let ran = alice.run(&["run", "job", "-n", "payments-dev", "--image=nginx", "-l", "app=web"]);
    assert_eq!(ran.out, "pod/pay-job created\n", "{ran:?}");
    assert!(ran.err.contains("Warning: names in payments-dev begin with pay-"), "{ran:?}");
    let stored = demo.kubectl("admin").ok(&["get", "pods", "-n", "payments-dev", "-o", "name"]);
    assert_eq!(stored, format!("pod/pay-job\n{TOUR}"));
    let journey = demo.journey(|journey| journey["code"] == 201 && journey["user"]["username"] == "alice");
    let names: Vec<String> = stages(&journey).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["Authentication", "Authorization", "Admission", "Storage"]);
}
