"""Writes src/properties/runs.rs: the properties of every code point that cleaning asks for.

    pip install regex
    python rust/unicode/properties.py > rust/unicode/src/properties/runs.rs

The classes come from the Unicode tables of `regex`, the composition facts from Python's `unicodedata`. What
is inert under NFC is fixed for ever once a code point is assigned, so that an older `unicodedata`
only makes the fast path shorter, never wrong.
"""

# ruff: noqa: SIM905
import unicodedata
from collections.abc import Callable
from itertools import groupby

import regex

# datatrove 0.10.1, utils/text.py: the signs that do not make a word (data, Apache-2.0)
PEER_SYMBOLS = set(
    "!/—”:％１〈&(、━\\【#%「」，】；+^]~“《„';’{|∶´[=-`*．（–？！：$～«〉,><》)?）。…@_.\"}►»"
)
# the same file calls these three the end of a sentence; Unicode does not
PEER_ENDS = {0x17D6, 0x17D9, 0x17DA}

# scripts whose spelling uses ZERO WIDTH JOINER and NON-JOINER
JOINING = """
    Arabic Syriac Mandaic Nko Mongolian Phags_Pa Manichaean Psalter_Pahlavi Hanifi_Rohingya
    Sogdian Adlam Thaana Devanagari Bengali Gurmukhi Gujarati Oriya Tamil Telugu Kannada
    Malayalam Sinhala Myanmar Khmer Tibetan Balinese Javanese Sundanese Chakma Kaithi Sharada
    Grantha Tirhuta Siddham Modi Takri Newa Khojki Khudawadi Brahmi Limbu Meetei_Mayek
    Saurashtra Tai_Tham Batak Cham
""".split()
UNSPACED = ["Han", "Hiragana", "Katakana", "Bopomofo"]

BREAKS = {0x0B, 0x0C, 0x0D, 0x85, 0x2028, 0x2029}
HIDDEN = {
    0xAD, 0x061C, 0x180E, 0xFEFF,
    *range(0x200B, 0x2010), *range(0x202A, 0x202F), 0x2060, *range(0x2066, 0x2070),
    *range(0xFE00, 0xFE10), *range(0xFFF9, 0xFFFC),
    *range(0xE0000, 0xE0080), *range(0xE0100, 0xE01F0),
}  # fmt: skip


def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a character is in a regular expression's class."""
    compiled = regex.compile(pattern)
    return lambda char: compiled.match(char) is not None


def composed_seconds() -> set[str]:
    """The code points that NFC may join to what stands before them."""
    seconds = {chr(c) for c in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))}
    for code in range(0x110000):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            seconds.add(chr(int(parts[1], 16)))
    return seconds


space = matcher(r"\p{White_Space}")
letter = matcher(r"\p{L}")
mark = matcher(r"\p{M}")
word = matcher(r"[\p{L}\p{M}\p{N}\p{Pc}\u200c\u200d]")
end = matcher(r"[\p{SB=ST}\p{SB=AT}]")
control = matcher(r"[\p{Cc}\p{Noncharacter_Code_Point}]")
blank = matcher(r"\p{Zs}")
picture = matcher(r"[\p{Extended_Pictographic}\p{Emoji_Modifier}]")
unspaced = matcher("[" + "".join(rf"\p{{scx={name}}}" for name in UNSPACED) + "]")
joining = matcher("[" + "".join(rf"\p{{Script={name}}}" for name in JOINING) + "]")
seconds = composed_seconds()


def classes(code: int) -> int:
    """The properties of one code point, one bit each, in the order of `Class`."""
    char = chr(code)
    if 0xD800 <= code < 0xE000:
        return 0
    flags = [
        space(char) or 0x1C <= code < 0x20,
        letter(char),
        word(char),
        char in PEER_SYMBOLS
        or end(char)
        or code in PEER_ENDS
        or (code < 160 and control(char) and code not in (9, 10)),
        end(char) or code in PEER_ENDS,
        unspaced(char) and (letter(char) or regex.match(r"\p{N}", char) is not None),
        joining(char) and not mark(char),
        picture(char),
        mark(char),
        unicodedata.category(char) == "Cn"
        or unicodedata.combining(char) != 0
        or mark(char)
        or unicodedata.normalize("NFC", char) != char
        or char in seconds,
        blank(char) and char != " ",
        code in BREAKS,
        control(char) and code not in BREAKS and code not in (9, 10),
        code in HIDDEN,
        code == 0xFFFD,
    ]
    return sum(1 << place for place, flag in enumerate(flags) if flag)


print("//! Written by `properties.py`, not by hand: the classes of each run of code points.")
print(
    f"//! From regex {regex.__version__}; composition from Unicode {unicodedata.unidata_version}."
)
print()
print("/// Where each run begins and the classes of its code points: the bits of [`super::Class`].")
print("#[rustfmt::skip]")
starts = [(next(run), value) for value, run in groupby(range(0x110000), classes)]
print(f"pub(super) static RUNS: [(u32, u16); {len(starts)}] = [")
for at in range(0, len(starts), 8):
    print("    " + " ".join(f"(0x{start:x}, {value})," for start, value in starts[at : at + 8]))
print("];")
