//! Faults of our own: too many reviews, too little time, mistakes.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::faulty::{Answer, FakeServer};

const OVERLOADED: &str = "bailiwick is overloaded and could not decide; this is no fault of yours: try again";
const LATE: &str = "bailiwick could not decide in time; this is no fault of yours: try again";
const TOO_LARGE: &str =
    "this request is too large for bailiwick to decide: ask for it with a shorter selector";
const FAILED: &str = "bailiwick failed to decide; this is no fault of yours: ask whoever runs it";
const UNDETERMINED: &str =
    "bailiwick could not find out whether this is denied; this is no fault of yours: ask whoever runs it";

/// A question that cannot be answered without the directory.
pub(super) fn question(version: &str) -> String {
    review(version, &json!({"user": "ada", "resourceAttributes": {"verb": "get", "resource": "pods"}}))
}

fn denied(version: &str, reason: &str) -> Value {
    json!({"apiVersion": format!("authorization.k8s.io/{version}"), "kind": "SubjectAccessReview",
        "status": {"allowed": false, "denied": true, "reason": reason}})
}

/// The house before a directory that hangs, and the directory.
pub(super) async fn blocked(setup: Setup) -> (Arc<House>, FakeServer) {
    let directory = FakeServer::start(Answer::Hang, None).await;
    let house = House::start(Setup { people: Whose::At(directory.address()), ..setup });
    (Arc::new(house), directory)
}

/// What is answered in `version` while a review that waits for the directory takes the one place there is.
async fn overloaded(when_undetermined: WhenUndetermined, version: &str) -> (Response, String) {
    let (house, directory) = blocked(Setup { max_in_flight: 1, when_undetermined, ..Setup::default() }).await;
    let first = tokio::spawn({
        let house = Arc::clone(&house);
        async move { house.ask(question("v1")).await }
    });
    until("the first review asks the directory", || directory.searches() > 0).await;
    let second = house.ask(question(version)).await;
    let metrics = house.metrics().await;
    first.abort();
    (second, metrics)
}

fn is_plain_503(response: &Response) {
    assert_eq!(response.status, 503, "{response:?}");
    assert!(!response.headers.contains_key("retry-after"), "{response:?}");
    assert_eq!(json_of(response)["kind"], "Status");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_review_too_many_is_denied_in_its_own_version_and_told_whose_fault_it_is() {
    for version in ["v1", "v1beta1"] {
        let (response, metrics) = overloaded(WhenUndetermined::Deny, version).await;
        assert_eq!((response.status.as_u16(), json_of(&response)), (200, denied(version, OVERLOADED)));
        assert!(metrics.contains("bailiwick_overload_rejections_total 1"), "{metrics}");
        // The review that waits; the scrape itself is in flight as well.
        assert!(metrics.contains("bailiwick_http_requests_in_flight 2"), "{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_plane_is_answered_while_everybody_else_is_too_many() {
    let (house, directory) = blocked(Setup { max_in_flight: 1, ..Setup::default() }).await;
    let first = tokio::spawn({
        let house = Arc::clone(&house);
        async move { house.ask(question("v1")).await }
    });
    until("the first review asks the directory", || directory.searches() > 0).await;
    let pods = json!({"verb": "get", "resource": "pods"});
    let exempt =
        house.ask(review("v1", &json!({"user": "system:apiserver", "resourceAttributes": pods}))).await;
    assert_eq!((exempt.status.as_u16(), &json_of(&exempt)["status"]), (200, &json!({"allowed": false})));
    let other = house.ask(question("v1")).await;
    assert_eq!(json_of(&other), denied("v1", OVERLOADED));
    first.abort();
}

/// Whoever lists can make a review as long as they like by its selectors, and an API server that fails open would go on
/// without an answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_review_that_is_too_large_is_denied_in_its_version_and_not_left_to_a_caller_that_fails_open() {
    let spec = json!({"user": "ada", "nonResourceAttributes": {"path": format!("/{}", "x".repeat(2 << 20)), "verb": "get"}});
    let house = House::start(Setup::default());
    for version in ["v1", "v1beta1"] {
        let response = house.ask(review(version, &spec)).await;
        assert_eq!((response.status.as_u16(), json_of(&response)), (200, denied(version, TOO_LARGE)));
    }
    let house = House::start(Setup { when_undetermined: WhenUndetermined::Unavailable, ..Setup::default() });
    let response = house.ask(review("v1", &spec)).await;
    assert_eq!(response.status, 413);
    assert!(!response.headers.contains_key("retry-after"), "{response:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_review_too_many_is_unavailable_where_the_caller_then_denies() {
    let (response, metrics) = overloaded(WhenUndetermined::Unavailable, "v1").await;
    is_plain_503(&response);
    assert!(
        metrics.contains(r#"bailiwick_decisions_total{cause="overload",decision="Unavailable"} 1"#),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_hangs_is_waited_for_no_longer_than_the_deadline() {
    let deadline = Duration::from_millis(400);
    let (house, _directory) = blocked(Setup { deadline, ..Setup::default() }).await;
    let asked = Instant::now();
    let mut answer = json_of(&house.ask(question("v1")).await);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    let error = answer["status"]["evaluationError"].take();
    assert!(error.as_str().unwrap().contains("not-the-suspended"), "{error}");
    answer["status"].as_object_mut().unwrap().remove("evaluationError");
    assert_eq!(answer, denied("v1", UNDETERMINED));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_found_out_in_time_is_unavailable_where_the_caller_then_denies() {
    let when_undetermined = WhenUndetermined::Unavailable;
    let deadline = Duration::from_millis(400);
    let (house, _directory) = blocked(Setup { deadline, when_undetermined, ..Setup::default() }).await;
    is_plain_503(&house.ask(question("v1")).await);
}

/// What comes back where the head of a request promises a body that never comes.
async fn answer_to_half_a_request(house: &House) -> String {
    let identity = house.authority.client("kube-apiserver", &[]).unwrap();
    let context =
        ClientContext::from_pem("test", house.authority.ca_pem(), Some(&identity), MinVersion::default())
            .unwrap();
    let tcp = TcpStream::connect(house.webhook.address).await.unwrap();
    let mut stream = context.connect("127.0.0.1", tcp).await.unwrap();
    let head = "POST /authorize HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 999\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while !answer.ends_with(b"}") {
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut chunk)).await.unwrap().unwrap();
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&chunk[..read]);
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_in_time_is_no_way_around_a_deny() {
    let deadline = Duration::from_millis(200);
    let house = House::start(Setup { deadline, ..Setup::default() });
    let answer = answer_to_half_a_request(&house).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(serde_json::from_str::<Value>(body).unwrap(), denied("v1", LATE));
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_do_not_come_leave_no_place_for_others_and_those_are_told_so() {
    let deadline = Duration::from_millis(600);
    let house = Arc::new(House::start(Setup { deadline, max_in_flight: 1, ..Setup::default() }));
    let slow = tokio::spawn({
        let house = Arc::clone(&house);
        async move { answer_to_half_a_request(&house).await }
    });
    loop {
        if house.metrics().await.contains("bailiwick_http_requests_in_flight 2") {
            break;
        }
    }
    // It gets its turn when the first gives up, or is told that there was none: a decision either way.
    let response = house.ask(question("v1beta1")).await;
    assert_eq!(response.status, 200, "{response:?}");
    assert!(slow.await.unwrap().contains(LATE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_of_ours_is_never_a_500() {
    let clock: Clock = Arc::new(|| panic!("a clock that stops"));
    let house = House::start(Setup { clock: Arc::clone(&clock), ..Setup::default() });
    assert_eq!(json_of(&house.ask(question("v1")).await), denied("v1", FAILED));
    let explained = house.ask_admin(Method::POST, "/explain", Some(question("v1"))).await;
    is_plain_503(&explained);
    let when_undetermined = WhenUndetermined::Unavailable;
    let house = House::start(Setup { clock, when_undetermined, ..Setup::default() });
    is_plain_503(&house.ask(question("v1")).await);
}
