//! Sets of small integers, made for intersecting: bits in blocks of 64, with a summary that skips empty blocks.

/// An immutable set of slots. [`SparseSet::word`] costs two reads and a population count, whatever the set's size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SparseSet {
    /// One bit a block: whether the block has any slot.
    summary: Box<[u64]>,
    /// For each summary word, how many blocks come before it.
    ranks: Box<[u32]>,
    /// The blocks that have slots, in order.
    words: Box<[u64]>,
}

impl SparseSet {
    /// The set of these slots, in any order, with any duplicates.
    #[must_use]
    pub fn new(mut slots: Vec<u32>) -> Self {
        slots.sort_unstable();
        let mut summary: Vec<u64> = Vec::new();
        let mut words: Vec<u64> = Vec::new();
        let mut last_block = None;
        for slot in slots {
            let block = slot / 64;
            if last_block != Some(block) {
                let group = (block / 64) as usize;
                if summary.len() <= group {
                    summary.resize(group + 1, 0);
                }
                if let Some(bits) = summary.get_mut(group) {
                    *bits |= 1 << (block % 64);
                }
                words.push(0);
                last_block = Some(block);
            }
            if let Some(word) = words.last_mut() {
                *word |= 1 << (slot % 64);
            }
        }
        let mut before = 0;
        let ranks = summary
            .iter()
            .map(|bits| {
                let rank = before;
                before += bits.count_ones();
                rank
            })
            .collect();
        Self { summary: summary.into(), ranks, words: words.into() }
    }

    /// The bits of one block.
    #[inline]
    #[must_use]
    pub fn word(&self, block: u32) -> u64 {
        let group = (block / 64) as usize;
        let Some(&bits) = self.summary.get(group) else { return 0 };
        let bit = 1_u64 << (block % 64);
        if bits & bit == 0 {
            return 0;
        }
        let before = self.ranks.get(group).copied().unwrap_or_default() + (bits & (bit - 1)).count_ones();
        self.words.get(before as usize).copied().unwrap_or_default()
    }

    /// Which blocks of a group of 64 have slots: one bit a block.
    #[inline]
    #[must_use]
    pub fn summary(&self, group: u32) -> u64 {
        self.summary.get(group as usize).copied().unwrap_or_default()
    }

    /// The blocks below `end` and from `start` on that have slots, with their bits, in order.
    pub fn blocks(&self, start: u32, end: u32) -> impl Iterator<Item = (u32, u64)> + '_ {
        let groups = (start / 64)..end.div_ceil(64);
        groups.flat_map(move |group| {
            let bits = self.summary.get(group as usize).copied().unwrap_or_default();
            Bits(bits).filter_map(move |bit| {
                let block = group * 64 + bit;
                (start <= block && block < end).then(|| (block, self.word(block)))
            })
        })
    }

    /// All slots, in order.
    pub fn slots(&self) -> impl Iterator<Item = u32> + '_ {
        let end = u32::try_from(self.summary.len()).unwrap_or(u32::MAX / 64).saturating_mul(64);
        self.blocks(0, end).flat_map(|(block, word)| Bits(word).map(move |bit| block * 64 + bit))
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }
}

/// The set bits of a word, lowest first.
pub(super) struct Bits(pub(super) u64);

impl Iterator for Bits {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        if self.0 == 0 {
            return None;
        }
        let bit = self.0.trailing_zeros();
        self.0 &= self.0 - 1;
        Some(bit)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_was_put_in_and_nothing_else(slots in proptest::collection::vec(0_u32..20_000, 0..200)) {
            let set = SparseSet::new(slots.clone());
            let expected: BTreeSet<u32> = slots.into_iter().collect();
            prop_assert_eq!(set.slots().collect::<Vec<_>>(), expected.iter().copied().collect::<Vec<_>>());
            for slot in [0, 63, 64, 4095, 4096, 19_999] {
                prop_assert_eq!(set.word(slot / 64) >> (slot % 64) & 1 == 1, expected.contains(&slot));
            }
            let some: Vec<u32> = set.blocks(10, 70).map(|(block, _)| block).collect();
            prop_assert!(some.iter().all(|block| (10..70).contains(block)));
        }
    }
}
