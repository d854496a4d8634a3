//! `bailiwick explain`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::offline::{Found, People, instant, read_policies};
use super::render::{Paint, explanation};
use super::serve::read_configuration;
use super::{Exit, Failure, Output, runtime, say, say_json};
use crate::authz::Explanation;
use crate::eval::{self, Bound};
use crate::model::{Action, GroupNames, NonResourceAction, Request, ResourceAction, Subject};
use crate::policy::{PolicySet, Settings};
use crate::review;

/// Decide one request without a service, and show why.
///
/// The request is written as for `kubectl auth can-i`: a verb and a resource, or a verb and a path.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("request").required(true).args(["verb", "review"])))]
#[command(group(clap::ArgGroup::new("rules").required(true).args(["policies", "config"])))]
pub(super) struct Arguments {
    /// The verb: get, list, create, …
    #[arg(requires = "what")]
    verb: Option<String>,
    /// RESOURCE[.GROUP][/SUBRESOURCE], or /PATH.
    what: Option<String>,
    /// The object's name.
    name: Option<String>,
    /// The whole review, as the API server sends it; `-` is the standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["verb", "what", "name", "user", "groups", "uid", "extra", "namespace"])]
    review: Option<PathBuf>,
    /// Who asks.
    #[arg(long = "as", value_name = "USER", required_unless_present = "review")]
    user: Option<String>,
    /// A group that the cluster asserts; may be repeated.
    #[arg(long = "as-group", value_name = "GROUP")]
    groups: Vec<String>,
    /// The uid that the cluster asserts.
    #[arg(long = "as-uid", value_name = "UID", default_value = "")]
    uid: String,
    /// An `extra` value that the cluster asserts; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    extra: Vec<(String, String)>,
    /// The namespace; none: cluster-scoped, or all namespaces.
    #[arg(short, long, default_value = "")]
    namespace: String,
    /// Which cluster asks. Without `--config`, it is trusted with source addresses.
    #[arg(long)]
    cluster: Option<String>,
    /// When (RFC 3339); now where omitted.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    at: Option<Timestamp>,
    /// Files or folders with policies.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    policies: Vec<PathBuf>,
    /// An LDIF file with the people; none: nobody is in a directory.
    #[arg(long, value_name = "LDIF", conflicts_with = "config")]
    directory: Option<PathBuf>,
    /// Where an attribute of the vocabulary is in the LDIF, where its name is another; may be repeated.
    #[arg(long, value_name = "NAME=LDAP-ATTRIBUTE", value_parser = pair, requires = "directory")]
    attribute: Vec<(String, String)>,
    /// A configuration: its policies and its live directory.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to write it.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let request = request(arguments)?;
    let runtime = runtime()?;
    let handle = runtime.handle();
    let mut cluster: Option<Arc<str>> = arguments.cluster.as_deref().map(Into::into);
    let (set, settings, people) = match &arguments.config {
        Some(file) => {
            let configuration = read_configuration(file)?;
            cluster = cluster.or(configuration.server.cluster);
            let sources = read_policies(&configuration.store.paths)?;
            let set = PolicySet::build(&sources, &configuration.policy).map_err(Failure::diagnostics)?;
            let people = People::of(configuration.directory, handle)?;
            (set, configuration.eval, people)
        }
        None => {
            let sources = read_policies(&arguments.policies)?;
            let settings = Settings::offline(arguments.cluster.iter().cloned());
            let set = PolicySet::build(&sources, &settings).map_err(Failure::diagnostics)?;
            let attributes: BTreeMap<String, String> = arguments.attribute.iter().cloned().collect();
            let names = set.attribute_names().map(str::to_owned);
            let people = arguments
                .directory
                .as_ref()
                .map(|ldif| People::from_ldif(ldif, names, &attributes, handle))
                .transpose()?;
            (set, eval::Settings::default(), people)
        }
    };
    let shown = runtime.block_on(explain(set.into(), &settings, people, &request, cluster, arguments.at))?;
    match arguments.output {
        Output::Text => say(&explanation(&shown, Paint::for_stdout()))?,
        Output::Json => say_json(&shown)?,
    }
    Ok(shown.outcome.into())
}

async fn explain(
    set: Arc<PolicySet>,
    settings: &eval::Settings,
    people: Option<People>,
    request: &Request,
    cluster: Option<Arc<str>>,
    at: Option<Timestamp>,
) -> Result<Explanation, Failure> {
    let (bound, found) = match &people {
        None => (Bound::new(set, &GroupNames::default(), 0), Found::Outside),
        Some(people) => {
            let bound = people.bind(set).await?;
            let found = people.find(&bound, &request.subject.user).await?;
            (bound, found)
        }
    };
    let circumstances = eval::circumstances(&bound, request, cluster, at.unwrap_or_else(Timestamp::now));
    Ok(Explanation::of(&bound, settings, request, found.view(), &circumstances))
}

fn request(arguments: &Arguments) -> Result<Request, Failure> {
    if let Some(file) = &arguments.review {
        let read = if file.as_os_str() == "-" {
            std::io::read_to_string(std::io::stdin()).map(String::into_bytes)
        } else {
            std::fs::read(file)
        };
        let body = read.map_err(|error| Failure::operational(format!("{}: {error}", file.display())))?;
        let review =
            review::read(&body).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
        return Ok(review.request);
    }
    let verb = arguments.verb.clone().unwrap_or_default();
    let what = arguments.what.as_deref().unwrap_or_default();
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, value) in &arguments.extra {
        extra.entry(key.clone()).or_default().push(value.clone());
    }
    let subject = Subject {
        user: arguments.user.clone().unwrap_or_default(),
        uid: arguments.uid.clone(),
        groups: arguments.groups.clone(),
        extra,
    };
    let action = if what.starts_with('/') {
        if arguments.name.is_some() || !arguments.namespace.is_empty() {
            return Err(Failure::usage(format!("the path `{what}` has neither a name nor a namespace")));
        }
        Action::NonResource(NonResourceAction { verb, path: what.to_owned() })
    } else {
        let (resource, subresource) = what.split_once('/').unwrap_or((what, ""));
        let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
        Action::Resource(ResourceAction {
            verb,
            group: if resource == "*" && group.is_empty() { "*".to_owned() } else { group.to_owned() },
            version: "*".to_owned(),
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
            namespace: arguments.namespace.clone(),
            name: arguments.name.clone().unwrap_or_default(),
            ..ResourceAction::default()
        })
    };
    Ok(Request { subject, action })
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is not of the form KEY=VALUE")),
    }
}
