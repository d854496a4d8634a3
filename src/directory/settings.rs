//! `directory.ldap`: what the configuration says of an LDAP directory, and its defaults.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::tls::{ClientSettings, MinVersion};
pub(super) use check::{Security, Server, error, word};
pub use check::{SettingsError, SettingsProblem};

mod check;

/// `directory.ldap`. Checked by [`check`](Self::check), which `Directory::new` calls; that `timeouts.total` stays below
/// `server.deadline` is the configuration's to check, since only it knows both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The servers, `ldaps://host[:port]` or `ldap://host[:port]`, the preferred one first. All of them have the same
    /// content.
    pub urls: Vec<String>,
    /// Instead of `urls`: a domain whose SRV records (RFC 2782) name the servers.
    pub srv: Option<String>,
    /// Who is asked for SRV records; empty: whoever the system asks. For tests: no key of the configuration.
    pub nameservers: Vec<SocketAddr>,
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
    /// How changes are learnt.
    pub change_feed: ChangeFeed,
    /// How often the directory is asked for changes, where it does not push them. Default: 2 s.
    pub poll_interval: Duration,
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
        /// The DN of the service's own entry; for Active Directory also `user@domain` or `DOMAIN\user`.
        dn: String,
        /// The file with its password; read for each connection, one line end at its end is not part of it.
        password_file: PathBuf,
    },
    /// Nobody in particular: no bind is sent. For the embedded directory, and for others only if they let everybody read.
    Anonymous,
    /// `sasl: external`: by the client certificate (RFC 4422, appendix A).
    External,
}

/// `directory.ldap.flavour`: what kind of directory it is. A server that says to be another cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flavour {
    /// What the server says; if that is not Active Directory, all that a portable directory may have: `member`,
    /// `uniqueMember`, `memberUid`, and the primary `gidNumber`.
    #[default]
    Auto,
    /// All that a portable directory may have.
    OpenLdap,
    /// `memberUid` and the primary `gidNumber` (RFC 2307); groups do not nest.
    Rfc2307,
    /// `member`, `uniqueMember` and the primary `gidNumber`.
    Rfc2307bis,
    /// Active Directory, or Samba in its place.
    ActiveDirectory,
}

/// `directory.ldap.userSearch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserSearch {
    /// Below which entry users are.
    pub base: String,
    /// The filter; `{username}` is the whole value of an equality. `None`, the default: `(uid={username})`, and of Active
    /// Directory by all of its logon names.
    pub filter: Option<String>,
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
    /// The attribute with a group's name. `None`, the default: `cn`, and of Active Directory `sAMAccountName`.
    pub name: Option<String>,
}

/// `directory.ldap.groupSearch.strategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// The best that the directory has.
    #[default]
    Auto,
    /// Search upward by membership, level by level.
    Search,
    /// Read `memberOf`, where the directory maintains it.
    MemberOf,
    /// Read `tokenGroups` (MS-ADTS 3.1.1.4.5.19). Only Active Directory has it.
    TokenGroups,
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
    /// The best that the directory has: `SyncRepl`; `DirSync`, asked as soon as a notification comes; `Poll`.
    #[default]
    Auto,
    /// None.
    Off,
    /// OpenLDAP pushes changes (RFC 4533), where its overlay `syncprov` is there.
    SyncRepl,
    /// Active Directory is asked for changes (MS-ADTS 3.1.1.3.4.1.3).
    DirSync,
    /// Active Directory notifies of changes (MS-ADTS 3.1.1.3.4.1.9), and is then asked what changed by `uSNChanged`.
    Notify,
    /// The directory is asked what changed, by `uSNChanged` of Active Directory, by `modifyTimestamp` of others.
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

impl Settings {
    /// Settings with every default, for a directory with these servers, whose users and groups are below `base`.
    #[must_use]
    pub fn new(urls: Vec<String>, bind: Bind, base: &str) -> Self {
        Self {
            urls,
            srv: None,
            nameservers: Vec::new(),
            tls: TlsSettings::default(),
            bind,
            flavour: Flavour::default(),
            user_search: UserSearch::new(base),
            group_search: GroupSearch::new(base),
            attributes: BTreeMap::new(),
            change_feed: ChangeFeed::default(),
            poll_interval: Duration::from_secs(2),
            timeouts: Timeouts::default(),
            pool: PoolSettings::default(),
        }
    }
}

impl UserSearch {
    /// The defaults, for users below `base`.
    #[must_use]
    pub fn new(base: &str) -> Self {
        Self { base: base.to_owned(), filter: None, match_rule: MatchRule::default() }
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
            name: None,
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
    pub const WORDS: [(&'static str, Self); 4] = [
        ("auto", Self::Auto),
        ("search", Self::Search),
        ("memberOf", Self::MemberOf),
        ("tokenGroups", Self::TokenGroups),
    ];
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
