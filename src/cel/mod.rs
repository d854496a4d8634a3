//! The Common Expression Language: one façade over the `cel` crate, which itself checks no names, bounds no cost, and
//! overflows the stack on a short text.
//!
//! An [`Expression`] that compiled is short and shallow, names only what there is, has its regular expressions compiled,
//! and cannot take long; what it cannot know before is an [`EvaluationError`]. The language is CEL's
//! (<https://github.com/google/cel-spec/blob/master/doc/langdef.md>) as far as [`FUNCTIONS`] go: operators, `has()`,
//! `all`, `exists`, `exists_one`, `map`, `filter`, and those functions. There are no types, messages, durations and
//! timestamps.

mod check;
mod cost;
mod values;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use regex::Regex;
use serde_json::Value;

use cost::Cost;

pub use check::{Call, FUNCTIONS, Path};

/// The longest text, in bytes.
pub const MAX_SOURCE_BYTES: usize = 2 * 1024;
/// How deep an expression may be nested, its macros written out.
pub const MAX_DEPTH: usize = 32;
/// How deep macros over lists (`all`, `exists` and the like) may be nested.
pub const MAX_MACRO_NESTING: usize = 2;
/// How often two values that are not written out may be put together with `+`: each time can make a list, or a text, twice
/// as long, and macros can make each time of the one before.
pub const MAX_DOUBLINGS: u32 = 8;
/// The most that one evaluation may cost, in steps of about 0.1 us.
pub const MAX_COST: u64 = 1_000_000;
/// For how long lists an expression must stay below [`MAX_COST`] to be compiled; longer ones are judged when they come.
pub const ASSUMED_LIST_LENGTH: u64 = 100;
/// The largest regular expression, compiled, in bytes.
pub const MAX_REGEX_BYTES: usize = 64 * 1024;
/// The stack that compiling has: what [`MAX_SOURCE_BYTES`] can need (20 KiB a term in a debug build), and a reserve. Only
/// what is used of it is ever real memory.
const COMPILING_STACK_BYTES: usize = 256 * 1024 * 1024;

/// The standard functions; those of optionals and types are there as well, and are refused by our own check.
static ENVIRONMENT: LazyLock<Arc<::cel::Env>> = LazyLock::new(|| Arc::new(::cel::Env::stdlib()));

/// A condition that can be evaluated.
pub struct Expression {
    text: String,
    program: ::cel::Program,
    paths: Vec<Path>,
    regexes: Arc<HashMap<String, Regex>>,
    cost: Cost,
    doublings: u32,
}

/// Why a text is no condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CompileError {
    /// Where, in characters from the beginning of the text; 0 where it is about the whole.
    pub offset: usize,
    /// What is wrong; in lower case, without a full stop.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// Why a condition has no value for these variables.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// A field or index that is not there, or values that do not go together.
    #[error("{0}")]
    Failed(String),
    /// It has another value than true or false.
    #[error("the expression gave {0} instead of a boolean")]
    NotABoolean(&'static str),
    /// The lists are so long that it would take too long.
    #[error("the expression would cost {cost} steps for lists of {length} elements, and may cost {MAX_COST}")]
    TooExpensive {
        /// What it would cost at worst.
        cost: u64,
        /// The length of the longest list or mapping.
        length: u64,
    },
}

impl Expression {
    /// Compiles a text that may name these variables.
    ///
    /// # Errors
    /// Where it is not CEL, is too long, too deep or too expensive, names what there is not, or has a regular expression
    /// that is not written out or is none.
    pub fn compile(text: &str, variables: &[&str]) -> Result<Self, CompileError> {
        if text.len() > MAX_SOURCE_BYTES {
            let message = format!("the expression has {} bytes, and may have {MAX_SOURCE_BYTES}", text.len());
            return Err(CompileError { offset: 0, message, help: None });
        }
        let failed = |_| CompileError::of_the_whole("the expression could not be compiled");
        // The parser goes as deep as the text has terms, and so does letting go of what it made.
        std::thread::scope(|scope| {
            std::thread::Builder::new()
                .name("cel".to_owned())
                .stack_size(COMPILING_STACK_BYTES)
                .spawn_scoped(scope, || Self::compile_here(text, variables))
                .map_err(|error| CompileError::of_the_whole(format!("no thread to compile on: {error}")))?
                .join()
                .map_err(failed)?
        })
    }

    fn compile_here(text: &str, variables: &[&str]) -> Result<Self, CompileError> {
        let program = ENVIRONMENT.compile(text).map_err(|errors| CompileError::of_parser(text, &errors))?;
        let checked = check::check(program.expression(), program.source_info(), variables)?;
        let worst = checked.cost.at(ASSUMED_LIST_LENGTH << checked.doublings);
        if worst > MAX_COST {
            let message = format!(
                "the expression would cost {worst} steps for lists of {ASSUMED_LIST_LENGTH} elements, and may cost {MAX_COST}"
            );
            let help = Some("look at lists once, not once for each element of another".to_owned());
            return Err(CompileError { offset: 0, message, help });
        }
        let check::Checked { paths, regexes, cost, doublings } = checked;
        Ok(Self { text: text.to_owned(), program, paths, regexes: Arc::new(regexes), cost, doublings })
    }

    /// The fields of variables that it names, so that whoever knows which there are can refuse others. What is reached by
    /// an index, or in an element of a list, is not among them.
    #[must_use]
    pub fn paths(&self) -> &[Path] {
        &self.paths
    }

    /// The text that it was compiled from.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it holds. A variable that was named when it was compiled and is not given here is an error where it is
    /// looked at.
    ///
    /// # Errors
    /// See [`EvaluationError`]. `&&` and `||` take an error on one side for nothing where the other side decides.
    pub fn evaluate(&self, variables: &[(&str, &Value)]) -> Result<bool, EvaluationError> {
        let length = variables.iter().map(|(_, value)| values::longest(value)).max().unwrap_or_default();
        let cost = self.cost.at(length.saturating_mul(1 << self.doublings));
        if cost > MAX_COST {
            return Err(EvaluationError::TooExpensive { cost, length });
        }
        let mut context = ::cel::Context::with_env(Arc::clone(&ENVIRONMENT));
        for (name, value) in variables {
            context.add_variable_from_value(*name, values::from_json(value));
        }
        let failed = |error: &dyn std::fmt::Display| EvaluationError::Failed(error.to_string());
        if !self.regexes.is_empty() {
            values::add_matches(&mut context, Arc::clone(&self.regexes)).map_err(|error| failed(&error))?;
        }
        // A fault of the interpreter is this condition's alone.
        let executed = catch_unwind(AssertUnwindSafe(|| self.program.execute(&context)));
        let executed = executed.map_err(|_| EvaluationError::Failed("the interpreter failed".to_owned()))?;
        match executed.map_err(|error| failed(&error))? {
            ::cel::Value::Bool(value) => Ok(value),
            other => Err(EvaluationError::NotABoolean(values::describe(&other))),
        }
    }
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

impl CompileError {
    fn of_the_whole(message: impl Into<String>) -> Self {
        Self { offset: 0, message: message.into(), help: None }
    }

    /// The first error of the parser, which counts lines and columns.
    fn of_parser(text: &str, errors: &::cel::ParseErrors) -> Self {
        let Some(first) = errors.errors.first() else { return Self::of_the_whole("no expression") };
        let place = |number: isize| usize::try_from(number).unwrap_or_default().saturating_sub(1);
        let (line, column) = (place(first.pos.0), place(first.pos.1));
        let before = text.split_inclusive('\n').take(line).map(|line| line.chars().count()).sum::<usize>();
        let offset = before.saturating_add(column).min(text.chars().count());
        let message = first.msg.lines().next().unwrap_or_default().to_owned();
        Self { offset, message, help: None }
    }
}

#[cfg(test)]
mod tests;
