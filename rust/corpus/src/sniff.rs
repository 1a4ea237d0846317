//! Determines the format of a file from its first bytes and its name.

use std::path::Path;

use lslm_runtime::{Error, Result};

use crate::options::{Compression, Format, ReadOptions};
use crate::stream::Stream;

/// Bytes of a decompressed file that are examined: about as many as git examines for a NUL (8,000).
const HEAD: usize = 1 << 13;

/// Returns the format of a decompressed stream. Data that cannot be text is an error.
///
/// In order: the format of the options; Parquet by its magic number; the extension; JSONL if the
/// text starts like an object; plain text.
pub(crate) fn sniff_format(
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
        _ if by_name.is_none() && starts_with_object(first) => Format::Jsonl,
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
                    "Parquet inside {0}: decompress it, Parquet has its own compression",
                    other.name()
                ),
            )),
            (false, _) => Err(Error::format(
                path,
                0,
                "not a Parquet file (it does not start with PAR1): \
                 check what it is, or name its format",
            )),
        };
    }
    refuse_binary(path, head, first)?;
    if options.format.is_none() && extension == Some("json") && first.starts_with(b"[") {
        return Err(Error::format(
            path,
            0,
            "one JSON list, not one object per line: convert it, for example with jq -c '.[]'",
        ));
    }
    Ok(format)
}

/// Returns whether text starts like a JSON object: a brace, then a quotation mark or a brace.
fn starts_with_object(first: &[u8]) -> bool {
    let Some(rest) = first.strip_prefix(b"{") else { return false };
    matches!(rest.trim_ascii_start().first(), Some(b'"' | b'}'))
}

/// Returns an error for the formats that are mistaken for text most often, and for a NUL byte.
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
        Some(offset) if !starts_with_object(first) => refuse(
            offset,
            "binary data, or UTF-16 without a mark (a NUL byte): \
             leave it out, or convert it to UTF-8",
        ),
        _ => Ok(()),
    }
}
