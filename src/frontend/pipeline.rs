//! The way of one request through the stages, and what is left of it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use actix_web::http::Method;
use actix_web::http::header::{CONTENT_LENGTH, USER_AGENT};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Frontend;
use super::answer;
use super::api::{self, Answer, Body, Call};
use super::authn::{Authentication, Head, user_info};
use super::authorizers::refusal;
use super::cross_site;
use super::in_flight::Leave;
use super::journey::{self, Journey, Outcome, Stage, StageName, Step, micros_since};
use super::request_info::{self, RequestInfo};
use super::status::ApiError;
use crate::model::{Action, Decision, Request, Subject};
use crate::server::{self, Peer};

/// The longest body that is received, in bytes, as of an API server
/// (`k8s.io/apiserver/pkg/server/config.go`: `MaxRequestBodyBytes`).
pub const MAX_BODY_BYTES: usize = 3 * 1024 * 1024;

/// The longest `User-Agent` that a journey keeps, in characters.
const MAX_USER_AGENT_CHARS: usize = 256;

/// Serves one request. What changes something is carried out to its end once it was received, whether or not the client
/// still waits: a change that was made is followed by what belongs to it, and by its journey.
pub(super) async fn serve(
    frontend: Arc<Frontend>,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    let began = Instant::now();
    let walk = Walk::new(&request, (frontend.clock)(), began);
    let passed = walk.through(&frontend, &request, payload).await;
    // What breaks off is answered at once: actix closes a connection whose request ends in nonsense while it is served.
    if !takes_body(request.method()) || !matches!(passed, Ok(Passed::Received { .. })) {
        return walk.carry_out(&frontend, &request, passed).await;
    }
    let carried = tokio::task::spawn_local(async move { walk.carry_out(&frontend, &request, passed).await });
    match carried.await {
        Ok(response) => response,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Serving has ended, and nobody receives it.
            Err(_) => HttpResponse::ServiceUnavailable().finish(),
        },
    }
}

/// What comes of a request by the first two stages.
enum Passed {
    /// It is answered by the front end itself.
    Answered(Answer),
    /// It goes to the API.
    Received(Box<Received>),
}

/// A request that may be carried out, and all of it is there.
struct Received {
    info: RequestInfo,
    subject: Subject,
    body: Bytes,
    _leave: Leave,
}

/// A request on its way.
struct Walk {
    journey: RefCell<Journey>,
    warnings: RefCell<Vec<String>>,
    now: Timestamp,
    began: Instant,
}

impl api::Trace for Walk {
    fn stage(&self, stage: Stage) {
        self.journey.borrow_mut().stages.push(stage);
    }

    fn annotate(&self, key: &str, value: &str) {
        self.journey.borrow_mut().annotations.insert(key.to_owned(), value.to_owned());
    }

    fn warn(&self, text: &str) {
        self.warnings.borrow_mut().push(text.to_owned());
    }
}

impl Walk {
    fn new(request: &HttpRequest, now: Timestamp, began: Instant) -> Self {
        let agent = request
            .headers()
            .get(USER_AGENT)
            .map(|agent| String::from_utf8_lossy(agent.as_bytes()).into_owned());
        let journey = Journey {
            id: uuid::Uuid::new_v4().to_string(),
            received: now,
            source: server::peer(request)
                .map(|peer| peer.address.ip().to_canonical().to_string())
                .unwrap_or_default(),
            method: request.method().to_string(),
            uri: journey::target(request.uri().path(), request.uri().query()),
            user_agent: agent.unwrap_or_default().chars().take(MAX_USER_AGENT_CHARS).collect(),
            user: None,
            impersonated: None,
            attributes: None,
            stages: Vec::new(),
            annotations: BTreeMap::new(),
            code: 0,
            reason: None,
            message: None,
            micros: 0,
        };
        Self { journey: RefCell::new(journey), warnings: RefCell::default(), now, began }
    }

    /// The first two stages, and the body; the first refusal is the answer.
    async fn through(
        &self,
        frontend: &Arc<Frontend>,
        request: &HttpRequest,
        payload: web::Payload,
    ) -> Result<Passed, ApiError> {
        cross_site::check(request)?;
        let peer = server::peer(request).ok_or_else(|| ApiError::internal("a request of no connection"))?;
        let requester = self.authenticate(frontend, request, &peer).await?;
        let uri = request.uri();
        let info = RequestInfo::read(request.method().as_str(), uri.path(), uri.query().unwrap_or_default())?;
        self.journey.borrow_mut().attributes = Some(attributes(&info.action));
        let subject = self.impersonate(frontend, request, requester).await?;
        self.authorize(frontend, &subject, &info.action).await?;
        if let Some(answer) = answer::of_ourselves(frontend, request, &info)? {
            return Ok(Passed::Answered(answer));
        }
        let leave = frontend.in_flight.leave(request.method().as_str(), &subject)?;
        let body = if takes_body(request.method()) { receive(request, payload).await? } else { Bytes::new() };
        Ok(Passed::Received(Box::new(Received { info, subject, body, _leave: leave })))
    }

    /// What is left to do for a request when all of it is there.
    async fn carry_out(
        self,
        frontend: &Frontend,
        request: &HttpRequest,
        passed: Result<Passed, ApiError>,
    ) -> HttpResponse {
        let answered = match passed {
            Err(error) => Err(error),
            Ok(Passed::Answered(answer)) => Ok(answer),
            Ok(Passed::Received(received)) => {
                let Received { info, subject, body, _leave } = *received;
                let call = Call {
                    frontend: &frontend.services,
                    info: &info,
                    subject: &subject,
                    method: request.method().as_str(),
                    headers: request.headers(),
                    body,
                    now: self.now,
                    began: self.began,
                    trace: &self,
                };
                api::dispatch(call).await
            }
        };
        let answered = answered.map(|mut answer| {
            if let Body::Stream(stream) = answer.body {
                answer.body = Body::Stream(frontend.until_stopped(stream));
            }
            answer
        });
        self.end(frontend, answered)
    }

    /// The first stage.
    async fn authenticate(
        &self,
        frontend: &Frontend,
        request: &HttpRequest,
        peer: &Peer,
    ) -> Result<Subject, ApiError> {
        let began = Instant::now();
        // What cannot be decoded is refused as soon as it is known who asks.
        let query = request_info::read_query(request.uri().query().unwrap_or_default()).unwrap_or_default();
        let head = Head { headers: request.headers(), peer, query: &query };
        let Authentication { who, steps } = frontend.authenticators.authenticate(&head, self.now).await;
        let (outcome, summary) = match &who {
            Some(who) => (Outcome::Passed, format!("you are {} (by {})", who.subject.user, who.method)),
            None => (Outcome::Refused, "none of what you showed says who you are".to_owned()),
        };
        let stage =
            Stage { name: StageName::Authentication, outcome, summary, steps, micros: micros_since(began) };
        let mut journey = self.journey.borrow_mut();
        journey.stages.push(stage);
        let who = who.ok_or_else(ApiError::unauthorized)?;
        journey.user = Some(user_info(&who.subject));
        Ok(who.subject)
    }

    /// Whoever asks to act as somebody else must be allowed each thing that they want to be.
    async fn impersonate(
        &self,
        frontend: &Frontend,
        request: &HttpRequest,
        requester: Subject,
    ) -> Result<Subject, ApiError> {
        let began = Instant::now();
        let impersonation = match frontend.authenticators.impersonation(request.headers()) {
            Ok(None) => return Ok(requester),
            Ok(Some(impersonation)) => impersonation,
            Err(error) => {
                let (outcome, summary) = (Outcome::Refused, error.message.clone());
                let (steps, micros) = (Vec::new(), micros_since(began));
                let stage = Stage { name: StageName::Impersonation, outcome, summary, steps, micros };
                self.journey.borrow_mut().stages.push(stage);
                return Err(error);
            }
        };
        let mut steps = Vec::new();
        let mut refused = None;
        for action in impersonation.checks() {
            let asked = Instant::now();
            let question = Request { subject: requester.clone(), action };
            let verdict = frontend.chain.authorize(&question).await;
            let allowed = verdict.decision == Decision::Allow;
            let outcome = if allowed { Outcome::Passed } else { Outcome::Refused };
            let detail = match &*verdict.reason {
                "" => what(&question.action),
                reason => format!("{}: {reason}", what(&question.action)),
            };
            steps.push(Step::new(
                verdict.by.clone().unwrap_or_else(|| "chain".to_owned()),
                outcome,
                detail,
                asked,
            ));
            if !allowed {
                refused = Some(refusal(&question, &verdict));
                break;
            }
        }
        let subject = impersonation.subject(&requester);
        let (outcome, summary) = match &refused {
            None => (Outcome::Passed, format!("{} acts as {}", requester.user, subject.user)),
            Some(error) => (Outcome::Refused, error.message.clone()),
        };
        let micros = micros_since(began);
        let mut journey = self.journey.borrow_mut();
        journey.stages.push(Stage { name: StageName::Impersonation, outcome, summary, steps, micros });
        if let Some(error) = refused {
            return Err(error);
        }
        journey.impersonated = Some(user_info(&subject));
        Ok(subject)
    }

    /// The second stage.
    async fn authorize(
        &self,
        frontend: &Frontend,
        subject: &Subject,
        action: &Action,
    ) -> Result<(), ApiError> {
        let began = Instant::now();
        let question = Request { subject: subject.clone(), action: action.clone() };
        let verdict = frontend.chain.authorize(&question).await;
        let refused = (verdict.decision != Decision::Allow).then(|| refusal(&question, &verdict));
        let by = verdict.by.as_deref().unwrap_or("nobody");
        let summary = match &refused {
            None => format!("you may {} (says {by})", what(action)),
            Some(error) => error.message.clone(),
        };
        let outcome = match &refused {
            None => Outcome::Passed,
            Some(error) if error.code == 500 => Outcome::Failed,
            Some(_) => Outcome::Refused,
        };
        let mut journey = self.journey.borrow_mut();
        let decision = if refused.is_none() { "allow" } else { "forbid" };
        // As an API server names them (k8s.io/apiserver/pkg/endpoints/filters/authorization.go).
        journey.annotations.insert("authorization.k8s.io/decision".to_owned(), decision.to_owned());
        journey.annotations.insert("authorization.k8s.io/reason".to_owned(), verdict.reason);
        let (steps, micros) = (verdict.steps, micros_since(began));
        journey.stages.push(Stage { name: StageName::Authorization, outcome, summary, steps, micros });
        refused.map_or(Ok(()), Err)
    }

    /// Writes down how it ended, and makes the answer.
    fn end(self, frontend: &Frontend, answered: Result<Answer, ApiError>) -> HttpResponse {
        let began = self.began;
        let mut journey = self.journey.into_inner();
        if let Err(error) = &answered {
            journey.reason = Some(error.reason.to_owned());
            journey.message = Some(error.message.clone());
        }
        let asks_for_password = frontend.asks_for_password;
        let response =
            answer::response(answered, &journey.id, &self.warnings.into_inner(), asks_for_password);
        journey.code = response.status().as_u16();
        journey.micros = micros_since(began);
        frontend.journeys.add(journey);
        response
    }
}

/// Whether anything of this method reads a body. Others are not waited for: what follows a CONNECT never ends.
fn takes_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH | Method::DELETE)
}

/// Receives the body, as far as it is allowed to go. Its time is bounded by the server.
async fn receive(request: &HttpRequest, mut payload: web::Payload) -> Result<Bytes, ApiError> {
    let length =
        request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        return Err(ApiError::too_large(MAX_BODY_BYTES));
    }
    let mut body = BytesMut::new();
    while let Some(piece) = payload.next().await {
        let piece = piece.map_err(|error| ApiError::bad_request(format!("the body broke off: {error}")))?;
        if body.len().saturating_add(piece.len()) > MAX_BODY_BYTES {
            return Err(ApiError::too_large(MAX_BODY_BYTES));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

/// What is asked, as a SubjectAccessReview has it.
fn attributes(action: &Action) -> Value {
    match action {
        Action::Resource(resource) => json!({"resourceAttributes": {
            "verb": resource.verb, "group": resource.group, "version": resource.version,
            "resource": resource.resource, "subresource": resource.subresource,
            "namespace": resource.namespace, "name": resource.name,
        }}),
        Action::NonResource(path) => json!({"nonResourceAttributes": {"verb": path.verb, "path": path.path}}),
    }
}

/// What is asked, in words.
fn what(action: &Action) -> String {
    match action {
        Action::NonResource(path) => format!("{} {}", path.verb, path.path),
        Action::Resource(resource) => {
            let mut text = format!("{} {}", resource.verb, resource.resource);
            if !resource.group.is_empty() {
                text.push_str(&format!(".{}", resource.group));
            }
            if !resource.subresource.is_empty() {
                text.push_str(&format!("/{}", resource.subresource));
            }
            if !resource.name.is_empty() {
                text.push_str(&format!(" {}", resource.name));
            }
            if !resource.namespace.is_empty() {
                text.push_str(&format!(" in {}", resource.namespace));
            }
            text
        }
    }
}
