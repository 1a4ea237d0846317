//! Rows of whole documents, planned once from their lengths.
//!
//! ```text
//! documents   0: 3 tokens   1: 14 tokens   2: 5 tokens      T = 9, so a row has 10
//! pieces      0  ·  1, tokens 0 to 10  ·  1, tokens 9 to 14  ·  2
//! rows        0 2 +2 padding  ·  1  ·  1 (its end) +5       best fit
//! ```
//!
//! A document that is longer than a row is cut into pieces that share a token, as neighbouring
//! windows do: each of its tokens but the first is a target once. A piece takes 8 bytes and a row 4,
//! so 10^8 documents less than 1 GB; while they are planned 24 bytes a piece.

use std::ops::Range;

use lslm_runtime::{Error, Result, Task};

use crate::best_fit::{MAX_CAPACITY, best_fit};
use crate::dataset::Dataset;
use crate::order::Order;
use crate::packing::Packing;
use crate::windows::Epoch;

/// Bits of a piece that hold its number of tokens; the others hold its first token.
const LENGTH_BITS: u32 = 20;

/// A document, or a part of one, in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece(u64);

impl Piece {
    /// Returns the piece of `length` tokens from `start` on, or `None` if it does not fit.
    fn new(start: u64, length: u64) -> Option<Self> {
        let fits = start < 1 << (u64::BITS - LENGTH_BITS) && length < 1 << LENGTH_BITS;
        fits.then_some(Self(start << LENGTH_BITS | length))
    }

    /// Returns the position of its first token in the dataset.
    pub(crate) fn start(self) -> u64 {
        self.0 >> LENGTH_BITS
    }

    /// Returns its number of tokens.
    pub(crate) fn len(self) -> usize {
        (self.0 & ((1 << LENGTH_BITS) - 1)) as usize
    }

    fn has(self, span: &Range<u64>) -> bool {
        self.start() < span.end && span.start < self.start() + self.len() as u64
    }
}

/// The rows of a dataset, of at most T + 1 tokens each.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PackedRows {
    packing: Packing,
    /// The tokens of the dataset whose documents these are.
    n_tokens: u64,
    /// T.
    length: u64,
    /// The pieces of all rows, one row after the other.
    pieces: Vec<Piece>,
    /// For each row, the number of pieces up to its end.
    ends: Vec<u32>,
    /// The counts of [`PackingCounts`] that do not follow from the others.
    n_cut: u64,
    left_out: u64,
}

/// What packing came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PackingCounts {
    /// Rows of a pass.
    pub n_rows: u64,
    /// Places of these rows, of T + 1 each, that no token fills.
    pub n_padding: u64,
    /// Documents that are cut because they are longer than a row.
    pub n_cut: u64,
}

impl PackedRows {
    /// Returns the rows of the documents within the first `n_tokens` tokens of `dataset`, of
    /// `length` + 1 tokens each.
    ///
    /// [`Error::Invalid`] for a dataset without documents and for a `length` that is too large.
    pub(crate) fn new(
        dataset: &Dataset,
        n_tokens: u64,
        length: u64,
        packing: Packing,
        task: &Task,
    ) -> Result<Self> {
        let capacity = u32::try_from(length + 1).ok().filter(|capacity| *capacity <= MAX_CAPACITY);
        let Some(capacity) = capacity else {
            return Err(Error::invalid(format!(
                "sequence_length = {length}: with packing {:?} it must be below {MAX_CAPACITY}",
                packing.name()
            )));
        };
        task.begin("read documents", "documents", Some(dataset.n_documents()));
        let (mut pieces, mut n_cut, mut covered) = (Vec::new(), 0, 0);
        dataset.visit_documents(n_tokens, |span| {
            n_cut += u64::from(span.end - span.start > u64::from(capacity));
            covered += span.end - span.start;
            push_pieces(dataset, &mut pieces, span, capacity)?;
            task.advance(1)
        })?;
        if pieces.is_empty() {
            return Err(Error::invalid(format!(
                "{}: packing = {:?} needs documents, and this dataset has none; files of nanoGPT \
                 and llm.c have them with eos_id=",
                dataset.folder().display(),
                packing.name()
            )));
        }
        let (pieces, ends) = match packing {
            Packing::BestFit => in_rows(&pieces, capacity, task)?,
            Packing::Document | Packing::Concat => {
                let ends = (1..=pieces.len() as u32).collect();
                (pieces, ends)
            }
        };
        Ok(Self { packing, n_tokens, length, pieces, ends, n_cut, left_out: n_tokens - covered })
    }

    /// Returns whether these are the rows of `length` + 1 tokens of the first `n_tokens` tokens.
    pub(crate) fn is_of(&self, n_tokens: u64, length: u64, packing: Packing) -> bool {
        (self.n_tokens, self.length, self.packing) == (n_tokens, length, packing)
    }

    /// Returns the packing.
    pub(crate) fn packing(&self) -> Packing {
        self.packing
    }

    /// Returns T, the number of targets of a row, those of padding included.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Returns the number of tokens of the dataset.
    pub(crate) fn n_tokens(&self) -> u64 {
        self.n_tokens
    }

    /// Returns how many tokens are in no document.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Returns the number of rows.
    pub(crate) fn n_rows(&self) -> u64 {
        self.ends.len() as u64
    }

    /// Returns the counts.
    pub(crate) fn counts(&self) -> PackingCounts {
        let n_stored: u64 = self.pieces.iter().map(|piece| piece.len() as u64).sum();
        PackingCounts {
            n_rows: self.n_rows(),
            n_padding: self.n_rows() * (self.length + 1) - n_stored,
            n_cut: self.n_cut,
        }
    }

    /// Returns the pieces of row `row`, in the order of the documents.
    pub(crate) fn row(&self, row: u64) -> &[Piece] {
        let row = row as usize;
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.pieces[start as usize..self.ends[row] as usize]
    }

    /// Returns the rows that have one of the tokens of `span`, ascending.
    pub(crate) fn rows_of(&self, span: &Range<u64>) -> impl Iterator<Item = u64> {
        let has = |row: &u64| self.row(*row).iter().any(|piece| piece.has(span));
        (0..self.n_rows()).filter(has)
    }

    /// Returns pass `number` over the rows: [`Epoch::start`] is the number of a row.
    pub(crate) fn epoch(&self, number: u64, seed: u64, stream: u64, shuffle: bool) -> Epoch {
        let order = shuffle.then(|| Order::new(self.n_rows(), seed, number, stream));
        Epoch::of_rows(number, self.n_rows(), order)
    }
}

/// Appends the pieces of the document `span`: itself, or the parts of one that is longer than a
/// row.
fn push_pieces(
    dataset: &Dataset,
    pieces: &mut Vec<Piece>,
    span: Range<u64>,
    capacity: u32,
) -> Result<()> {
    let (mut start, capacity) = (span.start, u64::from(capacity));
    while start < span.end {
        let length = capacity.min(span.end - start);
        let piece = Piece::new(start, length).filter(|_| pieces.len() < u32::MAX as usize - 1);
        pieces.push(piece.ok_or_else(|| {
            Error::invalid(format!(
                "{}: at most 2^44 tokens and 2^32 pieces of documents can be packed; divide the \
                 dataset",
                dataset.folder().display()
            ))
        })?);
        if start + length == span.end {
            break;
        }
        start += capacity - 1; // the last token of a piece is the first of the next one
    }
    Ok(())
}

/// Returns `pieces` sorted by row, and the number of pieces up to the end of each row.
fn in_rows(pieces: &[Piece], capacity: u32, task: &Task) -> Result<(Vec<Piece>, Vec<u32>)> {
    task.begin("pack documents", "pieces", Some(pieces.len() as u64));
    let lengths: Vec<u32> = pieces.iter().map(|piece| piece.len() as u32).collect();
    let (row_of, n_rows) = best_fit(&lengths, capacity, task)?;
    drop(lengths);
    let mut ends = vec![0_u32; n_rows as usize];
    for row in &row_of {
        ends[*row as usize] += 1;
    }
    let mut sum = 0;
    for end in &mut ends {
        let count = std::mem::replace(end, sum);
        sum += count;
    }
    // `ends` are the starts now, and become the ends as the rows are filled
    let mut sorted = vec![Piece(0); pieces.len()];
    for (piece, row) in pieces.iter().zip(&row_of) {
        let at = &mut ends[*row as usize];
        sorted[*at as usize] = *piece;
        *at += 1;
    }
    Ok((sorted, ends))
}
