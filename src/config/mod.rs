//! The configuration file of `serve` (DESIGN 7): every module's own settings, read together and checked against each other.
//!
//! Unknown keys are errors, and so is everything that would not be what it seems: all at once, each in its place. Relative
//! paths are relative to the folder of the file.

mod decisions;
mod directory;
mod frontend;
mod server;

use std::path::{Path, PathBuf};

use crate::document::{
    self, Diagnostic, Diagnostics, Fields, Node, Source, choice, expected, list, quoted, text,
};
use crate::policy::ast::AttributeType;
use crate::{cache, eval, policy, store, telemetry};

pub use directory::{Accounts, DirectoryKind, People};
pub use frontend::FrontendConfiguration;
pub use server::{Admin, ClientEntry, ClientProof, Server};

/// Everything that a configuration file says.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// `server`.
    pub server: Server,
    /// `admin`.
    pub admin: Admin,
    /// `directory`.
    pub directory: People,
    /// What policies are compiled with: `location`, `clearance`, `decisions.exempt`, `decisions.guards`.
    pub policy: policy::Settings,
    /// How policies are combined: `decisions`, `directory.accounts`, `caller`.
    pub eval: eval::Settings,
    /// `directory.cache`.
    pub cache: cache::Settings,
    /// `policies`.
    pub store: store::Settings,
    /// `audit`.
    pub audit: telemetry::audit::Settings,
    /// `log`.
    pub log: telemetry::log::Settings,
}

/// The `apiVersion` of every document.
const API_VERSION: &str = "bailiwick.dev/v1alpha1";

impl Configuration {
    /// Reads a configuration.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(source: Source) -> Result<Self, Diagnostics> {
        let folder = Path::new(&*source.name).parent().map(Path::to_path_buf).unwrap_or_default();
        only_document(source, |root, diagnostics| decode(root, &Paths { folder }, diagnostics))
    }
}

/// Reads a file that is one document.
fn only_document<T>(
    source: Source,
    decode: impl FnOnce(&Node, &mut Diagnostics) -> Option<T>,
) -> Result<T, Diagnostics> {
    let sources = [source];
    let mut diagnostics = Diagnostics::new(&sources);
    let documents = document::parse(&sources, &mut diagnostics);
    let configuration = match &*documents {
        [only] => decode(&only.root, &mut diagnostics),
        [] if diagnostics.has_errors() => None,
        [] => {
            diagnostics.push(Diagnostic::error(None, "the configuration is empty"));
            None
        }
        [_, second, ..] => {
            diagnostics.push(Diagnostic::error(second.root.span, "a configuration is one document"));
            None
        }
    };
    match configuration {
        Some(configuration) if !diagnostics.has_errors() => Ok(configuration),
        _ => {
            diagnostics.sort();
            Err(diagnostics)
        }
    }
}

/// Makes paths of what is written.
struct Paths {
    folder: PathBuf,
}

impl Paths {
    fn decode(&self, node: &Node, diagnostics: &mut Diagnostics) -> Option<PathBuf> {
        text(node, diagnostics).map(|written| self.folder.join(written))
    }
}

fn decode(root: &Node, paths: &Paths, diagnostics: &mut Diagnostics) -> Option<Configuration> {
    let mut fields = Fields::open(root, diagnostics)?;
    let _version = fields
        .required("apiVersion", diagnostics, |node, diagnostics| exactly(API_VERSION, node, diagnostics));
    let _kind =
        fields.required("kind", diagnostics, |node, diagnostics| exactly("Configuration", node, diagnostics));
    let server =
        fields.required("server", diagnostics, |node, diagnostics| server::server(node, paths, diagnostics));
    let admin = optional(&mut fields, "admin", diagnostics, Admin::default, |node, diagnostics| {
        server::admin(node, paths, diagnostics)
    });
    let deadline = server.as_ref().map(|server| server.deadline);
    let directory = fields.required("directory", diagnostics, |node, diagnostics| {
        directory::directory(node, paths, deadline, diagnostics)
    });
    let mut policy = policy::Settings::default();
    fields.optional("location", diagnostics, |node, diagnostics| {
        decisions::location(node, &mut policy, diagnostics)
    });
    fields.optional("clearance", diagnostics, |node, diagnostics| {
        decisions::clearance(node, &mut policy, diagnostics)
    });
    let identity = server.as_ref().and_then(|server| server.identity.clone());
    let mut eval = eval::Settings::default();
    let caller = fields
        .optional("caller", diagnostics, |node, diagnostics| decisions::caller(node, &mut eval, diagnostics))
        .unwrap_or_default();
    fields.optional("decisions", diagnostics, |node, diagnostics| {
        decisions::decisions(node, &caller, &mut eval, &mut policy, diagnostics)
    });
    if let Some(identity) = identity {
        policy.exempt.push(policy::Exempt { user: policy::Pattern::exact(&identity), group: None });
    }
    let store =
        fields.required("policies", diagnostics, |node, diagnostics| policies(node, paths, diagnostics));
    fields.unavailable("objects", diagnostics);
    let audit = optional(&mut fields, "audit", diagnostics, default_audit, |node, diagnostics| {
        audit(node, paths, diagnostics)
    });
    let log = optional(&mut fields, "log", diagnostics, default_log, log);
    let clearance = fields.key("clearance");
    fields.finish(diagnostics);
    let (mut directory, cache, accounts) = directory?;
    let by_attribute = directory.attribute_types.values().any(|kind| *kind == AttributeType::Clearance);
    if let (Some(span), true) = (clearance, by_attribute && policy.clearance_extra_key.is_some()) {
        let message =
            "a clearance comes from `extra` or from a directory attribute of the type `level`, not from both";
        diagnostics.push(Diagnostic::error(span, message));
    }
    eval.accounts = accounts;
    policy.attributes = Some(std::mem::take(&mut directory.attribute_types));
    Some(Configuration {
        server: server?,
        admin: admin?,
        directory,
        policy,
        eval,
        cache,
        store: store?,
        audit: audit?,
        log: log?,
    })
}

/// A section that may be left out; `None` where it has a mistake.
fn optional<'n, T>(
    fields: &mut Fields<'n>,
    name: &'static str,
    diagnostics: &mut Diagnostics,
    default: fn() -> T,
    decode: impl FnOnce(&'n Node, &mut Diagnostics) -> Option<T>,
) -> Option<T> {
    if fields.key(name).is_none() {
        return Some(default());
    }
    fields.optional(name, diagnostics, decode)
}

/// A field that has only one value.
fn exactly(value: &'static str, node: &Node, diagnostics: &mut Diagnostics) -> Option<()> {
    if node.as_text() == Some(value) {
        return Some(());
    }
    match node.as_text() {
        Some(written) => {
            let message = format!("this must be `{value}`, and is {}", quoted(written));
            diagnostics.push(Diagnostic::error(node.span, message));
        }
        None => expected(&format!("`{value}`"), node, diagnostics),
    }
    None
}

fn policies(node: &Node, paths: &Paths, diagnostics: &mut Diagnostics) -> Option<store::Settings> {
    let mut fields = Fields::open(node, diagnostics)?;
    let read =
        fields.required("paths", diagnostics, list(|node, diagnostics| paths.decode(node, diagnostics)));
    let interval = fields.optional("reloadInterval", diagnostics, document::duration);
    fields.finish(diagnostics);
    Some(store::Settings {
        paths: read?,
        reload_interval: interval.unwrap_or(std::time::Duration::from_secs(5)),
    })
}

fn audit(node: &Node, paths: &Paths, diagnostics: &mut Diagnostics) -> Option<telemetry::audit::Settings> {
    use telemetry::audit::Level;
    let mut fields = Fields::open(node, diagnostics)?;
    let path = fields.optional("path", diagnostics, |node, diagnostics| match node.as_text() {
        Some("-") => Some(PathBuf::from("-")),
        _ => paths.decode(node, diagnostics),
    });
    let levels = choice(&[("off", Level::Off), ("decisions", Level::Decisions)]);
    let level = fields.optional("level", diagnostics, levels);
    fields.finish(diagnostics);
    let default = default_audit();
    Some(telemetry::audit::Settings {
        path: path.unwrap_or(default.path),
        level: level.unwrap_or(default.level),
    })
}

fn default_audit() -> telemetry::audit::Settings {
    telemetry::audit::Settings { path: "-".into(), level: telemetry::audit::Level::Decisions }
}

fn log(node: &Node, diagnostics: &mut Diagnostics) -> Option<telemetry::log::Settings> {
    use telemetry::log::Format;
    let mut fields = Fields::open(node, diagnostics)?;
    let format =
        fields.optional("format", diagnostics, choice(&[("json", Format::Json), ("text", Format::Text)]));
    let level = fields.optional("level", diagnostics, log_level);
    fields.finish(diagnostics);
    let default = default_log();
    Some(telemetry::log::Settings {
        format: format.unwrap_or(default.format),
        level: level.unwrap_or(default.level),
    })
}

fn log_level(node: &Node, diagnostics: &mut Diagnostics) -> Option<String> {
    let written = text(node, diagnostics)?;
    match telemetry::log::check(&written) {
        Ok(()) => Some(written),
        Err(error) => {
            diagnostics.push(Diagnostic::error(node.span, error.to_string()));
            None
        }
    }
}

fn default_log() -> telemetry::log::Settings {
    telemetry::log::Settings { format: telemetry::log::Format::Json, level: "info".to_owned() }
}
