//! Other authorisers' rules as policies: RBAC manifests, and the policy files of in-tree ABAC.
//!
//! What comes out decides as the original does, request for request, for whoever is neither exempt nor guarded against
//! and needs no directory. What cannot be carried over so is an error at its place, never left out. Two kinds of requests are
//! not looked at, since no API server makes them: those with an empty resource or path, and those with a `/` in the name of
//! a resource.
//!
//! The result is made as a tree whose nodes stand where the original does, and is read as any policy is: what the language of
//! policies does not take is reported there.

mod abac;
mod manifests;
mod rbac;
mod tree;

use crate::document::{Diagnostics, Document, Node, Source};
use crate::policy;

pub use abac::abac;
pub use rbac::rbac;

/// Policies that were made of something else.
#[derive(Debug, Clone)]
pub struct Converted {
    /// The `AccessPolicy` documents, with a comment before each that says what it was.
    pub yaml: String,
    /// How many there are.
    pub policies: usize,
    /// Warnings about what says nothing in the original, and therefore says nothing here either.
    pub warnings: Diagnostics,
}

/// One policy, and what it is made of.
struct Policy {
    /// In one line.
    of: String,
    document: Document,
}

/// Reads the policies as policies are read, and writes them.
fn finish(policies: &[Policy], mut diagnostics: Diagnostics) -> Result<Converted, Diagnostics> {
    let documents: Vec<Document> = policies.iter().map(|policy| policy.document.clone()).collect();
    let _policies = policy::read(&documents, &mut diagnostics);
    diagnostics.sort();
    if diagnostics.has_errors() {
        return Err(diagnostics);
    }
    let written = policies.iter().map(|Policy { of, document }| {
        // A name may hold whatever it likes; a comment ends with its line.
        let of = crate::document::one_line(of);
        format!("# {of}\n{}", document.root.to_yaml())
    });
    let yaml = written.collect::<Vec<_>>().join("---\n");
    Ok(Converted { yaml, policies: policies.len(), warnings: diagnostics })
}

/// Nothing wrong yet with these.
fn begin(sources: &[Source]) -> Diagnostics {
    Diagnostics::new(sources)
}

/// Whether something is there: `null` is what Kubernetes writes for nothing.
fn given(node: Option<&Node>) -> Option<&Node> {
    node.filter(|node| node.value != crate::document::Value::Null)
}
