//! The domain that each domain controller starts with: made once in a process, copied for each.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use bailiwick::tls::Authority;

use super::changes::{account_dn, unicode_password};
use super::process;
use super::{BASE, Entry, GROUPS, NETBIOS, PACKAGES, PASSWORD, PEOPLE, REALM, SERVICE, SYNC, Samba};
use crate::processes::{program, run};

/// Where Debian's samba-ad-provision puts what a domain is made from.
const TEMPLATES: &str = "/usr/share/samba/setup/provision.ldif";
/// `userAccountControl`: a normal account whose password does not expire.
const SERVICE_ACCOUNT: &str = "66048";

/// A domain that nobody serves.
pub(super) struct Domain {
    folder: PathBuf,
    authority: Authority,
    /// Removes the folder when this process is gone, however it ended: nothing else is certain to run then.
    _remover: Child,
}

impl Domain {
    /// The one of this process.
    pub(super) fn shared() -> &'static Self {
        // Not within `make`: who comes second to a `LazyLock` that failed is not told why.
        require_samba();
        static SHARED: LazyLock<Domain> = LazyLock::new(Domain::make);
        &SHARED
    }

    /// A domain controller over a copy of it.
    pub(super) fn start(&self) -> Samba {
        let folder = tempfile::tempdir_in(&self.folder).unwrap();
        let from = self.folder.join("domain/.");
        run(Command::new("cp").args(["-a", "--sparse=always"]).arg(from).arg(folder.path()));
        Samba::over(folder, &self.authority)
    }

    fn make() -> Self {
        let folder = tempfile::Builder::new().prefix("bailiwick-samba-").tempdir().unwrap().keep();
        let domain = Self {
            _remover: remover(&folder),
            authority: Authority::new("test authority of a domain").unwrap(),
            folder,
        };
        let first = tempfile::tempdir_in(&domain.folder).unwrap();
        provision(first.path());
        let mut samba = Samba::over(first, &domain.authority);
        for (unit, name) in [(PEOPLE, "people"), (GROUPS, "groups")] {
            samba.add(Entry::new(unit.to_owned(), &[("objectClass", "organizationalUnit"), ("ou", name)]));
        }
        for account in [SERVICE, SYNC] {
            samba.add(service_account(account));
        }
        let sync = samba.identity(&account_dn(SYNC)).sid_text();
        samba.stop();
        may_replicate(&samba, &sync);
        std::fs::rename(samba.folder.path(), domain.folder.join("domain")).unwrap();
        domain
    }
}

fn remover(folder: &Path) -> Child {
    let script = "trap '' INT TERM HUP; read -r line; rm -rf \"$1\"";
    let mut remover = Command::new("sh");
    let remover = remover.args(["-c", script, "sh"]).arg(folder).stdin(Stdio::piped());
    let remover = remover.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    remover.unwrap()
}

fn require_samba() {
    for name in ["samba", "samba-tool", "ldbmodify"] {
        program(name, PACKAGES);
    }
    assert!(Path::new(TEMPLATES).exists(), "{TEMPLATES} is not there: apt-get install {PACKAGES}");
    assert!(process::is_root(), "samba's ports, 389 and 636, are fixed: run these tests as root");
}

fn provision(folder: &Path) {
    // With Debian's own smb.conf its shares would be part of it.
    let configuration = folder.join("provision.conf");
    std::fs::write(&configuration, "[global]\nldb:nosync = yes\n").unwrap();
    run(Command::new(program("samba-tool", PACKAGES))
        .args(["domain", "provision", "--server-role=dc", "--dns-backend=NONE"])
        .arg(format!("--configfile={}", configuration.display()))
        .arg(format!("--targetdir={}", folder.display()))
        .args(["--host-name=dc1", "--host-ip=127.0.0.1"])
        .args([format!("--realm={REALM}"), format!("--domain={NETBIOS}")])
        .arg(format!("--adminpass={PASSWORD}")));
}

fn service_account(name: &str) -> Entry {
    let mut entry = Entry::user(name);
    entry.dn = account_dn(name);
    entry.attributes.retain(|(attribute, _)| *attribute != "userAccountControl");
    entry.attributes.push(("userAccountControl", vec![SERVICE_ACCOUNT.into()]));
    entry.attributes.push(("unicodePwd", vec![unicode_password(PASSWORD)]));
    entry
}

/// Gives an account "Replicating Directory Changes", and the sight of deleted objects (as `dsacls "CN=Deleted Objects,..."
/// /G ACCOUNT:LCRP` does in Windows).
fn may_replicate(samba: &Samba, sid: &str) {
    let who = format!("--trusteedn={}", account_dn(SYNC));
    samba.tool(&["dsacl", "set", "--action=allow", "--car=get-changes", &format!("--objectdn={BASE}"), &who]);
    // What a new domain has there, and the account. Sent as an access control list without owner and auditing (4).
    let rights = format!("D:PAI(A;;RPWPCCDCLCRCWOWDSDSW;;;SY)(A;;RPLC;;;BA)(A;;RPLC;;;{sid})");
    samba.ldbmodify(
        "private/sam.ldb",
        &["--show-deleted", "--controls=sd_flags:1:4"],
        &format!(
            "dn: CN=Deleted Objects,{BASE}\nchangetype: modify\nreplace: nTSecurityDescriptor\n\
             nTSecurityDescriptor: {rights}\n"
        ),
    );
}
