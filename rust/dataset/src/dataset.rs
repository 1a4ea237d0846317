//! Reads a dataset: documents, tokens, sources, ids.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lslm_runtime::{Error, Result, TokenId, hex};

use crate::bin_file::BinFile;
use crate::element::{Element, first_at_least};
use crate::format::{kind, token_width};
use crate::manifest::{Manifest, ShardEntry};
use crate::mapped_shard::{MappedShard, ShardReader};
use crate::shards::{ShardFiles, Shards};

/// Memory for reading tokens, reused from read to read.
#[derive(Debug, Default)]
pub(crate) struct ReadBuffers {
    /// What was read from one shard.
    part: Vec<u8>,
    /// Parts of several shards, joined.
    joined: Vec<u8>,
}

/// A dataset that is open for reading. Clones share the maps.
///
/// ```
/// use lslm_dataset::{Dataset, DatasetWriter, Manifest};
///
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("data");
/// let mut writer = DatasetWriter::create(&path, Manifest::new(50_000), 1 << 30)?;
/// let source = writer.source("notes.txt");
/// writer.push_document(&[17, 4_211, 0], 9, source, Some("first"))?;
/// writer.push_document(&[99, 0], 4, source, None)?;
/// writer.finish()?;
///
/// let dataset = Dataset::open(&path)?;
/// assert_eq!((dataset.n_documents(), dataset.n_tokens()), (2, 5));
/// assert_eq!(dataset.document::<u16>(0)?, [17, 4_211, 0]);
/// assert_eq!(dataset.tokens::<i64>(2, 4)?, [0, 99]);
/// assert_eq!(dataset.document_id(0)?.as_deref(), Some("first"));
/// # Ok::<(), lslm_runtime::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Dataset(Arc<DatasetInner>);

#[derive(Debug)]
struct DatasetInner {
    folder: PathBuf,
    manifest: Manifest,
    fingerprint: [u8; 32],
    /// Bytes of a stored id: 2 or 4.
    width: usize,
    shards: Shards,
    /// The first token of each shard in the dataset, then the number of tokens.
    token_starts: Vec<u64>,
    /// The first document of each shard in the dataset, then the number of documents.
    document_starts: Vec<u64>,
    /// The end of each document, if the shards do not have them.
    document_ends: Option<Vec<u64>>,
}

impl Dataset {
    /// Opens the dataset in `folder`: reads the manifest, and nothing else. A shard is opened, and
    /// its header page compared with the manifest, when it is first read.
    ///
    /// [`Error::Io`] for a missing file; [`Error::Format`], with file and byte, for everything that
    /// `docs/format.md` refuses.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let manifest = Manifest::read(folder)?;
        let shards = Shards::new(folder, manifest.shards.len());
        Ok(Self::new(folder, manifest, shards, None))
    }

    /// Opens token files of nanoGPT or llm.c, one after the other, as a dataset that is read where it
    /// lies.
    ///
    /// `vocab_size` is by default GPT-2's 50,257, for llm.c's Llama 3 128,256. With `eos`, the files
    /// are read once to find the documents that it closes; without it there are none. The files
    /// have no checksums; an id that is not below `vocab_size` is found when it is read.
    pub fn open_bin(
        paths: &[PathBuf],
        vocab_size: Option<u32>,
        eos: Option<TokenId>,
    ) -> Result<Self> {
        let bins = paths.iter().map(|path| BinFile::recognise(path)).collect::<Result<Vec<_>>>()?;
        let Some(first) = bins.first() else {
            return Err(Error::invalid("open_bin needs at least one file"));
        };
        let width = usize::from(first.width);
        let vocab_size = vocab_size.unwrap_or(if width == 2 { 50_257 } else { 128_256 });
        if let Some(other) = bins.iter().find(|bin| bin.width != first.width) {
            let text = format!("its tokens have {} bytes, those before {width}", other.width);
            return Err(Error::format(&other.path, 0, text));
        }
        if vocab_size == 0 || token_width(vocab_size) != width {
            return Err(Error::invalid(format!(
                "vocab_size = {vocab_size}: the tokens of {} have {width} bytes, choose {}",
                first.path.display(),
                if width == 2 { "1 to 65536" } else { "at least 65537" }
            )));
        }
        let mut manifest = Manifest::new(vocab_size);
        first.format.clone_into(&mut manifest.format);
        manifest.document_end.eos = eos;
        let mut ends = Vec::new();
        for bin in &bins {
            let own = eos.map_or_else(|| Ok(Vec::new()), |eos| bin.document_ends(eos))?;
            let before = manifest.tokens;
            manifest.push(ShardEntry {
                file: bin.path.display().to_string(),
                partition: 0,
                tokens: bin.n_tokens(),
                documents: own.len() as u64,
                bytes: 0,
                size: bin.size,
                digest: hex(&bin.digest),
            });
            ends.extend(own.into_iter().map(|end| before + end));
        }
        let folder = first.path.clone();
        Ok(Self::new(&folder, manifest, Shards::of_bins(bins), Some(ends)))
    }

    fn new(folder: &Path, manifest: Manifest, shards: Shards, ends: Option<Vec<u64>>) -> Self {
        let starts = |count: fn(&ShardEntry) -> u64| {
            let mut sum = 0;
            let ends = manifest.shards.iter().map(|shard| {
                sum += count(shard); // no overflow: the totals of the manifest were checked
                sum
            });
            std::iter::once(0).chain(ends).collect()
        };
        Self(Arc::new(DatasetInner {
            folder: folder.to_owned(),
            fingerprint: manifest.fingerprint(),
            width: token_width(manifest.vocab_size),
            token_starts: starts(|shard| shard.tokens),
            document_starts: starts(|shard| shard.documents),
            document_ends: ends,
            shards,
            manifest,
        }))
    }

    /// Opens every shard and checks its header page, so that a missing or damaged file is found
    /// before its turn; returns their number.
    pub fn check_shards(&self) -> Result<u64> {
        (0..self.n_shards()).try_for_each(|index| self.shard(index).map(drop))?;
        Ok(self.n_shards() as u64)
    }

    /// Returns the folder, as it was passed to [`open`](Self::open).
    pub fn folder(&self) -> &Path {
        &self.0.folder
    }

    /// Returns the manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// Returns the hash that identifies the content: [`Manifest::fingerprint`].
    pub fn fingerprint(&self) -> [u8; 32] {
        self.0.fingerprint
    }

    /// Returns the number of tokens.
    pub fn n_tokens(&self) -> u64 {
        self.0.manifest.tokens
    }

    /// Returns the number of documents.
    pub fn n_documents(&self) -> u64 {
        self.0.manifest.documents
    }

    /// Returns the bytes of text of all documents; 0 if unknown.
    pub fn n_bytes(&self) -> u64 {
        self.0.manifest.bytes
    }

    /// Returns the size of the vocabulary; each id is below it.
    pub fn vocab_size(&self) -> u32 {
        self.0.manifest.vocab_size
    }

    /// Returns the bytes of one id on disk: 2 or 4.
    pub fn token_width(&self) -> usize {
        self.0.width
    }

    /// Returns the path of the tokenizer's file, or `None` if the dataset has none.
    pub fn tokenizer_path(&self) -> Option<PathBuf> {
        self.0.manifest.tokenizer.file.as_ref().map(|file| self.0.folder.join(file))
    }

    pub(crate) fn n_shards(&self) -> usize {
        self.0.manifest.shards.len()
    }

    /// Returns shard `index`, which stays mapped as long as it is held.
    pub(crate) fn shard(&self, index: usize) -> Result<Arc<MappedShard>> {
        self.0.shards.get(&self.0.manifest, index)
    }

    /// Returns whether the dataset consists of token files of other programs, which have no
    /// checksums.
    pub fn is_bin(&self) -> bool {
        self.0.shards.are_bins()
    }

    /// Returns the positions of the tokens of document `index`.
    pub fn document_span(&self, index: u64) -> Result<Range<u64>> {
        if let Some(ends) = &self.0.document_ends {
            let index = self.checked(index)? as usize;
            return Ok(index.checked_sub(1).map_or(0, |before| ends[before])..ends[index]);
        }
        let (shard, index_in_shard, first_token) = self.locate(index)?;
        let span = shard.span(kind::DOCUMENT_ENDS, index_in_shard, shard.head.header.tokens)?;
        Ok(first_token + span.start..first_token + span.end)
    }

    /// Calls `visit` with the span of each document within the first `n_tokens` tokens, in order.
    pub(crate) fn visit_documents(
        &self,
        n_tokens: u64,
        mut visit: impl FnMut(Range<u64>) -> Result<()>,
    ) -> Result<()> {
        if let Some(ends) = &self.0.document_ends {
            let mut start = 0;
            for end in ends.iter().take_while(|end| **end <= n_tokens) {
                visit(start..*end)?;
                start = *end;
            }
            return Ok(());
        }
        for (index, first) in self.0.token_starts[..self.n_shards()].iter().enumerate() {
            if *first >= n_tokens {
                break;
            }
            let shard = self.shard(index)?;
            for document in 0..shard.head.header.documents {
                let tokens = shard.head.header.tokens;
                let span = shard.span(kind::DOCUMENT_ENDS, document, tokens)?;
                visit(first + span.start..first + span.end)?;
            }
        }
        Ok(())
    }

    /// Returns the document that has the token at `position`.
    pub fn document_at(&self, position: u64) -> Result<u64> {
        let n = self.n_tokens();
        if position >= n {
            let text = format!("token {position}: the dataset has {n} tokens");
            return Err(Error::invalid(text));
        }
        let DatasetInner { token_starts, document_starts, document_ends, .. } = &*self.0;
        if let Some(ends) = document_ends {
            return self.checked(ends.partition_point(|end| *end <= position) as u64);
        }
        let index = token_starts.partition_point(|first| *first <= position) - 1;
        let in_shard =
            self.shard(index)?.entry_after(kind::DOCUMENT_ENDS, position - token_starts[index]);
        Ok((document_starts[index] + in_shard).min(self.n_documents().saturating_sub(1)))
    }

    /// Returns the tokens of document `index`.
    pub fn document<T: Element>(&self, index: u64) -> Result<Vec<T>> {
        let span = self.document_span(index)?;
        self.tokens(span.start, span.end)
    }

    /// Returns the bytes of text of document `index`, or `None` if unknown.
    pub fn document_bytes(&self, index: u64) -> Result<Option<u64>> {
        let (shard, index_in_shard, _) = self.locate(index)?;
        Ok(shard.u64_element(kind::DOCUMENT_BYTES, index_in_shard))
    }

    /// Returns the source of document `index`, as an index into the manifest's list.
    pub fn source_index(&self, index: u64) -> Result<u32> {
        let (shard, index_in_shard, _) = self.locate(index)?;
        let Some(section) = shard.head.header.section(kind::DOCUMENT_SOURCES) else { return Ok(0) };
        let (elements, _) = shard.section_bytes(section).as_chunks::<4>();
        Ok(elements.get(index_in_shard as usize).map_or(0, |bytes| u32::from_le_bytes(*bytes)))
    }

    /// Returns the name of the source of document `index`, or `None` if the manifest lists no
    /// sources.
    pub fn source(&self, index: u64) -> Result<Option<&str>> {
        let source = self.source_index(index)? as usize;
        let sources = &self.0.manifest.sources;
        if sources.is_empty() && source == 0 {
            return Ok(None);
        }
        let name = sources.get(source).map(|name| Some(name.as_str()));
        name.ok_or_else(|| {
            let n = sources.len();
            let text = format!("document {index} has source {source}, the manifest lists {n}");
            Error::format(&self.0.folder, None, text)
        })
    }

    /// Returns the id of document `index`, or `None` if it has none.
    pub fn document_id(&self, index: u64) -> Result<Option<String>> {
        let (shard, index_in_shard, _) = self.locate(index)?;
        Ok(shard.document_id(index_in_shard)?.map(str::to_owned))
    }

    /// Returns `index`, which must be that of a document.
    fn checked(&self, index: u64) -> Result<u64> {
        let n = self.n_documents();
        if index < n {
            return Ok(index);
        }
        Err(Error::invalid(format!("document {index}: the dataset has {n} documents")))
    }

    /// Returns the shard of document `index`, the document's index in it, and the position of the
    /// shard's first token.
    fn locate(&self, index: u64) -> Result<(Arc<MappedShard>, u64, u64)> {
        let index = self.checked(index)?;
        let starts = &self.0.document_starts;
        let shard = starts.partition_point(|start| *start <= index) - 1;
        Ok((self.shard(shard)?, index - starts[shard], self.0.token_starts[shard]))
    }

    /// Returns the tokens at positions `start` to `stop`, across documents and shards.
    pub fn tokens<T: Element>(&self, start: u64, stop: u64) -> Result<Vec<T>> {
        let n = self.n_tokens();
        if start > stop || stop > n {
            return Err(Error::invalid(format!(
                "tokens {start} to {stop}: the dataset has {n} tokens; choose \
                 0 <= start <= stop <= {n}"
            )));
        }
        let mut tokens = vec![T::default(); (stop - start) as usize];
        self.read(start, &mut tokens)?;
        Ok(tokens)
    }

    /// Fills `out` with the tokens from position `start` on.
    ///
    /// [`Error::Invalid`] if the dataset ends before that, or if `T` is too narrow for its ids;
    /// [`Error::Format`], with file and byte, for an id that the vocabulary does not have.
    pub fn read<T: Element>(&self, start: u64, out: &mut [T]) -> Result<()> {
        let mut filled = 0;
        for (index, range) in self.ranges(start, out.len())? {
            let shard = self.shard(index)?;
            let count = range.len() / self.0.width;
            let bytes = shard.token_bytes(range);
            self.check_ids(start + filled as u64, bytes)?;
            self.widen(bytes, &mut out[filled..filled + count])?;
            filled += count;
        }
        Ok(())
    }

    /// Checks that the ids in `stored`, which begin at token `start`, are below
    /// [`vocab_size`](Self::vocab_size): beyond it, a lookup in an embedding fails without a file's
    /// name, on a GPU for the whole process.
    pub(crate) fn check_ids(&self, start: u64, stored: &[u8]) -> Result<()> {
        match first_at_least(self.vocab_size(), self.0.width, stored) {
            None => Ok(()),
            Some(index) => Err(self.foreign_id(start + index as u64)),
        }
    }

    /// Returns the error for token `position`, whose id the vocabulary does not have.
    #[cold]
    fn foreign_id(&self, position: u64) -> Error {
        let DatasetInner { width, token_starts: starts, .. } = &*self.0;
        let index = starts.partition_point(|first| *first <= position) - 1;
        let shard = match self.shard(index) {
            Ok(shard) => shard,
            Err(error) => return error,
        };
        let byte = (position - starts[index]) as usize * width;
        let stored = shard.token_bytes(byte..byte + width);
        let id = stored.iter().rev().fold(0, |id, byte| (id << 8) | u32::from(*byte));
        Error::format(
            &shard.head.path,
            (shard.head.tokens.start + byte) as u64,
            format!(
                "token {position} of the dataset has id {id}, the vocabulary has {}: the file is \
                 damaged; copy it again or write the dataset again",
                self.vocab_size()
            ),
        )
    }

    /// Fills `out` with the ids that `bytes` stores.
    pub(crate) fn widen<T: Element>(&self, bytes: &[u8], out: &mut [T]) -> Result<()> {
        let fits = if self.0.width == 2 {
            T::from_narrow(bytes.as_chunks().0, out)
        } else {
            T::from_wide(bytes.as_chunks().0, out)
        };
        if fits {
            Ok(())
        } else {
            Err(Error::invalid("ids of 32 bits do not fit in 16: read them as u32 or i64"))
        }
    }

    /// Checks the checksums of all blocks that overlap the `count` tokens from `start` on, each
    /// block only the first time.
    pub fn check(&self, start: u64, count: usize) -> Result<()> {
        let mut ranges = self.ranges(start, count)?;
        ranges.try_for_each(|(index, range)| ShardReader::Map(&*self.shard(index)?).check(range))
    }

    /// Calls `convert` with the `count` tokens from `start` on as they are stored.
    ///
    /// They come from the map; or from `buffers`, if `files` are given or the tokens lie in several
    /// shards. With `check`, the checksums of their blocks are checked first.
    pub(crate) fn with_stored<R>(
        &self,
        start: u64,
        count: usize,
        check: bool,
        mut files: Option<&mut ShardFiles>,
        buffers: &mut ReadBuffers,
        convert: impl FnOnce(&[u8]) -> Result<R>,
    ) -> Result<R> {
        let DatasetInner { manifest, width, shards, .. } = &*self.0;
        buffers.joined.clear();
        for (index, range) in self.ranges(start, count)? {
            let mapped;
            let shard = if let Some(files) = &mut files {
                ShardReader::File(files.get(shards, manifest, index)?)
            } else {
                mapped = self.shard(index)?;
                ShardReader::Map(&mapped)
            };
            if check {
                shard.check(range.clone())?;
            }
            let first = shard.head().tokens.start;
            let part = shard.read(first + range.start..first + range.end, &mut buffers.part)?;
            if range.len() == count * width {
                return convert(part);
            }
            buffers.joined.extend_from_slice(part);
        }
        convert(&buffers.joined)
    }

    /// Returns the shards that hold the `count` tokens from `start` on, each with the range of its
    /// tokens in bytes.
    fn ranges(
        &self,
        start: u64,
        count: usize,
    ) -> Result<impl Iterator<Item = (usize, Range<usize>)>> {
        let n = self.n_tokens();
        let stop = start.checked_add(count as u64).filter(|stop| *stop <= n).ok_or_else(|| {
            Error::invalid(format!("{count} tokens from {start} on: the dataset has {n} tokens"))
        })?;
        let DatasetInner { width, token_starts: starts, .. } = &*self.0;
        let first = starts.partition_point(|first| *first <= start).saturating_sub(1);
        let indices = (first..self.n_shards()).take_while(move |&shard| starts[shard] < stop);
        Ok(indices.map(move |index| {
            let from = start.max(starts[index]) - starts[index];
            let to = stop.min(starts[index + 1]) - starts[index];
            (index, from as usize * width..to as usize * width)
        }))
    }
}
