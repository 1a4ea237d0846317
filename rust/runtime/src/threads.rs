//! One thread pool per process and size.
//!
//! rayon's global pool does not survive a fork: a child that inherits it waits forever. These pools
//! are keyed by the process id, built on first use, and built again in a child. There the parent's
//! handle is leaked, since its threads do not exist in the child and joining them would hang.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Result};

/// Limit of `threads`: above the cores of any machine today, so a larger number is a mistake.
const MAX_THREADS: usize = 4096;

/// The pools of one process, by their number of threads.
struct Pools {
    process: u32,
    by_size: HashMap<usize, Arc<ThreadPool>>,
}

static POOLS: Mutex<Option<Pools>> = Mutex::new(None);

/// Returns the number of threads for `None`: the cores of this machine divided by the processes
/// that share it (`LOCAL_WORLD_SIZE`, which torchrun sets), at least one.
pub fn default_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = std::env::var("LOCAL_WORLD_SIZE")
        .ok()
        .and_then(|size| size.parse::<usize>().ok())
        .unwrap_or(1)
        .max(1);
    (cores / share).max(1)
}

/// Returns the number of threads for an option `threads`, where `None` is [`default_threads`].
///
/// Returns an [`Error::Invalid`] unless it is from 1 to 4096.
pub fn resolve(threads: Option<usize>) -> Result<usize> {
    match threads {
        None => Ok(default_threads()),
        Some(n) if (1..=MAX_THREADS).contains(&n) => Ok(n),
        Some(n) => Err(Error::invalid(format!("threads = {n}: choose 1 to {MAX_THREADS}"))),
    }
}

/// Returns this process's pool of `threads` threads, which is built on first use.
pub fn pool(threads: usize) -> Result<Arc<ThreadPool>> {
    let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    let process = std::process::id();
    if let Some(inherited) = pools.take_if(|pools| pools.process != process) {
        std::mem::forget(inherited);
    }
    let pools = pools.get_or_insert_with(|| Pools { process, by_size: HashMap::new() });
    if let Some(pool) = pools.by_size.get(&threads) {
        return Ok(Arc::clone(pool));
    }
    let pool = ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("lslm-{index}"))
        .build()
        .map_err(|error| Error::invalid(format!("cannot start {threads} threads: {error}")))?;
    let pool = Arc::new(pool);
    pools.by_size.insert(threads, Arc::clone(&pool));
    Ok(pool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_one_pool() {
        let first = pool(2).unwrap();
        assert!(Arc::ptr_eq(&first, &pool(2).unwrap()));
        assert_eq!(first.install(rayon::current_num_threads), 2);
    }

    #[test]
    fn zero_threads_are_refused() {
        assert!(resolve(Some(0)).is_err());
        assert!(resolve(None).unwrap() >= 1);
    }
}
