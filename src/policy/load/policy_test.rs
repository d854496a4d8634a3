//! `PolicyTest`.

use std::collections::HashMap;
use std::path::PathBuf;

use super::{Headed, Scope, report_second};
use crate::document::{
    Diagnostics, Fields, Node, Span, Spanned, Value, any_list, boolean, choice, expected, list, map, spanned,
    text, timestamp,
};
use crate::model::{AccountState, Decision, UnreadableState};
use crate::policy::ast::{InlineFacts, PolicyTest, TestCase, TestDirectory};

const DECISIONS: &[(&str, Decision)] =
    &[("Allow", Decision::Allow), ("Deny", Decision::Deny), ("NoOpinion", Decision::NoOpinion)];

pub(super) fn decode(
    document: Headed<'_>,
    scope: &Scope,
    diagnostics: &mut Diagnostics,
) -> Option<PolicyTest> {
    let mut fields = Fields::open(document.spec?, diagnostics)?;
    let directory = fields.optional("directory", diagnostics, directory);
    let trusted_clusters = fields.optional("location", diagnostics, |node, diagnostics| {
        let mut fields = Fields::open(node, diagnostics)?;
        let clusters = fields.required("trustedClusters", diagnostics, list(text));
        fields.finish(diagnostics);
        clusters
    });
    let attributes = fields.optional("attributes", diagnostics, map(text)).unwrap_or_default();
    let cases = fields.required("cases", diagnostics, |node, diagnostics| cases(node, scope, diagnostics));
    fields.finish(diagnostics);
    Some(PolicyTest {
        name: document.name?,
        directory: directory.unwrap_or(TestDirectory::None),
        attributes: attributes.into_iter().map(|(name, from)| (name.value, from)).collect(),
        trusted_clusters: trusted_clusters.unwrap_or_default(),
        cases: cases?,
    })
}

fn directory(node: &Node, diagnostics: &mut Diagnostics) -> Option<TestDirectory> {
    let written = text(node, diagnostics)?;
    Some(match written.as_str() {
        "unavailable" => TestDirectory::Unavailable,
        path => TestDirectory::Ldif(Spanned::new(PathBuf::from(path), node.span)),
    })
}

fn cases(node: &Node, scope: &Scope, diagnostics: &mut Diagnostics) -> Option<Vec<Spanned<TestCase>>> {
    let mut names: HashMap<String, Span> = HashMap::new();
    list(spanned(|node: &Node, diagnostics: &mut Diagnostics| {
        let (name, case) = case(node, scope, diagnostics)?;
        if let Some(name) = name {
            match names.get(&name.value) {
                Some(first) => report_second("case", &name, *first, diagnostics),
                None => {
                    names.insert(name.value, name.span);
                }
            }
        }
        case
    }))(node, diagnostics)
}

/// A case, and its name also where the rest of it has mistakes.
fn case(
    node: &Node,
    scope: &Scope,
    diagnostics: &mut Diagnostics,
) -> Option<(Option<Spanned<String>>, Option<TestCase>)> {
    let mut fields = Fields::open(node, diagnostics)?;
    let name = fields.required("name", diagnostics, spanned(text));
    let at = fields.required("at", diagnostics, timestamp);
    let cluster = fields.optional("cluster", diagnostics, text);
    let request = fields.required("request", diagnostics, request);
    let facts = fields.optional("facts", diagnostics, |node, diagnostics| facts(node, scope, diagnostics));
    let expect = fields.required("expect", diagnostics, |node, diagnostics| {
        let mut fields = Fields::open(node, diagnostics)?;
        let decision = fields.required("decision", diagnostics, choice(DECISIONS));
        let policies = fields.optional("policies", diagnostics, any_list(text));
        fields.finish(diagnostics);
        Some((decision?, policies.map(|policies| policies.into_iter().collect())))
    });
    fields.finish(diagnostics);
    let whole = || {
        let (decision, policies) = expect?;
        Some(TestCase { name: name.clone()?, at: at?, cluster, request: request?, facts, decision, policies })
    };
    let case = whole();
    Some((name, case))
}

/// The request is kept as a tree: what is in it is read as the webhook reads it.
fn request(node: &Node, diagnostics: &mut Diagnostics) -> Option<Spanned<Node>> {
    if !matches!(node.value, Value::Mapping(_)) {
        expected("a mapping", node, diagnostics);
        return None;
    }
    Some(Spanned::new(node.clone(), node.span))
}

fn facts(node: &Node, scope: &Scope, diagnostics: &mut Diagnostics) -> Option<InlineFacts> {
    let mut fields = Fields::open(node, diagnostics)?;
    let groups = fields.optional("groups", diagnostics, list(text));
    let attributes = fields.optional("attributes", diagnostics, map(list(text))).unwrap_or_default();
    for (name, _) in &attributes {
        let known = &scope.vocabulary.attributes;
        scope.check("attribute", name, known.contains_key(&name.value), known.keys(), diagnostics);
    }
    let account = fields.optional("account", diagnostics, account);
    fields.finish(diagnostics);
    Some(InlineFacts {
        groups: groups.unwrap_or_default(),
        attributes: attributes.into_iter().map(|(name, values)| (name.value, values)).collect(),
        account: account.unwrap_or_default(),
    })
}

fn account(node: &Node, diagnostics: &mut Diagnostics) -> Option<AccountState> {
    let mut fields = Fields::open(node, diagnostics)?;
    let state = AccountState {
        disabled: fields.optional("disabled", diagnostics, boolean),
        locked: fields.optional("locked", diagnostics, boolean),
        locked_until: None,
        expires: fields.optional("expires", diagnostics, timestamp),
        password_expired: fields.optional("passwordExpired", diagnostics, boolean),
        unreadable: UnreadableState::default(),
    };
    fields.finish(diagnostics);
    Some(state)
}
