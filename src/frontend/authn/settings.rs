//! What the configuration says of the first stage, and making it.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::SignedDuration;
use tokio::runtime::Handle;

use super::service_account::{Issuer, Objects, ServiceAccountTokens};
use super::token_file::{self, TokenFile, TokenFileError};
use super::token_review::TokenReview;
use super::{Authenticators, Basic, ClientCertificates, RequestHeader};
use crate::directory::{Directory, Usernames};
use crate::frontend::kubeconfig::{Kubeconfig, KubeconfigError};
use crate::telemetry::Metrics;
use crate::tls::{self, ClientAuthorities, KeyError, LoadError, SigningKey, VerifyingKey};

/// The authenticators that there are. By default none, and nobody is let in.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Authorities of users' client certificates, PEM (`--client-ca-file`).
    pub client_ca_file: Option<PathBuf>,
    /// Authenticating proxies.
    pub request_header: Option<RequestHeaderSettings>,
    /// Static tokens (`--token-auth-file`).
    pub token_file: Option<PathBuf>,
    /// ServiceAccount tokens.
    pub service_accounts: Option<ServiceAccountSettings>,
    /// A TokenReview webhook.
    pub token_review: Option<TokenReviewSettings>,
    /// Whether users of the directory log on by HTTP basic.
    pub basic: bool,
    /// Whether who shows nothing is let in (`--anonymous-auth`).
    pub anonymous: bool,
    /// The key of `extra` with the source address; `None`: [`super::SOURCE_ADDRESS_KEY`].
    pub source_address_key: Option<String>,
}

/// Authenticating proxies.
#[derive(Debug, Clone)]
pub struct RequestHeaderSettings {
    /// Their authorities, PEM (`--requestheader-client-ca-file`). Better not those of users.
    pub ca_file: PathBuf,
    /// Common names that are believed (`--requestheader-allowed-names`); empty: any, which is refused where an authority of
    /// users is one of proxies too.
    pub allowed_names: Vec<String>,
}

/// ServiceAccount tokens.
#[derive(Debug, Clone)]
pub struct ServiceAccountSettings {
    /// Who issues (`--service-account-issuer`, `--api-audiences`).
    pub issuer: Issuer,
    /// What tokens are signed with (`--service-account-signing-key-file`).
    pub signing_key: SigningKeySource,
    /// Further keys whose tokens are believed, PEM (`--service-account-key-file`).
    pub key_files: Vec<PathBuf>,
}

/// Where the key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SigningKeySource {
    /// A file, PEM.
    File(PathBuf),
    /// Made now, and gone with this process: every token is then too.
    Ephemeral,
    /// Nowhere: tokens are verified and not issued.
    Nowhere,
}

/// A TokenReview webhook.
#[derive(Debug, Clone)]
pub struct TokenReviewSettings {
    /// Where it is (`--authentication-token-webhook-config-file`).
    pub kubeconfig: PathBuf,
    /// Whom tokens must be for; empty: anybody.
    pub audiences: Vec<String>,
    /// How long its answers are good.
    pub cache: SignedDuration,
}

/// What the authenticators need of the rest.
pub struct Parts<'a> {
    /// The directory, and how its users are called.
    pub directory: Option<(Arc<Directory>, Usernames)>,
    /// What ServiceAccount tokens are bound to.
    pub objects: Arc<dyn Objects>,
    /// Where the expiry of authorities is published.
    pub metrics: &'a Metrics,
    /// The runtime that looks after files.
    pub runtime: &'a Handle,
}

/// Why the stage cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// An authority.
    #[error("authentication: {0}")]
    Authority(#[from] LoadError),
    /// The token file.
    #[error("authentication: {0}")]
    TokenFile(#[from] TokenFileError),
    /// A key of ServiceAccount tokens.
    #[error("authentication: ServiceAccount keys: {0}")]
    Key(#[from] KeyError),
    /// The webhook's kubeconfig.
    #[error("authentication: TokenReview webhook: {0}")]
    Kubeconfig(#[from] KubeconfigError),
    /// HTTP basic without a directory that could judge a password.
    #[error("authentication: HTTP basic needs an LDAP directory")]
    NoDirectory,
    /// An issuer without an audience would take no token, or any.
    #[error("authentication: the issuer of ServiceAccount tokens needs a URL and an audience")]
    Issuer,
    /// Every user could say in headers that they are somebody else.
    #[error(
        "authentication: users and proxies have an authority in common: say by `allowedNames` who is a proxy"
    )]
    UsersAreProxies,
    /// The system has no randomness.
    #[error("authentication: no randomness: {0}")]
    Randomness(getrandom::Error),
}

impl Authenticators {
    /// Reads all files and makes the authenticators. Files are looked at again for as long as they live, but for
    /// the keys of ServiceAccount tokens and the kubeconfig itself.
    ///
    /// # Errors
    /// Where something cannot be read or used: a stage with a hole is not made.
    pub fn new(settings: Settings, parts: Parts<'_>) -> Result<Self, SetupError> {
        let Settings {
            client_ca_file,
            request_header,
            token_file,
            service_accounts,
            token_review,
            basic,
            anonymous,
            source_address_key,
        } = settings;
        let Parts { directory, objects, metrics, runtime } = parts;
        let mut this = Self { anonymous, ..Self::default() };
        if let Some(key) = source_address_key {
            this.source_address_key = key.to_ascii_lowercase();
        }
        if let Some(path) = client_ca_file {
            let authorities = this.authorities("frontend-client-ca", path, metrics, runtime)?;
            this.client_certificates = Some(ClientCertificates::new(authorities));
        }
        if let Some(RequestHeaderSettings { ca_file, allowed_names }) = request_header {
            let authorities = this.authorities("frontend-proxy-ca", ca_file, metrics, runtime)?;
            this.request_header = Some(RequestHeader::new(authorities, allowed_names));
        }
        if let (Some(users), Some(proxies)) = (&this.client_certificates, &this.request_header)
            && proxies.believes_all_of(users.authorities())
        {
            return Err(SetupError::UsersAreProxies);
        }
        if let Some(path) = token_file {
            let file = TokenFile::open(path)?;
            file.keep_fresh(runtime, token_file::WATCH_INTERVAL);
            this.token_file = Some(file);
        }
        this.service_accounts =
            service_accounts.map(|settings| settings.tokens(objects)).transpose()?.map(Arc::new);
        if let Some(TokenReviewSettings { kubeconfig, audiences, cache }) = token_review {
            let (endpoint, context) = Kubeconfig::read(&kubeconfig, "frontend-token-review")?;
            this.watchers.push(tls::watch(context, tls::WATCH_INTERVAL, runtime));
            let webhook = TokenReview::new(endpoint, audiences, cache).map_err(SetupError::Randomness)?;
            this.token_review = Some(webhook);
        }
        if basic {
            let (directory, usernames) = directory.ok_or(SetupError::NoDirectory)?;
            this.basic = Some(Basic::new(directory, usernames).map_err(SetupError::Randomness)?);
        }
        Ok(this)
    }

    fn authorities(
        &mut self,
        usage: &'static str,
        path: PathBuf,
        metrics: &Metrics,
        runtime: &Handle,
    ) -> Result<Arc<ClientAuthorities>, LoadError> {
        let authorities = ClientAuthorities::from_file(usage, path, Some(metrics))?;
        self.watchers.push(tls::watch(authorities.clone(), tls::WATCH_INTERVAL, runtime));
        Ok(authorities)
    }
}

impl ServiceAccountSettings {
    fn tokens(self, objects: Arc<dyn Objects>) -> Result<ServiceAccountTokens, SetupError> {
        let Self { issuer, signing_key, key_files } = self;
        if issuer.url.is_empty()
            || issuer.audiences.is_empty()
            || issuer.audiences.iter().any(String::is_empty)
        {
            return Err(SetupError::Issuer);
        }
        let signing = match signing_key {
            SigningKeySource::File(path) => Some(SigningKey::from_file(&path)?),
            SigningKeySource::Ephemeral => Some(SigningKey::generate()?),
            SigningKeySource::Nowhere => None,
        };
        let others: Result<Vec<VerifyingKey>, KeyError> =
            key_files.iter().map(|path| VerifyingKey::from_file(path)).collect();
        Ok(ServiceAccountTokens::new(issuer, signing, others?, objects))
    }
}
