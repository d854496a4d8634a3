//! Starts the binary in a folder of its own, with certificates, policies and a configuration; asks it over HTTPS; ends it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bailiwick::model::{Decision, Request};
use bailiwick::review;
use bailiwick::tls::https::{self, Client, Connection};
use bailiwick::tls::{Authority, ClientContext, Identity, MinVersion};
use serde_json::{Value, json};

use crate::slapd::{GROUPS, PEOPLE, SERVICE, Slapd};

pub const BAILIWICK: &str = env!("CARGO_BIN_EXE_bailiwick");
pub const TOKEN: &str = "the-token-of-the-administrator";
/// Longer than anything here takes that does not hang.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A folder with all that a service reads.
pub struct Site {
    folder: tempfile::TempDir,
    authority: Authority,
    api_server: Identity,
}

/// How slapd is reached.
#[derive(Debug, Clone, Copy)]
pub enum Transport {
    Ldaps,
    StartTls,
}

/// A running `bailiwick serve`. Killed when dropped.
pub struct Service {
    process: Child,
    pub webhook: String,
    pub admin: String,
    client: Client,
    log: Arc<Mutex<Vec<String>>>,
}

/// What was answered to a review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub decision: Decision,
    pub reason: String,
}

impl Site {
    /// A folder with certificates and these policies (file names and contents).
    pub fn new(policies: &[(&str, &str)]) -> Self {
        let authority = Authority::new("site").unwrap();
        let api_server = authority.client("kube-apiserver", &[]).unwrap();
        let server = authority.server(&["localhost"], &["127.0.0.1".parse().unwrap()]).unwrap();
        let site = Self { folder: tempfile::tempdir().unwrap(), authority, api_server };
        site.write("ca.pem", site.authority.ca_pem());
        site.write("server.pem", &server.cert_pem);
        site.write("server.key", &server.key_pem);
        site.write("admin-token", TOKEN);
        for (name, text) in policies {
            site.write(&format!("policies/{name}"), text);
        }
        site
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Writes a configuration with this `directory` section.
    pub fn configure(&self, directory: &str) -> PathBuf {
        self.write("config.yaml", &configuration(directory))
    }

    pub fn client(&self) -> Client {
        let ca = self.authority.ca_pem();
        Client::new(ClientContext::from_pem("test", ca, Some(&self.api_server), MinVersion::Tls12).unwrap())
    }

    /// A client that has no certificate to show.
    pub fn stranger(&self) -> Client {
        Client::new(
            ClientContext::from_pem("test", self.authority.ca_pem(), None, MinVersion::Tls12).unwrap(),
        )
    }

    pub fn audit(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path("audit.log")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A whole configuration, with this `directory` section.
pub fn configuration(directory: &str) -> String {
    format!(
        "apiVersion: bailiwick.dev/v1alpha1\n\
         kind: Configuration\n\
         server:\n\
         \x20 listen: 127.0.0.1:0\n\
         \x20 cluster: prod-1\n\
         \x20 tls: {{certFile: server.pem, keyFile: server.key, clientCAFile: ca.pem}}\n\
         \x20 clients: [{{name: kube-apiserver, clusters: [prod-1]}}]\n\
         \x20 deadline: 3s\n\
         admin: {{listen: \"127.0.0.1:0\", tokenFile: admin-token}}\n\
         {directory}\n\
         policies: {{paths: [policies], reloadInterval: 200ms}}\n\
         caller: {{authorizedTTL: 0s, unauthorizedTTL: 0s}}\n\
         audit: {{path: audit.log}}\n"
    )
}

/// The `directory` section for this slapd; `more` are further lines of it, and `timeouts` those of `ldap`.
pub fn directory(slapd: &Slapd, transport: Transport, timeouts: &str, more: &str) -> String {
    let (url, start_tls) = match transport {
        Transport::Ldaps => (slapd.ldaps_url(), false),
        Transport::StartTls => (slapd.ldap_url(), true),
    };
    let (ca, password) = (slapd.path("ca.pem"), slapd.path("password"));
    let (ca, password) = (ca.display(), password.display());
    format!(
        "directory:\n\
         \x20 kind: ldap\n\
         \x20 ldap:\n\
         \x20   urls: [\"{url}\"]\n\
         \x20   tls: {{caFile: \"{ca}\", startTLS: {start_tls}}}\n\
         \x20   bind: {{dn: \"{SERVICE}\", passwordFile: \"{password}\"}}\n\
         \x20   userSearch: {{base: \"{PEOPLE}\"}}\n\
         \x20   groupSearch: {{base: \"{GROUPS}\"}}\n\
         \x20   timeouts: {timeouts}\n\
         {more}"
    )
}

/// For a machine that is busy with other tests.
pub const PATIENT: &str = "{connect: 2s, operation: 2s, total: 2900ms}";

/// The spec of a review: an action on the object `x` in the namespace `dev`.
pub fn spec(user: &str, verb: &str, resource: &str) -> Value {
    json!({
        "user": user,
        "groups": ["system:authenticated"],
        "resourceAttributes": {
            "verb": verb, "version": "v1", "resource": resource, "namespace": "dev", "name": "x",
        },
    })
}

pub fn request(user: &str, verb: &str, resource: &str) -> Request {
    review::spec_from_json(&spec(user, verb, resource)).unwrap()
}

/// Readers may read pods and secrets; who is suspended reads no secrets; everybody reads configmaps.
pub const READERS: &str = r#"
apiVersion: bailiwick.dev/v1alpha1
kind: AccessPolicy
metadata: {name: readers}
spec:
  effect: Allow
  subjects: [{kind: DirectoryGroup, name: readers}]
  rules: [{apiGroups: [""], resources: [pods, secrets], verbs: [get]}]
---
apiVersion: bailiwick.dev/v1alpha1
kind: AccessPolicy
metadata: {name: suspended}
spec:
  effect: Deny
  subjects: [{kind: DirectoryGroup, name: suspended}]
  rules: [{apiGroups: [""], resources: [secrets], verbs: [get]}]
  message: by suspended
---
apiVersion: bailiwick.dev/v1alpha1
kind: AccessPolicy
metadata: {name: everybody}
spec:
  effect: Allow
  subjects: [{kind: Everyone}]
  rules: [{apiGroups: [""], resources: [configmaps], verbs: [get]}]
"#;
/// What a Deny of [`READERS`] says.
pub const BY_SUSPENDED: &str = "by suspended";

/// An Allow or a Deny of all verbs on some resources (a YAML list) for some subjects (YAML lists).
pub fn policy(name: &str, effect: &str, subjects: &str, resources: &str) -> String {
    format!(
        "apiVersion: bailiwick.dev/v1alpha1\n\
         kind: AccessPolicy\n\
         metadata: {{name: {name}}}\n\
         spec:\n\
         \x20 effect: {effect}\n\
         \x20 subjects: {subjects}\n\
         \x20 rules: [{{apiGroups: [\"\"], resources: {resources}, verbs: [\"*\"]}}]\n\
         \x20 message: by {name}\n\
         ---\n"
    )
}

impl Service {
    /// Starts `serve` with the site's configuration, and waits until it is ready.
    pub async fn start(site: &Site) -> Self {
        Self::start_with_admin(site, "http").await
    }

    /// The same, with an admin listener that is spoken to by this scheme.
    pub async fn start_with_admin(site: &Site, scheme: &str) -> Self {
        let mut process = Command::new(BAILIWICK)
            .args(["serve", "--config"])
            .arg(site.path("config.yaml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::<Mutex<Vec<String>>>::default();
        let (written, lines) = (Arc::clone(&log), BufReader::new(process.stderr.take().unwrap()).lines());
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| written.lock().unwrap().push(line))
        });
        let mut service =
            Self { process, webhook: String::new(), admin: String::new(), client: site.client(), log };
        let until = Instant::now() + PATIENCE;
        let serving = loop {
            if let Some(serving) = service.logged("serving").first() {
                break serving.clone();
            }
            assert!(service.process.try_wait().unwrap().is_none(), "it ended: {:?}", service.log());
            assert!(Instant::now() < until, "it does not start: {:?}", service.log());
            std::thread::sleep(Duration::from_millis(5));
        };
        service.webhook = format!("https://{}", serving["webhook"].as_str().unwrap());
        service.admin = format!("{scheme}://{}", serving["admin"].as_str().unwrap());
        eventually("ready", async || service.get("/readyz").await.0 == 200).await;
        service
    }

    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// The lines of its log with this message.
    pub fn logged(&self, message: &str) -> Vec<Value> {
        let lines = self.log().into_iter().filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        lines.filter(|line| line["message"] == message).collect()
    }

    pub async fn connect(&self) -> Connection {
        self.client.connect(&self.webhook, Instant::now() + PATIENCE).await.unwrap()
    }

    /// Asks on a connection of its own.
    pub async fn ask(&self, user: &str, verb: &str, resource: &str) -> Answer {
        let mut connection = self.connect().await;
        ask(&mut connection, &spec(user, verb, resource), PATIENCE).await.unwrap()
    }

    pub async fn decides(&self, user: &str, verb: &str, resource: &str) -> Decision {
        self.ask(user, verb, resource).await.decision
    }

    /// Asks the admin listener: status and body.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let url = format!("{}{path}", self.admin);
        let answer = self.client.get(&url, Instant::now() + PATIENCE).await;
        answer.map_or_else(|error| (0, error.to_string()), read)
    }

    /// Asks one of the guarded routes of the admin listener.
    pub async fn get_guarded(&self, path: &str) -> (u16, String) {
        let client = Client::plain().with_bearer_token(TOKEN).unwrap();
        read(client.get(&format!("{}{path}", self.admin), Instant::now() + PATIENCE).await.unwrap())
    }

    /// Posts to one of the guarded routes of the admin listener.
    pub async fn post(&self, path: &str, body: &Value) -> (u16, String) {
        let client = Client::plain().with_bearer_token(TOKEN).unwrap();
        let url = format!("{}{path}", self.admin);
        let body = serde_json::to_vec(body).unwrap();
        read(client.post(&url, "application/json", body, Instant::now() + PATIENCE).await.unwrap())
    }

    /// The value of the metric of this name and these labels, as they are written; 0 where there is none.
    pub async fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.get("/metrics").await;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("bailiwick_")?.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    #[allow(dead_code, reason = "the tests against real directories look at the process")]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    pub fn signal(&self, signal: &str) {
        signal_process(&self.process, signal);
    }

    pub fn is_running(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    /// Waits until it ends.
    pub fn ended(&mut self, within: Duration) -> ExitStatus {
        let until = Instant::now() + within;
        ended(&mut self.process, until).unwrap_or_else(|| panic!("it does not end: {:?}", self.log()))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

pub fn signal_process(process: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &process.id().to_string()]).status().unwrap().success());
}

/// Waits until a process ends; `None` where it does not.
pub fn ended(process: &mut Child, until: Instant) -> Option<ExitStatus> {
    while Instant::now() < until {
        if let Some(status) = process.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

fn read(answer: https::Response) -> (u16, String) {
    (answer.status.as_u16(), String::from_utf8_lossy(&answer.body).into_owned())
}

/// Asks on an open connection; what is no decision is an error.
pub async fn ask(connection: &mut Connection, spec: &Value, within: Duration) -> Result<Answer, String> {
    let review =
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec});
    let request = https::Request {
        method: hyper::Method::POST,
        target: "/authorize?timeout=30s".to_owned(),
        body: Some(("application/json", serde_json::to_vec(&review).unwrap().into())),
    };
    let answer =
        connection.send(request, Instant::now() + within).await.map_err(|error| error.to_string())?;
    let (status, body) = read(answer);
    let status_of: Value =
        serde_json::from_str::<Value>(&body).map_err(|error| error.to_string())?["status"].take();
    let is = |name: &str| status_of[name].as_bool().unwrap_or(false);
    let decision = match (status, is("allowed"), is("denied")) {
        (200, true, false) => Decision::Allow,
        (200, false, true) => Decision::Deny,
        (200, false, false) => Decision::NoOpinion,
        _ => return Err(format!("HTTP {status}: {body}")),
    };
    Ok(Answer { decision, reason: status_of["reason"].as_str().unwrap_or_default().to_owned() })
}

/// Waits until something holds.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < until, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Runs a command of the binary to its end: exit code, standard output, standard error.
pub fn run(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut process = Command::new(BAILIWICK)
        .current_dir(folder)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut out, mut err) = (process.stdout.take().unwrap(), process.stderr.take().unwrap());
    let drain = |pipe: &mut dyn std::io::Read| {
        let mut text = String::new();
        pipe.read_to_string(&mut text).unwrap();
        text
    };
    let out = std::thread::spawn(move || drain(&mut out));
    let err = std::thread::spawn(move || drain(&mut err));
    let status = ended(&mut process, Instant::now() + PATIENCE);
    if status.is_none() {
        process.kill().unwrap();
        process.wait().unwrap();
    }
    let (out, err) = (out.join().unwrap(), err.join().unwrap());
    let status = status.unwrap_or_else(|| panic!("{arguments:?} does not end: {out}{err}"));
    (status.code().unwrap(), out, err)
}

pub fn person(uid: &str) -> String {
    format!("dn: uid={uid},{PEOPLE}\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: {uid}\nsn: {uid}\n\n")
}

pub fn user_dn(uid: &str) -> String {
    format!("uid={uid},{PEOPLE}")
}

pub fn group_dn(name: &str) -> String {
    format!("cn={name},{GROUPS}")
}

/// A group with these members, by DN.
pub fn group(name: &str, members: &[String]) -> String {
    let members: String = members.iter().map(|member| format!("member: {member}\n")).collect();
    format!("dn: {}\nobjectClass: groupOfNames\ncn: {name}\n{members}\n", group_dn(name))
}
