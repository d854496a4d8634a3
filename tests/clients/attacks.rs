//! What an adversary tries at the running front end. Each attempt is refused by the stage whose business it is, and leaves
//! no credential behind.

mod bodies;
mod credentials;
mod granting;
mod impersonating;
mod paths;
mod wire;

use serde_json::Value;

use super::demo::{Curled, Demo, stages};

/// Where alice may read, and nobody may read secrets.
const PRODUCTION: &str = "/api/v1/namespaces/payments-prod";
/// Where alice may do as she likes with pods.
const DEVELOPMENT: &str = "/api/v1/namespaces/payments-dev";

const JSON: &str = "Content-Type: application/json";
const YAML: &str = "Content-Type: application/yaml";
const JSON_PATCH: &str = "Content-Type: application/json-patch+json";
const MERGE_PATCH: &str = "Content-Type: application/merge-patch+json";

/// A demo, and who attacks it.
struct Scene {
    demo: Demo,
}

/// How a request ended.
#[derive(Debug)]
struct Ended {
    answer: Curled,
    /// Its journey; null where it came to no stage.
    journey: Value,
}

impl Scene {
    fn new() -> Self {
        Self { demo: Demo::start() }
    }

    /// How curl shows a client certificate of the demo: `people/alice`, `front-proxy`.
    fn certificate(&self, of: &str) -> [String; 4] {
        let file = |end| self.demo.path(&format!("{of}.{end}")).display().to_string();
        ["--cert".to_owned(), file("pem"), "--key".to_owned(), file("key")]
    }

    fn ask(&self, who: &[String], arguments: &[&str], path: &str) -> Ended {
        let who: Vec<&str> = who.iter().map(String::as_str).collect();
        let answer = self.demo.curl(&[&who, arguments, &["--include"]].concat(), path);
        let id = answer.body.lines().find_map(|line| line.strip_prefix("audit-id: ")).map(str::trim);
        let journey = id.map_or(Value::Null, |id| {
            let admin = self.certificate("people/admin");
            let admin: Vec<&str> = admin.iter().map(String::as_str).collect();
            self.demo.curl(&admin, &format!("/debug/journeys/{id}")).json()
        });
        Ended { answer, journey }
    }

    /// The same, by the administrator or by alice.
    fn admin(&self, arguments: &[&str], path: &str) -> Ended {
        self.ask(&self.certificate("people/admin"), arguments, path)
    }

    fn alice(&self, arguments: &[&str], path: &str) -> Ended {
        self.ask(&self.certificate("people/alice"), arguments, path)
    }

    /// The header by which the static token of one of the people is shown.
    fn static_token(&self, of: &str) -> [String; 2] {
        let tokens = std::fs::read_to_string(self.demo.path("tokens.csv")).unwrap();
        let line = tokens.lines().find(|line| line.split(',').nth(1) == Some(of)).unwrap();
        bearer(line.split(',').next().unwrap())
    }

    /// The token or password that a kubeconfig holds.
    fn kept(&self, person: &str, key: &str) -> String {
        let path = self.demo.path(&format!("kubeconfigs/{person}.yaml"));
        let text = std::fs::read_to_string(path).unwrap();
        let prefix = format!("{key}: ");
        text.lines().find_map(|line| line.trim().strip_prefix(&prefix)).unwrap().to_owned()
    }

    /// Fails where this stands in a journey, an audit event, an audit line of the webhook, or what was printed.
    fn is_nowhere(&self, secret: &str) {
        let admin = self.demo.kubectl("admin");
        let journeys = admin.raw("/debug/journeys") + &admin.raw("/debug/journeys?format=text");
        assert!(!journeys.contains(secret), "{secret} is in a journey");
        for file in ["audit-events.log", "audit.log", "output"] {
            let text = std::fs::read_to_string(self.demo.path(file)).unwrap();
            assert!(!text.contains(secret), "{secret} is in {file}");
        }
    }
}

impl Ended {
    /// The status, and the last stage with what it said: `403 Authorization Refused`.
    fn how(&self) -> String {
        let last = stages_of(&self.journey).last().cloned();
        let (name, outcome) = last.unwrap_or_else(|| ("no stage".to_owned(), String::new()));
        format!("{} {name} {outcome}", self.answer.code).trim_end().to_owned()
    }

    fn user(&self) -> &str {
        self.journey["user"]["username"].as_str().unwrap_or("nobody")
    }

    /// The body of the answer, as JSON.
    fn json(&self) -> Value {
        let (_, body) = self.answer.body.rsplit_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap()
    }
}

fn stages_of(journey: &Value) -> Vec<(String, String)> {
    if journey.is_null() { Vec::new() } else { stages(journey) }
}

fn bearer(token: &str) -> [String; 2] {
    ["-H".to_owned(), format!("Authorization: Bearer {token}")]
}
