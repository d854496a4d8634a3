//! What the settings of a directory may say.

use std::sync::Arc;
use std::time::Duration;

use super::super::filter::{Template, TemplateError};
use super::super::srv::{SHORTEST_LIFE, Srv, is_domain};
use super::{Bind, Flavour, GroupSearch, PoolSettings, Settings, Strategy, Timeouts};
use crate::model::Dn;

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
    /// No URL of a directory server.
    #[error("`{0}` is not a URL of the form ldaps://host[:port] or ldap://host[:port]")]
    Url(String),
    /// No name below which SRV records can be asked for.
    #[error("`{0}` is not the name of a domain")]
    Domain(String),
    /// Two ways to say which servers there are.
    #[error("does not go with `urls`: servers are named, or found")]
    SrvBesideUrls,
    /// No TLS.
    #[error("`{0}` is not protected: use ldaps://, or tls.startTLS, or say tls.insecurePlaintext: true")]
    Plaintext(String),
    /// StartTLS on a connection that is TLS already.
    #[error("`{0}` is TLS from its first byte, so that tls.startTLS has no meaning for it")]
    StartTlsOverTls(String),
    /// No DN.
    #[error("is not a distinguished name: {0}")]
    Dn(String),
    /// No name to bind with to Active Directory.
    #[error("`{0}` is neither a distinguished name, nor user@domain, nor DOMAIN\\user")]
    BindName(String),
    /// A bind by certificate without one.
    #[error("`external` needs tls.certFile and tls.keyFile: the certificate says who we are")]
    NoCertificate,
    /// A bind by certificate without TLS.
    #[error("`external` needs TLS on every connection, and `{0}` has none")]
    ExternalInTheClear(String),
    /// A strategy that the configured flavour cannot do.
    #[error("`tokenGroups` needs Active Directory, and `flavour` is `{0}`")]
    Strategy(&'static str),
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
    /// A file that is not there or cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// A file that cannot be used.
    #[error("{0}")]
    File(String),
}

/// Where a directory server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Server {
    /// As configured: the metrics' label.
    pub(in super::super) label: Arc<str>,
    pub(in super::super) host: String,
    pub(in super::super) port: u16,
    pub(in super::super) security: Security,
}

/// How a connection becomes a protected one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Security {
    /// TLS from the first byte.
    Tls,
    /// TLS after the StartTLS operation.
    StartTls,
    /// None, and `insecurePlaintext` says so.
    Plaintext,
}

/// What [`Settings::check`] makes of settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Checked {
    /// Empty where they are found by SRV records.
    pub(in super::super) servers: Vec<Server>,
    pub(in super::super) srv: Option<Srv>,
    /// `None` where it is left to the kind of directory.
    pub(in super::super) user_filter: Option<Template>,
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
    /// Checks everything that can be checked without a file or a server.
    ///
    /// # Errors
    /// The first setting that cannot be used, and why.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.checked().map(drop)
    }

    pub(in super::super) fn checked(&self) -> Result<Checked, SettingsError> {
        let srv = self.check_srv()?;
        if self.urls.is_empty() && srv.is_none() {
            return Err(error("urls", SettingsProblem::Missing));
        }
        let servers = self.urls.iter().map(|url| self.server(url)).collect::<Result<Vec<_>, _>>()?;
        self.check_bind(&servers, srv.as_ref())?;
        self.check_strategy()?;
        check_dn("userSearch.base", &self.user_search.base)?;
        check_dn("groupSearch.base", &self.group_search.base)?;
        if let Some(name) = &self.group_search.name {
            check_attribute("groupSearch.name", name)?;
        }
        for (name, attribute) in &self.attributes {
            check_attribute(&format!("attributes.{name}.from"), &attribute.from)?;
        }
        self.check_bounds()?;
        let user_filter = self.user_search.filter.as_deref().map(Template::parse).transpose();
        let user_filter =
            user_filter.map_err(|problem| error("userSearch.filter", SettingsProblem::Filter(problem)))?;
        for attribute in user_filter.iter().flat_map(Template::attributes) {
            check_attribute("userSearch.filter", attribute)?;
        }
        Ok(Checked { servers, srv, user_filter })
    }

    fn check_srv(&self) -> Result<Option<Srv>, SettingsError> {
        let Some(domain) = &self.srv else { return Ok(None) };
        if !self.urls.is_empty() {
            return Err(error("srv", SettingsProblem::SrvBesideUrls));
        }
        let domain = domain.strip_suffix('.').unwrap_or(domain);
        if !is_domain(domain) {
            return Err(error("srv", SettingsProblem::Domain(domain.to_owned())));
        }
        let security = match (self.tls.start_tls, self.tls.insecure_plaintext) {
            (true, _) => Security::StartTls,
            (false, true) => Security::Plaintext,
            (false, false) => Security::Tls,
        };
        Ok(Some(Srv {
            domain: domain.to_ascii_lowercase(),
            security,
            has_server_name: self.tls.files.server_name.is_some() && security != Security::Plaintext,
            nameservers: self.nameservers.clone(),
            shortest_life: SHORTEST_LIFE,
        }))
    }

    fn check_bind(&self, servers: &[Server], srv: Option<&Srv>) -> Result<(), SettingsError> {
        let in_the_clear = |security| security == Security::Plaintext;
        let clear = servers
            .iter()
            .find(|server| in_the_clear(server.security))
            .map(|server| server.label.to_string())
            .or(srv.filter(|srv| in_the_clear(srv.security)).map(|srv| srv.domain.clone()));
        let files = &self.tls.files;
        match &self.bind {
            Bind::Anonymous => Ok(()),
            Bind::External if files.cert_file.is_none() || files.key_file.is_none() => {
                Err(error("bind.sasl", SettingsProblem::NoCertificate))
            }
            Bind::External => match clear {
                Some(clear) => Err(error("bind.sasl", SettingsProblem::ExternalInTheClear(clear))),
                None => Ok(()),
            },
            Bind::Simple { dn, .. } if dn.is_empty() => Err(error("bind.dn", SettingsProblem::Missing)),
            Bind::Simple { password_file, .. } if password_file.as_os_str().is_empty() => {
                Err(error("bind.passwordFile", SettingsProblem::Missing))
            }
            Bind::Simple { dn, .. } => match self.flavour {
                Flavour::ActiveDirectory | Flavour::Auto if is_windows_name(dn) => Ok(()),
                Flavour::ActiveDirectory if Dn::parse(dn).is_err() => {
                    Err(error("bind.dn", SettingsProblem::BindName(dn.clone())))
                }
                _ => check_dn("bind.dn", dn),
            },
        }
    }

    fn check_strategy(&self) -> Result<(), SettingsError> {
        match (self.group_search.strategy, self.flavour) {
            (Strategy::TokenGroups, Flavour::OpenLdap | Flavour::Rfc2307 | Flavour::Rfc2307bis) => {
                let flavour = word(self.flavour, &Flavour::WORDS);
                Err(error("groupSearch.strategy", SettingsProblem::Strategy(flavour)))
            }
            _ => Ok(()),
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
            (
                "pollInterval",
                (Duration::from_millis(100)..=Duration::from_secs(300)).contains(&self.poll_interval),
                "between 100ms and 5m",
            ),
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

/// The configuration's word for a value.
pub(in super::super) fn word<T: PartialEq + Copy>(value: T, words: &[(&'static str, T)]) -> &'static str {
    words.iter().find(|(_, known)| *known == value).map_or("", |(word, _)| word)
}

/// Whether this is a name by which Active Directory knows an account in a bind, beside its DN: `user@domain` or
/// `DOMAIN\user` (MS-ADTS 5.1.1.1.1).
fn is_windows_name(name: &str) -> bool {
    let is_part =
        |part: &str| !part.is_empty() && !part.contains(['\\', '@', '=', ',']) && part.trim() == part;
    let parts = name.split_once('\\').or_else(|| name.rsplit_once('@'));
    parts.is_some_and(|(first, second)| is_part(first) && is_part(second))
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

pub(in super::super) fn error(field: &str, problem: SettingsProblem) -> SettingsError {
    SettingsError { field: field.to_owned(), problem }
}

#[cfg(test)]
mod tests {
    use super::super::Attribute;
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
    fn servers_are_named_or_found() {
        let mut settings = settings("ldaps://dc1");
        settings.srv = Some("Example.COM.".to_owned());
        assert_eq!(problem(&settings), ("srv".to_owned(), SettingsProblem::SrvBesideUrls));
        settings.urls.clear();
        let srv = settings.checked().unwrap().srv.unwrap();
        assert_eq!(
            (srv.domain.as_str(), srv.security, srv.has_server_name),
            ("example.com", Security::Tls, false)
        );
        settings.tls.files.server_name = Some("ldap.example.com".to_owned());
        settings.tls.start_tls = true;
        let srv = settings.checked().unwrap().srv.unwrap();
        assert_eq!((srv.security, srv.has_server_name), (Security::StartTls, true));
        (settings.tls.start_tls, settings.tls.insecure_plaintext) = (false, true);
        let srv = settings.checked().unwrap().srv.unwrap();
        assert_eq!(
            (srv.security, srv.has_server_name),
            (Security::Plaintext, false),
            "no certificate, no name"
        );
        for wrong in ["", ".", "a b", "ldaps://dc1", "10.0.0.1", "x._tcp", &"a.".repeat(130)] {
            settings.srv = Some(wrong.to_owned());
            assert!(matches!(problem(&settings).1, SettingsProblem::Domain(_)), "{wrong}");
        }
    }

    #[test]
    fn a_bind_by_certificate_needs_one_and_tls() {
        let mut settings = settings("ldaps://dc1");
        settings.bind = Bind::External;
        assert_eq!(problem(&settings), ("bind.sasl".to_owned(), SettingsProblem::NoCertificate));
        settings.tls.files.cert_file = Some("svc.pem".into());
        assert_eq!(problem(&settings).1, SettingsProblem::NoCertificate);
        settings.tls.files.key_file = Some("svc.key".into());
        assert_eq!(settings.check(), Ok(()));
        settings.urls.push("ldap://dc2".to_owned());
        settings.tls.insecure_plaintext = true;
        assert_eq!(problem(&settings).1, SettingsProblem::ExternalInTheClear("ldap://dc2".to_owned()));
        settings.urls.remove(0);
        settings.tls.start_tls = true;
        assert_eq!(settings.check(), Ok(()));
    }

    #[test]
    fn active_directory_knows_accounts_by_other_names_too() {
        let mut settings = settings("ldaps://dc1");
        for (name, flavour, is_fine) in [
            ("svc@corp.example.com", Flavour::ActiveDirectory, true),
            ("CORP\\svc", Flavour::ActiveDirectory, true),
            ("cn=svc,dc=x", Flavour::ActiveDirectory, true),
            ("svc@corp.example.com", Flavour::Auto, true),
            ("CORP\\svc", Flavour::Auto, true),
            ("svc", Flavour::ActiveDirectory, false),
            ("svc@", Flavour::ActiveDirectory, false),
            ("\\svc", Flavour::ActiveDirectory, false),
            ("A\\B\\c", Flavour::ActiveDirectory, false),
            ("svc", Flavour::Auto, false),
            ("svc@corp.example.com", Flavour::OpenLdap, false),
            ("CORP\\svc", Flavour::Rfc2307bis, false),
        ] {
            settings.bind = Bind::Simple { dn: name.to_owned(), password_file: "p".into() };
            settings.flavour = flavour;
            assert_eq!(settings.check().is_ok(), is_fine, "{name} {flavour:?}");
        }
    }

    #[test]
    fn a_strategy_that_the_flavour_cannot_do_is_refused() {
        let mut settings = settings("ldaps://dc1");
        settings.group_search.strategy = Strategy::TokenGroups;
        for (flavour, is_fine) in
            [(Flavour::Auto, true), (Flavour::ActiveDirectory, true), (Flavour::OpenLdap, false)]
        {
            settings.flavour = flavour;
            assert_eq!(settings.check().is_ok(), is_fine, "{flavour:?}");
        }
        assert_eq!(
            problem(&settings),
            ("groupSearch.strategy".to_owned(), SettingsProblem::Strategy("openldap"))
        );
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
                settings.user_search.filter = Some("(userPassword={username})".to_owned())
            }),
            ("groupSearch.name", |settings| settings.group_search.name = Some("cn)(x".to_owned())),
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
