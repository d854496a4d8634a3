//! What a listener bounds: streams, headers, bodies, times and connections.

use super::*;

#[tokio::test]
async fn two_hundred_and_fifty_streams_are_offered() {
    let site = Site::new();
    let served = Served::start(Some(site.context()));
    let mut http2 = Http2::connect(served.address(), &site.http2(Some(&site.alice))).await.unwrap();
    http2.get("/whoami").await.unwrap();
    assert_eq!(http2.streams.await.unwrap(), 250);
    served.stop().await;
}

#[tokio::test]
async fn a_mebibyte_of_headers_is_refused() {
    let site = Site::new();
    let served = Served::start(Some(site.context()));
    let connector = site.http2(Some(&site.alice));
    let mut http2 = Http2::connect(served.address(), &connector).await.unwrap();
    std::future::poll_fn(|cx| http2.send.poll_ready(cx)).await.unwrap();
    let mut request = http::Request::get("https://localhost/whoami");
    for number in 0..64 {
        request = request.header(format!("x-{number}"), "v".repeat(16 * 1024));
    }
    let answered = match http2.send.send_request(request.body(()).unwrap(), true) {
        Ok((response, _)) => read(response).await.map(|(status, _)| status),
        Err(error) => Err(error),
    };
    assert!(!matches!(answered, Ok(status) if status != 431), "{answered:?}");
    let mut http2 = Http2::connect(served.address(), &connector).await.unwrap();
    assert_eq!(http2.get("/whoami").await.unwrap().0, 200);
    served.stop().await;
}

/// A frame of HTTP/2 (RFC 9113, 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

#[tokio::test]
async fn a_header_block_without_end_is_not_kept() {
    const SETTINGS: u8 = 4;
    const HEADERS: u8 = 1;
    const CONTINUATION: u8 = 9;
    const MOST: usize = 16 << 20;
    let site = Site::new();
    let served = Served::start(Some(site.context()));
    let tcp = TcpStream::connect(served.address()).await.unwrap();
    let ssl = site.http2(Some(&site.alice)).configure().unwrap().into_ssl("localhost").unwrap();
    let mut tls = tokio_openssl::SslStream::new(ssl, tcp).unwrap();
    std::pin::Pin::new(&mut tls).connect().await.unwrap();
    tls.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    tls.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    // A literal field that is not indexed (RFC 7541, 6.2.2): `x` with a hundred octets, as often as a frame holds it.
    let field = [&[0, 1, b'x', 100][..], &[b'v'; 100]].concat();
    let fields = field.repeat(16_000 / field.len());
    tls.write_all(&frame(HEADERS, 0, 1, &fields)).await.unwrap();
    let more = frame(CONTINUATION, 0, 1, &fields);
    let mut sent = 0;
    while sent < MOST && tls.write_all(&more).await.is_ok() {
        sent += more.len();
    }
    assert!(sent < MOST, "the server still listens after {sent} bytes");
    served.stop().await;
}

async fn read_to_end(tcp: &mut TcpStream) -> String {
    let mut answer = String::new();
    let _ = tokio::time::timeout(PATIENCE, tcp.read_to_string(&mut answer)).await.expect("it closes");
    answer
}

#[tokio::test]
async fn a_head_that_does_not_end_is_timed_out() {
    let served = Served::start(None);
    let mut tcp = TcpStream::connect(served.address()).await.unwrap();
    tcp.write_all(b"GET /whoami HT").await.unwrap();
    let before = Instant::now();
    let answer = read_to_end(&mut tcp).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(before.elapsed() < server::HEAD_TIMEOUT * 2, "{:?}", before.elapsed());
    served.stop().await;
}

#[tokio::test]
async fn a_second_head_that_does_not_end_is_timed_out_too() {
    let served = Served::start(None);
    let mut tcp = TcpStream::connect(served.address()).await.unwrap();
    tcp.write_all(b"GET /whoami HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    tcp.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    tcp.write_all(b"GET /whoami HT").await.unwrap();
    let before = Instant::now();
    read_to_end(&mut tcp).await;
    assert!(before.elapsed() < server::HEAD_TIMEOUT * 2, "{:?}", before.elapsed());
    served.stop().await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_timed_out() {
    let served = Served::start(None);
    let mut tcp = TcpStream::connect(served.address()).await.unwrap();
    tcp.write_all(b"POST /length HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc").await.unwrap();
    let answer = read_to_end(&mut tcp).await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    served.stop().await;
}

#[tokio::test]
async fn plain_http_answers_head_and_expect_and_bounds_bodies() {
    let served = Served::start(None);
    let ask = async |request: &str| {
        let mut tcp = TcpStream::connect(served.address()).await.unwrap();
        tcp.write_all(request.as_bytes()).await.unwrap();
        read_to_end(&mut tcp).await
    };
    let head = ask("HEAD /whoami HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-length: 9"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "no body: {head}");
    let expect = "POST /length HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\nconnection: close\r\n";
    let answer = ask(&format!("{expect}content-length: 3\r\n\r\nabc")).await;
    assert!(
        answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200") && answer.ends_with('3'),
        "{answer}"
    );
    let answer = ask("POST /length HTTP/1.1\r\nhost: a\r\ncontent-length: 5000\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    served.stop().await;
}

#[tokio::test]
async fn a_panic_is_one_requests_own() {
    let site = Site::new();
    let served = Served::start(Some(site.context()));
    let client = site.client(Some(&site.alice));
    let response = client.get(&served.url("/panic"), patience()).await.unwrap();
    assert_eq!(response.status, 503);
    assert!(!response.headers.contains_key("retry-after"));
    let mut http2 = Http2::connect(served.address(), &site.http2(Some(&site.alice))).await.unwrap();
    assert_eq!(http2.get("/panic").await.unwrap().0, 503);
    assert_eq!(http2.get("/whoami").await.unwrap().0, 200, "the connection is as good as before");
    served.stop().await;
}

#[tokio::test]
async fn a_request_whose_client_is_gone_is_given_up() {
    let site = Site::new();
    let served = Served::start(Some(site.context()));
    let mut http2 = Http2::connect(served.address(), &site.http2(Some(&site.alice))).await.unwrap();
    // The client keeps a hold on a request that it sent before it knew the server's limits.
    http2.get("/whoami").await.unwrap();
    let in_flight = http2.begin("/wait").await.unwrap();
    served.gate.has_begun().await;
    drop(in_flight);
    served.gate.is_dropped().await;
    assert_eq!(http2.get("/whoami").await.unwrap().0, 200, "a reset ends one stream");

    served.gate.dropped.store(false, Ordering::SeqCst);
    let (client, url) = (site.client(Some(&site.alice)), served.url("/wait"));
    let http1 = tokio::spawn(async move { client.get(&url, patience()).await });
    served.gate.has_begun().await;
    http1.abort();
    served.gate.is_dropped().await;
    served.stop().await;
}

#[tokio::test]
async fn an_answer_longer_than_every_window_arrives_whole() {
    let site = Site::new();
    let served = Served::start(Some(site.context()));
    let mut http2 = Http2::connect(served.address(), &site.http2(Some(&site.alice))).await.unwrap();
    assert_eq!(http2.get("/big").await.unwrap().1.len(), 3 << 20);
    let client = site.client(Some(&site.alice));
    let response = client.get(&served.url("/big"), patience()).await.unwrap();
    assert_eq!(response.body.len(), 3 << 20);
    let error = client.with_max_body(1 << 20).get(&served.url("/big"), patience()).await.unwrap_err();
    assert!(matches!(error, https::Error::TooLong(_)), "{error}");
    served.stop().await;
}

#[tokio::test]
async fn bodies_that_nobody_reads_do_not_use_up_the_connection() {
    let site = Site::new();
    let served = Served::start(Some(site.context()));
    let mut http2 = Http2::connect(served.address(), &site.http2(Some(&site.alice))).await.unwrap();
    let body = Bytes::from(vec![b'x'; 16_000]);
    let posts = server::CONNECTION_WINDOW as usize * 3 / body.len();
    for _ in 0..posts {
        let request = http::Request::post("https://localhost/length")
            .header("content-length", body.len())
            .body(())
            .unwrap();
        std::future::poll_fn(|cx| http2.send.poll_ready(cx)).await.unwrap();
        let (response, mut stream) = http2.send.send_request(request, false).unwrap();
        // The server may have refused it already.
        let _ = stream.send_data(body.clone(), true);
        let answered = tokio::time::timeout(PATIENCE, read(response)).await.expect("the window is open");
        assert_eq!(answered.unwrap().0, 413);
    }
    served.stop().await;
}

#[tokio::test]
async fn as_many_requests_as_are_offered_are_answered_at_one_time() {
    let site = Site::new();
    let served = Served::start(Some(site.context()));
    let mut http2 = Http2::connect(served.address(), &site.http2(Some(&site.alice))).await.unwrap();
    http2.get("/whoami").await.unwrap();
    let mut waiting = Vec::new();
    for _ in 0..server::MAX_CONCURRENT_STREAMS {
        waiting.push(http2.begin("/wait").await.unwrap());
        served.gate.has_begun().await;
    }
    served.gate.open.add_permits(waiting.len());
    for response in waiting {
        assert_eq!(read(response).await.unwrap(), (200, "waited".to_owned()));
    }
    served.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_most_are_closed_and_counted() {
    let served = Served::with(None, |settings| settings.max_connections = 2);
    let client = Client::plain();
    let url = format!("http://{}/whoami", served.address());
    let whoami = || https::Request { method: https::Method::GET, target: "/whoami".into(), body: None };
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut connection = client.connect(&url, patience()).await.unwrap();
        connection.send(whoami(), patience()).await.unwrap();
        kept.push(connection);
    }
    client.get(&url, patience()).await.unwrap_err();
    assert_eq!(served.running.refused_connections(), 1);
    kept.pop();
    let until = patience();
    while client.get(&url, patience()).await.is_err() {
        assert!(Instant::now() < until, "a place that was given back can be taken");
    }
    served.stop().await;
}

#[tokio::test]
async fn a_client_that_says_nothing_does_not_keep_its_connection() {
    let site = Site::new();
    let served = Served::start(Some(site.context()));
    let mut tcp = TcpStream::connect(served.address()).await.unwrap();
    let before = Instant::now();
    read_to_end(&mut tcp).await;
    assert!(before.elapsed() < server::HANDSHAKE_TIMEOUT * 2, "{:?}", before.elapsed());
    served.stop().await;
}
