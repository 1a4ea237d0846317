//! The classes of characters that mojibake is recognised by.

use super::tables;

/// What a character is in mojibake; a set, as for `Properties` of `chars.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Classes(u32);

impl Classes {
    /// Characters that occur in many contexts, so that their sequences mean nothing.
    pub(super) const COMMON: Self = Self(1);
    pub(super) const C1: Self = Self(1 << 1);
    /// Almost never used on purpose.
    pub(super) const BAD: Self = Self(1 << 2);
    pub(super) const LAW: Self = Self(1 << 3);
    pub(super) const CURRENCY: Self = Self(1 << 4);
    pub(super) const START: Self = Self(1 << 5);
    pub(super) const END: Self = Self(1 << 6);
    pub(super) const NUMERIC: Self = Self(1 << 7);
    /// Letters and signs that make faces.
    pub(super) const KAOMOJI: Self = Self(1 << 8);
    pub(super) const UPPER_ACCENTED: Self = Self(1 << 9);
    pub(super) const LOWER_ACCENTED: Self = Self(1 << 10);
    /// Greek, Cyrillic, and thorn.
    pub(super) const UPPER_COMMON: Self = Self(1 << 11);
    pub(super) const LOWER_COMMON: Self = Self(1 << 12);
    pub(super) const BOX: Self = Self(1 << 13);
    /// What the lead byte of a sequence of two, three or four bytes is decoded to.
    pub(super) const FIRST_OF_2: Self = Self(1 << 14);
    pub(super) const FIRST_OF_3: Self = Self(1 << 15);
    pub(super) const FIRST_OF_4: Self = Self(1 << 16);
    /// What another byte is decoded to, and the space.
    pub(super) const CONTINUATION: Self = Self(1 << 17);
    /// The same without spaces and punctuation.
    pub(super) const CONTINUATION_STRICT: Self = Self(1 << 18);

    /// Returns the classes of `char`.
    #[inline]
    pub(super) fn of(char: char) -> Self {
        /// All characters with a class are below it, except three.
        const END: usize = 0x2600;
        static TABLE: std::sync::LazyLock<Vec<u32>> = std::sync::LazyLock::new(|| {
            let mut table = vec![0; END];
            for (index, (start, classes)) in tables::CLASSES.iter().enumerate() {
                let next = tables::CLASSES.get(index + 1).map_or(END, |run| usize::from(run.0));
                if let Some(run) = table.get_mut(usize::from(*start)..next.min(END)) {
                    run.fill(*classes);
                }
            }
            table
        });
        match char as usize {
            code @ 0..END => Self(TABLE[code]),
            0xf8ff => Self::START,
            0xfb01 | 0xfb02 => Self::LOWER_ACCENTED,
            0xfffd => Self::BAD,
            _ => Self(0),
        }
    }

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}
