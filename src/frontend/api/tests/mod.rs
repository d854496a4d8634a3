//! The API as clients see it: requests as they are sent, answers as they are read. Only admission and the hooks are fakes.

mod belonging;
mod changing;
mod creating;
mod deleting;
mod discovering;
mod hostile;
mod placing;
mod reading;
mod watching;
mod workloads;

use std::cell::RefCell;

use actix_web::http::header::{HeaderName, HeaderValue};
use futures_util::StreamExt;
use serde_json::json;

use super::*;
use crate::frontend::journey::{Outcome, StageName};

/// Everything that requests are served by, with the namespaces `default` and `team-a`.
pub(super) struct World {
    services: Services,
    left: Left,
}

/// What requests left behind.
#[derive(Default)]
struct Left {
    stages: RefCell<Vec<Stage>>,
    warnings: RefCell<Vec<String>>,
}

impl Trace for Left {
    fn stage(&self, stage: Stage) {
        self.stages.borrow_mut().push(stage);
    }
    fn annotate(&self, _: &str, _: &str) {}
    fn warn(&self, text: &str) {
        self.warnings.borrow_mut().push(text.to_owned());
    }
}

/// Gives whatever has the label `mutate` another one and what has the label `call` that name, and refuses what has the
/// label `refuse`.
struct Plugins;

impl Admit for Plugins {
    fn mutate<'a>(
        &'a self,
        asked: &'a mut Attributes,
        _: &'a mut Record,
    ) -> LocalBoxFuture<'a, Result<(), ApiError>> {
        if let Some(object) = &mut asked.object
            && object.pointer("/metadata/labels/mutate").is_some()
        {
            object["metadata"]["labels"]["mutated"] = asked.kind.singular.into();
        }
        if let Some(object) = &mut asked.object
            && let Some(name) = object.pointer("/metadata/labels/call").cloned()
        {
            object["metadata"]["name"] = name;
        }
        Box::pin(async { Ok(()) })
    }

    fn validate<'a>(
        &'a self,
        asked: &'a Attributes,
        _: &'a mut Record,
    ) -> LocalBoxFuture<'a, Result<(), ApiError>> {
        let object = asked.object.as_ref().or(asked.old.as_deref());
        let is_refused = object.is_some_and(|object| object.pointer("/metadata/labels/refuse").is_some());
        let refused = ApiError::forbidden_object(asked.kind, &asked.name, "it is labelled so");
        Box::pin(async move { if is_refused { Err(refused) } else { Ok(()) } })
    }
}

/// Answers reviews and issues tokens that say what they were asked; lets everybody but Eve grant.
struct Others;

impl Hooks for Others {
    fn may_grant<'a>(
        &'a self,
        subject: &'a Subject,
        kind: &'static ResourceType,
        new: &'a Value,
        _: Option<&'a Value>,
    ) -> LocalBoxFuture<'a, Result<(), ApiError>> {
        let why = format!("you have not got that yourself in {:?}", meta::text(new, "namespace"));
        let refused = ApiError::forbidden_object(kind, meta::text(new, "name"), &why);
        Box::pin(async move { if subject.user == "eve" { Err(refused) } else { Ok(()) } })
    }

    fn review<'a>(
        &'a self,
        _: &'static ResourceType,
        _: &'a str,
        subject: &'a Subject,
        mut review: Value,
        _: Timestamp,
    ) -> LocalBoxFuture<'a, Result<Value, ApiError>> {
        review["status"] = json!({"reason": format!("asked by {}", subject.user)});
        Box::pin(async { Ok(review) })
    }

    fn created<'a>(
        &'a self,
        _: &'static ResourceType,
        _: &'a Object,
        _: Timestamp,
    ) -> LocalBoxFuture<'a, ()> {
        Box::pin(async {})
    }

    fn token<'a>(
        &'a self,
        _: &'a Subject,
        account: Object,
        mut request: Value,
        _: Timestamp,
    ) -> LocalBoxFuture<'a, Result<Value, ApiError>> {
        request["status"] = json!({"token": format!("of {}", meta::text(&account, "name"))});
        Box::pin(async { Ok(request) })
    }
}

/// An answer as a client reads it.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) code: u16,
    pub(super) content_type: String,
    pub(super) body: Value,
    pub(super) text: String,
}

impl Reply {
    pub(super) fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.body["items"].as_array().unwrap().iter().map(|item| meta::text(item, "name")).collect()
    }
}

pub(super) fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

impl World {
    pub(super) async fn new() -> Self {
        let services = Services {
            watches: Arc::default(),
            garbage: Garbage::default(),
            storage: Arc::new(Storage::starting_at(100)),
            admission: Arc::new(Plugins),
            hooks: Arc::new(Others),
            addresses: Addresses::default(),
            logs: Arc::default(),
        };
        let world = Self { services, left: Left::default() };
        for name in ["default", "team-a"] {
            world.post("/api/v1/namespaces", json!({"metadata": {"name": name}})).await;
        }
        world
    }

    /// Asks as Alice.
    pub(super) async fn ask(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        let body = body.to_vec();
        self.ask_as("alice", method, target, headers, body).await
    }

    pub(super) async fn ask_as(
        &self,
        user: &str,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Reply {
        let answer = self.answer(user, method, target, headers, body).await;
        let answer = answer.unwrap_or_else(|error| Answer::error(&error));
        let bytes = match answer.body {
            Body::Whole(bytes) => bytes.to_vec(),
            Body::Stream(stream) => stream.collect::<Vec<_>>().await.concat(),
        };
        let text = String::from_utf8(bytes).unwrap();
        let body = serde_json::from_str(&text).unwrap_or_default();
        Reply { code: answer.code, content_type: answer.content_type, body, text }
    }

    pub(super) async fn answer(
        &self,
        user: &str,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer, ApiError> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        let call = Call {
            frontend: &self.services,
            info: &RequestInfo::read(method, path, query)?,
            subject: &Subject { user: user.into(), ..Subject::default() },
            method,
            headers: &map,
            body: Bytes::from(body),
            now: now(),
            began: std::time::Instant::now(),
            trace: &self.left,
        };
        dispatch(call).await
    }

    pub(super) async fn get(&self, target: &str) -> Reply {
        self.ask("GET", target, &[], b"").await
    }

    pub(super) async fn post(&self, target: &str, body: Value) -> Reply {
        self.ask("POST", target, &[], body.to_string().as_bytes()).await
    }

    pub(super) async fn put(&self, target: &str, body: &Value) -> Reply {
        self.ask("PUT", target, &[], body.to_string().as_bytes()).await
    }

    pub(super) async fn patch(&self, kind: &str, target: &str, body: Value) -> Reply {
        let kind = format!("application/{kind}+json");
        self.ask("PATCH", target, &[("content-type", &kind)], body.to_string().as_bytes()).await
    }

    pub(super) async fn delete(&self, target: &str) -> Reply {
        self.ask("DELETE", target, &[], b"").await
    }

    /// What the last requests left in their journeys since this was asked last: stages, and what came of them.
    pub(super) fn stages(&self) -> Vec<(StageName, Outcome)> {
        self.left.stages.take().into_iter().map(|stage| (stage.name, stage.outcome)).collect()
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        self.left.warnings.take()
    }
}

pub(super) const PODS: &str = "/api/v1/namespaces/default/pods";

/// A pod as somebody writes it.
pub(super) fn pod(name: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
        "spec": {"containers": [{"name": "c", "image": "nginx"}]},
    })
}
