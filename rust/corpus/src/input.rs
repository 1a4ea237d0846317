//! The inputs of a job: files and standard input, each with its format.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use lslm_runtime::partition::{InputSize, SplitPoints};
use lslm_runtime::{Error, Result};
use tempfile::NamedTempFile;

use crate::csv::read::CsvReader;
use crate::discover::{Discovery, FoundFile, Skipped, extensions};
use crate::encoding::TextEncoding;
use crate::options::{Compression, Format, OnBadFile, ReadOptions, Split};
use crate::parquet::footer;
use crate::parquet::schema::RowSchema;
use crate::sniff::sniff_format;
use crate::statistics::BadFile;
use crate::stream::Stream;

/// One file, or standard input.
#[derive(Debug)]
pub struct Input {
    path: PathBuf,
    name: Arc<str>,
    format: Format,
    compression: Compression,
    /// Its size, and where partitions may split it.
    pub(crate) extent: InputSize,
    /// The encoding of the text; UTF-8 for Parquet.
    pub(crate) encoding: TextEncoding,
    /// The columns, of Parquet; shared with the inputs that have the same.
    pub(crate) schema: Option<Arc<RowSchema>>,
    source: InputSource,
}

/// What changes when a file is written: its size, and the time where the file system has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileVersion {
    size: u64,
    modified: Option<SystemTime>,
}

impl FileVersion {
    fn of(metadata: &Metadata) -> Self {
        Self { size: metadata.len(), modified: metadata.modified().ok() }
    }
}

/// The source of the bytes of an input.
#[derive(Debug)]
enum InputSource {
    /// A file that is opened for each reading, and its version when it was found.
    File(FileVersion),
    /// A stream that can be read once: standard input or a pipe.
    Once(Mutex<Option<Stream>>),
    /// A temporary file: of a stream whose format needs seeking, or of texts in memory.
    Spooled(NamedTempFile),
}

impl Input {
    /// Returns the path, or `-` for standard input.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path as text, which is the source of its documents.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns the size in bytes, as stored: of Parquet that of the row groups, of a stream zero.
    pub fn size(&self) -> u64 {
        self.extent.size
    }

    /// Returns the format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Returns whether it is a stream that can be read only once.
    pub fn is_stream(&self) -> bool {
        matches!(self.source, InputSource::Once(_))
    }

    /// Returns the compression.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// Returns the name of the text's encoding in the WHATWG Encoding Standard: `UTF-8`, or a legacy
    /// encoding that was detected or named.
    pub fn encoding(&self) -> &'static str {
        self.encoding.name()
    }

    /// Returns the confidence of a detected encoding, up to 1: the share of eight pieces of the file's
    /// start of which the same encoding would have been detected. `None` where nothing had to be.
    pub fn encoding_confidence(&self) -> Option<f64> {
        self.encoding.confidence
    }

    /// Returns the decompressed bytes, from offset `from` on where the input may be split.
    pub(crate) fn stream(&self, from: u64, options: &ReadOptions) -> Result<Stream> {
        match &self.source {
            InputSource::Once(stream) => {
                let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
                stream.ok_or_else(|| {
                    Error::invalid(format!(
                        "{}: a stream can be read only once; save it to a file first",
                        self.name
                    ))
                })
            }
            InputSource::File(_) | InputSource::Spooled(_) => {
                let mut stream =
                    Stream::open(&self.path, self.compression, options.zstd_long, from)?;
                if options.on_bad_file == OnBadFile::Skip {
                    stream.keep_faults();
                }
                Ok(stream)
            }
        }
    }

    /// Returns an error if the file was written after it was found: documents may be missing, or be
    /// partly from one version and partly from the other.
    pub(crate) fn check_unchanged(&self) -> Result<()> {
        let InputSource::File(before) = &self.source else { return Ok(()) };
        let now = FileVersion::of(&fs::metadata(&self.path).map_err(Error::io(&self.path))?);
        if now == *before {
            return Ok(());
        }
        Err(Error::format(
            &self.path,
            None,
            format!(
                "the file was changed after it was opened ({} bytes, now {}): start again when it \
                 is complete",
                before.size, now.size
            ),
        ))
    }

    /// Returns a file with an offset of its own, for a format that needs seeking.
    pub(crate) fn file(&self) -> Result<File> {
        match &self.source {
            // not try_clone, whose offset readers on several threads would share
            InputSource::Spooled(file) => file.reopen(),
            InputSource::File(_) | InputSource::Once(_) => File::open(&self.path),
        }
        .map_err(Error::io(&self.path))
    }
}

/// The inputs of a corpus, and what was found and is not read.
pub(crate) struct Opened {
    pub(crate) inputs: Vec<Input>,
    pub(crate) skipped: Vec<Skipped>,
    pub(crate) bad_files: Vec<BadFile>,
}

/// Finds every input and determines its format.
pub(crate) fn open_all(arguments: &[String], options: &ReadOptions) -> Result<Opened> {
    if arguments.is_empty() {
        return Err(Error::invalid(
            "no input: name files, folders, globs, or - for standard input",
        ));
    }
    let mut discovery = Discovery::new(options);
    let (mut inputs, mut bad_files) = (Vec::new(), Vec::new());
    let mut has_stdin = false;
    for argument in arguments {
        if argument == "-" {
            if has_stdin {
                return Err(Error::invalid("standard input (-) is named twice; name it once"));
            }
            has_stdin = true;
            inputs.push(open_stream(Path::new("-"), io::stdin(), options)?);
            continue;
        }
        for found in discovery.find(argument)? {
            let mut input = match open_file(&found, options) {
                Ok(input) => input,
                Err(error) if options.on_bad_file == OnBadFile::Skip => {
                    bad_files.push(BadFile::of_error(&found.path.to_string_lossy(), 0, error)?);
                    continue;
                }
                Err(error) => return Err(error),
            };
            share_schema(&mut input, &inputs);
            inputs.push(input);
        }
    }
    Ok(Opened { inputs, skipped: discovery.skipped, bad_files })
}

/// Replaces the schema of `input` by that of the Parquet file before it, if they are the same.
fn share_schema(input: &mut Input, inputs: &[Input]) {
    // Without this, each of 100,000 text files would look for a schema among all before it.
    let Some(own) = &mut input.schema else { return };
    let before = inputs.iter().rev().find_map(|input| input.schema.as_ref());
    if let Some(before) = before
        && own.is_same(before)
    {
        *own = Arc::clone(before);
    }
}

/// Returns the input of a file that was found.
fn open_file(found: &FoundFile, options: &ReadOptions) -> Result<Input> {
    let path = &found.path;
    let mut file = File::open(path).map_err(Error::io(path))?;
    let metadata = file.metadata().map_err(Error::io(path))?;
    if !metadata.is_file() {
        return open_stream(path, file, options);
    }
    let magic = read_magic(&mut file).map_err(Error::io(path))?;
    file.seek(SeekFrom::Start(0)).map_err(Error::io(path))?;
    let compression = Compression::of_magic(&magic);
    let (extension, named) = extensions(path);
    if let Some(named) = named
        && compression == Compression::None
    {
        let what = if magic.is_empty() { "the file is empty" } else { "it has no such header" };
        return Err(Error::format(
            path,
            0,
            format!("named as {} data, but {what}: rename it, or get it again", named.name()),
        ));
    }
    let extension = if found.by_extension {
        extension.filter(|e| Format::of_extension(e).is_some()).or(Some("txt".into()))
    } else {
        extension
    };
    let mut stream = Stream::new(path, file, compression, options.zstd_long)?;
    if options.on_bad_file == OnBadFile::Skip {
        stream.keep_faults();
    }
    let format = sniff_format(path, &mut stream, &magic, extension.as_deref(), options)?;
    let encoding = encoding_of(path, &mut stream, format, options)?;
    if format == Format::Csv {
        CsvReader::of_stream(path, stream, encoding, options, false)?; // checks the columns
    }
    let (extent, schema) = if format == Format::Parquet {
        row_groups(path, &File::open(path).map_err(Error::io(path))?, options)?
    } else {
        // a quoted field may have line breaks, so no line of CSV is certain to start a row
        let is_whole =
            format == Format::Csv || format == Format::Text && options.split == Split::File;
        let split_points = if compression != Compression::None || is_whole {
            SplitPoints::Nowhere
        } else {
            SplitPoints::Bytes
        };
        (InputSize { size: metadata.len(), split_points }, None)
    };
    let name = path.to_string_lossy().into();
    let path = path.clone();
    let version = FileVersion::of(&metadata);
    let source = InputSource::File(version);
    Ok(Input { path, name, format, compression, extent, encoding, schema, source })
}

/// Returns the input of a temporary file, whose documents have `name` as their source.
pub(crate) fn open_temporary(
    name: &str,
    file: NamedTempFile,
    options: &ReadOptions,
) -> Result<Input> {
    let found = FoundFile { path: file.path().to_owned(), by_extension: false };
    let input = open_file(&found, options)?;
    Ok(Input { name: name.into(), source: InputSource::Spooled(file), ..input })
}

/// Returns the input of a stream that can be read once: standard input or a pipe.
pub(crate) fn open_stream(
    path: &Path,
    mut reader: impl Read + Send + 'static,
    options: &ReadOptions,
) -> Result<Input> {
    let magic = read_magic(&mut reader).map_err(Error::io(path))?;
    let compression = Compression::of_magic(&magic);
    let whole = io::Cursor::new(magic.clone()).chain(reader);
    let mut stream = Stream::new(path, whole, compression, options.zstd_long)?;
    let (extension, _) = extensions(path);
    let format = sniff_format(path, &mut stream, &magic, extension.as_deref(), options)?;
    let encoding = encoding_of(path, &mut stream, format, options)?;
    let name = path.to_string_lossy().into();
    let (source, (extent, schema)) = if format == Format::Parquet {
        let mut file = NamedTempFile::new().map_err(Error::io(std::env::temp_dir()))?;
        stream.copy_to(file.as_file_mut())?;
        let extent = row_groups(path, file.as_file(), options)?;
        (InputSource::Spooled(file), extent)
    } else {
        let extent = InputSize { size: 0, split_points: SplitPoints::Nowhere };
        (InputSource::Once(Mutex::new(Some(stream))), (extent, None))
    };
    let path = path.to_owned();
    Ok(Input { path, name, format, compression, extent, encoding, schema, source })
}

/// Returns the encoding of a stream: the one that is named, or else the one that it shows.
fn encoding_of(
    path: &Path,
    stream: &mut Stream,
    format: Format,
    options: &ReadOptions,
) -> Result<TextEncoding> {
    match &options.encoding {
        _ if format == Format::Parquet => Ok(TextEncoding::UTF_8),
        Some(name) => TextEncoding::named(name),
        None => TextEncoding::detect(path, stream),
    }
}

/// Returns the size of a Parquet file, which may be split between row groups, and its columns.
fn row_groups(
    path: &Path,
    file: &File,
    options: &ReadOptions,
) -> Result<(InputSize, Option<Arc<RowSchema>>)> {
    let (sizes, schema) = footer::row_groups(path, file, options)?;
    let extent = InputSize { size: sizes.iter().sum(), split_points: SplitPoints::Units(sizes) };
    Ok((extent, Some(Arc::new(schema))))
}

/// Returns the first four bytes, fewer only when the file is shorter.
fn read_magic(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut magic = Vec::new();
    reader.by_ref().take(4).read_to_end(&mut magic)?;
    Ok(magic)
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
    fn the_first_bytes_of_a_stream_decide_its_format() {
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
        let mut lines = input.stream(0, &ReadOptions::default()).unwrap();
        let task = Task::default();
        assert_eq!(lines.line(&task).unwrap(), Some(&b"one\n"[..]));
        assert_eq!(lines.rest(&task).unwrap(), b"two");
        let error = input.stream(0, &ReadOptions::default()).unwrap_err().to_string();
        assert!(error.contains("only once"), "{error}");
    }
}
