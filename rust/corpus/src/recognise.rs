//! What a file is, by its first bytes and its name.

use std::path::Path;

use lslm_runtime::{Error, Result};

use crate::options::{Compression, Format, ReadOptions};
use crate::stream::Stream;

/// How much of a text is looked at to tell it from other things.
const HEAD: usize = 1 << 13;

/// The format of a decompressed stream; refuses what cannot be text.
pub(crate) fn recognise(
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
