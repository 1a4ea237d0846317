"""Token files of nanoGPT and llm.c, read where they lie."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lslm._lslm import TokenDataset
from lslm.limits import whole_number

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["is_bin", "open_bin"]


def open_bin(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    vocab_size: int | None = None,
    eos_id: int | None = None,
) -> TokenDataset:
    """Return ``.bin`` files of nanoGPT or llm.c as one dataset, without converting them.

    ::

        train = open_bin("data/openwebtext/train.bin", eos_id=50256)
        loader = TokenLoader(train, batch_size=12, sequence_length=1024)

    ``paths`` is a file, a folder (its ``.bin`` files by name) or several files in their order. A
    file with llm.c's header is read as that says, any other as nanoGPT's: 16-bit ids. Each id must
    be below ``vocab_size``, by default GPT-2's 50,257, or 128,256 with 32-bit ids. With ``eos_id``
    the files are read once, to find the documents that it closes; without it there are none, and
    the loader does not need them. The files have no checksums: they cannot be verified, and their
    ``fingerprint`` is over their sizes and 64 samples of each.

    Raises:
        FileNotFoundError: a file does not exist, or a folder has no ``.bin`` file.
        FormatError: a file is not whole; the message has file and byte.
    """
    for name, value, least in (("vocab_size", vocab_size, 1), ("eos_id", eos_id, 0)):
        if value is not None:
            whole_number(name, value, least, 2**32 - 1)
    if isinstance(paths, str | os.PathLike):
        folder = Path(paths)
        if folder.is_dir():
            paths = sorted(folder.glob("*.bin"))
            if not paths:
                raise FileNotFoundError(2, "no .bin file in this folder", str(folder))
        else:
            paths = [folder]
    return TokenDataset.open_bin(list(paths), vocab_size, eos_id)


LLM_C = tuple(number.to_bytes(4, "little") for number in (20_240_520, 20_240_801))
"""How files of llm.c begin."""
OTHER_BEGINNINGS = (b"PK\x03\x04", b"\x80", b"GGUF", b"\x7fELF", b"\x1f\x8b", b"\xff\xfe")
"""How other files called .bin begin: weights of torch and llama.cpp, programs, gzip, UTF-16."""
SAMPLE_BYTES = 1 << 16
"""Bytes that are looked at where nothing else says what a file is."""
GPT2_IDS = 50_257
"""Size of GPT-2's vocabulary, nanoGPT's own."""
MAX_BEYOND = 0.02
"""Share of numbers beyond it in a file of tokens, at most: of numbers that are anything, 23 %."""


def is_bin(path: Path) -> bool:
    """Return whether ``path`` looks like a token file.

    nanoGPT's have no mark: they are called .bin, have whole 16-bit numbers, nearly all of them ids
    of GPT-2, and are not text.
    """
    if path.suffix != ".bin" or not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(SAMPLE_BYTES)
    if start.startswith(LLM_C):
        return True
    if path.stat().st_size % 2 or start.startswith(OTHER_BEGINNINGS) or _is_text(start):
        return False
    return float((np.frombuffer(start, "<u2") >= GPT2_IDS).mean()) <= MAX_BEYOND


def _is_text(start: bytes) -> bool:
    """Return whether the first bytes of a file are UTF-8 without control characters."""
    try:
        text = start.decode()
    except UnicodeDecodeError as error:
        if error.start < len(start) - 3:  # else a character that the sample cuts
            return False
        text = start[: error.start].decode()
    return not any(character < " " and character not in "\t\n\f\r" for character in text)
