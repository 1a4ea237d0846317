//! [`Pages`]: the memory of large tables, in huge pages where the system has them.
//!
//! A table that is read at random needs an entry of the translation cache for each page; 8 MB are
//! 2,048 pages of 4 KB, more than that cache holds, but 4 pages of 2 MB.
#![allow(unsafe_code)] // reads memory of the system as numbers

use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use memmap2::MmapMut;

/// The size of a huge page on x86-64, and on AArch64 with pages of 4 KB.
const HUGE_PAGE: usize = 2 << 20;

/// A fixed number of values in memory of its own.
pub(crate) struct Pages<T> {
    values: NonNull<T>,
    len: usize,
    memory: Memory,
}

/// Where the values are.
enum Memory {
    /// In a vector with this capacity.
    Heap(usize),
    Map {
        _map: MmapMut,
    },
}

// SAFETY: the values are owned and reached through `&self` and `&mut self` only, like a vector's.
unsafe impl<T: Send> Send for Pages<T> {}
// SAFETY: the same.
unsafe impl<T: Sync> Sync for Pages<T> {}

impl<T> Pages<T> {
    fn heap(values: Vec<T>) -> Self {
        let mut values = ManuallyDrop::new(values);
        let start = NonNull::new(values.as_mut_ptr()).unwrap_or_else(NonNull::dangling);
        Self { values: start, len: values.len(), memory: Memory::Heap(values.capacity()) }
    }
}

impl<T: Copy> Pages<T> {
    /// Returns `len` times `value`.
    pub(crate) fn new(len: usize, value: T) -> Self {
        let size = len * size_of::<T>();
        if size >= HUGE_PAGE
            && let Ok(mut map) = MmapMut::map_anon(size + HUGE_PAGE)
        {
            let start = map.as_mut_ptr();
            let start = start.wrapping_add(start.align_offset(HUGE_PAGE));
            #[cfg(target_os = "linux")]
            let _ = map.advise(memmap2::Advice::HugePage); // a hint
            if let Some(values) = NonNull::new(start.cast::<T>()) {
                for i in 0..len {
                    // SAFETY: `len` values fit after the at most HUGE_PAGE bytes before `start`,
                    // which is aligned to a page, and nothing else refers to the map.
                    unsafe { values.add(i).write(value) };
                }
                return Self { values, len, memory: Memory::Map { _map: map } };
            }
        }
        Self::heap(vec![value; len])
    }
}

impl<T> Drop for Pages<T> {
    fn drop(&mut self) {
        if let Memory::Heap(capacity) = self.memory {
            // SAFETY: these are the parts of the vector that `heap` was given.
            drop(unsafe { Vec::from_raw_parts(self.values.as_ptr(), self.len, capacity) });
        }
    }
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self::heap(Vec::new())
    }
}

impl<T> Deref for Pages<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: `len` values were written there; they live as long as `memory`.
        unsafe { std::slice::from_raw_parts(self.values.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Pages<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above; nothing else refers to them.
        unsafe { std::slice::from_raw_parts_mut(self.values.as_ptr(), self.len) }
    }
}

impl<T: Copy> Clone for Pages<T> {
    fn clone(&self) -> Self {
        let Some(&first) = self.first() else { return Self::default() };
        let mut copy = Self::new(self.len, first);
        copy.copy_from_slice(self);
        copy
    }
}

impl<T> fmt::Debug for Pages<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &self.memory {
            Memory::Heap(_) => "heap",
            Memory::Map { .. } => "map",
        };
        write!(f, "Pages({} values, {place})", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(align(64))]
    struct Line([u64; 8]);

    #[test]
    fn values_are_aligned_and_kept() {
        for len in [0, 1, 1000, 100_003] {
            let mut pages = Pages::new(len, Line([7; 8]));
            assert_eq!(pages.len(), len);
            assert_eq!(pages.as_ptr().align_offset(64), 0);
            assert!(pages.iter().all(|line| *line == Line([7; 8])));
            for (i, line) in (0..).zip(pages.iter_mut()) {
                line.0 = [i; 8];
            }
            let moved = Box::new(pages);
            assert!((0..).zip(moved.clone().iter()).all(|(i, line)| line.0 == [i; 8]));
            assert!((0..).zip(moved.iter()).all(|(i, line)| line.0 == [i; 8]));
        }
    }
}
