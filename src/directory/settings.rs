//! `directory.ldap`: what the configuration says of an LDAP directory, and what it may say.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::filter::{Template, TemplateError};
use crate::model::Dn;
use crate::tls::{ClientSettings, MinVersion};

/// `directory.ldap`. Checked by [`check`](Self::check), which `Directory::new` calls; that `timeouts.total` stays below
/// `server.deadline` is the configuration's to check, since only it knows both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The servers, `ldaps://host[:port]` or `ldap://host[:port]`, the preferred one first. All of them have the same
    /// content.
    pub urls: Vec<String>,
    /// A domain whose `_ldap._tcp` records name the servers. Not available in this version.
    pub srv: Option<String>,
    /// Transport security.
    pub tls: TlsSettings,
    /// Who we are to the directory.
    pub bind: Bind,
    /// What kind of directory it is.
    pub flavour: Flavour,
    /// How a user's entry is found.
    pub user_search: UserSearch,
    /// How a user's groups are found.
    pub group_search: GroupSearch,
    /// The attributes that policies may use, by the name that policies use.
    pub attributes: BTreeMap<String, Attribute>,
    /// How changes are learnt. Not available in this version.
    pub change_feed: ChangeFeed,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// The connections to each server.
    pub pool: PoolSettings,
}

/// `directory.ldap.tls`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsSettings {
    /// The files, and the name that a server's certificate must have where that is not the URL's host.
    pub files: ClientSettings,
    /// Begin TLS by the StartTLS operation (RFC 4511, 4.14) on `ldap://` connections. Default: false.
    pub start_tls: bool,
    /// Allow `ldap://` without StartTLS: the password and all answers cross the network in the clear. Default: false.
    pub insecure_plaintext: bool,
}

/// `directory.ldap.bind`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    /// A simple bind (RFC 4513, 5.1.3) over the protected connection.
    Simple {
        /// The DN of the service's own entry.
        dn: String,
        /// The file with its password; read for each connection, one line end at its end is not part of it.
        password_file: PathBuf,
    },
    /// Nobody in particular: no bind is sent. For the embedded directory, and for others only if they let everybody read.
    Anonymous,
    /// `sasl: external`: by the client certificate. Not available in this version.
    External,
}

/// `directory.ldap.flavour`: which membership attributes are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flavour {
    /// All that a portable directory may have: `member`, `uniqueMember`, `memberUid`, and the primary `gidNumber`.
    #[default]
    Auto,
    /// As `Auto`.
    OpenLdap,
    /// `memberUid` and the primary `gidNumber` (RFC 2307); groups do not nest.
    Rfc2307,
    /// `member`, `uniqueMember` and the primary `gidNumber`.
    Rfc2307bis,
    /// Active Directory. Not available in this version.
    ActiveDirectory,
}

/// `directory.ldap.userSearch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserSearch {
    /// Below which entry users are.
    pub base: String,
    /// The filter; `{username}` is the whole value of an equality. Default: `(uid={username})`.
    pub filter: String,
    /// How the name on the entry must compare with the one that was asked for. Default: exactly.
    pub match_rule: MatchRule,
}

/// How the name on an entry must compare with the one that was asked for. Directories compare loosely (case, spaces,
/// width), the API server takes different texts for different users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MatchRule {
    /// Byte for byte.
    #[default]
    Exact,
    /// But for the case of the letters A to Z.
    AsciiCaseFold,
}

/// `directory.ldap.groupSearch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSearch {
    /// Below which entry groups are.
    pub base: String,
    /// How groups are found. Default: automatic.
    pub strategy: Strategy,
    /// Whether the groups of groups count. Default: true.
    pub nested: bool,
    /// How many levels of groups are followed; the person's own groups are the first. Default: 16.
    pub max_depth: usize,
    /// How many groups are followed. Default: 5000.
    pub max_groups: usize,
    /// The attribute with a group's name. Default: `cn`.
    pub name: String,
}

/// `directory.ldap.groupSearch.strategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// The best that the directory has; in this version always `Search`.
    #[default]
    Auto,
    /// Search upward by membership, level by level.
    Search,
}

/// One of `directory.ldap.attributes`. The type that policies see is a matter of the vocabulary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// The attribute of the person's entry.
    pub from: String,
}

/// `directory.ldap.changeFeed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChangeFeed {
    /// The best that the directory has; in this version none.
    #[default]
    Auto,
    /// None.
    Off,
    /// RFC 4533. Not available in this version.
    SyncRepl,
    /// MS-ADTS 3.1.1.3.4.1.3. Not available in this version.
    DirSync,
    /// MS-ADTS 3.1.1.3.4.1.9. Not available in this version.
    Notify,
    /// Asking again and again. Not available in this version.
    Poll,
}

/// `directory.ldap.timeouts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For TCP, StartTLS and TLS, all addresses of a server together. Default: 300 ms.
    pub connect: Duration,
    /// For one LDAP operation. Default: 500 ms.
    pub operation: Duration,
    /// For all that one lookup needs. Default: 1500 ms.
    pub total: Duration,
}

/// `directory.ldap.pool`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSettings {
    /// Connections to a server. Default: 2.
    pub connections: usize,
    /// Operations at once on a connection. Default: 64: OpenLDAP ends a connection with more than 1000 pending ones,
    /// 100 where it is anonymous.
    pub in_flight: usize,
    /// How old a connection becomes, give or take a tenth. Default: 15 min, below what idle limits of servers and load
    /// balancers commonly are.
    pub max_age: Duration,
}

/// Why the settings of a directory cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("directory.ldap.{field}: {problem}")]
pub struct SettingsError {
    /// Which setting, below `directory.ldap`.
    pub field: String,
    /// What is wrong with it.
    pub problem: SettingsProblem,
}

/// What is wrong with a setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsProblem {
    /// Needed, and not there.
    #[error("is required")]
    Missing,
    /// Known to the design, not to this version.
    #[error("{0} is not available in this version")]
    NotAvailable(&'static str),
    /// No URL of a directory server.
    #[error("`{0}` is not a URL of the form ldaps://host[:port] or ldap://host[:port]")]
    Url(String),
    /// No TLS.
    #[error("`{0}` is not protected: use ldaps://, or tls.startTLS, or say tls.insecurePlaintext: true")]
    Plaintext(String),
    /// StartTLS on a connection that is TLS already.
    #[error("`{0}` is TLS from its first byte, so that tls.startTLS has no meaning for it")]
    StartTlsOverTls(String),
    /// No DN.
    #[error("is not a distinguished name: {0}")]
    Dn(String),
    /// The user filter.
    #[error("{0}")]
    Filter(TemplateError),
    /// No name of an attribute.
    #[error("`{0}` is not the name of an attribute")]
    Attribute(String),
    /// An attribute that holds a secret.
    #[error("`{0}` holds a secret and is never read")]
    Secret(String),
    /// A number or time out of its bounds.
    #[error("must be {0}")]
    Bounds(&'static str),
    /// A file that cannot be used.
    #[error("{0}")]
    File(String),
}

/// Where a directory server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    /// As configured: the metrics' label.
    pub(super) label: Arc<str>,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) security: Security,
}

/// How a connection becomes a protected one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Security {
    /// TLS from the first byte.
    Tls,
    /// TLS after the StartTLS operation.
    StartTls,
    /// None, and `insecurePlaintext` says so.
    Plaintext,
}

/// What [`Settings::check`] makes of settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checked {
    pub(super) servers: Vec<Server>,
    pub(super) user_filter: Template,
}

/// Attributes that hold secrets: never asked for, whatever the configuration says.
const SECRETS: [&str; 10] = [
    "userpassword",
    "unicodepwd",
    "ms-mcs-admpwd",
    "mslaps-password",
    "mslaps-encryptedpassword",
    "msds-managedpassword",
    "sambantpassword",
    "sambalmpassword",
    "krbprincipalkey",
    "ipanthash",
];

impl Settings {
    /// Settings with every default, for a directory with these servers, whose users and groups are below `base`.
    #[must_use]
    pub fn new(urls: Vec<String>, bind: Bind, base: &str) -> Self {
        Self {
            urls,
            srv: None,
            tls: TlsSettings::default(),
            bind,
            flavour: Flavour::default(),
            user_search: UserSearch::new(base),
            group_search: GroupSearch::new(base),
            attributes: BTreeMap::new(),
            change_feed: ChangeFeed::default(),
            timeouts: Timeouts::default(),
            pool: PoolSettings::default(),
        }
    }

    /// Checks everything that can be checked without a file or a server.
    ///
    /// # Errors
    /// The first setting that cannot be used, and why.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.checked().map(drop)
    }

    pub(super) fn checked(&self) -> Result<Checked, SettingsError> {
        self.check_availability()?;
        if self.urls.is_empty() {
            return Err(error("urls", SettingsProblem::Missing));
        }
        let servers = self.urls.iter().map(|url| self.server(url)).collect::<Result<_, _>>()?;
        self.check_bind()?;
        check_dn("userSearch.base", &self.user_search.base)?;
        check_dn("groupSearch.base", &self.group_search.base)?;
        check_attribute("groupSearch.name", &self.group_search.name)?;
        for (name, attribute) in &self.attributes {
            check_attribute(&format!("attributes.{name}.from"), &attribute.from)?;
        }
        self.check_bounds()?;
        let user_filter = Template::parse(&self.user_search.filter)
            .map_err(|problem| error("userSearch.filter", SettingsProblem::Filter(problem)))?;
        for attribute in user_filter.attributes() {
            check_attribute("userSearch.filter", attribute)?;
        }
        Ok(Checked { servers, user_filter })
    }

    fn check_availability(&self) -> Result<(), SettingsError> {
        let feed = match self.change_feed {
            ChangeFeed::Auto | ChangeFeed::Off => None,
            ChangeFeed::SyncRepl => Some("`syncrepl`"),
            ChangeFeed::DirSync => Some("`dirsync`"),
            ChangeFeed::Notify => Some("`notify`"),
            ChangeFeed::Poll => Some("`poll`"),
        };
        if let Some(feed) = feed {
            return Err(error("changeFeed", SettingsProblem::NotAvailable(feed)));
        }
        if self.srv.is_some() {
            return Err(error("srv", SettingsProblem::NotAvailable("finding servers by SRV records")));
        }
        if self.flavour == Flavour::ActiveDirectory {
            return Err(error("flavour", SettingsProblem::NotAvailable("`activeDirectory`")));
        }
        Ok(())
    }

    fn check_bind(&self) -> Result<(), SettingsError> {
        match &self.bind {
            Bind::Anonymous => Ok(()),
            Bind::External => Err(error("bind.sasl", SettingsProblem::NotAvailable("`external`"))),
            Bind::Simple { dn, .. } if dn.is_empty() => Err(error("bind.dn", SettingsProblem::Missing)),
            Bind::Simple { password_file, .. } if password_file.as_os_str().is_empty() => {
                Err(error("bind.passwordFile", SettingsProblem::Missing))
            }
            Bind::Simple { dn, .. } => check_dn("bind.dn", dn),
        }
    }

    fn check_bounds(&self) -> Result<(), SettingsError> {
        let Timeouts { connect, operation, total } = self.timeouts;
        let PoolSettings { connections, in_flight, max_age } = self.pool;
        let GroupSearch { max_depth, max_groups, .. } = self.group_search;
        for (field, holds, bounds) in [
            (
                "timeouts.connect",
                !connect.is_zero() && connect <= total,
                "more than 0 and at most timeouts.total",
            ),
            (
                "timeouts.operation",
                !operation.is_zero() && operation <= total,
                "more than 0 and at most timeouts.total",
            ),
            ("timeouts.total", total <= Duration::from_secs(30), "at most 30s"),
            ("pool.connections", (1..=64).contains(&connections), "between 1 and 64"),
            ("pool.inFlight", (1..=1000).contains(&in_flight), "between 1 and 1000"),
            ("pool.maxAge", max_age >= Duration::from_secs(10), "at least 10s"),
            ("groupSearch.maxDepth", (1..=64).contains(&max_depth), "between 1 and 64"),
            ("groupSearch.maxGroups", (1..=100_000).contains(&max_groups), "between 1 and 100000"),
        ] {
            if !holds {
                return Err(error(field, SettingsProblem::Bounds(bounds)));
            }
        }
        Ok(())
    }

    fn server(&self, url: &str) -> Result<Server, SettingsError> {
        let wrong = || error("urls", SettingsProblem::Url(without_credentials(url)));
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "ldaps" => true,
            "ldap" => false,
            _ => return Err(wrong()),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = split_authority(authority).ok_or_else(wrong)?;
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?,
            None if is_tls => 636,
            None => 389,
        };
        let security = match (is_tls, self.tls.start_tls, self.tls.insecure_plaintext) {
            (true, false, _) => Security::Tls,
            (true, true, _) => return Err(error("urls", SettingsProblem::StartTlsOverTls(url.to_owned()))),
            (false, true, _) => Security::StartTls,
            (false, false, true) => Security::Plaintext,
            (false, false, false) => return Err(error("urls", SettingsProblem::Plaintext(url.to_owned()))),
        };
        Ok(Server { label: url.into(), host: host.to_owned(), port, security })
    }
}

/// Host and port of `host`, `host:port`, `[v6]` or `[v6]:port`; `None` where there is anything else.
fn split_authority(authority: &str) -> Option<(&str, Option<&str>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    (!host.is_empty() && host.chars().all(is_host)).then_some((host, port))
}

/// A URL that is shown in an error must not show the password that somebody put into it.
fn without_credentials(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(start), Some(end)) if start < end => {
            let (scheme, host) = (url.get(..start + 3), url.get(end..));
            format!("{}...{}", scheme.unwrap_or_default(), host.unwrap_or_default())
        }
        _ => url.to_owned(),
    }
}

fn check_dn(field: &str, text: &str) -> Result<(), SettingsError> {
    match Dn::parse(text) {
        Ok(_) => Ok(()),
        Err(problem) => Err(error(field, SettingsProblem::Dn(problem.to_string()))),
    }
}

/// An attribute's name (RFC 4512, 1.4: `keystring`), and not that of a secret.
fn check_attribute(field: &str, name: &str) -> Result<(), SettingsError> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic());
    if !starts_well || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(error(field, SettingsProblem::Attribute(name.to_owned())));
    }
    if SECRETS.contains(&name.to_ascii_lowercase().as_str()) {
        return Err(error(field, SettingsProblem::Secret(name.to_owned())));
    }
    Ok(())
}

pub(super) fn error(field: &str, problem: SettingsProblem) -> SettingsError {
    SettingsError { field: field.to_owned(), problem }
}

impl UserSearch {
    /// The defaults, for users below `base`.
    #[must_use]
    pub fn new(base: &str) -> Self {
        Self {
            base: base.to_owned(),
            filter: "(uid={username})".to_owned(),
            match_rule: MatchRule::default(),
        }
    }
}

impl GroupSearch {
    /// The defaults, for groups below `base`.
    #[must_use]
    pub fn new(base: &str) -> Self {
        Self {
            base: base.to_owned(),
            strategy: Strategy::default(),
            nested: true,
            max_depth: 16,
            max_groups: 5000,
            name: "cn".to_owned(),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_millis(300),
            operation: Duration::from_millis(500),
            total: Duration::from_millis(1500),
        }
    }
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self { connections: 2, in_flight: 64, max_age: Duration::from_secs(15 * 60) }
    }
}

impl MatchRule {
    /// The words of the configuration.
    pub const WORDS: [(&'static str, Self); 2] =
        [("exact", Self::Exact), ("asciiCaseFold", Self::AsciiCaseFold)];

    /// Whether the name on the entry is the one that was asked for.
    #[must_use]
    pub fn matches(self, on_entry: &str, asked: &str) -> bool {
        match self {
            Self::Exact => on_entry == asked,
            Self::AsciiCaseFold => on_entry.eq_ignore_ascii_case(asked),
        }
    }
}

impl Flavour {
    /// The words of the configuration.
    pub const WORDS: [(&'static str, Self); 5] = [
        ("auto", Self::Auto),
        ("openldap", Self::OpenLdap),
        ("rfc2307", Self::Rfc2307),
        ("rfc2307bis", Self::Rfc2307bis),
        ("activeDirectory", Self::ActiveDirectory),
    ];
}

impl Strategy {
    /// The words of the configuration.
    pub const WORDS: [(&'static str, Self); 2] = [("auto", Self::Auto), ("search", Self::Search)];
}

impl ChangeFeed {
    /// The words of the configuration.
    pub const WORDS: [(&'static str, Self); 6] = [
        ("auto", Self::Auto),
        ("off", Self::Off),
        ("syncrepl", Self::SyncRepl),
        ("dirsync", Self::DirSync),
        ("notify", Self::Notify),
        ("poll", Self::Poll),
    ];
}

impl TlsSettings {
    /// Settings that trust the authority in this file.
    #[must_use]
    pub fn trusting(ca_file: PathBuf) -> Self {
        let files =
            ClientSettings { ca_file: Some(ca_file), min_version: MinVersion::Tls12, ..Default::default() };
        Self { files, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut Settings);

    fn settings(url: &str) -> Settings {
        let bind = Bind::Simple { dn: "cn=svc,dc=x".to_owned(), password_file: "password".into() };
        Settings::new(vec![url.to_owned()], bind, "dc=x")
    }

    fn problem(settings: &Settings) -> (String, SettingsProblem) {
        let error = settings.check().unwrap_err();
        (error.field, error.problem)
    }

    #[test]
    fn urls_say_where_a_server_is() {
        for (url, host, port) in [
            ("ldaps://dc1.example.com", "dc1.example.com", 636),
            ("LDAPS://dc1:1636/", "dc1", 1636),
            ("ldaps://[::1]", "::1", 636),
            ("ldaps://[::1]:700", "::1", 700),
        ] {
            let server = settings(url).checked().unwrap().servers.remove(0);
            assert_eq!((server.host.as_str(), server.port, &*server.label), (host, port, url));
        }
        for url in [
            "dc1",
            "http://dc1",
            "ldaps://",
            "ldaps:///",
            "ldaps://dc1:0",
            "ldaps://dc1:x",
            "ldaps://dc1/dc=x",
            "ldaps://::1",
            "ldaps://[::1",
            "ldaps://[x]",
            "ldaps://dc1?x",
            "ldaps://a b",
            "ldapi:///",
        ] {
            assert_eq!(
                problem(&settings(url)),
                ("urls".to_owned(), SettingsProblem::Url(url.to_owned())),
                "{url}"
            );
        }
    }

    #[test]
    fn credentials_in_a_url_are_refused_and_not_repeated() {
        let error = settings("ldaps://cn=svc:secret@dc1").check().unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn plaintext_must_be_asked_for() {
        let mut plain = settings("ldap://dc1");
        assert_eq!(problem(&plain).1, SettingsProblem::Plaintext("ldap://dc1".to_owned()));
        plain.tls.insecure_plaintext = true;
        assert_eq!(plain.checked().unwrap().servers[0].security, Security::Plaintext);
        plain.tls.start_tls = true;
        assert_eq!(plain.checked().unwrap().servers[0].security, Security::StartTls);
    }

    #[test]
    fn what_this_version_does_not_have_is_said() {
        let base = settings("ldaps://dc1");
        let cases: [(&str, Change); 4] = [
            ("flavour", |settings| settings.flavour = Flavour::ActiveDirectory),
            ("srv", |settings| settings.srv = Some("example.com".to_owned())),
            ("changeFeed", |settings| settings.change_feed = ChangeFeed::SyncRepl),
            ("bind.sasl", |settings| settings.bind = Bind::External),
        ];
        for (field, change) in cases {
            let mut settings = base.clone();
            change(&mut settings);
            let error = settings.check().unwrap_err();
            assert_eq!(error.field, field);
            assert!(error.to_string().ends_with("is not available in this version"), "{error}");
        }
    }

    #[test]
    fn settings_out_of_their_bounds_are_named() {
        let base = settings("ldaps://dc1");
        assert_eq!(base.check(), Ok(()));
        let cases: [(&str, Change); 8] = [
            ("bind.dn", |settings| {
                settings.bind = Bind::Simple { dn: "svc".to_owned(), password_file: "p".into() };
            }),
            ("userSearch.base", |settings| settings.user_search.base = "x".to_owned()),
            ("userSearch.filter", |settings| {
                settings.user_search.filter = "(userPassword={username})".to_owned()
            }),
            ("groupSearch.name", |settings| settings.group_search.name = "cn)(x".to_owned()),
            ("groupSearch.maxDepth", |settings| settings.group_search.max_depth = 0),
            ("timeouts.operation", |settings| settings.timeouts.operation = Duration::from_secs(2)),
            ("pool.connections", |settings| settings.pool.connections = 0),
            ("attributes.key.from", |settings| {
                settings.attributes.insert("key".to_owned(), Attribute { from: "unicodePwd".to_owned() });
            }),
        ];
        for (field, change) in cases {
            let mut settings = base.clone();
            change(&mut settings);
            assert_eq!(problem(&settings).0, field);
        }
    }
}
