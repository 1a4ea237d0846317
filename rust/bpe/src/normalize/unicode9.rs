//! Characters whose normal form was defined after Unicode 9.0, which Hugging Face's tables stop at.
//!
//! In the normal forms of tokenizers 0.23.3, later characters neither decompose nor combine.
//! Unicode never changes a normal form once defined, so the two versions differ only at these
//! characters. `tests/test_parity.py` compares every code point and names those that are missing
//! here.

/// The first and last of each range of characters later than Unicode 9.0 that have a decomposition,
/// are part of a composition, or have a combining class. Unassigned characters between them are
/// included.
const RANGES: &[(u32, u32)] = &[
    (0x558, 0x558),
    (0x58B, 0x58C),
    (0x5C8, 0x5C9),
    (0x7FD, 0x7FD),
    (0x897, 0x89F),
    (0x8CA, 0x8D3),
    (0x9FE, 0x9FE),
    (0xC3C, 0xC3C),
    (0xD3B, 0xD3C),
    (0xEBA, 0xEBA),
    (0x1715, 0x1715),
    (0x1ABF, 0x1AF0),
    (0x1DF6, 0x1DFA),
    (0x209D, 0x209F),
    (0x32FF, 0x32FF),
    (0xA7F1, 0xA7F4),
    (0xA82C, 0xA82C),
    (0xAB69, 0xAB69),
    (0x1_05C9, 0x1_05C9),
    (0x1_05D2, 0x1_05D2),
    (0x1_05DA, 0x1_05DA),
    (0x1_05E4, 0x1_05E4),
    (0x1_0781, 0x1_0785),
    (0x1_0787, 0x1_07B0),
    (0x1_07B2, 0x1_07BF),
    (0x1_0D24, 0x1_0D27),
    (0x1_0D69, 0x1_0D6D),
    (0x1_0EAB, 0x1_0EAC),
    (0x1_0ECB, 0x1_0ECF),
    (0x1_0EF0, 0x1_0EFB),
    (0x1_0EFD, 0x1_0EFF),
    (0x1_0F46, 0x1_0F50),
    (0x1_0F82, 0x1_0F85),
    (0x1_1070, 0x1_1070),
    (0x1_133B, 0x1_133B),
    (0x1_1382, 0x1_1385),
    (0x1_138B, 0x1_138B),
    (0x1_138E, 0x1_138E),
    (0x1_1390, 0x1_1391),
    (0x1_13B8, 0x1_13B8),
    (0x1_13BB, 0x1_13BB),
    (0x1_13C2, 0x1_13C2),
    (0x1_13C5, 0x1_13C5),
    (0x1_13C7, 0x1_13C9),
    (0x1_13CE, 0x1_13D0),
    (0x1_145E, 0x1_145E),
    (0x1_1839, 0x1_183A),
    (0x1_1930, 0x1_1930),
    (0x1_1935, 0x1_1935),
    (0x1_1938, 0x1_1938),
    (0x1_193D, 0x1_193E),
    (0x1_1943, 0x1_1943),
    (0x1_19E0, 0x1_19E0),
    (0x1_1A34, 0x1_1A34),
    (0x1_1A47, 0x1_1A47),
    (0x1_1A99, 0x1_1A99),
    (0x1_1D42, 0x1_1D42),
    (0x1_1D44, 0x1_1D45),
    (0x1_1D97, 0x1_1D97),
    (0x1_1F41, 0x1_1F42),
    (0x1_611E, 0x1_6129),
    (0x1_612F, 0x1_612F),
    (0x1_6D63, 0x1_6D63),
    (0x1_6D67, 0x1_6D6A),
    (0x1_6FF0, 0x1_6FF1),
    (0x1_B123, 0x1_B126),
    (0x1_CCD6, 0x1_CCF9),
    (0x1_D127, 0x1_D128),
    (0x1_D250, 0x1_D252),
    (0x1_D25B, 0x1_D25C),
    (0x1_D25F, 0x1_D25F),
    (0x1_D280, 0x1_D281),
    (0x1_D6A6, 0x1_D6A6),
    (0x1_DF95, 0x1_DF95),
    (0x1_DFCD, 0x1_DFFF),
    (0x1_E030, 0x1_E06D),
    (0x1_E08F, 0x1_E08F),
    (0x1_E130, 0x1_E136),
    (0x1_E2AE, 0x1_E2AE),
    (0x1_E2EC, 0x1_E2EF),
    (0x1_E4EC, 0x1_E4EF),
    (0x1_E5EE, 0x1_E5EF),
    (0x1_E6E3, 0x1_E6E3),
    (0x1_E6E6, 0x1_E6E6),
    (0x1_E6EE, 0x1_E6EF),
    (0x1_E6F5, 0x1_E6F5),
    (0x1_F16C, 0x1_F16C),
    (0x1_FBF0, 0x1_FBF9),
];

/// Returns whether `c` is unchanged by normal forms of Unicode 9.0 but not by those of today.
pub(crate) fn is_newer(c: char) -> bool {
    let index = RANGES.partition_point(|&(_, last)| last < c as u32);
    RANGES.get(index).is_some_and(|&(first, _)| first <= c as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_ascend_and_are_searched_right() {
        assert!(RANGES.is_sorted_by(|one, other| one.0 <= one.1 && one.1 < other.0));
        let count = ('\0'..=char::MAX).filter(|&c| is_newer(c)).count();
        assert_eq!(
            count,
            RANGES.iter().map(|(first, last)| (last - first + 1) as usize).sum::<usize>()
        );
        assert!(is_newer('\u{16FF0}') && !is_newer('\u{93C}') && !is_newer(char::MAX));
    }
}
