"""Measure judging beside datatrove's filters: MB of UTF-8 per CPU second, one thread.

    pip install datatrove==0.10.1 spacy jieba 'xxhash<4' zstandard
    python benches/judging.py ../shared/data

datatrove runs its own chain: Gopher's repetition and quality, C4 and FineWeb for English, the
filters of FineWeb-2 for Chinese with jieba. Too few equal verdicts end the measurement. Both sides
take turns; each figure is the best of three rounds, and datatrove judges the first documents only.
"""

import importlib.util
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import zstandard

import lslm

ROUNDS = 3
MAX_BYTES = 8_000_000
PEER_BYTES = 400_000
MIN_AGREEMENT = {"fineweb@datatrove": 0.995, "fineweb2@cmn_Hani": 0.99, "chinese": 0.85}


def texts(path: Path) -> list[str]:
    """Return the first documents of a file, about 8 MB, with one kind of line break."""
    found: list[str] = []
    size = 0
    with zstandard.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            text = json.loads(line)["text"].replace("\r\n", "\n").replace("\r", "\n")
            found.append(text)
            size += len(text.encode())
            if size > MAX_BYTES:
                break
    return found


def stages() -> dict[str, list]:
    """Return datatrove's filters of each language, with which the stored verdicts were made."""
    path = Path(__file__).parents[1] / "testdata/clean/peer_filters.py"
    spec = importlib.util.spec_from_file_location("peer_filters", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {
        "en": module.english()["fineweb@datatrove"],
        "cmn_Hani": module.chinese()["fineweb2@cmn_Hani"],
    }


def peer(filters: list) -> Callable[[Sequence[str]], list[bool]]:
    """Return a function that judges by ``filters``, in order up to the first that drops."""

    def judge(documents: Sequence[str]) -> list[bool]:
        kept = []
        for text in documents:
            document = SimpleNamespace(text=text)
            kept.append(all(stage.filter(document) is True for stage in filters))
        return kept

    return judge


def ours(profile: str) -> Callable[[Sequence[str]], list[bool]]:
    """Return a function that judges by a profile of lslm."""
    cleaner = lslm.Cleaner(profile)
    return lambda documents: [
        found.reason is None for found in cleaner.clean_batch(list(documents), threads=1)
    ]


def first(documents: list[str], max_bytes: int) -> list[str]:
    """Return the first documents of at most ``max_bytes`` in all, at least one."""
    size = 0
    for count, text in enumerate(documents):
        size += len(text.encode())
        if size > max_bytes:
            return documents[: max(count, 1)]
    return documents


def seconds(function: Callable[[Sequence[str]], object], documents: Sequence[str]) -> float:
    """Return the CPU seconds of one call."""
    start = time.process_time()
    function(documents)
    return time.process_time() - start


def main() -> None:
    """Print one line a corpus and profile."""
    data = Path(sys.argv[1])
    filters = stages()
    jobs = [
        ("web/c4.jsonl.zst", "en", "fineweb@datatrove"),
        ("english/enwiki.jsonl.zst", "en", "fineweb@datatrove"),
        ("chinese/zhwiki.jsonl.zst", "cmn_Hani", "chinese"),
        ("chinese/zhwiki.jsonl.zst", "cmn_Hani", "fineweb2@cmn_Hani"),
    ]
    for file, language, profile in jobs:
        documents = texts(data / file)
        some = first(documents, PEER_BYTES)
        judge, theirs = ours(profile), peer(filters[language])
        pairs = list(zip(judge(some), theirs(some), strict=True))
        agreement = sum(mine == other for mine, other in pairs) / len(pairs)
        if agreement < MIN_AGREEMENT[profile]:
            sys.exit(f"{file} {profile}: only {agreement:.1%} of the verdicts are equal")
        best = [float("inf")] * 2
        for _ in range(ROUNDS):
            best[0] = min(best[0], seconds(judge, documents))
            best[1] = min(best[1], seconds(theirs, some))
        speed, slow = (
            sum(len(text.encode()) for text in side) / time / 1e6
            for side, time in zip((documents, some), best, strict=True)
        )
        print(
            f"{file} {profile}: {agreement:.1%} of {len(some)} verdicts equal; "
            f"lslm {speed:.1f}, datatrove {slow:.3f}, ratio {speed / slow:,.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
