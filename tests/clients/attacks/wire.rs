//! What is wrong below HTTP's words: framing that two readers take for two requests, sizes, and clients that are slow.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use openssl::ssl::{SslConnector, SslFiletype, SslMethod, SslStream};

use super::{Scene, stages_of};
use crate::demo::PATIENCE;

const PATH: &str = "/api/v1/namespaces/default/configmaps";
/// The longest body that is received, as the front end has it: 3 MiB.
const MAX_BODY_BYTES: usize = 3 << 20;

/// A connection of one of the demo's people, with HTTP/1.1.
fn connect(scene: &Scene, person: &str) -> SslStream<TcpStream> {
    let mut tls = SslConnector::builder(SslMethod::tls()).unwrap();
    tls.set_ca_file(scene.demo.path("ca.pem")).unwrap();
    let file = |end| scene.demo.path(&format!("people/{person}.{end}"));
    tls.set_certificate_file(file("pem"), SslFiletype::PEM).unwrap();
    tls.set_private_key_file(file("key"), SslFiletype::PEM).unwrap();
    let address = scene.demo.url().replace("https://", "");
    let stream = TcpStream::connect(&address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    tls.build().connect("127.0.0.1", stream).unwrap()
}

/// Everything that comes until the server closes. What the server does not read any more cannot be written.
fn exchange(mut stream: SslStream<TcpStream>, bytes: &[u8]) -> String {
    let _written = stream.write_all(bytes);
    let mut answers = Vec::new();
    let mut piece = [0; 16_384];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Err(error) => {
                assert_ne!(error.kind(), ErrorKind::WouldBlock, "it is not closed");
                break;
            }
            Ok(length) => answers.extend_from_slice(&piece[..length]),
        }
    }
    String::from_utf8_lossy(&answers).into_owned()
}

/// The codes of the answers to this, by the administrator.
fn codes(scene: &Scene, request: &str) -> Vec<u16> {
    codes_of(&exchange(connect(scene, "admin"), request.as_bytes()))
}

fn codes_of(answers: &str) -> Vec<u16> {
    let heads = answers.split("HTTP/1.1 ").skip(1);
    heads.filter_map(|head| head.get(..3)?.parse().ok()).collect()
}

#[test]
fn no_request_is_hidden_in_another() {
    let scene = Scene::new();
    let hidden = "DELETE /api/v1/namespaces/payments-prod HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let post = format!("POST {PATH} HTTP/1.1\r\nHost: x\r\n");
    let length = hidden.len() + 5;
    for headers in [
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n\r\n0\r\n\r\n"),
        format!("Content-Length: {length}\r\nContent-Length: 0\r\n\r\n"),
        "Content-Length: 0\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "Content-Length: +5\r\n\r\nabcde".to_owned(),
        "Content-Length: -1\r\n\r\n".to_owned(),
        "Content-Length: 5, 5\r\n\r\nabcde".to_owned(),
        "Content-Length: 99999999999999999999\r\n\r\n".to_owned(),
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n".to_owned(),
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n".to_owned(),
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n".to_owned(),
        "Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n".to_owned(),
        "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n\r\n".to_owned(),
        "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n".to_owned(),
        "X: a\r\n b\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "Host: y\r\nContent-Length: 0\r\n\r\n".to_owned(),
    ] {
        assert_eq!(codes(&scene, &format!("{post}{headers}{hidden}")), [400], "{headers:?}");
    }
    for request in [
        format!("POST {PATH} HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("GET {PATH} HTTP/1.1\r\n\r\n{hidden}"),
        format!("GET {PATH}\r\n\r\n{hidden}"),
        format!("GET {PATH} HTTP/2.0\r\nHost: x\r\n\r\n{hidden}"),
        format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{hidden}"),
        format!("GET {PATH}\tHTTP/1.1\r\nHost: x\r\n\r\n{hidden}"),
    ] {
        assert_eq!(codes(&scene, &request), [400], "{request:?}");
    }
    // What follows a CONNECT or an Upgrade is no request either, for neither is taken up.
    let connect = format!("CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n{hidden}");
    assert_eq!(codes(&scene, &connect), [404]);
    let body = format!(
        "GET {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        hidden.len()
    );
    assert_eq!(codes(&scene, &format!("{body}{hidden}")), [200], "the body of a GET is its body");
    let named = "Connection: close, Authorization, X-Remote-User\r\nX-Remote-User: bob\r\n";
    let named = format!("GET {PATH} HTTP/1.1\r\nHost: x\r\n{named}\r\n");
    let closing = "GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_eq!(codes(&scene, &format!("{named}{closing}"))[0], 200);
    let journey = scene.demo.journey(|journey| journey["uri"] == PATH && journey["method"] == "GET");
    assert_eq!(journey["user"]["username"], "admin");
    scene.demo.kubectl("admin").ok(&["get", "namespace", "payments-prod"]);
}

#[test]
fn what_is_too_large_is_refused_before_it_is_kept() {
    let scene = Scene::new();
    let post = format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n");
    let announced = format!("{post}Content-Length: {}\r\n\r\n", MAX_BODY_BYTES + 1);
    assert_eq!(codes(&scene, &announced), [413], "before any of it was sent");
    let chunk = format!("10000\r\n{}\r\n", "a".repeat(65_536)).repeat(49);
    let chunked = format!("{post}Transfer-Encoding: chunked\r\n\r\n{chunk}");
    assert_eq!(codes(&scene, &chunked), [413]);
    let journey = scene.demo.journey(|journey| journey["code"] == 413);
    assert_eq!(stages_of(&journey).last().unwrap().0, "Authorization");
    // Who may not do it is told so before a byte of the body is waited for.
    let expecting = format!("{post}Content-Length: {MAX_BODY_BYTES}\r\n\r\n{{");
    assert_eq!(codes_of(&exchange(connect(&scene, "alice"), expecting.as_bytes())), [403]);
    let get = format!("GET {PATH} HTTP/1.1\r\nHost: x\r\n");
    let many: String = (0..10_000).map(|nth| format!("x-{nth}: y\r\n")).collect();
    assert_eq!(codes(&scene, &format!("{get}{many}\r\n")), [431]);
    assert_eq!(codes(&scene, &format!("{get}X: {}\r\n\r\n", "a".repeat(1_000_000))), [431]);
}

#[test]
fn a_slow_client_has_a_bounded_time_and_delays_nobody() {
    let scene = Scene::new();
    let post = format!(
        "POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    );
    let mut heads: Vec<_> = (0..20).map(|_| connect(&scene, "alice")).collect();
    let mut bodies: Vec<_> = (0..20).map(|_| connect(&scene, "admin")).collect();
    bodies.iter_mut().for_each(|body| body.write_all(post.as_bytes()).unwrap());
    let began = Instant::now();
    for (nth, letter) in format!("GET {PATH} HTTP/1.1\r\nX: {}", "x".repeat(40)).bytes().enumerate() {
        for stream in heads.iter_mut().chain(&mut bodies) {
            let _written = stream.write_all(&[letter]);
        }
        if nth % 10 == 0 {
            assert_eq!(scene.admin(&[], "/version").answer.code, 200);
        }
        std::thread::sleep(Duration::from_millis(150));
    }
    for head in heads {
        assert_eq!(codes_of(&exchange(head, b"x")), [408]);
    }
    for body in bodies {
        assert_eq!(codes_of(&exchange(body, b"x")), [400]);
    }
    assert!(began.elapsed() < PATIENCE, "they are held for {:?}", began.elapsed());
    let journey = scene.demo.journey(|journey| journey["code"] == 400);
    assert!(journey["message"].as_str().unwrap().contains("did not come in time"), "{journey}");
    // Who says nothing at all, or speaks no TLS, is let go as well.
    let address = scene.demo.url().replace("https://", "");
    for first in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01"] {
        let mut silent = TcpStream::connect(&address).unwrap();
        silent.set_read_timeout(Some(PATIENCE)).unwrap();
        silent.write_all(first).unwrap();
        let mut rest = Vec::new();
        let ended = silent.read_to_end(&mut rest).map_err(|error| error.kind());
        assert_ne!(ended, Err(ErrorKind::WouldBlock), "it is not closed");
        assert!(!String::from_utf8_lossy(&rest).contains("HTTP/1.1 2"));
    }
}
