//! The command line: one file a command. Everything is composed here, and nowhere else.

mod admin;
mod admission_webhook;
mod check;
mod convert;
mod demo;
mod exit;
mod explain;
mod frontend;
mod healthcheck;
mod lookup;
mod offline;
mod render;
mod serve;
mod service;
mod test;
mod version;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use exit::{Exit, Failure};

use crate::document::is_control;

/// Decides what a Kubernetes API server asks: from policies, a live directory, and the circumstances.
#[derive(Debug, Parser)]
#[command(name = "bailiwick", version, about, disable_help_subcommand = true)]
struct Bailiwick {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Arguments),
    Serve(serve::Arguments),
    Frontend(frontend::Arguments),
    AdmissionWebhook(admission_webhook::Arguments),
    Check(check::Arguments),
    Convert(convert::Arguments),
    Explain(Box<explain::Arguments>),
    Test(test::Arguments),
    Lookup(lookup::Arguments),
    Healthcheck(healthcheck::Arguments),
    Version(version::Arguments),
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Success };
            // There is nobody left to tell where the standard streams are gone.
            let _said = error.print();
            return exit.into();
        }
    };
    let ended = match arguments.command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Frontend(arguments) => frontend::run(&arguments),
        Command::AdmissionWebhook(arguments) => admission_webhook::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Convert(arguments) => convert::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Lookup(arguments) => lookup::run(&arguments),
        Command::Healthcheck(arguments) => healthcheck::run(&arguments),
        Command::Version(arguments) => version::run(&arguments),
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(failure) => {
            let _said = writeln!(std::io::stderr(), "{}", failure.message.trim_end());
            failure.exit.into()
        }
    }
}

/// Reads the command line. The help of every command lists the exit codes, not only that of the whole.
fn parse() -> Result<Bailiwick, clap::Error> {
    let mut command =
        Bailiwick::command().after_help(exit::TABLE).mut_subcommands(|each| each.after_help(exit::TABLE));
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    Bailiwick::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// Writes to the standard output. A reader that went away (`| head`) is no failure.
fn say(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::operational(format!("the output cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a value as indented JSON to the standard output; nothing in it is obeyed by a terminal.
fn say_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::operational)?;
    // Those that JSON leaves as they are can only stand within its strings.
    let escaped = text.chars().fold(String::with_capacity(text.len() + 1), |mut escaped, character| {
        match character {
            '\n' => escaped.push('\n'),
            character if is_control(character) => {
                escaped.push_str(&format!("\\u{:04x}", u32::from(character)))
            }
            character => escaped.push(character),
        }
        escaped
    });
    say(&format!("{escaped}\n"))
}

/// The runtime for background work: directory, reload, clients.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .thread_name("bailiwick-background")
        .build()
        .map_err(|error| Failure::operational(format!("no runtime: {error}")))
}
