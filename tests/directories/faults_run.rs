//! One service through all faults, one after the other and twice, under a load of reviews: what it answers meanwhile, how soon
//! it is itself again, and what it holds at the end.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bailiwick::tls::{Identity, MinVersion, ServerContext};
use tokio::time::sleep;

use crate::faulty::{self, FakeServer, FaultProxy, Mode};
use crate::fixture::{READERS, Service, Site, Transport, directory, eventually};
use crate::load::{company, recovered};
use crate::resident::{Held, PASSING_THREADS};
use crate::slapd::{PASSWORD, SYNCPROV, Slapd};
use crate::trial::{CACHE, LASTING, Outcome, TIMEOUTS, Trial, is_fed};

/// How long a fault lasts the first time, for warming up.
const WARMING_UP: Duration = Duration::from_secs(1);
/// What the resident memory may grow by from the end of the first turn to that of the second, in KiB.
const GROWTH: u64 = 5 << 10;

/// A fault.
#[derive(Debug, Clone)]
enum Fault {
    /// None, for comparison.
    None,
    /// Of the network.
    Network(Mode),
    /// Of a server.
    Server(faulty::Answer),
    /// The password in the service's file is not the directory's.
    WrongPassword,
}

fn faults(referred: SocketAddr) -> Vec<(&'static str, Fault)> {
    use faulty::Answer;
    let code = |code| Fault::Server(Answer::Result(Vec::new(), code));
    vec![
        ("none", Fault::None),
        ("200 ms latency", Fault::Network(Mode::Latency(Duration::from_millis(200)))),
        ("black hole", Fault::Network(Mode::Blackhole)),
        ("reset", Fault::Network(Mode::Reset)),
        ("refused", Fault::Network(Mode::Refuse)),
        ("TLS cut in the handshake", Fault::Network(Mode::CutAfter(300))),
        ("TLS cut in an answer", Fault::Network(Mode::CutAfter(4000))),
        ("drip", Fault::Network(Mode::Drip(50))),
        ("busy", code(51)),
        ("unavailable", code(52)),
        ("operations error", code(1)),
        ("notice of disconnection", Fault::Server(Answer::NoticeOfDisconnection)),
        ("wrong message id", Fault::Server(Answer::WrongMessageId)),
        ("other operation", Fault::Server(Answer::OtherOperation)),
        ("truncated BER", Fault::Server(Answer::TruncatedElement)),
        ("over-long BER", Fault::Server(Answer::LyingLength)),
        ("BER of 2 GiB", Fault::Server(Answer::HugeLength)),
        ("BER 100 deep", Fault::Server(Answer::HundredDeep)),
        ("BER 16,600 deep", Fault::Server(Answer::DeepNesting)),
        ("referral loop", Fault::Server(Answer::Referral(format!("ldap://{referred}/??sub")))),
        ("no answer", Fault::Server(Answer::Hang)),
        ("wrong password", Fault::WrongPassword),
    ]
}

struct Scene {
    slapd: Slapd,
    proxy: FaultProxy,
    fake: FakeServer,
    service: Arc<Service>,
    _site: Site,
}

impl Scene {
    async fn new() -> Self {
        let slapd = Slapd::start(&company(), SYNCPROV);
        let proxy = FaultProxy::start(slapd.address()).await;
        let [cert_pem, key_pem] =
            ["server.pem", "server.key"].map(|name| std::fs::read_to_string(slapd.path(name)).unwrap());
        let identity = Identity { cert_pem, key_pem };
        let tls = ServerContext::from_pem("fake", &identity, None, MinVersion::Tls12).unwrap();
        let fake = FakeServer::start(faulty::Answer::Hang, Some(tls)).await;
        let site = Site::new(&[("all.yaml", READERS)]);
        let section = directory(&slapd, Transport::Ldaps, TIMEOUTS, CACHE);
        site.configure(&section.replace(&slapd.ldaps_url(), &format!("ldaps://{}", proxy.address())));
        let service = Service::start(&site).await.into();
        Self { slapd, proxy, fake, service, _site: site }
    }

    fn begin(&self, fault: &Fault) {
        match fault {
            Fault::None => {}
            Fault::Network(mode) => {
                self.proxy.set(*mode);
                if matches!(mode, Mode::CutAfter(_) | Mode::Drip(_)) {
                    // What is open goes on as it is until it is counted.
                    self.proxy.turn(self.slapd.address());
                }
            }
            Fault::Server(answer) => {
                self.fake.set(answer.clone());
                self.proxy.turn(self.fake.address());
            }
            Fault::WrongPassword => {
                self.slapd.write_password("not-the-password");
                self.proxy.turn(self.slapd.address());
            }
        }
    }

    fn end(&self, fault: &Fault) {
        match fault {
            Fault::None => {}
            Fault::Network(_) => self.proxy.set(Mode::Ok),
            Fault::Server(_) => self.proxy.turn(self.slapd.address()),
            Fault::WrongPassword => self.slapd.write_password(PASSWORD),
        }
    }

    /// Binds that were refused so far.
    fn refused_binds(&self) -> usize {
        self.slapd.logged(&["RESULT", "err=49"]).len()
    }

    /// Connections that slapd has.
    fn connections(&self) -> usize {
        self.slapd.logged(&["ACCEPT"]).len() - self.slapd.logged(&[" closed"]).len()
    }

    async fn suffer(&self, name: &str, fault: &Fault, lasting: Duration) -> Outcome {
        let (refused, searches) = (self.refused_binds(), self.fake.searches());
        let (slapd, service) = (&self.slapd, &self.service);
        let serves = matches!(fault, Fault::None | Fault::Network(Mode::Latency(_)));
        // An answer is cut that comes after some others, which the feed may live on for a while.
        let feeds = (!matches!(fault, Fault::Network(Mode::CutAfter(_)))).then_some(serves);
        let trial = Trial { name, slapd, service, serves, feeds, lasting };
        let mut outcome = trial.run(|| self.begin(fault), || self.end(fault)).await;
        let refused = self.refused_binds() - refused;
        if refused != usize::from(matches!(fault, Fault::WrongPassword)) {
            outcome.wrong.push(format!("{refused} refused binds"));
        }
        if matches!(fault, Fault::Server(_)) && self.fake.searches() == searches {
            outcome.wrong.push("the faulty server was not asked".to_owned());
        }
        outcome
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_fault_of_the_directory_costs_an_answer_grants_anything_or_leaves_anything_behind() {
    // Who follows a referral comes here.
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let faults = faults(elsewhere.local_addr().unwrap());
    let scene = Scene::new().await;
    eventually("the feed is up", async || is_fed(&scene.service).await).await;
    recovered(&scene.service, false).await;

    let mut wrong = Vec::new();
    let mut turns = Vec::new();
    for lasting in [WARMING_UP, LASTING] {
        println!("\neach fault for {lasting:?}:");
        Outcome::print_head();
        for (name, fault) in &faults {
            let outcome = scene.suffer(name, fault, lasting).await;
            outcome.print();
            wrong.extend(outcome.wrong.into_iter().map(|wrong| format!("{name}: {wrong}")));
        }
        // Whatever is closed a moment later is closed.
        sleep(Duration::from_secs(3)).await;
        turns.push((Held::by(scene.service.id()), scene.connections()));
    }
    let [(before, connections_before), (after, connections)] = turns[..] else { panic!() };
    println!("before: {before:?}, {connections_before} connections; after: {after:?}, {connections}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(elsewhere.accept().is_err(), "a referral was followed");
    assert!(after.memory <= before.memory + GROWTH, "{before:?} {after:?}");
    assert!(after.files <= before.files + 1, "{before:?} {after:?}");
    assert!(after.threads <= before.threads + PASSING_THREADS, "{before:?} {after:?}");
    assert!(connections <= connections_before, "{connections_before} connections, then {connections}");
    let Ok(mut service) = Arc::try_unwrap(scene.service) else { panic!("somebody asks it still") };
    assert!(service.is_running(), "{:?}", service.log());
    assert!(!service.log().iter().any(|line| line.contains("panicked")), "{:?}", service.log());
}
