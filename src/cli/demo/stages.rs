//! The second part of the tour: requests to the front end, of which each stage stops one, and one is stored.

use std::time::Instant;

use serde_json::json;

use super::cluster::{Cluster, Secrets};
use super::tour::PATIENCE;
use crate::cli::render::Paint;
use crate::cli::{Failure, say};
use crate::frontend::journey::{Journey, StageName};
use crate::tls::https::{Client, Method, Request};
use crate::tls::{ClientContext, Identity, MinVersion};

/// Guides through the stages.
pub(super) struct StageTour<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) secrets: &'a Secrets,
    pub(super) ca_pem: &'a str,
}

/// Where pods are asked for and made.
const PODS: &str = "/api/v1/namespaces/payments-dev/pods";

/// One request of the tour.
struct Stop<'a> {
    title: &'static str,
    /// Who shows what.
    client: Client,
    /// The name and labels of a pod to create; none: pods are listed.
    pod: Option<(&'a str, serde_json::Value)>,
    /// The answer's status, and the last stage that the request came to.
    expect: (u16, StageName),
}

impl StageTour<'_> {
    /// Sends the requests and tells what happened to each.
    pub(super) async fn guide(&self) -> Result<(), Failure> {
        let paint = Paint::for_stdout();
        let address = self.cluster.running.address();
        say(&format!(
            "\n{}\n\nNow the whole way of a request, as `kubectl` sends it, through the API front end at https://{address}.\n",
            paint.bold("Three stages")
        ))?;
        for (number, stop) in self.stops()?.into_iter().enumerate() {
            self.show(number + 1, stop, paint).await?;
        }
        Ok(())
    }

    fn stops(&self) -> Result<[Stop<'_>; 5], Failure> {
        let alice = self.by_certificate(self.secrets.certificate("alice"))?;
        let app = json!({"app": "web"});
        Ok([
            Stop {
                title: "A certificate with the administrator's name, of an authority that nobody trusts",
                client: self.by_certificate(Some(&self.secrets.forged))?,
                pod: None,
                expect: (401, StageName::Authentication),
            },
            Stop {
                title: "nina shows her token: it is she, but she is not in the group payments",
                client: self
                    .by_certificate(None)?
                    .with_bearer_token(self.secrets.token("nina"))
                    .map_err(Failure::operational)?,
                pod: Some(("web", app.clone())),
                expect: (403, StageName::Authorization),
            },
            Stop {
                title: "bob logs on with his password of the directory, and may; his pod lacks a label",
                client: self.by_password("bob", &self.secrets.password)?,
                pod: Some(("web", json!({}))),
                expect: (422, StageName::Admission),
            },
            Stop {
                title: "alice names a pod by the prefix of another team's namespaces",
                client: alice.clone(),
                pod: Some(("nb-web", app.clone())),
                expect: (403, StageName::Admission),
            },
            Stop {
                title: "alice, by her certificate, with the label: all three stages pass, and a pod is stored",
                client: alice,
                pod: Some(("web", app)),
                expect: (201, StageName::Storage),
            },
        ])
    }

    async fn show(&self, number: usize, stop: Stop<'_>, paint: Paint) -> Result<(), Failure> {
        let Stop { title, client, pod, expect } = stop;
        let deadline = Instant::now() + PATIENCE;
        let url = format!("https://{}", self.cluster.running.address());
        let mut connection = client.connect(&url, deadline).await.map_err(Failure::operational)?;
        let request = match pod {
            None => Request { method: Method::GET, target: PODS.to_owned(), body: None },
            Some((name, labels)) => {
                let pod = json!({
                    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
                    "spec": {"containers": [{"name": "web", "image": "registry.example.com/pay/web:1.5"}]},
                });
                let body = serde_json::to_vec(&pod).map_err(Failure::operational)?;
                Request {
                    method: Method::POST,
                    target: PODS.to_owned(),
                    body: Some(("application/json", body.into())),
                }
            }
        };
        let answer = connection.send(request, deadline).await.map_err(Failure::operational)?;
        let id = answer.headers.get("audit-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
        let journey = self.cluster.running.journeys().find(id);
        let journey = journey.ok_or_else(|| Failure::operational("a request left no journey"))?;
        say(&format!("\n{}\n{}", paint.bold(&format!("{number}. {title}")), indented(&journey)))?;
        let came_to = journey.stages.last().map(|stage| stage.name);
        if (answer.status.as_u16(), came_to) != (expect.0, Some(expect.1)) {
            return Err(Failure::operational(format!(
                "the tour expected {} by {:?} here, and was answered {} by {came_to:?}",
                expect.0,
                expect.1,
                answer.status.as_u16()
            )));
        }
        Ok(())
    }

    fn by_certificate(&self, identity: Option<&Identity>) -> Result<Client, Failure> {
        let context = ClientContext::from_pem("demo", self.ca_pem, identity, MinVersion::default())?;
        Ok(Client::new(context))
    }

    fn by_password(&self, user: &str, password: &str) -> Result<Client, Failure> {
        let credentials = data_encoding::BASE64.encode(format!("{user}:{password}").as_bytes());
        self.by_certificate(None)?
            .with_header("authorization", &format!("Basic {credentials}"))
            .map_err(Failure::operational)
    }
}

fn indented(journey: &Journey) -> String {
    journey.to_string().lines().map(|line| format!("   {line}\n")).collect()
}
