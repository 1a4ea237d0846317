//! Catches panics of third-party parsers that panic on malformed input.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// Whether this thread is inside [`catch`].
    static CATCHING: Cell<bool> = const { Cell::new(false) };
}

/// Runs `call` and returns its result, or `None` if it panics; the panic is not printed.
///
/// A value that `call` was changing may be in any state afterwards and should be dropped. Panics
/// on other threads are neither caught nor silenced.
pub fn catch<T>(call: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !CATCHING.get() {
                before(panic);
            }
        }));
    });
    let outer = CATCHING.replace(true);
    let result = catch_unwind(AssertUnwindSafe(call));
    CATCHING.set(outer);
    result.ok()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_caught_panic_is_silent_and_others_are_printed() {
        static SEEN: AtomicUsize = AtomicUsize::new(0);
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if panic.payload_as_str() == Some("counted") {
                SEEN.fetch_add(1, Ordering::Relaxed);
            } else {
                before(panic);
            }
        }));
        assert_eq!(catch(|| 7), Some(7));
        assert_eq!(catch(|| -> u8 { panic!("counted") }), None);
        assert_eq!(SEEN.load(Ordering::Relaxed), 0);
        assert_eq!(catch(|| catch(|| -> u8 { panic!("counted") })), Some(None));
        assert!(catch_unwind(|| panic!("counted")).is_err());
        assert_eq!(SEEN.load(Ordering::Relaxed), 1);
    }
}
