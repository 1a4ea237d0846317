//! The integer types that stored ids are read as.

/// An integer type that stored ids can be read as: `u16`, `u32` or `i64`.
pub trait Element: Copy + Default + Send + 'static {
    /// Converts ids of two bytes into `out`, one each; returns false if they do not fit.
    fn from_narrow(bytes: &[[u8; 2]], out: &mut [Self]) -> bool;
    /// Converts ids of four bytes into `out`, one each; returns false if they may not fit.
    fn from_wide(bytes: &[[u8; 4]], out: &mut [Self]) -> bool;
}

impl Element for u16 {
    fn from_narrow(bytes: &[[u8; 2]], out: &mut [Self]) -> bool {
        out.iter_mut().zip(bytes).for_each(|(out, id)| *out = u16::from_le_bytes(*id));
        true
    }

    fn from_wide(_: &[[u8; 4]], _: &mut [Self]) -> bool {
        false
    }
}

/// Implements [`Element`] for types that hold every id.
macro_rules! wide_element {
    ($($type:ty),+) => {$(
        impl Element for $type {
            fn from_narrow(bytes: &[[u8; 2]], out: &mut [Self]) -> bool {
                out.iter_mut().zip(bytes).for_each(|(out, id)| *out = u16::from_le_bytes(*id).into());
                true
            }

            fn from_wide(bytes: &[[u8; 4]], out: &mut [Self]) -> bool {
                out.iter_mut().zip(bytes).for_each(|(out, id)| *out = u32::from_le_bytes(*id).into());
                true
            }
        }
    )+};
}

wide_element!(u32, i64);

/// Largest vocabulary that [`has_at_least`] checks by the sign bit.
const MAX_SIGNED: u32 = 1 << 31;

/// Returns the index of the first id in `bytes` that is not below `vocab_size`, or `None`; ids have
/// `width` bytes, 2 or 4.
pub(crate) fn first_at_least(vocab_size: u32, width: usize, bytes: &[u8]) -> Option<usize> {
    // first one answer for all: it needs no branch per token, and whole data needs nothing else
    if width == 2 {
        let mut ids = bytes.as_chunks().0.iter().map(|id| u16::from_le_bytes(*id));
        let largest = u32::from(ids.clone().max()?);
        if largest < vocab_size { None } else { ids.position(|id| u32::from(id) >= vocab_size) }
    } else {
        let mut ids = bytes.as_chunks().0.iter().map(|id| u32::from_le_bytes(*id));
        if has_at_least(vocab_size, ids.clone()) {
            ids.position(|id| id >= vocab_size)
        } else {
            None
        }
    }
}

/// Returns whether one of `ids` is not below `vocab_size`.
///
/// SSE2, which every x86-64 has, lacks a maximum of 32-bit integers. An id below 2^31 is too large
/// if adding 2^31 − `vocab_size` sets its sign bit.
fn has_at_least(vocab_size: u32, ids: impl Iterator<Item = u32>) -> bool {
    let Some(distance) = MAX_SIGNED.checked_sub(vocab_size) else {
        return ids.max().is_some_and(|largest| largest >= vocab_size);
    };
    let signs = ids.fold(0, |signs, id| signs | id | id.wrapping_add(distance));
    signs & MAX_SIGNED != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn some_id() -> impl Strategy<Value = u32> {
        prop_oneof![any::<u32>(), 0_u32..9, Just(MAX_SIGNED - 1), Just(MAX_SIGNED)]
    }

    proptest! {
        #[test]
        fn the_first_id_beyond_the_vocabulary_is_found(
            ids in proptest::collection::vec(some_id(), 0..40), vocab_size in some_id(),
        ) {
            let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
            let expected = ids.iter().position(|id| *id >= vocab_size);
            prop_assert_eq!(first_at_least(vocab_size, 4, &bytes), expected);
            let narrow: Vec<u16> = ids.iter().map(|id| *id as u16).collect();
            let bytes: Vec<u8> = narrow.iter().flat_map(|id| id.to_le_bytes()).collect();
            let expected = narrow.iter().position(|id| u32::from(*id) >= vocab_size);
            prop_assert_eq!(first_at_least(vocab_size, 2, &bytes), expected);
        }
    }
}
