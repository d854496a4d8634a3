//! Who may call which route: every route for every identity, at every door.

use bailiwick::http::Route;
use bailiwick::tls::Authority;

use super::*;

/// Statuses by door and identity (rows) and path (columns); `refused`: there is no answer at all.
///
/// Doors: `ca` asks for certificates, `plain` does not, `open` has no list of clients. Certificates: `stranger` is of
/// another authority, `unlisted` has no name in `server.clients`.
const WEBHOOK: &str = "
    _                       /authorize  /clusters/prod-1/authorize  /clusters/other/authorize
    ca/nobody               refused     refused                     refused
    ca/token                refused     refused                     refused
    ca/stranger             refused     refused                     refused
    ca/unlisted             403         403                         403
    ca/unlisted+wrong       403         403                         403
    ca/unlisted+token       403         403                         200
    ca/api-server           200         200                         403
    ca/api-server+wrong     200         200                         403
    ca/api-server+token     200         200                         200
    plain/nobody            401         401                         401
    plain/wrong             401         401                         401
    plain/token             403         403                         200
    plain/api-server        401         401                         401
    open/nobody             200         200                         200
";

/// Doors: `off` has nothing that a caller could prove itself with, `token` has a token file, `ca` asks for certificates,
/// `both` has both.
const ADMIN: &str = "
    _                   /metrics  /livez   /readyz  /version  /policies  /explain  /facts   /purge
    off/nobody          200       200      200      200       403        403       403      403
    off/token           200       200      200      200       403        403       403      403
    token/nobody        200       200      200      200       401        401       401      401
    token/wrong         200       200      200      200       401        401       401      401
    token/token         200       200      200      200       200        200       200      200
    ca/nobody           refused   refused  refused  refused   refused    refused   refused  refused
    ca/stranger         refused   refused  refused  refused   refused    refused   refused  refused
    ca/unlisted         200       200      200      200       200        200       200      200
    both/token          refused   refused  refused  refused   refused    refused   refused  refused
    both/unlisted       200       200      200      200       200        200       200      200
    both/unlisted+wrong 200       200      200      200       200        200       200      200
";

/// The paths of the first line, and the other lines by their first word.
fn table(text: &'static str) -> (Vec<&'static str>, Vec<(&'static str, Vec<&'static str>)>) {
    let mut lines =
        text.lines().map(str::split_whitespace).filter_map(|mut words| Some((words.next()?, words)));
    let (_, paths) = lines.next().unwrap();
    let paths: Vec<&str> = paths.collect();
    let rows: Vec<_> = lines.map(|(identity, words)| (identity, words.collect::<Vec<_>>())).collect();
    for (identity, statuses) in &rows {
        assert_eq!(statuses.len(), paths.len(), "{identity} has not one status for each path");
    }
    (paths, rows)
}

/// The paths to which the routes answer, for both clusters.
fn paths(routes: &[Route]) -> Vec<String> {
    let clusters = |route: &Route| match route.path().contains("{cluster}") {
        true => ["prod-1", "other"].map(|cluster| route.path().replace("{cluster}", cluster)).to_vec(),
        false => vec![route.path().to_owned()],
    };
    routes.iter().flat_map(clusters).collect()
}

fn client(house: &House, identity: &str) -> https::Client {
    let own = |name: &str| house.authority.client(name, &["system:masters"]).unwrap();
    let strangers = || Authority::new("house").unwrap().client("kube-apiserver", &[]).unwrap();
    let (mut certificate, mut token) = (None, None);
    for part in identity.split('+') {
        match part {
            "nobody" => {}
            "token" => token = Some(TOKEN),
            "wrong" => token = Some("a-token-for-test"),
            "stranger" => certificate = Some(strangers()),
            "unlisted" => certificate = Some(own("somebody")),
            "api-server" => certificate = Some(own("kube-apiserver")),
            other => panic!("{other} is no identity"),
        }
    }
    house.client(certificate.as_ref(), token)
}

/// What is said to this identity at this path.
async fn status(house: &House, url: &str, identity: &str, path: &str) -> String {
    let routes = Route::WEBHOOK.iter().chain(&Route::ADMIN);
    let is_post = routes.clone().any(|route| route.path() == path && route.method() == "POST")
        || path.starts_with("/clusters/");
    let method = if is_post { Method::POST } else { Method::GET };
    let body = review_v1(&json!({"nonResourceAttributes": {}, "user": "u"}));
    let target = if path == "/facts" { "/facts?user=u" } else { path };
    match send(&client(house, identity), url, method, target, is_post.then_some(body)).await {
        Ok(response) => response.status.as_str().to_owned(),
        Err(https::Error::Tls { .. } | https::Error::Http(_)) => "refused".to_owned(),
        Err(error) => panic!("{error}"),
    }
}

async fn holds(
    text: &'static str,
    routes: &[Route],
    open: impl Fn(&str) -> Setup,
    url: impl Fn(&House) -> String,
) {
    let (columns, rows) = table(text);
    assert_eq!(columns, paths(routes), "the table has not one column for each path");
    let mut doors: Vec<&str> = rows.iter().filter_map(|(row, _)| Some(row.split_once('/')?.0)).collect();
    doors.dedup();
    for door in doors {
        let house = House::start(open(door));
        for (row, statuses) in &rows {
            let Some(("/", identity)) = row.strip_prefix(door).map(|rest| rest.split_at(1)) else { continue };
            for (path, expected) in columns.iter().zip(statuses) {
                let found = status(&house, &url(&house), identity, path).await;
                assert_eq!(found, *expected, "{row} at {path}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhook_answers_only_whom_it_knows_for_their_own_clusters() {
    let open = |door: &str| match door {
        "ca" => Setup::default(),
        "plain" => Setup { webhook_ca: false, ..Setup::default() },
        "open" => Setup { webhook_ca: false, clients: false, ..Setup::default() },
        other => panic!("{other} is no door"),
    };
    holds(WEBHOOK, &Route::WEBHOOK, open, House::webhook_url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guarded_admin_routes_are_off_until_a_caller_can_prove_itself() {
    let open = |door: &str| {
        let (admin_ca, admin_token) = match door {
            "off" => (false, false),
            "token" => (false, true),
            "ca" => (true, false),
            "both" => (true, true),
            other => panic!("{other} is no door"),
        };
        Setup { admin_ca, admin_token, ..Setup::default() }
    };
    holds(ADMIN, &Route::ADMIN, open, House::admin_url).await;
}
