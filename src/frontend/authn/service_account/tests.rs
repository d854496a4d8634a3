use std::collections::HashMap;
use std::sync::Mutex;

use serde_json::json;

use super::*;
use crate::frontend::authn::jwt::forge;

const URL: &str = "https://kubernetes.default.svc";

#[derive(Default)]
struct Stored(Mutex<HashMap<String, String>>);

impl Stored {
    fn put(&self, kind: &str, namespace: &str, name: &str, uid: &str) {
        self.0.lock().unwrap().insert(format!("{kind}/{namespace}/{name}"), uid.to_owned());
    }

    fn remove(&self, kind: &str, namespace: &str, name: &str) {
        self.0.lock().unwrap().remove(&format!("{kind}/{namespace}/{name}"));
    }
}

impl Objects for Stored {
    fn uid(&self, kind: &str, namespace: &str, name: &str) -> Option<String> {
        self.0.lock().unwrap().get(&format!("{kind}/{namespace}/{name}")).cloned()
    }
}

struct Fixture {
    stored: Arc<Stored>,
    key: SigningKey,
    tokens: ServiceAccountTokens,
}

fn issuer() -> Issuer {
    Issuer {
        url: URL.to_owned(),
        audiences: vec!["api".to_owned(), URL.to_owned()],
        max_expiration: DEFAULT_MAX_EXPIRATION,
        jwks_uri: None,
    }
}

impl Fixture {
    fn new() -> Self {
        let stored = Arc::new(Stored::default());
        stored.put("serviceaccounts", "prod", "web", "sa-1");
        stored.put("pods", "prod", "web-0", "pod-1");
        let key = SigningKey::generate().unwrap();
        let tokens = ServiceAccountTokens::new(issuer(), Some(key.clone()), Vec::new(), stored.clone());
        Self { stored, key, tokens }
    }

    fn issue(&self, change: impl FnOnce(&mut TokenSpec)) -> Result<Issued, TokenError> {
        let mut spec = TokenSpec {
            namespace: "prod".to_owned(),
            name: "web".to_owned(),
            uid: "sa-1".to_owned(),
            audiences: Vec::new(),
            expiration_seconds: None,
            bound: None,
        };
        change(&mut spec);
        self.tokens.issue(spec, now())
    }

    fn said(&self, token: &str) -> Said {
        self.tokens.authenticate(token, now())
    }

    /// What is said of a token that the issuer's own key signed over these claims.
    fn signed(&self, change: impl FnOnce(&mut Value)) -> Said {
        let token = self.issue(|_| {}).unwrap().token;
        let mut claims = Unverified::parse(&token).unwrap().verify(&self.tokens.keys).unwrap();
        change(&mut claims);
        self.said(&jwt::sign(&self.key, &claims).unwrap())
    }
}

fn now() -> Timestamp {
    "2026-06-01T12:00:00.5Z".parse().unwrap()
}

fn pod() -> Option<Bound> {
    let [kind, api_version, name, uid] = ["Pod", "v1", "web-0", "pod-1"].map(str::to_owned);
    Some(Bound { kind, api_version, name, uid })
}

#[track_caller]
fn refused(said: Said, why: &str) {
    assert!(matches!(&said, Said::Refused(text) if text.contains(why)), "{said:?}");
}

#[test]
fn a_token_is_its_account_with_its_groups_its_uid_and_its_pod() {
    let fixture = Fixture::new();
    let issued = fixture.issue(|spec| spec.bound = pod()).unwrap();
    assert_eq!(issued.expires.as_second() - now().as_second(), DEFAULT_EXPIRATION_SECONDS);
    assert!(!format!("{issued:?}").contains(&issued.token));
    let Said::Who(subject, _) = fixture.said(&issued.token) else { panic!() };
    assert_eq!((subject.user.as_str(), subject.uid.as_str()), ("system:serviceaccount:prod:web", "sa-1"));
    assert_eq!(subject.groups, ["system:serviceaccounts", "system:serviceaccounts:prod"]);
    assert_eq!(subject.extra[POD_NAME], ["web-0"]);
    assert_eq!(subject.extra[POD_UID], ["pod-1"]);
    assert!(subject.extra[CREDENTIAL_ID][0].starts_with("JTI="));
}

#[test]
fn a_token_lives_as_long_as_was_asked_for_within_limits() {
    let fixture = Fixture::new();
    let asked = |seconds| fixture.issue(|spec| spec.expiration_seconds = Some(seconds));
    let lives = |seconds| asked(seconds).unwrap().expires.as_second() - now().as_second();
    assert_eq!(lives(MIN_EXPIRATION_SECONDS), 600);
    assert_eq!(lives(MAX_EXPIRATION_SECONDS), 24 * 60 * 60, "cut to the issuer's own limit");
    assert_eq!(asked(MIN_EXPIRATION_SECONDS - 1), Err(TokenError::TooShort));
    assert_eq!(asked(-1), Err(TokenError::TooShort));
    assert_eq!(asked(MAX_EXPIRATION_SECONDS + 1), Err(TokenError::TooLong));
}

#[test]
fn a_token_has_its_time_without_leeway() {
    let fixture = Fixture::new();
    let issued = fixture.issue(|_| {}).unwrap();
    let at = |second| fixture.tokens.authenticate(&issued.token, Timestamp::from_second(second).unwrap());
    assert!(matches!(at(issued.expires.as_second() - 1), Said::Who(..)));
    refused(at(issued.expires.as_second()), "expired");
    refused(at(now().as_second() - 1), "not begun");
    refused(fixture.signed(|claims| claims["nbf"] = json!(now().as_second() + 1)), "not begun");
    refused(fixture.signed(|claims| claims["iat"] = json!(now().as_second() + 1)), "not begun");
}

#[test]
fn a_token_for_another_audience_is_refused() {
    let fixture = Fixture::new();
    let of = |audiences: &[&str]| {
        let audiences = audiences.iter().map(|audience| (*audience).to_owned()).collect();
        fixture.said(&fixture.issue(|spec| spec.audiences = audiences).unwrap().token)
    };
    refused(of(&["vault"]), "another audience");
    refused(of(&["API"]), "another audience");
    assert!(matches!(of(&["vault", "api"]), Said::Who(..)));
    refused(fixture.signed(|claims| claims["aud"] = json!([])), "another audience");
    refused(fixture.signed(|claims| claims["aud"] = json!(null)), "claims");
}

#[test]
fn a_token_of_another_issuer_is_left_to_others_even_if_our_key_signed_it() {
    let fixture = Fixture::new();
    for issuer in [json!("https://elsewhere"), json!(format!("{URL}/")), json!([URL]), json!(null)] {
        assert!(matches!(fixture.signed(|claims| claims["iss"] = issuer), Said::Nothing(_)));
    }
    for token in ["", "opaque", "a.b.c", "..."] {
        assert!(matches!(fixture.said(token), Said::Nothing(_)), "{token}");
    }
}

#[test]
fn a_token_of_our_name_that_another_signed_is_refused() {
    let (fixture, other) = (Fixture::new(), Fixture::new());
    refused(fixture.said(&other.issue(|_| {}).unwrap().token), "no key");
    let claims = json!({"iss": URL}).to_string();
    let kid = fixture.key.public().id();
    let forged = |alg: &str| {
        let header = json!({"alg": alg, "kid": kid}).to_string();
        fixture.said(&forge(&header, &claims, |bytes| other.key.sign(bytes).unwrap()))
    };
    refused(forged("ES256"), "signature");
    refused(forged("none"), "algorithm");
    refused(forged("HS256"), "algorithm");
}

#[test]
fn a_token_ends_with_its_account_and_its_pod() {
    let fixture = Fixture::new();
    let plain = fixture.issue(|_| {}).unwrap().token;
    let bound = fixture.issue(|spec| spec.bound = pod()).unwrap().token;
    fixture.stored.put("pods", "prod", "web-0", "pod-2");
    refused(fixture.said(&bound), "pod");
    fixture.stored.remove("pods", "prod", "web-0");
    refused(fixture.said(&bound), "pod");
    assert!(matches!(fixture.said(&plain), Said::Who(..)));
    fixture.stored.put("serviceaccounts", "prod", "web", "sa-2");
    refused(fixture.said(&plain), "ServiceAccount is gone");
    fixture.stored.remove("serviceaccounts", "prod", "web");
    refused(fixture.said(&plain), "ServiceAccount is gone");
}

#[test]
fn a_subject_that_is_not_the_account_is_refused() {
    let fixture = Fixture::new();
    refused(fixture.signed(|claims| claims["sub"] = json!("system:admin")), "subject");
    for claim in ["sub", "exp", "iat", "nbf", "jti", "kubernetes.io"] {
        refused(fixture.signed(|claims| drop(claims.as_object_mut().unwrap().remove(claim))), "claims");
    }
    refused(fixture.signed(|claims| claims["exp"] = json!("9999999999")), "claims");
}

#[test]
fn only_what_ends_can_be_bound_to() {
    let fixture = Fixture::new();
    let to = |kind: &str, api_version: &str| {
        let bound = Bound { kind: kind.into(), api_version: api_version.into(), ..pod().unwrap() };
        fixture.issue(|spec| spec.bound = Some(bound))
    };
    assert_eq!(to("Deployment", "apps/v1"), Err(TokenError::Unbindable("apps/v1/Deployment".into())));
    assert_eq!(to("Pod", "v2"), Err(TokenError::Unbindable("v2/Pod".into())));
    refused(fixture.said(&to("Secret", "v1").unwrap().token), "secret");
    refused(fixture.said(&to("Node", "v1").unwrap().token), "node");
}

#[test]
fn keys_of_before_are_believed_and_told_of() {
    let old = Fixture::new();
    let new = ServiceAccountTokens::new(
        issuer(),
        Some(SigningKey::generate().unwrap()),
        vec![old.key.public().clone(), old.key.public().clone()],
        old.stored.clone(),
    );
    let token = old.issue(|_| {}).unwrap().token;
    assert!(matches!(new.authenticate(&token, now()), Said::Who(..)));
    assert_eq!(new.jwks()["keys"].as_array().unwrap().len(), 2);
    let told = new.openid_configuration();
    assert_eq!(told["issuer"], URL);
    assert_eq!(told["jwks_uri"], format!("{URL}/openid/v1/jwks"));
    assert_eq!(told["id_token_signing_alg_values_supported"], json!(["ES256"]));
}

#[test]
fn who_has_no_key_issues_nothing() {
    let fixture = Fixture::new();
    let tokens =
        ServiceAccountTokens::new(issuer(), None, vec![fixture.key.public().clone()], fixture.stored.clone());
    let spec = TokenSpec {
        namespace: "prod".into(),
        name: "web".into(),
        uid: "sa-1".into(),
        audiences: Vec::new(),
        expiration_seconds: None,
        bound: None,
    };
    assert_eq!(tokens.issue(spec, now()), Err(TokenError::NoKey));
}
