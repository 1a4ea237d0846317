//! A hint to the processor to fetch memory that will be read soon.
#![allow(unsafe_code)]

/// Asks for the cache line that holds `value`. It changes nothing but time, and does nothing on
/// processors for which the standard library has no such hint.
#[inline(always)]
pub(crate) fn prefetch<T>(value: &T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the instruction is part of the baseline of x86-64 and never faults; the address
        // is that of a live value.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast()) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = value;
}
