//! Audit events in Kubernetes' format, one JSON object a line, so that what reads an API server's audit log reads this.
//!
//! Events are of the level `Metadata`: no bodies. Source: `k8s.io/apiserver/pkg/apis/audit/v1/types.go`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value, json};

use super::Journey;

/// A file of audit events. Lines are written by whoever serves the request: this is a teaching server, and none is dropped.
#[derive(Debug)]
pub struct AuditLog {
    file: Mutex<File>,
}

impl AuditLog {
    /// Opens a file to append to; it is made where there is none, for its owner alone.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt;
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        Ok(Self { file: Mutex::new(file) })
    }

    pub(super) fn write(&self, journey: &Journey) {
        let mut line = journey.to_audit_event().to_string();
        line.push('\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(line.as_bytes()) {
            tracing::error!(%error, id = journey.id, "an audit event could not be written");
        }
    }
}

impl Journey {
    /// The audit event of the request's end.
    #[must_use]
    pub fn to_audit_event(&self) -> Value {
        let ended = self
            .received
            .checked_add(jiff::SignedDuration::from_micros(i64::try_from(self.micros).unwrap_or(i64::MAX)))
            .unwrap_or(self.received);
        let mut event = json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata",
            "auditID": self.id, "stage": "ResponseComplete", "requestURI": self.uri, "verb": self.verb(),
            "user": self.user.clone().unwrap_or_else(|| json!({})),
            "sourceIPs": [self.source], "userAgent": self.user_agent,
            "responseStatus": self.response_status(),
            "requestReceivedTimestamp": micro_time(self.received),
            "stageTimestamp": micro_time(ended),
            "annotations": self.annotations,
        });
        if let Some(fields) = event.as_object_mut() {
            if let Some(user) = &self.impersonated {
                fields.insert("impersonatedUser".into(), user.clone());
            }
            if let Some(object) = self.object_ref() {
                fields.insert("objectRef".into(), object);
            }
        }
        event
    }

    fn attribute(&self, kind: &str, name: &str) -> Option<&str> {
        self.attributes.as_ref()?.get(kind)?.get(name)?.as_str()
    }

    /// The verb as an authoriser saw it; the method where it did not come so far.
    fn verb(&self) -> String {
        self.attribute("resourceAttributes", "verb")
            .or_else(|| self.attribute("nonResourceAttributes", "verb"))
            .map_or_else(|| self.method.to_ascii_lowercase(), str::to_owned)
    }

    fn response_status(&self) -> Value {
        let mut status = json!({"metadata": {}, "code": self.code});
        if let (Some(reason), Some(fields)) = (&self.reason, status.as_object_mut()) {
            fields.insert("status".into(), "Failure".into());
            fields.insert("reason".into(), reason.clone().into());
            fields.insert("message".into(), self.message.clone().into());
        }
        status
    }

    fn object_ref(&self) -> Option<Value> {
        let attributes = self.attributes.as_ref()?.get("resourceAttributes")?;
        let names = [
            ("resource", "resource"),
            ("namespace", "namespace"),
            ("name", "name"),
            ("group", "apiGroup"),
            ("version", "apiVersion"),
            ("subresource", "subresource"),
        ];
        let fields: Map<String, Value> = names
            .iter()
            .filter_map(|(from, to)| {
                let value = attributes.get(from)?.as_str().filter(|value| !value.is_empty())?;
                Some(((*to).to_owned(), value.into()))
            })
            .collect();
        Some(fields.into())
    }
}

/// As `metav1.MicroTime`: six digits behind the second, always.
fn micro_time(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::super::tests::journey;
    use super::*;

    #[test]
    fn an_event_is_as_an_api_server_writes_it() {
        let event = journey().to_audit_event();
        assert_eq!(
            event,
            json!({
                "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": "a-1",
                "stage": "ResponseComplete", "requestURI": "/api/v1/namespaces/shop/pods", "verb": "create",
                "user": {"username": "alice", "groups": ["system:authenticated"]},
                "sourceIPs": ["127.0.0.1"], "userAgent": "curl/8",
                "objectRef": {"resource": "pods", "namespace": "shop", "apiVersion": "v1"},
                "responseStatus": {"metadata": {}, "status": "Failure", "reason": "Forbidden", "code": 403,
                    "message": "no"},
                "requestReceivedTimestamp": "2026-11-24T10:00:00.000000Z",
                "stageTimestamp": "2026-11-24T10:00:00.001500Z",
                "annotations": {"authorization.k8s.io/decision": "forbid"},
            })
        );
    }

    #[test]
    fn events_are_lines_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let log = AuditLog::open(&path).unwrap();
        log.write(&journey());
        log.write(&journey());
        let lines = std::fs::read_to_string(&path).unwrap();
        assert_eq!(lines.lines().count(), 2);
        for line in lines.lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            assert_eq!(event["auditID"], "a-1");
        }
    }
}
