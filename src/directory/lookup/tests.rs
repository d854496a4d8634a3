use std::sync::Arc;

use tokio::runtime::Handle;

use super::super::persona::samples::{COMPANY, OPEN_COMPANY};
use super::super::persona::{Asked, Fault, Outcome as Said, Persona};
use super::super::{Bind, Directory, ResultCode, ServerKind, Settings, Strategy};
use super::*;
use crate::model::{Partial, Person};
use crate::telemetry::Metrics;

/// A client of a server of this kind, as long as the folder with its password is there.
fn client(
    server: &Persona,
    base: &str,
    change: impl FnOnce(&mut Settings),
) -> (Arc<Directory>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let password_file = folder.path().join("password");
    std::fs::write(&password_file, "pw").unwrap();
    let bind = Bind::Simple { dn: "cn=svc,dc=corp,dc=example".to_owned(), password_file };
    let mut settings = Settings::new(vec![server.url()], bind, base);
    settings.tls.insecure_plaintext = true;
    settings.timeouts.connect = Duration::from_secs(5);
    settings.timeouts.operation = Duration::from_secs(5);
    settings.timeouts.total = Duration::from_secs(10);
    change(&mut settings);
    let metrics = Metrics::new().unwrap();
    (Directory::over(settings, None, &metrics.directory, Handle::current()).unwrap(), folder)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

async fn looked_up(server: &Persona, base: &str, user: &str, change: impl FnOnce(&mut Settings)) -> Lookup {
    let (directory, _folder) = client(server, base, change);
    directory.lookup(user, soon()).await
}

const BASE: &str = "dc=corp,dc=example";

fn steps(lookup: &Lookup) -> Vec<(Step, Option<usize>)> {
    let found = |searched: &Searched| match &searched.outcome {
        Outcome::Found { entries, .. } => Some(*entries),
        _ => None,
    };
    lookup.searches.iter().map(|searched| (searched.step, found(searched))).collect()
}

/// What a server was asked since it was connected to; the rest is the order of the connection.
fn asked(server: &Persona) -> Vec<Asked> {
    let of_people = |asked: &Asked| !asked.is_of_the_root() && !asked.base.starts_with("CN=Partitions");
    let mut seen = server.seen().searches;
    seen.retain(of_people);
    seen.iter_mut().for_each(|asked| asked.connection = 0);
    seen
}

#[tokio::test]
async fn a_look_up_sends_the_searches_of_a_resolution_and_shows_each() {
    for (server, is_active_directory) in
        [(Persona::open_ldap(OPEN_COMPANY).await, false), (Persona::active_directory(COMPANY).await, true)]
    {
        let (directory, _folder) = client(&server, BASE, |_| ());
        let facts = directory.resolve("ada", None, soon()).await.unwrap();
        let resolved = asked(&server);
        server.forget();
        let lookup = looked_up(&server, BASE, "ada", |_| ()).await;
        assert_eq!(asked(&server), resolved);
        let found = lookup.result.as_ref().unwrap();
        assert_eq!((&found.person, &found.groups), (&facts.person, &facts.groups));
        let shown = lookup.searches.iter().map(|it| (it.base.clone(), it.scope, it.attributes.clone()));
        let sent = resolved.iter().map(|it| (it.base.clone(), it.scope, it.attributes.clone()));
        assert_eq!(shown.collect::<Vec<_>>(), sent.collect::<Vec<_>>());
        for (shown, sent) in lookup.searches.iter().zip(&resolved) {
            assert_eq!(shown.controls, sent.controls, "{shown:?}");
        }
        let expected = match is_active_directory {
            true => vec![(Step::Person, Some(1)), (Step::TokenGroups, Some(1)), (Step::GroupNames, Some(5))],
            false => [1, 1, 1, 1, 0]
                .into_iter()
                .enumerate()
                .map(|(level, found)| {
                    (if level == 0 { Step::Person } else { Step::Groups(level) }, Some(found))
                })
                .collect(),
        };
        assert_eq!(steps(&lookup), expected);
        let met = lookup.server.as_ref().unwrap();
        assert_eq!((&met.url, met.about.is_active_directory()), (&server.url(), is_active_directory));
        assert!(lookup.took >= lookup.searches.iter().map(|searched| searched.took).sum::<Duration>());
        assert_eq!(lookup.unlisted, 0);
    }
}

#[tokio::test]
async fn what_was_chosen_is_said_with_the_reason() {
    let words = |lookup: Lookup| {
        let Approach { flavour, strategy } = lookup.approach.unwrap();
        [flavour.word, flavour.why, strategy.word, strategy.why]
    };
    let open = Persona::open_ldap(OPEN_COMPANY).await;
    let auto = words(looked_up(&open, BASE, "ada", |_| ()).await);
    let why = ["`auto`: the server is not Active Directory", "`auto`: every directory can do it"];
    assert_eq!(auto, ["openldap", why[0], "search", why[1]]);
    let controller = Persona::active_directory(COMPANY).await;
    let auto = words(looked_up(&controller, BASE, "ada", |_| ()).await);
    let why = ["`auto`: the server is Active Directory", "`auto`: the best that Active Directory has"];
    assert_eq!(auto, ["activeDirectory", why[0], "tokenGroups", why[1]]);
    let search = |settings: &mut Settings| settings.group_search.strategy = Strategy::Search;
    let configured = words(looked_up(&controller, BASE, "ada", search).await);
    assert_eq!(configured, ["activeDirectory", why[0], "search", "as configured"]);
}

#[tokio::test]
async fn identifiers_in_filters_are_text_and_ask_for_the_same() {
    let server = Persona::active_directory(COMPANY).await;
    let lookup = looked_up(&server, BASE, "ada", |_| ()).await;
    let names = lookup.searches.iter().find(|searched| searched.step == Step::GroupNames).unwrap();
    let mid = server.change(|content| content.sid("CN=mid,OU=Groups,DC=corp,DC=example"));
    assert!(names.filter.contains(&format!("(objectSid={mid})")), "{}", names.filter);
    assert!(!names.filter.contains('\\'), "{}", names.filter);
    assert_eq!(names.controls, [PAGED_RESULTS]);
    assert!(matches!(names.outcome, Outcome::Found { pages: 1, cut: None, .. }), "{:?}", names.outcome);
    for filter in ["(uid=a\\2ab)", "(objectSid=S-1-5-32-545)", "(objectSid=\\01", "(objectSid=\\zz)", ""] {
        assert_eq!(readable(filter), filter);
    }
}

#[tokio::test]
async fn a_failure_shows_the_searches_that_led_to_it() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let is_of_groups = |search: &Asked| search.filter.contains("member=");
    server.fault_where(Fault::Result(Said::new(50, "")), is_of_groups);
    let lookup = looked_up(&server, BASE, "ada", |_| ()).await;
    let refused = LookupError::Refused(ResultCode::INSUFFICIENT_ACCESS);
    assert_eq!(lookup.result, Err(refused.clone()));
    assert_eq!(steps(&lookup), [(Step::Person, Some(1)), (Step::Groups(1), None)]);
    assert_eq!(lookup.searches[1].outcome, Outcome::Failed(refused));
    assert_eq!(lookup.considered[0].verdict, Verdict::Taken);

    server.heal();
    server.fault_where(Fault::Hang, is_of_groups);
    let impatient = |settings: &mut Settings| settings.timeouts.total = Duration::from_millis(300);
    let (directory, _folder) = client(&server, BASE, |settings| {
        impatient(settings);
        settings.timeouts.connect = Duration::from_millis(200);
        settings.timeouts.operation = Duration::from_millis(300);
    });
    // Whether the connection was there in time is not the question.
    while directory.about(soon()).await.is_err() {}
    let lookup = directory.lookup("ada", soon()).await;
    assert!(lookup.result.is_err(), "{lookup:?}");
    let last = &lookup.searches.last().unwrap();
    assert_eq!(last.step, Step::Groups(1), "{lookup:?}");
    assert!(matches!(last.outcome, Outcome::Unanswered | Outcome::Failed(_)), "{last:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_or_refuses_us_is_an_error_without_searches() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    server.refuse_binds(Said::new(49, ""));
    let lookup = looked_up(&server, BASE, "ada", |_| ()).await;
    assert!(matches!(lookup.result, Err(LookupError::Credentials(_))), "{lookup:?}");
    server.down().await;
    let lookup = looked_up(&server, BASE, "ada", |_| ()).await;
    assert!(matches!(lookup.result, Err(LookupError::Unreachable(_))), "{lookup:?}");
    assert!(lookup.searches.is_empty() && lookup.server.is_none() && lookup.approach.is_none());
}

#[tokio::test]
async fn entries_that_are_not_taken_are_shown_with_their_names() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let lookup = looked_up(&server, BASE, "ADA", |_| ()).await;
    assert_eq!(lookup.result.unwrap().person, Person::NotFound);
    let ada = "uid=ada,ou=people,dc=corp,dc=example".to_owned();
    let names = vec![("uid".to_owned(), "ada".to_owned())];
    assert_eq!(lookup.considered, [Considered { dn: ada, names, verdict: Verdict::OtherName }]);
    server.change(|content| {
        content.add(
            "dn: uid=ada,ou=groups,dc=corp,dc=example\nobjectClass: inetOrgPerson\nuid: ada\ncn: x\nsn: x\n",
        );
    });
    let lookup = looked_up(&server, BASE, "ada", |_| ()).await;
    assert_eq!(lookup.result.unwrap().person, Person::Ambiguous);
    let verdicts: Vec<Verdict> = lookup.considered.iter().map(|considered| considered.verdict).collect();
    assert_eq!(verdicts, [Verdict::OneOfSeveral; 2]);
}

#[tokio::test]
async fn a_result_that_was_cut_says_who_cut_it() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    server.fault_where(Fault::CutWith(Said::new(4, "")), |search| search.filter.contains("member="));
    let lookup = looked_up(&server, BASE, "ada", |_| ()).await;
    assert_eq!(lookup.result.unwrap().partial, Some(Partial::ServerLimit));
    let cut = lookup.searches.iter().filter_map(|searched| match &searched.outcome {
        Outcome::Found { cut, .. } => *cut,
        _ => None,
    });
    assert!(cut.into_iter().all(|cut| cut == Cut::ByServer(ResultCode::SIZE_LIMIT)));
    let depth = |settings: &mut Settings| settings.group_search.max_depth = 1;
    server.heal();
    let lookup = looked_up(&server, BASE, "ada", depth).await;
    assert_eq!(lookup.result.unwrap().partial, Some(Partial::Depth));
}

#[tokio::test]
async fn ranges_and_the_domain_are_told() {
    let server = Persona::active_directory(COMPANY).await;
    server.change(|content| {
        for group in ["CN=mid,OU=Groups,DC=corp,DC=example", "CN=top,OU=Groups,DC=corp,DC=example"] {
            content.add_value(group, "member", "CN=Ada Lovelace,OU=People,DC=corp,DC=example");
        }
    });
    // What it says of itself is to come whole, once.
    let (directory, _folder) = client(&server, BASE, |settings| settings.pool.connections = 1);
    directory.about(soon()).await.unwrap();
    server.set(|manner| manner.max_val_range = Some(2));
    let lookup = directory.lookup("CORP\\ada", soon()).await;
    server.set(|manner| manner.max_val_range = None);
    assert!(lookup.result.is_ok(), "{lookup:?}");
    let ranges = lookup.searches.iter().filter(|searched| searched.step == Step::Range);
    let asked: Vec<&str> = ranges.map(|searched| searched.attributes[0].as_str()).collect();
    assert_eq!(asked, ["memberof;range=2-*"; 2]);
    let domain = ServerKind::ActiveDirectory {
        dns_domain: Some("corp.example".to_owned()),
        netbios_domain: Some("CORP".to_owned()),
    };
    assert_eq!(lookup.server.unwrap().about.kind, domain);
    let stranger = looked_up(&server, BASE, "OTHER\\ada", |_| ()).await;
    assert_eq!(stranger.result.unwrap().person, Person::NotFound);
    assert!(stranger.searches.is_empty(), "another domain is not asked for");
}
