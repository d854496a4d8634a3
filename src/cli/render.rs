//! Explanations as text for people.

use std::fmt::Write;
use std::io::IsTerminal;

use crate::authz::{Explanation, PolicyShown};
use crate::document::one_line;

/// Colours, where the reader is a terminal.
#[derive(Debug, Clone, Copy)]
pub struct Paint(bool);

impl Paint {
    /// Colours if the standard output is a terminal and `NO_COLOR` is not set.
    #[must_use]
    pub fn for_stdout() -> Self {
        Self(std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none())
    }

    /// No colours.
    #[cfg(test)]
    pub fn plain() -> Self {
        Self(false)
    }

    /// A decision in its colour.
    #[must_use]
    pub fn decision(self, decision: &str) -> String {
        match decision {
            "Allow" => self.good(decision),
            "Deny" => self.bad(decision),
            _ => self.doubtful(decision),
        }
    }

    /// Faint text.
    #[must_use]
    pub fn faint(self, text: &str) -> String {
        self.in_colour(text, "2")
    }

    /// Bold text.
    #[must_use]
    pub fn bold(self, text: &str) -> String {
        self.in_colour(text, "1")
    }

    /// What is as it should be.
    #[must_use]
    pub fn good(self, text: &str) -> String {
        self.in_colour(text, "32")
    }

    /// What refuses, or failed.
    #[must_use]
    pub fn bad(self, text: &str) -> String {
        self.in_colour(text, "31")
    }

    /// What is neither.
    #[must_use]
    pub fn doubtful(self, text: &str) -> String {
        self.in_colour(text, "33")
    }

    fn in_colour(self, text: &str, code: &str) -> String {
        if self.0 { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// The whole explanation.
#[must_use]
pub fn explanation(shown: &Explanation, paint: Paint) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _written = write_explanation(&mut text, shown, paint);
    text
}

fn write_explanation(text: &mut String, shown: &Explanation, paint: Paint) -> std::fmt::Result {
    write!(text, "{}", paint.decision(shown.decision))?;
    if !shown.policies.is_empty() {
        write!(text, " by {}", shown.policies.join(", "))?;
    } else {
        write!(text, " ({})", shown.cause)?;
    }
    writeln!(text)?;
    if shown.decision != shown.decision_now {
        let until = shown.valid_until.as_deref().unwrap_or("soon");
        writeln!(
            text,
            "  now it is {}, but that changes at {until}, before the caller forgets the answer",
            paint.decision(shown.decision_now)
        )?;
    } else if let Some(until) = &shown.valid_until {
        writeln!(text, "  until {until}, if nothing but the time changes")?;
    }
    for (name, value) in [("reason", &shown.reason), ("not known", &shown.evaluation_error)] {
        if !value.is_empty() {
            writeln!(text, "  {name}: {value}")?;
        }
    }
    if let Some(would) = shown.would.filter(|would| *would != shown.decision_now) {
        writeln!(text, "  with shadow policies enforced: {}", paint.decision(would))?;
    }
    writeln!(text, "\n{}", paint.bold("circumstances"))?;
    writeln!(text, "  time     {}", shown.time)?;
    writeln!(text, "  cluster  {}", shown.cluster.as_deref().unwrap_or("not known"))?;
    writeln!(text, "  source   {}", shown.source)?;
    write_facts(text, shown, paint)?;
    writeln!(text, "\n{}", paint.bold("policies that speak of this request"))?;
    if shown.near.is_empty() {
        writeln!(text, "  none")?;
    }
    for policy in &shown.near {
        write_policy(text, policy, paint)?;
    }
    writeln!(text, "\n{}", paint.faint(&format!("policy set {}", shown.revision)))
}

fn write_facts(text: &mut String, shown: &Explanation, paint: Paint) -> std::fmt::Result {
    let facts = &shown.facts;
    writeln!(text, "\n{}", paint.bold("directory"))?;
    match (facts.state, facts.person) {
        ("outside", _) => writeln!(text, "  not a user of the directory")?,
        ("exempt", _) => writeln!(text, "  not asked: the subject is exempt")?,
        ("unknown", _) => writeln!(text, "  not asked, or did not answer")?,
        (state, person) => {
            let person = one_line(facts.dn.as_deref().or(person).unwrap_or_default());
            writeln!(text, "  person   {person} ({state})")?;
        }
    }
    for group in &facts.groups {
        writeln!(text, "  group    {}", one_line(&group.path.join(" < ")))?;
    }
    if facts.partial {
        writeln!(text, "  group    and perhaps more: a limit was reached")?;
    }
    for (name, values) in &facts.attributes {
        match values {
            Some(values) => writeln!(text, "  {name}: {}", one_line(&values.join(", ")))?,
            None => writeln!(text, "  {name}: cannot be read")?,
        }
    }
    if !facts.account.is_empty() {
        writeln!(text, "  account  {}", facts.account.join(", "))?;
    }
    Ok(())
}

fn write_policy(text: &mut String, policy: &PolicyShown, paint: Paint) -> std::fmt::Result {
    let mark = match policy.truth {
        "true" => "applies",
        "false" => "does not apply",
        _ => "not known",
    };
    write!(text, "  {} {}: {mark}", paint.decision(policy.effect), paint.bold(&policy.name))?;
    if policy.enforcement == "Shadow" {
        write!(text, " (shadow)")?;
    }
    if !policy.source.is_empty() {
        write!(text, "  {}", paint.faint(&policy.source))?;
    }
    writeln!(text)?;
    if let Some(because) = &policy.because {
        writeln!(text, "      because {because}")?;
    }
    for part in &policy.parts {
        let sign = match part.truth {
            "true" => "+",
            "false" => "-",
            _ => "?",
        };
        writeln!(text, "    {sign} {}: {}", part.part, part.detail)?;
    }
    Ok(())
}
