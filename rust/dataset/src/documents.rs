//! Which documents the rows of a batch come from.

use lslm_runtime::{Error, Result};

use crate::dataset::Dataset;
use crate::reader::SampleReader;
use crate::stream::UnitTokens;

/// The documents of the rows of a batch.
///
/// ```text
/// row           … the end . A whole one . The begin        (three documents, T = 11)
/// ids           7 7 7 7   8 8 8 8       9 9 9
/// positions     0 1 2 3   0 1 2 3       0 1 2
/// boundaries    0         4             8       11
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Documents {
    /// For each input, the number of its document in its dataset; −1 for padding.
    pub ids: Vec<i64>,
    /// For each input, its position in the part of the document that the row has.
    pub positions: Vec<i32>,
    /// Where each document, part of one, or padding begins among the inputs of all rows; then their
    /// number.
    pub boundaries: Vec<i32>,
    /// For each row, the index of its dataset.
    pub sources: Vec<i32>,
    /// For each row, the position of its first token in the dataset.
    pub starts: Vec<i64>,
}

impl SampleReader {
    /// Returns the documents of the `rows` samples from `first` on.
    pub fn documents(&mut self, first: u64, rows: usize) -> Result<Documents> {
        let length = self.plan().options().sequence_length;
        let mut documents = Documents::default();
        for sample in first..first + rows as u64 {
            let found = self.find(sample)?;
            let position = found.position;
            documents.sources.push(position.source as i32);
            documents.starts.push(position.start as i64);
            let dataset = &self.plan().sources()[position.source];
            let row_end = documents.ids.len() + length;
            match found.tokens {
                UnitTokens::From(start) => documents.push_tokens(dataset, start, length)?,
                UnitTokens::Row(rows, row) => {
                    for piece in rows.row(row) {
                        let count = piece.len().min(row_end - documents.ids.len());
                        documents.push_tokens(dataset, piece.start(), count)?;
                    }
                }
            }
            if documents.ids.len() < row_end {
                documents.push_part(-1, row_end - documents.ids.len());
            }
        }
        documents.boundaries.push(documents.ids.len() as i32);
        Ok(documents)
    }
}

impl Documents {
    /// Appends `length` inputs, the tokens of `dataset` from `start` on.
    fn push_tokens(&mut self, dataset: &Dataset, start: u64, length: usize) -> Result<()> {
        let stop = start + length as u64;
        let mut at = start;
        let mut index = dataset.document_at(start)?;
        while at < stop {
            let span = dataset.document_span(index)?;
            if span.contains(&at) {
                let n = span.end.min(stop) - at;
                self.push_part(index as i64, n as usize);
                at += n;
            } else if !span.is_empty() {
                let text = format!("document {index} does not contain token {at}");
                return Err(Error::format(dataset.folder(), None, text));
            }
            index += 1;
        }
        Ok(())
    }

    /// Appends `n` inputs of document `id`.
    fn push_part(&mut self, id: i64, n: usize) {
        self.boundaries.push(self.ids.len() as i32);
        self.ids.resize(self.ids.len() + n, id);
        self.positions.extend(0..n as i32);
    }
}
