//! The list of shards that makes a folder a dataset, and the writer of such folders.

use std::collections::HashSet;
use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use lslm_runtime::files::{remove_leftovers, write_atomically};
use lslm_runtime::hex::from_hex;
use lslm_runtime::lock::FolderLock;
use lslm_runtime::{Error, Result, hex};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::TokenId;
use crate::format::{VERSION, token_width};
use crate::shard::{ShardOptions, ShardSummary, ShardWriter};

/// The name of the file that makes a folder a dataset.
pub const MANIFEST: &str = "manifest.json";
/// The name of the tokenizer's file in the folder.
pub const TOKENIZER: &str = "tokenizer.json";

const FORMAT: &str = "lslm-dataset";
/// A manifest of a million shards has some 200 MB.
const LARGEST: u64 = 1 << 30;

/// What `manifest.json` says; `docs/format.md` describes each member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Always `"lslm-dataset"`.
    pub format: String,
    /// The version of the format.
    pub version: u32,
    /// The program that wrote it.
    pub created_by: String,
    /// Which part of the documents this is: `"train"`, `"validation"`.
    pub split: Option<String>,
    /// Tokens of all shards.
    pub tokens: u64,
    /// Documents of all shards.
    pub documents: u64,
    /// Bytes of text of all shards; 0 if not known.
    pub bytes: u64,
    /// Each id is below this.
    pub vocab_size: u32,
    /// `"uint16"` or `"uint32"`, which follows from the size of the vocabulary.
    pub token_dtype: String,
    /// The tokenizer that made the ids.
    pub tokenizer: TokenizerEntry,
    /// What opens and closes each document.
    pub document_end: DocumentEnd,
    /// The fingerprint of the cleaning configuration, in hexadecimal.
    pub clean: Option<String>,
    /// The names of the inputs; the documents' sources are places in this list.
    pub sources: Vec<String>,
    /// The shards, in order.
    pub shards: Vec<ShardEntry>,
}

/// The tokenizer, as the manifest has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenizerEntry {
    /// Its file in the dataset's folder.
    pub file: Option<String>,
    /// Its fingerprint, in hexadecimal.
    pub fingerprint: Option<String>,
}

/// The ids that close and open each document, inside its span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentEnd {
    /// The last id of each document, if one was added.
    pub eos: Option<TokenId>,
    /// The first id of each document, if one was added.
    pub bos: Option<TokenId>,
}

/// A shard, as the manifest has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardEntry {
    /// Its name in the dataset's folder.
    pub file: String,
    /// Of which part of the input it was made.
    pub partition: u64,
    /// Its tokens.
    pub tokens: u64,
    /// Its documents.
    pub documents: u64,
    /// Bytes of text of its documents; 0 if not known.
    pub bytes: u64,
    /// The size of the file in bytes.
    pub size: u64,
    /// The SHA-256 of its header page, in hexadecimal.
    pub digest: String,
}

impl ShardEntry {
    /// The entry for a finished shard of `partition`.
    pub fn new(partition: u64, summary: &ShardSummary) -> Self {
        Self {
            file: summary.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            partition,
            tokens: summary.tokens,
            documents: summary.documents,
            bytes: summary.text_bytes,
            size: summary.size,
            digest: hex(&summary.digest),
        }
    }
}

/// The name of shard `index` of `partition`.
pub fn shard_name(partition: u64, index: u64) -> String {
    format!("part-{partition:06}-{index:03}.lslm")
}

impl Manifest {
    /// A manifest without shards, for a vocabulary of `vocab_size`; the other members are empty.
    pub fn new(vocab_size: u32) -> Self {
        Self {
            format: FORMAT.into(),
            version: VERSION,
            created_by: format!("lslm {}", env!("CARGO_PKG_VERSION")),
            split: None,
            tokens: 0,
            documents: 0,
            bytes: 0,
            vocab_size,
            token_dtype: dtype(vocab_size).into(),
            tokenizer: TokenizerEntry::default(),
            document_end: DocumentEnd::default(),
            clean: None,
            sources: Vec::new(),
            shards: Vec::new(),
        }
    }

    /// Adds a shard behind the others, and its counts to the totals.
    pub fn push(&mut self, entry: ShardEntry) {
        self.tokens += entry.tokens;
        self.documents += entry.documents;
        self.bytes += entry.bytes;
        self.shards.push(entry);
    }

    /// Identifies the content: equal for equal tokens in equal shards, wherever they lie.
    pub fn fingerprint(&self) -> [u8; 32] {
        let or_dash = |id: Option<TokenId>| id.map_or("-".to_owned(), |id| id.to_string());
        let mut text = format!(
            "lslm-dataset-1\n{} {} {} {}\n",
            self.vocab_size,
            or_dash(self.document_end.eos),
            or_dash(self.document_end.bos),
            self.tokenizer.fingerprint.as_deref().unwrap_or("-"),
        );
        for shard in &self.shards {
            // a String takes everything
            let _ = writeln!(text, "{} {} {}", shard.tokens, shard.documents, shard.digest);
        }
        Sha256::digest(text).into()
    }

    /// Reads and checks the manifest of `folder`; the shards are not looked at.
    ///
    /// A folder without one is an [`Error::Format`] that says so; so is anything that
    /// `docs/format.md` refuses.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(MANIFEST);
        let file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && folder.is_dir() => {
                return Err(Error::format(
                    folder,
                    None,
                    "no manifest.json: not a dataset, or one whose writing did not finish",
                ));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
                let text = "a file; a dataset is a folder with a manifest.json";
                return Err(Error::format(folder, None, text));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::io(folder)(error));
            }
            file => file.map_err(Error::io(&path))?,
        };
        let mut text = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut text).map_err(Error::io(&path))?;
        if text.len() as u64 > LARGEST {
            return Err(Error::format(&path, LARGEST, "over 1 GiB; not a manifest"));
        }
        Self::parse(&text, &path)
    }

    /// Checks the manifest `text`, of the file `path`.
    pub fn parse(text: &[u8], path: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Kind {
            format: Option<String>,
            version: Option<u64>,
        }
        let refuse = |reason: String| Err(Error::format(path, None, reason));
        let syntax = |error: serde_json::Error| {
            let before: usize = text
                .split(|byte| *byte == b'\n')
                .take(error.line().saturating_sub(1))
                .map(|l| l.len() + 1)
                .sum();
            let at = (error.line() > 0).then(|| (before + error.column().saturating_sub(1)) as u64);
            Error::format(path, at, format!("not a manifest of a dataset: {error}"))
        };
        // first what it is: a newer version may have members of other types
        let kind: Kind = serde_json::from_slice(text).map_err(syntax)?;
        if kind.format.as_deref() != Some(FORMAT) {
            return refuse(format!("not a manifest of a dataset: \"format\" is not \"{FORMAT}\""));
        }
        if kind.version != Some(u64::from(VERSION)) {
            let found = kind.version.map_or("missing".to_owned(), |version| version.to_string());
            let hint = if kind.version > Some(1) { "; update lslm" } else { "" };
            return refuse(format!("format version {found}, {VERSION} can be read{hint}"));
        }
        let manifest: Self = serde_json::from_slice(text).map_err(syntax)?;
        match manifest.check() {
            Ok(()) => Ok(manifest),
            Err(reason) => refuse(reason),
        }
    }

    fn check(&self) -> Result<(), String> {
        if self.vocab_size == 0 {
            return Err("vocab_size is 0".into());
        }
        let dtype = dtype(self.vocab_size);
        if self.token_dtype != dtype {
            return Err(format!(
                "token_dtype {:?}, which must be {dtype:?} for {} tokens",
                self.token_dtype, self.vocab_size
            ));
        }
        for id in [self.document_end.eos, self.document_end.bos].into_iter().flatten() {
            if id >= self.vocab_size {
                return Err(format!("document_end has token {id} of {}", self.vocab_size));
            }
        }
        for text in [&self.tokenizer.fingerprint, &self.clean].into_iter().flatten() {
            if from_hex(text).is_none() {
                return Err(format!("fingerprint {text:?} is not 64 hexadecimal digits"));
            }
        }
        if let Some(file) = self.tokenizer.file.as_ref().filter(|file| !is_plain_name(file)) {
            return Err(format!("tokenizer file {file:?} is not a plain name"));
        }
        let mut names = HashSet::new();
        let mut previous = 0;
        for shard in &self.shards {
            if !is_plain_name(&shard.file) {
                return Err(format!("shard {:?} is not a plain name", shard.file));
            }
            if !names.insert(&shard.file) {
                return Err(format!("shard {:?} is listed twice", shard.file));
            }
            if from_hex(&shard.digest).is_none() {
                return Err(format!("digest of {} is not 64 hexadecimal digits", shard.file));
            }
            if shard.partition < previous {
                return Err(format!("shard {} is out of order", shard.file));
            }
            previous = shard.partition;
        }
        let sum = |count: fn(&ShardEntry) -> u64| {
            self.shards.iter().try_fold(0_u64, |sum, shard| sum.checked_add(count(shard)))
        };
        let totals = [
            ("tokens", self.tokens, sum(|shard| shard.tokens)),
            ("documents", self.documents, sum(|shard| shard.documents)),
            ("bytes", self.bytes, sum(|shard| shard.bytes)),
        ];
        for (name, stated, counted) in totals {
            if counted != Some(stated) {
                let counted = counted.map_or("over 64 bits".into(), |sum| sum.to_string());
                return Err(format!("{stated} {name}, but those of the shards are {counted}"));
            }
        }
        Ok(())
    }

    /// Writes the manifest into `folder`: the step that makes it a dataset, so the last one.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(MANIFEST);
        self.check().map_err(|reason| Error::invalid(format!("{}: {reason}", path.display())))?;
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::invalid(format!("{}: {error}", path.display())))?;
        text.push('\n');
        write_atomically(path, text.as_bytes())
    }
}

fn dtype(vocab_size: u32) -> &'static str {
    if token_width(vocab_size) == 2 { "uint16" } else { "uint32" }
}

fn is_plain_name(name: &str) -> bool {
    let special = |c: char| matches!(c, '/' | '\\' | ':') || c.is_control();
    !matches!(name, "" | "." | "..") && !name.contains(special)
}

/// Removes the shards in a folder that never became a dataset.
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

/// Writes a whole dataset from one stream of documents, cut into shards of bounded size.
///
/// The folder is locked while it is written and must not hold a dataset. What a killed writer left
/// there is removed.
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
    /// Begins a dataset in `folder`. `template` has everything but shards and totals; a new shard
    /// is begun once one has reached `shard_bytes`.
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

    /// The place in the manifest's list of the source `name`, which is added if it is new.
    pub fn source(&mut self, name: &str) -> u32 {
        let sources = &mut self.manifest.sources;
        // sources come in runs, so the last ones are looked at first
        let known = sources.iter().rposition(|source| source == name);
        known.unwrap_or_else(|| {
            sources.push(name.to_owned());
            sources.len() - 1
        }) as u32
    }

    /// Adds a document; see [`ShardWriter::push_document`].
    pub fn push_document(
        &mut self,
        tokens: &[TokenId],
        n_bytes: u64,
        source: u32,
        id: Option<&str>,
    ) -> Result<()> {
        if source as usize >= self.manifest.sources.len().max(1) {
            let text = format!("source {source}: there are {}", self.manifest.sources.len());
            return Err(Error::invalid(text));
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
