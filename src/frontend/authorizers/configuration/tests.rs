//! Files that an API server takes, and those that it refuses.

use std::time::Duration;

use serde_json::Value;

use super::super::tests::resource;
use super::super::webhook::FailurePolicy;
use super::*;
use crate::model::Decision;
use crate::review::Version;
use crate::tls::https::Client;

const WHOLE: &str = "
apiVersion: apiserver.config.k8s.io/v1
kind: AuthorizationConfiguration
authorizers:
- type: Node
  name: node
- type: Webhook
  name: bailiwick.example.org
  webhook:
    authorizedTTL: 1m
    cacheUnauthorizedRequests: false
    unauthorizedTTL: 0s
    timeout: 3s
    subjectAccessReviewVersion: v1
    matchConditionSubjectAccessReviewVersion: v1
    failurePolicy: Deny
    connectionInfo:
      type: KubeConfigFile
      kubeConfigFile: /etc/bailiwick/kubeconfig
    matchConditions:
    - expression: has(request.resourceAttributes)
    - expression: \"!('system:nodes' in request.groups)\"
- type: RBAC
  name: rbac
";

struct Nothing;

impl rbac::RbacObjects for Nothing {
    fn role(&self, _: &str, _: &str) -> Option<Arc<Value>> {
        None
    }

    fn cluster_role(&self, _: &str) -> Option<Arc<Value>> {
        None
    }

    fn role_bindings(&self, _: &str) -> Vec<Arc<Value>> {
        Vec::new()
    }

    fn cluster_role_bindings(&self) -> Vec<Arc<Value>> {
        Vec::new()
    }
}

impl node::NodePods for Nothing {
    fn pods_on(&self, _: &str) -> Vec<Arc<Value>> {
        Vec::new()
    }
}

fn parts(endpoint: &dyn Fn(&Path) -> Result<Endpoint, String>) -> Parts<'_> {
    Parts { rbac: Arc::new(Nothing), pods: Arc::new(Nothing), abac: None, endpoint }
}

fn an_endpoint(file: &Path) -> Result<Endpoint, String> {
    assert_eq!(file, Path::new("/etc/bailiwick/kubeconfig"));
    Ok(Endpoint { url: "https://a/authorize".into(), client: Client::plain() })
}

fn read(text: &str) -> Result<Configuration, Diagnostics> {
    Configuration::read(Source::new("authz.yaml", text.as_bytes()))
}

#[test]
fn an_api_servers_file_is_read_whole() {
    let configuration = read(WHOLE).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    let Mode::Webhook(settings, file) = &configuration.authorizers[1].mode else { panic!() };
    assert_eq!(file, Path::new("/etc/bailiwick/kubeconfig"));
    assert_eq!(settings.version, Version::V1);
    assert_eq!(settings.timeout, Duration::from_secs(3));
    assert_eq!((settings.authorized_ttl, settings.unauthorized_ttl), (Some(Duration::from_secs(60)), None));
    assert_eq!(settings.failure_policy, FailurePolicy::Deny);
    assert_eq!(settings.conditions.len(), 2);
    let chain = configuration.build(parts(&an_endpoint)).unwrap();
    let names: Vec<&str> = chain.names().collect();
    assert_eq!(names, ["superuser", "node", "bailiwick.example.org", "rbac"]);
}

#[test]
fn lives_of_zero_are_the_defaults() {
    let text = WHOLE
        .replace("authorizedTTL: 1m", "authorizedTTL: 0s")
        .replace("    cacheUnauthorizedRequests: false\n", "");
    let configuration = read(&text).unwrap();
    let Mode::Webhook(settings, _) = &configuration.authorizers[1].mode else { panic!() };
    assert_eq!(settings.authorized_ttl, Some(Duration::from_secs(300)));
    assert_eq!(settings.unauthorized_ttl, Some(Duration::from_secs(30)));
}

#[test]
fn each_mistake_is_told_in_its_place() {
    #[rustfmt::skip]
    let rows = [
        // what stands there, what is written instead, the message, the line
        ("kind: AuthorizationConfiguration", "kind: Authorization", "`Authorization` is not one of the words that may stand here", 3),
        ("config.k8s.io/v1", "config.k8s.io/v2", "`apiserver.config.k8s.io/v2` is not one of the words that may stand here", 2),
        ("type: Node", "type: Nodes", "`Nodes` is no type of an authorizer", 5),
        ("name: rbac", "name: node", "the name `node` stands here twice", 23),
        ("type: RBAC", "type: Node", "only authorizers of the type `Webhook` may stand here more than once", 23),
        ("name: rbac", "name: RBAC", "`RBAC` is no DNS name in lower case (RFC 1123)", 24),
        ("  name: rbac", "  nam: rbac", "the field `name` is missing", 23),
        ("timeout: 3s", "timeout: 31s", "a timeout must be at most 30s", 13),
        ("    timeout: 3s\n", "", "the field `timeout` is missing", 10),
        ("failurePolicy: Deny", "failurePolicy: Allow", "`Allow` is not one of the words that may stand here", 16),
        ("    failurePolicy: Deny\n", "", "the field `failurePolicy` is missing", 10),
        ("ReviewVersion: v1\n    match", "ReviewVersion: v2\n    match", "`v2` is not one of the words that may stand here", 14),
        ("authorizedTTL: 1m", "authorizedTTL: -1m", "`-1m` is not a length of time above zero", 10),
        ("/etc/bailiwick/kubeconfig", "kubeconfig", "the path must be an absolute path", 19),
        ("type: KubeConfigFile", "type: KubeConfig", "`KubeConfig` is not one of the words that may stand here", 18),
        ("type: KubeConfigFile", "type: InClusterConfig", "`InClusterConfig` is not available: there is no cluster around this server", 18),
        ("    matchConditionSubjectAccessReviewVersion: v1\n", "", "with `matchConditions`, `matchConditionSubjectAccessReviewVersion` must be given", 19),
        ("has(request.resourceAttributes)", "has(requst.resourceAttributes)", "unknown variable `requst`, at character 5 of the expression", 21),
        ("has(request.resourceAttributes)", "\"!('system:nodes' in request.groups)\"", "this condition stands here twice", 22),
        ("cacheUnauthorizedRequests: false", "cacheUnauthorized: false", "unknown field `cacheUnauthorized`", 11),
        ("  name: node", "  name: node\n  webhook: {timeout: 1s}", "`webhook` may be given only where the type is `Webhook`", 7),
    ];
    for (from, to, message, line) in rows {
        assert!(WHOLE.contains(from), "{from}");
        let diagnostics = read(&WHOLE.replacen(from, to, 1)).expect_err(to);
        let found = diagnostics.items.iter().find(|item| item.message == message);
        let found = found.unwrap_or_else(|| panic!("{to}:\n{diagnostics}"));
        assert_eq!(diagnostics.position(found.span.unwrap()).unwrap().line, line, "{to}:\n{diagnostics}");
    }
}

#[test]
fn no_authoriser_is_no_configuration() {
    for text in ["", "authorizers: []", "a: [", "---\na: 1\n---\nb: 1"] {
        assert!(read(text).is_err(), "{text}");
    }
    let none = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers: []\n";
    assert!(read(none).is_err());
}

fn of_modes(names: &[&str], file: Option<&str>) -> Result<Configuration, ConfigurationError> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let webhook_kubeconfig = file.map(Path::new);
    Configuration::of_modes(Modes { names: &names, webhook_kubeconfig, webhook: Default::default() })
}

#[tokio::test]
async fn modes_stand_in_their_order() {
    let file = Some("/etc/bailiwick/kubeconfig");
    let configuration = of_modes(&["Node", "Webhook", "RBAC"], file).unwrap();
    let chain = configuration.build(parts(&an_endpoint)).unwrap();
    assert_eq!(chain.names().collect::<Vec<_>>(), ["superuser", "Node", "Webhook", "RBAC"]);
    let chain = of_modes(&["AlwaysDeny", "RBAC"], None).unwrap().build(parts(&an_endpoint)).unwrap();
    let verdict = chain.authorize(&resource("alice", &[], "get pods", "a", "b")).await;
    assert_eq!((verdict.decision, &*verdict.reason), (Decision::NoOpinion, "Everything is forbidden."));
}

#[test]
fn modes_that_there_are_not_are_refused() {
    let error = |names: &[&str], file| of_modes(names, file).unwrap_err();
    assert_eq!(error(&[], None), ConfigurationError::None);
    assert_eq!(error(&["rbac"], None), ConfigurationError::Unknown("rbac".into()));
    assert_eq!(error(&["RBAC", "RBAC"], None), ConfigurationError::Twice("RBAC".into()));
    assert_eq!(error(&["Webhook"], None), ConfigurationError::NoKubeconfig);
    let abac = of_modes(&["ABAC"], None).unwrap();
    assert!(abac.needs_abac());
    assert_eq!(abac.build(parts(&an_endpoint)).unwrap_err(), ConfigurationError::NoPolicies);
    let broken = |_: &Path| Err("no such file".to_owned());
    let webhook = of_modes(&["Webhook"], Some("/x")).unwrap();
    assert_eq!(webhook.build(parts(&broken)).unwrap_err().to_string(), "/x: no such file");
}
