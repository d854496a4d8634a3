//! The demo's front end: what it is configured with, its people and how each shows who they are, and their kubeconfigs.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use data_encoding::BASE64;
use jiff::Timestamp;
use tokio::sync::watch;

use super::{random_token, write};
use crate::cli::frontend::read_configuration;
use crate::cli::service::Service;
use crate::cli::{Failure, say};
use crate::document::Source;
use crate::frontend::sample_webhook::application;
use crate::frontend::{Parts, Prepared, Running};
use crate::server::{self, ListenerSettings};
use crate::telemetry::Metrics;
use crate::tls::{Authority, Identity, MinVersion, ServerContext, ServerSettings};

/// The objects that are there from the start.
const OBJECTS: &str = include_str!("objects.yaml");

/// The configurations of the sample webhooks, which run within the demo.
const WEBHOOKS: &str = include_str!("webhooks.yaml");

/// The annotation that the sample writes. Another than that of the front end's own plugin, so that both are to be seen.
const REQUESTED_BY: &str = "sample.bailiwick.dev/requested-by";

/// What the front end is configured with. `FRONTEND` is where it listens.
const CONFIGURATION: &str = include_str!("frontend.yaml");

/// Who decides: an API server's own file. `FOLDER` is the demo's.
const AUTHORIZATION: &str = include_str!("authorization.yaml");

/// Who show static tokens.
const TOKENS: [&str; 3] = ["nina", "ivan", "judy"];

/// Who has a client certificate, and its organisations.
const CERTIFICATES: [(&str, &[&str]); 3] =
    [("admin", &["system:masters"]), ("alice", &[]), ("system:node:node-1", &["system:nodes"])];

/// What the demo's people know or have, and nobody else.
pub(super) struct Secrets {
    /// Bob's password.
    pub(super) password: String,
    /// The tokens of [`TOKENS`].
    tokens: Vec<(&'static str, String)>,
    /// The certificates of [`CERTIFICATES`].
    certificates: Vec<(&'static str, Identity)>,
    proxy: Identity,
    people_ca: String,
    proxy_ca: String,
    /// A certificate with the administrator's name, of an authority that nobody trusts.
    pub(super) forged: Identity,
}

impl Secrets {
    pub(super) fn new() -> Result<Self, Failure> {
        let people = Authority::new("bailiwick demo: people").map_err(Failure::operational)?;
        let proxies = Authority::new("bailiwick demo: proxies").map_err(Failure::operational)?;
        let nobody =
            Authority::new("bailiwick demo: nobody trusts this one").map_err(Failure::operational)?;
        let certificates = CERTIFICATES
            .iter()
            .map(|(name, organisations)| {
                Ok((*name, people.client(name, organisations).map_err(Failure::operational)?))
            })
            .collect::<Result<_, Failure>>()?;
        let tokens =
            TOKENS.iter().map(|name| Ok((*name, random_token()?))).collect::<Result<_, Failure>>()?;
        Ok(Self {
            password: random_token()?,
            tokens,
            certificates,
            proxy: proxies.client("front-proxy", &[]).map_err(Failure::operational)?,
            people_ca: people.ca_pem().to_owned(),
            proxy_ca: proxies.ca_pem().to_owned(),
            forged: nobody.client("admin", &["system:masters"]).map_err(Failure::operational)?,
        })
    }

    /// The static token of one of [`TOKENS`].
    pub(super) fn token(&self, name: &str) -> &str {
        self.tokens.iter().find(|(held, _)| *held == name).map_or("", |(_, token)| token)
    }

    pub(super) fn certificate(&self, name: &str) -> Option<&Identity> {
        self.certificates.iter().find(|(held, _)| *held == name).map(|(_, identity)| identity)
    }

    /// The people, with Bob's password.
    pub(super) fn people(&self, ldif: &str) -> String {
        ldif.replacen("\nuid: bob\n", &format!("\nuid: bob\nuserPassword: {}\n", self.password), 1)
    }

    /// Writes what the front end reads, but for what only a running webhook knows.
    pub(super) fn write(&self, folder: &Path) -> Result<(), Failure> {
        let tokens: String =
            self.tokens.iter().map(|(name, token)| format!("{token},{name},{name}-1\n")).collect();
        for (file, content) in [
            ("people-ca.pem", self.people_ca.as_str()),
            ("proxy-ca.pem", &self.proxy_ca),
            ("front-proxy.pem", &self.proxy.cert_pem),
            ("objects.yaml", OBJECTS),
        ] {
            write(&folder.join(file), content, 0o644)?;
        }
        write(&folder.join("tokens.csv"), &tokens, 0o600)?;
        write(&folder.join("front-proxy.key"), &self.proxy.key_pem, 0o600)?;
        for (name, identity) in &self.certificates {
            let name = file_name(name);
            write(&folder.join(format!("people/{name}.pem")), &identity.cert_pem, 0o644)?;
            write(&folder.join(format!("people/{name}.key")), &identity.key_pem, 0o600)?;
        }
        Ok(())
    }
}

/// `node-1` for `system:node:node-1`.
fn file_name(user: &str) -> &str {
    user.rsplit(':').next().unwrap_or(user)
}

/// A front end beside the demo's webhook.
pub(super) struct Cluster {
    pub(super) running: Running,
    webhooks: server::Running,
    stop: watch::Sender<bool>,
}

impl Cluster {
    /// Starts it, before the webhook that it asks.
    pub(super) fn start(
        folder: &Path,
        service: &Service,
        metrics: &Metrics,
        runtime: &tokio::runtime::Runtime,
    ) -> Result<Self, Failure> {
        let webhook = WEBHOOK.replace("WEBHOOK", &service.webhook.address.to_string());
        write(&folder.join("webhook-kubeconfig.yaml"), &webhook, 0o644)?;
        let authorization = AUTHORIZATION.replace("FOLDER", &folder.display().to_string());
        write(&folder.join("authorization.yaml"), &authorization, 0o644)?;
        write_configuration(folder, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let (stop, stopped) = watch::channel(false);
        let webhooks = webhooks(folder, metrics, stopped.clone())?;
        let path = folder.join("frontend.yaml");
        let text = std::fs::read(&path).map_err(Failure::operational)?;
        let configuration = read_configuration(Source::new(path.display().to_string(), text))?;
        let parts = Parts {
            // The same people as the webhook asks for: a change of the file is one for both.
            directory: service.people(),
            clock: Arc::new(Timestamp::now),
            metrics,
            runtime: runtime.handle(),
            stop: stopped,
        };
        let running = runtime.block_on(Prepared::new(configuration.frontend, parts))?.serve()?;
        write_configuration(folder, &running.address())?;
        Ok(Self { running, webhooks, stop })
    }

    /// Writes a kubeconfig for each of its people.
    pub(super) fn write_kubeconfigs(&self, folder: &Path, secrets: &Secrets) -> Result<(), Failure> {
        let token = self.running.token_for("ci", "deployer").map_err(Failure::operational)?;
        let token =
            token.ok_or_else(|| Failure::operational("the ServiceAccount ci/deployer is not there"))?;
        let by_certificate = |name: &str| {
            format!("{{client-certificate: ../people/{name}.pem, client-key: ../people/{name}.key}}")
        };
        let by_token = |token: &str| format!("{{token: {token}}}");
        for (name, credential) in [
            ("admin", by_certificate("admin")),
            ("alice", by_certificate("alice")),
            ("node-1", by_certificate("node-1")),
            // A block, one key a line: they are shown to people.
            ("bob", format!("\n      username: bob\n      password: {}", secrets.password)),
            ("nina", by_token(secrets.token("nina"))),
            ("deployer", format!("\n      token: {token}")),
        ] {
            let text = KUBECONFIG
                .replace("SERVER", &self.running.address().to_string())
                .replace("NAME", name)
                .replace("CREDENTIAL", &credential);
            write(&folder.join(format!("kubeconfigs/{name}.yaml")), &text, 0o600)?;
        }
        Ok(())
    }

    pub(super) async fn stop(self) {
        // The listener is gone where nobody receives this.
        let _sent = self.stop.send(true);
        self.running.join().await;
        self.webhooks.join().await;
    }
}

/// Starts the sample webhooks, and writes the objects that have them asked.
fn webhooks(
    folder: &Path,
    metrics: &Metrics,
    stop: watch::Receiver<bool>,
) -> Result<server::Running, Failure> {
    let settings = ServerSettings {
        cert_file: folder.join("server.pem"),
        key_file: folder.join("server.key"),
        client_ca_file: None,
        crl_file: None,
        min_version: MinVersion::default(),
    };
    let tls = ServerContext::from_files("sample-webhooks", settings, metrics)?;
    let listener = ListenerSettings::new("sample-webhooks", SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let running = server::serve(listener, Some(tls), application(REQUESTED_BY.to_owned()), stop)
        .map_err(|error| Failure::operational(format!("the sample webhooks cannot listen: {error}")))?;
    let ca = std::fs::read(folder.join("ca.pem")).map_err(Failure::operational)?;
    let objects = WEBHOOKS
        .replace("ADDRESS/", &format!("{}/", running.address))
        .replace("caBundle: CA_BUNDLE", &format!("caBundle: {}", BASE64.encode(&ca)));
    write(&folder.join("webhooks.yaml"), &objects, 0o644)?;
    Ok(running)
}

fn write_configuration(folder: &Path, address: &SocketAddr) -> Result<(), Failure> {
    let text = CONFIGURATION.replace("FRONTEND", &address.to_string());
    write(&folder.join("frontend.yaml"), &text, 0o644)
}

/// How the front end reaches the webhook.
const WEBHOOK: &str = "apiVersion: v1
kind: Config
clusters:
  - {name: bailiwick, cluster: {server: \"https://WEBHOOK/authorize\", certificate-authority: ca.pem}}
users:
  - {name: apiserver, user: {client-certificate: apiserver.pem, client-key: apiserver.key}}
contexts:
  - {name: bailiwick, context: {cluster: bailiwick, user: apiserver}}
current-context: bailiwick
";

/// How one of the people reaches the front end.
const KUBECONFIG: &str = "apiVersion: v1
kind: Config
clusters:
  - name: demo
    cluster:
      server: https://SERVER
      certificate-authority: ../ca.pem
users:
  - name: NAME
    user: CREDENTIAL
contexts:
  - {name: demo, context: {cluster: demo, user: NAME}}
current-context: demo
";

/// What there is to try with it.
pub(super) fn say_what_to_try(folder: &Path) -> Result<(), Failure> {
    let dir = folder.display();
    say(&format!(
        r#"
There is a small API server in front of it: {dir}/kubeconfigs has somebody for each way of showing who one is.

  export KUBECONFIG={dir}/kubeconfigs/alice.yaml        # by client certificate; bob: password, nina: token, deployer: ServiceAccount
  kubectl auth whoami
  kubectl get pods -n payments-prod
  kubectl get secrets -n payments-prod                  # refused by a policy
  kubectl run job -n payments-dev --image=nginx         # refused by admission: it has no label app
  kubectl run job -n payments-dev --image=nginx -l app=job

Two webhooks of admission are asked about namespaces with the label bailiwick.dev/sample-webhooks:

  export KUBECONFIG={dir}/kubeconfigs/admin.yaml
  kubectl run nb-job -n notebooks-research --image=nginx                # mutated: who asked is an annotation; and warned
  kubectl run nb-root -n notebooks-research --image=nginx --privileged  # refused by the validating one

What happened to each request? In words, or in a browser by way of `kubectl proxy --port=8080`, at /debug/journeys:

  kubectl --kubeconfig {dir}/kubeconfigs/admin.yaml get --raw '/debug/journeys?format=text'
"#
    ))
}
