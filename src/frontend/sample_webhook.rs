//! A sample of what answers admission: one mutating and one validating webhook, to learn from and to try others against.
//!
//! `/mutate` writes down who asked for an object to be made. `/validate` refuses pods that reach out of their containers:
//! privileged ones, and those with namespaces or paths of their node. Both depend on the review alone, so that a dry run is
//! answered as any other, and asking twice changes nothing.
//!
//! What must hold of the answers: `k8s.io/api/admission/v1/types.go`. The fields that are refused are those of the profile
//! *Baseline* of Kubernetes' Pod Security Standards that this sample looks at, not all of it.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use data_encoding::BASE64;
use serde_json::{Value, json};

use super::meta::{get, items, text_at};

/// The longest review that is taken, in bytes: two objects of a client's longest body.
pub const MAX_REVIEW_BYTES: usize = 8 * 1024 * 1024;

/// The annotation that names who asked, where nothing else is said.
pub const OWNER_ANNOTATION: &str = "bailiwick.dev/owner";

/// The lists of containers of a pod.
const CONTAINERS: [&str; 3] = ["/spec/initContainers", "/spec/containers", "/spec/ephemeralContainers"];

/// The application: it answers `POST /mutate` and `POST /validate`, and writes to this annotation.
pub fn application(annotation: String) -> impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static {
    move |config| {
        let annotation = annotation.clone();
        let serve = move |request: HttpRequest, body: web::Bytes| {
            let (status, text) = answer(request.method().as_str(), request.path(), &body, &annotation);
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let media = if status.is_success() { "application/json" } else { "text/plain; charset=utf-8" };
            std::future::ready(HttpResponse::build(status).content_type(media).body(text))
        };
        config.app_data(web::PayloadConfig::new(MAX_REVIEW_BYTES)).default_service(web::to(serve));
    }
}

/// The status and the body of an answer.
fn answer(method: &str, path: &str, body: &[u8], annotation: &str) -> (u16, String) {
    type Judge = fn(&Value, &str) -> Value;
    let judge: Judge = match path {
        "/mutate" => mutate,
        "/validate" => |request, _| validate(request),
        _ => return (404, "there are /mutate and /validate\n".to_owned()),
    };
    if method != "POST" {
        return (405, "reviews are posted\n".to_owned());
    }
    let Ok(review) = serde_json::from_slice::<Value>(body) else {
        return (400, "the body is no JSON\n".to_owned());
    };
    let uid = text_at(&review, "/request/uid");
    let is_review = text_at(&review, "/kind") == "AdmissionReview"
        && text_at(&review, "/apiVersion") == "admission.k8s.io/v1"
        && !uid.is_empty();
    if !is_review {
        return (400, "the body is no AdmissionReview of admission.k8s.io/v1 with a request\n".to_owned());
    }
    let mut response = judge(review.get("request").unwrap_or(&Value::Null), annotation);
    if let Some(fields) = response.as_object_mut() {
        fields.insert("uid".to_owned(), uid.into());
    }
    let answer =
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    (200, answer.to_string())
}

/// Names who makes an object, unless it names somebody already.
fn mutate(request: &Value, annotation: &str) -> Value {
    let object = request.get("object").unwrap_or(&Value::Null);
    let annotations = get(object, "annotations").and_then(Value::as_object);
    let is_due = text_at(request, "/operation") == "CREATE"
        && text_at(request, "/subResource").is_empty()
        && object.get("metadata").is_some_and(Value::is_object)
        && !annotations.is_some_and(|held| held.contains_key(annotation));
    if !is_due {
        return json!({"allowed": true});
    }
    let who = text_at(request, "/userInfo/username");
    // A key within a JSON pointer (RFC 6901, 3).
    let key = annotation.replace('~', "~0").replace('/', "~1");
    let mut operations = Vec::new();
    if annotations.is_none() {
        operations.push(json!({"op": "add", "path": "/metadata/annotations", "value": {}}));
    }
    operations.push(json!({"op": "add", "path": format!("/metadata/annotations/{key}"), "value": who}));
    let patch = BASE64.encode(Value::from(operations).to_string().as_bytes());
    json!({
        "allowed": true, "patchType": "JSONPatch", "patch": patch, "auditAnnotations": {"owner": who},
    })
}

/// Refuses what reaches out of its containers.
fn validate(request: &Value) -> Value {
    let pod = request.get("object").unwrap_or(&Value::Null);
    let is_judged = text_at(request, "/kind/kind") == "Pod"
        && text_at(request, "/kind/group").is_empty()
        && matches!(text_at(request, "/operation"), "CREATE" | "UPDATE");
    if !is_judged {
        return json!({"allowed": true});
    }
    let reasons = reasons(pod);
    let mut response = match &*reasons {
        [] => json!({"allowed": true, "auditAnnotations": {"verdict": "allowed"}}),
        _ => json!({
            "allowed": false,
            "status": {"code": 403, "reason": "Forbidden", "message": reasons.join("; ")},
            "auditAnnotations": {"verdict": "refused"},
        }),
    };
    let warnings: Vec<String> = containers(pod).filter_map(warning).collect();
    if !warnings.is_empty()
        && let Some(fields) = response.as_object_mut()
    {
        fields.insert("warnings".to_owned(), warnings.into());
    }
    response
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    CONTAINERS.into_iter().flat_map(|list| items(pod, list))
}

fn reasons(pod: &Value) -> Vec<String> {
    let is_true = |object: &Value, pointer: &str| object.pointer(pointer) == Some(&Value::Bool(true));
    let namespaces = ["hostNetwork", "hostPID", "hostIPC"]
        .into_iter()
        .filter(|field| is_true(pod, &format!("/spec/{field}")))
        .map(|field| format!("{field} shares a namespace of the node"));
    let paths = items(pod, "/spec/volumes")
        .filter(|volume| volume.get("hostPath").is_some_and(|path| !path.is_null()))
        .map(|volume| format!("volume {:?} is a path of the node", text_at(volume, "/name")));
    let privileged = containers(pod)
        .filter(|container| is_true(container, "/securityContext/privileged"))
        .map(|container| format!("container {:?} is privileged", text_at(container, "/name")));
    namespaces.chain(paths).chain(privileged).collect()
}

/// What runs under an image without a tag may be another tomorrow.
fn warning(container: &Value) -> Option<String> {
    let image = text_at(container, "/image");
    let last = image.rsplit('/').next().unwrap_or_default();
    let is_fixed = image.contains('@') || last.split_once(':').is_some_and(|(_, tag)| tag != "latest");
    let name = text_at(container, "/name");
    (!is_fixed && !image.is_empty()).then(|| format!("container {name:?}: its image has no fixed tag"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn review(path: &str, request: Value) -> Value {
        let review =
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
        let (status, body) = answer("POST", path, review.to_string().as_bytes(), OWNER_ANNOTATION);
        assert_eq!(status, 200, "{body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(answer["response"]["uid"], "u-1");
        answer["response"].clone()
    }

    fn create(object: Value) -> Value {
        json!({
            "uid": "u-1", "operation": "CREATE", "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "userInfo": {"username": "alice"}, "object": object,
        })
    }

    #[test]
    fn who_makes_an_object_is_written_down_once() {
        for metadata in [json!({"name": "a"}), json!({"name": "a", "annotations": {"b": "c"}})] {
            let mut object = json!({"metadata": metadata});
            let said = review("/mutate", create(object.clone()));
            assert_eq!(said["patchType"], "JSONPatch");
            let patch = BASE64.decode(said["patch"].as_str().unwrap().as_bytes()).unwrap();
            json_patch::patch(&mut object, &serde_json::from_slice::<json_patch::Patch>(&patch).unwrap())
                .unwrap();
            assert_eq!(object["metadata"]["annotations"][OWNER_ANNOTATION], "alice");
            assert_eq!(review("/mutate", create(object)), json!({"allowed": true, "uid": "u-1"}));
        }
        let update = json!({"uid": "u-1", "operation": "UPDATE", "object": {"metadata": {}}});
        assert_eq!(review("/mutate", update), json!({"allowed": true, "uid": "u-1"}));
    }

    #[test]
    fn a_pod_that_reaches_out_of_its_containers_is_refused_with_each_reason() {
        let pod = json!({"metadata": {}, "spec": {
            "hostNetwork": true, "hostPID": true, "hostIPC": false,
            "volumes": [{"name": "v", "hostPath": {"path": "/"}}, {"name": "w", "emptyDir": {}}],
            "initContainers": [{"name": "i", "image": "a:1", "securityContext": {"privileged": true}}],
            "containers": [{"name": "c", "image": "a:1", "securityContext": {"privileged": false}}],
        }});
        let said = review("/validate", create(pod));
        assert_eq!(said["allowed"], false);
        assert_eq!(
            said["status"]["message"],
            "hostNetwork shares a namespace of the node; hostPID shares a namespace of the node; \
             volume \"v\" is a path of the node; container \"i\" is privileged"
        );
        assert_eq!(said["auditAnnotations"]["verdict"], "refused");
    }

    #[test]
    fn a_pod_in_order_is_allowed_with_a_warning_where_its_image_may_change() {
        for (image, warns) in [
            ("nginx", true),
            ("nginx:latest", true),
            ("example.com:5000/nginx", true),
            ("nginx:1.27", false),
            ("example.com:5000/nginx:1", false),
            ("nginx@sha256:00", false),
        ] {
            let pod = json!({"metadata": {}, "spec": {"containers": [{"name": "c", "image": image}]}});
            let said = review("/validate", create(pod));
            assert_eq!(said["allowed"], true, "{image}");
            assert_eq!(said.get("warnings").is_some(), warns, "{image}");
        }
    }

    #[test]
    fn what_is_no_review_is_refused() {
        for (method, path, body, expected) in [
            ("POST", "/", "{}", 404),
            ("GET", "/mutate", "", 405),
            ("POST", "/mutate", "{", 400),
            ("POST", "/validate", "{}", 400),
            (
                "POST",
                "/validate",
                r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{}}"#,
                400,
            ),
        ] {
            assert_eq!(answer(method, path, body.as_bytes(), OWNER_ANNOTATION).0, expected, "{path} {body}");
        }
    }
}
