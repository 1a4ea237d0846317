//! The bytes that both forms of the search test together.

/// Bytes that are tested together. A character of the block may end in the two bytes after it.
pub(super) const BLOCK: usize = 64;
/// Bytes of a block and of the characters that begin in it, as far as they are tested.
pub(super) const WINDOW: usize = BLOCK + 2;
