"""The texts: documents of about 4 kB from real corpora, kept as files that every job reads.

A file holds one pickled ``str`` after the other, so that a job can take them as a list or as they
come, with the standard library alone.
"""

from __future__ import annotations

import itertools
import json
import pickle
import random
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

SIZE = 4096


def read(path: Path) -> Iterator[str]:
    """Yield the documents of a file, one at a time."""
    with path.open("rb") as file:
        while True:
            try:
                yield pickle.load(file)
            except EOFError:
                return


class Corpora:
    """Makes the files in ``folder`` from the corpora in ``data`` on first use."""

    def __init__(self, data: Path, folder: Path) -> None:
        self.data, self.folder = data, folder
        folder.mkdir(parents=True, exist_ok=True)

    def halves(self, name: str) -> tuple[Path, Path]:
        """Return the first 10 MB of a corpus, and the next that has nothing of the first."""
        paths = self.folder / f"{name}-1", self.folder / f"{name}-2"
        if not all(path.exists() for path in paths):
            documents = iter(getattr(self, f"_{name}")())
            # All of many_languages is 15 MB.
            for path in paths:
                _write(path, _take(documents, 7_400_000 if name == "many" else 10_000_000))
        return paths

    def short(self, name: str) -> tuple[Path, Path]:
        """Return 100,000 short documents, and 100,000 others: lines of text."""
        paths = self.folder / f"{name}-short-1", self.folder / f"{name}-short-2"
        if not all(path.exists() for path in paths):
            documents = getattr(self, f"_{name}")()
            lines = (line for text in documents for line in text.splitlines() if line.strip())
            for path in paths:
                _write(path, itertools.islice(lines, 100_000))
        return paths

    def large(self, name: str, n_bytes: int) -> Path:
        """Return the first ``n_bytes`` of a corpus."""
        path = self.folder / f"{name}-{n_bytes // 1_000_000}MB"
        if not path.exists():
            _write(path, _take(iter(getattr(self, f"_{name}")()), n_bytes))
        return path

    def jsonl(self, documents: Path, copies: int = 1) -> Path:
        """Return a file of JSON lines with ``documents``, ``copies`` times."""
        path = documents.with_name(f"{documents.name}-x{copies}.jsonl")
        if not path.exists():
            part = path.with_suffix(".part")
            with part.open("w", encoding="utf-8") as file:
                for _ in range(copies):
                    for text in read(documents):
                        file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
            part.rename(path)
        return path

    def _english(self) -> Iterable[str]:
        return _in_turn(
            _pieces(self._json_lines("english/enwiki.jsonl.zst")),
            _pieces([self._text("english/novels.txt.zst")]),
        )

    def _chinese(self) -> Iterable[str]:
        return _in_turn(
            _pieces(self._json_lines("chinese/zhwiki.jsonl.zst")),
            _pieces([self._text("chinese/modern_prose.txt.zst")]),
        )

    def _many(self) -> Iterable[str]:
        # Shuffled: both halves shall have all languages.
        return _shuffled(_pieces([self._text("multilingual/many_languages.txt.zst")]))

    def _code(self) -> Iterable[str]:
        folder = Path(sysconfig.get_path("stdlib"))
        files = sorted(p for p in folder.rglob("*.py") if "site-packages" not in p.parts)
        texts = (p.read_text(encoding="utf-8", errors="replace") for p in files)
        return _shuffled(_pieces(texts))

    def _text(self, name: str) -> str:
        import zstandard

        with (self.data / name).open("rb") as file:
            return zstandard.ZstdDecompressor().stream_reader(file).read().decode()

    def _json_lines(self, name: str) -> Iterator[str]:
        for line in self._text(name).split("\n"):
            if line:
                yield json.loads(line)["text"]


def _pieces(texts: Iterable[str]) -> Iterator[str]:
    """Cut texts at line ends into pieces of about ``SIZE`` bytes; no piece spans two texts."""
    for text in texts:
        lines: list[str] = []
        length = 0
        for line in text.splitlines(keepends=True):
            lines.append(line)
            length += len(line.encode())
            if length >= SIZE:
                yield "".join(lines)
                lines, length = [], 0
        if lines:
            yield "".join(lines)


def _in_turn(first: Iterator[str], second: Iterator[str]) -> Iterator[str]:
    """Yield from both in turn, then what is left of the longer one."""
    for one in first:
        yield one
        other = next(second, None)
        if other is None:
            break
        yield other
    yield from first
    yield from second


def _shuffled(documents: Iterable[str]) -> list[str]:
    documents = list(documents)
    random.Random(0).shuffle(documents)
    return documents


def _take(documents: Iterator[str], n_bytes: int) -> Iterator[str]:
    total = 0
    while total < n_bytes and (text := next(documents, None)) is not None:
        total += len(text.encode())
        yield text


def _write(path: Path, documents: Iterable[str]) -> None:
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        for text in documents:
            file.write(pickle.dumps(text))
    part.rename(path)
