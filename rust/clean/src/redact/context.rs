//! The words before a number, which decide what bare digits are.

use crate::redact::haystack::Haystack;

/// Bytes before a number that are read for a word: three words, or ten Chinese characters.
const MAX_BYTES: usize = 32;

/// Before a telephone number.
pub(crate) const PHONE: &[&str] = &[
    "tel",
    "telephone",
    "phone",
    "call",
    "mobile",
    "mob",
    "cell",
    "fax",
    "whatsapp",
    "hotline",
    "tél",
    "telefon",
    "handy",
    "电话",
    "電話",
    "手机",
    "手機",
    "手机号",
    "手机号码",
    "电话号码",
    "号码是",
    "热线",
    "熱線",
    "传真",
    "傳真",
    "座机",
    "联系方式",
    "致电",
    "携帯",
    "同号",
    "微信",
];

/// Before a number that identifies a thing and no person.
pub(crate) const THING: &[&str] = &[
    "id",
    "no",
    "number",
    "order",
    "isbn",
    "issn",
    "doi",
    "sku",
    "ref",
    "item",
    "uid",
    "pid",
    "ts",
    "timestamp",
    "pmid",
    "arxiv",
    "tracking",
    "invoice",
    "ticket",
    "commit",
    "build",
    "订单",
    "订单号",
    "單號",
    "单号",
    "编号",
    "編號",
    "流水号",
    "时间戳",
    "條碼",
    "条码",
    "书号",
    "货号",
    "批号",
];

/// Before four numbers with full stops that are no address.
pub(crate) const VERSION: &[&str] = &[
    "version",
    "versions",
    "ver",
    "v",
    "release",
    "rev",
    "revision",
    "build",
    "firmware",
    "section",
    "sections",
    "sec",
    "chapter",
    "clause",
    "paragraph",
    "figure",
    "table",
    "article",
    "oid",
    "§",
    "版本",
    "版本号",
    "版",
    "第",
    "章",
    "节",
    "節",
];

/// Before four small numbers with full stops that are an address.
pub(crate) const ADDRESS: &[&str] = &[
    "ip",
    "ips",
    "ipv4",
    "address",
    "addr",
    "host",
    "server",
    "dns",
    "nameserver",
    "ping",
    "client",
    "gateway",
    "proxy",
    "resolver",
    "route",
    "地址",
    "服务器",
    "网关",
];

/// Before the number of a passport.
pub(crate) const PASSPORT: &[&str] =
    &["护照", "護照", "护照号", "護照號", "护照号码", "passport", "passport no", "passport number"];

/// Returns whether one of `words` stands before the byte `at`, with at most blanks, quotation marks,
/// colons, an opening parenthesis or the like between them.
pub(crate) fn follows(haystack: Haystack<'_>, at: usize, words: &[&str]) -> bool {
    let head = haystack.head(at);
    let start = head.floor_char_boundary(head.len().saturating_sub(MAX_BYTES));
    let is_between = |char: char| {
        matches!(
            char,
            ' ' | '\t'
                | ':'
                | '：'
                | '='
                | '.'
                | '#'
                | '('
                | '（'
                | '"'
                | '\''
                | '['
                | '+'
                | '是'
                | '为'
                | '—'
                | '-'
        )
    };
    let tail = head[start..].trim_end_matches(is_between);
    words.iter().any(|word| ends_with(tail, word))
}

/// Returns whether `text` ends with `word`, regardless of ASCII case. A word of at most four
/// letters must be a whole one; a longer one may end a name, as in `AssemblyVersion`.
fn ends_with(text: &str, word: &str) -> bool {
    let Some(start) = text.len().checked_sub(word.len()) else { return false };
    let is_equal = text.as_bytes()[start..].eq_ignore_ascii_case(word.as_bytes());
    let is_whole =
        word.len() > 4 || !text.as_bytes()[..start].last().is_some_and(u8::is_ascii_alphabetic);
    is_equal && is_whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_before_a_number_is_found() {
        for (text, words, expected) in [
            ("Tel.: ", PHONE, true),
            ("hotel ", PHONE, false),
            ("AssemblyVersion(\"", VERSION, true),
            ("rev ", VERSION, true),
            ("prev ", VERSION, false),
            ("我的手机号是", PHONE, true),
            ("订单号：", THING, true),
            ("", THING, false),
        ] {
            let haystack = Haystack { text, done: 0 };
            assert_eq!(follows(haystack, text.len(), words), expected, "{text:?}");
        }
    }
}
