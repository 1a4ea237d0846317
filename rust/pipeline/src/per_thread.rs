//! One value per thread of the pool, such as buffers that are reused.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// One value per thread, each with a lock that only threads outside the pool would wait for.
pub(crate) struct PerThread<T> {
    values: Vec<Mutex<T>>,
}

impl<T> PerThread<T> {
    pub(crate) fn new(threads: usize, mut create: impl FnMut() -> T) -> Self {
        Self { values: (0..threads).map(|_| Mutex::new(create())).collect() }
    }

    /// Locks the value of the current thread. Threads outside the pool share the first.
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        let thread = rayon::current_thread_index().unwrap_or(0) % self.values.len();
        self.values[thread].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the values, in the order of the threads.
    pub(crate) fn into_values(self) -> impl Iterator<Item = T> {
        self.values
            .into_iter()
            .map(|value| value.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}
