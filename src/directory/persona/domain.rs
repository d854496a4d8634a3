//! What Active Directory has that no LDIF needs to say: the domain's own entries, and what every object has.

use super::content::{put, rdns};
use super::identity::{self, DOMAIN_SID};
use crate::directory::ldif::Entry;
use crate::model::Dn;

/// Objects whose RID is the same in every domain, and in BUILTIN (MS-DTYP 2.4.2.4).
const RIDS: [(&str, u32); 5] = [
    ("administrator", 500),
    ("domain admins", 512),
    ("domain users", 513),
    ("domain guests", 514),
    ("domain computers", 515),
];
const BUILTIN_RIDS: [(&str, u32); 3] = [("administrators", 544), ("users", 545), ("guests", 546)];

/// `groupType` of a global group that grants, and of one in BUILTIN (MS-ADTS 2.2.12).
const GLOBAL_SECURITY: i32 = i32::MIN | 0x2;
const BUILTIN_SECURITY: i32 = i32::MIN | 0x5;

/// The names of a domain.
#[derive(Debug, Clone)]
pub(super) struct Domain {
    pub(super) root: Dn,
    pub(super) dns: String,
    pub(super) netbios: String,
    pub(super) configuration: Dn,
}

impl Domain {
    /// The domain with this entry as its root: `DC=corp,DC=example` is `corp.example`, and CORP for old clients.
    pub(super) fn of(root: &Dn) -> Self {
        let labels: Vec<&str> =
            rdns(root.as_str()).iter().filter_map(|rdn| Some(rdn.split_once('=')?.1)).collect();
        let configuration = Dn::parse(&format!("CN=Configuration,{}", root.as_str())).unwrap();
        Self {
            root: root.clone(),
            dns: labels.join(".").to_lowercase(),
            netbios: labels.first().unwrap().to_uppercase(),
            configuration,
        }
    }

    /// The entries that every domain has.
    pub(super) fn standard(&self) -> String {
        let Self { root, dns, netbios, configuration } = self;
        format!(
            "dn: CN=Users,{root}\nobjectClass: container\n\n\
             dn: CN=Domain Users,CN=Users,{root}\nobjectClass: group\nsAMAccountName: Domain Users\n\n\
             dn: CN=Builtin,{root}\nobjectClass: builtinDomain\n\n\
             dn: CN=Users,CN=Builtin,{root}\nobjectClass: group\nsAMAccountName: Users\n\
             member: CN=Domain Users,CN=Users,{root}\n\n\
             dn: {configuration}\nobjectClass: configuration\n\n\
             dn: CN=Partitions,{configuration}\nobjectClass: crossRefContainer\n\n\
             dn: CN={netbios},CN=Partitions,{configuration}\nobjectClass: crossRef\nnCName: {root}\n\
             dnsRoot: {dns}\nnETBIOSName: {netbios}\n\n\
             dn: CN=Enterprise Configuration,CN=Partitions,{configuration}\nobjectClass: crossRef\n\
             nCName: {configuration}\ndnsRoot: {dns}\n"
        )
    }

    /// Gives an object what it has in every domain, unless the LDIF says otherwise. A SID may be given as text.
    pub(super) fn complete(&self, entry: &mut Entry, uuid: &str, rids: &mut u32) {
        let root = self.root.as_str();
        put(entry, "objectGUID", || identity::guid(uuid));
        put(entry, "instanceType", || b"4".to_vec());
        let (rdn, name) = relative_name(&entry.dn);
        put(entry, &rdn, || name.clone().into_bytes());
        put(entry, "name", || name.into_bytes());
        let class = [("user", "Person"), ("computer", "Computer"), ("group", "Group")]
            .into_iter()
            .find(|(class, _)| has_class(entry, class));
        if let Some((class, category)) = class {
            let ancestors: &[&str] =
                if class == "group" { &["top"] } else { &["top", "person", "organizationalPerson", "user"] };
            add_classes(entry, ancestors);
            let category = format!("CN={category},CN=Schema,CN=Configuration,{root}");
            put(entry, "objectCategory", || category.into_bytes());
        }
        let is_builtin = entry.dn.normal().ends_with(&format!(",cn=builtin,{}", self.root.normal()));
        match class {
            Some(("group", _)) => {
                let kind = if is_builtin { BUILTIN_SECURITY } else { GLOBAL_SECURITY };
                put(entry, "groupType", || kind.to_string().into_bytes());
            }
            Some(_) => {
                put(entry, "primaryGroupID", || b"513".to_vec());
                put(entry, "userAccountControl", || b"512".to_vec());
                put(entry, "accountExpires", || i64::MAX.to_string().into_bytes());
            }
            None => {}
        }
        if class.is_some() {
            let account = entry_name(&entry.dn);
            put(entry, "objectSid", || self.new_sid(account, is_builtin, rids));
        } else if entry.dn == self.root {
            put(entry, "objectSid", || identity::sid(DOMAIN_SID).unwrap());
        }
        for sid in
            entry.attributes.iter_mut().filter(|held| held.description.eq_ignore_ascii_case("objectSid"))
        {
            for value in &mut sid.values {
                if let Some(octets) = std::str::from_utf8(value).ok().and_then(identity::sid) {
                    *value = octets;
                }
            }
        }
    }

    fn new_sid(&self, name: String, is_builtin: bool, rids: &mut u32) -> Vec<u8> {
        let known = if is_builtin { BUILTIN_RIDS.as_slice() } else { RIDS.as_slice() };
        let rid = known.iter().find(|(known, _)| *known == name).map(|(_, rid)| *rid).unwrap_or_else(|| {
            *rids += 1;
            *rids
        });
        let prefix = if is_builtin { "S-1-5-32" } else { DOMAIN_SID };
        identity::sid(&format!("{prefix}-{rid}")).unwrap()
    }
}

pub(super) fn has_class(entry: &Entry, class: &str) -> bool {
    entry.values("objectClass").any(|value| value.eq_ignore_ascii_case(class.as_bytes()))
}

fn add_classes(entry: &mut Entry, classes: &[&str]) {
    let missing: Vec<Vec<u8>> = classes
        .iter()
        .filter(|class| !has_class(entry, class))
        .map(|class| class.as_bytes().to_vec())
        .collect();
    let held = entry.attributes.iter_mut().find(|held| held.description.eq_ignore_ascii_case("objectClass"));
    held.unwrap().values.extend(missing);
}

/// The type and the value of the first relative name.
pub(super) fn relative_name(dn: &Dn) -> (String, String) {
    let names = rdns(dn.as_str());
    let (kind, value) = names.first().and_then(|rdn| rdn.split_once('=')).unwrap();
    (kind.to_lowercase(), value.replace('\\', ""))
}

fn entry_name(dn: &Dn) -> String {
    relative_name(dn).1.to_lowercase()
}
