//! Splits Chinese text into words as jieba does, with its default dictionary and its model for
//! unknown words.

use std::sync::LazyLock;

use jieba_rs::Jieba;

use crate::chars::Properties;
use crate::view::english::Word;

/// The dictionary is unpacked at the first use, which takes half a second.
static JIEBA: LazyLock<Jieba> = LazyLock::new(Jieba::new);

/// Calls `each` with each word. White space is no word.
pub(crate) fn for_each(text: &str, mut each: impl FnMut(Word)) {
    for token in JIEBA.cut(text, true) {
        let start = token.word.as_ptr().addr() - text.as_ptr().addr();
        let word = Word::new(text, start..start + token.word.len());
        if word.chars > 1 || !word.properties.has(Properties::SPACE) {
            each(word);
        }
    }
}
