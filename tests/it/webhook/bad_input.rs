//! What is no review: one table, which the documentation shows.

use super::*;

/// Where the table is shown.
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/webhook-errors.md");

const HEAD: &str = "\
# What the webhook answers to what is no review

Every refusal is a Kubernetes `Status` whose `message` says what is wrong; of the request it repeats no more than kind,
version and keys, escaped and cut. None of them allows. An API server does not retry them: it goes by its
`failurePolicy`, so state `failurePolicy: Deny` in the `AuthorizationConfiguration` where policies deny. Without it, an
API server takes a refusal for no opinion. Whoever asks with a selector of hundreds of kilobytes can make a review that is
too large, so that one is denied instead (413 with `decisions.whenUndetermined: Unavailable`). 429, 500, 504 and `Retry-After`, which an API server would retry five times over, are never sent.

This table is made by the tests (`BLESS=1 cargo test --test it webhook::bad_input`), which send every row of it.

";

const TAIL: &str = "
## What is not about the request

| what | answer |
|---|---|
| no client certificate where one is required, or one of another authority | the TLS handshake fails |
| neither a certificate nor a token that is in `server.clients` | 401 |
| a certificate that is not in `server.clients`, or a client that may not speak for this cluster | 403 |
| more than `server.maxInFlight` reviews, a review that takes longer than `server.deadline` (the time in which its body arrives included), or a mistake of ours | `denied` with a reason that says whose fault it is; with `decisions.whenUndetermined: Unavailable` 503 |
";

/// One thing that is sent.
struct Row {
    what: &'static str,
    method: Method,
    path: &'static str,
    media_type: &'static str,
    body: String,
    /// Status and message, or 200 and the decision.
    answer: (u16, &'static str),
}

/// With `whenUndetermined: Unavailable` it is a 413.
const TOO_LARGE: &str =
    "denied: this request is too large for bailiwick to decide: ask for it with a shorter selector";

fn row(what: &'static str, body: impl Into<String>, answer: (u16, &'static str)) -> Row {
    Row {
        what,
        method: Method::POST,
        path: "/authorize",
        media_type: "application/json",
        body: body.into(),
        answer,
    }
}

/// A review in which this user creates a pod, which only members of a group of the directory may.
fn asking(user: &str) -> String {
    review_v1(&json!({"user": user,
        "resourceAttributes": {"namespace": "team-a", "verb": "create", "resource": "pods"}}))
}

fn rows() -> Vec<Row> {
    let path = json!({"path": "/version", "verb": "get"});
    let pods = json!({"verb": "get", "resource": "pods"});
    let good = || asking("ada");
    vec![
        row("no body", "", (400, "the body is not JSON: EOF while parsing a value at line 1 column 0")),
        row(
            "not JSON",
            "verb=get&resource=pods",
            (400, "the body is not JSON: expected value at line 1 column 1"),
        ),
        row(
            "JSON and something after it",
            good() + "{}",
            (400, "the body is not JSON: trailing characters at line 1 column 235"),
        ),
        row("JSON that is no object", "[]", (400, "expected a SubjectAccessReview, found a list")),
        row("an object without `kind`", "{}", (400, "kind: missing")),
        row(
            "another kind",
            good().replace("SubjectAccessReview", "TokenReview"),
            (400, r#"kind: expected SubjectAccessReview, found "TokenReview""#),
        ),
        row(
            "another version",
            good().replace("k8s.io/v1", "k8s.io/v2"),
            (
                400,
                r#"apiVersion: expected authorization.k8s.io/v1 or authorization.k8s.io/v1beta1, found "authorization.k8s.io/v2""#,
            ),
        ),
        row(
            "both kinds of attributes",
            review_v1(&json!({"user": "ada", "resourceAttributes": pods, "nonResourceAttributes": path})),
            (400, "spec: resourceAttributes and nonResourceAttributes are both set"),
        ),
        row(
            "neither kind of attributes",
            review_v1(&json!({"user": "ada", "resourceAttributes": null})),
            (400, "spec: neither resourceAttributes nor nonResourceAttributes is set"),
        ),
        row(
            "`groups` under v1beta1",
            review("v1beta1", &json!({"user": "ada", "groups": ["eng"], "nonResourceAttributes": path})),
            (400, "spec: groups is not a field of authorization.k8s.io/v1beta1: groups stand under group"),
        ),
        row(
            "`group` under v1",
            review_v1(&json!({"user": "ada", "group": ["eng"], "nonResourceAttributes": path})),
            (400, "spec: group is not a field of authorization.k8s.io/v1: groups stand under groups"),
        ),
        row(
            "a key twice",
            good().replace(r#""user":"ada""#, r#""user":"bob","user":"ada""#),
            (400, r#"spec: key "user" occurs twice"#),
        ),
        row(
            "a key twice, once escaped, in a part that is not looked at",
            good().replace(r#""allowed":false"#, r#""x":{"a":1,"\u0061":2}"#),
            (400, r#"status.x: key "a" occurs twice"#),
        ),
        row(
            "a list where a string belongs",
            good().replace(r#""ada""#, r#"["ada"]"#),
            (400, "spec.user: expected a string, found a list"),
        ),
        row(
            "nested 10,000 deep",
            good().replace("null", &format!("{}{}", "[".repeat(10_000), "]".repeat(10_000))),
            (
                400,
                "metadata.creationTimestamp[0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]: nested deeper than 32",
            ),
        ),
        row("2 MiB long", asking(&"a".repeat(2 << 20)), (200, TOO_LARGE)),
        row(
            "a NUL byte",
            good().replace(r#""ada""#, "\"a\0da\""),
            (
                400,
                "the body is not JSON: control character (\\u0000-\\u001F) found while parsing a string at line 1 column 203",
            ),
        ),
        row("not UTF-8 (sent as Latin-1)", "\u{0}latin-1", (400, "the body is not UTF-8")),
        row("a NUL in the user's name", asking("a\0da"), (200, "no opinion")),
        row("a user's name of 10 KB", asking(&"a".repeat(10_000)), (200, "no opinion")),
        row("a user's name of LDAP metacharacters, `*)(uid=*`", asking("*)(uid=*"), (200, "no opinion")),
        row("a user's name of one wildcard, `*`", asking("*"), (200, "no opinion")),
        row("a user's name with an LDAP escape, `\\61da`", asking("\\61da"), (200, "no opinion")),
        Row {
            media_type: "text/plain",
            ..row("another content type", good(), (415, "the body has to be application/json"))
        },
        Row { method: Method::GET, ..row("GET", "", (405, "this path takes POST")) },
        Row { path: "/", ..row("an unknown path", good(), (404, "no such path")) },
        Row { path: "/authorize/", ..row("a path that only resembles one", good(), (404, "no such path")) },
        Row {
            path: "/clusters/prod%201/authorize",
            ..row(
                "a cluster that is no name",
                good(),
                (400, "the cluster in the path is no name: letters, digits and -._:@, at most 253"),
            )
        },
    ]
}

async fn answer(house: &House, client: &https::Client, row: &Row) -> (u16, String) {
    let mut body = row.body.clone().into_bytes();
    if body.starts_with(b"\0") {
        body[0] = 0xe9;
    }
    let mut connection = client.connect(&house.webhook_url(), patience()).await.unwrap();
    let request = Request {
        method: row.method.clone(),
        target: row.path.to_owned(),
        body: (row.method == Method::POST).then(|| (row.media_type, body.into())),
    };
    let response =
        connection.send(request, patience()).await.unwrap_or_else(|error| panic!("{}: {error}", row.what));
    assert!(!response.headers.contains_key("retry-after"));
    let answer = json_of(&response);
    let code = response.status.as_u16();
    if code == 200 {
        assert_eq!(answer["status"]["allowed"], false, "{}", row.what);
        let reason = answer["status"]["reason"].as_str();
        return (code, reason.map_or("no opinion".to_owned(), |reason| format!("denied: {reason}")));
    }
    let message = answer["message"].as_str().unwrap_or_default().to_owned();
    let status =
        json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "message": message, "code": code});
    assert_eq!(answer, status, "{}", row.what);
    (code, message)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_review_has_its_status_and_message_and_never_allows() {
    let house = House::start(Setup { people: Whose::Embedded, ..Setup::default() });
    let client = house.api_server();
    for row in rows() {
        let (status, message) = row.answer;
        assert_eq!(answer(&house, &client, &row).await, (status, message.to_owned()), "{}", row.what);
    }
    let good = json_of(&house.ask(asking("ada")).await);
    assert_eq!(good["status"], json!({"allowed": true}), "what all of this leaves out is allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_reach_the_directory_escaped_or_not_at_all() {
    let house = House::start(Setup { people: Whose::Embedded, ..Setup::default() });
    let long = "a".repeat(10_000);
    let rows = [("*)(uid=*", true), ("*", true), ("\\61da", true), ("a\0da", false), (long.as_str(), false)];
    for (user, _) in rows {
        assert_eq!(json_of(&house.ask(asking(user)).await)["status"], json!({"allowed": false}));
    }
    let lines = house.audit();
    for ((user, is_asked), line) in rows.iter().zip(&lines) {
        // Where the directory was asked it answered, and knew nobody: several would be denied, and one might be allowed.
        assert_eq!((line["facts"].is_object(), &line["cause"]), (*is_asked, &json!("default")), "{user:.20}");
    }
}

#[test]
fn the_documentation_shows_the_table() {
    let cell = |text: &str| text.replace('|', "\\|");
    let mut text = format!("{HEAD}| what is sent | status | message |\n|---|---|---|\n");
    for Row { what, answer: (status, message), .. } in rows() {
        let message = match status {
            200 => format!("(answered: {message})"),
            _ => format!("`{}`", cell(message)),
        };
        text.push_str(&format!("| {} | {status} | {message} |\n", cell(what)));
    }
    text.push_str(TAIL);
    if std::env::var_os("BLESS").is_some() {
        must(std::fs::write(DOCUMENT, &text));
    }
    let written = std::fs::read_to_string(DOCUMENT).unwrap_or_default();
    assert!(
        written == text,
        "docs/webhook-errors.md is not what the tests send: write it again with BLESS=1"
    );
}
