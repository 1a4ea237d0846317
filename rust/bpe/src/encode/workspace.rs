//! The memory that encoding reuses from text to text.

use lslm_runtime::TokenId;

use crate::encode::cache::PieceCache;
use crate::encode::chunk::Chunk;
use crate::encode::new_pieces::NewPieces;
use crate::encode::scratch::Scratch;

/// The reusable memory of one encoding thread: a cache of pieces seen before, and scratch space.
///
/// It grows with use to about 17 MB. It may be used with any tokenizer, one after the other; the
/// cache is cleared when the tokenizer changes.
///
/// ```
/// use lslm_bpe::{Special, Tokenizer, Workspace};
///
/// # fn main() -> lslm_runtime::Result<()> {
/// # let bytes: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
/// # let pattern = lslm_bpe::pretokenize::Pattern::named("gpt2").unwrap();
/// let tokenizer = Tokenizer::new(&bytes, &[], pattern, &[])?;
/// let mut workspace = Workspace::new();
/// let mut ids = Vec::new();
/// for text in ["one", "two"] {
///     tokenizer.encode_into(text.as_bytes(), &Special::None, &mut workspace, &mut ids)?;
/// }
/// assert_eq!(ids.len(), 6);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Workspace {
    /// The number of the tokenizer that the cache is of.
    owner: u64,
    pub(crate) cache: PieceCache,
    pub(crate) chunk: Chunk,
    pub(crate) new_pieces: NewPieces,
    pub(crate) scratch: Scratch,
    /// The ids of new pieces.
    pub(crate) merged: Vec<TokenId>,
}

impl Workspace {
    /// Returns an empty workspace.
    pub fn new() -> Self {
        Self::default()
    }

    /// Prepares for texts of the tokenizer with the number `owner`.
    pub(crate) fn claim(&mut self, owner: u64) {
        if self.owner != owner {
            self.owner = owner;
            self.scratch = Scratch::default();
            self.cache.clear();
        } else if self.cache.is_full() {
            self.cache.clear();
        }
    }
}
