//! Servers by SRV records, from a real name server, in a network of the test's own.

use std::net::{TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bailiwick::model::Decision::Allow;
use serde_json::Value;

use crate::fixture::{
    PATIENT, Service, Site, Transport, directory, eventually, group, person, policy, user_dn,
};
use crate::namespace;
use crate::processes::{program, run};
use crate::slapd::Slapd;

/// The one name that the servers' certificates have.
const HOST: &str = "ldap.example.test";
/// Records are asked for again after half a minute at the earliest.
const ASKED_AGAIN: Duration = Duration::from_secs(60);
const CACHE: &str = "  cache: {softTTL: 1h, hardTTL: 2h, negativeTTL: 1h}";

/// A name server at the address that the system asks. Killed when dropped.
struct NameServer(Child);

impl NameServer {
    /// It names these ports of the host, with their priorities.
    fn start(folder: &Path, records: &[(u16, u16)]) -> Self {
        let mut configuration = format!(
            "no-resolv\nno-hosts\nport=53\nlisten-address=127.0.0.1\nbind-interfaces\n\
             local-ttl=1\naddress=/{HOST}/127.0.0.1\nlocal=/example.test/\n"
        );
        for (port, priority) in records {
            configuration += &format!("srv-host=_ldaps._tcp.example.test,{HOST},{port},{priority},100\n");
        }
        let file = folder.join("dnsmasq.conf");
        std::fs::write(&file, configuration).unwrap();
        let process = Command::new(program("dnsmasq", "dnsmasq-base"))
            .args(["--keep-in-foreground", "--user=root", "--pid-file="])
            .arg(format!("--conf-file={}", file.display()))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect("127.0.0.1:53").is_err() {
            assert!(Instant::now() < until, "dnsmasq does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
        // It is the one that was started, and not one before it that ends only now.
        assert!(UdpSocket::bind("127.0.0.1:53").is_err());
        Self(process)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn searched(slapd: &Slapd) -> usize {
    slapd.logged(&["SRCH base=\"ou="]).len()
}

/// Asks for somebody of whom nothing is held.
async fn is_allowed(service: &Service) -> bool {
    let (status, said) = service.post("/purge", &Value::Null).await;
    assert_eq!(status, 200, "{said}");
    service.decides("ada", "get", "pods").await == Allow
}

/// The ports of the servers that there are, by the metrics.
async fn servers(service: &Service) -> Vec<u16> {
    let (_, text) = service.get("/metrics").await;
    let before = format!("bailiwick_directory_up{{server=\"ldaps://{HOST}:");
    let ports = text.lines().filter_map(|line| line.strip_prefix(&before)?.split_once('"'));
    ports.map(|(port, _)| port.parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_are_found_left_and_exchanged_by_srv_records() {
    let name = "servers_are_found_left_and_exchanged_by_srv_records";
    if !namespace::is_inside(&namespace::name(module_path!(), name)) {
        return;
    }
    // Replicas have the same identities.
    let with_id = |entry: String, digit: &str| {
        format!("{}\nentryUUID: 00000000-0000-4000-8000-00000000000{digit}\n\n", entry.trim_end())
    };
    let company = with_id(person("ada"), "1") + &with_id(group("readers", &[user_dn("ada")]), "2");
    let [mut first, mut second] = [(); 2].map(|()| Slapd::start(&company, ""));
    let [first_port, second_port] = [&first, &second].map(|slapd| slapd.address().port());
    let readers = policy("readers", "Allow", "[{kind: DirectoryGroup, name: readers}]", "[pods]");
    let site = Site::new(&[("all.yaml", &readers)]);
    let resolv = site.write("resolv.conf", "nameserver 127.0.0.1\n");
    run(Command::new("mount").arg("--bind").arg(resolv).arg("/etc/resolv.conf"));
    let authorities =
        [&first, &second].map(|slapd| std::fs::read_to_string(slapd.path("ca.pem")).unwrap()).concat();
    let authorities = site.write("directories.pem", &authorities);
    let section = directory(&first, Transport::Ldaps, PATIENT, CACHE)
        .replace(&format!("urls: [\"{}\"]", first.ldaps_url()), "srv: example.test\n    changeFeed: \"off\"")
        .replace(&first.path("ca.pem").display().to_string(), &authorities.display().to_string());
    site.configure(&section);

    let names = NameServer::start(&site.path(""), &[(first_port, 10), (second_port, 20)]);
    let service = Service::start(&site).await;
    assert!(is_allowed(&service).await);
    assert_eq!((searched(&first) > 0, searched(&second)), (true, 0), "the first by priority");

    first.kill();
    let died = Instant::now();
    eventually("the second one answers", async || is_allowed(&service).await).await;
    println!("the second server answers {:.1?} after the first died", died.elapsed());
    assert!(searched(&second) > 0);

    first.restart();
    drop(names);
    assert!(is_allowed(&service).await, "without a name server too");
    let _names = NameServer::start(&site.path(""), &[(first_port, 10)]);
    let changed = Instant::now();
    while servers(&service).await != [first_port] {
        assert!(changed.elapsed() < ASKED_AGAIN, "{:?}", servers(&service).await);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!("changed records are followed {:.1?} later", changed.elapsed());
    second.kill();
    assert!(is_allowed(&service).await);
}
