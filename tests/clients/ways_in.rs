//! Ways to show who one is that need another server, or something that the front end gave: TokenReview, ServiceAccount tokens.

use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::demo::{Demo, eventually};

const PODS: &str = "/api/v1/namespaces/payments-dev/pods";

/// Another front end, which knows nobody itself. Ended when dropped.
struct Other {
    process: Child,
    url: String,
}

impl Other {
    /// Starts it beside the demo, with this `authentication` section.
    fn start(demo: &Demo, authentication: &str) -> Self {
        let configuration = format!(
            "apiVersion: bailiwick.dev/v1alpha1\nkind: FrontendConfiguration\n\
             server: {{listen: \"127.0.0.1:0\", tls: {{certFile: server.pem, keyFile: server.key}}}}\n\
             authentication: {authentication}\nauthorization: {{modes: [AlwaysAllow]}}\n\
             log: {{format: json, level: info}}\n"
        );
        std::fs::write(demo.path("other.yaml"), configuration).unwrap();
        let log = demo.path("other.log");
        let process = Command::new(env!("CARGO_BIN_EXE_bailiwick"))
            .args(["frontend", "--config"])
            .arg(demo.path("other.yaml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut other = Self { process, url: String::new() };
        eventually("the other front end serves", || {
            let text = std::fs::read_to_string(&log).unwrap();
            assert!(other.process.try_wait().unwrap().is_none(), "it ended: {text}");
            let serving = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let address = serving.filter_map(|line| Some(line.get("address")?.as_str()?.to_owned())).next();
            address.map(|address| other.url = format!("https://{address}")).is_some()
        });
        other
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {}", token.trim())
}

#[test]
fn a_server_that_knows_nobody_asks_one_that_does_whose_a_token_is() {
    let demo = Demo::start();
    let kubeconfig = std::fs::read_to_string(demo.path("kubeconfigs/admin.yaml")).unwrap();
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let kubeconfig = kubeconfig.replace(&demo.url(), &format!("{}{path}", demo.url())).replace("../", "");
    std::fs::write(demo.path("token-review.yaml"), kubeconfig).unwrap();
    let other = Other::start(&demo, "{tokenReview: {kubeconfigFile: token-review.yaml}}");
    let whoami = |token: &str| {
        let url = format!("{}/apis/authentication.k8s.io/v1/selfsubjectreviews", other.url);
        let asked =
            demo.curl(&["-H", &bearer(token), "-H", "Content-Type: application/json", "-d", "{}"], &url);
        (asked.code, asked.json()["status"]["userInfo"]["username"].as_str().unwrap_or_default().to_owned())
    };
    let tokens = std::fs::read_to_string(demo.path("tokens.csv")).unwrap();
    let nina =
        tokens.lines().find(|line| line.contains(",nina,")).unwrap().split(',').next().unwrap().to_owned();
    assert_eq!(whoami(&nina), (201, "nina".to_owned()));
    let account = demo.kubectl("admin").ok(&["create", "token", "deployer", "-n", "ci"]);
    assert_eq!(whoami(&account), (201, "system:serviceaccount:ci:deployer".to_owned()));
    assert_eq!(whoami("nobodys-token").0, 401);
    assert_eq!(
        demo.curl(&[], &format!("{}{PODS}", other.url)).code,
        401,
        "nothing shown is not anonymous here"
    );
}

#[test]
fn a_token_is_for_its_account_its_audience_and_its_time() {
    let demo = Demo::start();
    let admin = demo.kubectl("admin");
    let code = |token: &str| demo.curl(&["-H", &bearer(token)], PODS).code;
    let token = admin.ok(&["create", "token", "deployer", "-n", "ci", "--duration=10m"]);
    assert_eq!(code(&token), 200);
    let elsewhere = admin.ok(&["create", "token", "deployer", "-n", "ci", "--audience=vault"]);
    assert_eq!(code(&elsewhere), 401, "it is for another audience");
    assert!(
        admin.refused(&["create", "token", "deployer", "-n", "ci", "--duration=1m"]).contains("10 minutes")
    );
    assert!(admin.refused(&["create", "token", "nobody", "-n", "ci"]).contains("not found"));

    let keys: Value = serde_json::from_str(&admin.raw("/openid/v1/jwks")).unwrap();
    assert_eq!(keys["keys"][0]["alg"], "ES256");
    let issuer: Value = serde_json::from_str(&admin.raw("/.well-known/openid-configuration")).unwrap();
    assert_eq!(issuer["issuer"], "https://kubernetes.default.svc.cluster.local");

    // An account that is made anew under the same name is another one.
    admin.ok(&["delete", "serviceaccount", "deployer", "-n", "ci"]);
    assert_eq!(code(&token), 401, "its account is gone");
    admin.ok(&["create", "serviceaccount", "deployer", "-n", "ci"]);
    assert_eq!(code(&token), 401, "its account is another one");
}

#[test]
fn a_node_sees_itself_and_what_its_pods_use() {
    let demo = Demo::start();
    let node = demo.kubectl("node-1");
    node.ok(&["get", "node", "node-1"]);
    node.ok(&["get", "pods", "-A", "--field-selector=spec.nodeName=node-1"]);
    assert!(node.refused(&["get", "pods", "-A"]).contains("cannot list resource \"pods\""));
    assert!(node.refused(&["get", "secret", "pay-db", "-n", "payments-prod"]).contains("cannot get"));
    assert!(node.refused(&["label", "node", "node-2", "x=y"]).contains("node-2"));
    node.ok(&["label", "node", "node-1", "x=y"]);
    let restricted = node.refused(&["label", "node", "node-1", "node-restriction.kubernetes.io/team=a"]);
    assert!(restricted.contains("is not allowed to modify labels"), "{restricted}");
}

#[test]
fn somebody_acts_as_another_where_they_may_and_no_further() {
    let demo = Demo::start();
    let nina = demo.kubectl("nina");
    let as_bob = ["--as=bob", "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"];
    assert_eq!(nina.ok(&as_bob), "bob");
    nina.ok(&["--as=bob", "get", "pods", "-n", "payments-dev"]);
    let refused = nina.refused(&["--as=alice", "get", "pods", "-n", "payments-dev"]);
    assert!(refused.contains("cannot impersonate resource \"users\""), "{refused}");
    let refused = nina.refused(&["--as=bob", "--as-group=system:masters", "get", "nodes"]);
    assert!(refused.contains("cannot impersonate resource \"groups\""), "{refused}");
    let journey = demo.journey(|journey| journey["impersonated"]["username"] == "bob");
    assert_eq!(journey["user"]["username"], "nina");
}
