//! What the benchmarks share: the texts, and how long to measure.
//!
//! Each benchmark checks the result of what it times, once, before it is timed. The texts are the
//! real corpora of `../shared/data` (or `LSLM_DATA`) where they are present, and always code: the
//! sources of the crates that cargo keeps on every machine that builds this project.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use criterion::Criterion;
use lslm_bpe::Tokenizer;
use lslm_bpe::pretokenize::Pattern;
use lslm_bpe::train::{TrainOptions, WordCounter, train};
use lslm_corpus::{Document, DocumentWriter, WriteOptions};
use lslm_runtime::Task;

// The tables that `table_jobs.rs` compares are private to lslm-bpe, so their source files are compiled
// into this library, in modules of the same names: lslm-bpe needs no feature and no hidden module for
// it. Not into the bench itself, which cargo compiles with `cfg(test)`.
#[path = "../../rust/bpe/src/pages.rs"]
mod pages;
#[path = "../../rust/bpe/src/prefetch.rs"]
mod prefetch;

#[path = "../../rust/bpe/src/vocab"]
#[allow(dead_code)]
mod vocab {
    pub(crate) mod hash;
    pub(crate) mod key_index;
    pub(crate) mod merge_table;
    pub(crate) mod pair_ranks;
    pub(crate) mod piece_key;
    pub(crate) mod symbol;
    pub(crate) mod vocabulary;
}

#[path = "../../rust/bpe/src/encode"]
#[allow(dead_code)]
mod encode {
    pub(crate) mod boundary;
    pub(crate) mod cache;
    pub(crate) mod char3;
    pub(crate) mod chunk;
    pub(crate) mod merge;
    pub(crate) mod merge_tree;
    pub(crate) mod prefix;
    pub(crate) mod rank_rule;

    #[path = "../../../../benches/rust/piece_cache_job.rs"]
    pub(crate) mod job;
}

/// The loops of the encoder around a table of hashbrown's.
#[path = "."]
#[allow(dead_code)]
mod encode_hashbrown {
    #[path = "hashbrown_cache.rs"]
    pub(crate) mod cache;
    #[path = "../../rust/bpe/src/encode/chunk.rs"]
    pub(crate) mod chunk;
    #[path = "piece_cache_job.rs"]
    pub(crate) mod job;
}

/// The loops of the encoder around a list that a table of hashbrown's is the index of.
#[path = "."]
#[allow(dead_code)]
mod encode_hashbrown_list {
    #[path = "hashbrown_list_cache.rs"]
    pub(crate) mod cache;
    #[path = "../../rust/bpe/src/encode/chunk.rs"]
    pub(crate) mod chunk;
    #[path = "piece_cache_job.rs"]
    pub(crate) mod job;
}

#[path = "../../rust/bpe/src/train"]
#[allow(dead_code)]
mod train {
    mod hot_words;
    mod pair_counts;
    mod word_table;

    #[path = "../../../../benches/rust/train_table_jobs.rs"]
    pub(crate) mod jobs;
}

mod table_corpus;
pub mod table_jobs;

/// How much text of each kind is used, in bytes.
const TOTAL: usize = 8 << 20;
/// About how long a document is, in bytes.
const DOCUMENT: usize = 4096;

/// Documents of one kind.
pub struct Texts {
    /// english, chinese or code.
    pub name: &'static str,
    /// The documents, cut at line ends.
    pub documents: Vec<String>,
}

impl Texts {
    /// Bytes of all documents.
    pub fn size(&self) -> u64 {
        self.documents.iter().map(|text| text.len() as u64).sum()
    }
}

/// The folder of the larger real corpora.
pub(crate) fn data_folder() -> PathBuf {
    std::env::var_os("LSLM_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        PathBuf::from,
    )
}

/// Every kind of text that is on this machine.
pub fn texts() -> Vec<Texts> {
    let real = [("english", "english/novels.txt.zst"), ("chinese", "chinese/modern_prose.txt.zst")];
    let mut all = vec![Texts { name: "code", documents: documents(&sources()) }];
    all.extend(real.into_iter().filter_map(|(name, path)| read(name, path)));
    all
}

/// Text of dozens of languages and scripts, if it is on this machine.
pub(crate) fn many_languages() -> Option<Texts> {
    read("many languages", "multilingual/many_languages.txt.zst")
}

/// Returns the text of the file `path` of the data folder; `None` where it is missing.
fn read(name: &'static str, path: &str) -> Option<Texts> {
    let file = fs::File::open(data_folder().join(path)).ok()?;
    let bytes = zstd::decode_all(file).expect("a whole zstd file");
    let text = String::from_utf8(bytes).expect("UTF-8");
    Some(Texts { name, documents: documents(&text) })
}

/// Sources of the crates in cargo's registry, and of this project, in the order of their paths.
fn sources() -> String {
    let cargo = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = std::env::home_dir().map(|home| home.join(".cargo"));
    let registry = cargo.or(home).unwrap_or_default().join("registry/src");
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rust");
    let mut text = String::new();
    let mut folders = vec![own, registry];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && let Ok(source) = fs::read_to_string(&path)
            {
                text.push_str(&source);
            }
            if text.len() >= TOTAL {
                return text;
            }
        }
    }
    text
}

/// `text` in documents, cut at line ends.
fn documents(text: &str) -> Vec<String> {
    let mut documents = Vec::new();
    let mut document = String::new();
    let mut total = 0;
    for line in text.split_inclusive('\n') {
        document.push_str(line);
        if document.len() >= DOCUMENT {
            total += document.len();
            documents.push(std::mem::take(&mut document));
            if total >= TOTAL {
                return documents;
            }
        }
    }
    documents.push(document);
    documents
}

/// Writes `texts` to the file `path`, whose extension says how.
pub fn write(texts: &Texts, path: &Path) {
    let mut writer = DocumentWriter::create(path, WriteOptions::default()).expect("a new file");
    for text in &texts.documents {
        writer.write(&Document::new(text.clone())).expect("room on the disk");
    }
    writer.finish().expect("room on the disk");
}

/// A tokenizer of `vocab_size` tokens that was learned from `texts`.
pub fn learned(texts: &Texts, vocab_size: usize) -> Tokenizer {
    let pattern = Pattern::named("o200k_base").expect("a published name");
    let task = Task::default();
    let mut counter = WordCounter::new(&pattern);
    for text in &texts.documents {
        counter.add(text.as_bytes(), &task).expect("not cancelled");
    }
    let words = WordCounter::finish(vec![counter], 1, &task).expect("counts");
    let options = TrainOptions {
        special_tokens: vec!["<|endoftext|>".to_owned()],
        ..TrainOptions::new(vocab_size)
    };
    let trained = train(words, &options, 1, &task).expect("a vocabulary");
    trained.into_tokenizer(&pattern).expect("a tokenizer")
}

/// The harness: some seconds for each figure, which is enough to see one percent on a quiet machine.
pub fn harness() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args()
}
