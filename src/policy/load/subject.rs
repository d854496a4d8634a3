//! `subjects` and `exceptSubjects`.

use super::name::{is_label, is_subdomain};
use crate::document::{Diagnostic, Diagnostics, Fields, Node, Span, choice, list, quoted, text};
use crate::model::{Dn, EntityId};
use crate::policy::ast::{GroupRef, SubjectTerm};

#[derive(Clone, Copy)]
enum Kind {
    DirectoryGroup,
    Group,
    User,
    ServiceAccount,
    Everyone,
}

const KINDS: &[(&str, Kind)] = &[
    ("DirectoryGroup", Kind::DirectoryGroup),
    ("Group", Kind::Group),
    ("User", Kind::User),
    ("ServiceAccount", Kind::ServiceAccount),
    ("Everyone", Kind::Everyone),
];

/// An element of `subjects`.
pub(super) fn term(node: &Node, diagnostics: &mut Diagnostics) -> Option<SubjectTerm> {
    let mut fields = Fields::open(node, diagnostics)?;
    let term = if fields.key("allOf").is_some() {
        fields.optional("allOf", diagnostics, list(member)).map(SubjectTerm::AllOf)
    } else {
        simple(&mut fields, diagnostics)
    };
    fields.finish(diagnostics);
    term
}

/// An element of `exceptSubjects`.
pub(super) fn except_term(node: &Node, diagnostics: &mut Diagnostics) -> Option<SubjectTerm> {
    let term = term(node, diagnostics)?;
    if term == SubjectTerm::Everyone {
        let message = "a policy with everyone excepted applies to nobody";
        diagnostics.push(Diagnostic::error(node.span, message).help("remove the policy, or except fewer"));
    }
    Some(term)
}

/// An element of `allOf`.
fn member(node: &Node, diagnostics: &mut Diagnostics) -> Option<SubjectTerm> {
    let mut fields = Fields::open(node, diagnostics)?;
    if let Some(span) = fields.key("allOf") {
        let help = "name all of them in the outer `allOf`";
        diagnostics.push(Diagnostic::error(span, "`allOf` inside `allOf`").help(help));
        return None;
    }
    let term = simple(&mut fields, diagnostics);
    fields.finish(diagnostics);
    if term == Some(SubjectTerm::Everyone) {
        let message = "everyone inside `allOf` says nothing";
        diagnostics.push(Diagnostic::error(node.span, message).help("remove it"));
    }
    term
}

fn simple(fields: &mut Fields<'_>, diagnostics: &mut Diagnostics) -> Option<SubjectTerm> {
    match fields.required("kind", diagnostics, choice(KINDS)) {
        Some(Kind::DirectoryGroup) => directory_group(fields, diagnostics).map(SubjectTerm::DirectoryGroup),
        Some(Kind::Group) => fields.required("name", diagnostics, subject_name).map(SubjectTerm::Group),
        Some(Kind::User) => fields.required("name", diagnostics, subject_name).map(SubjectTerm::User),
        Some(Kind::ServiceAccount) => {
            let namespace = fields.required("namespace", diagnostics, |node, diagnostics| {
                object_name(node, is_label, "a namespace", diagnostics)
            });
            let name = fields.required("name", diagnostics, |node, diagnostics| {
                object_name(node, is_subdomain, "a ServiceAccount's name", diagnostics)
            });
            Some(SubjectTerm::ServiceAccount { namespace: namespace?, name: name? })
        }
        Some(Kind::Everyone) => Some(SubjectTerm::Everyone),
        None => {
            // The kind was reported: the fields that some kind has are not unknown.
            for name in ["name", "namespace", "dn", "id"] {
                fields.key(name);
            }
            None
        }
    }
}

fn directory_group(fields: &mut Fields<'_>, diagnostics: &mut Diagnostics) -> Option<GroupRef> {
    let written: Vec<Span> = ["name", "dn", "id"].into_iter().filter_map(|field| fields.key(field)).collect();
    match written.as_slice() {
        [] => {
            let help = "name the group, or write its `dn` or `id`, which are safer";
            fields.missing("name", diagnostics, Some(help));
            return None;
        }
        [_, second, ..] => {
            let message = "a group is named in one way: by `name`, by `dn` or by `id`";
            diagnostics
                .push(Diagnostic::error(*second, message).help("keep the `id` or the `dn`, which are safer"));
        }
        _ => {}
    }
    let name = fields.optional("name", diagnostics, group_name).map(GroupRef::Name);
    let dn = fields.optional("dn", diagnostics, group_dn).map(GroupRef::Dn);
    let id = fields.optional("id", diagnostics, group_id).map(GroupRef::Id);
    name.or(dn).or(id)
}

/// A group's name in the directory. One that begins as the cluster's own groups do would be mistaken for them.
fn group_name(node: &Node, diagnostics: &mut Diagnostics) -> Option<String> {
    let name = subject_name(node, diagnostics)?;
    if name.starts_with("system:") {
        let message =
            format!("{} is a name of the cluster's own groups, not of a directory's", quoted(&name));
        diagnostics.push(Diagnostic::error(node.span, message).help("write `kind: Group`"));
        return None;
    }
    Some(name)
}

fn group_dn(node: &Node, diagnostics: &mut Diagnostics) -> Option<Dn> {
    let written = text(node, diagnostics)?;
    match Dn::parse(&written) {
        Ok(dn) => Some(dn),
        Err(error) => {
            let message = format!("{} is not a distinguished name: {error}", quoted(&written));
            diagnostics.push(Diagnostic::error(node.span, message));
            None
        }
    }
}

fn group_id(node: &Node, diagnostics: &mut Diagnostics) -> Option<EntityId> {
    let written = text(node, diagnostics)?;
    if !is_sid(&written) && !is_uuid(&written) {
        let message = format!("{} is neither a SID nor a GUID or entryUUID", quoted(&written));
        let help =
            "a SID is written as `S-1-5-21-1-2-3-1105`, the others as `7d8c3c2e-5d0b-4f0e-9b62-0c6c3c9d1a11`";
        diagnostics.push(Diagnostic::error(node.span, message).help(help));
        return None;
    }
    Some(EntityId::new(&written))
}

fn is_sid(text: &str) -> bool {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let rest = text.strip_prefix("S-1-").or_else(|| text.strip_prefix("s-1-"));
    rest.is_some_and(|rest| rest.split('-').count() >= 2 && rest.split('-').all(number))
}

fn is_uuid(text: &str) -> bool {
    let hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && text.split('-').all(hex)
}

/// A user's or group's name. Names are compared whole: a `*` in one would look like a wildcard and match nobody.
fn subject_name(node: &Node, diagnostics: &mut Diagnostics) -> Option<String> {
    let name = text(node, diagnostics)?;
    if name.contains('*') {
        let message = format!("{} is not a subject: names of subjects have no wildcards", quoted(&name));
        let help = match name.as_str() {
            "*" => "for whoever asks, write `{kind: Everyone}`",
            _ => "name a group that holds them all",
        };
        diagnostics.push(Diagnostic::error(node.span, message).help(help));
        return None;
    }
    if name.contains(char::is_control) {
        let message = "a subject's name has no control characters";
        diagnostics.push(Diagnostic::error(node.span, message));
        return None;
    }
    Some(name)
}

fn object_name(
    node: &Node,
    is_valid: fn(&str) -> bool,
    what: &str,
    diagnostics: &mut Diagnostics,
) -> Option<String> {
    let name = subject_name(node, diagnostics)?;
    if !is_valid(&name) {
        diagnostics.push(Diagnostic::error(node.span, format!("{} is not {what}", quoted(&name))));
        return None;
    }
    Some(name)
}
