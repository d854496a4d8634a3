//! Puts a front end together from its settings, and serves it.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::api::{Addresses, Garbage, Logs, Services, Shaping, recover, resume_garbage};
use super::authn::{self, Authenticators, SigningKeySource, TokenError, TokenSpec};
use super::authorizers::{Chain, abac, configuration, rbac::Rbac};
use super::hooks::Stages;
use super::in_flight::InFlight;
use super::journey::{AuditLog, Journeys};
use super::kubeconfig::Kubeconfig;
use super::settings::{Authorization, Settings};
use super::storage::{self, Storage};
use super::views::Views;
use super::{Clock, Frontend, admission, application, bootstrap, data_dir, resources};
use crate::directory::{Directory, Usernames};
use crate::document::{self, Diagnostics, Source};
use crate::server;
use crate::telemetry::Metrics;
use crate::tls::{self, ServerContext};

/// What a front end needs of the process that it runs in.
pub struct Parts<'a> {
    /// The directory whose users log on by HTTP basic, and how they are called.
    pub directory: Option<(Arc<Directory>, Usernames)>,
    /// The wall clock.
    pub clock: Clock,
    /// Where the expiry of certificates is published.
    pub metrics: &'a Metrics,
    /// The runtime that looks after files.
    pub runtime: &'a Handle,
    /// Says true when serving is to stop.
    pub stop: watch::Receiver<bool>,
}

/// Why a front end does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file with mistakes, shown in their places.
    #[error("{0}")]
    Diagnostics(Diagnostics),
    /// The certificate.
    #[error("server.tls: {0}")]
    Tls(#[from] tls::LoadError),
    /// The first stage.
    #[error("{0}")]
    Authentication(#[from] authn::SetupError),
    /// The second stage.
    #[error("authorization: {0}")]
    Authorization(#[from] configuration::ConfigurationError),
    /// The policies of ABAC.
    #[error("authorization: {0}")]
    Abac(#[from] abac::PolicyFileError),
    /// An object that is to be there from the start.
    #[error("{file}: {error}")]
    Object {
        /// Where it stands.
        file: String,
        /// What is wrong with it.
        error: bootstrap::BootstrapError,
    },
    /// The storage.
    #[error("storage: {0}")]
    Storage(#[from] storage::OpenError),
    /// The listener.
    #[error("server.listen: cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        error: std::io::Error,
    },
}

impl StartError {
    /// Whether the machine is at fault, and not what somebody wrote.
    #[must_use]
    pub fn is_operational(&self) -> bool {
        matches!(self, Self::File { .. } | Self::Listen { .. } | Self::Storage(_))
    }
}

/// A front end that serves.
pub struct Running {
    server: server::Running,
    frontend: Arc<Frontend>,
    storage: Arc<Storage>,
    _watchers: Vec<tls::Watcher>,
}

/// Where the versions of an empty storage begin: where no earlier process was whose objects are gone.
fn first_version(now: Timestamp) -> u64 {
    u64::try_from(now.as_second()).unwrap_or(1).saturating_mul(1_000)
}

/// A front end that could serve: every file was read, and every stage is made.
pub struct Prepared {
    frontend: Frontend,
    storage: Arc<Storage>,
    audit_log: Option<PathBuf>,
    listener: server::ListenerSettings,
    tls: Arc<ServerContext>,
    watchers: Vec<tls::Watcher>,
}

impl Prepared {
    /// Reads every file, and makes every stage.
    ///
    /// # Errors
    /// Where anything is not as it has to be: a front end with a hole is none.
    pub async fn new(settings: Settings, parts: Parts<'_>) -> Result<Self, StartError> {
        let Parts { directory, clock, metrics, runtime, stop } = parts;
        let now = clock();
        let ca_file = settings.ca_file.as_ref().unwrap_or(&settings.cert_file);
        let ca_pem = String::from_utf8_lossy(&read(ca_file)?).into_owned();
        let mut settings = settings;
        let storage = Arc::new(match &settings.data_dir {
            None => Storage::starting_at(first_version(now)),
            Some(directory) => Storage::open(directory, first_version(now))?,
        });
        // What has no later version was there before.
        let opened_at = storage.version();
        if let (Some(directory), Some(accounts)) =
            (&settings.data_dir, &mut settings.authentication.service_accounts)
            && accounts.signing_key == SigningKeySource::Ephemeral
        {
            accounts.signing_key = SigningKeySource::File(data_dir::signing_key(directory)?);
        }
        let views = Arc::new(Views(Arc::clone(&storage)));
        let authentication = authn::Parts { directory, objects: views.clone(), metrics, runtime };
        let asks_for_password = settings.authentication.basic;
        let authenticators = Arc::new(Authenticators::new(settings.authentication, authentication)?);
        let (chain, mut watchers) = chain(settings.authorization, &views, runtime)?;
        let chain = Arc::new(chain);
        let service_accounts = authenticators.service_accounts.clone();
        let stages = Stages {
            chain: Arc::clone(&chain),
            rbac: Rbac::new(views.clone()),
            authenticators: Arc::clone(&authenticators),
            service_accounts: service_accounts.clone(),
            storage: Arc::clone(&storage),
            ca_pem: ca_pem.clone(),
        };
        let services = Services {
            addresses: Addresses::default(),
            storage: Arc::clone(&storage),
            admission: Arc::new(admission::Admission::new(
                settings.admission,
                Arc::clone(&storage),
                Arc::new(Shaping),
            )),
            hooks: Arc::new(stages),
            logs: Arc::new(Logs::default()),
            watches: Arc::default(),
            garbage: Garbage::default(),
        };
        if settings.data_dir.is_some() {
            recover(&services, now).await;
        }
        let start = bootstrap::Start { storage: &storage, ca_pem: &ca_pem, now, opened_at };
        start
            .cluster()
            .await
            .map_err(|error| StartError::Object { file: "what every cluster has".to_owned(), error })?;
        for path in &settings.objects {
            load(path, &start).await?;
        }
        resume_garbage(&services, now).await;
        let Settings { listener, cert_file, key_file, min_version, audit_log, .. } = settings;
        let tls = ServerContext::asking("frontend", cert_file, key_file, min_version, metrics)?;
        watchers.push(tls::watch(Arc::clone(&tls) as Arc<dyn tls::Reload>, tls::WATCH_INTERVAL, runtime));
        let frontend = Frontend {
            authenticators,
            chain,
            services,
            service_accounts,
            journeys: Journeys::new(None),
            in_flight: InFlight::default(),
            asks_for_password,
            clock,
            stop,
        };
        Ok(Self { frontend, storage, audit_log, listener, tls, watchers })
    }

    /// Listens.
    ///
    /// # Errors
    /// Where it cannot, or the audit log cannot be written.
    pub fn serve(self) -> Result<Running, StartError> {
        let Self { mut frontend, storage, audit_log, listener, tls, watchers } = self;
        if let Some(path) = audit_log {
            let audit = AuditLog::open(&path).map_err(|error| StartError::File { path, error })?;
            frontend.journeys = Journeys::new(Some(audit));
        }
        let (address, stop) = (listener.listen, frontend.stop.clone());
        let frontend = Arc::new(frontend);
        let server = server::serve(listener, Some(tls), application(Arc::clone(&frontend)), stop)
            .map_err(|error| StartError::Listen { address, error })?;
        Ok(Running { server, frontend, storage, _watchers: watchers })
    }
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> std::net::SocketAddr {
        self.server.address
    }

    /// What requests left behind.
    #[must_use]
    pub fn journeys(&self) -> &Journeys {
        &self.frontend.journeys
    }

    /// A token for a ServiceAccount that is there, for as long as is allowed at most; none where none are issued here, or
    /// there is no such account.
    ///
    /// # Errors
    /// Where it cannot be signed.
    pub fn token_for(&self, namespace: &str, name: &str) -> Result<Option<String>, TokenError> {
        let Some(tokens) = &self.frontend.service_accounts else { return Ok(None) };
        let account =
            resources::find("", "serviceaccounts").and_then(|kind| self.storage.get(kind, namespace, name));
        let uid = account
            .as_ref()
            .and_then(|account| account.pointer("/metadata/uid")?.as_str().map(str::to_owned));
        let Some(uid) = uid else { return Ok(None) };
        let spec = TokenSpec {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid,
            audiences: Vec::new(),
            expiration_seconds: Some(authn::MAX_EXPIRATION_SECONDS),
            bound: None,
        };
        tokens.issue(spec, (self.frontend.clock)()).map(|issued| Some(issued.token))
    }

    /// Waits until it was stopped, and answers in flight were sent.
    pub async fn join(self) {
        self.server.join().await;
    }
}

fn read(path: &Path) -> Result<Vec<u8>, StartError> {
    std::fs::read(path).map_err(|error| StartError::File { path: path.to_owned(), error })
}

/// Keeps the objects of a file.
async fn load(path: &Path, start: &bootstrap::Start<'_>) -> Result<(), StartError> {
    let sources = [Source::new(path.display().to_string(), read(path)?)];
    let mut diagnostics = Diagnostics::new(&sources);
    let documents = document::parse(&sources, &mut diagnostics);
    if diagnostics.has_errors() {
        return Err(StartError::Diagnostics(diagnostics));
    }
    for document in documents {
        start
            .keep(document.root.to_json())
            .await
            .map_err(|error| StartError::Object { file: path.display().to_string(), error })?;
    }
    Ok(())
}

/// Makes the chain of authorisers, and what keeps their files fresh.
fn chain(
    authorization: Authorization,
    views: &Arc<Views>,
    runtime: &Handle,
) -> Result<(Chain, Vec<tls::Watcher>), StartError> {
    let (configured, abac_policy_file) = match authorization {
        Authorization::File { path, abac_policy_file } => {
            let source = Source::new(path.display().to_string(), read(&path)?);
            (configuration::Configuration::read(source).map_err(StartError::Diagnostics)?, abac_policy_file)
        }
        Authorization::Modes { names, abac_policy_file, webhook_kubeconfig, webhook } => {
            let modes = configuration::Modes {
                names: &names,
                webhook_kubeconfig: webhook_kubeconfig.as_deref(),
                webhook,
            };
            (configuration::Configuration::of_modes(modes)?, abac_policy_file)
        }
    };
    let abac = abac_policy_file
        .filter(|_| configured.needs_abac())
        .map(|path| {
            abac::Policies::parse(&path.display().to_string(), &read(&path)?).map_err(StartError::from)
        })
        .transpose()?;
    let watchers = RefCell::new(Vec::new());
    let endpoint = |path: &Path| {
        let read =
            Kubeconfig::read(path, "frontend-authorization-webhook").map_err(|error| error.to_string());
        read.map(|(endpoint, context)| {
            watchers.borrow_mut().push(tls::watch(context, tls::WATCH_INTERVAL, runtime));
            endpoint
        })
    };
    let parts = configuration::Parts { rbac: views.clone(), pods: views.clone(), abac, endpoint: &endpoint };
    let chain = configured.build(parts)?;
    Ok((chain, watchers.into_inner()))
}
