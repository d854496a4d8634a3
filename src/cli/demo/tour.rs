//! The guided tour: reviews sent over HTTPS as an API server sends them, with what was answered and why.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{CLUSTER, DemoClock};
use crate::authz::{Explanation, PolicyShown};
use crate::cli::render::Paint;
use crate::cli::service::Service;
use crate::cli::{Failure, say};
use crate::model::Decision;
use crate::review;
use crate::tls::https;

/// How long one answer may take: far more than the service's own deadline.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Guides through some decisions.
pub(super) struct Tour<'a> {
    pub(super) service: &'a Service,
    pub(super) client: &'a https::Client,
    pub(super) clock: &'a DemoClock,
}

/// One request of the tour.
struct Stop {
    /// What it shows.
    title: &'static str,
    /// The time that the service's clock is set to (RFC 3339).
    at: &'static str,
    /// The same, for people.
    when: &'static str,
    user: &'static str,
    /// Groups beside `system:authenticated`.
    groups: &'static [&'static str],
    /// The address that the authenticating proxy saw.
    from: &'static str,
    verb: &'static str,
    /// API group, resource, namespace and name.
    what: (&'static str, &'static str, &'static str, &'static str),
    expect: Decision,
}

/// A request that is asked several times: only the hour and the site differ.
const ROLLOUT: (&str, &str, &str, &str) = ("apps", "deployments", "payments-prod", "web");
const MONDAY: (&str, &str) = ("2026-11-23T10:00:00Z", "Monday, 10:00 in London");

const STOPS: [Stop; 11] = [
    Stop {
        title: "Nested groups: alice is in payments-oncall, which is in payments",
        at: MONDAY.0,
        when: MONDAY.1,
        user: "alice",
        groups: &[],
        from: "10.1.2.3",
        verb: "list",
        what: ("", "pods", "payments-prod", ""),
        expect: Decision::Allow,
    },
    Stop {
        title: "Office hours: a change to production on a Monday morning",
        at: MONDAY.0,
        when: MONDAY.1,
        user: "carol",
        groups: &[],
        from: "10.1.2.3",
        verb: "patch",
        what: ROLLOUT,
        expect: Decision::Allow,
    },
    Stop {
        title: "The same request at another hour: nobody's Allow holds, and the next authoriser is asked",
        at: "2026-11-23T22:30:00Z",
        when: "Monday, 22:30 in London",
        user: "carol",
        groups: &[],
        from: "10.1.2.3",
        verb: "patch",
        what: ROLLOUT,
        expect: Decision::NoOpinion,
    },
    Stop {
        title: "The same request from another site: a Deny, whatever else grants",
        at: MONDAY.0,
        when: MONDAY.1,
        user: "carol",
        groups: &[],
        from: "203.0.113.9",
        verb: "patch",
        what: ROLLOUT,
        expect: Decision::Deny,
    },
    Stop {
        title: "Clearance: a researcher with top-secret reads in a secret namespace",
        at: MONDAY.0,
        when: MONDAY.1,
        user: "grace",
        groups: &[],
        from: "10.1.2.3",
        verb: "get",
        what: ("", "pods", "secret-lab", "probe-1"),
        expect: Decision::Allow,
    },
    Stop {
        title: "The same request by a researcher whom nobody cleared",
        at: MONDAY.0,
        when: MONDAY.1,
        user: "peggy",
        groups: &[],
        from: "10.1.2.3",
        verb: "get",
        what: ("", "pods", "secret-lab", "probe-1"),
        expect: Decision::Deny,
    },
    Stop {
        title: "A list over all namespaces does not walk around a Deny on one",
        at: MONDAY.0,
        when: MONDAY.1,
        user: "nina",
        groups: &[],
        from: "10.1.2.3",
        verb: "list",
        what: ("", "secrets", "", ""),
        expect: Decision::Deny,
    },
    Stop {
        title: "A disabled account: her certificate is still valid, her account is not",
        at: MONDAY.0,
        when: MONDAY.1,
        user: "judy",
        groups: &[],
        from: "10.1.2.3",
        verb: "list",
        what: ("", "pods", "payments-dev", ""),
        expect: Decision::Deny,
    },
    Stop {
        title: "Year's end: production stands still",
        at: "2026-12-22T10:00:00Z",
        when: "22 December, 10:00 in London",
        user: "rupert",
        groups: &[],
        from: "10.1.2.3",
        verb: "patch",
        what: ROLLOUT,
        expect: Decision::Deny,
    },
    Stop {
        title: "Breaking the glass: a reviewed group, and a session that was opened with a reason",
        at: "2026-12-22T03:00:00Z",
        when: "22 December, 03:00 in London",
        user: "dave",
        groups: &["break-glass-session"],
        from: "10.2.0.9",
        verb: "delete",
        what: ("apps", "statefulsets", "payments-prod", "db"),
        expect: Decision::Allow,
    },
    Stop {
        title: "The cluster's own parts are exempt: Bailiwick never takes a cluster down",
        at: MONDAY.0,
        when: MONDAY.1,
        user: "system:kube-controller-manager",
        groups: &[],
        from: "10.1.2.3",
        verb: "list",
        what: ("", "secrets", "", ""),
        expect: Decision::NoOpinion,
    },
];

impl Tour<'_> {
    /// Sends every request and shows what came of it.
    pub(super) async fn guide(&self) -> Result<(), Failure> {
        let paint = Paint::for_stdout();
        let embedded = self.service.embedded_address();
        say(&format!(
            "Bailiwick answers at https://{}, asking the directory at ldaps://{} (policy set {}).\n",
            self.service.webhook.address,
            embedded.map(|address| address.to_string()).unwrap_or_default(),
            self.service.authorizer.revision(),
        ))?;
        for (number, stop) in STOPS.iter().enumerate() {
            let at: Timestamp = stop.at.parse().map_err(Failure::operational)?;
            self.clock.set(Some(at));
            let review = stop.review();
            let status = self.ask(&review).await?;
            let request = review::spec_from_json(review.get("spec").unwrap_or(&Value::Null))
                .map_err(Failure::operational)?;
            let shown = self.service.authorizer.explain_at(&request, Some(CLUSTER.into()), at).await;
            let decision = decided(&status);
            say(&stop.text(number + 1, decision, &status, &shown, paint))?;
            if decision != stop.expect || shown.decided() != Some(decision) {
                return Err(Failure::operational(format!(
                    "the tour expected {} here, was answered {decision}, and explains {}",
                    stop.expect, shown.decision
                )));
            }
        }
        say(&format!(
            "\nThat was {} reviews over HTTPS, each with the API server's client certificate.\n",
            STOPS.len()
        ))
    }

    async fn ask(&self, review: &Value) -> Result<Value, Failure> {
        let url = format!("https://{}/authorize?timeout=30s", self.service.webhook.address);
        let body = serde_json::to_vec(review).map_err(Failure::operational)?;
        let answer = self
            .client
            .post(&url, "application/json", body, Instant::now() + PATIENCE)
            .await
            .map_err(|error| Failure::operational(format!("{url}: {error}")))?;
        if !answer.status.is_success() {
            let said = String::from_utf8_lossy(&answer.body).into_owned();
            return Err(Failure::operational(format!("{url}: HTTP {}: {said}", answer.status.as_u16())));
        }
        let read: Value = serde_json::from_slice(&answer.body).map_err(Failure::operational)?;
        Ok(read.get("status").cloned().unwrap_or_default())
    }
}

/// The decision in a reply's `status`.
fn decided(status: &Value) -> Decision {
    let is = |name: &str| status.get(name).and_then(Value::as_bool).unwrap_or(false);
    match (is("allowed"), is("denied")) {
        (true, false) => Decision::Allow,
        (false, false) => Decision::NoOpinion,
        (_, true) => Decision::Deny,
    }
}

impl Stop {
    /// As an API server sends it.
    fn review(&self) -> Value {
        let (group, resource, namespace, name) = self.what;
        let mut groups = self.groups.to_vec();
        groups.push("system:authenticated");
        json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "metadata": {},
            "spec": {
                "user": self.user,
                "groups": groups,
                "extra": {"bailiwick.dev/source-address": [self.from]},
                "resourceAttributes": {
                    "verb": self.verb, "group": group, "version": "v1", "resource": resource,
                    "namespace": namespace, "name": name,
                },
            },
            "status": {"allowed": false},
        })
    }

    fn text(
        &self,
        number: usize,
        decision: Decision,
        status: &Value,
        shown: &Explanation,
        paint: Paint,
    ) -> String {
        let (group, resource, namespace, name) = self.what;
        let resource = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
        let place = match (namespace, name) {
            ("", _) => "in all namespaces".to_owned(),
            (namespace, "") => format!("in {namespace}"),
            (namespace, name) => format!("{name} in {namespace}"),
        };
        let mut text = format!("\n{}\n", paint.bold(&format!("{number}. {}", self.title)));
        text.push_str(&format!("   {}, from {}:\n", self.when, self.from));
        text.push_str(&format!("   may {} {} {resource} {place}?\n", self.user, self.verb));
        text.push_str(&format!("   {}", paint.decision(decision.as_str())));
        if let Some(reason) = status.get("reason").and_then(Value::as_str).filter(|reason| !reason.is_empty())
        {
            text.push_str(&format!(": {reason}"));
        }
        text.push('\n');
        for line in why(decision, shown) {
            text.push_str(&format!("     {}\n", paint.faint(&line)));
        }
        text
    }
}

/// Why: the policies that decided with what made them true, or what kept the nearest Allow from applying.
fn why(decision: Decision, shown: &Explanation) -> Vec<String> {
    let mut lines = Vec::new();
    for name in &shown.policies {
        match shown.near.iter().find(|policy| policy.name == *name) {
            Some(policy) => lines.push(because(policy, "true", shown)),
            None => lines.push(format!("by {name}: the directory says {}", shown.facts.account.join(", "))),
        }
    }
    if shown.cause == "exempt" {
        lines.push("the subject is exempt, and answered before any policy".to_owned());
    } else if decision == Decision::NoOpinion {
        let allows =
            shown.near.iter().filter(|policy| policy.effect == "Allow" && policy.enforcement == "Enforce");
        lines.extend(
            allows.filter(|policy| subject_is_meant(policy)).map(|policy| because(policy, "false", shown)),
        );
    }
    lines
}

fn subject_is_meant(policy: &PolicyShown) -> bool {
    policy.parts.iter().any(|part| part.part.starts_with("subjects") && part.truth == "true")
}

/// What made a policy true, or false; of a policy that applies also the excuses that did not hold.
fn because(policy: &PolicyShown, truth: &str, shown: &Explanation) -> String {
    let mut said: Vec<String> = Vec::new();
    for part in &policy.parts {
        let is_excuse = part.part.starts_with("unless");
        if is_excuse && truth == "true" && part.truth != "true" {
            said.push(format!("no excuse, since {}", part.detail));
        } else if part.truth == truth && !is_excuse && !part.part.starts_with("except") {
            said.push(with_path(&part.detail, shown));
        }
    }
    let verdict = if truth == "true" { "by" } else { "not by" };
    format!("{verdict} {}: {}", policy.name, said.join("; "))
}

/// A directory group with how it was reached.
fn with_path(detail: &str, shown: &Explanation) -> String {
    let named = detail.strip_prefix("directory group `").and_then(|rest| rest.strip_suffix('`'));
    let group = named.and_then(|name| shown.facts.groups.iter().find(|group| group.name == name));
    match group {
        Some(group) if group.path.len() > 1 => format!("{detail} (by way of {})", group.path.join(" < ")),
        _ => detail.to_owned(),
    }
}
