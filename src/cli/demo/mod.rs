//! `bailiwick demo`: the service as `serve` runs it, with a sample company, on loopback.

mod cluster;
mod company;
mod stages;
mod tour;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

use cluster::{Cluster, Secrets};

use super::serve::{Signals, read_configuration};
use super::service::Service;
use super::{Exit, Failure, runtime, say};
use crate::authz::Clock;
use crate::telemetry::{Metrics, log};
use crate::tls::{Authority, ClientContext, Identity, MinVersion, https};

/// Run everything in one process on loopback, and show what it decides.
///
/// An embedded directory over LDAPS, the webhook over HTTPS, the policies of a sample company, and a guided tour of
/// decisions. Stays up afterwards: change the files in the folder that it names, and ask again.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where to put certificates, policies, people and configuration; a temporary folder where omitted.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// End after the tour.
    #[arg(long)]
    once: bool,
}

/// The cluster that the demo's API server is.
const CLUSTER: &str = "prod-1";

/// The name in the certificate of the demo's API server.
const API_SERVER: &str = "kube-apiserver";

/// The network of the VPN in the vocabulary.
const VPN: &str = "vpn: {networks: [10.9.0.0/16";

/// Where the demo put things.
struct Folder {
    path: PathBuf,
    token: String,
    ca_pem: String,
    api_server: Identity,
    secrets: Secrets,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let (path, _temporary) = match &arguments.dir {
        Some(dir) => (dir.clone(), None),
        None => {
            let made =
                tempfile::Builder::new().prefix("bailiwick-demo-").tempdir().map_err(Failure::operational)?;
            (made.path().to_owned(), Some(made))
        }
    };
    std::fs::create_dir_all(&path)
        .map_err(|error| Failure::operational(format!("{}: {error}", path.display())))?;
    // Other files name it, and are read from elsewhere.
    let path = path.canonicalize().map_err(Failure::operational)?;
    let folder = Folder::write(path)?;
    let configuration = read_configuration(&folder.path.join("config.yaml"))?;
    log::init(&configuration.log).map_err(Failure::invalid)?;
    let metrics = Metrics::new().map_err(Failure::operational)?;
    let runtime = runtime()?;
    let mut signals = runtime.block_on(async { Signals::new() })?;
    let clock = DemoClock::default();
    let service = Service::start(configuration, &metrics, clock.read(), &runtime)?;
    let context =
        ClientContext::from_pem("demo", &folder.ca_pem, Some(&folder.api_server), MinVersion::default())?;
    let client = https::Client::new(context);
    let cluster = Cluster::start(&folder.path, &service, &metrics, &runtime)?;
    let tour = tour::Tour { service: &service, client: &client, clock: &clock };
    let stages = stages::StageTour { cluster: &cluster, secrets: &folder.secrets, ca_pem: &folder.ca_pem };
    let ended = runtime.block_on(async {
        let guided = async {
            tour.guide().await?;
            clock.set(None);
            stages.guide().await
        };
        tokio::select! {
            ended = guided => Some(ended),
            () = signals.next() => None,
        }
    });
    if let Some(ended) = &ended
        && ended.is_ok()
        && !arguments.once
    {
        folder.write_addresses(&service)?;
        cluster.write_kubeconfigs(&folder.path, &folder.secrets)?;
        cluster::say_what_to_try(&folder.path)?;
        say(&folder.instructions(&service))?;
        runtime.block_on(signals.next());
        say("\nStopping.\n")?;
    }
    runtime.block_on(async {
        let stopped = async {
            cluster.stop().await;
            service.stop().await;
        };
        tokio::select! {
            () = stopped => {}
            () = signals.next() => {}
        }
    });
    ended.unwrap_or(Ok(()))?;
    Ok(Exit::Success)
}

/// A clock that the tour sets: office hours are to be seen at any hour.
#[derive(Clone, Default)]
struct DemoClock(Arc<AtomicI64>);

impl DemoClock {
    /// Stops the clock at an instant, or lets it show the real time.
    fn set(&self, at: Option<Timestamp>) {
        self.0.store(at.map_or(0, Timestamp::as_second), Ordering::Release);
    }

    fn read(&self) -> Clock {
        let at = Arc::clone(&self.0);
        Arc::new(move || match at.load(Ordering::Acquire) {
            0 => Timestamp::now(),
            second => Timestamp::from_second(second).unwrap_or_else(|_| Timestamp::now()),
        })
    }
}

impl Folder {
    /// Writes everything that the demo's service reads.
    fn write(path: PathBuf) -> Result<Self, Failure> {
        let authority = Authority::new("bailiwick demo").map_err(Failure::operational)?;
        let loopback = [Ipv4Addr::LOCALHOST.into()];
        let server = authority.server(&["localhost"], &loopback).map_err(Failure::operational)?;
        let api_server = authority.client(API_SERVER, &[]).map_err(Failure::operational)?;
        let token = random_token()?;
        let secrets = Secrets::new()?;
        secrets.write(&path)?;
        let people = secrets.people(company::PEOPLE);
        // Whoever sits at this machine is on the VPN.
        let vocabulary = company::VOCABULARY.replacen(VPN, &format!("{VPN}, 127.0.0.0/8"), 1);
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let configuration = configuration(&any_port, &any_port);
        for (file, content) in [
            ("ca.pem", authority.ca_pem()),
            ("server.pem", &server.cert_pem),
            ("apiserver.pem", &api_server.cert_pem),
            ("config.yaml", &configuration),
            ("people.ldif", &people),
        ]
        .into_iter()
        .chain(company::POLICIES)
        {
            write(&path.join(file), content, 0o644)?;
        }
        write(&path.join("policies/vocabulary.yaml"), &vocabulary, 0o644)?;
        for (file, secret) in
            [("server.key", &server.key_pem), ("apiserver.key", &api_server.key_pem), ("admin-token", &token)]
        {
            write(&path.join(file), secret, 0o600)?;
        }
        Ok(Self { ca_pem: authority.ca_pem().to_owned(), path, token, api_server, secrets })
    }

    /// Puts into the configuration where the service listens, for the commands that ask it.
    fn write_addresses(&self, service: &Service) -> Result<(), Failure> {
        let configuration = configuration(&service.webhook.address, &service.admin.address);
        write(&self.path.join("config.yaml"), &configuration, 0o644)
    }

    fn instructions(&self, service: &Service) -> String {
        let dir = self.path.display();
        let webhook = service.webhook.address;
        let admin = service.admin.address;
        let token = &self.token;
        let bailiwick = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("bailiwick"));
        let bailiwick = bailiwick.display();
        format!(
            r#"
The service runs until Ctrl-C. Its clock shows the real time now.

Ask as the API server does:

  curl --cacert {dir}/ca.pem --cert {dir}/apiserver.pem --key {dir}/apiserver.key \
    -H 'Content-Type: application/json' https://{webhook}/authorize -d '
    {{"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {{"user": "nina",
      "groups": ["system:authenticated"], "resourceAttributes": {{"verb": "list", "resource": "secrets"}}}}}}'

Why is that so?

  curl -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' http://{admin}/explain -d '
    {{"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {{"user": "alice",
      "groups": ["system:authenticated"], "resourceAttributes": {{"verb": "get", "resource": "pods",
      "namespace": "payments-prod", "name": "web-1"}}}}}}'

How is the directory asked for somebody, and what does the service hold of them?

  {bailiwick} lookup nina --config {dir}/config.yaml

What Prometheus and the kubelet see:

  curl http://{admin}/metrics
  curl 'http://{admin}/readyz?verbose'

Change {dir}/policies/*.yaml or {dir}/people.ldif, and ask again: policies are read every second, and
what is known of a person is refreshed after two. Audit lines go to {dir}/audit.log.
"#
        )
    }
}

/// What nobody guesses.
fn random_token() -> Result<String, Failure> {
    let mut token = [0_u8; 16];
    getrandom::fill(&mut token)
        .map_err(|error| Failure::operational(format!("no random numbers: {error}")))?;
    Ok(data_encoding::HEXLOWER.encode(&token))
}

fn write(path: &Path, content: &str, mode: u32) -> Result<(), Failure> {
    use std::io::Write;
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let written = (|| {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(mode).open(path)?;
        // One that is there already keeps its mode otherwise.
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.write_all(content.as_bytes())
    })();
    written.map_err(|error| Failure::operational(format!("{}: {error}", path.display())))
}

fn configuration(webhook: &SocketAddr, admin: &SocketAddr) -> String {
    [("CLUSTER", CLUSTER), ("API_SERVER", API_SERVER)]
        .iter()
        .fold(CONFIGURATION.to_owned(), |text, (word, value)| text.replace(word, value))
        .replace("WEBHOOK", &webhook.to_string())
        .replace("ADMIN", &admin.to_string())
}

/// What `serve` would be started with.
const CONFIGURATION: &str = r#"# The configuration of the demo: `bailiwick serve --config` runs the same.
apiVersion: bailiwick.dev/v1alpha1
kind: Configuration
server:
  listen: WEBHOOK
  cluster: CLUSTER
  tls: {certFile: server.pem, keyFile: server.key, clientCAFile: ca.pem}
  clients:
    - {name: API_SERVER, clusters: [CLUSTER]}
admin: {listen: "ADMIN", tokenFile: admin-token}
directory:
  kind: embedded
  ldif: people.ldif
  ldap:
    attributes:
      clearance: {from: bailiwickClearance, type: level}
      department: {from: departmentNumber, type: string}
  cache: {softTTL: 2s, hardTTL: 30s, negativeTTL: 2s}
location: {trustedClusters: [CLUSTER]}
policies: {paths: [policies], reloadInterval: 1s}
audit: {path: audit.log}
log: {format: text, level: warn}
"#;
