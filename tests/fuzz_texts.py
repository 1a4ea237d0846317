"""Texts to fuzz tokenizers with: random, real but damaged, and aimed at known weak points.

Every text is a function of a seed and the real texts, so a failure can be repeated.
"""

from __future__ import annotations

import json
import sys
import sysconfig
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from conftest import DATA

if TYPE_CHECKING:
    import random

# classes of characters that pre-tokenizers, caches and merge loops handle in different branches
CLASSES = {
    "small letters": "aeiounst",
    "capitals": "AESTZ",
    "titles and modifiers": "\u01c5\u02b0\u02b6\u00aa",
    "accented": "\u00e9\u00c9\u00df\u00f1",
    "folding to ASCII": "\u017f\u0130\u0131\u212a",
    "Cyrillic and Greek": "\u0436\u0416\u03b1\u03a3\u03c2",
    "letters without case": "\u05d0\u0627\u0915\u0e01",
    "Han": "\u4e2d\u6587\u7684\u9fa5\u9fa6\u3400",
    "Han of four bytes": "\U00020000\U0002a6d6\U0002f800",
    "kana": "\u3042\u30a2\u30fc\u3097\u30a0",
    "hangul": "\ud55c\uae00\u1100\u1161\u11a8",
    "marks": "\u0301\u0323\u094d\u3099\u20dd",
    "digits": "0123456789",
    "other numbers": "\u00b2\u00bd\u2167\u0663\u3007\U0001d7d8",
    "newest numbers": "\U00011de0\U00016ff4",
    "blank": " ",
    "tabs": "\t\x0b\x0c",
    "line ends": "\n",
    "returns": "\r",
    "odd blanks": "\u0085\u00a0\u1680\u2007\u2028\u2029\u202f\u3000\u180e",
    "apostrophes": "'\u2019",
    "slashes": "/\\",
    "ASCII punctuation": "!-_.,;:()#",
    "punctuation": "\u3002\u3001\u2026\u00ab\u0964",
    "symbols": "+=$\u20ac\u2603\u309b",
    "emoji": "\U0001f600\U0001f469\u200d\U0001f3fd\U0001f1e9\ufe0f",
    "controls": "\x00\x01\x07\x1c\x7f\x9f\u00ad\u200b\ufeff",
    "around the surrogates": "\ud7fb\ud7ff\ue000\uf8ff\ufffd\ufffe\uffff",
    "ends of the planes": "\U00010000\U0001fffe\U000e0001\U0010ffff",
    "composing": "e\u0301\u0323a\u030a\u1e9b\u0344\u2126\ufb01",
}
CONTRACTIONS = [
    mark + case(ending)
    for mark in ("'", "\u2019", " '", "''")
    for ending in ("s", "t", "d", "m", "re", "ve", "ll", "\u017f", "\u0130s", "r\u0301e")
    for case in (str.lower, str.upper, str.title, str.swapcase)
]
FRAGMENTS = [
    *(
        "\r\n",
        "\n\r",
        "\r\r\n",
        " \n",
        "\n ",
        "  a",
        " \t",
        " \r\n x",
        "//\n/",
        "a/b",
        "://",
        "/>\n",
    ),
    *(
        "camelCase",
        "HTTPServer",
        "iPHONE",
        "McDonald's",
        "ABc\u4e2dD\u00e9",
        "\u01c5abc",
        "x\u00b2",
    ),
    *(
        "<|endoftext|>",
        "<|im_start|>",
        "<|endof",
        "<|",
        "|>",
        "\u4e2d\u6587AB",
        "12\u4e2d34",
        "!\u4e2d",
    ),
    *(
        "\u0928\u094d\u0926\u0940",
        "e\u0301",
        "\u1100\u1161\u11a8",
        "A\u030a",
        "\U0001f469\u200d\U0001f467",
    ),
]


def real_texts(size: int) -> list[str]:
    """Return up to ``size`` characters of each real file: Python's library, and the corpora."""
    texts = [_sources(size)]
    if DATA.is_dir():
        names = ["*.txt.zst", "*.jsonl.zst", "*.txt"]
        texts += [_corpus(path, size) for name in names for path in sorted(DATA.glob(f"*/{name}"))]
    return texts


def _sources(size: int) -> str:
    parts, total = [], 0
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        parts.append(path.read_bytes().decode("utf-8", "replace"))
        total += len(parts[-1])
        if total >= size:
            break
    return "".join(parts)[:size]


def _corpus(path: Path, size: int) -> str:
    """Return the beginning of a corpus, as text."""
    if path.suffix == ".zst":
        import zstandard

        with path.open("rb") as file:
            content = zstandard.ZstdDecompressor().stream_reader(file).read(size * 4)
    else:
        with path.open("rb") as file:
            content = file.read(size * 4)
    text = content.decode("utf-8", "ignore")
    if ".jsonl" in path.name:
        # the last line may be cut off
        text = "\n".join(json.loads(line)["text"] for line in text.split("\n")[:-1])
    return text[:size]


def text(rng: random.Random, real: list[str]) -> str:
    """Return a text of a random kind, of a few kilobytes mostly."""
    kind = rng.choices([damaged, real_slice, runs, mixture, noise, short], [26, 8, 26, 28, 8, 4])[0]
    return kind(rng, real)


def real_slice(rng: random.Random, real: list[str]) -> str:
    """Return a slice of a real text, from anywhere."""
    source = rng.choice(real)
    length = rng.choice((300, 3000, 20_000))
    start = rng.randrange(max(1, len(source) - length))
    return source[start : start + length]


def damaged(rng: random.Random, real: list[str]) -> str:
    """Return a slice of a real text with changes in up to 30 places."""
    content = real_slice(rng, real)
    for _ in range(rng.choice((1, 5, 30))):
        if not content:
            break
        start = rng.randrange(len(content))
        end = min(len(content), start + rng.choice((1, 3, 20, 200)))
        content = content[:start] + _changed(rng, content[start:end]) + content[end:]
    return content


def _changed(rng: random.Random, part: str) -> str:  # noqa: C901  (one case for each change)
    match rng.randrange(14):
        case 0:
            return ""
        case 1:
            return part * rng.choice((2, 3, 30))
        case 2:
            return part.upper()
        case 3:
            return part.lower()
        case 4:
            return part.swapcase()
        case 5:
            return part.title()
        case 6:
            return part.replace(" ", "")
        case 7:
            return part.replace("\n", "\r\n").replace(" ", rng.choice(CLASSES["odd blanks"]))
        case 8:
            return unicodedata.normalize(rng.choice(("NFC", "NFD", "NFKD")), part)
        case 9:
            return rng.choice(CONTRACTIONS).join(part.split("e"))
        case 10:
            return part[::-1]
        case 11:
            return _run(rng) + part
        case 12:
            return part + rng.choice(FRAGMENTS) + chr(_code_point(rng))
        case _:
            return rng.choice("aA1 \n'/\u0301\u4e2d").join(part)


def _run(rng: random.Random) -> str:
    characters = rng.choice(list(CLASSES.values()))
    length = rng.choice((1, 2, 3, rng.randrange(70), rng.randrange(70), rng.randrange(200)))
    if rng.random() < 0.5:
        return rng.choice(characters) * length
    return "".join(rng.choices(characters, k=length))


def runs(rng: random.Random, real: list[str]) -> str:
    """Return runs of one class after another, some of them long.

    They begin and end at every offset of the blocks of 64 bytes that pre-tokenizing works on.
    """
    parts = ["x" * rng.randrange(71)]
    for _ in range(rng.choice((3, 30, 150))):
        parts.append(_run(rng))
        if rng.random() < 0.3:
            parts.append(rng.choice((*FRAGMENTS, *CONTRACTIONS, "a", " ", "\n")))
        if rng.random() < 0.01:
            parts.append(rng.choice(rng.choice(list(CLASSES.values()))) * rng.randrange(5000))
    return "".join(parts)


def mixture(rng: random.Random, real: list[str]) -> str:
    """Return characters of a few classes and fragments, in random order."""
    classes = rng.sample(list(CLASSES.values()), rng.randrange(1, 6))
    few = [c for part in classes for c in part]
    few += rng.sample(CONTRACTIONS, rng.randrange(4)) + rng.sample(FRAGMENTS, rng.randrange(4))
    few += rng.choices([" ", "the", " of", "a", "\n"], k=rng.randrange(6))
    return "".join(rng.choices(few, k=rng.choice((10, 300, 4000))))


def _code_point(rng: random.Random) -> int:
    end = rng.choice((0x100, 0x800, 0x3000, 0x10000, 0x20000, sys.maxunicode + 1))
    code = rng.randrange(end)
    return code if not 0xD800 <= code < 0xE000 else 0xE000


def noise(rng: random.Random, real: list[str]) -> str:
    """Return random code points."""
    return "".join(chr(_code_point(rng)) for _ in range(rng.choice((3, 100, 600))))


def short(rng: random.Random, real: list[str]) -> str:
    """Return a few characters, or none."""
    return "".join(_run(rng)[:3] for _ in range(rng.randrange(4)))
