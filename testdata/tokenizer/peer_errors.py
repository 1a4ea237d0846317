"""Writes the references' answers into peer_errors.json: how many ids, and a hash of them.

    python testdata/tokenizer/peer_errors.py ../shared/data/tokenizers

A case is what released tokenizers were seen to get wrong: "text", repeated "repeat" times;
"random", "length" and "seed": characters between two code points, by the generator of `text_of`;
or "hex", bytes, which no reference takes. The hash is SHA-256 over the ids as little-endian
32-bit numbers. tiktoken answers for its encodings, Hugging Face's library for qwen2.5.
"""

import hashlib
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import tiktoken
import tokenizers
import zstandard
from tiktoken.load import load_tiktoken_bpe

HERE = Path(__file__).parent


def text_of(case):
    """The text of a case. Random characters are a linear congruential generator's, by its high
    bits: Knuth's MMIX."""
    if "random" not in case:
        return case["text"] * case.get("repeat", 1)
    first, last = (int(number, 16) for number in case["random"])
    state, out = case["seed"], []
    for _ in range(case["length"]):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        out.append(chr(first + (state >> 33) % (last - first + 1)))
    return "".join(out)


def answer(ids):
    """What is stored of ids."""
    packed = np.asarray(ids, "<u4").tobytes()
    return {"count": len(ids), "sha256": hashlib.sha256(packed).hexdigest()}


def references(folder):
    """A function from text to ids for each vocabulary."""
    made = {}
    read = zstandard.ZstdDecompressor().stream_reader
    with tempfile.TemporaryDirectory() as tmp:
        for name in ("gpt2", "cl100k_base", "o200k_base"):
            path = Path(tmp) / name
            path.write_bytes(read((folder / f"{name}.tiktoken.zst").open("rb")).read())
            meta = json.loads((folder / f"{name}.meta.json").read_text())
            made[name] = tiktoken.Encoding(
                name,
                pat_str=meta["pat"],
                mergeable_ranks=load_tiktoken_bpe(str(path)),
                special_tokens=meta["special"],
            ).encode_ordinary
    file = read((folder / "qwen2_5.tokenizer.json.zst").open("rb")).read().decode()
    qwen = tokenizers.Tokenizer.from_str(file)
    made["qwen2_5"] = lambda text: qwen.encode(text, add_special_tokens=False).ids
    return made


def main():
    """Reads the cases, adds the answers, writes the file again, a case a line."""
    path = HERE / "peer_errors.json"
    data = json.loads(path.read_text("utf-8"))
    tokenize = references(Path(sys.argv[1]))
    lines = []
    for case in data["cases"]:
        case.pop("ids", None)
        if "hex" not in case:
            text = text_of(case)
            case["ids"] = {name: answer(encode(text)) for name, encode in tokenize.items()}
        lines.append("    " + json.dumps(case))
    about = json.dumps(data["about"])
    body = ",\n".join(lines)
    path.write_text(f'{{\n  "about": {about},\n  "cases": [\n{body}\n  ]\n}}\n', "utf-8")


if __name__ == "__main__":
    main()
