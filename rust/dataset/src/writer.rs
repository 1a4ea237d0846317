//! Writes a whole dataset from one stream of documents.

use std::path::{Path, PathBuf};

use lslm_runtime::files::remove_leftovers;
use lslm_runtime::hex::from_hex;
use lslm_runtime::lock::FolderLock;
use lslm_runtime::{Error, Result, TokenId};

use crate::manifest::{MANIFEST, Manifest, ShardEntry, shard_name};
use crate::shard::{ShardOptions, ShardWriter};

/// Removes the shards in a folder that has no manifest.
fn remove_shards(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("part-") && path.extension().is_some_and(|end| end == "lslm") {
            std::fs::remove_file(&path).map_err(Error::io(&path))?;
        }
    }
    Ok(())
}

/// Writes a whole dataset from one stream of documents, in shards of bounded size.
///
/// The folder is locked meanwhile, and must not hold a dataset. Files that a killed writer left
/// there are removed.
///
/// ```
/// use lslm_dataset::{DatasetWriter, Manifest};
///
/// let folder = tempfile::tempdir().unwrap();
/// let mut writer = DatasetWriter::create(folder.path(), Manifest::new(1000), 1 << 30)?;
/// let source = writer.source("notes.txt");
/// writer.push_document(&[5, 7, 999], 12, source, None)?;
/// let manifest = writer.finish()?;
/// assert_eq!((manifest.documents, manifest.tokens, manifest.bytes), (1, 3, 12));
/// # Ok::<(), lslm_runtime::Error>(())
/// ```
#[derive(Debug)]
pub struct DatasetWriter {
    folder: PathBuf,
    manifest: Manifest,
    options: ShardOptions,
    shard_bytes: u64,
    open: Option<ShardWriter>,
    lock: FolderLock,
}

impl DatasetWriter {
    /// Starts a dataset in `folder`. `template` is its manifest without shards and totals; a shard
    /// that has reached `shard_bytes` is followed by a new one.
    pub fn create(
        folder: impl Into<PathBuf>,
        template: Manifest,
        shard_bytes: u64,
    ) -> Result<Self> {
        let folder = folder.into();
        template.check().map_err(Error::Invalid)?;
        let lock = FolderLock::acquire(&folder)?;
        if folder.join(MANIFEST).exists() {
            return Err(Error::invalid(format!(
                "{}: holds a dataset already; choose another folder or delete this one",
                folder.display()
            )));
        }
        remove_leftovers(&folder)?;
        remove_shards(&folder)?;
        let tokenizer = template.tokenizer.fingerprint.as_deref().and_then(from_hex);
        let options = ShardOptions { vocab_size: template.vocab_size, tokenizer };
        Ok(Self { folder, manifest: template, options, shard_bytes, open: None, lock })
    }

    /// Returns the index of the source `name` in the manifest's list, to which a new name is
    /// appended.
    pub fn source(&mut self, name: &str) -> u32 {
        let sources = &mut self.manifest.sources;
        // documents of one source follow each other, so search from the end
        let known = sources.iter().rposition(|source| source == name);
        known.unwrap_or_else(|| {
            sources.push(name.to_owned());
            sources.len() - 1
        }) as u32
    }

    /// Appends a document; see [`ShardWriter::push_document`].
    pub fn push_document(
        &mut self,
        tokens: &[TokenId],
        n_bytes: u64,
        source: u32,
        id: Option<&str>,
    ) -> Result<()> {
        if source as usize >= self.manifest.sources.len().max(1) {
            let n = self.manifest.sources.len();
            return Err(Error::invalid(format!("source {source}: the manifest lists {n}")));
        }
        if self.open.as_ref().is_some_and(|shard| shard.size() >= self.shard_bytes) {
            self.finish_shard()?;
        }
        if self.open.is_none() {
            let name = shard_name(0, self.manifest.shards.len() as u64);
            self.open = Some(ShardWriter::create(self.folder.join(name), self.options)?);
        }
        match &mut self.open {
            Some(shard) => shard.push_document(tokens, n_bytes, source, id),
            None => Ok(()),
        }
    }

    fn finish_shard(&mut self) -> Result<()> {
        if let Some(shard) = self.open.take() {
            self.manifest.push(ShardEntry::new(0, &shard.finish()?));
        }
        Ok(())
    }

    /// Finishes the last shard and writes the manifest.
    pub fn finish(mut self) -> Result<Manifest> {
        self.finish_shard()?;
        self.manifest.write(&self.folder)?;
        self.lock.release()?;
        Ok(self.manifest)
    }
}
