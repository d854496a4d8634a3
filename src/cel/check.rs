//! What the crate does not check: names, regular expressions, depth and cost.

use std::collections::HashMap;

use ::cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, SourceInfo, operators};
use ::cel::parser::Expression as Node;
use regex::{Regex, RegexBuilder};

use super::cost::Cost;
use super::{CompileError, MAX_DEPTH, MAX_DOUBLINGS, MAX_MACRO_NESTING, MAX_REGEX_BYTES};

/// The functions that there are, each with how often it can be called: as `x.f(…)` or `f(x, …)`, with so many arguments.
pub const FUNCTIONS: &[(&str, Call)] = &[
    ("contains", Call::Method(1)),
    ("endsWith", Call::Method(1)),
    ("matches", Call::Either(1)),
    ("size", Call::Either(0)),
    ("startsWith", Call::Method(1)),
    ("double", Call::Function(1)),
    ("int", Call::Function(1)),
    ("string", Call::Function(1)),
];

/// How a function is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// `x.f(…)`, with so many arguments.
    Method(usize),
    /// `f(…)`, with so many arguments.
    Function(usize),
    /// `x.f(…)` with so many arguments, or `f(x, …)`.
    Either(usize),
}

const OPERATORS: &[&str] = &[
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::SUBSTRACT,
    operators::ADD,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::GREATER_EQUALS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::LESS,
    operators::NEGATE,
    operators::INDEX,
    operators::IN,
    operators::NOT_STRICTLY_FALSE,
];

/// What a test of a text against a regular expression costs.
const REGEX_STEPS: u64 = 100;
/// What another call costs.
const CALL_STEPS: u64 = 2;

/// Fields of a variable that an expression names one after the other, as `request.resourceAttributes.verb`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// The variable.
    pub variable: String,
    /// The fields, joined by dots.
    pub fields: String,
    /// Where the last of them stands, in characters from the beginning of the text: its dot.
    pub offset: usize,
}

/// What was found.
pub(super) struct Checked {
    pub(super) paths: Vec<Path>,
    pub(super) regexes: HashMap<String, Regex>,
    pub(super) cost: Cost,
    /// How often values may be put together with themselves: each time can make a list twice as long.
    pub(super) doublings: u32,
}

/// Checks an expression that was parsed.
pub(super) fn check(node: &Node, source: &SourceInfo, variables: &[&str]) -> Result<Checked, CompileError> {
    let known = variables.iter().map(|name| (*name).to_owned()).collect();
    let mut checker = Checker {
        source,
        known,
        given: variables.len(),
        paths: Vec::new(),
        regexes: HashMap::new(),
        macros: 0,
        doublings: 0,
    };
    let cost = checker.node(node, 1)?;
    Ok(Checked { paths: checker.paths, regexes: checker.regexes, cost, doublings: checker.doublings })
}

struct Checker<'a> {
    source: &'a SourceInfo,
    /// The variables that can be named here, those of macros last.
    known: Vec<String>,
    /// How many of them no macro made.
    given: usize,
    paths: Vec<Path>,
    regexes: HashMap<String, Regex>,
    /// How many macros stand around.
    macros: usize,
    doublings: u32,
}

impl Checker<'_> {
    fn node(&mut self, node: &Node, depth: usize) -> Result<Cost, CompileError> {
        if depth > MAX_DEPTH {
            let message = format!("the expression is nested deeper than {MAX_DEPTH} levels");
            return Err(self.error(
                node,
                message,
                Some("split it, or put several values in a list and use `in`"),
            ));
        }
        let below = depth.saturating_add(1);
        let step = Cost::constant(1);
        match &node.expr {
            Expr::Literal(_) => Ok(step),
            Expr::Ident(name) => self.variable(node, name).map(|()| step),
            Expr::Select(select) => {
                self.note_path(node);
                Ok(step.plus(self.node(&select.operand, below)?))
            }
            Expr::Call(call) => self.call(node, call, below),
            Expr::Comprehension(comprehension) => self.comprehension(node, comprehension, below),
            Expr::List(list) => self.nodes(&list.elements, below),
            Expr::Map(map) => map.entries.iter().try_fold(step, |cost, entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    Ok(cost.plus(self.node(&entry.key, below)?).plus(self.node(&entry.value, below)?))
                }
                EntryExpr::StructField(field) => Ok(cost.plus(self.node(&field.value, below)?)),
            }),
            Expr::Struct(_) => Err(self.error(node, "there are no messages in this language", None)),
            Expr::Unspecified => Err(self.error(node, "this is no expression", None)),
        }
    }

    fn nodes(&mut self, nodes: &[Node], depth: usize) -> Result<Cost, CompileError> {
        nodes.iter().try_fold(Cost::constant(1), |cost, node| Ok(cost.plus(self.node(node, depth)?)))
    }

    fn variable(&self, node: &Node, name: &str) -> Result<(), CompileError> {
        // Names that begin with an at sign cannot be written: macros make them.
        if name.starts_with('@') || self.known.iter().any(|known| known == name) {
            return Ok(());
        }
        let help = nearest(name, self.known.iter().map(String::as_str));
        Err(self.error(node, format!("unknown variable `{name}`"), help.as_deref()))
    }

    /// Notes the fields that stand here, where they are those of a variable that was given.
    fn note_path(&mut self, node: &Node) {
        let (mut fields, mut inner) = (Vec::new(), node);
        while let Expr::Select(select) = &inner.expr {
            fields.push(select.field.as_str());
            inner = &select.operand;
        }
        fields.reverse();
        if let Expr::Ident(name) = &inner.expr
            && !self.known.iter().skip(self.given).any(|made| made == name)
        {
            let (variable, fields, offset) = (name.clone(), fields.join("."), self.offset(node));
            self.paths.push(Path { variable, fields, offset });
        }
    }

    fn call(&mut self, node: &Node, call: &CallExpr, depth: usize) -> Result<Cost, CompileError> {
        let name = &*call.func_name;
        if !OPERATORS.contains(&name) {
            self.function(node, call)?;
        }
        let mut cost = self.nodes(&call.args, depth)?;
        if let Some(target) = &call.target {
            cost = cost.plus(self.node(target, depth)?);
        }
        let own = match name {
            "matches" => {
                self.regex(node, call)?;
                Cost::constant(REGEX_STEPS)
            }
            operators::IN => Cost::linear(),
            // Lists are copied where they are put together.
            operators::ADD if call.args.iter().any(|argument| matches!(argument.expr, Expr::List(_))) => {
                Cost::linear()
            }
            operators::ADD if !call.args.iter().any(is_written_out) => {
                self.doubling(node)?;
                Cost::constant(CALL_STEPS)
            }
            _ => Cost::constant(CALL_STEPS),
        };
        Ok(cost.plus(own))
    }

    fn doubling(&mut self, node: &Node) -> Result<(), CompileError> {
        self.doublings = self.doublings.saturating_add(1);
        if self.doublings > MAX_DOUBLINGS {
            let message = format!("values are put together with `+` more than {MAX_DOUBLINGS} times");
            return Err(self.error(node, message, None));
        }
        Ok(())
    }

    fn function(&self, node: &Node, call: &CallExpr) -> Result<(), CompileError> {
        let name = &*call.func_name;
        let Some((_, known)) = FUNCTIONS.iter().find(|(known, _)| *known == name) else {
            let help = nearest(name, FUNCTIONS.iter().map(|(known, _)| *known));
            return Err(self.error_at_name(
                node,
                name,
                format!("unknown function `{name}`"),
                help.as_deref(),
            ));
        };
        let is_right = match (known, call.target.is_some()) {
            (Call::Method(count) | Call::Either(count), true) => call.args.len() == *count,
            (Call::Function(count), false) => call.args.len() == *count,
            (Call::Either(count), false) => call.args.len() == count.saturating_add(1),
            (Call::Method(_), false) | (Call::Function(_), true) => false,
        };
        if is_right {
            return Ok(());
        }
        let help = match known {
            Call::Method(0) | Call::Either(0) => format!("write `x.{name}()`"),
            Call::Method(_) | Call::Either(_) => format!("write `x.{name}(y)`"),
            Call::Function(_) => format!("write `{name}(x)`"),
        };
        Err(self.error_at_name(node, name, format!("`{name}` is not called in this way"), Some(&help)))
    }

    /// A regular expression is compiled here, and never again.
    fn regex(&mut self, node: &Node, call: &CallExpr) -> Result<(), CompileError> {
        let Some(pattern) = call.args.last() else {
            return Err(self.error(node, "`matches` needs a regular expression", None));
        };
        let Expr::Literal(LiteralValue::String(text)) = &pattern.expr else {
            let message = "the regular expression of `matches` must be written out, as a string";
            return Err(self.error(pattern, message, None));
        };
        let text = text.inner();
        let regex = RegexBuilder::new(text).size_limit(MAX_REGEX_BYTES).build().map_err(|error| {
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
            self.error(pattern, format!("this is no regular expression: {why}"), None)
        })?;
        self.regexes.insert(text.to_owned(), regex);
        Ok(())
    }

    fn comprehension(
        &mut self,
        node: &Node,
        comprehension: &ComprehensionExpr,
        depth: usize,
    ) -> Result<Cost, CompileError> {
        if self.macros >= MAX_MACRO_NESTING {
            let message = format!("macros over lists are nested deeper than {MAX_MACRO_NESTING} levels");
            return Err(self.error(node, message, None));
        }
        let outside = self
            .node(&comprehension.iter_range, depth)?
            .plus(self.node(&comprehension.accu_init, depth)?)
            .plus(self.node(&comprehension.result, depth)?);
        let before = self.known.len();
        self.known.push(comprehension.iter_var.clone());
        self.known.extend(comprehension.iter_var2.clone());
        self.macros = self.macros.saturating_add(1);
        let inside =
            self.node(&comprehension.loop_cond, depth)?.plus(self.node(&comprehension.loop_step, depth)?);
        self.macros = self.macros.saturating_sub(1);
        self.known.truncate(before);
        let inside = match &comprehension.iter_range.expr {
            Expr::List(list) => inside.times(u64::try_from(list.elements.len()).unwrap_or(u64::MAX)),
            _ => inside.for_each_element(),
        };
        Ok(outside.plus(inside))
    }

    /// The parser says of a call where its parenthesis is.
    fn error_at_name(&self, node: &Node, name: &str, message: String, help: Option<&str>) -> CompileError {
        let mut error = self.error(node, message, help);
        let length = name.chars().count();
        let start = error.offset.saturating_sub(length);
        if self.source.source.chars().skip(start).take(length).eq(name.chars()) {
            error.offset = start;
        }
        error
    }

    fn error(&self, node: &Node, message: impl Into<String>, help: Option<&str>) -> CompileError {
        CompileError { offset: self.offset(node), message: message.into(), help: help.map(str::to_owned) }
    }

    fn offset(&self, node: &Node) -> usize {
        let offset = self.source.offset_for(node.id).map(|(start, _)| start).unwrap_or_default();
        usize::try_from(offset).unwrap_or_default()
    }
}

/// Whether a value adds no more to another than what stands in the text.
fn is_written_out(node: &Node) -> bool {
    matches!(node.expr, Expr::Literal(_) | Expr::List(_))
}

/// The known name that was most likely meant.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    /// Names that differ more are no slips.
    const MIN_LIKENESS: f64 = 0.8;
    let likeness = |known: &str| strsim::jaro_winkler(&name.to_lowercase(), &known.to_lowercase());
    let nearest = known.map(|known| (known, likeness(known))).max_by(|a, b| a.1.total_cmp(&b.1));
    nearest
        .filter(|(_, likeness)| *likeness >= MIN_LIKENESS)
        .map(|(known, _)| format!("did you mean `{known}`?"))
}
