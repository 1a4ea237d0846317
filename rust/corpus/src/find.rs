//! From what the caller named to a list of files.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use lslm_runtime::{Error, Result};
use serde::Serialize;

use crate::options::{Compression, Format, ReadOptions};

/// A file that was met in a folder, or twice, and is not read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// The file or folder.
    pub path: PathBuf,
    /// Why it is not read.
    pub reason: SkipReason,
}

/// Why a file is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// Its name begins with a dot; a hidden folder is one entry.
    Hidden,
    /// Its name is among those to leave out; a folder is one entry.
    Excluded,
    /// Its extension is not among those that are read from folders.
    Extension,
    /// A link to a folder, which could lead round in circles.
    LinkedFolder,
    /// Neither a file nor a folder.
    Special,
    /// It is in the list already, under this or another name.
    Duplicate,
}

impl SkipReason {
    /// The name in reports, such as `linked_folder`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hidden => "hidden",
            Self::Excluded => "excluded",
            Self::Extension => "extension",
            Self::LinkedFolder => "linked_folder",
            Self::Special => "special",
            Self::Duplicate => "duplicate",
        }
    }
}

/// A path that will be read, and whether a list of extensions chose it.
pub(crate) struct Chosen {
    pub(crate) path: PathBuf,
    pub(crate) by_extension: bool,
}

/// Turns arguments into files, each of them once.
pub(crate) struct Finder<'o> {
    options: &'o ReadOptions,
    seen: HashSet<PathBuf>,
    pub(crate) skipped: Vec<Skipped>,
}

impl<'o> Finder<'o> {
    pub(crate) fn new(options: &'o ReadOptions) -> Self {
        Self { options, seen: HashSet::new(), skipped: Vec::new() }
    }

    /// The files that one argument stands for, sorted by the bytes of their paths.
    pub(crate) fn find(&mut self, name: &str) -> Result<Vec<Chosen>> {
        let path = Path::new(name);
        // a file whose name has brackets is that file, not a pattern
        match fs::metadata(path) {
            Ok(metadata) => self.expand(path, &metadata),
            Err(error) if !name.contains(['*', '?', '[']) => Err(Error::io(path)(error)),
            Err(_) => self.find_glob(name),
        }
    }

    fn find_glob(&mut self, pattern: &str) -> Result<Vec<Chosen>> {
        let options = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: true,
        };
        let matches = glob::glob_with(pattern, options).map_err(|error| {
            Error::invalid(format!("the pattern {pattern:?} is wrong: {error}"))
        })?;
        let mut paths = Vec::new();
        for path in matches {
            paths.push(path.map_err(|error| {
                let path = error.path().to_owned();
                Error::io(path)(error.into())
            })?);
        }
        if paths.is_empty() {
            return Err(Error::invalid(format!(
                "no file matches the pattern {pattern:?}; check the folder and the extension"
            )));
        }
        paths.sort_by_cached_key(|path| path_key(path));
        let mut chosen = Vec::new();
        for path in paths {
            let metadata = fs::metadata(&path).map_err(Error::io(&path))?;
            chosen.append(&mut self.expand(&path, &metadata)?);
        }
        Ok(chosen)
    }

    /// A named path: a folder stands for what is in it.
    fn expand(&mut self, path: &Path, metadata: &fs::Metadata) -> Result<Vec<Chosen>> {
        if !metadata.is_dir() {
            let chosen = self.admit(path.to_owned(), false);
            return Ok(chosen.into_iter().collect());
        }
        let skipped_before = self.skipped.len();
        let mut paths = Vec::new();
        self.walk(path, &mut paths)?;
        paths.sort_by_cached_key(|path| path_key(path));
        self.skipped[skipped_before..].sort_by_cached_key(|skipped| path_key(&skipped.path));
        if paths.is_empty() {
            let wanted = match &self.options.extensions {
                Some(extensions) => format!("file that ends in {}", extensions.join(", ")),
                None => "text, JSONL or Parquet file".to_owned(),
            };
            return Err(Error::invalid(format!(
                "{}: the folder has no {wanted} ({} other entries); name files or extensions",
                path.display(),
                self.skipped.len() - skipped_before,
            )));
        }
        let mut chosen = Vec::new();
        for path in paths {
            chosen.extend(self.admit(path, true));
        }
        Ok(chosen)
    }

    fn walk(&mut self, top: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
        let mut folders = vec![top.to_owned()];
        while let Some(folder) = folders.pop() {
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
                } else if !self.takes(&path) {
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

    /// Whether a file in a folder is wanted, by its name.
    fn takes(&self, path: &Path) -> bool {
        let (extension, compression) = extensions(path);
        let Some(extension) = extension else { return false };
        match &self.options.extensions {
            Some(wanted) => {
                let same = |w: &String| w.trim_start_matches('.').eq_ignore_ascii_case(&extension);
                wanted.iter().any(same)
            }
            // uncompressed .json in a folder is a report or a configuration more often than text
            None if extension == "json" => compression.is_some(),
            None => Format::of_extension(&extension).is_some(),
        }
    }

    fn admit(&mut self, path: PathBuf, from_folder: bool) -> Option<Chosen> {
        // a pipe such as /dev/fd/63 has no other name
        let identity = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
        if !self.seen.insert(identity) {
            self.skipped.push(Skipped { path, reason: SkipReason::Duplicate });
            return None;
        }
        let by_extension = from_folder && self.options.extensions.is_some();
        Some(Chosen { path, by_extension })
    }
}

/// What paths are sorted by: the same on every system.
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

/// The extension in lower case, without that of a compression, and the compression it promises.
pub(crate) fn extensions(path: &Path) -> (Option<String>, Option<Compression>) {
    let lower = |path: &Path| path.extension().map(|e| e.to_string_lossy().to_lowercase());
    let last = lower(path);
    match last.as_deref().and_then(Compression::of_extension) {
        Some(compression) => (lower(&path.with_extension("")), Some(compression)),
        None => (last, None),
    }
}
