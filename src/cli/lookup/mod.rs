//! `bailiwick lookup`.

mod held;
mod shown;
mod text;

use std::path::PathBuf;

use jiff::Timestamp;

use super::offline::People;
use super::render::Paint;
use super::serve::read_configuration;
use super::{Exit, Failure, Output, runtime, say, say_json};
use crate::config::Configuration;
use crate::directory::{self, LookupError};
use held::Service;
use shown::Shown;

/// Ask the directory for a user as the service would, and show how: every search, the way to every group, account state, and
/// what the running service holds of the user.
///
/// The directory is asked by this command itself; the service is only asked what it holds, with the admin token of the
/// configuration. That it does not answer is no failure.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The user, as the cluster names them.
    user: String,
    /// The configuration file of the service.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// How to write it.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let Configuration { admin, directory, eval, .. } = read_configuration(&arguments.config)?;
    let runtime = runtime()?;
    let user = arguments.user.as_str();
    let name = directory.usernames.reading(user).map(str::to_owned);
    let prefix = directory.usernames.strip_prefix.clone();
    let people = match &name {
        Ok(_) => People::of(directory, runtime.handle())?,
        // Nobody is asked, so nothing needs to be connected to.
        Err(_) => None,
    };
    let (lookup, service) = runtime.block_on(async {
        let looking_up = async {
            match (&people, &name) {
                (Some(people), Ok(name)) => Some(people.lookup(name).await),
                _ => None,
            }
        };
        tokio::join!(looking_up, Service::ask(&admin, user))
    });
    let failure = lookup.as_ref().and_then(|lookup| failure(user, lookup));
    let shown = Shown::new(user, name, &prefix, lookup, &eval, service, Timestamp::now());
    match arguments.output {
        Output::Text => say(&text::text(&shown, Paint::for_stdout()))?,
        Output::Json => say_json(&shown)?,
    }
    failure.map_or(Ok(shown.exit), Err)
}

/// Why the directory could not be asked. That a server contradicts the configuration is the configuration's fault, as at a start.
fn failure(user: &str, lookup: &directory::Lookup) -> Option<Failure> {
    match lookup.result.as_ref().err()? {
        error @ LookupError::Unfit(_) => Some(Failure::invalid(format!("directory.ldap: {error}"))),
        error => {
            Some(Failure::operational(format!("the user `{}`: {error}", crate::document::one_line(user))))
        }
    }
}
