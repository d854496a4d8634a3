//! What led to a decision, for people to read: recorded by the same code that decides, or not at all.

use super::truth::{Timed, Truth};

/// Receives what an evaluation finds. With [`Off`] nothing of it is computed.
pub trait Trace {
    /// Whether anything is recorded. It never changes an answer: where it is on, parts that could no longer change a
    /// truth are looked at too, and their result is only noted.
    const ON: bool;

    /// One policy was evaluated, by this rule of it.
    fn policy(&mut self, policy: u32, rule: u32, truth: Timed);

    /// One part of the policy that is being evaluated.
    fn note(&mut self, note: impl FnOnce() -> Note);
}

/// One part of a policy and what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Which part, as a path in the document: `subjects[0]`, `when.time`.
    pub part: String,
    /// What it asks for, or what was found, in words.
    pub detail: String,
    /// What it was.
    pub truth: Truth,
}

/// Records nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Off;

/// Records everything.
#[derive(Debug, Default)]
pub struct Recorder {
    /// The policies that were near, in the order in which they were looked at.
    pub policies: Vec<Evaluated>,
    notes: Vec<Note>,
}

/// One policy that was near.
#[derive(Debug, Clone)]
pub struct Evaluated {
    /// Its place in the policy set.
    pub policy: u32,
    /// The rule that speaks of the request.
    pub rule: u32,
    /// What it was.
    pub truth: Timed,
    /// Its parts.
    pub notes: Vec<Note>,
}

impl Trace for Off {
    const ON: bool = false;

    fn policy(&mut self, _: u32, _: u32, _: Timed) {}

    fn note(&mut self, _: impl FnOnce() -> Note) {}
}

impl Trace for Recorder {
    const ON: bool = true;

    fn policy(&mut self, policy: u32, rule: u32, truth: Timed) {
        let notes = std::mem::take(&mut self.notes);
        self.policies.push(Evaluated { policy, rule, truth, notes });
    }

    fn note(&mut self, note: impl FnOnce() -> Note) {
        self.notes.push(note());
    }
}
