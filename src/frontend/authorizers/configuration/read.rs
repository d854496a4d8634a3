//! The file: every mistake in it, in its place.

use std::path::PathBuf;
use std::time::Duration;

use super::{Configuration, Configured, Mode, PLAIN_MODES, WEBHOOK};
use crate::cel::Expression;
use crate::document::{
    self, Diagnostic, Diagnostics, Fields, Node, Source, Span, Spanned, boolean, choice, duration,
    duration_or_zero, list, quoted, spanned, text,
};
use crate::frontend::authorizers::webhook::{
    Conditions, DEFAULT_AUTHORIZED_TTL, DEFAULT_UNAUTHORIZED_TTL, FailurePolicy, MAX_CONDITIONS, MAX_TIMEOUT,
    Retry, Settings,
};
use crate::frontend::selector::is_dns_subdomain;
use crate::review::Version;

const API_VERSIONS: &[(&str, ())] =
    &[("apiserver.config.k8s.io/v1", ()), ("apiserver.config.k8s.io/v1beta1", ())];
const REVIEW_VERSIONS: &[(&str, Version)] = &[("v1", Version::V1), ("v1beta1", Version::V1beta1)];
const FAILURE_POLICIES: &[(&str, FailurePolicy)] =
    &[("NoOpinion", FailurePolicy::NoOpinion), ("Deny", FailurePolicy::Deny)];

pub(super) fn configuration(source: Source) -> Result<Configuration, Diagnostics> {
    let sources = [source];
    let mut diagnostics = Diagnostics::new(&sources);
    let documents = document::parse(&sources, &mut diagnostics);
    let configuration = match &*documents {
        [document] => root(&document.root, &mut diagnostics),
        [_, second, ..] => {
            let message = "one AuthorizationConfiguration is expected, and here is another document";
            diagnostics.push(Diagnostic::error(second.root.span, message));
            None
        }
        [] => {
            if !diagnostics.has_errors() {
                diagnostics.push(Diagnostic::error(None, "there is no AuthorizationConfiguration"));
            }
            None
        }
    };
    match configuration {
        Some(configuration) if !diagnostics.has_errors() => Ok(configuration),
        _ => Err(diagnostics),
    }
}

fn root(node: &Node, diagnostics: &mut Diagnostics) -> Option<Configuration> {
    let mut fields = Fields::open(node, diagnostics)?;
    fields.required("apiVersion", diagnostics, choice(API_VERSIONS));
    fields.required("kind", diagnostics, choice(&[("AuthorizationConfiguration", ())]));
    let authorizers = fields.required("authorizers", diagnostics, list(spanned(authorizer)));
    fields.finish(diagnostics);
    let authorizers = authorizers?;
    report_twice(&authorizers, diagnostics);
    Some(Configuration { authorizers: authorizers.into_iter().map(|authorizer| authorizer.value).collect() })
}

/// Names are unique, and so are the modes other than the webhook.
fn report_twice(authorizers: &[Spanned<Configured>], diagnostics: &mut Diagnostics) {
    for (index, authorizer) in authorizers.iter().enumerate() {
        let same_mode = |before: &Mode| {
            std::mem::discriminant(before) == std::mem::discriminant(&authorizer.value.mode)
                && !matches!(before, Mode::Webhook(..))
        };
        for before in authorizers.iter().take(index) {
            if before.value.name == authorizer.value.name {
                let message = format!("the name {} stands here twice", quoted(&authorizer.value.name));
                diagnostics.push(Diagnostic::error(authorizer.span, message));
            }
            if same_mode(&before.value.mode) {
                let message = "only authorizers of the type `Webhook` may stand here more than once";
                diagnostics.push(Diagnostic::error(authorizer.span, message));
            }
        }
    }
}

fn authorizer(node: &Node, diagnostics: &mut Diagnostics) -> Option<Configured> {
    let mut fields = Fields::open(node, diagnostics)?;
    let kind = fields.required("type", diagnostics, text);
    let kind_span = fields.node("type").map_or(node.span, |node| node.span);
    let name = fields.required("name", diagnostics, name);
    let webhook_span = fields.key("webhook");
    let mode = match kind.as_deref() {
        Some(WEBHOOK) => fields.required("webhook", diagnostics, webhook),
        Some(kind) => {
            if let Some(span) = webhook_span {
                let message = "`webhook` may be given only where the type is `Webhook`";
                diagnostics.push(Diagnostic::error(span, message));
            }
            let mode = Mode::plain(kind);
            if mode.is_none() {
                let help = document::did_you_mean_or_list(kind, PLAIN_MODES.into_iter().chain([WEBHOOK]));
                let message = format!("{} is no type of an authorizer", quoted(kind));
                diagnostics.push(Diagnostic::error(kind_span, message).maybe_help(help));
            }
            mode
        }
        None => None,
    };
    fields.finish(diagnostics);
    Some(Configured { name: name?, mode: mode? })
}

fn name(node: &Node, diagnostics: &mut Diagnostics) -> Option<String> {
    let name = text(node, diagnostics)?;
    if !is_dns_subdomain(&name) {
        let message = format!("{} is no DNS name in lower case (RFC 1123)", quoted(&name));
        diagnostics.push(Diagnostic::error(node.span, message));
        return None;
    }
    Some(name)
}

fn webhook(node: &Node, diagnostics: &mut Diagnostics) -> Option<Mode> {
    let mut fields = Fields::open(node, diagnostics)?;
    let authorized_ttl =
        life(&mut fields, ["authorizedTTL", "cacheAuthorizedRequests"], DEFAULT_AUTHORIZED_TTL, diagnostics);
    let unauthorized_ttl = life(
        &mut fields,
        ["unauthorizedTTL", "cacheUnauthorizedRequests"],
        DEFAULT_UNAUTHORIZED_TTL,
        diagnostics,
    );
    let timeout = fields.required("timeout", diagnostics, timeout);
    let version = fields.required("subjectAccessReviewVersion", diagnostics, choice(REVIEW_VERSIONS));
    let failure_policy = fields.required("failurePolicy", diagnostics, choice(FAILURE_POLICIES));
    let file = fields.required("connectionInfo", diagnostics, connection);
    let conditions_version =
        fields.optional("matchConditionSubjectAccessReviewVersion", diagnostics, choice(&[("v1", ())]));
    let conditions_span = fields.key("matchConditions");
    let conditions = fields.optional("matchConditions", diagnostics, conditions).unwrap_or_default();
    if let (Some(span), None, None) =
        (conditions_span, conditions_version, fields.key("matchConditionSubjectAccessReviewVersion"))
    {
        let message = "with `matchConditions`, `matchConditionSubjectAccessReviewVersion` must be given";
        diagnostics.push(
            Diagnostic::error(span, message).help("add `matchConditionSubjectAccessReviewVersion: v1`"),
        );
    }
    fields.finish(diagnostics);
    let settings = Settings {
        version: version?,
        timeout: timeout?,
        authorized_ttl,
        unauthorized_ttl,
        failure_policy: failure_policy?,
        conditions: Conditions::new(conditions),
        retry: Retry::default(),
    };
    Some(Mode::Webhook(Box::new(settings), file?))
}

/// For how long replies of a kind are kept: zero stands for the default, as in an API server, and only the switch beside it
/// says "not at all".
fn life(
    fields: &mut Fields<'_>,
    [ttl, switch]: [&'static str; 2],
    default: Duration,
    diagnostics: &mut Diagnostics,
) -> Option<Duration> {
    let ttl = fields.optional(ttl, diagnostics, duration_or_zero).filter(|ttl| !ttl.is_zero());
    let is_kept = fields.optional(switch, diagnostics, boolean).unwrap_or(true);
    is_kept.then(|| ttl.unwrap_or(default))
}

fn timeout(node: &Node, diagnostics: &mut Diagnostics) -> Option<Duration> {
    let timeout = duration(node, diagnostics)?;
    if timeout > MAX_TIMEOUT {
        let message = format!("a timeout must be at most {}s", MAX_TIMEOUT.as_secs());
        diagnostics.push(Diagnostic::error(node.span, message));
        return None;
    }
    Some(timeout)
}

#[derive(Clone, Copy)]
enum ConnectionType {
    KubeConfigFile,
    InCluster,
}

const CONNECTION_TYPES: &[(&str, ConnectionType)] =
    &[("KubeConfigFile", ConnectionType::KubeConfigFile), ("InClusterConfig", ConnectionType::InCluster)];

fn connection(node: &Node, diagnostics: &mut Diagnostics) -> Option<PathBuf> {
    let mut fields = Fields::open(node, diagnostics)?;
    let kind = fields.required("type", diagnostics, choice(CONNECTION_TYPES));
    let file = match kind {
        Some(ConnectionType::KubeConfigFile) => fields.required("kubeConfigFile", diagnostics, absolute_path),
        Some(ConnectionType::InCluster) => {
            let span = fields.node("type").map_or(node.span, |node| node.span);
            let message = "`InClusterConfig` is not available: there is no cluster around this server";
            diagnostics.push(Diagnostic::error(span, message).help("use `KubeConfigFile`"));
            None
        }
        None => fields.optional("kubeConfigFile", diagnostics, absolute_path),
    };
    fields.finish(diagnostics);
    file
}

fn absolute_path(node: &Node, diagnostics: &mut Diagnostics) -> Option<PathBuf> {
    let path = PathBuf::from(text(node, diagnostics)?);
    if !path.is_absolute() {
        diagnostics.push(Diagnostic::error(node.span, "the path must be an absolute path"));
        return None;
    }
    Some(path)
}

fn conditions(node: &Node, diagnostics: &mut Diagnostics) -> Option<Vec<Expression>> {
    let conditions = list(spanned(condition))(node, diagnostics)?;
    if conditions.len() > MAX_CONDITIONS {
        let message = format!("there are {} conditions, and may be {MAX_CONDITIONS}", conditions.len());
        diagnostics.push(Diagnostic::error(node.span, message));
    }
    for (index, condition) in conditions.iter().enumerate() {
        if conditions.iter().take(index).any(|before| before.value.text() == condition.value.text()) {
            diagnostics.push(Diagnostic::error(condition.span, "this condition stands here twice"));
        }
    }
    Some(conditions.into_iter().map(|condition| condition.value).collect())
}

fn condition(node: &Node, diagnostics: &mut Diagnostics) -> Option<Expression> {
    let mut fields = Fields::open(node, diagnostics)?;
    let expression = fields.required("expression", diagnostics, expression);
    fields.finish(diagnostics);
    expression
}

fn expression(node: &Node, diagnostics: &mut Diagnostics) -> Option<Expression> {
    let written = text(node, diagnostics)?;
    match Conditions::compile(&written) {
        Ok(expression) => Some(expression),
        Err(error) => {
            let message = format!("{}, at character {} of the expression", error.message, error.offset + 1);
            diagnostics
                .push(Diagnostic::error(place(node, &written, error.offset), message).maybe_help(error.help));
            None
        }
    }
}

/// The place in the file, where the expression stands there as it is; the whole of it otherwise.
fn place(node: &Node, written: &str, offset: usize) -> Span {
    let as_it_is = usize::try_from(node.span.end.saturating_sub(node.span.start)) == Ok(written.len());
    let bytes = written.char_indices().nth(offset).map_or(written.len(), |(at, _)| at);
    match u32::try_from(bytes) {
        Ok(bytes) if as_it_is => {
            Span { start: node.span.start.saturating_add(bytes).min(node.span.end), ..node.span }
        }
        _ => node.span,
    }
}
