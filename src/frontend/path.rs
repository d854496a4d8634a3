//! Where something stands in an object: built on the way down, and written only where something is wrong.

use std::fmt;

/// How long a path is at most that a client is told, in bytes; keys can be as long as a body.
const MAX_SHOWN_BYTES: usize = 1_024;

/// A place in an object, as `spec.containers[0].name`.
#[derive(Debug, Clone, Copy)]
pub(in crate::frontend) enum Path<'a> {
    /// The object itself.
    Root,
    /// A field of it.
    Field(&'a Self, &'a str),
    /// An item of a list.
    Item(&'a Self, usize),
}

impl Path<'_> {
    /// As it is told: cut where it is too long.
    pub(in crate::frontend) fn shown(&self) -> String {
        let mut shown = self.to_string();
        shown.truncate(shown.floor_char_boundary(MAX_SHOWN_BYTES));
        shown
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => write!(to, "{name}"),
            Self::Field(parent, name) => write!(to, "{parent}.{name}"),
            Self::Item(parent, nth) => write!(to, "{parent}[{nth}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_written_as_in_messages_and_no_longer_than_one_reads() {
        let list = Path::Field(&Path::Root, "spec");
        let containers = Path::Field(&list, "containers");
        let item = Path::Item(&containers, 3);
        assert_eq!(Path::Field(&item, "name").shown(), "spec.containers[3].name");
        let long = "ä".repeat(MAX_SHOWN_BYTES);
        assert_eq!(Path::Field(&Path::Root, &long).shown().len(), MAX_SHOWN_BYTES);
    }
}
