//! Panics of others' code that are an answer, not an accident.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// Whether a panic of this thread is expected now.
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `call`; `None` if it panics. Nothing is printed then.
///
/// For libraries that answer broken input with a panic. What `call` was working on may be left in
/// any state afterwards and should be thrown away. A panic on another thread is not caught here,
/// and is printed as ever.
pub fn catch<T>(call: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !EXPECTED.get() {
                before(panic);
            }
        }));
    });
    let outer = EXPECTED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(call));
    EXPECTED.set(outer);
    result.ok()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn an_expected_panic_is_silent_and_others_are_not() {
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
