//! Unicode tables: the general category of every character, and the properties that cleaning needs.
//!
//! [`general_category`] costs two loads from [`tables`], which are generated and state their
//! Unicode [`VERSION`]; they are public, so that other crates can derive tables of their own at
//! compile time. [`properties`] has scripts, ends of sentences, invisible characters and what NFC
//! may change.
//!
//! ```
//! use lslm_unicode::{GeneralCategory, general_category};
//!
//! assert_eq!(general_category('ß'), GeneralCategory::LowercaseLetter);
//! assert!(general_category('\u{301}').is_mark());
//! assert_eq!(lslm_unicode::VERSION, "16.0.0");
//! ```

pub mod properties;
pub mod tables;

pub use tables::VERSION;

/// The general category of a character; control characters that are white space are a category of
/// their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum GeneralCategory {
    /// Lu
    UppercaseLetter,
    /// Ll
    LowercaseLetter,
    /// Lt
    TitlecaseLetter,
    /// Lm
    ModifierLetter,
    /// Lo
    OtherLetter,
    /// Mn
    NonspacingMark,
    /// Mc
    SpacingMark,
    /// Me
    EnclosingMark,
    /// Nd
    DecimalNumber,
    /// Nl
    LetterNumber,
    /// No
    OtherNumber,
    /// Pc
    ConnectorPunctuation,
    /// Pd
    DashPunctuation,
    /// Ps
    OpenPunctuation,
    /// Pe
    ClosePunctuation,
    /// Pi
    InitialPunctuation,
    /// Pf
    FinalPunctuation,
    /// Po
    OtherPunctuation,
    /// Sm
    MathSymbol,
    /// Sc
    CurrencySymbol,
    /// Sk
    ModifierSymbol,
    /// So
    OtherSymbol,
    /// Zs
    SpaceSeparator,
    /// Zl
    LineSeparator,
    /// Zp
    ParagraphSeparator,
    /// Cc that is not White_Space
    Control,
    /// Cc that is White_Space: U+0009 to U+000D and U+0085
    ControlSpace,
    /// Cf
    Format,
    /// Cs; never the category of a `char`
    Surrogate,
    /// Co
    PrivateUse,
    /// Cn
    Unassigned,
}

const CATEGORIES: [GeneralCategory; 31] = [
    GeneralCategory::UppercaseLetter,
    GeneralCategory::LowercaseLetter,
    GeneralCategory::TitlecaseLetter,
    GeneralCategory::ModifierLetter,
    GeneralCategory::OtherLetter,
    GeneralCategory::NonspacingMark,
    GeneralCategory::SpacingMark,
    GeneralCategory::EnclosingMark,
    GeneralCategory::DecimalNumber,
    GeneralCategory::LetterNumber,
    GeneralCategory::OtherNumber,
    GeneralCategory::ConnectorPunctuation,
    GeneralCategory::DashPunctuation,
    GeneralCategory::OpenPunctuation,
    GeneralCategory::ClosePunctuation,
    GeneralCategory::InitialPunctuation,
    GeneralCategory::FinalPunctuation,
    GeneralCategory::OtherPunctuation,
    GeneralCategory::MathSymbol,
    GeneralCategory::CurrencySymbol,
    GeneralCategory::ModifierSymbol,
    GeneralCategory::OtherSymbol,
    GeneralCategory::SpaceSeparator,
    GeneralCategory::LineSeparator,
    GeneralCategory::ParagraphSeparator,
    GeneralCategory::Control,
    GeneralCategory::ControlSpace,
    GeneralCategory::Format,
    GeneralCategory::Surrogate,
    GeneralCategory::PrivateUse,
    GeneralCategory::Unassigned,
];

/// Returns the category that an entry of [`tables::BLOCKS`] stands for.
///
/// For tables that are derived at compile time. Panics for a byte that no entry has.
pub const fn category_of_entry(entry: u8) -> GeneralCategory {
    CATEGORIES[(entry - b'`') as usize]
}

/// Returns the general category of `c`.
pub const fn general_category(c: char) -> GeneralCategory {
    let code = c as usize;
    let block = tables::INDEX[code / tables::BLOCK] as usize;
    category_of_entry(tables::BLOCKS[block * tables::BLOCK + code % tables::BLOCK])
}

impl GeneralCategory {
    /// Returns whether the category is in `\p{L}`.
    pub const fn is_letter(self) -> bool {
        self as u8 <= Self::OtherLetter as u8
    }

    /// Returns whether the category is in `\p{M}`.
    pub const fn is_mark(self) -> bool {
        matches!(self, Self::NonspacingMark | Self::SpacingMark | Self::EnclosingMark)
    }

    /// Returns whether the category is in `\p{N}`.
    pub const fn is_number(self) -> bool {
        matches!(self, Self::DecimalNumber | Self::LetterNumber | Self::OtherNumber)
    }

    /// Returns whether the category is in `\p{P}`.
    pub const fn is_punctuation(self) -> bool {
        self as u8 >= Self::ConnectorPunctuation as u8 && self as u8 <= Self::OtherPunctuation as u8
    }

    /// Returns whether the category is in `\p{S}`.
    pub const fn is_symbol(self) -> bool {
        self as u8 >= Self::MathSymbol as u8 && self as u8 <= Self::OtherSymbol as u8
    }

    /// Returns whether it is in `\s`: the property White_Space.
    pub const fn is_white_space(self) -> bool {
        matches!(
            self,
            Self::SpaceSeparator
                | Self::LineSeparator
                | Self::ParagraphSeparator
                | Self::ControlSpace
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex_syntax::hir::{Class as Set, HirKind};

    /// Returns for each code point whether it is in `class` by regex-syntax, whose tables Rust's
    /// regex crates use.
    fn reference(class: &str) -> Vec<bool> {
        let hir = regex_syntax::parse(class).unwrap();
        let mut members = vec![false; 0x0011_0000];
        match hir.kind() {
            HirKind::Class(Set::Unicode(set)) => {
                for range in set.ranges() {
                    members[range.start() as usize..=range.end() as usize].fill(true);
                }
            }
            // regex-syntax simplifies a class of one character to a literal
            HirKind::Literal(literal) => {
                let text = std::str::from_utf8(&literal.0).unwrap();
                members[text.chars().next().unwrap() as usize] = true;
            }
            other => panic!("{class} is not a class but {other:?}"),
        }
        members
    }

    #[test]
    fn every_code_point_is_in_the_classes_that_regex_syntax_says() {
        type Test = fn(GeneralCategory) -> bool;
        let mut checks: Vec<(String, Test)> = vec![
            (r"\p{L}".into(), GeneralCategory::is_letter),
            (r"\p{M}".into(), GeneralCategory::is_mark),
            (r"\p{N}".into(), GeneralCategory::is_number),
            (r"\p{P}".into(), GeneralCategory::is_punctuation),
            (r"\p{S}".into(), GeneralCategory::is_symbol),
            (r"\s".into(), GeneralCategory::is_white_space),
            (r"\p{Cc}".into(), |class| {
                matches!(class, GeneralCategory::Control | GeneralCategory::ControlSpace)
            }),
        ];
        macro_rules! category {
            ($($name:ident $class:ident),*) => {
                $(checks.push((
                    concat!(r"\p{", stringify!($name), "}").into(),
                    |category| category == GeneralCategory::$class,
                ));)*
            };
        }
        category!(
            Lu UppercaseLetter, Ll LowercaseLetter, Lt TitlecaseLetter, Lm ModifierLetter,
            Lo OtherLetter, Mn NonspacingMark, Mc SpacingMark, Me EnclosingMark,
            Nd DecimalNumber, Nl LetterNumber, No OtherNumber, Pc ConnectorPunctuation,
            Pd DashPunctuation, Ps OpenPunctuation, Pe ClosePunctuation, Pi InitialPunctuation,
            Pf FinalPunctuation, Po OtherPunctuation, Sm MathSymbol, Sc CurrencySymbol,
            Sk ModifierSymbol, So OtherSymbol, Zs SpaceSeparator, Zl LineSeparator,
            Zp ParagraphSeparator, Cf Format, Co PrivateUse, Cn Unassigned
        );
        for (name, test) in checks {
            let expected = reference(&name);
            for c in '\0'..=char::MAX {
                assert_eq!(
                    test(general_category(c)),
                    expected[c as usize],
                    "{name} U+{:04X}",
                    c as u32
                );
            }
        }
    }

    #[test]
    fn surrogates_have_a_category_of_their_own() {
        for code in 0xD800..0xE000 {
            let block = tables::INDEX[code / tables::BLOCK] as usize;
            let entry = tables::BLOCKS[block * tables::BLOCK + code % tables::BLOCK];
            assert_eq!(category_of_entry(entry), GeneralCategory::Surrogate);
        }
    }
}
