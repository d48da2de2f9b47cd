//! Shares of requests, exactly.

use serde::{Deserialize, Serialize};

/// So many of so many: `{1, 200}` is half a per cent. The numerator is at most the denominator, which is not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fraction {
    /// How many.
    pub numerator: u32,
    /// Of how many.
    pub denominator: u32,
}

impl Fraction {
    /// All.
    pub const ALL: Self = Self { numerator: 1, denominator: 1 };

    /// A share of a hundred.
    pub const fn percent(percent: u32) -> Self {
        Self { numerator: percent, denominator: 100 }
    }

    /// A share given in millionths, such as per cent with four decimals, in lowest terms.
    pub fn millionths(millionths: u32) -> Self {
        let (mut a, mut b) = (1_000_000, millionths);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        Self { numerator: millionths / a, denominator: 1_000_000 / a }
    }

    /// Whether it is a share at all: not more than everything, and of something.
    pub fn is_valid(self) -> bool {
        self.denominator > 0 && self.numerator <= self.denominator
    }

    /// Whether a request is in the share; `draw` is evenly drawn from all `u64`.
    pub fn takes(self, draw: u64) -> bool {
        let denominator = u64::from(self.denominator.max(1));
        draw % denominator < u64::from(self.numerator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn millionths_are_reduced() {
        assert_eq!(Fraction::millionths(5_000), Fraction { numerator: 1, denominator: 200 });
        assert_eq!(Fraction::millionths(1_000_000), Fraction::ALL);
        assert_eq!(Fraction::millionths(0), Fraction { numerator: 0, denominator: 1 });
    }

    #[test]
    fn a_share_takes_exactly_its_part_of_all_draws() {
        let taken = |share: Fraction| (0..1000).filter(|draw| share.takes(*draw)).count();
        assert_eq!(taken(Fraction::millionths(5_000)), 5);
        assert_eq!(taken(Fraction::ALL), 1000);
        assert_eq!(taken(Fraction::percent(0)), 0);
    }
}
