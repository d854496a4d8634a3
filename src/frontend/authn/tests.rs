//! The chain: which credential counts, and what it takes to be somebody, nobody in particular, or nobody.

mod wire;

use std::net::SocketAddr;

use super::*;
use crate::frontend::journey::Outcome;
use crate::tls::{Authority, ClientAuthorities, Identity, PresentedCertificate, SigningKey};

const URL: &str = "https://api";

struct Everything;

impl Objects for Everything {
    fn uid(&self, _: &str, _: &str, name: &str) -> Option<String> {
        Some(format!("uid-of-{name}"))
    }
}

struct Fixture {
    users: Authority,
    proxies: Authority,
    authenticators: Authenticators,
    _folder: tempfile::TempDir,
}

/// A request: who is at the other end, what it shows, and its headers.
#[derive(Default)]
struct Sent<'a> {
    certificate: Option<&'a Identity>,
    headers: Vec<(&'a str, &'a str)>,
    query: Vec<(String, String)>,
}

impl Fixture {
    fn new() -> Self {
        let (users, proxies) = (Authority::new("users").unwrap(), Authority::new("proxies").unwrap());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.csv");
        std::fs::write(&path, "static,bob,1,dev\nanon,system:anonymous,2\n").unwrap();
        let known = |authority: &Authority| ClientAuthorities::from_pem("test", authority.ca_pem()).unwrap();
        let issuer = Issuer {
            url: URL.to_owned(),
            audiences: vec![URL.to_owned()],
            max_expiration: DEFAULT_MAX_EXPIRATION,
            jwks_uri: None,
        };
        let key = Some(SigningKey::generate().unwrap());
        let accounts = ServiceAccountTokens::new(issuer, key, Vec::new(), Arc::new(Everything));
        let authenticators = Authenticators {
            request_header: Some(RequestHeader::new(known(&proxies), vec!["proxy".to_owned()])),
            client_certificates: Some(ClientCertificates::new(known(&users))),
            token_file: Some(TokenFile::open(path).unwrap()),
            service_accounts: Some(Arc::new(accounts)),
            anonymous: true,
            ..Authenticators::default()
        };
        Self { users, proxies, authenticators, _folder: folder }
    }

    fn account_token(&self) -> String {
        self.authenticators.service_accounts.as_ref().unwrap().issue(spec(), now()).unwrap().token
    }

    async fn found(&self, sent: Sent<'_>) -> Authentication {
        let presented = sent.certificate.map(|it| PresentedCertificate::from_pem(&it.cert_pem).unwrap());
        let address: SocketAddr = "192.0.2.7:40000".parse().unwrap();
        let peer = Peer { address, certificate: None, presented: presented.map(Arc::new) };
        let headers = headers::of(&sent.headers);
        let head = Head { headers: &headers, peer: &peer, query: &sent.query };
        self.authenticators.authenticate(&head, now()).await
    }

    /// The user, or `nobody`.
    async fn who(&self, certificate: Option<&Identity>, headers: &[(&str, &str)]) -> String {
        let sent = Sent { certificate, headers: headers.to_vec(), ..Sent::default() };
        let found = self.found(sent).await;
        found.who.map_or_else(|| "nobody".to_owned(), |found| found.subject.user)
    }
}

/// A token of the account `prod/web`.
fn spec() -> TokenSpec {
    TokenSpec {
        namespace: "prod".to_owned(),
        name: "web".to_owned(),
        uid: "uid-of-web".to_owned(),
        audiences: Vec::new(),
        expiration_seconds: None,
        bound: None,
    }
}

/// Certificates are judged at the time that is handed in; theirs begin when the test does.
fn now() -> Timestamp {
    Timestamp::now()
}

const ROOT: (&str, &str) = ("X-Remote-User", "root");

#[tokio::test]
async fn each_credential_is_its_user() {
    let fixture = Fixture::new();
    let ada = fixture.users.client("ada", &[]).unwrap();
    let proxy = fixture.proxies.client("proxy", &[]).unwrap();
    let account = format!("Bearer {}", fixture.account_token());
    assert_eq!(fixture.who(Some(&ada), &[]).await, "ada");
    assert_eq!(fixture.who(Some(&proxy), &[ROOT]).await, "root");
    assert_eq!(fixture.who(None, &[("Authorization", "Bearer static")]).await, "bob");
    assert_eq!(fixture.who(None, &[("Authorization", &account)]).await, "system:serviceaccount:prod:web");
    assert_eq!(fixture.who(None, &[]).await, "system:anonymous");
}

#[tokio::test]
async fn the_first_that_says_yes_counts_and_a_bad_one_does_not_spoil_a_good_one() {
    let fixture = Fixture::new();
    let ada = fixture.users.client("ada", &[]).unwrap();
    let proxy = fixture.proxies.client("proxy", &[]).unwrap();
    let stranger = Authority::new("users").unwrap().client("eve", &[]).unwrap();
    let (good, bad) = (("Authorization", "Bearer static"), ("Authorization", "Bearer nonsense"));
    assert_eq!(fixture.who(Some(&ada), &[good]).await, "ada");
    assert_eq!(fixture.who(Some(&ada), &[bad]).await, "ada");
    assert_eq!(fixture.who(Some(&proxy), &[ROOT, good]).await, "root");
    assert_eq!(fixture.who(Some(&stranger), &[good]).await, "bob");
    assert_eq!(fixture.who(Some(&stranger), &[bad]).await, "nobody");
}

#[tokio::test]
async fn a_credential_that_is_not_good_is_never_anonymous() {
    let fixture = Fixture::new();
    let stranger = Authority::new("users").unwrap().client("ada", &[]).unwrap();
    let server = fixture.users.server(&["ada"], &[]).unwrap();
    let wrong_proxy = fixture.proxies.client("other", &[]).unwrap();
    for certificate in [&stranger, &server, &wrong_proxy] {
        assert_eq!(fixture.who(Some(certificate), &[]).await, "nobody");
        assert_eq!(fixture.who(Some(certificate), &[ROOT]).await, "nobody");
    }
    // Of the proxies' authority alone, and with nobody named: no user's certificate.
    let proxy = fixture.proxies.client("proxy", &[]).unwrap();
    assert_eq!(fixture.who(Some(&proxy), &[]).await, "nobody");
    let account = fixture.account_token();
    let tampered = format!("Bearer {}x", account);
    for value in ["Bearer nonsense", "Bearer", "Bearer a b", "Basic YTpi", "Negotiate x", "static", &tampered]
    {
        assert_eq!(fixture.who(None, &[("Authorization", value)]).await, "nobody", "{value}");
    }
    let twice = [("Authorization", "Bearer static"), ("authorization", "Bearer static")];
    assert_eq!(fixture.who(None, &twice).await, "nobody");
    let websocket = ("Sec-WebSocket-Protocol", "base64url.bearer.authorization.k8s.io.c3RhdGlj");
    assert_eq!(fixture.who(None, &[websocket]).await, "nobody");
    let query = vec![("access_token".to_owned(), "static".to_owned())];
    assert!(fixture.found(Sent { query, ..Sent::default() }).await.who.is_none());
}

#[tokio::test]
async fn headers_of_a_proxy_say_nothing_without_its_certificate() {
    let fixture = Fixture::new();
    let ada = fixture.users.client("ada", &[]).unwrap();
    // A user whose certificate has a proxy's name is a user.
    let namesake = fixture.users.client("proxy", &[]).unwrap();
    let spoofed = [ROOT, ("x-remote-group", "system:masters"), ("X-REMOTE-UID", "0")];
    for (certificate, expected) in
        [(None, "system:anonymous"), (Some(&ada), "ada"), (Some(&namesake), "proxy")]
    {
        let sent = Sent { certificate, headers: spoofed.to_vec(), ..Sent::default() };
        let subject = fixture.found(sent).await.who.unwrap().subject;
        assert_eq!(subject.user, expected);
        assert!(!subject.groups.contains(&"system:masters".to_owned()) && subject.uid.is_empty());
    }
}

#[tokio::test]
async fn only_a_verified_proxy_says_from_where_a_request_came() {
    let fixture = Fixture::new();
    let ada = fixture.users.client("ada", &[]).unwrap();
    let proxy = fixture.proxies.client("proxy", &[]).unwrap();
    let address = async |certificate, headers: &[(&'static str, &'static str)]| {
        let sent = Sent { certificate, headers: headers.to_vec(), ..Sent::default() };
        let extra = fixture.found(sent).await.who.unwrap().subject.extra;
        assert_eq!(extra.keys().filter(|key| key.to_ascii_lowercase().contains("address")).count(), 1);
        extra[SOURCE_ADDRESS_KEY].clone()
    };
    let said = ("X-Remote-Extra-Bailiwick.dev%2FSource-Address", "10.1.2.3");
    assert_eq!(address(Some(&proxy), &[ROOT, said]).await, ["10.1.2.3"]);
    assert_eq!(address(Some(&proxy), &[ROOT]).await, ["192.0.2.7"]);
    let empty = (said.0, "");
    assert_eq!(address(Some(&proxy), &[ROOT, empty]).await, ["192.0.2.7"]);
    let other = ("X-Remote-Extra-bailiwick.dev%2F%53ource-Address", "10.9.9.9");
    assert_eq!(address(Some(&proxy), &[ROOT, said, other]).await, ["10.1.2.3"]);
    assert_eq!(address(Some(&proxy), &[ROOT, other]).await, ["192.0.2.7"]);
    let encoded_twice = ("X-Remote-Extra-bailiwick.dev%2F%53ource-address", "10.1.2.3");
    for spoofed in [said, encoded_twice] {
        assert_eq!(address(Some(&ada), &[ROOT, spoofed]).await, ["192.0.2.7"]);
        assert_eq!(address(None, &[spoofed]).await, ["192.0.2.7"]);
        assert_eq!(address(None, &[("Authorization", "Bearer static"), spoofed]).await, ["192.0.2.7"]);
    }
}

#[tokio::test]
async fn whoever_is_known_is_authenticated_and_the_anonymous_is_not() {
    let fixture = Fixture::new();
    let groups = async |headers: &[(&'static str, &'static str)]| {
        let sent = Sent { headers: headers.to_vec(), ..Sent::default() };
        fixture.found(sent).await.who.unwrap().subject.groups
    };
    assert_eq!(groups(&[("Authorization", "Bearer static")]).await, ["dev", "system:authenticated"]);
    assert_eq!(groups(&[("Authorization", "Bearer anon")]).await, Vec::<String>::new());
    assert_eq!(groups(&[]).await, ["system:unauthenticated"]);
}

#[tokio::test]
async fn nobody_is_anonymous_where_that_may_not_be_and_by_default_nobody_is_anybody() {
    let mut fixture = Fixture::new();
    fixture.authenticators.anonymous = false;
    assert_eq!(fixture.who(None, &[]).await, "nobody");
    fixture.authenticators = Authenticators::default();
    let ada = fixture.users.client("ada", &[]).unwrap();
    assert_eq!(fixture.who(Some(&ada), &[("Authorization", "Bearer static"), ROOT]).await, "nobody");
}

#[tokio::test]
async fn a_certificate_that_only_proxies_could_have_is_refused_where_users_have_none() {
    let mut fixture = Fixture::new();
    fixture.authenticators.client_certificates = None;
    let ada = fixture.users.client("ada", &[]).unwrap();
    let proxy = fixture.proxies.client("proxy", &[]).unwrap();
    assert_eq!(fixture.who(Some(&ada), &[]).await, "nobody");
    assert_eq!(fixture.who(Some(&proxy), &[]).await, "system:anonymous");
    assert_eq!(fixture.who(Some(&proxy), &[ROOT]).await, "root");
}

#[tokio::test]
async fn every_authenticator_that_is_asked_says_something_and_no_secret() {
    let fixture = Fixture::new();
    let headers = vec![("Authorization", "Bearer s3cret")];
    let found = fixture.found(Sent { headers, ..Sent::default() }).await;
    let steps: Vec<(&str, Outcome)> =
        found.steps.iter().map(|step| (step.name.as_str(), step.outcome)).collect();
    assert_eq!(
        steps,
        [
            (PROXY, Outcome::Abstained),
            (CERTIFICATE, Outcome::Abstained),
            (TOKEN_FILE, Outcome::Abstained),
            (SERVICE_ACCOUNT, Outcome::Abstained),
            (BEARER, Outcome::Refused),
            (NOBODY, Outcome::Refused),
        ]
    );
    assert!(!format!("{found:?}").contains("s3cret"));
    let found = fixture.found(Sent::default()).await;
    assert_eq!(found.who.unwrap().method, NOBODY);
    assert_eq!(found.steps.last().unwrap().outcome, Outcome::Passed);
}

#[tokio::test]
async fn a_token_is_reviewed_for_those_audiences_alone_that_it_is_for() {
    let fixture = Fixture::new();
    let issuer = Issuer {
        url: URL.to_owned(),
        audiences: vec![URL.to_owned(), "vault".to_owned()],
        max_expiration: DEFAULT_MAX_EXPIRATION,
        jwks_uri: None,
    };
    let key = Some(SigningKey::generate().unwrap());
    let accounts = ServiceAccountTokens::new(issuer, key, Vec::new(), Arc::new(Everything));
    let authenticators = Authenticators {
        service_accounts: Some(Arc::new(accounts)),
        token_file: fixture.authenticators.token_file.clone(),
        ..Authenticators::default()
    };
    let spec = TokenSpec { audiences: vec![URL.to_owned()], ..spec() };
    let token = authenticators.service_accounts.as_ref().unwrap().issue(spec, now()).unwrap().token;
    for (token, asked, expected) in [
        (&*token, &[][..], Some(&[URL][..])),
        (&token, &[URL], Some(&[URL])),
        (&token, &["vault", URL], Some(&[URL])),
        (&token, &["vault"], None),
        (&token, &["elsewhere"], None),
        ("static", &["vault"], Some(&["vault"])),
        ("static", &["elsewhere"], None),
        ("nonsense", &[], None),
    ] {
        let spec = serde_json::json!({"token": token, "audiences": asked});
        let status = authenticators.review(&spec, now()).await.unwrap();
        assert_eq!(status["authenticated"].as_bool(), expected.map(|_| true), "{asked:?}: {status}");
        if let Some(expected) = expected {
            assert_eq!(status["audiences"], serde_json::json!(expected));
        }
    }
}

#[tokio::test]
async fn the_stage_is_made_of_files_and_of_none_that_is_broken() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = crate::telemetry::Metrics::new().unwrap();
    let runtime = tokio::runtime::Handle::current();
    let make = |settings| {
        let parts =
            Parts { directory: None, objects: Arc::new(Everything), metrics: &metrics, runtime: &runtime };
        Authenticators::new(settings, parts)
    };
    let users = Authority::new("users").unwrap();
    let ca = folder.path().join("ca.crt");
    std::fs::write(&ca, users.ca_pem()).unwrap();
    let issuer = Issuer {
        url: URL.to_owned(),
        audiences: vec![URL.to_owned()],
        max_expiration: DEFAULT_MAX_EXPIRATION,
        jwks_uri: None,
    };
    let accounts = ServiceAccountSettings {
        issuer: issuer.clone(),
        signing_key: SigningKeySource::Ephemeral,
        key_files: Vec::new(),
    };
    let settings = Settings {
        client_ca_file: Some(ca.clone()),
        request_header: Some(RequestHeaderSettings { ca_file: ca, allowed_names: vec!["proxy".to_owned()] }),
        service_accounts: Some(accounts.clone()),
        ..Settings::default()
    };
    let mut any_name = settings.clone();
    any_name.request_header.as_mut().unwrap().allowed_names.clear();
    assert!(matches!(make(any_name), Err(SetupError::UsersAreProxies)));
    let made = make(settings).unwrap();
    assert!(made.client_certificates.is_some() && made.service_accounts.is_some());
    let missing = folder.path().join("none");
    let no_audience = Issuer { audiences: Vec::new(), ..issuer };
    for broken in [
        Settings { client_ca_file: Some(missing.clone()), ..Settings::default() },
        Settings { token_file: Some(missing.clone()), ..Settings::default() },
        Settings { basic: true, ..Settings::default() },
        Settings {
            service_accounts: Some(ServiceAccountSettings { issuer: no_audience, ..accounts.clone() }),
            ..Settings::default()
        },
        Settings {
            service_accounts: Some(ServiceAccountSettings {
                signing_key: SigningKeySource::File(missing),
                ..accounts
            }),
            ..Settings::default()
        },
    ] {
        assert!(make(broken).is_err());
    }
}

#[test]
fn nobody_but_a_proxy_says_from_where_a_request_comes() {
    let all = Authenticators::default();
    let peer = Peer { address: "127.0.0.1:9".parse().unwrap(), certificate: None, presented: None };
    for (method, expected) in [(PROXY, "10.1.2.3"), (TOKEN_REVIEW, "127.0.0.1"), (CERTIFICATE, "127.0.0.1")] {
        let extra = [(SOURCE_ADDRESS_KEY.to_owned(), vec!["10.1.2.3".to_owned()])].into();
        let mut found = Authenticated { subject: Subject { extra, ..Subject::default() }, method };
        all.add_source_address(&mut found, &peer);
        assert_eq!(found.subject.extra[SOURCE_ADDRESS_KEY], [expected], "{method}");
    }
}
