//! The shards of a dataset, opened when they are first used, and closed when many are open.
//!
//! ```text
//! get(i):   in its slot?  mark it as used, return it
//!           else open it (header page against the manifest, then the map), put it into its slot
//!           and at the end of the process's queue; while the queue is longer than MAX_MAPS,
//!           take the first: used since it was looked at?  back to the end  else close it
//! ```
//!
//! This is the clock algorithm: a queue in which what is in use gets a second chance. A shard that is
//! closed stays mapped as long as a reader holds it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, TryLockError, Weak};

use lslm_runtime::Result;

use crate::bin_file::BinFile;
use crate::manifest::Manifest;
use crate::mapped_shard::{MappedShard, ShardFile, ShardHead, VerifiedBlocks};

/// Shards that this process maps at a time, at most: a fiftieth of 65,530, the usual limit of maps.
const MAX_MAPS: usize = 1000;
/// Attempts to get a lock that is held for nanoseconds. After a fork it may be held for ever; then
/// the caller goes on without it.
const LOCK_ATTEMPTS: usize = 1000;

/// The shards that this process maps, the longest unused first.
static QUEUE: Mutex<VecDeque<Weak<Slot>>> = Mutex::new(VecDeque::new());

/// The shards of a dataset.
#[derive(Debug)]
pub(crate) struct Shards {
    folder: PathBuf,
    /// The files, if they are of another program.
    bins: Vec<BinFile>,
    slots: Box<[Arc<Slot>]>,
}

#[derive(Debug, Default)]
struct Slot {
    open: Mutex<Option<Arc<MappedShard>>>,
    /// Whether it was used since the queue looked at it.
    is_used: AtomicBool,
    /// What was verified stays so when the shard is closed.
    verified: OnceLock<VerifiedBlocks>,
}

impl Shards {
    /// Returns `n` shards in `folder`, none of them open.
    pub(crate) fn new(folder: &Path, n: usize) -> Self {
        let slots = (0..n).map(|_| Arc::default()).collect();
        Self { folder: folder.to_owned(), bins: Vec::new(), slots }
    }

    /// Returns token files of other programs as shards.
    pub(crate) fn of_bins(bins: Vec<BinFile>) -> Self {
        let slots = bins.iter().map(|_| Arc::default()).collect();
        Self { folder: PathBuf::new(), bins, slots }
    }

    /// Returns whether these are token files of other programs, which have no checksums.
    pub(crate) fn are_bins(&self) -> bool {
        !self.bins.is_empty()
    }

    fn open_head(&self, manifest: &Manifest, index: usize) -> Result<(File, ShardHead)> {
        match self.bins.get(index) {
            Some(bin) => ShardHead::of_bin(bin),
            None => ShardHead::open(&self.folder, manifest, index),
        }
    }

    /// Returns shard `index`, which is opened unless it is open.
    pub(crate) fn get(&self, manifest: &Manifest, index: usize) -> Result<Arc<MappedShard>> {
        let slot = &self.slots[index];
        slot.is_used.store(true, Ordering::Relaxed);
        if let Some(shard) = lock(&slot.open).and_then(|open| open.clone()) {
            return Ok(shard);
        }
        let (file, head) = self.open_head(manifest, index)?;
        let verified = slot.verified(&head);
        let shard = Arc::new(MappedShard::new(&file, head, verified)?);
        slot.keep(&shard);
        Ok(shard)
    }

    /// Opens shard `index` as a file, without a map.
    pub(crate) fn open_file(&self, manifest: &Manifest, index: usize) -> Result<ShardFile> {
        let (file, head) = self.open_head(manifest, index)?;
        let verified = self.slots[index].verified(&head);
        Ok(ShardFile { head, file, verified })
    }
}

/// Files that a [`ShardFiles`] keeps open, at most: a quarter of 1,024, the usual limit of a
/// process.
const MAX_OPEN_FILES: usize = 256;

/// Shards opened as files, for reading without maps.
///
/// Random windows of a large dataset are cheaper to read than to map: the first access to a page
/// costs more than a system call, and mapped pages count as this process's memory.
#[derive(Debug, Default)]
pub(crate) struct ShardFiles {
    /// By the address of their dataset's slots and their index.
    open: HashMap<(usize, usize), ShardFile>,
}

impl ShardFiles {
    /// Returns shard `index` of `shards`, opened and checked at the first call.
    pub(crate) fn get(
        &mut self,
        shards: &Shards,
        manifest: &Manifest,
        index: usize,
    ) -> Result<&ShardFile> {
        let key = (shards.slots.as_ptr().addr(), index);
        if self.open.len() >= MAX_OPEN_FILES && !self.open.contains_key(&key) {
            self.open.clear();
        }
        match self.open.entry(key) {
            Entry::Occupied(open) => Ok(open.into_mut()),
            Entry::Vacant(vacant) => Ok(vacant.insert(shards.open_file(manifest, index)?)),
        }
    }
}

impl Slot {
    fn verified(&self, head: &ShardHead) -> VerifiedBlocks {
        Arc::clone(self.verified.get_or_init(|| head.unverified()))
    }

    /// Puts `shard` into its slot and into the queue, and closes others if there are too many.
    fn keep(self: &Arc<Self>, shard: &Arc<MappedShard>) {
        let Some(mut queue) = lock(&QUEUE) else { return };
        match lock(&self.open) {
            Some(mut open) if open.is_none() => *open = Some(Arc::clone(shard)),
            _ => return,
        }
        queue.push_back(Arc::downgrade(self));
        let mut closed = Vec::new(); // unmapped after the lock is released
        for _ in 0..2 * queue.len() {
            if queue.len() <= MAX_MAPS {
                break;
            }
            let Some(first) = queue.pop_front() else { break };
            let Some(slot) = first.upgrade() else { continue };
            match lock(&slot.open) {
                Some(mut open) if !slot.is_used.swap(false, Ordering::Relaxed) => {
                    closed.push(open.take());
                }
                _ => queue.push_back(first),
            }
        }
        drop(queue);
    }
}

/// Returns the lock, or `None` if it stays taken.
fn lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    for _ in 0..LOCK_ATTEMPTS {
        match mutex.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
    None
}
