# ruff: noqa: INP001, RUF001
"""Makes the reference vocabularies of this folder with Hugging Face `tokenizers`.

    RAYON_NUM_THREADS=2 python testdata/train/make.py small > testdata/train/small.json
    RAYON_NUM_THREADS=2 python testdata/train/make.py large > testdata/train/large.json

`small.json` holds whole results; `large.json` holds, for real corpora (see SOURCES.md beside them),
the SHA-256 of the merges: each pair as two little-endian u32, in order.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import pathlib
import struct
import sys
from typing import TYPE_CHECKING

import tokenizers
import zstandard
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

if TYPE_CHECKING:
    from collections.abc import Iterator

LETTER_CASES = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
UPPER = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
LOWER = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
SPLITS = {
    "cl100k_base": LETTER_CASES + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwen2.5": LETTER_CASES + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "o200k_base": f"{UPPER}{LETTER_CASES}?|{LOWER}{LETTER_CASES}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
}
DATA = pathlib.Path(os.environ.get("LSLM_DATA", "../shared/data"))

# name, file, documents ("lines", "jsonl", "whole"), how many of them (0: all), pattern, vocab_size
LARGE = [
    ("enwiki-gpt2", "english/enwiki.jsonl.zst", "jsonl", 0, "gpt2", 32768),
    ("novels-o200k", "english/novels.txt.zst", "whole", 0, "o200k_base", 16384),
    ("zhwiki-o200k", "chinese/zhwiki.jsonl.zst", "jsonl", 5000, "o200k_base", 16384),
    ("prose-cl100k", "chinese/modern_prose.txt.zst", "lines", 20000, "cl100k_base", 8192),
    ("languages-qwen", "multilingual/many_languages.txt.zst", "lines", 0, "qwen2.5", 65536),
    ("c4-cl100k", "web/c4.jsonl.zst", "jsonl", 0, "cl100k_base", 32768),
]

WORDS = "the cat sat on the mat; the hat is that cat's hat. A man, a plan, a canal: Panama!"
SMALL = [
    {"name": "words", "texts": [WORDS], "vocab_size": 300},
    {"name": "until nothing is left", "texts": [WORDS, WORDS], "vocab_size": 5000},
    {"name": "min_frequency", "texts": [WORDS] * 3, "vocab_size": 5000, "min_frequency": 6},
    {
        "name": "runs",
        "texts": ["a" * 37 + " " * 19 + "\n" * 23 + "=" * 80, "ababababababa" * 3, "aaab" * 9],
        "vocab_size": 400,
    },
    {"name": "all tied", "texts": ["zy yx xw wv vu ut zyx"], "vocab_size": 400},
    {
        "name": "special tokens",
        "texts": [WORDS],
        "vocab_size": 300,
        "special_tokens": ["<|endoftext|>", "<|pad|>"],
    },
    {
        "name": "special token that is learned",
        "texts": ["the theme then there other the the"],
        "vocab_size": 320,
        "special_tokens": ["the", "<|endoftext|>"],
    },
    {
        "name": "special token of one byte",
        "texts": ["the theme then there other the the"],
        "vocab_size": 320,
        "special_tokens": ["h"],
    },
    {"name": "max_token_length 5", "texts": [WORDS * 3], "vocab_size": 1000, "max_token_length": 5},
    {"name": "max_token_length 2", "texts": [WORDS * 3], "vocab_size": 1000, "max_token_length": 2},
    {"name": "max_token_length 1", "texts": [WORDS * 3], "vocab_size": 1000, "max_token_length": 1},
    {
        "name": "scripts",
        "texts": [
            "我们的世界，你们的世界。世界和平！",
            "мир миру мир",
            "😀😀😁😀",
            "naïve café naïf",
        ],
        "vocab_size": 330,
    },
    {
        "name": "o200k",
        "texts": [WORDS, "I'LL we'll 12345 12345 12345\r\n\r\n  x/y//\n"],
        "vocab_size": 330,
        "pattern": "o200k_base",
    },
    {"name": "nothing", "texts": [""], "vocab_size": 300},
]


def train(texts: Iterator[str], pattern: str, vocab_size: int, **options: object) -> Tokenizer:
    """Train on `texts`, each a document, with the byte alphabet."""
    tokenizer = Tokenizer(models.BPE())
    if pattern == "gpt2":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(SPLITS[pattern]), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        **options,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def merges(tokenizer: Tokenizer) -> list[tuple[int, int]]:
    """The pairs of ids that are merged, in order."""
    model = json.loads(tokenizer.to_str())["model"]
    ids = model["vocab"]
    return [(ids[left], ids[right]) for left, right in model["merges"]]


def documents(file: str, unit: str, count: int) -> Iterator[str]:
    """The documents of a corpus."""
    with (DATA / file).open("rb") as handle:
        reader = zstandard.ZstdDecompressor().stream_reader(handle)
        lines = io.TextIOWrapper(reader, encoding="utf-8", newline="\n")
        if unit == "whole":
            yield lines.read()
            return
        for line in itertools.islice(lines, count or None):
            yield json.loads(line)["text"] if unit == "jsonl" else line


def main(which: str) -> None:
    """Print `small.json` or `large.json`."""
    cases = []
    if which == "small":
        for case in SMALL:
            options = {key: case[key] for key in case if key not in ("name", "texts")}
            tokenizer = train(iter(case["texts"]), options.pop("pattern", "gpt2"), **options)
            cases.append({**case, "merges": merges(tokenizer), "size": tokenizer.get_vocab_size()})
    else:
        for name, file, unit, count, pattern, vocab_size in LARGE:
            pairs = merges(train(documents(file, unit, count), pattern, vocab_size))
            packed = b"".join(struct.pack("<II", *pair) for pair in pairs)
            cases.append(
                {
                    "name": name,
                    "file": file,
                    "documents": unit,
                    "count": count,
                    "pattern": pattern,
                    "vocab_size": vocab_size,
                    "merges": len(pairs),
                    "sha256": hashlib.sha256(packed).hexdigest(),
                }
            )
            print(name, file=sys.stderr)
    made_with = f"tokenizers {tokenizers.__version__}"
    rows = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    print(f'{{"made_with": "{made_with}", "cases": [\n{rows}\n]}}')


if __name__ == "__main__":
    main(sys.argv[1])
