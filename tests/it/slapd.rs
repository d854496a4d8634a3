//! A private OpenLDAP server on free ports of the loopback, with a certificate authority of its own. A machine without
//! slapd fails the tests that need it: `apt-get install slapd ldap-utils`.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bailiwick::directory::{Bind, Settings, TlsSettings};

use crate::processes::{self, run};

pub const BASE: &str = "dc=example,dc=test";
pub const PEOPLE: &str = "ou=people,dc=example,dc=test";
pub const GROUPS: &str = "ou=groups,dc=example,dc=test";
pub const SERVICE: &str = "cn=svc,dc=example,dc=test";
pub const PASSWORD: &str = "svcpw";
/// The overlay by which changes are pushed, for the configuration of a [`Slapd`].
pub const SYNCPROV: &str = "overlay syncprov\nsyncprov-sessionlog 1000\n";
/// How long slapd may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A slapd, and the folder with all that it needs. Killed when dropped.
pub struct Slapd {
    folder: tempfile::TempDir,
    ldap: u16,
    ldaps: u16,
    process: Option<Child>,
}

impl Slapd {
    /// Starts a slapd that holds the base entries and this LDIF. `configuration` goes into its database section.
    pub fn start(ldif: &str, configuration: &str) -> Self {
        Self::start_with(ldif, "TLSVerifyClient never", configuration)
    }

    /// The same, with more lines before its database section: `TLSVerifyClient` at least.
    pub fn start_with(ldif: &str, global: &str, configuration: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        authority(folder.path(), "ca");
        server_certificate(folder.path());
        let [ldap, ldaps] = free_ports();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        std::fs::write(folder.path().join("password"), format!("{PASSWORD}\n")).unwrap();
        std::fs::write(folder.path().join("slapd.conf"), slapd_conf(folder.path(), global, configuration))
            .unwrap();
        std::fs::write(folder.path().join("data.ldif"), format!("{}\n{ldif}", base_ldif())).unwrap();
        let mut slapd = Self { folder, ldap, ldaps, process: None };
        let load =
            [&slapd.path("slapd.conf"), &slapd.path("data.ldif")].map(|path| path.display().to_string());
        run(Command::new(program("slapadd")).args(["-q", "-f", &load[0], "-l", &load[1]]));
        slapd.restart();
        slapd
    }

    /// Starts it again on the same ports, with the same content.
    pub fn restart(&mut self) {
        self.kill();
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        let urls = format!("ldap://127.0.0.1:{}/ ldaps://127.0.0.1:{}/", self.ldap, self.ldaps);
        let process = Command::new(program("slapd"))
            .args(["-d", "256", "-h", &urls, "-f"])
            .arg(self.path("slapd.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.process = Some(process.unwrap());
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.ldaps)).is_err() {
            assert!(Instant::now() < until, "slapd does not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills it. Its connections end.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Stops it without ending it: it accepts connections and answers nothing.
    pub fn freeze(&self) {
        processes::freeze(self.process.as_ref().unwrap().id());
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        processes::thaw(self.process.as_ref().unwrap().id());
    }

    /// Adds, changes or deletes entries, as the directory's administrator.
    pub fn modify(&self, ldif: &str) {
        let file = self.path("change.ldif");
        std::fs::write(&file, ldif).unwrap();
        let url = format!("ldap://127.0.0.1:{}", self.ldap);
        let administrator = format!("cn=admin,{BASE}");
        let who = ["-x", "-H", &url, "-D", &administrator, "-w", "secret", "-f"];
        run(Command::new("ldapmodify").args(who).arg(file));
    }

    pub fn ldap_url(&self) -> String {
        format!("ldap://127.0.0.1:{}", self.ldap)
    }

    pub fn ldaps_url(&self) -> String {
        format!("ldaps://127.0.0.1:{}", self.ldaps)
    }

    /// Where it listens for LDAPS.
    #[allow(dead_code, reason = "the tests against real directories use it")]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ldaps).into()
    }

    /// Another password in the file that the service reads.
    #[allow(dead_code, reason = "the tests against real directories use it")]
    pub fn write_password(&self, password: &str) {
        std::fs::write(self.path("password"), password).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Settings that reach it over LDAPS as the service.
    pub fn settings(&self) -> Settings {
        let bind = Bind::Simple { dn: SERVICE.to_owned(), password_file: self.path("password") };
        let mut settings = Settings::new(vec![self.ldaps_url()], bind, BASE);
        settings.user_search.base = PEOPLE.to_owned();
        settings.group_search.base = GROUPS.to_owned();
        settings.tls = TlsSettings::trusting(self.path("ca.pem"));
        settings
    }

    /// The lines of its log that hold all of these words: one for each BIND, SRCH and so on.
    pub fn logged(&self, words: &[&str]) -> Vec<String> {
        let log = self.log();
        let lines = log.lines().filter(|line| words.iter().all(|word| line.contains(word)));
        lines.map(str::to_owned).collect()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap()
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Another certificate authority, that nobody trusts.
pub fn stranger(folder: &Path) -> PathBuf {
    authority(folder, "stranger");
    folder.join("stranger.pem")
}

/// The first of these ports is free now; nobody else on this machine is likely to take it within the next second.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

fn program(name: &str) -> PathBuf {
    processes::program(name, "slapd ldap-utils")
}

fn authority(folder: &Path, name: &str) {
    // Of two authorities of one name, only one is tried.
    let place = folder.file_name().unwrap().to_string_lossy();
    let key = folder.join(format!("{name}.key"));
    let certificate = folder.join(format!("{name}.pem"));
    run(Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", &format!("/CN=test authority {name} of {place}")])
        .args(["-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout"])
        .arg(key)
        .arg("-out")
        .arg(certificate));
}

fn server_certificate(folder: &Path) {
    let names = "subjectAltName=IP:127.0.0.1,DNS:ldap.example.test\nextendedKeyUsage=serverAuth\n";
    certificate(folder, "server", "slapd", names);
}

/// Makes `NAME.pem` and `NAME.key`, a client's certificate of this server's authority, in this folder.
pub fn client_certificate(folder: &Path, name: &str, common_name: &str) {
    certificate(folder, name, common_name, "extendedKeyUsage=clientAuth\n");
}

fn certificate(folder: &Path, name: &str, common_name: &str, extensions: &str) {
    let [key, request, certificate, file] =
        ["key", "csr", "pem", "ext"].map(|extension| format!("{name}.{extension}"));
    let extensions = format!("{extensions}basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n");
    std::fs::write(folder.join(&file), extensions).unwrap();
    run(Command::new("openssl")
        .current_dir(folder)
        .args(["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-subj", &format!("/CN={common_name}"), "-keyout", &key, "-out", &request]));
    run(Command::new("openssl")
        .current_dir(folder)
        .args(["x509", "-req", "-in", &request, "-days", "2", "-CA", "ca.pem", "-CAkey", "ca.key"])
        .args(["-CAcreateserial", "-extfile", &file, "-out", &certificate]));
}

fn slapd_conf(folder: &Path, global: &str, configuration: &str) -> String {
    let folder = folder.display();
    let schemas: String =
        ["core", "cosine", "nis", "inetorgperson"].iter().fold(String::new(), |mut text, schema| {
            let _ = writeln!(text, "include /etc/ldap/schema/{schema}.schema");
            text
        });
    format!(
        "{schemas}\
         pidfile {folder}/slapd.pid\n\
         modulepath /usr/lib/ldap\n\
         moduleload back_mdb\n\
         moduleload syncprov\n\
         moduleload memberof\n\
         moduleload refint\n\
         TLSCACertificateFile {folder}/ca.pem\n\
         TLSCertificateFile {folder}/server.pem\n\
         TLSCertificateKeyFile {folder}/server.key\n\
         {global}\n\
         threads 4\n\
         database mdb\n\
         suffix {BASE}\n\
         rootdn cn=admin,{BASE}\n\
         rootpw secret\n\
         directory {folder}/data\n\
         maxsize 67108864\n\
         index objectClass,uid,cn,member,memberUid,uniqueMember,gidNumber eq\n\
         access to attrs=userPassword by anonymous auth by * none\n\
         access to * by dn.exact={SERVICE} read by * none\n\
         {configuration}\n"
    )
}

fn base_ldif() -> String {
    format!(
        "dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: Example\ndc: example\n\n\
         dn: {PEOPLE}\nobjectClass: organizationalUnit\nou: people\n\n\
         dn: {GROUPS}\nobjectClass: organizationalUnit\nou: groups\n\n\
         dn: {SERVICE}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: svc\nuserPassword: {PASSWORD}\n"
    )
}
