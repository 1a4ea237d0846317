//! Indexed work on several threads, with results in order.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::threads;

/// Runs `work` for each index in `0..n` on `threads` threads, started in order, and returns the
/// results in order.
///
/// Errors are those of [`in_order`].
///
/// ```
/// use lslm_runtime::parallel::for_each_index;
///
/// let squares = for_each_index(4, 2, |index| Ok(index * index))?;
/// assert_eq!(squares, [0, 1, 4, 9]);
/// # Ok::<(), lslm_runtime::Error>(())
/// ```
pub fn for_each_index<T: Send>(
    n: usize,
    threads: usize,
    work: impl Fn(usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let mut results = Vec::with_capacity(n);
    in_order(n, threads, work, |result| results.push(result))?;
    Ok(results)
}

/// Runs `work` for each index in `0..n` on `threads` threads, started in order, and passes the
/// results to `consume`, in order and one at a time, while the work continues.
///
/// Each thread starts the lowest index that is left, so at most `threads` are open at a time; a
/// thread that finds none left runs parallel work inside the open ones. After an error no new index
/// is started, and the error of the lowest index is returned: the same one for any number of
/// threads, unless several fail at once.
pub fn in_order<T: Send>(
    n: usize,
    threads: usize,
    work: impl Fn(usize) -> Result<T> + Sync,
    consume: impl FnMut(T) + Send,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let errors = Mutex::new(Vec::new());
    let waiting = (0..n).map(|_| None).collect();
    let results = Mutex::new(Results { waiting, n_consumed: 0, consume: Some(consume) });
    // broadcast, not par_iter: a thread that waits inside one index must not start another
    threads::pool(threads)?.broadcast(|_| {
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= n {
                break;
            }
            match work(index) {
                Ok(result) => deliver(&results, index, result),
                Err(error) => {
                    failed.store(true, Ordering::Relaxed);
                    errors.lock().unwrap_or_else(PoisonError::into_inner).push((index, error));
                }
            }
        }
    });
    let errors = errors.into_inner().unwrap_or_else(PoisonError::into_inner);
    // a cancellation may follow from another error, which says more
    let first =
        errors.into_iter().min_by_key(|(index, error)| (matches!(error, Error::Cancelled), *index));
    first.map_or(Ok(()), |(_, error)| Err(error))
}

/// Finished results that wait for those of lower indices.
struct Results<T, F> {
    waiting: Vec<Option<T>>,
    /// The results of the indices below this one were consumed.
    n_consumed: usize,
    /// `None` while a thread is running it.
    consume: Option<F>,
}

/// Stores the result of `index`, then consumes all results that are next in order.
///
/// Returns at once when another thread is consuming: that thread consumes this result too.
fn deliver<T, F: FnMut(T)>(results: &Mutex<Results<T, F>>, index: usize, result: T) {
    let lock = || results.lock().unwrap_or_else(PoisonError::into_inner);
    let mut state = lock();
    state.waiting[index] = Some(result);
    let Some(mut consume) = state.consume.take() else { return };
    let next = |state: &mut Results<T, F>| {
        let result = state.waiting.get_mut(state.n_consumed)?.take();
        state.n_consumed += usize::from(result.is_some());
        result
    };
    while let Some(result) = next(&mut state) {
        drop(state);
        consume(result);
        state = lock();
    }
    state.consume = Some(consume);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_order_for_any_number_of_threads() {
        for threads in [1, 2, 5] {
            let squares = for_each_index(1_000, threads, |index| Ok(index * index)).unwrap();
            assert_eq!(squares, (0..1_000).map(|i| i * i).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_early_result_waits_for_those_before_it() {
        let first = AtomicBool::new(false);
        let mut consumed = Vec::new();
        let work = |index| {
            while index == 0 && !first.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            first.fetch_or(index == 9, Ordering::Release);
            Ok(index)
        };
        in_order(10, 2, work, |index| consumed.push(index)).unwrap();
        assert_eq!(consumed, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn no_index_is_started_after_an_error() {
        let started = AtomicUsize::new(0);
        let result = for_each_index(10_000, 2, |index| {
            started.fetch_add(1, Ordering::Relaxed);
            if index == 3 { Err(Error::invalid("three")) } else { Ok(()) }
        });
        assert_eq!(result.unwrap_err().to_string(), "three");
        assert!(started.load(Ordering::Relaxed) < 10_000);
    }
}
