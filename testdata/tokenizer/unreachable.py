"""Writes unreachable.json: which tokens of the published vocabularies no text of their own becomes.

    python testdata/tokenizer/unreachable.py ../shared/data/tokenizers

The pattern cuts such a token, or the normaliser rewrites it. For tokens that are UTF-8 the answer
is the reference's; it takes no others, and there the answer is ours, which follows from the rule
that an ill-formed byte is cut like U+FFFD.
"""

import json
import sys
from pathlib import Path

from peer_errors import references

import lslm

HERE = Path(__file__).parent


def tokenizer(folder, name, tmp):
    """Our tokenizer of a published vocabulary."""
    import zstandard

    kind = "tokenizer.json" if name == "qwen2_5" else "tiktoken"
    path = tmp / f"{name}.{kind}"
    with (folder / f"{name}.{kind}.zst").open("rb") as file:
        path.write_bytes(zstandard.ZstdDecompressor().stream_reader(file).read())
    if name == "qwen2_5":
        return lslm.Tokenizer.load(path)
    meta = json.loads((folder / f"{name}.meta.json").read_text())
    return lslm.Tokenizer.from_tiktoken(path, pattern=meta["pat"], special_tokens=meta["special"])


def main():
    """Writes the file, a vocabulary a line."""
    import tempfile

    folder = Path(sys.argv[1])
    lines = []
    with tempfile.TemporaryDirectory() as tmp:
        for name, reference in references(folder).items():
            tok = tokenizer(folder, name, Path(tmp))
            special = set(tok.special_tokens.values())
            count, unreachable = 0, []
            for i in range(tok.vocab_size):
                try:
                    token = tok.token_bytes(i)
                except KeyError:
                    continue
                count += 1
                if i in special:
                    continue
                try:
                    ids = list(reference(token.decode()))
                except UnicodeDecodeError:
                    ids = tok.encode(token).tolist()
                if ids != [i]:
                    unreachable.append(i)
            entry = {"tokens": count, "unreachable": unreachable}
            lines.append(f"  {json.dumps(name)}: {json.dumps(entry)}")
    (HERE / "unreachable.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


if __name__ == "__main__":
    main()
