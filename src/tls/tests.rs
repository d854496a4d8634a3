//! Contexts against each other, over a pipe in memory.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use openssl::ssl::{Ssl, SslContextBuilder, SslMethod, SslSessionCacheMode, SslVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;
use crate::telemetry::Metrics;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn write(directory: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn files(directory: &Path, identity: &Identity, client_ca: Option<&Authority>) -> ServerSettings {
    ServerSettings {
        cert_file: write(directory, "tls.crt", &identity.cert_pem),
        key_file: write(directory, "tls.key", &identity.key_pem),
        client_ca_file: client_ca.map(|ca| write(directory, "ca.crt", ca.ca_pem())),
        crl_file: None,
        min_version: MinVersion::Tls12,
    }
}

type Ends = (Result<TlsStream<DuplexStream>, TlsError>, Result<TlsStream<DuplexStream>, TlsError>);

/// Both ends of a handshake: the server's, then the client's.
async fn meet(server: &ServerContext, client: &ClientContext, name: &str) -> Ends {
    let (near, far) = tokio::io::duplex(64 * 1024);
    tokio::join!(server.accept(near), client.connect(name, far))
}

fn problem(settings: ServerSettings) -> LoadError {
    ServerContext::from_files("webhook", settings, &Metrics::new().unwrap()).unwrap_err()
}

#[test]
fn each_fault_of_a_file_is_named_with_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new("ca").unwrap();
    let identity = authority.server(&["localhost"], &[]).unwrap();
    let other = authority.server(&["localhost"], &[]).unwrap();
    let good = files(directory.path(), &identity, None);
    let with = |name, text: &str| write(directory.path(), name, text);

    let error = problem(ServerSettings { cert_file: directory.path().join("none"), ..good.clone() });
    assert!(matches!(error.problem, Problem::Missing) && error.file.ends_with("/none"), "{error}");
    let error = problem(ServerSettings { cert_file: directory.path().to_owned(), ..good.clone() });
    assert!(matches!(error.problem, Problem::Unreadable(_)), "{error}");
    let error = problem(ServerSettings { cert_file: with("text", "hello"), ..good.clone() });
    assert!(matches!(error.problem, Problem::NotPem) && error.file.ends_with("/text"), "{error}");
    let error = problem(ServerSettings { cert_file: good.key_file.clone(), ..good.clone() });
    assert!(matches!(error.problem, Problem::NoCertificate), "{error}");
    let error = problem(ServerSettings { key_file: good.cert_file.clone(), ..good.clone() });
    assert!(matches!(error.problem, Problem::NoKey), "{error}");
    let error = problem(ServerSettings { key_file: with("other.key", &other.key_pem), ..good.clone() });
    assert!(
        matches!(error.problem, Problem::KeyMismatch { .. }) && error.file.ends_with("/other.key"),
        "{error}"
    );
    let broken = identity.cert_pem.replacen("MII", "MIX", 1);
    let error = problem(ServerSettings { cert_file: with("broken", &broken), ..good.clone() });
    assert!(matches!(error.problem, Problem::Unusable(_)), "{error}");
    let error = problem(ServerSettings { crl_file: Some(good.cert_file.clone()), ..good.clone() });
    assert!(matches!(error.problem, Problem::CrlWithoutAuthority), "{error}");
    let client_ca_file = Some(good.cert_file.clone());
    let error = problem(ServerSettings { crl_file: client_ca_file.clone(), client_ca_file, ..good });
    assert!(matches!(error.problem, Problem::NoCrl), "{error}");
}

#[test]
fn an_encrypted_key_is_an_error_and_no_question_on_the_terminal() {
    let directory = tempfile::tempdir().unwrap();
    let identity = Authority::new("ca").unwrap().server(&["localhost"], &[]).unwrap();
    let key = openssl::pkey::PKey::private_key_from_pem(identity.key_pem.as_bytes()).unwrap();
    let cipher = openssl::symm::Cipher::aes_256_cbc();
    let sealed = key.private_key_to_pem_pkcs8_passphrase(cipher, b"secret").unwrap();
    let mut settings = files(directory.path(), &identity, None);
    settings.key_file = write(directory.path(), "sealed", std::str::from_utf8(&sealed).unwrap());
    assert!(matches!(problem(settings).problem, Problem::Encrypted));
}

#[tokio::test]
async fn names_and_addresses_are_verified() {
    let authority = Authority::new("ca").unwrap();
    let identity = authority.server(&["directory.example"], &[LOCALHOST]).unwrap();
    let server = ServerContext::from_pem("test", &identity, None, MinVersion::Tls12).unwrap();
    let client = ClientContext::from_pem("test", authority.ca_pem(), None, MinVersion::Tls12).unwrap();
    for name in ["directory.example", "DIRECTORY.example", "directory.example.", "127.0.0.1"] {
        meet(&server, &client, name).await.1.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for name in ["example", "other.example", "127.0.0.2", "::1"] {
        let error = meet(&server, &client, name).await.1.unwrap_err();
        assert!(matches!(error, TlsError::Certificate(_)), "{name}: {error}");
    }
    for name in ["", ".example", "a..example", "a\0.example", "*"] {
        let (_near, far) = tokio::io::duplex(1024);
        assert!(matches!(client.connect(name, far).await, Err(TlsError::Name(_))), "{name:?}");
    }
}

#[tokio::test]
async fn who_asks_itself_trusts_its_own_certificate_and_none_of_the_same_authority() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new("ca").unwrap();
    let own = authority.server(&["service.example"], &[]).unwrap();
    let other = authority.server(&["service.example"], &[LOCALHOST]).unwrap();
    let with_chain = format!("{}{}", own.cert_pem, authority.ca_pem());
    let metrics = Metrics::new().unwrap();
    for pem in [&own.cert_pem, &with_chain] {
        let file = write(directory.path(), "tls.crt", pem);
        let client = ClientContext::of_own_certificate("test", file, MinVersion::Tls12, &metrics).unwrap();
        let server = ServerContext::from_pem("test", &own, None, MinVersion::Tls12).unwrap();
        meet(&server, &client, "127.0.0.1").await.1.unwrap_or_else(|error| panic!("{error}"));
        let stranger = ServerContext::from_pem("test", &other, None, MinVersion::Tls12).unwrap();
        let error = meet(&stranger, &client, "127.0.0.1").await.1.unwrap_err();
        assert!(matches!(error, TlsError::Certificate(_)), "{error}");
    }
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_trusted() {
    let identity = Authority::new("ca").unwrap().server(&["localhost"], &[]).unwrap();
    let server = ServerContext::from_pem("test", &identity, None, MinVersion::Tls12).unwrap();
    // The same name, another key.
    let other = Authority::new("ca").unwrap();
    let client = ClientContext::from_pem("test", other.ca_pem(), None, MinVersion::Tls12).unwrap();
    assert!(matches!(meet(&server, &client, "localhost").await.1, Err(TlsError::Certificate(_))));
}

#[tokio::test]
async fn a_client_is_known_by_its_certificate() {
    let authority = Authority::new("ca").unwrap();
    let identity = authority.server(&["localhost"], &[]).unwrap();
    let user = authority.client("alice", &["payments", "oncall"]).unwrap();
    let server =
        ServerContext::from_pem("test", &identity, Some(authority.ca_pem()), MinVersion::Tls13).unwrap();
    let client = ClientContext::from_pem("test", authority.ca_pem(), Some(&user), MinVersion::Tls12).unwrap();
    let stream = meet(&server, &client, "localhost").await.0.unwrap();
    let certificate = stream.client_certificate().unwrap();
    assert_eq!(certificate.common_name.as_deref(), Some("alice"));
    assert_eq!(certificate.organisations, ["payments", "oncall"]);
    assert_eq!(stream.version(), "TLSv1.3");
}

#[tokio::test]
async fn a_server_certificate_is_no_client_certificate() {
    let authority = Authority::new("ca").unwrap();
    let identity = authority.server(&["localhost"], &[]).unwrap();
    let server =
        ServerContext::from_pem("test", &identity, Some(authority.ca_pem()), MinVersion::Tls12).unwrap();
    let client =
        ClientContext::from_pem("test", authority.ca_pem(), Some(&identity), MinVersion::Tls12).unwrap();
    assert!(matches!(meet(&server, &client, "localhost").await.0, Err(TlsError::Certificate(_))));
}

/// OpenSSL calls back for each session that could be resumed. (The call that would try to resume one is `unsafe`, hence
/// not in this house.)
#[tokio::test]
async fn no_session_that_could_be_resumed_is_handed_out() {
    let authority = Authority::new("ca").unwrap();
    let identity = authority.server(&["localhost"], &[]).unwrap();
    let server = ServerContext::from_pem("test", &identity, None, MinVersion::Tls12).unwrap();
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let sessions = Arc::new(AtomicUsize::new(0));
        let counted = sessions.clone();
        let mut client = SslContextBuilder::new(SslMethod::tls_client()).unwrap();
        client.set_max_proto_version(Some(version)).unwrap();
        client.set_session_cache_mode(SslSessionCacheMode::CLIENT);
        client.set_new_session_callback(move |_, _| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let (near, far) = tokio::io::duplex(64 * 1024);
        let mut far = tokio_openssl::SslStream::new(Ssl::new(&client.build()).unwrap(), far).unwrap();
        let (near, connected) = tokio::join!(server.accept(near), std::pin::Pin::new(&mut far).connect());
        connected.unwrap();
        near.unwrap().write_all(b"x").await.unwrap();
        // TLS 1.3 sends sessions after the handshake, before the data.
        assert_eq!(far.read_u8().await.unwrap(), b'x');
        assert_eq!(far.ssl().version2(), Some(version));
        assert_eq!(sessions.load(Ordering::Relaxed), 0, "{version:?}");
    }
}

#[test]
fn a_reload_that_fails_keeps_what_is_in_force_and_one_that_succeeds_replaces_it() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new("ca").unwrap();
    let settings = files(directory.path(), &authority.server(&["a"], &[]).unwrap(), Some(&authority));
    let metrics = Metrics::new().unwrap();
    let context = ServerContext::from_files("webhook", settings, &metrics).unwrap();
    assert_eq!(context.reload().unwrap(), Reloaded::Unchanged);

    write(directory.path(), "tls.crt", "half a file");
    assert!(context.reload().is_err());
    assert!(context.last_error().unwrap().contains("tls.crt"));
    assert!(context.expiry().is_some());

    files(directory.path(), &authority.server(&["b"], &[]).unwrap(), Some(&authority));
    assert_eq!(context.reload().unwrap(), Reloaded::Changed);
    assert_eq!(context.last_error(), None);
    assert_eq!(*context.client_generation().borrow(), 1, "a new certificate withdraws nobody");

    write(directory.path(), "ca.crt", Authority::new("other").unwrap().ca_pem());
    assert_eq!(context.reload().unwrap(), Reloaded::Changed);
    assert_eq!(*context.client_generation().borrow(), 2, "a new client authority does");

    let text = String::from_utf8(metrics.render().unwrap().0).unwrap();
    assert!(text.contains(r#"bailiwick_config_reloads_total{result="success"} 2"#), "{text}");
    assert!(text.contains(r#"bailiwick_config_reloads_total{result="failure"} 1"#), "{text}");
}

#[test]
fn the_expiry_of_certificates_is_a_metric() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new("ca").unwrap();
    let settings = files(directory.path(), &authority.server(&["a"], &[]).unwrap(), Some(&authority));
    let metrics = Metrics::new().unwrap();
    ServerContext::from_files("webhook", settings, &metrics).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    for usage in ["webhook", "webhook-client-ca"] {
        let days = (metrics.certificate_expiry.with_label_values(&[usage]).get() - now) / 86_400.0;
        assert!((396.9..397.0).contains(&days), "{usage}: {days}");
    }
}

#[tokio::test]
async fn a_revoked_client_is_refused_and_another_is_let_in() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new("ca").unwrap();
    let identity = authority.server(&["localhost"], &[]).unwrap();
    let (good, bad) = (authority.client("good", &[]).unwrap(), authority.client("bad", &[]).unwrap());
    let mut settings = files(directory.path(), &identity, Some(&authority));
    settings.crl_file = Some(write(directory.path(), "crl.pem", &authority.revoke(&[&bad])));
    let server = ServerContext::from_files("webhook", settings, &Metrics::new().unwrap()).unwrap();
    let connect = async |user: &Identity| {
        let client =
            ClientContext::from_pem("test", authority.ca_pem(), Some(user), MinVersion::Tls12).unwrap();
        meet(&server, &client, "localhost").await.0.map(drop)
    };
    connect(&good).await.unwrap();
    assert!(matches!(connect(&bad).await, Err(TlsError::Certificate(why)) if why.contains("revoked")));

    write(directory.path(), "crl.pem", &authority.revoke(&[&bad, &good]));
    assert_eq!(server.reload().unwrap(), Reloaded::Changed);
    assert_eq!(*server.client_generation().borrow(), 2);
    assert!(matches!(connect(&good).await, Err(TlsError::Certificate(_))));
}
