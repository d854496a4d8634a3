//! How a server behaves, and what it says of itself.

use super::content::Kind;
use super::controls::supported;
use super::reply::Outcome;
use super::view::View;
use crate::directory::embedded::tree::{Held, Node};
use crate::model::Dn;

/// The behaviour of one server. A test changes what it wants by [`Persona::set`](super::Persona::set).
#[derive(Debug, Clone)]
pub struct Manner {
    /// The one password that is accepted; `None` accepts every bind that has one.
    pub password: Option<String>,
    /// What every bind is answered instead.
    pub refuses_binds: Option<Outcome>,
    /// Whether a bind is answered; it is judged and counted all the same.
    pub answers_binds: bool,
    /// Whether who has not bound may search below the root DSE.
    pub anonymous_search: bool,
    /// Whether the limit of a request is overlooked, as Samba does.
    pub ignores_size_limits: bool,
    /// The most entries of one search, whatever the client asks. Paging does not lift it.
    pub size_limit: Option<usize>,
    /// The most entries of one page, and of a search without pages (MS-ADTS 3.1.1.3.4.6).
    pub max_page_size: Option<usize>,
    /// The most values of an attribute at once; of more, a range comes.
    pub max_val_range: Option<usize>,
    /// Whether a connection knows one paged search, so that a second one ends the first.
    pub one_paged_search: bool,
    /// How the cookies of pages are made.
    pub page_cookies: PageCookies,
    /// Whether `tokenGroups` is hidden.
    pub hides_token_groups: bool,
    /// Whether a cookie from before the session log is refused (result 4096), instead of everything being sent.
    pub refuses_stale_cookies: bool,
    /// Whether binders may replicate directory changes.
    pub may_replicate: bool,
    /// Whether binders see what is left of deleted objects.
    pub sees_deleted: bool,
    /// How many entries one answer to DirSync has at most.
    pub dir_sync_batch: usize,
    /// How many notifications a connection may wait for (MaxNotificationPerConn).
    pub max_notifications: usize,
    /// What one more is answered: Windows is said to be busy, Samba answers 11.
    pub refuses_notifications: Outcome,
    /// A connection with more requests that are not answered is closed.
    pub max_pending: Option<usize>,
    /// Whether a subtree search from the domain's root ends with references to other naming contexts.
    pub gives_references: bool,
    /// Attributes of the root DSE that replace its own; without values, that are missing.
    pub root: Vec<(String, Vec<String>)>,
}

/// How the cookies of pages are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageCookies {
    /// Each page has one of its own.
    New,
    /// All pages of a search have the same, as Samba's.
    One,
    /// The same, and the first page comes for ever.
    Endless,
}

impl Manner {
    pub(super) fn of(kind: Kind) -> Self {
        let is_active_directory = kind == Kind::ActiveDirectory;
        Self {
            password: None,
            refuses_binds: None,
            answers_binds: true,
            anonymous_search: !is_active_directory,
            ignores_size_limits: false,
            size_limit: None,
            max_page_size: is_active_directory.then_some(1000),
            max_val_range: is_active_directory.then_some(1500),
            one_paged_search: kind == Kind::OpenLdap,
            page_cookies: PageCookies::New,
            hides_token_groups: false,
            refuses_stale_cookies: false,
            may_replicate: false,
            sees_deleted: false,
            dir_sync_batch: 1000,
            max_notifications: 5,
            refuses_notifications: Outcome::new(51, ""),
            max_pending: (kind == Kind::OpenLdap).then_some(1000),
            gives_references: is_active_directory,
            root: Vec::new(),
        }
    }

    /// Lets the root DSE say this of an attribute; without values, nothing.
    pub fn root(&mut self, attribute: &str, values: &[&str]) {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        self.root.push((attribute.to_owned(), values));
    }

    /// The server's own entry (RFC 4512, section 5.1; MS-ADTS 3.1.1.3.2).
    pub(super) fn root_dse(&self, view: &View, host: &str) -> Node {
        let mut attributes = own_attributes(view, host);
        for (attribute, values) in &self.root {
            attributes.retain(|(kind, _)| !kind.eq_ignore_ascii_case(attribute));
            if !values.is_empty() {
                attributes.push((attribute.clone(), values.clone()));
            }
        }
        let lower: Vec<String> = attributes.iter().map(|(kind, _)| kind.to_ascii_lowercase()).collect();
        let operational: Vec<&str> = match view.kind {
            // Active Directory shows it whole.
            Kind::ActiveDirectory => Vec::new(),
            Kind::OpenLdap | Kind::Ds389 => {
                lower.iter().map(String::as_str).filter(|kind| *kind != "objectclass").collect()
            }
        };
        let held = attributes.into_iter().map(|(kind, values)| {
            Held::new(&kind, values.into_iter().map(String::into_bytes).collect(), &operational)
        });
        Node::new(Dn::default(), held.collect(), Vec::new())
    }
}

fn own_attributes(view: &View, host: &str) -> Vec<(String, Vec<String>)> {
    let owned = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
    let root = view.domain.root.as_str();
    let contexts: Vec<String> = view.tree().contexts().map(|node| node.dn.as_str().to_owned()).collect();
    let mut attributes =
        vec![("supportedLDAPVersion", owned(&["3"])), ("supportedControl", owned(supported(view.kind)))];
    match view.kind {
        Kind::OpenLdap => attributes.extend([
            ("objectClass", owned(&["top", "OpenLDAProotDSE"])),
            ("structuralObjectClass", owned(&["OpenLDAProotDSE"])),
            ("configContext", owned(&["cn=config"])),
            ("subschemaSubentry", owned(&["cn=Subschema"])),
            ("namingContexts", contexts),
        ]),
        Kind::Ds389 => attributes.extend([
            ("objectClass", owned(&["top"])),
            ("vendorName", owned(&["389 Project"])),
            ("vendorVersion", owned(&["389-Directory/2.3.1 B2023.001.0000"])),
            ("namingContexts", contexts),
        ]),
        Kind::ActiveDirectory => {
            let configuration = view.domain.configuration.as_str();
            let settings = format!(
                "CN=NTDS Settings,CN={host},CN=Servers,CN=Default-First-Site-Name,CN=Sites,{configuration}"
            );
            let schema = format!("CN=Schema,{configuration}");
            attributes.extend([
                ("supportedCapabilities", owned(&CAPABILITIES)),
                ("namingContexts", vec![root.to_owned(), configuration.to_owned(), schema.clone()]),
                ("defaultNamingContext", owned(&[root])),
                ("rootDomainNamingContext", owned(&[root])),
                ("configurationNamingContext", owned(&[configuration])),
                ("schemaNamingContext", vec![schema]),
                ("dnsHostName", vec![format!("{}.{}", host.to_lowercase(), view.domain.dns)]),
                ("dsServiceName", vec![settings]),
                ("highestCommittedUSN", vec![(view.number + super::view::FIRST_USN).to_string()]),
                ("isSynchronized", owned(&["TRUE"])),
                ("isGlobalCatalogReady", owned(&["TRUE"])),
                ("domainFunctionality", owned(&["7"])),
                ("forestFunctionality", owned(&["7"])),
                ("domainControllerFunctionality", owned(&["7"])),
                ("supportedSASLMechanisms", owned(&["GSSAPI", "GSS-SPNEGO", "EXTERNAL", "DIGEST-MD5"])),
            ]);
        }
    }
    attributes.into_iter().map(|(kind, values)| (kind.to_owned(), values)).collect()
}

/// Active Directory, of Windows Server 2003, 2008, 2012 and later (MS-ADTS 3.1.1.3.4.3).
const CAPABILITIES: [&str; 5] = [
    "1.2.840.113556.1.4.800",
    "1.2.840.113556.1.4.1670",
    "1.2.840.113556.1.4.1791",
    "1.2.840.113556.1.4.1935",
    "1.2.840.113556.1.4.2080",
];
