"""Writes src/tables.rs, the general category of every code point.

    pip install unicodedata2==16.0.0
    python rust/unicode/generate.py

The version is that of the references: tiktoken 0.14 (regex-syntax 0.8.11) and Hugging Face
tokenizers 0.23 (onig 6.5) both use Unicode 16.0.0. The crate's tests hold the tables equal to
regex-syntax's.
"""

import textwrap
from pathlib import Path

import unicodedata2

VERSION = "16.0.0"
BLOCK = 128
# One letter a class, in the order of `Class`. "w": the control characters that are White_Space.
CLASSES = (
    "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc w Cf Cs Co Cn"
)
LETTERS = {name: chr(ord("`") + i) for i, name in enumerate(CLASSES.split())}
SPACE_CONTROLS = {*range(0x09, 0x0E), 0x85}


def letter(code: int) -> str:
    """The letter that stands for the class of `code`."""
    category = "w" if code in SPACE_CONTROLS else unicodedata2.category(chr(code))
    return LETTERS[category]


def rows(text: str, width: int = 96) -> str:
    """`text` as the inside of a Rust byte string over several lines."""
    return "\\\n".join(text[i : i + width] for i in range(0, len(text), width))


def main() -> None:
    """Writes the file beside this script."""
    assert unicodedata2.unidata_version == VERSION, unicodedata2.unidata_version
    blocks: dict[str, int] = {}
    index: list[int] = []
    for start in range(0, 0x110000, BLOCK):
        block = "".join(letter(code) for code in range(start, start + BLOCK))
        index.append(blocks.setdefault(block, len(blocks)))
    lines = textwrap.wrap(", ".join(map(str, index)), 96)
    path = Path(__file__).parent / "src" / "tables.rs"
    path.write_text(
        f"""//! Written by generate.py from Unicode {VERSION}; not edited by hand.

/// The version of Unicode the tables are of.
pub const VERSION: &str = "{VERSION}";

/// Code points that share an entry of [`INDEX`].
pub const BLOCK: usize = {BLOCK};

/// For each {BLOCK} code points the number of their block in [`BLOCKS`].
#[rustfmt::skip]
pub static INDEX: [u16; {len(index)}] = [
{chr(10).join(lines)}
];

/// Blocks of {BLOCK} classes; `b'`' + class`.
#[rustfmt::skip]
pub static BLOCKS: [u8; {len(blocks) * BLOCK}] = *b"\\
{rows("".join(blocks))}";
""",
        encoding="utf-8",
        newline="\n",
    )
    print(f"{path}: {len(blocks)} blocks of {BLOCK}")


if __name__ == "__main__":
    main()
