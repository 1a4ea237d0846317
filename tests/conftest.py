"""What several test files share: one thread for torch, a small dataset, and the real corpora."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

# Models of tests are too small for a second thread to help, and threads that wait for work burn
# the time of a busy machine. torch reads this when it is imported, also in processes of tests.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# a deadline by the clock says nothing about the code on a busy machine
settings.register_profile("lslm", deadline=None)
settings.load_profile("lslm")

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("LSLM_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    """Undo what runs of the file before have set, where torch is loaded."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a folder with small ``train`` and ``validation`` datasets of bytes, as text."""
    from small_data import write_splits

    return write_splits(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def testdata() -> Path:
    """Return the folder of the cases that belong to the project."""
    return ROOT / "testdata"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of the real corpora, ``../shared/data`` or ``LSLM_DATA``.

    They are not part of the project: without them the test is skipped, or fails if
    ``LSLM_REQUIRE_DATA`` is 1.
    """
    if not DATA.is_dir():
        message = f"no corpora at {DATA}: set LSLM_DATA to the folder that holds them"
        if os.environ.get("LSLM_REQUIRE_DATA") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return DATA


def read_bytes(path: Path) -> bytes:
    """Return the content of a file, decompressed if its name ends in .zst."""
    if path.suffix != ".zst":
        return path.read_bytes()
    import zstandard

    with path.open("rb") as file:
        return zstandard.ZstdDecompressor().stream_reader(file).read()


def read_documents(path: Path, size: int = 4000) -> Iterator[str]:
    """Yield the documents of a corpus: texts of JSONL, or lines of about ``size`` characters."""
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
