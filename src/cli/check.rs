//! `bailiwick check`.

use std::path::{Path, PathBuf};

use tokio::sync::watch;

use super::frontend::prepare;
use super::offline::read_policies;
use super::serve::configuration_source;
use super::service::read_ldif;
use super::{Exit, Failure, Output, runtime, say, say_json};
use crate::config::{ClientProof, Configuration, DirectoryKind, FrontendConfiguration};
use crate::document::{Diagnostics, Source};
use crate::http::TokenFile;
use crate::policy::{PolicySet, Settings};
use crate::telemetry::Metrics;
use crate::tls::{ClientContext, ServerContext};

/// Validate policies, or a whole configuration with its files.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("subject").required(true).multiple(true).args(["paths", "config"])))]
pub(super) struct Arguments {
    /// Files or folders with policies; those of the configuration where omitted.
    paths: Vec<PathBuf>,
    /// A configuration, to be checked with everything that it names.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to write it.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let mut paths = arguments.paths.clone();
    let settings = match &arguments.config {
        Some(file) => {
            let source = configuration_source(file)?;
            if FrontendConfiguration::is_one(&source) {
                return frontend(source, arguments);
            }
            let configuration = match Configuration::read(source) {
                Ok(configuration) => configuration,
                Err(diagnostics) => {
                    report(arguments.output, &diagnostics, None)?;
                    return Ok(Exit::Invalid);
                }
            };
            if paths.is_empty() {
                paths.clone_from(&configuration.store.paths);
            }
            files(&configuration)?;
            configuration.policy
        }
        None => Settings::offline(None),
    };
    let sources = read_policies(&paths)?;
    match PolicySet::build(&sources, &settings) {
        Ok(set) => {
            let findings = set.warnings();
            report(arguments.output, findings, Some(&set))?;
            Ok(if findings.items.is_empty() { Exit::Success } else { Exit::Findings })
        }
        Err(diagnostics) => {
            report(arguments.output, &diagnostics, None)?;
            Ok(Exit::Invalid)
        }
    }
}

/// Checks the configuration of a front end: everything is read and made, and nothing is served.
fn frontend(source: Source, arguments: &Arguments) -> Result<Exit, Failure> {
    if !arguments.paths.is_empty() {
        return Err(Failure::usage(
            "the configuration of a front end names no policies: check them by themselves",
        ));
    }
    match FrontendConfiguration::read(source) {
        Err(diagnostics) => {
            report(arguments.output, &diagnostics, None)?;
            Ok(Exit::Invalid)
        }
        Ok(configuration) => {
            let metrics = Metrics::new().map_err(Failure::operational)?;
            let runtime = runtime()?;
            let (_stop, stopped) = watch::channel(false);
            drop(prepare(configuration, &metrics, runtime.handle(), stopped)?);
            report(arguments.output, &Diagnostics::default(), None)?;
            Ok(Exit::Success)
        }
    }
}

/// Whether the files that a configuration names are there and are what they should be.
fn files(configuration: &Configuration) -> Result<(), Failure> {
    let metrics = Metrics::new().map_err(Failure::operational)?;
    ServerContext::from_files("webhook", configuration.server.tls.clone(), &metrics)?;
    if let Some(tls) = &configuration.admin.tls {
        ServerContext::from_files("admin", tls.clone(), &metrics)?;
    }
    match &configuration.directory.kind {
        DirectoryKind::None => {}
        DirectoryKind::Ldap(settings) => {
            ClientContext::from_files("directory", settings.tls.files.clone(), &metrics)?;
            if let crate::directory::Bind::Simple { password_file, .. } = &settings.bind {
                readable(password_file)?;
            }
        }
        DirectoryKind::Embedded { ldif, .. } => read_ldif(ldif, "not asked for here").map(drop)?,
    }
    let clients = configuration.server.clients.iter().flatten();
    let tokens = clients.filter_map(|client| match &client.proof {
        ClientProof::TokenFile(file) => Some(file),
        ClientProof::Name(_) => None,
    });
    tokens.chain(&configuration.admin.token_file).try_for_each(|file| token(file))
}

fn token(file: &Path) -> Result<(), Failure> {
    TokenFile::open(file.to_owned()).map(drop).map_err(|error| {
        let said = format!("{}: {error}", file.display());
        match error.kind() {
            std::io::ErrorKind::InvalidData => Failure::invalid(said),
            _ => Failure::operational(said),
        }
    })
}

fn readable(file: &PathBuf) -> Result<(), Failure> {
    match std::fs::read(file) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::operational(format!("{}: {error}", file.display()))),
    }
}

fn report(output: Output, diagnostics: &Diagnostics, set: Option<&PolicySet>) -> Result<(), Failure> {
    match output {
        Output::Json => say_json(&serde_json::json!({
            "revision": set.map(|set| set.revision().to_string()),
            "diagnostics": diagnostics.to_json(),
        })),
        Output::Text => {
            let mut text = diagnostics.to_string();
            if let Some(set) = set {
                let policies =
                    set.policies().iter().filter(|policy| !policy.name.starts_with("guard/")).count();
                let noun = if policies == 1 { "policy" } else { "policies" };
                text.push_str(&format!("{policies} {noun}, revision {}\n", set.revision()));
            }
            say(&text)
        }
    }
}
