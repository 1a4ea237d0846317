//! Partitions on all threads, and inside a partition reading beside computing.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use lslm_runtime::{Error, Result, threads};
use rayon::prelude::*;

/// Runs `work` for each index in `0..n` on `threads` threads, begun in order; the results in order.
///
/// Each thread takes the lowest index that nobody has; so at most `threads` are open at a time, and
/// a thread that finds none left helps the others inside theirs. After an error no new index is
/// begun, and the error of the lowest index is returned: the same one for any number of threads
/// unless several fail at once.
pub(crate) fn for_each_index<T: Send>(
    n: usize,
    threads: usize,
    work: impl Fn(usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let results: Mutex<Vec<(usize, Result<T>)>> = Mutex::new(Vec::with_capacity(n));
    // broadcast and not par_iter: a thread that waits inside one index must not begin another
    threads::pool(threads)?.broadcast(|_| {
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= n {
                break;
            }
            let result = work(index);
            if result.is_err() {
                failed.store(true, Ordering::Relaxed);
            }
            results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((index, result));
        }
    });
    let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    // a real error says more than the cancellation that may have followed it
    if let Some(at) =
        results.iter().position(|(_, r)| matches!(r, Err(e) if !matches!(e, Error::Cancelled)))
        && let (_, Err(error)) = results.swap_remove(at)
    {
        return Err(error);
    }
    results.into_iter().map(|(_, result)| result).collect()
}

/// Computes on one batch of chunks while the next is read; hands the results to `write` in order.
///
/// `read` returns up to a few megabytes of chunks, none at the end. Must run on a thread of the
/// pool: idle threads of it take chunks, so one large input keeps all of them busy.
pub(crate) fn overlap<C: Send, R: Send>(
    mut read: impl FnMut() -> Result<Vec<C>> + Send,
    compute: impl Fn(C) -> Result<R> + Sync,
    mut write: impl FnMut(R) -> Result<()>,
) -> Result<()> {
    let mut batch = read()?;
    while !batch.is_empty() {
        let (results, next) = rayon::join(
            || batch.into_par_iter().with_max_len(1).map(&compute).collect::<Vec<Result<R>>>(),
            &mut read,
        );
        for result in results {
            write(result?)?;
        }
        batch = next?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_for_any_number_of_threads() {
        for threads in [1, 2, 5] {
            let squares = for_each_index(100, threads, |index| Ok(index * index)).unwrap();
            assert_eq!(squares, (0..100).map(|i| i * i).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_error_ends_the_work() {
        let begun = AtomicUsize::new(0);
        let result = for_each_index(10_000, 2, |index| {
            begun.fetch_add(1, Ordering::Relaxed);
            if index == 3 { Err(Error::invalid("three")) } else { Ok(()) }
        });
        assert_eq!(result.unwrap_err().to_string(), "three");
        assert!(begun.load(Ordering::Relaxed) < 10_000);
    }

    #[test]
    fn overlapped_results_keep_the_order_of_reading() {
        let pool = threads::pool(2).unwrap();
        let mut batches = (0..20_u32).map(|b| (b * 10..b * 10 + 10).collect::<Vec<_>>());
        let mut written = Vec::new();
        pool.install(|| {
            overlap(
                || Ok(batches.next().unwrap_or_default()),
                |x| Ok(x * 2),
                |y| {
                    written.push(y);
                    Ok(())
                },
            )
        })
        .unwrap();
        assert_eq!(written, (0..200).map(|x| x * 2).collect::<Vec<_>>());
    }
}
