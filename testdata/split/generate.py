"""Writes huggingface.json: how Hugging Face tokenizers cuts texts by the published patterns.

    pip install tokenizers==0.23.3
    python testdata/split/generate.py                    # the stored cases
    python testdata/split/generate.py 20000 1 cases.json # more: how many, seed, where to

A text is cut by the pre-tokenizers a `tokenizer.json` would hold, on onig, an engine that shares
nothing with Rust's. The cases are [pattern, text, ends of the pieces in bytes].
`LSLM_SPLIT_CASES=cases.json cargo test -p lslm-bpe peers` runs a larger file.
"""

import json
import random
import sys
from pathlib import Path

import tokenizers
from tokenizers import Regex, pre_tokenizers

HERE = Path(__file__).parent

PARTS = json.loads((HERE / "parts.json").read_text(encoding="utf-8"))
CHARACTERS = [*PARTS["characters"], *[" "] * 6]


def steps() -> dict[str, pre_tokenizers.PreTokenizer]:
    """The pre-tokenizer of each name, from the file the Rust side checks its own against."""
    published = json.loads((HERE / "published.json").read_text(encoding="utf-8"))
    made = {}
    for name, parts in published.items():
        if any("3}+" in part for part in parts):
            continue  # possessive for Rust's engines, a repetition of the group for onig
        made[name] = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True)
                if part == "digits"
                else pre_tokenizers.Split(Regex(part), "isolated")
                for part in parts
            ]
        )
    return made


def ends(cutter: pre_tokenizers.PreTokenizer, text: str) -> list[int]:
    """Where the pieces of `text` end, in bytes."""
    at, out = 0, []
    for piece, _ in cutter.pre_tokenize_str(text):
        at += len(piece.encode())
        out.append(at)
    assert at == len(text.encode())
    return out


def texts(count: int, seed: int) -> list[str]:
    """Return random texts of the character classes that the patterns distinguish."""
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        parts = []
        for _ in range(rng.randint(1, 24)):
            kind = rng.random()
            if kind < 0.55:
                parts.append(rng.choice(CHARACTERS))
            elif kind < 0.85:
                parts.append(rng.choice(PARTS["words"]))
            elif kind < 0.95:
                parts.append(rng.choice(CHARACTERS) * rng.randint(2, 9))
            else:
                code = rng.randrange(0x110000 - 0x800)
                parts.append(chr(code if code < 0xD800 else code + 0x800))
        made.append("".join(parts))
    return made


def main() -> None:
    """Writes the file."""
    count, seed = (int(value) for value in (sys.argv[1:3] or ("150", "0")))
    path = Path(sys.argv[3]) if len(sys.argv) > 3 else HERE / "huggingface.json"
    cutters = steps()
    cases = [
        json.dumps([name, text, ends(cutter, text)])
        for text in texts(count, seed)
        for name, cutter in cutters.items()
    ]
    made = f"testdata/split/generate.py, tokenizers {tokenizers.__version__}"
    body = ",\n".join(cases)
    path.write_text(f'{{"made": "{made}", "cases": [\n{body}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
