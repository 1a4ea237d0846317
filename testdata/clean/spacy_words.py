"""Writes what the segmenter `spacy-en` needs of spaCy, and cases that it must split as spaCy does.

    python -P testdata/clean/spacy_words.py DATA

Needs `pip install spacy zstandard`. Writes `classes.rs` and `exceptions.txt` in
`rust/clean/src/view/english`, and `testdata/clean/spacy_words.json`.
"""

import io
import json
import re
import sys
import unicodedata
from importlib.metadata import version
from pathlib import Path

import spacy
import zstandard
from spacy.lang import char_classes as classes
from spacy.pipeline.sentencizer import Sentencizer
from spacy.symbols import ORTH

data, root = Path(sys.argv[1]), Path(__file__).parents[2]
target = root / "rust/clean/src/view/english"
tokenizer = spacy.blank("en").tokenizer


def singles(entries: list[str]) -> set[str]:
    """The entries that are one character, without the escapes of regular expressions."""
    return {bare for entry in entries if len(bare := entry.removeprefix("\\")) == 1}


members = [
    re.compile(f"[{classes.ALPHA_LOWER}]").match,
    re.compile(f"[{classes.ALPHA_UPPER}]").match,
    re.compile(f"[{classes.ALPHA}]").match,
    singles(classes.LIST_QUOTES).__contains__,
    singles(classes.LIST_PUNCT).__contains__,
    re.compile(f"[{classes.CONCAT_ICONS}]").match,
    singles(classes.LIST_CURRENCY).__contains__,
    set(Sentencizer().punct_chars).__contains__,
    lambda char: unicodedata.category(char).startswith("P"),
]
runs, last = [], -1
for code in range(0x110000):
    char = chr(code)
    if 0xD800 <= code < 0xE000:
        bits = 0
    else:
        bits = sum(1 << bit for bit, has in enumerate(members) if has(char))
    if bits != last:
        runs.append(f"(0x{code:x}, {bits})")
        last = bits
lines, line = [], "   "
for run in runs:
    if len(line) + len(run) + 2 > 100:
        lines.append(line)
        line = "   "
    line += f" {run},"
script = "testdata/clean/spacy_words.py"
header = f"//! Character classes of spaCy {version('spacy')}; written by `{script}`.\n"
about = "\n/// The first code point of each run of characters with equal classes, and these.\n"
body = "\n".join([*lines, line])
(target / "classes.rs").write_text(
    f"{header}{about}pub(super) static RUNS: [(u32, u16); {len(runs)}] = [\n{body}\n];\n"
)

rules = [rule for text, rule in tokenizer.rules.items() if text.strip()]
exceptions = sorted(" ".join(token[ORTH] for token in rule) for rule in rules)
(target / "exceptions.txt").write_text("\n".join(exceptions) + "\n")

chunks: set[str] = set()
for file, count in [("web/c4.jsonl.zst", 1000), ("english/enwiki.jsonl.zst", 150)]:
    with (data / file).open("rb") as raw:
        text = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw), "utf-8")
        for _, record in zip(range(count), text, strict=False):
            found = json.loads(record)["text"].split()
            chunks.update(chunk for chunk in found if not re.fullmatch("[A-Za-z0-9]+[,.]?", chunk))
chosen = sorted(chunks)
every = max(1, len(chosen) // 9000)
cases = [" ".join(token.text for token in tokenizer(chunk)) for chunk in chosen[::every]]
text = json.dumps({"spacy": version("spacy"), "cases": cases}, ensure_ascii=False, indent=0)
(root / "testdata/clean/spacy_words.json").write_text(text + "\n")
