//! `bailiwick convert`.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::{Exit, Failure, say};
use crate::convert::{self, Converted};
use crate::document::{Diagnostics, Source};

/// What may be read of the standard input, in bytes: as much as of a file.
const MAX_INPUT_BYTES: u64 = crate::document::MAX_SOURCE_BYTES as u64 + 1;

/// Make policies of what another authoriser was configured with.
///
/// They are written to the standard output, and decide as the original does. What cannot be carried over is an error, and
/// nothing is written then.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, clap::Subcommand)]
enum From {
    /// Roles, ClusterRoles and their bindings, as manifests or as `kubectl get -o yaml` writes them.
    Rbac(Files),
    /// The policy file of an API server's ABAC mode (`--authorization-policy-file`).
    Abac(Files),
}

#[derive(Debug, clap::Args)]
struct Files {
    /// Files; `-` is the standard input.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    type Convert = fn(&[Source]) -> Result<Converted, Diagnostics>;
    let (convert, files): (Convert, _) = match &arguments.from {
        From::Rbac(files) => (convert::rbac, files),
        From::Abac(files) => (convert::abac, files),
    };
    let sources = files.files.iter().map(|file| read(file)).collect::<Result<Vec<_>, _>>()?;
    let Converted { yaml, policies, warnings } = convert(&sources).map_err(Failure::diagnostics)?;
    say(&yaml)?;
    let noun = if policies == 1 { "policy" } else { "policies" };
    // There is nobody left to tell where the standard error is gone.
    let _said = writeln!(std::io::stderr(), "{warnings}{policies} {noun}");
    Ok(Exit::Success)
}

fn read(file: &Path) -> Result<Source, Failure> {
    let failed = |error| Failure::operational(format!("{}: {error}", file.display()));
    if file.as_os_str() != "-" {
        return std::fs::read(file)
            .map(|bytes| Source::new(file.display().to_string(), bytes))
            .map_err(failed);
    }
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(MAX_INPUT_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Source::new("standard input", bytes))
}
