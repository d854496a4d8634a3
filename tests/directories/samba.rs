//! Private Active Directory domain controllers: Samba from Debian's packages, with nothing but its LDAP service, each on
//! an address of its own in 127.0.0.0/8. A machine without Samba fails the tests that need it, with the line that installs
//! it; so does one where the tests are not root, since Samba's ports, 389 and 636, are fixed.
//!
//! Samba runs in one process (`--model=single`): so a change is notified (1.2.840.113556.1.4.528) within milliseconds.
//! With more than one, a write reaches those who wait in another process by a timer of five seconds. For the same reason
//! all changes are made over LDAPS: what another program writes into the files waits for that timer.

mod changes;
mod domain;
mod process;
mod settings;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{LazyLock, Mutex};

use bailiwick::tls::Authority;
use ldap3::Ldap;
use tokio::runtime::Runtime;

use crate::processes::{program, run};
use crate::wire::{self, Attributes};
pub use changes::Entry;
use domain::Domain;
use process::Process;

/// What installs all that the fixture starts.
pub const PACKAGES: &str = "--no-install-recommends samba-ad-dc samba-ad-provision ldb-tools ldap-utils";
pub const BASE: &str = "DC=ad,DC=example,DC=test";
pub const PEOPLE: &str = "OU=people,DC=ad,DC=example,DC=test";
pub const GROUPS: &str = "OU=groups,DC=ad,DC=example,DC=test";
/// The domain's DNS name, its Kerberos realm, and its NETBIOS name.
pub const DOMAIN: &str = "ad.example.test";
pub const REALM: &str = "AD.EXAMPLE.TEST";
pub const NETBIOS: &str = "ADEX";
pub const ADMINISTRATOR: &str = "Administrator";
/// An account without any right that others do not have.
pub const SERVICE: &str = "svc";
/// An account with "Replicating Directory Changes" on the domain, and with list contents and read property on
/// `CN=Deleted Objects`. Samba shows deleted objects only with the latter.
pub const SYNC: &str = "sync";
/// Of the three accounts above.
pub const PASSWORD: &str = "Passw0rd-of-Them";
/// How many addresses are tried until a domain controller starts on one.
const ATTEMPTS: usize = 20;

/// For the fixture's own connections: it has to work within a test's runtime and without one.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// A domain controller, and the folder with all that it needs. Killed when dropped.
pub struct Samba {
    folder: tempfile::TempDir,
    address: Ipv4Addr,
    ca_pem: String,
    process: Option<Process>,
    administrator: Mutex<Option<Ldap>>,
}

impl Samba {
    /// Starts one that holds the base entries. The first one in a process takes some ten seconds more, to make the domain.
    pub fn start() -> Self {
        Domain::shared().start()
    }

    /// Starts one on a folder with a domain in it.
    fn over(folder: tempfile::TempDir, authority: &Authority) -> Self {
        let ca_pem = authority.ca_pem().to_owned();
        std::fs::write(folder.path().join("ca.pem"), &ca_pem).unwrap();
        std::fs::write(folder.path().join("password"), format!("{PASSWORD}\n")).unwrap();
        std::fs::create_dir_all(folder.path().join("run")).unwrap();
        let administrator = Mutex::new(None);
        let mut samba = Self { folder, address: Ipv4Addr::LOCALHOST, ca_pem, process: None, administrator };
        let mut failure = String::new();
        for _ in 0..ATTEMPTS {
            samba.address = next_address();
            samba.configure(authority);
            match samba.launch() {
                Ok(()) => return samba,
                Err(error) => failure = error,
            }
            samba.kill();
        }
        panic!("samba does not start: {failure}");
    }

    /// Starts it again, on the same address and with the same content; ends it before if it runs.
    pub fn restart(&mut self) {
        self.stop();
        self.launch().unwrap();
    }

    /// Ends it as its service manager would. Its connections end without a notice.
    pub fn stop(&mut self) {
        *self.administrator.lock().unwrap() = None;
        if let Some(process) = self.process.take() {
            process.stop();
        }
    }

    /// Kills it. Its connections end.
    pub fn kill(&mut self) {
        *self.administrator.lock().unwrap() = None;
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Stops it without ending it (SIGSTOP): it accepts connections and answers nothing.
    pub fn freeze(&self) {
        self.process.as_ref().unwrap().freeze();
    }

    /// Lets it go on. What it was asked meanwhile, it answers.
    pub fn thaw(&self) {
        self.process.as_ref().unwrap().thaw();
    }

    /// Where it is, as the settings of a directory want it. Its certificate has this address.
    pub fn urls(&self) -> Vec<String> {
        vec![format!("ldaps://{}", self.address)]
    }

    /// Where it can be asked for StartTLS.
    pub fn ldap_url(&self) -> String {
        format!("ldap://{}", self.address)
    }

    /// The authority that its certificate is from.
    pub fn ca_file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// The name that an account binds with: its user principal name. Full DNs and `ADEX\name` work as well.
    pub fn bind_name(&self, account: &str) -> String {
        format!("{account}@{DOMAIN}")
    }

    /// The password of an account, `SERVICE`, `SYNC` or `ADMINISTRATOR`, in a file.
    pub fn password_file(&self) -> PathBuf {
        self.path("password")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A connection of the caller's own, bound as one of the accounts.
    pub async fn client(&self, account: &str) -> Ldap {
        let client = wire::connect(self.address, &self.ca_pem, &self.bind_name(account), PASSWORD).await;
        client.unwrap_or_else(|error| panic!("{account} at {}: {error}", self.address))
    }

    /// What binding with this password gives: nothing, or the server's words.
    pub fn bind(&self, account: &str, password: &str) -> Result<(), String> {
        let name = self.bind_name(account);
        block_on(wire::connect(self.address, &self.ca_pem, &name, password)).map(drop)
    }

    /// Reads an entry as the administrator; `None` where there is none.
    pub fn read(&self, dn: &str, names: &[&str]) -> Option<Attributes> {
        block_on(async { wire::read(&mut self.administrator().await, dn, names).await })
    }

    /// The administrator's connection, made when it is needed first.
    async fn administrator(&self) -> Ldap {
        let held = self.administrator.lock().unwrap().clone();
        if let Some(ldap) = held {
            return ldap;
        }
        let ldap = self.client(ADMINISTRATOR).await;
        self.administrator.lock().unwrap().insert(ldap).clone()
    }

    fn launch(&mut self) -> Result<(), String> {
        let started = Process::start(&self.path("smb.conf"), &self.path("log"));
        let process = self.process.insert(started);
        let who = format!("{ADMINISTRATOR}@{DOMAIN}");
        loop {
            let connecting = wire::connect(self.address, &self.ca_pem, &who, PASSWORD);
            match block_on(connecting) {
                Ok(ldap) => {
                    *self.administrator.lock().unwrap() = Some(ldap);
                    return Ok(());
                }
                // Somebody else may listen there: their certificate is not from our authority.
                Err(error) => process.may_still_start().map_err(|log| format!("{error}; {log}"))?,
            }
        }
    }

    /// Writes its configuration, and a certificate for its address.
    fn configure(&self, authority: &Authority) {
        let identity = authority.server(&[&format!("dc1.{DOMAIN}")], &[self.address.into()]).unwrap();
        std::fs::write(self.path("server.pem"), identity.cert_pem).unwrap();
        // Samba takes no key that others can read.
        let mut options = OpenOptions::new();
        let mut key = options
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(self.path("server.key"))
            .unwrap();
        key.write_all(identity.key_pem.as_bytes()).unwrap();
        std::fs::write(self.path("smb.conf"), configuration(self.folder.path(), self.address)).unwrap();
    }

    /// Runs `samba-tool` on its files, which works while it runs. Half a second a call, and never over the network.
    fn tool(&self, arguments: &[&str]) {
        let [configuration, files] = [self.path("smb.conf"), self.path("private/sam.ldb")];
        run(Command::new(program("samba-tool", PACKAGES))
            .args(arguments)
            .arg(format!("--configfile={}", configuration.display()))
            .args(["-H", &files.display().to_string()]));
    }
}

impl Drop for Samba {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits for it, in a runtime's thread or in any other.
fn block_on<T: Send>(future: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| scope.spawn(|| RUNTIME.block_on(future)).join()).unwrap_or_else(|panic| {
        std::panic::resume_unwind(panic);
    })
}

/// Another address of the loopback each time. Test processes that run side by side begin at different ones.
fn next_address() -> Ipv4Addr {
    static NEXT: LazyLock<AtomicU8> = LazyLock::new(|| AtomicU8::new(std::process::id().to_le_bytes()[0]));
    // 127.0.0.10 to 127.0.0.249: the lowest may be somebody's.
    Ipv4Addr::new(127, 0, 0, 10 + NEXT.fetch_add(1, Ordering::Relaxed) % 240)
}

fn configuration(folder: &Path, address: Ipv4Addr) -> String {
    let folder = folder.display();
    format!(
        "[global]\n\
         netbios name = DC1\n\
         workgroup = {NETBIOS}\n\
         realm = {REALM}\n\
         server role = active directory domain controller\n\
         server services = ldap\n\
         dcerpc endpoint servers =\n\
         interfaces = {address}/8\n\
         bind interfaces only = yes\n\
         private dir = {folder}/private\n\
         state directory = {folder}/state\n\
         cache directory = {folder}/cache\n\
         lock directory = {folder}\n\
         binddns dir = {folder}/bind-dns\n\
         pid directory = {folder}/run\n\
         ncalrpc dir = {folder}/run/ncalrpc\n\
         winbindd socket directory = {folder}/run/winbindd\n\
         ntp signd socket directory = {folder}/run/ntp_signd\n\
         log file = {folder}/run/log\n\
         tls keyfile = {folder}/server.key\n\
         tls certfile = {folder}/server.pem\n\
         tls cafile = {folder}/ca.pem\n\
         ldb:nosync = yes\n\
         load printers = no\n\
         disable spoolss = yes\n"
    )
}
