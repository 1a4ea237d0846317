//! Finds the files that paths, folders and globs stand for.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{self, Path, PathBuf};

use lslm_runtime::{Error, Result, files};
use serde::Serialize;

use crate::options::{Compression, Format, ReadOptions};

/// The results of `clean` and of `tokenize` in their output folders, as lslm-pipeline names them.
const RESULTS: [&str; 3] = ["_clean.json", "_funnel.json", "_dedup.index"];
/// The folder of the journal of an unfinished job, as lslm-pipeline names it.
const JOURNAL: &str = ".progress";
/// The files of a run of training, and the folder of its checkpoints, as `lslm train` names them.
const RUN_CONFIG: &str = "config.toml";
const RUN_METRICS: &str = "metrics.jsonl";
const RUN_FILES: [&str; 4] = [RUN_CONFIG, RUN_METRICS, "tokenizer.json", "report.html"];
const CHECKPOINTS: &str = "checkpoints";
/// The files of an analysis, of a study, of a scaling law and of a range test, each after the file
/// of its folder that no other has, as `lslm analyze`, `lslm tune` and `lslm scaling` name them.
const VERB_FILES: [(&str, &[&str]); 4] = [
    (
        "scores/scores.json",
        &[
            "report.html",
            "summary.jsonl",
            "slices.jsonl",
            "tokens.jsonl",
            "worst.jsonl",
            "calibration.jsonl",
            "passages.jsonl",
            "training.jsonl",
            "summary.parquet",
            "slices.parquet",
            "tokens.parquet",
            "worst.parquet",
            "calibration.parquet",
            "passages.parquet",
            "training.parquet",
        ],
    ),
    ("study.json", &["study.json", "study.db", "trials.jsonl", "best.toml", "report.html"]),
    ("scaling.json", &["scaling.json", "report.html"]),
    ("range-test.json", &["range-test.json", "range-test.html"]),
];
/// The manifest of a score table, its other file, and the folders of its columns.
const SCORES: &str = "scores.json";
const ALTERNATIVES: &str = "alternatives.npz";
const SCORE_FOLDERS: [&str; 3] = ["tokens", "spans", "documents"];
/// The manifest of a dataset, as lslm-dataset names it.
const MANIFEST: &str = "manifest.json";
/// Bytes at the start of a manifest that have its format, the first member.
const MANIFEST_HEAD: u64 = 256;

/// The characters that make an argument a glob.
const WILDCARDS: [char; 3] = ['*', '?', '['];
/// How globs match: as in a shell, `*` stays in one folder and omits hidden names.
const GLOB_OPTIONS: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// A file or folder that was found and is not read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// The path of the file or folder.
    pub path: PathBuf,
    /// Why it is not read.
    pub reason: SkipReason,
}

/// Why a file is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// Its name starts with a dot; a hidden folder is one entry.
    Hidden,
    /// Its name is in [`ReadOptions::exclude`]; a folder is one entry.
    Excluded,
    /// Its extension is not one of those that are read in a folder.
    Extension,
    /// It is a symbolic link to a folder, which could form a cycle.
    LinkedFolder,
    /// It is neither a file nor a folder.
    Special,
    /// It is an input already, under this or another name.
    Duplicate,
    /// It is a record or a dataset that lslm wrote, not a document.
    Bookkeeping,
}

impl SkipReason {
    /// Returns the name in reports, such as `linked_folder`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hidden => "hidden",
            Self::Excluded => "excluded",
            Self::Extension => "extension",
            Self::LinkedFolder => "linked_folder",
            Self::Special => "special",
            Self::Duplicate => "duplicate",
            Self::Bookkeeping => "bookkeeping",
        }
    }
}

/// A file to read.
pub(crate) struct FoundFile {
    pub(crate) path: PathBuf,
    /// Whether it was found in a folder by [`ReadOptions::extensions`], so that its extension does
    /// not stand for a format.
    pub(crate) by_extension: bool,
}

/// Turns arguments into files, without duplicates.
pub(crate) struct Discovery<'o> {
    options: &'o ReadOptions,
    /// The canonical paths of the files found so far.
    seen: HashSet<PathBuf>,
    pub(crate) skipped: Vec<Skipped>,
}

impl<'o> Discovery<'o> {
    pub(crate) fn new(options: &'o ReadOptions) -> Self {
        Self { options, seen: HashSet::new(), skipped: Vec::new() }
    }

    /// Returns the files that one argument stands for, sorted by the bytes of their paths.
    pub(crate) fn find(&mut self, name: &str) -> Result<Vec<FoundFile>> {
        let path = Path::new(name);
        // an existing file with brackets in its name is that file, not a glob
        match fs::metadata(path) {
            Ok(metadata) if is_bookkeeping(path) || (metadata.is_dir() && is_journal(path)) => {
                Err(Error::invalid(format!(
                    "{}: a file that lslm wrote about its own work, not documents; name the files \
                     with documents, or their folder",
                    path.display()
                )))
            }
            Ok(metadata) => self.expand(path, &metadata, false),
            Err(error) if !name.contains(WILDCARDS) => Err(Error::io(path)(error)),
            Err(_) => self.find_glob(name),
        }
    }

    /// Returns the files that match a glob, which must be at least one.
    fn find_glob(&mut self, pattern: &str) -> Result<Vec<FoundFile>> {
        let matches = glob::glob_with(pattern, GLOB_OPTIONS).map_err(|error| {
            Error::invalid(format!("the pattern {pattern:?} is wrong: {error}; correct it"))
        })?;
        let mut paths = Vec::new();
        for path in matches {
            paths.push(path.map_err(|error| {
                let path = error.path().to_owned();
                Error::io(path)(error.into())
            })?);
        }
        if paths.is_empty() {
            let step = if files::is_url(Path::new(pattern)) {
                "this is a URL, and lslm reads files of this machine only; download them first"
            } else {
                "check the folder and the extension"
            };
            return Err(Error::invalid(format!("no file matches the pattern {pattern:?}; {step}")));
        }
        paths.sort_by_cached_key(|path| path_key(path));
        let mut found = Vec::new();
        for path in paths {
            path.parent().map_or(Ok(()), check_finished)?;
            let metadata = fs::metadata(&path).map_err(Error::io(&path))?;
            if is_bookkeeping(&path) || path.ancestors().any(is_journal) {
                self.skipped.push(Skipped { path, reason: SkipReason::Bookkeeping });
                continue;
            }
            found.append(&mut self.expand(&path, &metadata, true)?);
        }
        Ok(found)
    }

    /// Returns the files that an existing path stands for: itself, or the files below a folder.
    ///
    /// A folder must have one, except where a glob matched a folder of own records or an empty one.
    fn expand(
        &mut self,
        path: &Path,
        metadata: &fs::Metadata,
        by_glob: bool,
    ) -> Result<Vec<FoundFile>> {
        if !metadata.is_dir() {
            let found = self.admit(path.to_owned(), false);
            return Ok(found.into_iter().collect());
        }
        let skipped_before = self.skipped.len();
        let mut paths = Vec::new();
        self.walk(path, &mut paths)?;
        paths.sort_by_cached_key(|path| path_key(path));
        self.skipped[skipped_before..].sort_by_cached_key(|skipped| path_key(&skipped.path));
        if paths.is_empty() {
            let skipped = &self.skipped[skipped_before..];
            let is_own = |one: &Skipped| one.reason == SkipReason::Bookkeeping;
            if by_glob && (skipped.is_empty() || skipped.iter().any(is_own)) {
                return Ok(Vec::new());
            }
            let n_skipped = skipped.len();
            let wanted = match &self.options.extensions {
                Some(extensions) => format!("file that ends in {}", extensions.join(", ")),
                None => "text, JSONL or Parquet file".to_owned(),
            };
            return Err(Error::invalid(format!(
                "{}: the folder has no {wanted} ({n_skipped} other {}): name files or extensions",
                path.display(),
                if n_skipped == 1 { "entry" } else { "entries" },
            )));
        }
        let mut found = Vec::new();
        for path in paths {
            found.extend(self.admit(path, true));
        }
        Ok(found)
    }

    /// Appends the files below `top` that are read, in any order.
    fn walk(&mut self, top: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
        let mut folders = vec![top.to_owned()];
        while let Some(folder) = folders.pop() {
            check_finished(&folder)?;
            for entry in fs::read_dir(&folder).map_err(Error::io(&folder))? {
                let entry = entry.map_err(Error::io(&folder))?;
                let path = entry.path();
                let kind = entry.file_type().map_err(Error::io(&path))?;
                let name = entry.file_name();
                let reason = if name.as_encoded_bytes().starts_with(b".") {
                    SkipReason::Hidden
                } else if self.options.exclude.iter().any(|excluded| name == excluded.as_str()) {
                    SkipReason::Excluded
                } else if kind.is_dir() {
                    folders.push(path);
                    continue;
                } else if !kind.is_file() && !kind.is_symlink() {
                    SkipReason::Special
                } else if is_bookkeeping(&path) {
                    SkipReason::Bookkeeping
                } else if !self.has_wanted_extension(&path) {
                    SkipReason::Extension
                } else if kind.is_symlink() {
                    let target = fs::metadata(&path).map_err(Error::io(&path))?;
                    if target.is_file() {
                        files.push(path);
                        continue;
                    }
                    if target.is_dir() { SkipReason::LinkedFolder } else { SkipReason::Special }
                } else {
                    files.push(path);
                    continue;
                };
                self.skipped.push(Skipped { path, reason });
            }
        }
        Ok(())
    }

    /// Returns whether a file in a folder is read, by its extension.
    fn has_wanted_extension(&self, path: &Path) -> bool {
        let (extension, compression) = extensions(path);
        let Some(extension) = extension else { return false };
        match &self.options.extensions {
            Some(wanted) => {
                let same = |w: &String| w.trim_start_matches('.').eq_ignore_ascii_case(&extension);
                wanted.iter().any(same)
            }
            // an uncompressed .json in a folder is a report or settings more often than documents
            None if extension == "json" => compression.is_some(),
            // tables are seldom documents, and have no usual name for the column of the text
            None => Format::of_extension(&extension).is_some_and(|format| format != Format::Csv),
        }
    }

    /// Returns the file, or `None` if it is an input already.
    fn admit(&mut self, path: PathBuf, from_folder: bool) -> Option<FoundFile> {
        // a pipe such as /dev/fd/63 has no canonical path
        let identity = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
        if !self.seen.insert(identity) {
            self.skipped.push(Skipped { path, reason: SkipReason::Duplicate });
            return None;
        }
        let by_extension = from_folder && self.options.extensions.is_some();
        Some(FoundFile { path, by_extension })
    }
}

/// Returns whether a file is one of those that lslm writes about its own work: the results of jobs,
/// the journal of an unfinished job, and the files of a dataset, of a run and of its checkpoints, of
/// a score table, an analysis and a study.
fn is_bookkeeping(path: &Path) -> bool {
    if path.is_dir() {
        return false;
    }
    let (Some(name), Some(folder)) = (path.file_name(), path.parent()) else { return false };
    let is_dataset_file = name == MANIFEST
        || name == "tokenizer.json"
        || path.extension().is_some_and(|extension| extension == "lslm");
    RESULTS.iter().any(|result| name == *result)
        || (is_dataset_file && is_dataset(folder))
        || (RUN_FILES.iter().any(|file| name == *file) && is_run(folder))
        || (folder.join("state.json").is_file() && folder.parent().is_some_and(is_checkpoints))
        || VERB_FILES.iter().any(|(mark, files)| {
            files.iter().any(|file| name == *file) && folder.join(mark).is_file()
        })
        || ([SCORES, ALTERNATIVES].iter().any(|file| name == *file) && is_score_table(folder))
        || (SCORE_FOLDERS.iter().any(|columns| folder.ends_with(columns))
            && folder.parent().is_some_and(is_score_table))
        || (folder.ends_with(JOURNAL) && is_journal_file(&name.to_string_lossy()))
}

/// Returns whether a path is the folder of a journal. Globs never match in it; of the files in it, a
/// staged one that is named outright is read, as `clean` does.
fn is_journal(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == JOURNAL)
}

/// Returns whether a file with this name in the journal's folder is the plan or the record of a
/// partition. The other files there are staged documents, which `clean` reads again.
fn is_journal_file(name: &str) -> bool {
    let number = name.strip_suffix(".json").unwrap_or_default();
    name == "plan.json" || (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// Returns whether a folder is a run of training: it has a configuration, and figures or
/// checkpoints.
fn is_run(folder: &Path) -> bool {
    folder.join(RUN_CONFIG).is_file()
        && (folder.join(RUN_METRICS).is_file() || folder.join(CHECKPOINTS).is_dir())
}

/// Returns whether a folder is that of a run's checkpoints.
fn is_checkpoints(folder: &Path) -> bool {
    folder.ends_with(CHECKPOINTS) && folder.parent().is_some_and(is_run)
}

/// Returns an error if `folder` has the journal of an unfinished job, whose documents are not all
/// there yet.
fn check_finished(folder: &Path) -> Result<()> {
    let folder = if folder.ends_with(JOURNAL) { folder.parent().unwrap_or(folder) } else { folder };
    if !folder.join(JOURNAL).join("plan.json").is_file() {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{}: holds an unfinished job, so documents are missing: run the command that began it \
         again, which completes it (of slices: lslm finish), or name the files to read",
        folder.display()
    )))
}

/// Returns whether a folder is a dataset.
fn is_dataset(folder: &Path) -> bool {
    has_format(&folder.join(MANIFEST), b"\"lslm-dataset\"")
}

/// Returns whether a folder is a score table.
fn is_score_table(folder: &Path) -> bool {
    has_format(&folder.join(SCORES), b"\"lslm-scores\"")
}

/// Returns whether the start of a manifest has this format.
fn has_format(manifest: &Path, format: &[u8]) -> bool {
    let mut head = Vec::new();
    let file = File::open(manifest);
    let read = file.and_then(|file| file.take(MANIFEST_HEAD).read_to_end(&mut head));
    read.is_ok() && memchr::memmem::find(&head, format).is_some()
}

/// Returns whether `path`, which is [`resolved`], belongs to `argument`; see
/// [`Corpus::argument_of`](crate::Corpus::argument_of).
pub(crate) fn includes(argument: &str, path: &Path) -> bool {
    if argument == "-" {
        return false;
    }
    if fs::metadata(argument).is_ok() {
        return path.starts_with(resolved(Path::new(argument)));
    }
    // the folders before the first wildcard are resolved, as those of `path` are
    let components: Vec<_> = Path::new(argument).components().collect();
    let is_glob = |c: &path::Component| c.as_os_str().to_string_lossy().contains(WILDCARDS);
    let n_literal = components.iter().position(is_glob).unwrap_or(components.len());
    let base: PathBuf = components[..n_literal].iter().collect();
    let rest: PathBuf = components[n_literal..].iter().collect();
    let base = glob::Pattern::escape(&resolved(&base).to_string_lossy());
    let pattern = Path::new(&base).join(rest);
    let Ok(pattern) = glob::Pattern::new(&pattern.to_string_lossy()) else { return false };
    path.ancestors().any(|path| pattern.matches_path_with(path, GLOB_OPTIONS))
}

/// Returns `path` as absolute and without links, as far as it exists.
pub(crate) fn resolved(path: &Path) -> PathBuf {
    let here = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let path = path::absolute(here).unwrap_or_else(|_| path.to_owned());
    for existing in path.ancestors() {
        if let Ok(canonical) = fs::canonicalize(existing) {
            return match path.strip_prefix(existing) {
                Ok(rest) if rest.as_os_str().is_empty() => canonical,
                Ok(rest) => canonical.join(rest),
                Err(_) => canonical,
            };
        }
    }
    path
}

/// Returns the sort key of a path, the same on every system.
fn path_key(path: &Path) -> Vec<u8> {
    let mut bytes = path.as_os_str().as_encoded_bytes().to_vec();
    if std::path::MAIN_SEPARATOR != '/' {
        for byte in &mut bytes {
            if *byte == std::path::MAIN_SEPARATOR as u8 {
                *byte = b'/';
            }
        }
    }
    bytes
}

/// Returns the extension before that of a compression, in lower case, and the compression.
pub(crate) fn extensions(path: &Path) -> (Option<String>, Option<Compression>) {
    let lower = |path: &Path| path.extension().map(|e| e.to_string_lossy().to_lowercase());
    let last = lower(path);
    match last.as_deref().and_then(Compression::of_extension) {
        Some(compression) => (lower(&path.with_extension("")), Some(compression)),
        None => (last, None),
    }
}
