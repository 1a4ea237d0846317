//! Removes invisible characters, except where spelling needs them.
//!
//! Removed: zero width spaces, word joiners, soft hyphens, direction marks and overrides, byte order
//! marks, deprecated format characters, stray tags and variation selectors. Kept: joiners and
//! non-joiners after a letter of a script whose spelling uses them (Arabic, Indic and others), ZWJ
//! after a pictograph, one variation selector after a visible character, tags after a black flag,
//! and one ZWSP after a letter of a script that separates words with it (Khmer, Thai, Lao, Burmese
//! and their neighbours).
//!
//! ```text
//! base = none; selectable = false
//! for each character c:
//!     keep c if  it is a joiner            and base is of a joining script (ZWJ: or a pictograph)
//!            or  it is a variation selector and selectable
//!            or  it is a tag                and base is a black flag
//!            or  it is a ZWSP, not the last kept, and base is of such a script
//!            or  it is visible
//!     if c is kept:
//!         selectable = c is neither a selector nor white space
//!         base = c, unless c is a mark or a tag
//! ```
//!
//! The decision depends only on kept characters before `c`, marks excluded. So neither a second run
//! nor a reordering of marks by NFC changes it.

use serde::{Deserialize, Serialize};

use crate::chars::{CharacterSummary, Properties, property_table};
use crate::edit::Edit;
use crate::rule::{Rewrite, Rule};

pub(super) const RULE: Rule = Rule::normaliser::<Hidden>(
    "hidden",
    2,
    "removes zero width, direction and other invisible characters that spelling does not need",
);

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Hidden {}

/// The base of flags such as that of Scotland, which tag characters spell out.
const BLACK_FLAG: char = '\u{1f3f4}';

const ZERO_WIDTH_SPACE: char = '\u{200b}';

/// Returns whether `char` is of a script without spaces between words, in which line breaking needs
/// a dictionary: Unicode's `Line_Break=Complex_Context`, by blocks.
fn is_complex_context(char: char) -> bool {
    matches!(char,
        '\u{0e00}'..='\u{0eff}'       // Thai, Lao
        | '\u{1000}'..='\u{109f}'     // Myanmar
        | '\u{1780}'..='\u{17ff}'     // Khmer
        | '\u{1950}'..='\u{19ff}'     // Tai Le, New Tai Lue, Khmer symbols
        | '\u{1a20}'..='\u{1aaf}'     // Tai Tham
        | '\u{a9e0}'..='\u{a9ff}'     // Myanmar
        | '\u{aa60}'..='\u{aadf}'     // Myanmar, Tai Viet
        | '\u{11700}'..='\u{1174f}') // Ahom
}

impl Rewrite for Hidden {
    fn may_change(&self, _: &str, summary: &CharacterSummary) -> bool {
        summary.properties.has(Properties::HIDDEN)
    }

    fn apply(&self, edit: &mut Edit<'_>) {
        let table = property_table();
        let (mut base, mut base_properties) = ('\n', Properties::NONE);
        let (mut selectable, mut after_zero_width_space) = (false, false);
        for (at, char) in edit.text().char_indices() {
            let properties = table.of(char);
            let is_kept = match char {
                '\u{200c}' | '\u{180e}' => base_properties.has(Properties::JOINING),
                '\u{200d}' => base_properties.has(Properties::JOINING.or(Properties::PICTOGRAPH)),
                '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' => selectable,
                '\u{e0020}'..='\u{e007f}' => base == BLACK_FLAG,
                ZERO_WIDTH_SPACE => !after_zero_width_space && is_complex_context(base),
                _ => !properties.has(Properties::HIDDEN),
            };
            if !is_kept {
                edit.replace(at..at + char.len_utf8(), "", 1);
                continue;
            }
            let is_selector =
                properties.has(Properties::HIDDEN) && properties.has(Properties::MARK);
            let is_tag = matches!(char, '\u{e0020}'..='\u{e007f}');
            after_zero_width_space = char == ZERO_WIDTH_SPACE;
            if after_zero_width_space {
                selectable = false;
                continue;
            }
            selectable = !is_selector && !properties.has(Properties::SPACE);
            if !properties.has(Properties::MARK) && !is_tag {
                (base, base_properties) = (char, properties);
            }
        }
    }
}
