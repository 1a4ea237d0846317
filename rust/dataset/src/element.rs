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
