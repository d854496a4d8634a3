//! `bailiwick frontend --data-dir` as a process: what was acknowledged is there after it was killed at any moment.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bailiwick::tls::https::{Connection, Method, Request};
use serde_json::{Value, json};

use super::fixture::{BAILIWICK, PATIENCE, Site, ended, signal_process};
use super::frontend::{FrontEnd, by_token, json_of};

/// How often it is killed, unless `BAILIWICK_KILL_ROUNDS` says otherwise.
const ROUNDS: usize = 10;
/// How many write at the same time.
const WRITERS: usize = 6;
/// How many objects they write.
const NAMES: usize = 8;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn site() -> Site {
    let site = Site::new(&[]);
    site.write("tokens.csv", "alices-token,alice,1\n");
    site.write(
        "abac.jsonl",
        r#"{"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy", "spec": {"user": "*", "namespace": "*", "resource": "*", "apiGroup": "*"}}"#,
    );
    site.write(
        "objects.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: configured, namespace: default}\ndata: {is: configured}\n",
    );
    site.write(
        "frontend.yaml",
        "apiVersion: bailiwick.dev/v1alpha1\n\
         kind: FrontendConfiguration\n\
         server: {listen: \"127.0.0.1:0\", tls: {certFile: server.pem, keyFile: server.key, caFile: ca.pem}}\n\
         authentication: {tokenFile: tokens.csv, serviceAccounts: {issuer: \"https://here\"}}\n\
         authorization: {modes: [ABAC], abacPolicyFile: abac.jsonl}\n\
         objects: {paths: [objects.yaml]}\n\
         storage: {dataDir: data}\n\
         log: {format: json, level: info}\n",
    );
    site
}

/// A generator of numbers that need not be good (Knuth's).
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

/// What became of one object, as far as its writers know. A deletion stands after the version that it was of.
#[derive(Debug, Default, Clone)]
struct Known {
    /// The latest that was acknowledged: the version, whether it was a deletion then, and the object.
    latest: (u64, bool, Value),
    /// What was asked for, of which nobody knows whether it was done.
    open: BTreeSet<String>,
    /// Whether a deletion is among it.
    open_deletion: bool,
}

/// What all writers know.
#[derive(Debug, Default)]
struct Model {
    objects: BTreeMap<String, Known>,
    /// What was written at each version that was ever told.
    told: BTreeMap<u64, (String, String)>,
    acknowledged: usize,
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

fn who(object: &Value) -> String {
    object["data"]["who"].as_str().unwrap_or_default().to_owned()
}

/// What of an object is stored, however it was read.
fn stored(object: &Value) -> Value {
    json!([object["metadata"], object["data"]])
}

impl Model {
    fn known(&mut self, name: &str) -> &mut Known {
        self.objects.entry(name.to_owned()).or_default()
    }

    fn acknowledge(&mut self, name: &str, at: (u64, bool), object: Value) {
        self.acknowledged += 1;
        if !at.1 {
            self.tell(name, &object);
        }
        let known = self.known(name);
        if at > (known.latest.0, known.latest.1) {
            known.latest = (at.0, at.1, object);
        }
    }

    /// No version is told twice, for two things.
    fn tell(&mut self, name: &str, object: &Value) {
        let what = (name.to_owned(), who(object));
        let told = self.told.entry(version(object)).or_insert_with(|| what.clone());
        assert_eq!(*told, what, "version {} is of two things", version(object));
    }

    /// Compares with what is there after a start; from then on nothing is open.
    fn compare(&mut self, list: &Value) {
        let latest: u64 = list["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        let last_told = self.told.last_key_value().map_or(0, |(version, _)| *version);
        assert!(latest >= last_told, "versions went back from {last_told} to {latest}");
        let items = list["items"].as_array().unwrap().iter();
        let mut there: BTreeMap<String, Value> =
            items.map(|item| (item["metadata"]["name"].as_str().unwrap().to_owned(), item.clone())).collect();
        assert!(there.remove("kube-root-ca.crt").is_some() && there.remove("configured").is_some());
        let names: BTreeSet<String> = there.keys().chain(self.objects.keys()).cloned().collect();
        for name in names {
            let known = self.objects.get(&name).cloned().unwrap_or_default();
            let (acknowledged, is_deleted, last) = &known.latest;
            match there.get(&name) {
                Some(object) if version(object) == *acknowledged => {
                    assert!(!is_deleted, "{name} was deleted, and is there again");
                    assert_eq!(stored(object), stored(last), "{name} is not what was acknowledged");
                }
                Some(object) => {
                    assert!(version(object) > *acknowledged, "{name} went back: {object}, {known:?}");
                    assert!(known.open.contains(&who(object)), "nobody wrote {object}, {known:?}");
                    self.tell(&name, object);
                }
                None => {
                    let was_never = *acknowledged == 0;
                    assert!(was_never || *is_deleted || known.open_deletion, "{name} is lost: {known:?}");
                }
            }
            let latest = there
                .get(&name)
                .map_or((latest, true, Value::Null), |object| (version(object), false, object.clone()));
            *self.known(&name) = Known { latest, ..Known::default() };
        }
    }
}

async fn ask(
    connection: &mut Connection,
    method: Method,
    target: &str,
    body: Option<&Value>,
) -> Option<(u16, Value)> {
    let body = body.map(|body| ("application/json", serde_json::to_vec(body).unwrap().into()));
    let request = Request { method, target: target.to_owned(), body };
    let response = connection.send(request, Instant::now() + PATIENCE).await.ok()?;
    Some((response.status.as_u16(), json_of(&response)))
}

/// Writes until the connection breaks.
async fn write(
    mut connection: Connection,
    model: Arc<Mutex<Model>>,
    mut dice: Dice,
    writer: String,
) -> Option<()> {
    for nth in 0.. {
        let name = format!("m{}", dice.below(NAMES as u64));
        let path = format!("{MAPS}/{name}");
        let (code, mut read) = ask(&mut connection, Method::GET, &path, None).await?;
        let who = format!("{writer}-{nth}");
        if code == 200 && dice.below(5) == 0 {
            let of = version(&read);
            model.lock().unwrap().known(&name).open_deletion = true;
            let preconditions = json!({"preconditions": {"resourceVersion": of.to_string()}});
            let (code, answer) = ask(&mut connection, Method::DELETE, &path, Some(&preconditions)).await?;
            match code {
                200 => model.lock().unwrap().acknowledge(&name, (of, true), Value::Null),
                404 | 409 => {}
                _ => panic!("{answer}"),
            }
            continue;
        }
        // Up to some pages of the file.
        let data = json!({"who": who, "padding": "x".repeat(usize::try_from(dice.below(20_000)).unwrap())});
        model.lock().unwrap().known(&name).open.insert(who);
        let (code, answer) = if code == 200 {
            read["data"] = data;
            ask(&mut connection, Method::PUT, &path, Some(&read)).await?
        } else {
            let object = json!({"metadata": {"name": name}, "data": data});
            ask(&mut connection, Method::POST, MAPS, Some(&object)).await?
        };
        match code {
            200 | 201 => model.lock().unwrap().acknowledge(&name, (version(&answer), false), answer),
            404 | 409 => {}
            _ => panic!("{answer}"),
        }
    }
    None
}

/// Makes namespaces with something in them, and deletes them again, until the connection breaks.
async fn churn(mut connection: Connection, round: usize) -> Option<()> {
    for nth in 0.. {
        let name = format!("n{round}-{nth}");
        let namespace = json!({"metadata": {"name": name}});
        ask(&mut connection, Method::POST, "/api/v1/namespaces", Some(&namespace)).await?;
        let inside = format!("/api/v1/namespaces/{name}/configmaps");
        for map in ["one", "two"] {
            let map = json!({"metadata": {"name": map}});
            ask(&mut connection, Method::POST, &inside, Some(&map)).await?;
        }
        if nth % 4 != 0 {
            ask(&mut connection, Method::DELETE, &format!("/api/v1/namespaces/{name}"), None).await?;
        }
    }
    None
}

/// Nothing is left half done: no namespace is on its way out, and none is without what comes with it.
async fn namespaces_are_whole(connection: &mut Connection) {
    let (_, namespaces) = ask(connection, Method::GET, "/api/v1/namespaces", None).await.unwrap();
    let mut owed = BTreeSet::new();
    for namespace in namespaces["items"].as_array().unwrap() {
        assert!(namespace["metadata"].get("deletionTimestamp").is_none(), "{namespace}");
        owed.insert(namespace["metadata"]["name"].as_str().unwrap().to_owned());
    }
    for (list, name) in [("serviceaccounts", "default"), ("configmaps", "kube-root-ca.crt")] {
        let (_, list) = ask(connection, Method::GET, &format!("/api/v1/{list}"), None).await.unwrap();
        let all = list["items"].as_array().unwrap().iter().map(|item| &item["metadata"]);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let places: BTreeSet<String> = all.clone().map(|metadata| text(&metadata["namespace"])).collect();
        assert!(places.is_subset(&owed), "something is in no namespace");
        let there: BTreeSet<String> = all
            .filter(|metadata| metadata["name"] == name)
            .map(|metadata| text(&metadata["namespace"]))
            .collect();
        assert_eq!(there, owed, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_the_process_was_killed_at_any_moment() {
    let rounds = std::env::var("BAILIWICK_KILL_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let site = site();
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    println!("the seed is {seed}");
    let mut dice = Dice(seed);
    let model = Arc::new(Mutex::new(Model::default()));
    let client = by_token(&site, "alices-token");
    for round in 0..=rounds {
        let mut front_end = FrontEnd::start_with(&site, &[]);
        let connect = async || client.connect(&front_end.url, Instant::now() + PATIENCE).await.unwrap();
        let mut connection = connect().await;
        let (code, list) = ask(&mut connection, Method::GET, MAPS, None).await.unwrap();
        assert_eq!(code, 200);
        model.lock().unwrap().compare(&list);
        namespaces_are_whole(&mut connection).await;
        if round == rounds {
            break;
        }
        let mut writers = Vec::new();
        for writer in 0..WRITERS {
            let dice = Dice(dice.below(u64::MAX >> 33));
            let name = format!("r{round}w{writer}");
            writers.push(tokio::spawn(write(connect().await, Arc::clone(&model), dice, name)));
        }
        writers.push(tokio::spawn(churn(connect().await, round)));
        tokio::time::sleep(Duration::from_millis(50 + dice.below(400))).await;
        front_end.process.kill().unwrap();
        front_end.process.wait().unwrap();
        for writer in writers {
            assert_eq!(writer.await.unwrap(), None, "it ends with its connection");
        }
    }
    let model = model.lock().unwrap();
    println!("{} changes were acknowledged, {rounds} times it was killed", model.acknowledged);
    assert!(model.acknowledged > rounds * WRITERS, "hardly anything was written: {}", model.acknowledged);
}

/// Starts one that is to end by itself.
fn refused(site: &Site, arguments: &[&str]) -> Output {
    let mut command = Command::new(BAILIWICK);
    command.args(["frontend", "--config"]).arg(site.path("frontend.yaml")).args(arguments);
    command.stdin(Stdio::null()).output().unwrap()
}

#[tokio::test]
async fn accounts_tokens_and_what_was_configured_outlive_a_restart_and_a_damage_is_told() {
    let site = site();
    let data = site.path("elsewhere");
    let arguments = ["--data-dir", data.to_str().unwrap()];
    let alice = by_token(&site, "alices-token");
    let mut front_end = FrontEnd::start_with(&site, &arguments);
    assert!(!site.path("data").exists(), "the flag wins");
    let account = "/api/v1/namespaces/default/serviceaccounts/default";
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let issued = front_end.ask(&alice, Method::POST, &format!("{account}/token"), Some(review)).await;
    let token = json_of(&issued)["status"]["token"].as_str().unwrap().to_owned();
    let before = json_of(&front_end.ask(&alice, Method::GET, account, None).await);
    let configured = format!("{MAPS}/configured");
    let mut changed = json_of(&front_end.ask(&alice, Method::GET, &configured, None).await);
    changed["data"]["is"] = "changed".into();
    assert_eq!(front_end.ask(&alice, Method::PUT, &configured, Some(changed)).await.status, 200);

    let second = refused(&site, &arguments);
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success() && told.contains("in use by another process"), "{told}");

    signal_process(&front_end.process, "-TERM");
    assert!(ended(&mut front_end.process, Instant::now() + PATIENCE).is_some_and(|status| status.success()));
    let front_end = FrontEnd::start_with(&site, &arguments);
    assert_eq!(json_of(&front_end.ask(&alice, Method::GET, account, None).await), before);
    let by_account = by_token(&site, &token);
    assert_eq!(front_end.ask(&by_account, Method::GET, account, None).await.status, 200);
    let there = json_of(&front_end.ask(&alice, Method::GET, &configured, None).await);
    assert_eq!(there["data"]["is"], "changed", "what is there is left alone");
    let old = before["metadata"]["resourceVersion"].as_str().unwrap();
    let watch = format!("{MAPS}?watch=true&resourceVersion={old}&timeoutSeconds=1");
    let answer = front_end.ask(&alice, Method::GET, &watch, None).await;
    let told: Value = serde_json::from_slice(&answer.body).unwrap();
    let code = if told["type"] == "ERROR" { &told["object"]["code"] } else { &told["code"] };
    assert_eq!(code, 410, "{told}");
    drop(front_end);

    let file = data.join("storage.redb");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let damaged = refused(&site, &arguments);
    let told = String::from_utf8_lossy(&damaged.stderr).into_owned();
    assert!(!damaged.status.success() && told.contains("storage.redb is damaged"), "{told}");
    assert_eq!(std::fs::read(&file).unwrap().len(), bytes.len() / 2, "it was left as it is");
}
