//! Numbers that look drawn and follow from a place: for samples that anyone can draw again.

/// The finaliser of `SplitMix64` (Steele, Lea and Flood 2014): every bit of the place decides every bit.
#[must_use]
pub const fn mixed(place: u64) -> u64 {
    let mut x = place.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

#[cfg(test)]
mod tests {
    use super::mixed;

    /// The first values of the published generator from state 1234567.
    #[test]
    fn the_values_are_those_of_the_published_generator() {
        let state = |at: u64| 1_234_567_u64.wrapping_add(at.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let values: Vec<u64> = (0..3).map(|at| mixed(state(at))).collect();
        assert_eq!(values, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }
}
