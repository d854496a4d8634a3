//! A black hole as firewalls make it: packets to and from the directory vanish, in a network of the test's own.

use std::sync::Arc;

use crate::fixture::{READERS, Service, Site, Transport, directory, eventually};
use crate::load::{company, recovered};
use crate::namespace::{self, iptables};
use crate::slapd::{SYNCPROV, Slapd};
use crate::trial::{CACHE, LASTING, Outcome, TIMEOUTS, Trial, is_fed};

#[tokio::test(flavor = "multi_thread")]
async fn packets_that_vanish_cost_no_answer_and_grant_nothing() {
    let name = "packets_that_vanish_cost_no_answer_and_grant_nothing";
    if !namespace::is_inside(&namespace::name(module_path!(), name)) {
        return;
    }
    let slapd = Slapd::start(&company(), SYNCPROV);
    let site = Site::new(&[("all.yaml", READERS)]);
    site.configure(&directory(&slapd, Transport::Ldaps, TIMEOUTS, CACHE));
    let service = Arc::new(Service::start(&site).await);
    eventually("the feed is up", async || is_fed(&service).await).await;
    recovered(&service, false).await;
    let port = slapd.address().port();
    let mut wrong = Vec::new();
    Outcome::print_head();
    for (name, rules, serves) in [
        // What is connected goes on.
        ("SYN vanishes", vec![format!("--dport {port} --syn")], true),
        ("all but SYN vanishes", vec![format!("--dport {port} ! --syn")], false),
        ("answers vanish", vec![format!("--sport {port}")], false),
        ("everything vanishes", vec![format!("--dport {port}"), format!("--sport {port}")], false),
    ] {
        let (slapd, service, feeds) = (&slapd, &service, Some(serves));
        let trial = Trial { name, slapd, service, serves, feeds, lasting: LASTING };
        let begin = || rules.iter().for_each(|rule| iptables(&format!("-A INPUT -p tcp {rule} -j DROP")));
        let outcome = trial.run(begin, || iptables("-F INPUT")).await;
        outcome.print();
        wrong.extend(outcome.wrong.iter().map(|wrong| format!("{name}: {wrong}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let Ok(mut service) = Arc::try_unwrap(service) else { panic!("somebody asks it still") };
    assert!(service.is_running(), "{:?}", service.log());
}
