//! Asking for memory before it is needed.
#![allow(unsafe_code)] // a prefetch takes a pointer, though it can do no harm

/// Brings the cache line of `slice[index]` near, if there is such an element.
#[inline(always)]
pub(super) fn prefetch<T>(slice: &[T], index: usize) {
    if let Some(element) = slice.get(index) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the instruction changes no memory and cannot fault; the pointer is to an element
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(element).cast());
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above
        unsafe {
            std::arch::asm!("prfm pldl1keep, [{}]", in(reg) std::ptr::from_ref(element),
                options(nostack, preserves_flags, readonly));
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let _ = element;
    }
}
