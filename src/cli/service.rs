//! Puts a service together from its configuration: for `serve`, and for the demo, which runs nothing else.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::Failure;
use crate::authz::{Authorizer, Clock, Parts, People};
use crate::cache::FactsCache;
use crate::config::{ClientProof, Configuration, DirectoryKind};
use crate::directory::embedded::{Access, EmbeddedDirectory};
use crate::directory::ldif::Ldif;
use crate::directory::{
    self, Bind, Change, ChangeFeed, Directory, LookupError, SettingsError, SettingsProblem, Usernames,
};
use crate::document::{Diagnostics, Source};
use crate::http::{self, AdminSettings, Client, Clients, Credential, TokenFile, WebhookSettings};
use crate::policy::PolicySet;
use crate::server::Running;
use crate::store::{OpenError, Store};
use crate::telemetry::Metrics;
use crate::telemetry::audit::Audit;
use crate::tls::{self, MinVersion, ServerContext};

/// How often certificates and tokens are read again.
const FILE_INTERVAL: Duration = Duration::from_secs(5);

/// How long a start waits for the directory to say whether it can be used as configured; `timeouts.total` may end that
/// earlier.
const DIRECTORY_WAIT: Duration = Duration::from_secs(5);

/// How long a start waits for the policies' group names before it goes on without them.
const NAMES_WAIT: Duration = Duration::from_secs(2);

/// A running service.
pub(super) struct Service {
    pub(super) authorizer: Arc<Authorizer>,
    pub(super) webhook: Running,
    pub(super) admin: Running,
    stop: watch::Sender<bool>,
    connected: Connected,
    usernames: Usernames,
    _watchers: Vec<tls::Watcher>,
}

impl Service {
    /// Starts everything that the configuration says.
    pub(super) fn start(
        configuration: Configuration,
        metrics: &Metrics,
        clock: Clock,
        runtime: &tokio::runtime::Runtime,
    ) -> Result<Self, Failure> {
        let handle = runtime.handle();
        let Configuration { server, admin, directory, policy, eval, cache, store, audit, log: _ } =
            configuration;
        let tls = server_context("webhook", server.tls, metrics)?;
        let admin_tls = admin.tls.map(|settings| server_context("admin", settings, metrics)).transpose()?;
        let watchers = [Some(&tls), admin_tls.as_ref()]
            .into_iter()
            .flatten()
            .map(|context| tls::watch(Arc::clone(context) as Arc<dyn tls::Reload>, FILE_INTERVAL, handle))
            .collect();
        let compile = Arc::new(move |sources: &[Source]| PolicySet::build(sources, &policy));
        let store = Store::open(store, compile, metrics, handle.clone())?;
        for warning in &store.current().warnings().items {
            tracing::warn!("{}", warning.message);
        }
        let connected = Connected::to(directory.kind, metrics, handle)?;
        let people = connected
            .directory
            .clone()
            .map(|client| -> Result<People, Failure> {
                fits(&client, runtime)?;
                let cache = FactsCache::new(cache, metrics, handle.clone());
                let (usernames, timeout) = (directory.usernames.clone(), connected.timeout);
                Ok(People { directory: client, usernames, cache, timeout })
            })
            .transpose()?;
        let audit = Audit::start(&audit, metrics.audit_dropped.clone())
            .map_err(|error| Failure::operational(format!("audit.path: {error}")))?;
        let authorizer = Authorizer::start(Parts {
            store,
            people,
            settings: eval,
            deadline: server.deadline,
            metrics: metrics.clone(),
            audit,
            clock,
            handle: handle.clone(),
        });
        if let Some(embedded) = &connected.embedded {
            handle.spawn(give_up(Arc::downgrade(&authorizer), embedded.changes.clone(), handle.clone()));
        }
        let clients = match server.clients {
            None => Clients::Everyone,
            Some(entries) => Clients::Listed(
                entries.into_iter().map(|entry| client(entry, handle)).collect::<Result<_, _>>()?,
            ),
        };
        let settings = WebhookSettings {
            cluster: server.cluster.clone(),
            clients,
            deadline: server.deadline,
            max_body_bytes: server.max_body_bytes,
            max_in_flight: server.max_in_flight,
        };
        let (stop, stopped) = watch::channel(false);
        let webhook = http::Webhook::new(Arc::clone(&authorizer), settings, metrics);
        let settings = AdminSettings {
            token: admin.token_file.map(|file| token(file, handle)).transpose()?,
            client_certificates: admin_tls.as_ref().is_some_and(|tls| tls.requires_client_certificate()),
            cluster: server.cluster,
            deadline: server.deadline,
            max_body_bytes: server.max_body_bytes,
        };
        let admin_state = http::Admin::new(Arc::clone(&authorizer), settings, metrics);
        // Ready means ready: who asks in the first moment is not to be told that the groups are not known yet.
        runtime.block_on(authorizer.settled(NAMES_WAIT));
        let listening = |what: &str, address, error| {
            Failure::operational(format!("{what}: cannot listen on {address}: {error}"))
        };
        let address = server.listener.listen;
        let webhook =
            crate::server::serve(server.listener, Some(tls), http::webhook(webhook), stopped.clone())
                .map_err(|error| listening("server.listen", address, error))?;
        let address = admin.listener.listen;
        let admin = crate::server::serve(admin.listener, admin_tls, http::admin(admin_state), stopped)
            .map_err(|error| listening("admin.listen", address, error))?;
        let usernames = directory.usernames;
        Ok(Self { authorizer, webhook, admin, stop, connected, usernames, _watchers: watchers })
    }

    /// Where the embedded directory listens.
    pub(super) fn embedded_address(&self) -> Option<std::net::SocketAddr> {
        self.connected.embedded.as_ref().map(Embedded::address)
    }

    /// The directory, and how its users are called.
    pub(super) fn people(&self) -> Option<(Arc<Directory>, Usernames)> {
        self.connected.directory.clone().map(|directory| (directory, self.usernames.clone()))
    }

    /// Stops: says not ready, takes no more, answers what is in flight, writes the audit lines.
    pub(super) async fn stop(self) {
        self.authorizer.drain();
        // The listeners are gone where nobody receives this.
        let _sent = self.stop.send(true);
        self.webhook.join().await;
        self.admin.join().await;
        self.authorizer.flush_audit(Duration::from_secs(5));
    }
}

/// A directory that can be asked, and what serves it where this process does.
#[derive(Default)]
pub(super) struct Connected {
    pub(super) directory: Option<Arc<Directory>>,
    embedded: Option<Embedded>,
    /// How long one look-up may take.
    timeout: Duration,
}

impl Connected {
    /// Makes what the configuration says; that the directory is away is no error.
    pub(super) fn to(kind: DirectoryKind, metrics: &Metrics, handle: &Handle) -> Result<Self, Failure> {
        let (settings, embedded) = match kind {
            DirectoryKind::None => return Ok(Self::default()),
            DirectoryKind::Ldap(settings) => (*settings, None),
            DirectoryKind::Embedded { ldif, settings } => {
                let embedded = Embedded::start(&ldif, *settings, handle)?;
                (embedded.settings.clone(), Some(embedded))
            }
        };
        let timeout = settings.timeouts.total;
        let directory = Some(Directory::new(settings, metrics, handle.clone())?);
        Ok(Self { directory, embedded, timeout })
    }
}

/// Whether the directory can be used as configured. Only an answer that it cannot ends the start: a directory that is away
/// now may be there in a moment, and whatever needs no directory is served meanwhile.
fn fits(directory: &Directory, runtime: &tokio::runtime::Runtime) -> Result<(), Failure> {
    let deadline = std::time::Instant::now() + DIRECTORY_WAIT;
    match runtime.block_on(directory.probe(deadline)) {
        Err(error @ LookupError::Unfit(_)) => Err(Failure::invalid(format!("directory.ldap: {error}"))),
        Err(error) => {
            tracing::warn!(%error, "serving without the directory until it can be asked");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

fn client(entry: crate::config::ClientEntry, handle: &Handle) -> Result<Client, Failure> {
    let credential = match entry.proof {
        ClientProof::Name(name) => Credential::CertificateName(name),
        ClientProof::TokenFile(file) => Credential::Token(token(file, handle)?),
    };
    Ok(Client { credential, clusters: entry.clusters.into_iter().map(Into::into).collect() })
}

fn token(file: PathBuf, handle: &Handle) -> Result<Arc<TokenFile>, Failure> {
    let shown = file.display().to_string();
    let token =
        TokenFile::open(file).map_err(|error| Failure::operational(format!("tokenFile {shown}: {error}")))?;
    token.keep_fresh(handle, FILE_INTERVAL);
    Ok(token)
}

fn server_context(
    usage: &'static str,
    settings: tls::ServerSettings,
    metrics: &Metrics,
) -> Result<Arc<ServerContext>, Failure> {
    ServerContext::from_files(usage, settings, metrics).map_err(Failure::from)
}

/// The embedded directory and what is needed to ask it. Its password and authority are in a folder of their own, which goes
/// with it.
pub(super) struct Embedded {
    server: Arc<EmbeddedDirectory>,
    pub(super) settings: directory::Settings,
    /// Changes with each new content.
    changes: watch::Receiver<()>,
    _folder: tempfile::TempDir,
}

/// How often the LDIF is looked at for changes.
const LDIF_INTERVAL: Duration = Duration::from_secs(1);

impl Embedded {
    /// Serves an LDIF file and fills in how to reach it. The file is followed while it is served.
    pub(super) fn start(
        path: &Path,
        settings: directory::Settings,
        handle: &Handle,
    ) -> Result<Self, Failure> {
        let password = random_password()?;
        let (ldif, text) = read_ldif(path, &password)?;
        let base = ldif.entries().first().map(|entry| entry.dn.as_str().to_owned()).unwrap_or_default();
        let authority = tls::Authority::new("bailiwick embedded directory").map_err(Failure::operational)?;
        let identity = authority
            .server(&["localhost"], &[std::net::Ipv4Addr::LOCALHOST.into()])
            .map_err(Failure::operational)?;
        let tls = ServerContext::from_pem("embedded-directory", &identity, None, MinVersion::default())
            .map_err(Failure::from)?;
        let server =
            EmbeddedDirectory::start(&ldif, Access::Authenticated, tls, handle).map_err(|error| {
                Failure::operational(format!("the embedded directory cannot listen: {error}"))
            })?;
        let server = Arc::new(server);
        let changed = watch::Sender::new(());
        let changes = changed.subscribe();
        handle.spawn(follow(Arc::downgrade(&server), path.to_owned(), password.clone(), text, changed));
        let folder = tempfile::Builder::new().prefix("bailiwick-").tempdir().map_err(Failure::operational)?;
        let (ca_file, password_file) = (folder.path().join("ca.pem"), folder.path().join("password"));
        std::fs::write(&ca_file, authority.ca_pem()).map_err(Failure::operational)?;
        std::fs::write(&password_file, &password).map_err(Failure::operational)?;
        let mut settings = settings;
        // Its file is followed instead.
        settings.change_feed = ChangeFeed::Off;
        settings.urls = vec![format!("ldaps://{}", server.address())];
        settings.bind = Bind::Simple { dn: SERVICE_DN.to_owned(), password_file };
        settings.tls.files.ca_file = Some(ca_file);
        for search_base in [&mut settings.user_search.base, &mut settings.group_search.base] {
            if search_base.is_empty() {
                search_base.clone_from(&base);
            }
        }
        Ok(Self { server, settings, changes, _folder: folder })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> std::net::SocketAddr {
        self.server.address()
    }
}

/// Who the process is to its own directory.
const SERVICE_DN: &str = "cn=bailiwick-itself";

pub(super) fn read_ldif(path: &Path, password: &str) -> Result<(Ldif, String), Failure> {
    let shown = path.display();
    let text =
        std::fs::read_to_string(path).map_err(|error| Failure::operational(format!("{shown}: {error}")))?;
    let ldif = parse_ldif(&text, password).map_err(|error| Failure::invalid(format!("{shown}: {error}")))?;
    Ok((ldif, text))
}

/// The LDIF with our own entry at its end.
fn parse_ldif(text: &str, password: &str) -> Result<Ldif, crate::directory::ldif::LdifError> {
    let own = format!(
        "dn: {SERVICE_DN}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\n\
         cn: bailiwick-itself\nuserPassword: {password}\n"
    );
    Ldif::parse(&format!("{}\n\n{own}", text.trim_end()))
}

/// Serves a changed file; a broken one changes nothing and is said once.
async fn follow(
    server: Weak<EmbeddedDirectory>,
    path: PathBuf,
    password: String,
    mut seen: String,
    changed: watch::Sender<()>,
) {
    loop {
        tokio::time::sleep(LDIF_INTERVAL).await;
        let Some(server) = server.upgrade() else { return };
        let Ok(text) = tokio::fs::read_to_string(&path).await else { continue };
        if text == seen {
            continue;
        }
        match parse_ldif(&text, &password) {
            Ok(ldif) => {
                server.replace(&ldif);
                changed.send_replace(());
                tracing::info!(path = %path.display(), "the embedded directory serves the changed file");
            }
            Err(error) => tracing::warn!(path = %path.display(), %error, "the changed LDIF is not served"),
        }
        seen = text;
    }
}

/// Has whatever is held read again when the embedded directory has a new content.
async fn give_up(authorizer: Weak<Authorizer>, mut changes: watch::Receiver<()>, handle: Handle) {
    while changes.changed().await.is_ok() {
        let Some(authorizer) = authorizer.upgrade() else { return };
        authorizer.take(Change::Anything, &handle);
    }
}

fn random_password() -> Result<String, Failure> {
    let mut bytes = [0_u8; 24];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::operational(format!("no random numbers: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Failure {
    /// Policies or a configuration with mistakes, shown in their places.
    pub(super) fn diagnostics(diagnostics: Diagnostics) -> Self {
        Self { exit: super::Exit::Invalid, message: diagnostics.to_string() }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Unreadable(error) => Self::operational(error),
            OpenError::Invalid(diagnostics) => Self::diagnostics(diagnostics),
        }
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        match error.problem {
            SettingsProblem::Unreadable(_) => Self::operational(error),
            _ => Self::invalid(error),
        }
    }
}

impl From<tls::LoadError> for Failure {
    fn from(error: tls::LoadError) -> Self {
        match error.problem {
            tls::Problem::Missing | tls::Problem::Unreadable(_) => Self::operational(error),
            _ => Self::invalid(error),
        }
    }
}
