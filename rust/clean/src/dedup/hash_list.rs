//! Sorted hashes in a file, of which one range can be read.
//!
//! ```text
//! table    1,025 numbers of 8 bytes: the index of the first entry of each bucket, and of the end
//! entries  the hash, 16 bytes, and what belongs to it, sorted; all little-endian
//! ```
//!
//! A bucket is the entries whose hashes begin with the same ten bits.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

use lslm_runtime::files::AtomicFile;
use lslm_runtime::{Error, Result};

/// Ranges of the hash space that can be read on their own. With 1,024, the lists of 10^10 entries are
/// searched in ranges of 10^7, which take 320 MB in memory.
pub(super) const N_BUCKETS: usize = 1024;
/// The bytes of a table.
pub(super) const TABLE_BYTES: u64 = (N_BUCKETS as u64 + 1) * 8;
/// The bytes of an entry of a list: hash and position.
const ENTRY_BYTES: usize = 24;

/// Returns the bucket of a hash.
pub(super) fn bucket_of(hash: u128) -> usize {
    (hash >> 118) as usize
}

/// Returns the table for these numbers of entries by bucket.
pub(super) fn table_bytes(counts: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(TABLE_BYTES as usize);
    let mut start = 0_u64;
    for count in counts {
        bytes.extend(start.to_le_bytes());
        start += count;
    }
    bytes.extend(start.to_le_bytes());
    bytes
}

/// Writes a list of hashes, each with the number of its document or part in the partition.
pub fn write_hash_list(path: &Path, mut entries: Vec<(u128, u64)>) -> Result<()> {
    entries.sort_unstable();
    let mut counts = vec![0; N_BUCKETS];
    for (hash, _) in &entries {
        counts[bucket_of(*hash)] += 1;
    }
    let mut file = AtomicFile::create(path)?;
    file.write_all(&table_bytes(&counts)).map_err(Error::io(path))?;
    for (hash, position) in &entries {
        let mut entry = [0; ENTRY_BYTES];
        entry[..16].copy_from_slice(&hash.to_le_bytes());
        entry[16..].copy_from_slice(&position.to_le_bytes());
        file.write_all(&entry).map_err(Error::io(path))?;
    }
    file.commit()
}

/// Returns the number of entries of a list.
pub(super) fn list_len(path: &Path) -> Result<u64> {
    let bytes = std::fs::metadata(path).map_err(Error::io(path))?.len();
    Ok(bytes.saturating_sub(TABLE_BYTES) / ENTRY_BYTES as u64)
}

/// Returns the entries of a list in these buckets, sorted.
pub(super) fn read_hash_list(path: &Path, buckets: Range<usize>) -> Result<Vec<(u128, u64)>> {
    let bytes = read_entries(path, 0, ENTRY_BYTES, buckets)?;
    let (entries, _) = bytes.as_chunks::<ENTRY_BYTES>();
    Ok(entries.iter().map(|entry| (hash_at(entry), number_at(&entry[16..]))).collect())
}

/// Returns the hash in the first 16 bytes.
pub(super) fn hash_at(bytes: &[u8]) -> u128 {
    bytes.iter().take(16).rev().fold(0, |hash, byte| hash << 8 | u128::from(*byte))
}

/// Returns the number in the first 8 bytes.
pub(super) fn number_at(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Returns the bytes of the entries, of `entry_bytes` each, in these buckets of the table at `offset`.
pub(super) fn read_entries(
    path: &Path,
    offset: u64,
    entry_bytes: usize,
    buckets: Range<usize>,
) -> Result<Vec<u8>> {
    let io = Error::io(path);
    let read = || -> std::io::Result<Option<Vec<u8>>> {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        let mut limit = |bucket: usize| {
            let mut bytes = [0; 8];
            file.seek(SeekFrom::Start(offset + bucket as u64 * 8))?;
            file.read_exact(&mut bytes)?;
            std::io::Result::Ok(u64::from_le_bytes(bytes))
        };
        let (start, end) = (limit(buckets.start)?, limit(buckets.end)?);
        let at =
            |index: u64| index.checked_mul(entry_bytes as u64)?.checked_add(offset + TABLE_BYTES);
        let (Some(first), Some(last)) = (at(start), at(end)) else { return Ok(None) };
        if first > last || last > size {
            return Ok(None);
        }
        let mut bytes = vec![0; (last - first) as usize];
        file.seek(SeekFrom::Start(first))?;
        file.read_exact(&mut bytes)?;
        Ok(Some(bytes))
    };
    let found = read().map_err(io)?;
    found.ok_or_else(|| Error::format(path, None, "the table of its hashes is broken"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_a_list_are_read_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        let spread = |n: u64| (u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 64, n);
        let mut entries: Vec<_> = (0..5000).map(spread).collect();
        write_hash_list(&path, entries.clone()).unwrap();
        entries.sort_unstable();
        assert_eq!(list_len(&path).unwrap(), 5000);
        assert_eq!(read_hash_list(&path, 0..N_BUCKETS).unwrap(), entries);
        let parts: Vec<_> = [0..1, 1..500, 500..500, 500..N_BUCKETS]
            .into_iter()
            .flat_map(|buckets| read_hash_list(&path, buckets).unwrap())
            .collect();
        assert_eq!(parts, entries);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[8 * N_BUCKETS..8 * N_BUCKETS + 8].fill(0xff);
        std::fs::write(&path, bytes).unwrap();
        assert!(read_hash_list(&path, 0..N_BUCKETS).is_err());
    }
}
