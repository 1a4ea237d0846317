//! Indexed work on all threads, with results in order.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::threads;

/// Runs `work` for each index in `0..n` on `threads` threads, begun in order; the results in order.
///
/// Errors are those of [`in_order`].
pub fn for_each_index<T: Send>(
    n: usize,
    threads: usize,
    work: impl Fn(usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let mut results = Vec::with_capacity(n);
    in_order(n, threads, work, |result| results.push(result))?;
    Ok(results)
}

/// Runs `work` for each index in `0..n` on `threads` threads, begun in order, and hands the results
/// to `take`, in order and one at a time, while the work goes on.
///
/// Each thread takes the lowest index that nobody has; so at most `threads` are open at a time, and
/// a thread that finds none left helps the others inside theirs. After an error no new index is
/// begun, and the error of the lowest index is returned: the same one for any number of threads
/// unless several fail at once.
pub fn in_order<T: Send>(
    n: usize,
    threads: usize,
    work: impl Fn(usize) -> Result<T> + Sync,
    take: impl FnMut(T) + Send,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let errors = Mutex::new(Vec::new());
    let waiting = (0..n).map(|_| None).collect();
    let results = Mutex::new(Results { waiting, taken: 0, take: Some(take) });
    // broadcast and not par_iter: a thread that waits inside one index must not begin another
    threads::pool(threads)?.broadcast(|_| {
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= n {
                break;
            }
            match work(index) {
                Ok(result) => bring(&results, index, result),
                Err(error) => {
                    failed.store(true, Ordering::Relaxed);
                    errors.lock().unwrap_or_else(PoisonError::into_inner).push((index, error));
                }
            }
        }
    });
    let errors = errors.into_inner().unwrap_or_else(PoisonError::into_inner);
    // a real error says more than the cancellation that may have followed it
    let first =
        errors.into_iter().min_by_key(|(index, error)| (matches!(error, Error::Cancelled), *index));
    first.map_or(Ok(()), |(_, error)| Err(error))
}

/// Results that came, of which those before `taken` are gone.
struct Results<T, F> {
    waiting: Vec<Option<T>>,
    taken: usize,
    /// not there while a thread is at it
    take: Option<F>,
}

/// Has `take` take the result of `index` and those that waited for it. When another thread is at
/// that, it will take this one, too, and nobody waits.
fn bring<T, F: FnMut(T)>(results: &Mutex<Results<T, F>>, index: usize, result: T) {
    let lock = || results.lock().unwrap_or_else(PoisonError::into_inner);
    let mut state = lock();
    state.waiting[index] = Some(result);
    let Some(mut take) = state.take.take() else { return };
    let taken = |state: &mut Results<T, F>| {
        let result = state.waiting.get_mut(state.taken)?.take();
        state.taken += usize::from(result.is_some());
        result
    };
    while let Some(result) = taken(&mut state) {
        drop(state);
        take(result);
        state = lock();
    }
    state.take = Some(take);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_for_any_number_of_threads() {
        for threads in [1, 2, 5] {
            let squares = for_each_index(1_000, threads, |index| Ok(index * index)).unwrap();
            assert_eq!(squares, (0..1_000).map(|i| i * i).collect::<Vec<_>>());
        }
    }

    #[test]
    fn results_that_come_early_wait_for_those_before() {
        let first = AtomicBool::new(false);
        let mut taken = Vec::new();
        let work = |index| {
            while index == 0 && !first.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            first.fetch_or(index == 9, Ordering::Release);
            Ok(index)
        };
        in_order(10, 2, work, |index| taken.push(index)).unwrap();
        assert_eq!(taken, (0..10).collect::<Vec<_>>());
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
}
