//! From what the caller named to a list of files, each with its format.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use lslm_runtime::partition::Cuts;
use lslm_runtime::{Error, Result};
use serde::Serialize;
use tempfile::NamedTempFile;

use crate::options::{Compression, Format, ReadOptions, Split};
use crate::stream::Stream;
use crate::table;

/// How much of a text is looked at to tell it from other things.
const HEAD: usize = 1 << 13;

/// One file, or standard input.
#[derive(Debug)]
pub struct Input {
    pub(crate) path: PathBuf,
    pub(crate) name: Arc<str>,
    pub(crate) size: u64,
    pub(crate) format: Format,
    pub(crate) compression: Compression,
    pub(crate) cuts: Cuts,
    pub(crate) body: Body,
}

impl Input {
    /// The path, or `-` for standard input.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path as text; documents carry it as their source.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its size in bytes, as stored; zero for a stream. For Parquet that of the row groups.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What it holds.
    pub fn format(&self) -> Format {
        self.format
    }

    /// How it is compressed.
    pub fn compression(&self) -> Compression {
        self.compression
    }
}

/// Where the bytes come from.
#[derive(Debug)]
pub(crate) enum Body {
    /// A file that is opened for each reading.
    File,
    /// A stream that can be read once: standard input or a pipe.
    Once(Mutex<Option<Stream>>),
    /// A stream that was written to a temporary file, since its format needs seeking.
    Spooled(NamedTempFile),
}

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
struct Chosen {
    path: PathBuf,
    by_extension: bool,
}

/// Finds and recognises every input.
pub(crate) fn open_all(
    named: &[String],
    options: &ReadOptions,
) -> Result<(Vec<Input>, Vec<Skipped>)> {
    if named.is_empty() {
        return Err(Error::invalid(
            "no input: name files, folders, globs, or - for standard input",
        ));
    }
    let mut finder = Finder { options, seen: HashSet::new(), skipped: Vec::new() };
    let mut inputs = Vec::new();
    let mut has_stdin = false;
    for name in named {
        if name == "-" {
            if has_stdin {
                return Err(Error::invalid("standard input (-) is named twice; name it once"));
            }
            has_stdin = true;
            inputs.push(open_stream(Path::new("-"), io::stdin(), options)?);
            continue;
        }
        for chosen in finder.find(name)? {
            inputs.push(open_file(&chosen, options)?);
        }
    }
    Ok((inputs, finder.skipped))
}

struct Finder<'o> {
    options: &'o ReadOptions,
    seen: HashSet<PathBuf>,
    skipped: Vec<Skipped>,
}

impl Finder<'_> {
    /// The files that one argument stands for, sorted by the bytes of their paths.
    fn find(&mut self, name: &str) -> Result<Vec<Chosen>> {
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

fn open_file(chosen: &Chosen, options: &ReadOptions) -> Result<Input> {
    let path = &chosen.path;
    let mut file = File::open(path).map_err(Error::io(path))?;
    let metadata = file.metadata().map_err(Error::io(path))?;
    if !metadata.is_file() {
        return open_stream(path, file, options);
    }
    let magic = read_magic(&mut file).map_err(Error::io(path))?;
    file.seek(SeekFrom::Start(0)).map_err(Error::io(path))?;
    let compression = Compression::of_magic(&magic);
    let (extension, promised) = extensions(path);
    if let Some(promised) = promised
        && compression == Compression::None
    {
        let what = if magic.is_empty() { "the file is empty" } else { "it does not begin as such" };
        return Err(Error::format(
            path,
            0,
            format!("named as {} data, but {what}: rename it, or get it again", promised.name()),
        ));
    }
    let extension = if chosen.by_extension {
        extension.filter(|e| Format::of_extension(e).is_some()).or(Some("txt".into()))
    } else {
        extension
    };
    let mut stream = Stream::new(path, file, compression)?;
    let format = recognise(path, &mut stream, &magic, extension.as_deref(), options)?;
    drop(stream);
    let (size, cuts) = match (format, compression) {
        (Format::Parquet, _) => {
            let file = File::open(path).map_err(Error::io(path))?;
            let units = table::row_group_sizes(path, &file, options)?;
            (units.iter().sum(), Cuts::Units(units))
        }
        (Format::Text, Compression::None) if options.split == Split::File => {
            (metadata.len(), Cuts::Nowhere)
        }
        (_, Compression::None) => (metadata.len(), Cuts::Bytes),
        _ => (metadata.len(), Cuts::Nowhere),
    };
    let name = path.to_string_lossy().into();
    Ok(Input { path: path.clone(), name, size, format, compression, cuts, body: Body::File })
}

fn open_stream(
    path: &Path,
    mut reader: impl Read + Send + 'static,
    options: &ReadOptions,
) -> Result<Input> {
    let magic = read_magic(&mut reader).map_err(Error::io(path))?;
    let compression = Compression::of_magic(&magic);
    let whole = io::Cursor::new(magic.clone()).chain(reader);
    let mut stream = Stream::new(path, whole, compression)?;
    let (extension, _) = extensions(path);
    let format = recognise(path, &mut stream, &magic, extension.as_deref(), options)?;
    let name = path.to_string_lossy().into();
    let (mut size, mut cuts) = (0, Cuts::Nowhere);
    let body = if format == Format::Parquet {
        let mut file = NamedTempFile::new().map_err(Error::io(std::env::temp_dir()))?;
        stream.copy_to(file.as_file_mut())?;
        let units = table::row_group_sizes(path, file.as_file(), options)?;
        (size, cuts) = (units.iter().sum(), Cuts::Units(units));
        Body::Spooled(file)
    } else {
        Body::Once(Mutex::new(Some(stream)))
    };
    Ok(Input { path: path.to_owned(), name, size, format, compression, cuts, body })
}

impl Input {
    /// The decompressed bytes, from byte `from` on where the input may be cut.
    pub(crate) fn stream(&self, from: u64) -> Result<Stream> {
        match &self.body {
            Body::Once(stream) => {
                let taken = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
                taken.ok_or_else(|| {
                    Error::invalid(format!(
                        "{}: a stream can be read only once; save it to a file first",
                        self.name
                    ))
                })
            }
            Body::File | Body::Spooled(_) => Stream::open(&self.path, self.compression, from),
        }
    }

    /// The file, for a format that needs seeking.
    pub(crate) fn file(&self) -> Result<File> {
        match &self.body {
            // opened anew: readers on several threads must not share a place in it
            Body::Spooled(file) => file.reopen(),
            Body::File | Body::Once(_) => File::open(&self.path),
        }
        .map_err(Error::io(&self.path))
    }
}

/// The first bytes, fewer than four only when there are no more.
fn read_magic(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut magic = Vec::new();
    reader.by_ref().take(4).read_to_end(&mut magic)?;
    Ok(magic)
}

/// The format of a decompressed stream; refuses what cannot be text.
fn recognise(
    path: &Path,
    stream: &mut Stream,
    magic: &[u8],
    extension: Option<&str>,
    options: &ReadOptions,
) -> Result<Format> {
    let compression = Compression::of_magic(magic);
    let head = stream.peek(HEAD)?;
    let by_name = extension.and_then(Format::of_extension);
    let first = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let by_content = || match first {
        _ if head.starts_with(b"PAR1") => Format::Parquet,
        _ if by_name.is_none() && begins_object(first) => Format::Jsonl,
        _ => by_name.unwrap_or(Format::Text),
    };
    let format = options.format.unwrap_or_else(by_content);
    if format == Format::Parquet {
        return match (head.starts_with(b"PAR1"), compression) {
            (true, Compression::None) => Ok(format),
            (true, other) => Err(Error::format(
                path,
                None,
                format!(
                    "Parquet inside {0}: take the {0} off, Parquet compresses by itself",
                    other.name()
                ),
            )),
            (false, _) => Err(Error::format(
                path,
                0,
                "not a Parquet file (it does not begin with PAR1): check what it is, or name its format",
            )),
        };
    }
    refuse_binary(path, head, first)?;
    if options.format.is_none() && extension == Some("json") && first.starts_with(b"[") {
        return Err(Error::format(
            path,
            0,
            "one JSON list, not one object a line: convert it, for example with jq -c '.[]'",
        ));
    }
    Ok(format)
}

/// Whether text begins with an object that has a member or none.
fn begins_object(first: &[u8]) -> bool {
    let Some(rest) = first.strip_prefix(b"{") else { return false };
    matches!(rest.trim_ascii_start().first(), Some(b'"' | b'}'))
}

fn refuse_binary(path: &Path, head: &[u8], first: &[u8]) -> Result<()> {
    let refuse = |offset: usize, what: &str| Err(Error::format(path, offset as u64, what));
    match head {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => {
            return refuse(0, "UTF-32 text: convert it, for example with iconv -f UTF-32 -t UTF-8");
        }
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            return refuse(0, "UTF-16 text: convert it, for example with iconv -f UTF-16 -t UTF-8");
        }
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, ..] => {
            return refuse(0, "bzip2 data: decompress it, or compress with gzip or zstd instead");
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            return refuse(0, "xz data: decompress it, or compress with gzip or zstd instead");
        }
        [b'P', b'K', 3, 4, ..] => return refuse(0, "a zip archive: unpack it first"),
        _ => {}
    }
    match memchr::memchr(0, head) {
        // a NUL in one line of JSONL makes that line bad, not the file
        Some(place) if !begins_object(first) => refuse(
            place,
            "binary data, or UTF-16 without a mark (a NUL byte): leave it out, or convert it to UTF-8",
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lslm_runtime::Task;

    fn stream(bytes: &[u8]) -> Result<Input> {
        let reader = io::Cursor::new(bytes.to_vec());
        open_stream(Path::new("-"), reader, &ReadOptions::default())
    }

    #[test]
    fn a_stream_is_known_by_its_first_bytes() {
        let gzip = {
            let mut encoder =
                flate2::GzBuilder::new().write(Vec::new(), flate2::Compression::fast());
            io::Write::write_all(&mut encoder, b" {\"text\":1}").unwrap();
            encoder.finish().unwrap()
        };
        let zstd = zstd::encode_all(&b"plain"[..], 1).unwrap();
        for (bytes, format, compression) in [
            (&b""[..], Format::Text, Compression::None),
            (b"{", Format::Text, Compression::None),
            (b"{}\n", Format::Jsonl, Compression::None),
            (b"\xef\xbb\xbf {\"a\":1}", Format::Jsonl, Compression::None),
            (b"{ int main; }", Format::Text, Compression::None),
            (&gzip, Format::Jsonl, Compression::Gzip),
            (&zstd, Format::Text, Compression::Zstd),
        ] {
            let input = stream(bytes).unwrap();
            assert_eq!((input.format, input.compression), (format, compression));
        }
    }

    #[test]
    fn a_stream_can_be_read_once() {
        let input = stream(b"one\ntwo").unwrap();
        let mut lines = input.stream(0).unwrap();
        let task = Task::default();
        assert_eq!(lines.line(&task).unwrap(), Some(&b"one\n"[..]));
        assert_eq!(lines.rest(&task).unwrap(), b"two");
        let error = input.stream(0).unwrap_err().to_string();
        assert!(error.contains("only once"), "{error}");
    }

    #[test]
    fn parquet_from_a_stream_is_kept_in_a_file() {
        let bytes = include_bytes!("../tests/data/foreign.parquet");
        let options = ReadOptions { text_key: "content".into(), ..ReadOptions::default() };
        let input = open_stream(Path::new("-"), io::Cursor::new(bytes), &options).unwrap();
        assert!(matches!(&input.cuts, Cuts::Units(units) if units.len() == 2));
        for _ in 0..2 {
            let mut rows = table::Rows::open(&input, None, &options).unwrap();
            let mut count = 0;
            while rows.next(&Task::default()).unwrap().is_some() {
                count += 1;
            }
            assert_eq!(count, 4);
        }
    }
}
