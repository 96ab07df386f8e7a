//! Chance by a seed: the same seed plays the same run.

/// Numbers that follow from a seed (SplitMix64).
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// From a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`, or 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let most = u64::try_from(limit).unwrap_or(u64::MAX);
        mixed.checked_rem(most).and_then(|number| usize::try_from(number).ok()).unwrap_or(0)
    }

    /// Whether something of that many in a thousand comes about.
    pub fn strikes(&mut self, in_a_thousand: usize) -> bool {
        self.below(1_000) < in_a_thousand
    }
}
