//! Token files of nanoGPT and llm.c, read where they lie.
//!
//! | file | header | tokens |
//! |---|---|---|
//! | nanoGPT | none | u16 |
//! | llm.c, modded-nanogpt | 256 × i32: 20240520, version 1, number of tokens | u16 |
//! | llm.c for Llama 3 | 256 × i32: 20240801, version 7, number of tokens | u32 |
//!
//! They have no checksums, no vocabulary size and no documents: the caller says how many ids there
//! are, and which id ends a document. All numbers are little-endian.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use lslm_runtime::{Error, Result, TokenId};
use sha2::{Digest, Sha256};

/// Bytes of the header of llm.c.
const HEADER_BYTES: u64 = 1024;
/// The first number of the header, the version after it, and the bytes of a token.
const KINDS: [(u32, u32, u8); 2] = [(20_240_520, 1, 2), (20_240_801, 7, 4)];
/// Samples of the content that identify a file, and their bytes.
const N_SAMPLES: u64 = 64;
const SAMPLE_BYTES: u64 = 4096;

/// A token file of another program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BinFile {
    /// The file.
    pub path: PathBuf,
    /// Whose format it has: "nanoGPT" or "llm.c".
    pub format: &'static str,
    /// Its size in bytes.
    pub size: u64,
    /// The first byte of the tokens.
    pub offset: u64,
    /// The bytes of a token: 2 or 4.
    pub width: u8,
    /// SHA-256 over its size, its header and samples of its tokens.
    pub digest: [u8; 32],
}

impl BinFile {
    /// Recognises the file at `path`: by its first bytes, else it is nanoGPT's.
    ///
    /// [`Error::Format`], with the byte, if it is not a regular file, or if its size is not that of
    /// whole tokens or of its header.
    pub fn recognise(path: &Path) -> Result<Self> {
        let metadata = std::fs::metadata(path).map_err(Error::io(path))?;
        if !metadata.is_file() {
            return Err(Error::format(path, None, "this is not a file of tokens"));
        }
        let (mut file, size) = (File::open(path).map_err(Error::io(path))?, metadata.len());
        let mut head = Vec::new();
        file.by_ref().take(HEADER_BYTES).read_to_end(&mut head).map_err(Error::io(path))?;
        let number = |index: usize| {
            let bytes = head.as_chunks::<4>().0.get(index);
            bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
        };
        let kind =
            KINDS.iter().find(|(magic, version, _)| (number(0), number(1)) == (*magic, *version));
        let (format, offset, width) = match kind {
            Some((_, _, width)) => ("llm.c", HEADER_BYTES, *width),
            None => ("nanoGPT", 0, 2),
        };
        let stated = HEADER_BYTES + u64::from(number(2)) * u64::from(width);
        if kind.is_some() && size != stated {
            let text = format!("the file has {size} bytes, its header says {stated}");
            return Err(Error::format(path, size.min(stated), text));
        }
        if !(size - offset).is_multiple_of(u64::from(width)) {
            let text = format!("{size} bytes are not whole tokens of {width} bytes each");
            return Err(Error::format(path, size - 1, text));
        }
        let path = path.to_owned();
        let digest = digest_of(&mut file, &path, size)?;
        Ok(Self { path, format, size, offset, width, digest })
    }

    /// Returns the number of tokens.
    pub fn n_tokens(&self) -> u64 {
        (self.size - self.offset) / u64::from(self.width)
    }

    /// Reads the file once, and returns the end of each document, which `eos` closes, in tokens.
    ///
    /// Tokens after the last `eos` are a document too.
    pub(crate) fn document_ends(&self, eos: TokenId) -> Result<Vec<u64>> {
        use std::io::{BufReader, Seek, SeekFrom};
        let mut file = File::open(&self.path).map_err(Error::io(&self.path))?;
        file.seek(SeekFrom::Start(self.offset)).map_err(Error::io(&self.path))?;
        let (mut reader, mut bytes) = (BufReader::with_capacity(1, file), vec![0; 1 << 20]);
        let (mut ends, mut at, n) = (Vec::new(), 0, self.n_tokens());
        while at < n {
            let count = (n - at).min((bytes.len() / usize::from(self.width)) as u64);
            let part = &mut bytes[..count as usize * usize::from(self.width)];
            reader.read_exact(part).map_err(Error::io(&self.path))?;
            let is_end = |index: &u64| {
                let index = *index as usize;
                if self.width == 2 {
                    let id = part.as_chunks::<2>().0[index];
                    u32::from(u16::from_le_bytes(id)) == eos
                } else {
                    u32::from_le_bytes(part.as_chunks::<4>().0[index]) == eos
                }
            };
            ends.extend((0..count).filter(is_end).map(|index| at + index + 1));
            at += count;
        }
        if ends.last().copied().unwrap_or(0) < n {
            ends.push(n);
        }
        Ok(ends)
    }
}

/// Returns the hash of the size and of samples spread over the file, the first and the last bytes
/// among them.
fn digest_of(file: &mut File, path: &Path, size: u64) -> Result<[u8; 32]> {
    use std::io::{Seek, SeekFrom};
    let mut hash = Sha256::new_with_prefix(format!("lslm bin 1\n{size}\n"));
    let last = size.saturating_sub(SAMPLE_BYTES);
    for sample in 0..N_SAMPLES {
        let at = (u128::from(last) * u128::from(sample) / u128::from(N_SAMPLES - 1)) as u64;
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(at)).map_err(Error::io(path))?;
        file.by_ref().take(SAMPLE_BYTES).read_to_end(&mut bytes).map_err(Error::io(path))?;
        hash.update(&bytes);
    }
    Ok(hash.finalize().into())
}
