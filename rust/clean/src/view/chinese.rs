//! Splits Chinese text into words as jieba does, with its default dictionary and its model for
//! unknown words.

use std::sync::LazyLock;

use jieba_rs::Jieba;

use crate::chars::Properties;
use crate::view::english::Word;

/// The dictionary is unpacked at the first use, which takes half a second.
static JIEBA: LazyLock<Jieba> = LazyLock::new(Jieba::new);

/// Calls `each` with the bytes of each word, its number of code points, the union of its
/// characters' properties, and whether it is plain: not only punctuation. White space is no word.
pub(crate) fn for_each(text: &str, mut each: impl FnMut(&[u8], usize, Properties, bool)) {
    for token in JIEBA.cut(text, true) {
        let word = Word::new(token.word);
        if word.chars == 1 && word.properties.has(Properties::SPACE) {
            continue;
        }
        each(word.text.as_bytes(), word.chars, word.properties, word.is_plain);
    }
}
