//! The rules that may speak of a request: the intersection of what each of its dimensions accepts.

use smallvec::SmallVec;

use super::ast::Effect;
use super::sparse::{Bits, SparseSet};

/// How many sets a union of one dimension has at most; where more would be needed the dimension does not narrow.
pub(super) const MOST_SETS: usize = 6;

/// A range of blocks of 64 slots.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Blocks {
    pub(super) start: u32,
    pub(super) end: u32,
}

/// The slots that accept one value of one dimension.
#[derive(Debug, Clone, Copy)]
pub(super) enum Accepts<'a> {
    /// All of them: the dimension does not narrow.
    All,
    /// These.
    One(&'a SparseSet),
    /// The union of the first `len` of these.
    Union { sets: [&'a SparseSet; MOST_SETS], len: usize },
}

/// What is accepted in every dimension but the subject's.
pub(super) type Dimensions<'a> = [Accepts<'a>; 4];

/// What accepts an action: for either effect where to look, and what each dimension but the subject's accepts.
#[derive(Debug, Clone, Copy)]
pub struct Accepted<'a> {
    pub(super) deny: (Blocks, Dimensions<'a>),
    pub(super) allow: (Blocks, Dimensions<'a>),
}

/// Where candidates are looked for: in the union of these sets, which are values of the subject dimension. It allocates
/// only beyond sixteen: everyone, the user, the directory's groups, and those of the asserted groups that policies name.
pub type Drivers<'a> = SmallVec<[&'a SparseSet; 16]>;

/// Candidates, in order.
struct Candidates<'a, 'b> {
    dimensions: &'b Dimensions<'a>,
    /// `None`: whoever asks.
    drivers: Option<&'b [&'a SparseSet]>,
    blocks: Blocks,
    /// The next group of 64 blocks.
    group: u32,
    /// The blocks of the group before it that are left.
    summary: u64,
    /// The block that was looked at last, and its slots that are left.
    block: u32,
    word: u64,
}

impl<'a> Accepted<'a> {
    /// The candidates of an effect among the drivers' slots, in order, each once.
    pub fn candidates<'b>(
        &'b self,
        effect: Effect,
        drivers: &'b [&'a SparseSet],
    ) -> impl Iterator<Item = u32> + use<'a, 'b> {
        self.search(effect, Some(drivers))
    }

    /// All slots of an effect that accept the action, whoever asks.
    pub fn all(&self, effect: Effect) -> impl Iterator<Item = u32> + use<'a, '_> {
        self.search(effect, None)
    }

    /// Whether there is any candidate among these slots.
    #[must_use]
    pub fn meets(&self, slots: &'a SparseSet) -> bool {
        [Effect::Deny, Effect::Allow]
            .into_iter()
            .any(|effect| self.candidates(effect, &[slots]).next().is_some())
    }

    fn search<'b>(&'b self, effect: Effect, drivers: Option<&'b [&'a SparseSet]>) -> Candidates<'a, 'b> {
        let (blocks, dimensions) = match effect {
            Effect::Deny => &self.deny,
            Effect::Allow => &self.allow,
        };
        let group = blocks.start / 64;
        Candidates { dimensions, drivers, blocks: *blocks, group, summary: 0, block: 0, word: 0 }
    }
}

impl Iterator for Candidates<'_, '_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        loop {
            if let Some(bit) = pop(&mut self.word) {
                return Some(self.block * 64 + bit);
            }
            if let Some(bit) = pop(&mut self.summary) {
                self.block = (self.group - 1) * 64 + bit;
                self.word = self.word_of(self.block);
            } else if self.group * 64 < self.blocks.end {
                self.summary = self.summary_of(self.group) & self.blocks.within(self.group);
                self.group += 1;
            } else {
                return None;
            }
        }
    }
}

impl Candidates<'_, '_> {
    /// The slots of a block that are candidates.
    #[inline]
    fn word_of(&self, block: u32) -> u64 {
        let accepted = self.intersect(|accepts| accepts.word(block));
        match self.drivers {
            Some(drivers) if accepted != 0 => {
                accepted & drivers.iter().fold(0, |word, driver| word | driver.word(block))
            }
            _ => accepted,
        }
    }

    /// The blocks of a group in which there may be candidates.
    #[inline]
    fn summary_of(&self, group: u32) -> u64 {
        let accepted = self.intersect(|accepts| accepts.summary(group));
        match self.drivers {
            Some(drivers) if accepted != 0 => {
                accepted & drivers.iter().fold(0, |word, driver| word | driver.summary(group))
            }
            _ => accepted,
        }
    }

    #[inline]
    fn intersect(&self, of: impl Fn(&Accepts<'_>) -> u64) -> u64 {
        let mut word = u64::MAX;
        for accepts in self.dimensions {
            if word == 0 {
                break;
            }
            word &= of(accepts);
        }
        word
    }
}

impl Blocks {
    /// Which blocks of a group of 64 are in the range.
    #[inline]
    fn within(self, group: u32) -> u64 {
        let below = |end: u32| match end.saturating_sub(group * 64) {
            bits @ 0..64 => (1_u64 << bits) - 1,
            _ => u64::MAX,
        };
        below(self.end) & !below(self.start)
    }
}

impl Accepts<'_> {
    #[inline]
    fn word(&self, block: u32) -> u64 {
        match self {
            Self::All => u64::MAX,
            Self::One(set) => set.word(block),
            Self::Union { sets, len } => sets.iter().take(*len).fold(0, |word, set| word | set.word(block)),
        }
    }

    #[inline]
    fn summary(&self, group: u32) -> u64 {
        match self {
            Self::All => u64::MAX,
            Self::One(set) => set.summary(group),
            Self::Union { sets, len } => {
                sets.iter().take(*len).fold(0, |word, set| word | set.summary(group))
            }
        }
    }
}

#[inline]
fn pop(word: &mut u64) -> Option<u32> {
    Bits(*word).next().inspect(|_| *word &= *word - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_blocks_is_cut_out_of_its_groups() {
        let all = |blocks: Blocks| -> Vec<u32> {
            (0..4).flat_map(|group| Bits(blocks.within(group)).map(move |bit| group * 64 + bit)).collect()
        };
        for (start, end) in [(0, 0), (0, 1), (3, 64), (64, 65), (60, 130), (0, 256), (128, 192)] {
            assert_eq!(all(Blocks { start, end }), (start..end).collect::<Vec<_>>());
        }
    }
}
