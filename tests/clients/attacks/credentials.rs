//! Showing what is no good credential.

use data_encoding::{BASE64, BASE64URL_NOPAD};
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::sha::sha256;
use openssl::sign::Signer;
use serde_json::{Value, json};

use super::{DEVELOPMENT, JSON, Scene, bearer};

const REFUSED: &str = "401 Authentication Refused";
/// What bob does when he is let in, and whoever is nobody in particular is not.
const PODS: &str = "/api/v1/namespaces/payments-dev/pods";

#[test]
fn what_only_a_proxy_may_say_is_not_read_from_others() {
    let scene = Scene::new();
    let claim = ["-H", "X-Remote-User: admin", "-H", "X-Remote-Group: system:masters"];
    let secrets = "/api/v1/secrets";
    let by_nobody = scene.ask(&[], &claim, secrets);
    assert_eq!(
        (by_nobody.how().as_str(), by_nobody.user()),
        ("403 Authorization Refused", "system:anonymous")
    );
    let by_alice = scene.alice(&claim, secrets);
    assert_eq!((by_alice.how().as_str(), by_alice.user()), ("403 Authorization Refused", "alice"));
    assert!(!by_alice.journey["user"]["groups"].to_string().contains("masters"));
    let by_token = scene.ask(&scene.static_token("nina"), &claim, secrets);
    assert_eq!((by_token.how().as_str(), by_token.user()), ("403 Authorization Refused", "nina"));
    let proxy = scene.certificate("front-proxy");
    assert_eq!(scene.ask(&proxy, &[], secrets).how(), REFUSED, "a proxy is nobody by itself");
    let two = ["-H", "X-Remote-User: bob", "-H", "X-Remote-User: admin"];
    assert_eq!(scene.ask(&proxy, &two, secrets).how(), REFUSED, "of two users neither is taken");
    // From where it comes, a proxy says, and nobody else.
    let address = ["-H", "X-Remote-Extra-Bailiwick.dev%2Fsource-Address: 10.1.2.3"];
    let claimed = scene.alice(&address, PODS);
    assert_eq!(claimed.journey["user"]["extra"]["bailiwick.dev/source-address"], json!(["127.0.0.1"]));
}

/// The parts of a signed token, decoded but for the signature.
fn parts(token: &str) -> (Value, Value, String) {
    let parts: Vec<&str> = token.split('.').collect();
    let read =
        |part: &str| serde_json::from_slice(&BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).unwrap();
    (read(parts[0]), read(parts[1]), parts[2].to_owned())
}

fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    format!("{}.{}", part(header), part(claims))
}

/// Signed with ES256 (RFC 7518, 3.4).
fn signed(key: &EcKey<Private>, header: &Value, claims: &Value) -> String {
    let text = unsigned(header, claims);
    let signature = EcdsaSig::sign(&sha256(text.as_bytes()), key).unwrap();
    let half = |number: &openssl::bn::BigNumRef| number.to_vec_padded(32).unwrap();
    let bytes = [half(signature.r()), half(signature.s())].concat();
    format!("{text}.{}", BASE64URL_NOPAD.encode(&bytes))
}

/// Signed with HS256, the secret being what everybody may read.
fn signed_with_public(secret: &[u8], claims: &Value, kid: &Value) -> String {
    let text = unsigned(&json!({"alg": "HS256", "kid": kid}), claims);
    let key = PKey::hmac(secret).unwrap();
    let mut signer = Signer::new(MessageDigest::sha256(), &key).unwrap();
    let signature = signer.sign_oneshot_to_vec(text.as_bytes()).unwrap();
    format!("{text}.{}", BASE64URL_NOPAD.encode(&signature))
}

#[test]
fn a_token_that_was_not_signed_here_for_here_is_nobodys() {
    let scene = Scene::new();
    let good = scene.kept("deployer", "token");
    assert_eq!(scene.ask(&bearer(&good), &[], PODS).how(), "200 Storage Passed");
    let (header, claims, signature) = parts(&good);
    let mine = EcKey::generate(&EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap()).unwrap();
    let public = scene.admin(&[], "/openid/v1/jwks").json()["keys"][0].clone();
    let point = |name: &str| BASE64URL_NOPAD.decode(public[name].as_str().unwrap().as_bytes()).unwrap();
    let point = [vec![4], point("x"), point("y")].concat();
    let other = |field: &str, value: Value| {
        let mut other = claims.clone();
        other[field] = value;
        other
    };
    let with = |field: &str, value: Value| {
        let mut other = header.clone();
        other[field] = value;
        unsigned(&other, &claims) + "." + &signature
    };
    let text = unsigned(&header, &claims);
    let forged = [
        ("without an algorithm", unsigned(&json!({"alg": "none"}), &claims) + "."),
        ("without one in odd letters", unsigned(&json!({"alg": "nOnE"}), &claims) + "." + &signature),
        ("without its signature", format!("{text}.")),
        ("without its third part", text.clone()),
        ("with a fourth part", format!("{good}.x")),
        ("with padding", format!("{good}=")),
        ("with HS256 and the public key", signed_with_public(&point, &claims, &header["kid"])),
        (
            "with HS256 and its JWK",
            signed_with_public(public.to_string().as_bytes(), &claims, &header["kid"]),
        ),
        ("by another key of the same name", signed(&mine, &header, &claims)),
        ("by a key that it brings along", signed(&mine, &json!({"alg": "ES256", "jwk": public}), &claims)),
        ("that expired", signed(&mine, &header, &other("exp", json!(1)))),
        ("that is not good yet", signed(&mine, &header, &other("nbf", json!(4_000_000_000_u64)))),
        ("of another issuer", signed(&mine, &header, &other("iss", json!("https://example.com")))),
        ("for another user", {
            format!(
                "{}.{signature}",
                unsigned(&header, &other("sub", json!("system:serviceaccount:kube-system:x")))
            )
        }),
        ("with a header that must be understood", with("crit", json!(["exp"]))),
        ("with another algorithm", with("alg", json!("ES384"))),
    ];
    for (what, token) in forged {
        assert_eq!(scene.ask(&bearer(&token), &[], PODS).how(), REFUSED, "a token {what}");
    }
    let token = |audiences: &str| {
        let body = format!(r#"{{"spec": {{"audiences": {audiences}}}}}"#);
        let path = "/api/v1/namespaces/ci/serviceaccounts/deployer/token";
        scene.admin(&["-H", JSON, "-d", &body], path).json()["status"]["token"].as_str().unwrap().to_owned()
    };
    let elsewhere = token(r#"["https://vault.example.com"]"#);
    assert_eq!(scene.ask(&bearer(&elsewhere), &[], PODS).how(), REFUSED, "a token for somebody else");
    for secret in [&good, &signature, &elsewhere] {
        scene.is_nowhere(secret);
    }
}

#[test]
fn a_token_ends_with_its_service_account_whoever_has_the_name_next() {
    let scene = Scene::new();
    let admin = scene.demo.kubectl("admin");
    admin.ok(&["create", "serviceaccount", "builder", "-n", "ci"]);
    let token = admin.ok(&["create", "token", "builder", "-n", "ci"]);
    let by_token = || scene.ask(&bearer(token.trim()), &[], "/version").how();
    assert_eq!(by_token(), "200 Authorization Passed");
    admin.ok(&["delete", "serviceaccount", "builder", "-n", "ci"]);
    assert_eq!(by_token(), REFUSED, "it is gone");
    admin.ok(&["create", "serviceaccount", "builder", "-n", "ci"]);
    assert_eq!(by_token(), REFUSED, "it is another of the same name");
    scene.is_nowhere(token.trim());
}

#[test]
fn a_wrong_password_is_refused_and_tried_so_rarely_that_nobody_is_locked_out() {
    let scene = Scene::new();
    let basic = |credentials: &str| {
        let header = format!("Authorization: Basic {}", BASE64.encode(credentials.as_bytes()));
        scene.ask(&[], &["-H", &header], PODS)
    };
    for credentials in
        ["bob:", ":x", "*:x", "bob)(uid=*:x", "uid=bob,ou=people,dc=example,dc=com:x", "bob\0:x", "bob"]
    {
        assert_eq!(basic(credentials).how(), REFUSED, "{credentials:?}");
    }
    let said = |ended: &super::Ended| {
        let steps = ended.journey["stages"][0]["steps"].as_array().unwrap().clone();
        let step = steps.iter().find(|step| step["name"] == "HTTP basic").unwrap();
        step["detail"].as_str().unwrap().to_owned()
    };
    assert!(said(&basic("bob:")).contains("empty"), "an empty password is not sent to the directory");
    let upper = format!("BOB:{}", scene.kept("bob", "password"));
    assert_eq!(basic(&upper).how(), REFUSED, "a name in other letters is another name");
    for nth in 0..3 {
        let wrong = basic(&format!("bob:s3cr3t-{nth}"));
        assert_eq!(wrong.how(), REFUSED);
        assert!(!said(&wrong).contains("not asked"), "{}", said(&wrong));
    }
    for nth in [1, 3, 4, 5, 6] {
        let wrong = basic(&format!("bob:s3cr3t-{nth}"));
        assert_eq!(wrong.how(), REFUSED);
        assert!(said(&wrong).contains("not asked"), "{}", said(&wrong));
    }
    scene.is_nowhere("s3cr3t");
    scene.is_nowhere(&BASE64.encode(b"bob:s3cr3t-1"));
    scene.is_nowhere(&scene.kept("bob", "password"));
}

#[test]
fn a_credential_in_two_places_or_in_a_wrong_one_is_none_and_is_not_written_down() {
    let scene = Scene::new();
    let good = scene.kept("deployer", "token");
    let header = format!("Authorization: Bearer {good}");
    for headers in [
        vec!["-H", &header, "-H", "Authorization: Bearer other"],
        vec!["-H", &header, "-H", &header],
        vec!["-H", "Authorization;"],
        vec!["-H", "Authorization: Negotiate x"],
    ] {
        assert_eq!(scene.ask(&[], &headers, PODS).how(), REFUSED, "{headers:?}");
    }
    let both = format!("{header}, Bearer other");
    assert_eq!(scene.ask(&[], &["-H", &both], PODS).how(), REFUSED);
    let socket = format!("Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.{good}");
    assert_eq!(scene.ask(&[], &["-H", &socket], PODS).how(), REFUSED);
    for name in ["access_token", "access%5Ftoken", "%61ccess_%74oken"] {
        assert_eq!(scene.ask(&[], &[], &format!("{PODS}?{name}={good}")).how(), REFUSED, "{name}");
    }
    // Where nobody looks for a credential there is none, and who shows it there is nobody in particular.
    for name in ["token", "TOKEN", "%74oken", "jwt", "a;access_token"] {
        let ended = scene.ask(&[], &[], &format!("{PODS}?{name}={good}"));
        assert_eq!(
            (ended.how().as_str(), ended.user()),
            ("403 Authorization Refused", "system:anonymous"),
            "{name}"
        );
    }
    let broken = scene.ask(&[], &[], &format!("{PODS}?access_token={good}&%zz"));
    assert_eq!(broken.answer.code, 400);
    let cookie = format!("Cookie: Authorization=Bearer {good}");
    assert_eq!(scene.ask(&[], &["-H", &cookie], PODS).user(), "system:anonymous");
    let user = scene.demo.url().replace("https://", &format!("https://deployer:{good}@"));
    assert_eq!(scene.ask(&[], &[], &format!("{user}{DEVELOPMENT}/pods")).how(), REFUSED, "it is no password");
    scene.is_nowhere(&good);
}
