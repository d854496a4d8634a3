//! Through `kubectl proxy` on port 8080, with curl and wget, as the seed of this project has it.

use std::process::Command;

use super::demo::{Demo, eventually};
use super::processes::run;

const PROXY: &str = "http://127.0.0.1:8080";

#[test]
fn curl_and_wget_go_through_kubectl_proxy() {
    let demo = Demo::start();
    let output = demo.path("proxy-output");
    let _proxy = demo.kubectl("alice").spawn(&["proxy", "--port=8080"], &output);
    eventually("the proxy listens", || {
        std::fs::read_to_string(&output)
            .is_ok_and(|text| text.contains("Starting to serve on 127.0.0.1:8080"))
    });
    let pods = demo.curl(&[], &format!("{PROXY}/api/v1/namespaces/payments-prod/pods"));
    assert_eq!(pods.code, 200, "{pods:?}");
    assert_eq!(pods.json()["items"][0]["metadata"]["name"], "pay-web-1");
    let fetched = run(Command::new("wget").args([
        "-q",
        "-O",
        "-",
        &format!("{PROXY}/api/v1/namespaces/payments-prod/pods/pay-web-1"),
    ]));
    let pod: serde_json::Value = serde_json::from_str(&fetched).unwrap();
    assert_eq!(pod["spec"]["nodeName"], "node-1");
    let refused = demo.curl(&[], &format!("{PROXY}/api/v1/namespaces/payments-prod/secrets"));
    assert_eq!(refused.code, 403, "{refused:?}");
    let body = r#"{"metadata": {"name": "x", "labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}"#;
    let created = demo.curl(
        &["-H", "Content-Type: application/json", "-d", body],
        &format!("{PROXY}/api/v1/namespaces/payments-dev/pods"),
    );
    assert_eq!((created.code, &created.json()["metadata"]["name"]), (201, &"pay-x".into()), "{created:?}");
    // The proxy hands on a caller's own credential instead of its own.
    let output = demo.path("other-output");
    let _other = demo.kubectl("nina").spawn(&["proxy", "--port=8082"], &output);
    eventually("the other proxy listens", || {
        std::fs::read_to_string(&output).is_ok_and(|text| text.contains("Starting to serve"))
    });
    let pods = "http://127.0.0.1:8082/api/v1/namespaces/payments-prod/pods";
    assert_eq!(demo.curl(&[], pods).code, 403, "nina may not");
    let token = "Authorization: Bearer not-a-token";
    assert_eq!(demo.curl(&["-H", token], pods).code, 401, "it is not nina that asks");
}
