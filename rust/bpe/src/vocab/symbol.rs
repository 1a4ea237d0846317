//! Tokens as the engines number them, and merges.

use lslm_runtime::TokenId;

/// A token's number inside the engines.
///
/// The 256 bytes come first, then the results of the merges in the order of their ranks, so what a
/// merge produces is mostly its rank plus 256. Symbols and ranks have 21 bits.
pub(crate) type Symbol = u32;

/// Stands for "no symbol" and "no rank".
pub(crate) const NONE: u32 = u32::MAX;

/// A pair of adjacent tokens and the token that replaces both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merge {
    /// The token on the left.
    pub left: TokenId,
    /// The token on the right.
    pub right: TokenId,
    /// The token with the bytes of both.
    pub result: TokenId,
}
