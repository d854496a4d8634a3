//! What a server says of itself in its root DSE (RFC 4512, 5.1), and whether it can be used as configured.
//!
//! Whatever stands there oddly counts as not said: a server is not given up because of one attribute.

use std::sync::Arc;

use ldap3::Scope;

use super::LookupError;
use super::entry::Entry;
use super::filter::equals;
use super::search::Query;
use super::settings::{Flavour, Strategy, word};
use crate::model::Dn;

/// A root DSE with this capability is Active Directory's, or that of a server that plays it (MS-ADTS 3.1.1.3.4.3.1).
const ACTIVE_DIRECTORY: &str = "1.2.840.113556.1.4.800";
/// The paged results control (RFC 2696).
pub(super) const PAGED_RESULTS: &str = "1.2.840.113556.1.4.319";

/// What is asked for: most of it is operational, and comes only if it is named (RFC 4511, 4.5.1.8).
const ATTRIBUTES: [&str; 18] = [
    "objectClass",
    "structuralObjectClass",
    "vendorName",
    "vendorVersion",
    "namingContexts",
    "defaultNamingContext",
    "configurationNamingContext",
    "rootDomainNamingContext",
    "dnsHostName",
    "dsServiceName",
    "supportedControl",
    "supportedCapabilities",
    "supportedExtension",
    "supportedFeatures",
    "supportedSASLMechanisms",
    "isSynchronized",
    "isGlobalCatalogReady",
    "subschemaSubentry",
];

/// What a server said of itself when it was connected to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    /// What kind of server it is.
    pub kind: ServerKind,
    /// Who made it (RFC 3045), in its own words.
    pub vendor: Option<String>,
    /// Its version (RFC 3045), in its own words.
    pub version: Option<String>,
    /// The DNs of the trees that it holds.
    pub naming_contexts: Vec<String>,
    /// The DN of its domain; Active Directory, and some others.
    pub default_naming_context: Option<String>,
    /// The DN of its forest's configuration; Active Directory.
    pub configuration_naming_context: Option<String>,
    /// The DN of its forest's root domain; Active Directory.
    pub root_domain_naming_context: Option<String>,
    /// The DN of the entry with its schema.
    pub subschema: Option<String>,
    /// Its host name; Active Directory.
    pub dns_host_name: Option<String>,
    /// The DN of the entry that stands for this one server; Active Directory. Marks of one server (`uSNChanged`) mean
    /// nothing to another.
    pub service: Option<String>,
    /// OIDs of the controls that it knows.
    pub controls: Vec<String>,
    /// OIDs of Active Directory's capabilities (MS-ADTS 3.1.1.3.4.3).
    pub capabilities: Vec<String>,
    /// OIDs of the extended operations that it knows.
    pub extensions: Vec<String>,
    /// OIDs of the features that it has.
    pub features: Vec<String>,
    /// The SASL mechanisms that it offers on this connection.
    pub sasl_mechanisms: Vec<String>,
    /// Whether it has caught up with its domain since it was started; Active Directory.
    pub is_synchronized: Option<bool>,
    /// Whether it answers for the whole forest on the global catalog's ports; Active Directory.
    pub is_global_catalog_ready: Option<bool>,
}

/// What kind of server it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ServerKind {
    /// Active Directory, or Samba in its place.
    ActiveDirectory {
        /// The DNS name of its domain in lower case, from `defaultNamingContext`.
        dns_domain: Option<String>,
        /// The NETBIOS name of its domain, as the forest's partitions have it; `None` where they cannot be read.
        netbios_domain: Option<String>,
    },
    /// OpenLDAP.
    OpenLdap,
    /// The 389 Directory Server, which is FreeIPA's and Red Hat's.
    Ds389,
    /// Another one, or one that does not say.
    #[default]
    Other,
}

impl std::fmt::Display for ServerKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ActiveDirectory { .. } => "Active Directory",
            Self::OpenLdap => "OpenLDAP",
            Self::Ds389 => "the 389 Directory Server",
            Self::Other => "a server of another or of no stated kind",
        })
    }
}

impl About {
    /// Reads a root DSE.
    pub(super) fn read(root: &Entry) -> Self {
        let texts = |name: &str| -> Vec<String> {
            let values = root.values(name).unwrap_or_default().into_iter();
            values.filter_map(|value| std::str::from_utf8(value).ok()).map(str::to_owned).collect()
        };
        let text = |name: &str| texts(name).into_iter().next().filter(|text| !text.is_empty());
        let truth = |name: &str| match text(name)?.to_ascii_uppercase().as_str() {
            "TRUE" => Some(true),
            "FALSE" => Some(false),
            _ => None,
        };
        let (vendor, version) = (text("vendorname"), text("vendorversion"));
        let capabilities = texts("supportedcapabilities");
        let default_naming_context = text("defaultnamingcontext");
        let is_open_ldap = ["structuralobjectclass", "objectclass"]
            .iter()
            .flat_map(|name| texts(name))
            .any(|class| class.eq_ignore_ascii_case("OpenLDAProotDSE"));
        let kind = if capabilities.iter().any(|oid| oid == ACTIVE_DIRECTORY) {
            let dns_domain = default_naming_context.as_deref().and_then(dns_name);
            ServerKind::ActiveDirectory { dns_domain, netbios_domain: None }
        } else if is_open_ldap {
            ServerKind::OpenLdap
        } else if is_ds389(vendor.as_deref(), version.as_deref()) {
            ServerKind::Ds389
        } else {
            ServerKind::Other
        };
        Self {
            kind,
            vendor,
            version,
            naming_contexts: texts("namingcontexts"),
            default_naming_context,
            configuration_naming_context: text("configurationnamingcontext"),
            root_domain_naming_context: text("rootdomainnamingcontext"),
            subschema: text("subschemasubentry"),
            dns_host_name: text("dnshostname"),
            service: text("dsservicename"),
            controls: texts("supportedcontrol"),
            capabilities,
            extensions: texts("supportedextension"),
            features: texts("supportedfeatures"),
            sasl_mechanisms: texts("supportedsaslmechanisms"),
            is_synchronized: truth("issynchronized"),
            is_global_catalog_ready: truth("isglobalcatalogready"),
        }
    }

    /// Whether it is Active Directory, or Samba in its place.
    #[must_use]
    pub fn is_active_directory(&self) -> bool {
        matches!(self.kind, ServerKind::ActiveDirectory { .. })
    }

    /// Whether it knows the control with this OID.
    #[must_use]
    pub fn supports(&self, control: &str) -> bool {
        self.controls.iter().any(|oid| oid == control)
    }

    /// Whether this server can be used as configured. `server` names it in the error.
    pub(super) fn check(
        &self,
        server: &str,
        flavour: Flavour,
        strategy: Strategy,
    ) -> Result<(), LookupError> {
        let is_active_directory = self.is_active_directory();
        let contradicts = match flavour {
            Flavour::Auto => false,
            Flavour::ActiveDirectory => !is_active_directory,
            Flavour::OpenLdap | Flavour::Rfc2307 | Flavour::Rfc2307bis => is_active_directory,
        };
        if contradicts {
            let words = word(flavour, &Flavour::WORDS);
            return Err(unfit(server, format!("is {}, and `flavour` is `{words}`", self.kind)));
        }
        if strategy == Strategy::TokenGroups && !is_active_directory {
            let strategy = word(strategy, &Strategy::WORDS);
            let kind = &self.kind;
            let why = format!("is {kind}, which cannot do `groupSearch.strategy: {strategy}`");
            return Err(unfit(server, why));
        }
        Ok(())
    }

    /// What finds the NETBIOS name of the domain: the `crossRef` of its partition (MS-ADTS 6.1.1.2.1.1).
    pub(super) fn netbios_query(&self) -> Option<Query> {
        let configuration = self.configuration_naming_context.as_deref()?;
        let domain = self.default_naming_context.as_deref()?;
        Some(Query {
            filter: format!("(&(objectClass=crossRef){})", equals("nCName", domain)),
            attributes: vec!["nETBIOSName".to_owned()],
            limit: 1,
            ..Query::new(format!("CN=Partitions,{configuration}"), Scope::OneLevel)
        })
    }
}

/// Asks for all that [`About`] holds.
pub(super) fn root_query() -> Query {
    Query {
        attributes: ATTRIBUTES.map(str::to_owned).to_vec(),
        limit: 1,
        ..Query::new(String::new(), Scope::Base)
    }
}

/// That a server cannot be used as configured, and why.
pub(super) fn unfit(server: &str, why: impl std::fmt::Display) -> LookupError {
    LookupError::Unfit(Arc::from(format!("{server} {why}")))
}

fn is_ds389(vendor: Option<&str>, version: Option<&str>) -> bool {
    vendor.is_some_and(|vendor| vendor.starts_with("389 "))
        || version.is_some_and(|version| {
            version.starts_with("389-Directory") || version.starts_with("Red Hat-Directory")
        })
}

/// The DNS name that a name of domain components stands for (RFC 2247).
fn dns_name(dn: &str) -> Option<String> {
    let dn = Dn::parse(dn).ok()?;
    let labels: Option<Vec<&str>> = dn.normal().split(',').map(|part| part.strip_prefix("dc=")).collect();
    labels.filter(|labels| labels.iter().all(|label| is_label(label))).map(|labels| labels.join("."))
}

fn is_label(label: &str) -> bool {
    !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMBA: &[(&str, &str)] = &[
        ("vendorName", "Samba Team (https://www.samba.org)"),
        ("supportedCapabilities", "1.2.840.113556.1.4.800"),
        ("defaultNamingContext", "DC=ad,DC=Example,DC=test"),
        ("configurationNamingContext", "CN=Configuration,DC=ad,DC=Example,DC=test"),
        ("supportedControl", PAGED_RESULTS),
        ("isSynchronized", "TRUE"),
        ("dnsHostName", "dc1.ad.example.test"),
    ];

    fn about(attributes: &[(&str, &str)]) -> About {
        About::read(&Entry::of("", attributes))
    }

    fn why(about: &About, flavour: Flavour, strategy: Strategy) -> Option<String> {
        about.check("ldaps://dc1", flavour, strategy).err().map(|error| error.to_string())
    }

    #[test]
    fn servers_are_told_apart_by_what_they_say() {
        let samba = about(SAMBA);
        let dns_domain = Some("ad.example.test".to_owned());
        assert_eq!(samba.kind, ServerKind::ActiveDirectory { dns_domain, netbios_domain: None });
        assert!(samba.supports(PAGED_RESULTS) && !samba.supports("1.2.3"));
        assert_eq!((samba.is_synchronized, samba.is_global_catalog_ready), (Some(true), None));
        for (said, kind) in [
            (("structuralObjectClass", "OpenLDAProotDSE"), ServerKind::OpenLdap),
            (("objectClass", "openldaprootdse"), ServerKind::OpenLdap),
            (("vendorName", "389 Project"), ServerKind::Ds389),
            (("vendorVersion", "Red Hat-Directory/12.4"), ServerKind::Ds389),
            (("vendorName", "Bailiwick"), ServerKind::Other),
            (("supportedCapabilities", "1.2.840.113556.1.4.1851"), ServerKind::Other),
        ] {
            assert_eq!(about(&[said]).kind, kind, "{said:?}");
        }
    }

    #[test]
    fn an_odd_attribute_spoils_nothing_else() {
        let odd = [
            ("supportedControl;range=0-1", "1.2.3"),
            ("isSynchronized", "perhaps"),
            ("defaultNamingContext", "OU=x,DC=y"),
            ("supportedCapabilities", ACTIVE_DIRECTORY),
            ("vendorName", ""),
        ];
        let about = about(&odd);
        assert_eq!(about.kind, ServerKind::ActiveDirectory { dns_domain: None, netbios_domain: None });
        assert_eq!((about.controls.len(), about.is_synchronized, about.vendor), (0, None, None));
    }

    #[test]
    fn a_flavour_or_strategy_that_contradicts_the_server_is_named_with_it() {
        let (samba, open_ldap) = (about(SAMBA), about(&[("objectClass", "OpenLDAProotDSE")]));
        assert_eq!(
            why(&open_ldap, Flavour::ActiveDirectory, Strategy::Auto).unwrap(),
            "the directory cannot be used as configured: ldaps://dc1 is OpenLDAP, and `flavour` is `activeDirectory`"
        );
        assert_eq!(
            why(&samba, Flavour::Rfc2307bis, Strategy::Auto).unwrap(),
            "the directory cannot be used as configured: ldaps://dc1 is Active Directory, and `flavour` is `rfc2307bis`"
        );
        assert_eq!(
            why(&open_ldap, Flavour::Auto, Strategy::TokenGroups).unwrap(),
            "the directory cannot be used as configured: ldaps://dc1 is OpenLDAP, which cannot do \
             `groupSearch.strategy: tokenGroups`"
        );
        for strategy in [Strategy::Auto, Strategy::Search, Strategy::MemberOf, Strategy::TokenGroups] {
            for flavour in [Flavour::Auto, Flavour::ActiveDirectory] {
                assert_eq!(why(&samba, flavour, strategy), None, "{flavour:?} {strategy:?}");
            }
        }
        for flavour in [Flavour::Auto, Flavour::OpenLdap, Flavour::Rfc2307, Flavour::Rfc2307bis] {
            assert_eq!(why(&open_ldap, flavour, Strategy::MemberOf), None, "{flavour:?}");
        }
    }

    #[test]
    fn the_netbios_name_is_looked_for_among_the_partitions() {
        let query = about(SAMBA).netbios_query().unwrap();
        assert_eq!(query.base, "CN=Partitions,CN=Configuration,DC=ad,DC=Example,DC=test");
        assert_eq!(query.filter, "(&(objectClass=crossRef)(nCName=DC=ad,DC=Example,DC=test))");
        assert!(about(&[]).netbios_query().is_none());
    }
}
