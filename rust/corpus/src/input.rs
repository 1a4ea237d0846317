//! The inputs of one job: files and standard input, each with its format.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use lslm_runtime::partition::SplitPoints;
use lslm_runtime::{Error, Result};
use tempfile::NamedTempFile;

use crate::find::{Chosen, Finder, Skipped, extensions};
use crate::options::{Compression, Format, ReadOptions, Split};
use crate::recognise::recognise;
use crate::stream::Stream;
use crate::table;

/// One file, or standard input.
#[derive(Debug)]
pub struct Input {
    pub(crate) path: PathBuf,
    pub(crate) name: Arc<str>,
    pub(crate) size: u64,
    pub(crate) format: Format,
    pub(crate) compression: Compression,
    pub(crate) split_points: SplitPoints,
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
    let mut finder = Finder::new(options);
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
    let mut stream = Stream::new(path, file, compression, options.zstd_long)?;
    let format = recognise(path, &mut stream, &magic, extension.as_deref(), options)?;
    drop(stream);
    let (size, split_points) = match (format, compression) {
        (Format::Parquet, _) => {
            let file = File::open(path).map_err(Error::io(path))?;
            let units = table::row_group_sizes(path, &file, options)?;
            (units.iter().sum(), SplitPoints::Units(units))
        }
        (Format::Text, Compression::None) if options.split == Split::File => {
            (metadata.len(), SplitPoints::Nowhere)
        }
        (_, Compression::None) => (metadata.len(), SplitPoints::Bytes),
        _ => (metadata.len(), SplitPoints::Nowhere),
    };
    let name = path.to_string_lossy().into();
    Ok(Input {
        path: path.clone(),
        name,
        size,
        format,
        compression,
        split_points,
        body: Body::File,
    })
}

fn open_stream(
    path: &Path,
    mut reader: impl Read + Send + 'static,
    options: &ReadOptions,
) -> Result<Input> {
    let magic = read_magic(&mut reader).map_err(Error::io(path))?;
    let compression = Compression::of_magic(&magic);
    let whole = io::Cursor::new(magic.clone()).chain(reader);
    let mut stream = Stream::new(path, whole, compression, options.zstd_long)?;
    let (extension, _) = extensions(path);
    let format = recognise(path, &mut stream, &magic, extension.as_deref(), options)?;
    let name = path.to_string_lossy().into();
    let (mut size, mut split_points) = (0, SplitPoints::Nowhere);
    let body = if format == Format::Parquet {
        let mut file = NamedTempFile::new().map_err(Error::io(std::env::temp_dir()))?;
        stream.copy_to(file.as_file_mut())?;
        let units = table::row_group_sizes(path, file.as_file(), options)?;
        (size, split_points) = (units.iter().sum(), SplitPoints::Units(units));
        Body::Spooled(file)
    } else {
        Body::Once(Mutex::new(Some(stream)))
    };
    Ok(Input { path: path.to_owned(), name, size, format, compression, split_points, body })
}

impl Input {
    /// The decompressed bytes, from byte `from` on where the input may be cut.
    pub(crate) fn stream(&self, from: u64, options: &ReadOptions) -> Result<Stream> {
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
            Body::File | Body::Spooled(_) => {
                Stream::open(&self.path, self.compression, options.zstd_long, from)
            }
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
        let mut lines = input.stream(0, &ReadOptions::default()).unwrap();
        let task = Task::default();
        assert_eq!(lines.line(&task).unwrap(), Some(&b"one\n"[..]));
        assert_eq!(lines.rest(&task).unwrap(), b"two");
        let error = input.stream(0, &ReadOptions::default()).unwrap_err().to_string();
        assert!(error.contains("only once"), "{error}");
    }

    #[test]
    fn parquet_from_a_stream_is_kept_in_a_file() {
        let bytes = include_bytes!("../tests/data/foreign.parquet");
        let options = ReadOptions { text_key: "content".into(), ..ReadOptions::default() };
        let input = open_stream(Path::new("-"), io::Cursor::new(bytes), &options).unwrap();
        assert!(matches!(&input.split_points, SplitPoints::Units(units) if units.len() == 2));
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
