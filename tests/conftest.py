"""What several test files share: where the real data is, and how it is read."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("LSLM_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def testdata() -> Path:
    """The folder with the cases that belong to the project."""
    return ROOT / "testdata"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real corpora, ``../shared/data`` or ``LSLM_DATA``.

    They are not part of the project: without them the test is skipped, or fails if
    ``LSLM_REQUIRE_DATA`` is 1.
    """
    if not DATA.is_dir():
        message = f"no corpora at {DATA}; set LSLM_DATA"
        if os.environ.get("LSLM_REQUIRE_DATA") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return DATA


def read_bytes(path: Path) -> bytes:
    """The content of a file, decompressed if its name ends in .zst."""
    if path.suffix != ".zst":
        return path.read_bytes()
    import zstandard

    with path.open("rb") as file:
        return zstandard.ZstdDecompressor().stream_reader(file).read()


def read_documents(path: Path, size: int = 4000) -> Iterator[str]:
    """The documents of a corpus: the texts of JSONL, or runs of lines of about ``size`` characters."""
    text = io.StringIO(read_bytes(path).decode(), newline="\n")
    if ".jsonl" in path.name:
        for line in text:
            yield json.loads(line)["text"]
        return
    lines: list[str] = []
    length = 0
    for line in text:
        lines.append(line)
        length += len(line)
        if length >= size:
            yield "".join(lines)
            lines, length = [], 0
    if lines:
        yield "".join(lines)
