"""The published vocabularies, in every form that a peer takes."""

from __future__ import annotations

import json
from pathlib import Path

import lslm

TIKTOKEN = ("gpt2", "cl100k_base", "o200k_base")


def unpack(data: Path, folder: Path) -> Path:
    """Write all files of all vocabularies into ``folder`` and return it.

    For a rank file there is ``NAME.tiktoken``, ``NAME.meta.json`` (pattern and special tokens), and
    ``NAME.tokenizer.json``, which lslm writes without special tokens: the text has none, and not
    every peer takes ids with a gap. Whether it gives the same ids is seen when the peers that read
    it are compared with those that read the rank file.
    """
    import zstandard

    def unpacked(name: str) -> Path:
        path = folder / name
        if not path.exists():
            packed = (data / "tokenizers" / f"{name}.zst").read_bytes()
            content = zstandard.ZstdDecompressor().decompressobj().decompress(packed)
            path.write_bytes(content)
        return path

    folder.mkdir(parents=True, exist_ok=True)
    unpacked("qwen2_5.tokenizer.json")
    for name in TIKTOKEN:
        ranks = unpacked(f"{name}.tiktoken")
        text = (data / "tokenizers" / f"{name}.meta.json").read_text(encoding="utf-8")
        (folder / f"{name}.meta.json").write_text(text, encoding="utf-8")
        tok = lslm.Tokenizer.from_tiktoken(ranks, pattern=json.loads(text)["pat"])
        tok.save(folder / f"{name}.tokenizer.json")
    return folder
