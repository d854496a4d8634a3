//! What is said of configurations with mistakes in them: one file a mistake in `tests/configuration`, with the diagnostics
//! beside it (`BLESS=1 cargo test configuration` writes them anew); and what a whole configuration is read as.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bailiwick::config::{ClientEntry, ClientProof, Configuration, DirectoryKind, FrontendConfiguration};
use bailiwick::directory::{Bind, ChangeFeed, Flavour, MatchRule, Strategy};
use bailiwick::document::{Diagnostics, Source};
use bailiwick::eval::{self, AccountEffect, DefaultDecision, WhenUndetermined, WhenUnreachable};
use bailiwick::policy::{Exempt, Guard, Pattern, ast::AttributeType};
use bailiwick::telemetry::{audit, log};
use bailiwick::{cache, tls::MinVersion};
use jiff::SignedDuration;

#[test]
fn each_mistake_of_a_configuration_is_shown_in_its_place() {
    each_mistake_is_shown("tests/configuration", 40, |source| Configuration::read(source).err());
}

#[test]
fn each_mistake_of_a_front_ends_configuration_is_shown_in_its_place() {
    each_mistake_is_shown("tests/configuration/frontend", 9, |source| {
        FrontendConfiguration::read(source).err()
    });
}

fn each_mistake_is_shown(folder: &str, at_least: usize, read: impl Fn(Source) -> Option<Diagnostics>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(files.len() >= at_least, "{} files", files.len());
    let mut differences = String::new();
    for path in &files {
        let name = path.file_name().unwrap().to_str().unwrap();
        let diagnostics = read(Source::new(name, fs::read(path).unwrap()));
        let rendered = diagnostics.unwrap_or_else(|| panic!("{name}: no mistake was found")).to_string();
        let expected_path = path.with_extension("txt");
        if std::env::var_os("BLESS").is_some() {
            fs::write(&expected_path, &rendered).unwrap();
        }
        if fs::read_to_string(&expected_path).unwrap_or_default() != rendered {
            writeln!(differences, "{name} now says:\n{rendered}").unwrap();
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn a_server_is_what_its_section_says() {
    let server = read(WHOLE).unwrap().server;
    assert_eq!(server.listener.listen, "0.0.0.0:9443".parse().unwrap());
    assert_eq!(server.listener.workers.unwrap().get(), 3);
    assert_eq!((server.listener.max_connections, server.listener.shutdown_grace), (77, secs(20)));
    assert_eq!(server.cluster.as_deref(), Some("prod-1"));
    assert_eq!(server.identity.as_deref(), Some("bailiwick-itself"));
    assert_eq!((server.deadline, server.max_body_bytes, server.max_in_flight), (secs(3), 65_536, 9));
    assert_eq!(server.tls.cert_file, Path::new("/etc/bailiwick/tls/server.crt"));
    assert_eq!(server.tls.key_file, Path::new("/run/server.key"), "an absolute path stays what it is");
    assert_eq!(server.tls.client_ca_file.as_deref(), Some(Path::new("/etc/bailiwick/tls/clients.crt")));
    assert_eq!(server.tls.crl_file.as_deref(), Some(Path::new("/etc/bailiwick/tls/clients.crl")));
    assert_eq!(server.tls.min_version, MinVersion::Tls13);
    let client = |proof, cluster: &str| ClientEntry { proof, clusters: vec![cluster.to_owned()] };
    assert_eq!(
        server.clients,
        Some(vec![
            client(ClientProof::Name("kube-apiserver".to_owned()), "prod-1"),
            client(ClientProof::TokenFile("/etc/bailiwick/token".into()), "prod-2"),
        ])
    );
}

#[test]
fn an_admin_listener_is_what_its_section_says() {
    let admin = read(WHOLE).unwrap().admin;
    assert_eq!(admin.listener.listen, "[::1]:9081".parse().unwrap());
    assert_eq!(admin.token_file.as_deref(), Some(Path::new("/etc/bailiwick/admin-token")));
    assert_eq!(admin.tls.unwrap().cert_file, Path::new("/etc/bailiwick/admin.crt"));
}

#[test]
fn a_directory_is_what_its_section_says() {
    let configuration = read(WHOLE).unwrap();
    let DirectoryKind::Ldap(ldap) = configuration.directory.kind else { panic!("no LDAP") };
    assert_eq!(ldap.urls, ["ldap://dc1.example.com", "ldap://dc2.example.com:1389"]);
    assert_eq!(ldap.tls.files.ca_file.as_deref(), Some(Path::new("/etc/bailiwick/ca.crt")));
    assert_eq!(ldap.tls.files.server_name.as_deref(), Some("directory.example.com"));
    assert!(ldap.tls.start_tls && !ldap.tls.insecure_plaintext);
    let password_file = PathBuf::from("/etc/bailiwick/password");
    assert_eq!(ldap.bind, Bind::Simple { dn: "cn=svc,dc=example,dc=com".to_owned(), password_file });
    assert_eq!((ldap.flavour, ldap.change_feed), (Flavour::Rfc2307bis, ChangeFeed::Off));
    assert_eq!(ldap.user_search.base, "ou=people,dc=example,dc=com");
    assert_eq!(ldap.user_search.filter.as_deref(), Some("(mail={username})"));
    assert_eq!(ldap.user_search.match_rule, MatchRule::AsciiCaseFold);
    let groups = &ldap.group_search;
    assert_eq!((groups.base.as_str(), groups.name.as_deref()), ("ou=groups,dc=example,dc=com", Some("gn")));
    assert_eq!((groups.strategy, groups.nested), (Strategy::Search, false));
    assert_eq!((groups.max_depth, groups.max_groups), (5, 50));
    assert_eq!(ldap.attributes["clearance"].from, "bailiwickClearance");
    assert_eq!(ldap.attributes["department"].from, "departmentNumber");
    let times = ldap.timeouts;
    assert_eq!([times.connect, times.operation, times.total], [100, 200, 400].map(Duration::from_millis));
    assert_eq!((ldap.pool.connections, ldap.pool.in_flight, ldap.pool.max_age), (4, 32, secs(60)));
    let types = configuration.policy.attributes.unwrap();
    assert_eq!(types["clearance"], AttributeType::Clearance);
    assert_eq!(types["department"], AttributeType::String);
}

#[test]
fn what_is_made_of_people_is_what_its_sections_say() {
    let configuration = read(WHOLE).unwrap();
    assert_eq!(configuration.directory.usernames.strip_prefix, "oidc:");
    assert_eq!(configuration.directory.usernames.exclude, ["oidc:bot-*"]);
    let accounts = configuration.eval.accounts;
    assert_eq!((accounts.disabled, accounts.expired), (AccountEffect::Ignore, AccountEffect::Ignore));
    assert_eq!((accounts.locked, accounts.password_expired), (AccountEffect::Deny, AccountEffect::Deny));
    assert_eq!((accounts.not_found, accounts.ambiguous), (AccountEffect::Deny, AccountEffect::Ignore));
    assert_eq!(accounts.when_unreachable, WhenUnreachable::Deny);
    let cache = configuration.cache;
    assert_eq!([cache.soft_ttl, cache.hard_ttl, cache.negative_ttl], [secs(10), secs(40), secs(5)]);
    assert_eq!((cache.max_entries, cache.load_timeout), (1234, Duration::from_millis(400)));
}

#[test]
fn decisions_are_what_their_sections_say() {
    let Configuration { policy, eval, store, audit, log, .. } = read(WHOLE).unwrap();
    assert_eq!(policy.source_address_key, "example.com/address");
    assert!(policy.trusted_clusters.iter().eq(["prod-1"]));
    assert_eq!(policy.proxies, ["front-proxy"]);
    assert_eq!(policy.clearance_extra_key, None);
    assert!(policy.guards.iter().eq(&[Guard::ImpersonateExtras]));
    let exempt = |user: &str, group: Option<&str>| Exempt {
        user: Pattern::parse(user).unwrap(),
        group: group.map(str::to_owned),
    };
    assert_eq!(
        policy.exempt,
        [exempt("system:node:*", Some("system:nodes")), exempt("bailiwick-itself", None)]
    );
    assert_eq!(
        (eval.default, eval.when_undetermined),
        (DefaultDecision::Deny, WhenUndetermined::Unavailable)
    );
    assert_eq!(
        (eval.authorized_ttl, eval.unauthorized_ttl),
        (SignedDuration::ZERO, SignedDuration::from_secs(7))
    );
    assert_eq!(store.paths, [PathBuf::from("/etc/bailiwick/policies"), PathBuf::from("/srv/more")]);
    assert_eq!(store.reload_interval, secs(9));
    assert_eq!((audit.path, audit.level), (PathBuf::from("/etc/bailiwick/audit.log"), audit::Level::Off));
    assert_eq!((log.format, log.level.as_str()), (log::Format::Text, "debug"));
}

#[test]
fn what_is_left_out_is_what_the_design_says() {
    let configuration = read(SHORT).unwrap();
    let server = &configuration.server;
    assert_eq!((server.deadline, server.max_body_bytes, server.max_in_flight), (secs(2), 1_048_576, 1024));
    assert_eq!(server.listener.shutdown_grace, secs(10));
    assert_eq!(
        (server.cluster.as_deref(), server.clients.as_ref(), server.identity.as_ref()),
        (None, None, None)
    );
    assert_eq!(server.tls.min_version, MinVersion::Tls12);
    assert_eq!(configuration.admin.listener.listen, "127.0.0.1:8081".parse().unwrap());
    assert!(configuration.admin.tls.is_none() && configuration.admin.token_file.is_none());
    assert_eq!(configuration.eval, eval::Settings::default());
    assert_eq!(configuration.cache, cache::Settings::default());
    let policy = &configuration.policy;
    assert_eq!(policy.source_address_key, "bailiwick.dev/source-address");
    assert!(policy.trusted_clusters.is_empty() && policy.proxies.is_empty());
    assert_eq!((policy.exempt.len(), policy.guards.len()), (Exempt::defaults().len(), 2));
    assert_eq!(configuration.store.reload_interval, secs(5));
    assert_eq!((configuration.audit.path, configuration.audit.level), ("-".into(), audit::Level::Decisions));
    assert_eq!((configuration.log.format, configuration.log.level.as_str()), (log::Format::Json, "info"));
    let DirectoryKind::Ldap(ldap) = configuration.directory.kind else { panic!("no LDAP") };
    assert!(!ldap.tls.start_tls && !ldap.tls.insecure_plaintext);
    assert_eq!((ldap.flavour, ldap.change_feed), (Flavour::Auto, ChangeFeed::Auto));
    assert_eq!(ldap.user_search.filter, None);
    assert_eq!(ldap.user_search.match_rule, MatchRule::Exact);
    let groups = &ldap.group_search;
    assert_eq!((groups.strategy, groups.nested, groups.name.as_deref()), (Strategy::Auto, true, None));
    assert_eq!((groups.max_depth, groups.max_groups), (16, 5000));
    let times = ldap.timeouts;
    assert_eq!([times.connect, times.operation, times.total], [300, 500, 1500].map(Duration::from_millis));
    assert_eq!((ldap.pool.connections, ldap.pool.in_flight, ldap.pool.max_age), (2, 64, secs(900)));
}

#[test]
fn an_empty_list_switches_off_what_has_a_default() {
    let configuration = read(&format!("{SHORT}decisions: {{exempt: [], guards: []}}\n")).unwrap();
    assert!(configuration.policy.exempt.is_empty() && configuration.policy.guards.is_empty());
}

#[test]
fn a_clearance_may_come_from_extra_instead() {
    let configuration = read(&format!("{SHORT}clearance: {{extraKey: example.com/level}}\n")).unwrap();
    assert_eq!(configuration.policy.clearance_extra_key.as_deref(), Some("example.com/level"));
}

#[test]
fn off_loopback_a_certificate_or_a_token_or_a_word_is_asked_for() {
    let elsewhere = SHORT.replace("127.0.0.1:8443", "\"[::]:8443\"");
    assert!(read(&elsewhere).is_err());
    for proof in ["clients: [{tokenFile: token, clusters: [a]}]", "insecureNoClientAuth: true"] {
        let proven = elsewhere.replace("server:\n", &format!("server:\n  {proof}\n"));
        assert!(read(&proven).is_ok(), "{proof}");
    }
    assert!(read(&elsewhere.replace("keyFile: k", "keyFile: k, clientCAFile: c")).is_ok());
}

#[test]
fn the_embedded_directory_needs_only_its_file() {
    let directory = SHORT.find("directory:").unwrap();
    let text = format!("{}directory: {{kind: embedded, ldif: people.ldif}}\n", &SHORT[..directory]);
    let DirectoryKind::Embedded { ldif, settings } = read(&text).unwrap().directory.kind else {
        panic!("not embedded")
    };
    assert_eq!(ldif, Path::new("/etc/bailiwick/people.ldif"));
    assert_eq!(settings.timeouts.total, Duration::from_millis(1500));
}

#[test]
fn the_configuration_that_we_ship_is_valid() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/config.yaml");
    let read = Configuration::read(Source::new("config.yaml", fs::read(path).unwrap()));
    assert!(read.is_ok(), "{}", read.unwrap_err());
}

fn read(text: &str) -> Result<Configuration, Diagnostics> {
    Configuration::read(Source::new("/etc/bailiwick/config.yaml", text.as_bytes()))
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const SHORT: &str = r#"apiVersion: bailiwick.dev/v1alpha1
kind: Configuration
server:
  listen: 127.0.0.1:8443
  tls: {certFile: c, keyFile: k}
policies: {paths: [policies]}
directory:
  kind: ldap
  ldap:
    urls: [ldaps://dc1.example.com]
    bind: {dn: "cn=svc,dc=example,dc=com", passwordFile: password}
    userSearch: {base: "ou=people,dc=example,dc=com"}
    groupSearch: {base: "ou=groups,dc=example,dc=com"}
"#;

/// Every key, with another value than its default.
const WHOLE: &str = r#"apiVersion: bailiwick.dev/v1alpha1
kind: Configuration
server:
  listen: 0.0.0.0:9443
  cluster: prod-1
  identity: bailiwick-itself
  tls: {certFile: tls/server.crt, keyFile: /run/server.key, clientCAFile: tls/clients.crt, crlFile: tls/clients.crl, minVersion: "1.3"}
  clients:
    - {name: kube-apiserver, clusters: [prod-1]}
    - {tokenFile: token, clusters: [prod-2]}
  deadline: 3s
  maxBodyBytes: 65536
  maxInFlight: 9
  maxConnections: 77
  workers: 3
  shutdownGrace: 20s
  insecureNoClientAuth: false
admin: {listen: "[::1]:9081", tokenFile: admin-token, tls: {certFile: admin.crt, keyFile: admin.key}}
directory:
  kind: ldap
  ldap:
    urls: [ldap://dc1.example.com, ldap://dc2.example.com:1389]
    tls: {caFile: ca.crt, serverName: directory.example.com, certFile: c, keyFile: k, startTLS: true, insecurePlaintext: false, minVersion: 1.3}
    bind: {dn: "cn=svc,dc=example,dc=com", passwordFile: password}
    flavour: rfc2307bis
    userSearch: {base: "ou=people,dc=example,dc=com", filter: "(mail={username})", match: asciiCaseFold}
    groupSearch: {base: "ou=groups,dc=example,dc=com", strategy: search, nested: false, maxDepth: 5, maxGroups: 50, name: gn}
    attributes:
      clearance: {from: bailiwickClearance, type: level}
      department: {from: departmentNumber, type: string}
    changeFeed: off
    timeouts: {connect: 100ms, operation: 200ms, total: 400ms}
    pool: {connections: 4, inFlight: 32, maxAge: 1m}
  usernames: {stripPrefix: "oidc:", exclude: ["oidc:bot-*"]}
  accounts: {disabled: Ignore, expired: Ignore, locked: Deny, passwordExpired: Deny, notFound: Deny, ambiguous: Ignore, whenUnreachable: Deny}
  cache: {softTTL: 10s, hardTTL: 40s, negativeTTL: 5s, maxEntries: 1234}
location: {sourceAddressKey: example.com/address, trustedClusters: [prod-1], proxies: [front-proxy]}
policies: {paths: [policies, /srv/more], reloadInterval: 9s}
decisions:
  default: Deny
  whenUndetermined: Unavailable
  exempt: [{user: "system:node:*", group: "system:nodes"}]
  guards: [impersonate-extras]
caller: {authorizedTTL: 0s, unauthorizedTTL: 7s, failurePolicy: Deny, position: BeforeRBAC}
audit: {path: audit.log, level: off}
log: {format: text, level: debug}
"#;
