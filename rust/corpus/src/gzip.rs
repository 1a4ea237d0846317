//! Decompresses gzip: all members, and what may follow them.

use std::io::{self, BufReader, Chain, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::GzDecoder;

/// The first bytes of a member (RFC 1952, 2.3.1).
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The bytes of one member: those that were read to recognise it, then the rest of the file.
type Member<R> = Chain<Cursor<Vec<u8>>, BufReader<R>>;

/// Reads the members of a gzip file one after the other, as `zcat` does.
///
/// Bytes after the last member, such as the zero padding of tapes and block devices, are not data:
/// they are counted and skipped. flate2's `MultiGzDecoder` fails on them.
pub(crate) struct GzipReader<R> {
    /// `None` after the last member.
    member: Option<GzDecoder<Member<R>>>,
    trailing_bytes: Arc<AtomicU64>,
}

impl<R: Read> GzipReader<R> {
    /// Returns a reader that stores the number of bytes after the last member.
    pub(crate) fn new(reader: BufReader<R>, trailing_bytes: Arc<AtomicU64>) -> Self {
        let member = GzDecoder::new(Cursor::new(Vec::new()).chain(reader));
        Self { member: Some(member), trailing_bytes }
    }

    /// Starts the member after the current one, if there is one.
    fn advance(&mut self) -> io::Result<()> {
        let Some(member) = self.member.take() else { return Ok(()) };
        let (_, mut rest) = member.into_inner().into_inner();
        let mut head = Vec::new();
        rest.by_ref().take(MAGIC.len() as u64).read_to_end(&mut head)?;
        if head == MAGIC {
            self.member = Some(GzDecoder::new(Cursor::new(head).chain(rest)));
        } else {
            let skipped = head.len() as u64 + io::copy(&mut rest, &mut io::sink())?;
            self.trailing_bytes.store(skipped, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl<R: Read> Read for GzipReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let n_read = member.read(buffer)?;
            if n_read > 0 || buffer.is_empty() {
                return Ok(n_read);
            }
            self.advance()?;
        }
        Ok(0)
    }
}
