//! The number types that tokens are read as.

/// A number type that tokens can be read as.
pub trait Element: Copy + Default + Send + 'static {
    /// Reads ids of two bytes; false if they do not fit.
    fn from_narrow(bytes: &[[u8; 2]], out: &mut [Self]) -> bool;
    /// Reads ids of four bytes; false if they may not fit.
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

impl Element for u32 {
    fn from_narrow(bytes: &[[u8; 2]], out: &mut [Self]) -> bool {
        out.iter_mut().zip(bytes).for_each(|(out, id)| *out = u16::from_le_bytes(*id).into());
        true
    }

    fn from_wide(bytes: &[[u8; 4]], out: &mut [Self]) -> bool {
        out.iter_mut().zip(bytes).for_each(|(out, id)| *out = u32::from_le_bytes(*id));
        true
    }
}

impl Element for i64 {
    fn from_narrow(bytes: &[[u8; 2]], out: &mut [Self]) -> bool {
        out.iter_mut().zip(bytes).for_each(|(out, id)| *out = u16::from_le_bytes(*id).into());
        true
    }

    fn from_wide(bytes: &[[u8; 4]], out: &mut [Self]) -> bool {
        out.iter_mut().zip(bytes).for_each(|(out, id)| *out = u32::from_le_bytes(*id).into());
        true
    }
}
