//! Reads the samples of a plan.

use std::sync::Arc;

use lslm_runtime::{Error, Result};

use crate::dataset::{Dataset, ReadBuffers};
use crate::element::Element;
use crate::mixture::MixtureBlock;
use crate::plan::{Access, Plan, PlanOptions, SamplePosition};
use crate::shards::ShardFiles;
use crate::stream::UnitTokens;
use crate::windows::Epoch;

/// A target that is not counted, as torch's `ignore_index` is by default.
pub const IGNORE: i64 = -100;

/// Bytes of files that [`Access::Auto`] reads through maps, at most: maps are fastest, but their
/// pages count as this process's memory.
const MAX_MAPPED_BYTES: u64 = 256 << 20;

/// Reads samples of a [`Plan`]. Consecutive samples share the mixture's block, the epochs' orders
/// and open files, so a reader is kept.
#[derive(Debug)]
pub struct SampleReader {
    plan: Arc<Plan>,
    /// The start of the segment of the last sample of a mixture, and its block.
    block: Option<(u64, MixtureBlock)>,
    /// For each stream, the epoch of its last sample.
    epochs: Vec<Option<Epoch>>,
    /// Open files, if they are too large to be read through their maps.
    files: Option<ShardFiles>,
    buffers: ReadBuffers,
    /// A row of T + 1 tokens, for pairs of packed rows.
    row: Vec<i64>,
}

/// A sample that was found.
#[derive(Clone, Debug)]
pub(crate) struct FoundSample {
    pub(crate) position: SamplePosition,
    pub(crate) tokens: UnitTokens,
    mask_borders: bool,
}

impl Plan {
    /// Returns a reader of the sequence.
    pub fn reader(self: &Arc<Self>) -> SampleReader {
        let shards = self.sources().iter().flat_map(|source| &source.manifest().shards);
        let by_call = match self.options().access {
            Access::Auto => shards.map(|shard| shard.size).sum::<u64>() > MAX_MAPPED_BYTES,
            Access::Map => false,
            Access::Call => true,
        };
        SampleReader {
            plan: Arc::clone(self),
            block: None,
            epochs: vec![None; self.streams.len()],
            files: by_call.then(ShardFiles::default),
            buffers: ReadBuffers::default(),
            row: Vec::new(),
        }
    }
}

impl SampleReader {
    /// Returns the sequence that is read.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Returns the position of sample `sample`.
    ///
    /// [`Error::Invalid`] if its dataset was not given, or if it has another length.
    pub fn locate(&mut self, sample: u64) -> Result<SamplePosition> {
        Ok(self.find(sample)?.position)
    }

    /// Finds sample `sample`; the errors are those of [`locate`](Self::locate).
    pub(crate) fn find(&mut self, sample: u64) -> Result<FoundSample> {
        let plan = &*self.plan;
        let segment = plan.segment_of(sample);
        let (member, ordinal) = match &segment.mixture {
            None => (0, sample - segment.from),
            Some(mixture) => {
                let from = segment.from;
                let block = self.block.take_if(|(f, b)| *f == from && b.contains(sample - from));
                let block = block.unwrap_or_else(|| (from, mixture.block_of(sample - from)));
                self.block.insert(block).1.locate(sample - from)
            }
        };
        let (index, parts) = (segment.members[member], segment.parts);
        let stream = &plan.streams[index];
        let unit = segment.cursors[index].unit(ordinal / parts);
        let located = stream.samples.locate(unit, &mut self.epochs[index]);
        let (Some(source), Some((epoch, tokens))) = (stream.dataset, located) else {
            return Err(Error::invalid(format!(
                "sample {sample} is of source {:?}, which this loader was not given",
                stream.name
            )));
        };
        let length = plan.options().sequence_length;
        if segment.sequence_length != length as u64 {
            return Err(Error::invalid(format!(
                "sample {sample} has sequence_length = {}, this loader {length}",
                segment.sequence_length
            )));
        }
        let (start, tokens) = match tokens {
            UnitTokens::From(start) => {
                let start = start + ordinal % parts * segment.sequence_length;
                (start, UnitTokens::From(start))
            }
            UnitTokens::Row(rows, row) => (rows.row(row)[0].start(), UnitTokens::Row(rows, row)),
        };
        let position = SamplePosition { source, epoch, start };
        Ok(FoundSample { position, tokens, mask_borders: segment.mask_borders })
    }

    /// Fills `inputs` with the first T tokens of a sample, and `targets` with the last T, or
    /// [`IGNORE`] for padding and masked borders.
    ///
    /// [`Error::Format`] names file and byte of an id that the vocabulary does not have.
    pub fn fill_pair(
        &mut self,
        sample: u64,
        inputs: &mut [i64],
        targets: &mut [i64],
    ) -> Result<()> {
        let found = self.find(sample)?;
        if let UnitTokens::From(start) = found.tokens {
            let width = self.plan.token_width();
            self.read(found.position.source, start, inputs.len() + 1, |dataset, bytes| {
                dataset.widen(&bytes[..bytes.len() - width], inputs)?;
                dataset.widen(&bytes[width..], targets)
            })?;
        } else {
            let mut row = std::mem::take(&mut self.row);
            row.resize(inputs.len() + 1, 0);
            let filled = self.fill(&found, &mut row);
            inputs.copy_from_slice(&row[..inputs.len()]);
            targets.copy_from_slice(&row[1..]);
            self.row = row;
            filled?;
        }
        self.visit_ignored(&found, |target| targets[target] = IGNORE)
    }

    /// Fills `row` with the T + 1 tokens of a sample. Of a packed row that the documents do not fill,
    /// the rest is the id that ends documents, or 0.
    pub fn fill_row<T: Element>(&mut self, sample: u64, row: &mut [T]) -> Result<()> {
        let found = self.find(sample)?;
        self.fill(&found, row)
    }

    /// Fills `tokens` with rows of `length` + 1 tokens, the samples from `first` on, and `ignored`
    /// with the targets that are not counted, numbered through all rows: padding and, if the segment
    /// masks borders, the first token of a document after the end of another one.
    pub(crate) fn fill_rows<T: Element>(
        &mut self,
        first: u64,
        tokens: &mut [T],
        length: usize,
        ignored: &mut Vec<i64>,
    ) -> Result<()> {
        for (index, row) in tokens.chunks_exact_mut(length + 1).enumerate() {
            let found = self.find(first + index as u64)?;
            self.fill(&found, row)?;
            self.visit_ignored(&found, |target| ignored.push((index * length + target) as i64))?;
        }
        Ok(())
    }

    fn fill<T: Element>(&mut self, found: &FoundSample, row: &mut [T]) -> Result<()> {
        let source = found.position.source;
        let (rows, number) = match &found.tokens {
            UnitTokens::From(start) => {
                return self
                    .read(source, *start, row.len(), |dataset, bytes| dataset.widen(bytes, row));
            }
            UnitTokens::Row(rows, number) => (rows, *number),
        };
        let mut filled = 0;
        for piece in rows.row(number) {
            let part = &mut row[filled..filled + piece.len()];
            self.read(source, piece.start(), piece.len(), |dataset, bytes| {
                dataset.widen(bytes, part)
            })?;
            filled += piece.len();
        }
        if filled < row.len() {
            let dataset = &self.plan.sources()[source];
            let id = dataset.manifest().document_end.eos.unwrap_or(0).to_le_bytes();
            dataset.widen(&id[..dataset.token_width()], &mut row[filled..=filled])?;
            let padding = row[filled];
            row[filled..].fill(padding);
        }
        Ok(())
    }

    /// Calls `visit` with each target of a sample that is not counted, ascending.
    fn visit_ignored(&self, found: &FoundSample, mut visit: impl FnMut(usize)) -> Result<()> {
        let length = self.plan.options().sequence_length;
        match &found.tokens {
            UnitTokens::From(start) if found.mask_borders => {
                let dataset = &self.plan.sources()[found.position.source];
                visit_borders(dataset, *start, length, visit)
            }
            UnitTokens::From(_) => Ok(()),
            UnitTokens::Row(rows, number) => {
                let mut filled = 0;
                for piece in rows.row(*number) {
                    if found.mask_borders && filled > 0 {
                        visit(filled - 1);
                    }
                    filled += piece.len();
                }
                (filled..=length).for_each(|token| visit(token - 1));
                Ok(())
            }
        }
    }

    /// Calls `convert` with the `count` tokens from `start` on of a source, as they are stored.
    fn read(
        &mut self,
        source: usize,
        start: u64,
        count: usize,
        convert: impl FnOnce(&Dataset, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let dataset = &self.plan.sources()[source];
        let PlanOptions { verify, .. } = self.plan.options();
        let (files, buffers) = (self.files.as_mut(), &mut self.buffers);
        dataset.with_stored(start, count, verify, files, buffers, |bytes| {
            dataset.check_ids(start, bytes)?;
            convert(dataset, bytes)
        })
    }
}

/// Calls `visit` with i where token `start` + 1 + i begins a document, for each i below `length`.
fn visit_borders(
    dataset: &Dataset,
    start: u64,
    length: usize,
    mut visit: impl FnMut(usize),
) -> Result<()> {
    if dataset.n_documents() == 0 {
        return Ok(());
    }
    let (mut index, mut last) = (dataset.document_at(start)?, start);
    while index < dataset.n_documents() {
        let end = dataset.document_span(index)?.end;
        if end > start + length as u64 {
            break;
        }
        if end > last {
            visit((end - start - 1) as usize);
            last = end;
        }
        index += 1;
    }
    Ok(())
}
