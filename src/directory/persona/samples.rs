//! Two companies to begin with, one in each dialect, and more people and groups by the dozen.

use std::fmt::Write as _;

/// A company in Active Directory: ada is in leaf, which is in mid, which is in top; mid is in the mailing list, which
/// grants nothing.
pub const COMPANY: &str = r"
dn: DC=corp,DC=example
objectClass: domainDNS

dn: OU=People,DC=corp,DC=example
objectClass: organizationalUnit

dn: CN=Ada Lovelace,OU=People,DC=corp,DC=example
objectClass: user
sAMAccountName: ada
userPrincipalName: ada@corp.example

dn: CN=Bob,OU=People,DC=corp,DC=example
objectClass: user
sAMAccountName: bob
userPrincipalName: bob@corp.example

dn: OU=Groups,DC=corp,DC=example
objectClass: organizationalUnit

dn: CN=leaf,OU=Groups,DC=corp,DC=example
objectClass: group
sAMAccountName: leaf
member: CN=Ada Lovelace,OU=People,DC=corp,DC=example

dn: CN=mid,OU=Groups,DC=corp,DC=example
objectClass: group
sAMAccountName: mid
member: CN=leaf,OU=Groups,DC=corp,DC=example

dn: CN=top,OU=Groups,DC=corp,DC=example
objectClass: group
sAMAccountName: top
member: CN=mid,OU=Groups,DC=corp,DC=example

dn: CN=mail,OU=Groups,DC=corp,DC=example
objectClass: group
sAMAccountName: mail
groupType: 2
member: CN=mid,OU=Groups,DC=corp,DC=example
";

/// The same company in OpenLDAP.
pub const OPEN_COMPANY: &str = r"
dn: dc=corp,dc=example
objectClass: domain
dc: corp

dn: ou=people,dc=corp,dc=example
objectClass: organizationalUnit
ou: people

dn: uid=ada,ou=people,dc=corp,dc=example
objectClass: inetOrgPerson
uid: ada
cn: Ada Lovelace
sn: Lovelace

dn: uid=bob,ou=people,dc=corp,dc=example
objectClass: inetOrgPerson
uid: bob
cn: Bob
sn: Builder

dn: ou=groups,dc=corp,dc=example
objectClass: organizationalUnit
ou: groups

dn: cn=leaf,ou=groups,dc=corp,dc=example
objectClass: groupOfNames
cn: leaf
member: uid=ada,ou=people,dc=corp,dc=example

dn: cn=mid,ou=groups,dc=corp,dc=example
objectClass: groupOfNames
cn: mid
member: cn=leaf,ou=groups,dc=corp,dc=example

dn: cn=top,ou=groups,dc=corp,dc=example
objectClass: groupOfNames
cn: top
member: cn=mid,ou=groups,dc=corp,dc=example
";

/// A record of LDIF.
pub fn record(dn: &str, class: &str, attributes: &[(&str, &str)]) -> String {
    let mut text = format!("dn: {dn}\nobjectClass: {class}\n");
    for (attribute, value) in attributes {
        let _ = writeln!(text, "{attribute}: {value}");
    }
    text.push('\n');
    text
}

/// A record of a group with these members.
pub fn group(dn: &str, class: &str, name: (&str, &str), members: impl Iterator<Item = String>) -> String {
    let mut text = record(dn, class, &[name]);
    text.pop();
    for member in members {
        let _ = writeln!(text, "member: {member}");
    }
    text.push('\n');
    text
}
