//! The general category of every character, from generated tables that state their Unicode version.
//!
//! [`properties`] has what cleaning asks for beside that. [`class_of`] is two loads. The tables themselves are public, for users that derive their own
//! at compile time.

pub mod properties;
pub mod tables;

pub use tables::VERSION;

/// The general category of a character, with the control characters that are white space set apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Class {
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
    /// Cc without the white space
    Control,
    /// Cc that is White_Space: U+0009 to U+000D and U+0085
    ControlSpace,
    /// Cf
    Format,
    /// Cs; never the class of a `char`
    Surrogate,
    /// Co
    PrivateUse,
    /// Cn
    Unassigned,
}

const CLASSES: [Class; 31] = [
    Class::UppercaseLetter,
    Class::LowercaseLetter,
    Class::TitlecaseLetter,
    Class::ModifierLetter,
    Class::OtherLetter,
    Class::NonspacingMark,
    Class::SpacingMark,
    Class::EnclosingMark,
    Class::DecimalNumber,
    Class::LetterNumber,
    Class::OtherNumber,
    Class::ConnectorPunctuation,
    Class::DashPunctuation,
    Class::OpenPunctuation,
    Class::ClosePunctuation,
    Class::InitialPunctuation,
    Class::FinalPunctuation,
    Class::OtherPunctuation,
    Class::MathSymbol,
    Class::CurrencySymbol,
    Class::ModifierSymbol,
    Class::OtherSymbol,
    Class::SpaceSeparator,
    Class::LineSeparator,
    Class::ParagraphSeparator,
    Class::Control,
    Class::ControlSpace,
    Class::Format,
    Class::Surrogate,
    Class::PrivateUse,
    Class::Unassigned,
];

/// The class of an entry of [`tables::BLOCKS`]; for tables derived at compile time.
pub const fn class_of_entry(entry: u8) -> Class {
    CLASSES[(entry - b'`') as usize]
}

/// The general category of `c`.
pub const fn class_of(c: char) -> Class {
    let code = c as usize;
    let block = tables::INDEX[code / tables::BLOCK] as usize;
    class_of_entry(tables::BLOCKS[block * tables::BLOCK + code % tables::BLOCK])
}

impl Class {
    /// `\p{L}`
    pub const fn is_letter(self) -> bool {
        self as u8 <= Self::OtherLetter as u8
    }

    /// `\p{M}`
    pub const fn is_mark(self) -> bool {
        matches!(self, Self::NonspacingMark | Self::SpacingMark | Self::EnclosingMark)
    }

    /// `\p{N}`
    pub const fn is_number(self) -> bool {
        matches!(self, Self::DecimalNumber | Self::LetterNumber | Self::OtherNumber)
    }

    /// `\p{P}`
    pub const fn is_punctuation(self) -> bool {
        self as u8 >= Self::ConnectorPunctuation as u8 && self as u8 <= Self::OtherPunctuation as u8
    }

    /// `\p{S}`
    pub const fn is_symbol(self) -> bool {
        self as u8 >= Self::MathSymbol as u8 && self as u8 <= Self::OtherSymbol as u8
    }

    /// `\s`, the property White_Space
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

    /// The code points of `class` in regex-syntax, the tables behind Rust's regex crates.
    fn reference(class: &str) -> Vec<bool> {
        let hir = regex_syntax::parse(class).unwrap();
        let mut members = vec![false; 0x0011_0000];
        match hir.kind() {
            HirKind::Class(Set::Unicode(set)) => {
                for range in set.ranges() {
                    members[range.start() as usize..=range.end() as usize].fill(true);
                }
            }
            // a class of one member
            HirKind::Literal(literal) => {
                let text = std::str::from_utf8(&literal.0).unwrap();
                members[text.chars().next().unwrap() as usize] = true;
            }
            other => panic!("{class} is no class but {other:?}"),
        }
        members
    }

    #[test]
    fn every_code_point_has_the_class_regex_syntax_gives_it() {
        type Test = fn(Class) -> bool;
        let mut checks: Vec<(String, Test)> = vec![
            (r"\p{L}".into(), Class::is_letter),
            (r"\p{M}".into(), Class::is_mark),
            (r"\p{N}".into(), Class::is_number),
            (r"\p{P}".into(), Class::is_punctuation),
            (r"\p{S}".into(), Class::is_symbol),
            (r"\s".into(), Class::is_white_space),
            (r"\p{Cc}".into(), |class| matches!(class, Class::Control | Class::ControlSpace)),
        ];
        macro_rules! category {
            ($($name:ident $class:ident),*) => {
                $(checks.push((
                    concat!(r"\p{", stringify!($name), "}").into(),
                    |class| class == Class::$class,
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
                assert_eq!(test(class_of(c)), expected[c as usize], "{name} U+{:04X}", c as u32);
            }
        }
    }

    #[test]
    fn surrogates_have_their_own_class() {
        for code in 0xD800..0xE000 {
            let block = tables::INDEX[code / tables::BLOCK] as usize;
            let entry = tables::BLOCKS[block * tables::BLOCK + code % tables::BLOCK];
            assert_eq!(class_of_entry(entry), Class::Surrogate);
        }
    }
}
