//! Kleene's three-valued logic, with the instant until which a truth holds.

use jiff::Timestamp;

use crate::model::SourceAddress;
use crate::policy::{GroupRefId, PolicySet};

/// True, false, or not known, and then why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// Known to be false.
    False,
    /// Could not be found out.
    Unknown(Unknown),
    /// Known to be true.
    True,
}

/// Why something is not known (DESIGN 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// The directory could not be asked, and no facts are held that could be used.
    Directory,
    /// The facts that are held are too old.
    StaleFacts,
    /// There may be more groups than were found.
    PartialGroups,
    /// The directory has several entries of this name.
    AmbiguousPerson,
    /// The group's name resolves to none or several groups, or has not been resolved yet.
    GroupName(GroupRefId),
    /// No source address that can be believed.
    Source(SourceAddress),
    /// The person's entry has values of the attribute that cannot be read.
    UnreadableAttribute,
    /// Several or unlisted clearance levels, or a clearance from a cluster that is not trusted with it.
    Clearance,
    /// Which cluster asks.
    Cluster,
}

/// A truth, and until when it holds for certain: at any instant from now up to and without `until` it is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timed {
    /// What it is now.
    pub truth: Truth,
    /// Until when.
    pub until: Timestamp,
}

impl Truth {
    /// True or false.
    #[must_use]
    pub fn known(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }

    /// This truth, whatever the time.
    #[must_use]
    pub fn always(self) -> Timed {
        Timed { truth: self, until: Timestamp::MAX }
    }
}

impl std::ops::Not for Truth {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Self::False => Self::True,
            Self::Unknown(why) => Self::Unknown(why),
            Self::True => Self::False,
        }
    }
}

impl Timed {
    /// True for ever: the empty conjunction.
    pub const TRUE: Self = Self { truth: Truth::True, until: Timestamp::MAX };
    /// False for ever: the empty disjunction.
    pub const FALSE: Self = Self { truth: Truth::False, until: Timestamp::MAX };

    /// Both. Known-false wins over unknown, and then holds as long as that one part is false.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.combine(other, Truth::False)
    }

    /// Either. Known-true wins over unknown, and then holds as long as that one part is true.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        self.combine(other, Truth::True)
    }

    fn combine(self, other: Self, winner: Truth) -> Self {
        match (self.truth == winner, other.truth == winner) {
            (true, true) => Self { truth: winner, until: self.until.max(other.until) },
            (true, false) => self,
            (false, true) => other,
            (false, false) => {
                let truth = if let Truth::Unknown(_) = self.truth { self.truth } else { other.truth };
                Self { truth, until: self.until.min(other.until) }
            }
        }
    }
}

impl std::ops::Not for Timed {
    type Output = Self;

    fn not(self) -> Self {
        Self { truth: !self.truth, until: self.until }
    }
}

impl Unknown {
    /// Why, in words: for `evaluationError` and for `explain`.
    #[must_use]
    pub fn describe(self, set: &PolicySet) -> String {
        match self {
            Self::Directory => "the directory could not be asked".to_owned(),
            Self::StaleFacts => "what the directory last said is too old".to_owned(),
            Self::PartialGroups => "the directory's groups could not be read completely".to_owned(),
            Self::AmbiguousPerson => "the directory has several entries for this user".to_owned(),
            Self::GroupName(group) => match set.group_refs().get(group.0 as usize) {
                Some(crate::policy::ast::GroupRef::Name(name)) => {
                    format!("the group name `{name}` is not resolved to exactly one group")
                }
                _ => "a group name is not resolved to exactly one group".to_owned(),
            },
            Self::Source(source) => {
                source.unknown_because().unwrap_or("the source address is not known").to_owned()
            }
            Self::UnreadableAttribute => "the directory's values of an attribute cannot be read".to_owned(),
            Self::Clearance => "the clearance is not exactly one known level".to_owned(),
            Self::Cluster => "it is not known which cluster asks".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const U: Truth = Truth::Unknown(Unknown::Directory);

    #[test]
    fn rule_3_1_known_false_wins_over_unknown() {
        for (one, other, and, or) in [
            (Truth::False, Truth::False, Truth::False, Truth::False),
            (Truth::False, U, Truth::False, U),
            (Truth::False, Truth::True, Truth::False, Truth::True),
            (U, U, U, U),
            (U, Truth::True, U, Truth::True),
            (Truth::True, Truth::True, Truth::True, Truth::True),
        ] {
            for (one, other) in [(one, other), (other, one)] {
                assert_eq!(one.always().and(other.always()).truth, and, "{one:?} and {other:?}");
                assert_eq!(one.always().or(other.always()).truth, or, "{one:?} or {other:?}");
            }
        }
        assert_eq!(!U, U);
    }

    #[test]
    fn a_conjunction_stays_false_as_long_as_one_part_does() {
        let soon = Timestamp::from_second(100).unwrap();
        let later = Timestamp::from_second(200).unwrap();
        let at = |truth, until| Timed { truth, until };
        assert_eq!(at(Truth::False, soon).and(at(Truth::False, later)).until, later);
        assert_eq!(at(Truth::False, later).and(at(Truth::True, soon)).until, later);
        assert_eq!(at(Truth::True, later).and(at(Truth::True, soon)).until, soon);
        assert_eq!(at(U, later).and(at(Truth::True, soon)).until, soon);
    }
}
