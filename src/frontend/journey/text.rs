//! A journey in words, for whoever learns what happens to a request.

use std::fmt::{self, Write};

use serde_json::Value;

use super::{Journey, Outcome, Stage, StageName};

/// The longest patch that is shown, in bytes: that of a name, and not that of a volume.
const MAX_PATCH: usize = 90;

/// How wide a line of a journey is, in characters.
const WIDTH: usize = 110;

impl fmt::Display for Journey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.method, plain(&self.uri))?;
        for stage in &self.stages {
            let mark = mark(stage.outcome);
            writeln!(f, "  {mark} {}", question(stage.name))?;
            paragraph(f, &stage.summary, "      ")?;
            for step in &stage.steps {
                paragraph(f, &format!("{} {}: {}", sign(step.outcome), step.name, step.detail), "        ")?;
                let patch = step.patch.as_ref().map(ToString::to_string);
                if let Some(patch) = patch.filter(|patch| patch.len() <= MAX_PATCH) {
                    writeln!(f, "              {}", plain(&patch))?;
                }
            }
        }
        let what = match (&self.reason, self.code) {
            (Some(reason), code) => format!("{code} {reason}"),
            (None, code) => code.to_string(),
        };
        writeln!(f, "  = {what}, after {}", took(self.micros))
    }
}

/// What a stage asks.
#[must_use]
pub fn question(stage: StageName) -> &'static str {
    match stage {
        StageName::Authentication => "1 authentication: are you who you say you are?",
        StageName::Impersonation => "  impersonation: may you act as somebody else?",
        StageName::Authorization => "2 authorisation: may you do this?",
        StageName::Admission => "3 admission: is the object in order?",
        StageName::Storage => "  storage",
    }
}

fn mark(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed | Outcome::Changed => "->",
        Outcome::Abstained => "..",
        Outcome::Refused => "X ",
        Outcome::Failed => "! ",
    }
}

fn sign(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "yes  ",
        Outcome::Changed => "edit ",
        Outcome::Abstained => "-    ",
        Outcome::Refused => "NO   ",
        Outcome::Failed => "FAIL ",
    }
}

/// Microseconds in words.
#[must_use]
pub fn took(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} us"),
        _ => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
    }
}

/// Writes a text in lines that begin so; further ones are a little further in.
fn paragraph(f: &mut fmt::Formatter<'_>, text: &str, begin: &str) -> fmt::Result {
    let mut line = begin.to_owned();
    let mut is_empty = true;
    for word in plain(text).split(' ') {
        if !is_empty && line.chars().count() + word.chars().count() >= WIDTH {
            writeln!(f, "{}", line.trim_end())?;
            line = format!("{begin}      ");
        }
        line.push_str(word);
        line.push(' ');
        is_empty = false;
    }
    writeln!(f, "{}", line.trim_end())
}

/// A text that a terminal shows as it is.
fn plain(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut plain, character| {
        match character {
            '\n' => plain.push_str(" / "),
            character if character.is_control() => {
                // Writing to a String does not fail.
                let _written = write!(plain, "\\u{{{:x}}}", u32::from(character));
            }
            character => plain.push(character),
        }
        plain
    })
}

impl Journey {
    /// The stage of this name, where the request came so far.
    #[must_use]
    pub fn stage(&self, name: StageName) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.name == name)
    }

    /// The name of whoever asked.
    #[must_use]
    pub fn user_name(&self) -> Option<&str> {
        self.user.as_ref()?.get("username").and_then(Value::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::journey;

    #[test]
    fn a_journey_reads_from_the_first_stage_to_the_answer() {
        let text = journey().to_string();
        let order = ["POST /api/v1", "1 authentication", "2 authorisation", "NO    RBAC", "= 403 Forbidden"];
        let places: Vec<usize> = order.iter().map(|part| text.find(part).expect(part)).collect();
        assert!(places.is_sorted(), "{text}");
    }

    #[test]
    fn a_terminal_does_nothing_that_a_journey_says() {
        let mut journey = journey();
        journey.uri = "/\u{1b}[2J".to_owned();
        let text = journey.to_string();
        assert!(text.contains("/\\u{1b}[2J") && !text.contains('\u{1b}'), "{text}");
    }
}
