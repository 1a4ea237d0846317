//! Reads, checks and writes `manifest.json`, the list of shards that makes a folder a dataset.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use lslm_runtime::files::write_atomically;
use lslm_runtime::hex::from_hex;
use lslm_runtime::{Error, Result, TokenId, hex};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::format::{VERSION, token_width};
use crate::shard::ShardSummary;

/// The name of the file that makes a folder a dataset.
pub const MANIFEST: &str = "manifest.json";
/// The name of the tokenizer's file in the folder.
pub const TOKENIZER: &str = "tokenizer.json";

/// The value of the member `format`.
const FORMAT: &str = "lslm-dataset";
/// Datasets in a folder that an error names, at most; `tokenize` writes two.
const MAX_NAMED: usize = 4;
/// The size of a manifest in bytes, at most. One of a million shards has about 200 MB.
const MAX_MANIFEST_BYTES: u64 = 1 << 30;

/// The content of `manifest.json`; `docs/format.md` describes each member.
///
/// ```
/// use lslm_dataset::{DocumentEnd, Manifest};
///
/// let mut manifest = Manifest::new(50_257);
/// manifest.document_end = DocumentEnd { eos: Some(50_256), bos: None };
/// assert_eq!(manifest.token_dtype, "uint16");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Always `"lslm-dataset"`.
    pub format: String,
    /// The version of the format.
    pub version: u32,
    /// The program that wrote it.
    pub created_by: String,
    /// The part of the documents: `"train"`, `"validation"`.
    pub split: Option<String>,
    /// The number of tokens of all shards.
    pub tokens: u64,
    /// The number of documents of all shards.
    pub documents: u64,
    /// Bytes of text of all shards; 0 if unknown.
    pub bytes: u64,
    /// Each id is below this.
    pub vocab_size: u32,
    /// `"uint16"` or `"uint32"`, by the size of the vocabulary.
    pub token_dtype: String,
    /// The tokenizer that the ids come from.
    pub tokenizer: TokenizerEntry,
    /// The ids that open and close each document.
    pub document_end: DocumentEnd,
    /// The fingerprint of the cleaning configuration, in hexadecimal; `None` if nothing was
    /// cleaned.
    pub clean: Option<String>,
    /// What was held out for validation; `None` if nothing was, or if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_out: Option<HoldOutEntry>,
    /// The names of the inputs; the source of a document is an index into this list.
    pub sources: Vec<String>,
    /// The shards, in order.
    pub shards: Vec<ShardEntry>,
}

/// The tokenizer, as the manifest names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenizerEntry {
    /// The name of its file in the dataset's folder.
    pub file: Option<String>,
    /// Its fingerprint, in hexadecimal.
    pub fingerprint: Option<String>,
}

/// The ids that open and close each document; both lie inside its span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentEnd {
    /// The last id of each document, if one was added.
    pub eos: Option<TokenId>,
    /// The first id of each document, if one was added.
    pub bos: Option<TokenId>,
}

/// What was held out for validation: the same entry in both parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HoldOutEntry {
    /// `"documents"` if whole documents were, `"stretches"` if parts of long ones were.
    pub by: String,
    /// The share of documents, or of bytes, that was asked for.
    pub fraction: f64,
    /// The seed of the choice.
    pub seed: u64,
    /// The number of documents with text in both parts.
    pub divided_documents: u64,
}

/// A shard, as the manifest lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardEntry {
    /// The name of its file in the dataset's folder.
    pub file: String,
    /// The number of the partition of the input that it was made from.
    pub partition: u64,
    /// The number of its tokens.
    pub tokens: u64,
    /// The number of its documents.
    pub documents: u64,
    /// Bytes of text of its documents; 0 if unknown.
    pub bytes: u64,
    /// The size of the file in bytes.
    pub size: u64,
    /// The SHA-256 of its header page, in hexadecimal.
    pub digest: String,
}

impl ShardEntry {
    /// Returns the entry of a finished shard of `partition`.
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

impl ShardEntry {
    /// Returns the line of the shard in the text that the fingerprint hashes.
    fn line(&self) -> String {
        format!("{} {} {}\n", self.tokens, self.documents, self.digest)
    }
}

/// Returns the file name of shard `index` of `partition`.
pub fn shard_name(partition: u64, index: u64) -> String {
    format!("part-{partition:06}-{index:03}.lslm")
}

impl Manifest {
    /// Returns a manifest without shards for a vocabulary of `vocab_size`; its other members are
    /// empty.
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
            hold_out: None,
            sources: Vec::new(),
            shards: Vec::new(),
        }
    }

    /// Appends a shard and adds its counts to the totals.
    pub fn push(&mut self, entry: ShardEntry) {
        self.tokens += entry.tokens;
        self.documents += entry.documents;
        self.bytes += entry.bytes;
        self.shards.push(entry);
    }

    /// Returns the hash that identifies the content: equal for equal tokens in equal shards,
    /// whatever their files are called.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut hash = self.first_line();
        for shard in &self.shards {
            hash.update(shard.line());
        }
        hash.finalize().into()
    }

    /// Returns, for the first 1, 2, … shards, their tokens and the fingerprint of a dataset that
    /// consists of them alone.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = (u64, [u8; 32])> {
        let (mut hash, mut tokens) = (self.first_line(), 0);
        self.shards.iter().map(move |shard| {
            hash.update(shard.line());
            tokens += shard.tokens; // no overflow: the totals were checked
            (tokens, hash.clone().finalize().into())
        })
    }

    /// Returns the hash of the first line of the fingerprint's text.
    fn first_line(&self) -> Sha256 {
        let or_dash = |id: Option<TokenId>| id.map_or("-".to_owned(), |id| id.to_string());
        Sha256::new_with_prefix(format!(
            "lslm-dataset-1\n{} {} {} {}\n",
            self.vocab_size,
            or_dash(self.document_end.eos),
            or_dash(self.document_end.bos),
            self.tokenizer.fingerprint.as_deref().unwrap_or("-"),
        ))
    }

    /// Reads and checks the manifest of `folder`, without the shards.
    ///
    /// A folder without one is an [`Error::Format`], and so is anything that `docs/format.md`
    /// refuses.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(MANIFEST);
        let file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && folder.is_dir() => {
                return Err(Error::format(folder, None, without_manifest(folder)));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
                let text = "this is a file; a dataset is a folder with a manifest.json";
                return Err(Error::format(folder, None, text));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::io(folder)(error));
            }
            file => file.map_err(Error::io(&path))?,
        };
        let mut text = Vec::new();
        file.take(MAX_MANIFEST_BYTES + 1).read_to_end(&mut text).map_err(Error::io(&path))?;
        if text.len() as u64 > MAX_MANIFEST_BYTES {
            return Err(Error::format(
                &path,
                MAX_MANIFEST_BYTES,
                "over 1 GiB: this is not a manifest",
            ));
        }
        Self::parse(&text, &path)
    }

    /// Parses and checks the manifest `text` of the file `path`.
    pub fn parse(text: &[u8], path: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct FormatMembers {
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
        // the version first: in a newer one, other members may have other types
        let members: FormatMembers = serde_json::from_slice(text).map_err(syntax)?;
        if members.format.as_deref() != Some(FORMAT) {
            return refuse(format!("not a manifest of a dataset: \"format\" is not \"{FORMAT}\""));
        }
        if members.version != Some(u64::from(VERSION)) {
            let found = members.version.map_or("missing".to_owned(), |version| version.to_string());
            let hint =
                if members.version > Some(u64::from(VERSION)) { "; update lslm" } else { "" };
            return refuse(format!("format version {found}, this lslm reads {VERSION}{hint}"));
        }
        let manifest: Self = serde_json::from_slice(text).map_err(syntax)?;
        match manifest.check() {
            Ok(()) => Ok(manifest),
            Err(reason) => refuse(reason),
        }
    }

    /// Checks every rule that needs no other file; the error is the reason to refuse the manifest.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.vocab_size == 0 {
            return Err("vocab_size is 0: it must be at least 1".into());
        }
        let dtype = dtype(self.vocab_size);
        if self.token_dtype != dtype {
            return Err(format!(
                "token_dtype is {:?}, which must be {dtype:?} for a vocabulary of {}",
                self.token_dtype, self.vocab_size
            ));
        }
        for id in [self.document_end.eos, self.document_end.bos].into_iter().flatten() {
            if id >= self.vocab_size {
                let n = self.vocab_size;
                return Err(format!("document_end has token {id} of {n}: ids must be below {n}"));
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
        self.check_shards()?;
        self.check_totals()
    }

    /// Checks names, digests and order of the shards.
    fn check_shards(&self) -> Result<(), String> {
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
                return Err(format!(
                    "shard {} is out of order: partitions must not decrease",
                    shard.file
                ));
            }
            previous = shard.partition;
        }
        Ok(())
    }

    /// Checks that the totals are the sums over the shards.
    fn check_totals(&self) -> Result<(), String> {
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
                return Err(format!("{stated} {name}, but the shards have {counted}"));
            }
        }
        Ok(())
    }

    /// Writes the manifest into `folder`. This step makes the folder a dataset, so it comes last.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(MANIFEST);
        self.check().map_err(|reason| Error::invalid(format!("{}: {reason}", path.display())))?;
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::invalid(format!("{}: {error}", path.display())))?;
        text.push('\n');
        write_atomically(path, text.as_bytes())
    }
}

/// Returns what is wrong with `folder`, which has no manifest: the datasets in it are named.
fn without_manifest(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut inner: Vec<String> = entries
        .map(|entry| entry.path())
        .filter(|path| path.join(MANIFEST).is_file())
        .map(|path| path.display().to_string())
        .collect();
    if inner.is_empty() {
        return "there is no manifest.json: this is not a dataset, or writing did not finish"
            .into();
    }
    inner.sort();
    let more = if inner.len() > MAX_NAMED { ", …" } else { "" };
    inner.truncate(MAX_NAMED);
    format!("this folder holds datasets and is none itself: open {}{more}", inner.join(" or "))
}

/// Returns the type of the stored ids of a vocabulary.
fn dtype(vocab_size: u32) -> &'static str {
    if token_width(vocab_size) == 2 { "uint16" } else { "uint32" }
}

/// Returns whether `name` is a file name without a folder, valid on every system.
fn is_plain_name(name: &str) -> bool {
    let special = |c: char| matches!(c, '/' | '\\' | ':') || c.is_control();
    !matches!(name, "" | "." | "..") && !name.contains(special)
}
