//! The service behind its two listeners, asked as API servers and as others ask.

mod admin;
mod audit;
mod bad_input;
mod facts;
mod identity;
mod overload;
mod reviews;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bailiwick::authz::{Authorizer, Clock, Parts, People};
use bailiwick::cache::{self, FactsCache};
use bailiwick::directory::embedded::{Access, EmbeddedDirectory};
use bailiwick::directory::ldif::Ldif;
use bailiwick::directory::{self, Bind, Directory, Usernames};
use bailiwick::eval::{self, WhenUndetermined};
use bailiwick::http::{
    self, Admin, AdminSettings, Client, Clients, Credential, TokenFile, Webhook, WebhookSettings,
};
use bailiwick::policy::PolicySet;
use bailiwick::server::{self, ListenerSettings, Running};
use bailiwick::store::{self, Store};
use bailiwick::telemetry::Metrics;
use bailiwick::telemetry::audit::{Audit, Level, Settings as AuditSettings};
use bailiwick::tls::https::{self, Method, Request, Response};
use bailiwick::tls::{Authority, ClientContext, Identity, MinVersion, ServerContext, ServerSettings};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Longer than anything here takes that does not hang.
const PATIENCE: Duration = Duration::from_secs(20);

/// A Monday.
const NOW: &str = "2026-11-23T10:00:00Z";

/// The token of a client that may speak for `other`, and of the admin listener.
const TOKEN: &str = "a-token-for-tests";

/// The largest body, in bytes: the default of `server.maxBodyBytes`.
const MAX_BODY: usize = 1 << 20;

const POLICIES: &str = r#"
apiVersion: bailiwick.dev/v1alpha1
kind: AccessPolicy
metadata: {name: engineers-read}
spec:
  effect: Allow
  subjects: [{kind: Group, name: eng}]
  rules:
    - {apiGroups: ["", apps], resources: ["*"], namespaces: [team-a, payments], verbs: [get, list]}
    - {nonResourceURLs: [/version], verbs: [get]}
---
apiVersion: bailiwick.dev/v1alpha1
kind: AccessPolicy
metadata: {name: no-secrets}
spec:
  effect: Deny
  subjects: [{kind: Everyone}]
  rules: [{apiGroups: [""], resources: [secrets], namespaces: [payments], verbs: ["*"]}]
  message: GZ-1042 secrets of payments are kept elsewhere
---
apiVersion: bailiwick.dev/v1alpha1
kind: AccessPolicy
metadata: {name: lovelaces-write}
spec:
  effect: Allow
  subjects: [{kind: DirectoryGroup, dn: "cn=outer,dc=example"}]
  rules: [{apiGroups: [""], resources: [pods], namespaces: [team-a], verbs: [create]}]
---
apiVersion: bailiwick.dev/v1alpha1
kind: AccessPolicy
metadata: {name: not-the-suspended}
spec:
  effect: Deny
  subjects: [{kind: DirectoryGroup, dn: "cn=suspended,dc=example"}]
  rules: [{apiGroups: ["*"], resources: ["*"], verbs: ["*"]}]
---
apiVersion: bailiwick.dev/v1alpha1
kind: AccessPolicy
metadata: {name: no-exec}
spec:
  effect: Deny
  enforcement: Shadow
  subjects: [{kind: Everyone}]
  rules: [{apiGroups: [""], resources: [pods/exec], verbs: ["*"]}]
"#;

const LDIF: &str = "\
dn: dc=example
objectClass: domain
dc: example

dn: uid=ada,dc=example
objectClass: inetOrgPerson
uid: ada

dn: cn=inner,dc=example
objectClass: groupOfNames
cn: inner
member: uid=ada,dc=example

dn: cn=outer,dc=example
objectClass: groupOfNames
cn: outer
member: cn=inner,dc=example
";

/// Who answers for the people.
enum Whose {
    /// `directory.kind: none`.
    Nobody,
    /// The embedded directory with [`LDIF`].
    Embedded,
    /// Whoever listens there, in plain text.
    At(SocketAddr),
}

/// How a house is set up.
struct Setup {
    people: Whose,
    /// Whether the webhook's clients need a certificate.
    webhook_ca: bool,
    /// Whether `server.clients` is given: `kube-apiserver` for `prod-1`, and [`TOKEN`] for `other`.
    clients: bool,
    admin_ca: bool,
    admin_token: bool,
    max_in_flight: usize,
    deadline: Duration,
    when_undetermined: WhenUndetermined,
    clock: Clock,
    /// What facts age by.
    cache_clock: cache::Clock,
}

impl Default for Setup {
    fn default() -> Self {
        let now: Timestamp = NOW.parse().unwrap();
        Self {
            people: Whose::Nobody,
            webhook_ca: true,
            clients: true,
            admin_ca: false,
            admin_token: true,
            max_in_flight: 64,
            deadline: Duration::from_secs(10),
            when_undetermined: WhenUndetermined::Deny,
            clock: Arc::new(move || now),
            cache_clock: Arc::new(Instant::now),
        }
    }
}

/// A running service with both listeners. Everything ends when it is dropped.
struct House {
    authority: Authority,
    authorizer: Arc<Authorizer>,
    webhook: Running,
    admin: Running,
    admin_ca: bool,
    folder: tempfile::TempDir,
    _embedded: Option<EmbeddedDirectory>,
    _stop: watch::Sender<bool>,
}

impl House {
    fn start(setup: Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("house").unwrap();
        let metrics = Metrics::new().unwrap();
        let file = |name: &str, text: &str| -> PathBuf {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let identity = authority.server(&["localhost"], &[Ipv4Addr::LOCALHOST.into()]).unwrap();
        let tls = |usage, ca: bool| {
            let settings = ServerSettings {
                cert_file: file("cert.pem", &identity.cert_pem),
                key_file: file("key.pem", &identity.key_pem),
                client_ca_file: ca.then(|| file("ca.pem", authority.ca_pem())),
                crl_file: None,
                min_version: MinVersion::default(),
            };
            ServerContext::from_files(usage, settings, &metrics).unwrap()
        };
        let embedded = matches!(setup.people, Whose::Embedded).then(|| {
            let ldif = Ldif::parse(LDIF).unwrap();
            let tls = ServerContext::from_pem("ldap", &identity, None, MinVersion::default()).unwrap();
            EmbeddedDirectory::start(&ldif, Access::Anonymous, tls, &Handle::current()).unwrap()
        });
        let people = match (&setup.people, &embedded) {
            (Whose::At(address), _) => {
                Some(people(format!("ldap://{address}"), None, setup.cache_clock, &metrics))
            }
            (_, Some(embedded)) => {
                let url = format!("ldaps://{}", embedded.address());
                Some(people(url, Some(&authority), setup.cache_clock, &metrics))
            }
            _ => None,
        };
        file("policies.yaml", POLICIES);
        let token = TokenFile::open(file("token", TOKEN)).unwrap();
        let settings = store::Settings {
            paths: vec![folder.path().join("policies.yaml")],
            reload_interval: Duration::from_secs(3600),
        };
        let compile = Arc::new(|sources: &[bailiwick::document::Source]| {
            PolicySet::build(sources, &bailiwick::policy::Settings::default())
        });
        let store = Store::open(settings, compile, &metrics, Handle::current())
            .unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
        let audit = AuditSettings { path: folder.path().join("audit.jsonl"), level: Level::Decisions };
        let authorizer = Authorizer::start(Parts {
            store,
            people,
            settings: eval::Settings { when_undetermined: setup.when_undetermined, ..Default::default() },
            deadline: setup.deadline,
            metrics: metrics.clone(),
            audit: Audit::start(&audit, metrics.audit_dropped.clone()).unwrap(),
            clock: setup.clock,
            handle: Handle::current(),
        });
        let named = |credential, cluster: &str| Client { credential, clusters: vec![cluster.into()] };
        let clients = vec![
            named(Credential::CertificateName("kube-apiserver".to_owned()), "prod-1"),
            named(Credential::Token(Arc::clone(&token)), "other"),
        ];
        let webhook = WebhookSettings {
            cluster: Some("prod-1".into()),
            clients: if setup.clients { Clients::Listed(clients) } else { Clients::Everyone },
            deadline: setup.deadline,
            max_body_bytes: MAX_BODY,
            max_in_flight: setup.max_in_flight,
        };
        let admin = AdminSettings {
            token: setup.admin_token.then_some(token),
            client_certificates: setup.admin_ca,
            cluster: Some("prod-1".into()),
            deadline: setup.deadline,
            max_body_bytes: MAX_BODY,
        };
        let (stop, stopped) = watch::channel(false);
        let webhook = http::webhook(Webhook::new(Arc::clone(&authorizer), webhook, &metrics));
        let webhook = server::serve(
            listener("webhook"),
            Some(tls("webhook", setup.webhook_ca)),
            webhook,
            stopped.clone(),
        );
        let admin = http::admin(Admin::new(Arc::clone(&authorizer), admin, &metrics));
        let admin_tls = setup.admin_ca.then(|| tls("admin", true));
        let admin = server::serve(listener("admin"), admin_tls, admin, stopped);
        Self {
            authority,
            authorizer,
            webhook: webhook.unwrap(),
            admin: admin.unwrap(),
            admin_ca: setup.admin_ca,
            folder,
            _embedded: embedded,
            _stop: stop,
        }
    }

    /// A client with this certificate and token.
    fn client(&self, identity: Option<&Identity>, token: Option<&str>) -> https::Client {
        let context =
            ClientContext::from_pem("test", self.authority.ca_pem(), identity, MinVersion::default());
        let client = https::Client::new(context.unwrap());
        match token {
            Some(token) => client.with_bearer_token(token).unwrap(),
            None => client,
        }
    }

    /// The client that `server.clients` knows for `prod-1`.
    fn api_server(&self) -> https::Client {
        self.client(Some(&self.authority.client("kube-apiserver", &[]).unwrap()), None)
    }

    fn webhook_url(&self) -> String {
        format!("https://{}", self.webhook.address)
    }

    fn admin_url(&self) -> String {
        let scheme = if self.admin_ca { "https" } else { "http" };
        format!("{scheme}://{}", self.admin.address)
    }

    /// What an API server gets for this body.
    async fn ask(&self, body: impl Into<bytes::Bytes>) -> Response {
        let url = format!("{}/authorize?timeout=30s", self.webhook_url());
        self.api_server().post(&url, "application/json", body, patience()).await.unwrap()
    }

    /// The `status` of the answer to a v1 review with this spec.
    async fn status_of(&self, spec: Value) -> Value {
        let response = self.ask(review_v1(&spec)).await;
        assert_eq!(response.status, 200, "{response:?}");
        json_of(&response)["status"].take()
    }

    /// What the admin listener says to the token.
    async fn ask_admin(&self, method: Method, target: &str, body: Option<String>) -> Response {
        send(&self.client(None, Some(TOKEN)), &self.admin_url(), method, target, body).await.unwrap()
    }

    /// The metrics, line by line.
    async fn metrics(&self) -> String {
        let response = self.ask_admin(Method::GET, "/metrics", None).await;
        assert!(response.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
        String::from_utf8(response.body.to_vec()).unwrap()
    }

    /// The audit lines so far.
    fn audit_lines(&self) -> Vec<String> {
        assert!(self.authorizer.flush_audit(PATIENCE));
        let text = std::fs::read_to_string(self.folder.path().join("audit.jsonl")).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn audit(&self) -> Vec<Value> {
        self.audit_lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn people(url: String, authority: Option<&Authority>, clock: cache::Clock, metrics: &Metrics) -> People {
    let mut settings = directory::Settings::new(vec![url], Bind::Anonymous, "dc=example");
    settings.tls.insecure_plaintext = authority.is_none();
    // What is told of a feed depends on when it is asked for.
    settings.change_feed = directory::ChangeFeed::Off;
    settings.timeouts.connect = Duration::from_secs(2);
    settings.timeouts.operation = PATIENCE;
    settings.timeouts.total = PATIENCE;
    let tls = authority.map(|authority| {
        ClientContext::from_pem("ldap", authority.ca_pem(), None, MinVersion::default()).unwrap()
    });
    let timeout = settings.timeouts.total;
    let client = Directory::over(settings, tls, &metrics.directory, Handle::current()).unwrap();
    let cache = FactsCache::with_clock(cache::Settings::default(), metrics, Handle::current(), clock);
    People { directory: client, usernames: Usernames::default(), cache, timeout }
}

fn listener(name: &'static str) -> ListenerSettings {
    let mut settings = ListenerSettings::new(name, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    settings.workers = NonZeroUsize::new(2);
    settings.shutdown_grace = Duration::from_millis(100);
    settings
}

fn patience() -> Instant {
    Instant::now() + PATIENCE
}

async fn send(
    client: &https::Client,
    url: &str,
    method: Method,
    target: &str,
    body: Option<String>,
) -> Result<Response, https::Error> {
    let body = body.map(|body| ("application/json", body.into()));
    let mut connection = client.connect(url, patience()).await?;
    connection.send(Request { method, target: target.to_owned(), body }, patience()).await
}

fn json_of(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap_or_else(|error| panic!("{error}: {response:?}"))
}

/// A review as an API server writes it.
fn review_v1(spec: &Value) -> String {
    review("v1", spec)
}

fn review(version: &str, spec: &Value) -> String {
    json!({"kind": "SubjectAccessReview", "apiVersion": format!("authorization.k8s.io/{version}"),
        "metadata": {"creationTimestamp": null}, "spec": spec, "status": {"allowed": false}})
    .to_string()
}

/// Waits until something is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = patience();
    while !is_so() {
        assert!(Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Panics with what a test's own I/O says.
fn must<T>(result: io::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}
