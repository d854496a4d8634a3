//! What an evaluation costs at worst, as a polynomial of the length of the longest list.

use super::MAX_MACRO_NESTING;

/// Each nested macro multiplies by the length, and so may what stands in the innermost.
const DEGREES: usize = 2 * MAX_MACRO_NESTING + 2;

/// The coefficients, the constant first; in steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Cost([u64; DEGREES]);

impl Cost {
    /// The same for lists of any length.
    pub(super) fn constant(steps: u64) -> Self {
        let mut cost = Self::default();
        if let Some(first) = cost.0.first_mut() {
            *first = steps;
        }
        cost
    }

    /// One step for each element.
    pub(super) fn linear() -> Self {
        Self::constant(1).for_each_element()
    }

    pub(super) fn plus(mut self, other: Self) -> Self {
        for (mine, others) in self.0.iter_mut().zip(other.0) {
            *mine = mine.saturating_add(others);
        }
        self
    }

    /// As often as a list has elements. What passes the highest degree stays in it, and is beyond any bound anyway.
    pub(super) fn for_each_element(self) -> Self {
        let mut shifted = Self::default();
        for (to, from) in shifted.0.iter_mut().skip(1).zip(self.0) {
            *to = from;
        }
        if let (Some(to), Some(from)) = (shifted.0.last_mut(), self.0.last()) {
            *to = to.saturating_add(from.saturating_mul(u64::from(u32::MAX)));
        }
        shifted
    }

    pub(super) fn times(mut self, count: u64) -> Self {
        for coefficient in &mut self.0 {
            *coefficient = coefficient.saturating_mul(count);
        }
        self
    }

    /// The steps for lists of this length.
    pub(super) fn at(&self, length: u64) -> u64 {
        self.0
            .iter()
            .rev()
            .fold(0_u64, |sum, coefficient| sum.saturating_mul(length).saturating_add(*coefficient))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_grows_with_the_lists_as_often_as_they_are_nested() {
        let twice = Cost::constant(3).plus(Cost::linear()).for_each_element().plus(Cost::constant(7));
        assert_eq!(twice.at(0), 7);
        assert_eq!(twice.at(10), 100 + 30 + 7);
        assert_eq!(twice.times(2).at(10), 274);
        let deep = (0..20).fold(Cost::constant(1), |cost, _| cost.for_each_element());
        assert_eq!(deep.at(100), u64::MAX);
    }
}
