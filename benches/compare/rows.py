"""What is compared: each row is one piece of work, with one job for each package that can do it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from compare.corpora import Corpora, read
from compare.encoders import ENCODERS
from compare.trainers import TRAINERS

CORPORA = ("english", "chinese", "code", "many")
ENCODINGS = ("o200k_base", "gpt2", "cl100k_base", "qwen2_5")
CORES = 2


@dataclass
class Row:
    """A row: what its jobs do, and for each side the job and the environment it runs in."""

    name: str
    facts: dict
    reference: str  # the side whose ids or tokens the others must have
    jobs: dict[str, dict] = field(default_factory=dict)
    environments: dict[str, str] = field(default_factory=dict)
    rounds: dict[str, int] = field(default_factory=dict)
    after: Callable[[], object] = lambda: None  # after each run

    def add(self, side: str, environment: str, job: dict, rounds: int = 1_000) -> None:
        self.jobs[side], self.environments[side] = job, environment
        self.rounds[side] = rounds


def n_bytes(*paths: Path) -> list[int]:
    return [sum(len(text.encode()) for text in read(path)) for path in paths]


class Rows:
    """All rows, each built on first use, since their inputs are large."""

    def __init__(self, corpora: Corpora, vocabularies: Path, folder: Path) -> None:
        self.corpora, self.vocabularies, self.folder = corpora, vocabularies, folder

    def names(self) -> list[str]:
        encode = [f"encode/{c}/{e}" for e in ENCODINGS for c in CORPORA]
        return [
            *encode,
            "short/english/o200k_base",
            "short/chinese/o200k_base",
            "decode/english/o200k_base",
            "decode/chinese/o200k_base",
            "threads/english/o200k_base",
            "threads/chinese/o200k_base",
            "load/o200k_base/tiktoken",
            "load/o200k_base/json",
            *[f"tokenize/english-{size}MB/{n}-threads" for n in (1, CORES) for size in (60, 240)],
            "train/english/gpt2",
            "train/english/o200k_base",
            "train/chinese/gpt2",
            "train/chinese/o200k_base",
        ]

    def row(self, name: str) -> Row:
        work, *rest = name.split("/")
        return getattr(self, f"_{work}")(name, *rest)

    def _job(self, work: str, peer: str, encoding: str, threads: int = 1, **more: object) -> dict:
        return {
            "work": work,
            "peer": peer,
            "encoding": encoding,
            "vocabularies": str(self.vocabularies),
            "threads": threads,
            "core": 0 if threads == 1 else None,
            **more,
        }

    def _peers(self, encoding: str) -> Iterator[tuple[str, str, int]]:
        for name, encoder in ENCODERS.items():
            if encoding in encoder.encodings:
                yield name, encoder.environment, encoder.rounds

    def _encode(self, name: str, corpus: str, encoding: str) -> Row:
        return self._encoded(name, encoding, self.corpora.halves(corpus))

    def _encoded(self, name: str, encoding: str, paths: tuple[Path, Path]) -> Row:
        reference = "tokenizers" if encoding == "qwen2_5" else "tiktoken"
        row = Row(name, {"bytes": n_bytes(*paths), "threads": 1}, reference)
        for peer, environment, rounds in self._peers(encoding):
            job = self._job("encode", peer, encoding, texts=[str(path) for path in paths])
            row.add(peer, environment, job, rounds)
        return row

    def _short(self, name: str, corpus: str, encoding: str) -> Row:
        row = self._encoded(name, encoding, self.corpora.short(corpus))
        row.facts["documents"] = 100_000
        return row

    def _decode(self, name: str, corpus: str, encoding: str) -> Row:
        import lslm

        path = self.corpora.halves(corpus)[0]
        texts = [*read(path)]
        facts = json.loads((self.vocabularies / f"{encoding}.meta.json").read_text())
        tok = lslm.Tokenizer.from_tiktoken(
            self.vocabularies / f"{encoding}.tiktoken",
            pattern=facts["pat"],
            special_tokens=facts["special"],
        )
        files = []
        for kind, array in zip(("ids", "offsets"), tok.encode_batch(texts), strict=True):
            files.append(str(path.with_name(f"{path.name}-{encoding}-{kind}.npy")))
            np.save(files[-1], array)
        size = n_bytes(path)
        row = Row(name, {"bytes": size * 2, "documents": len(texts), "threads": 1}, "memcpy")
        job = self._job("decode", "memcpy", encoding, texts=[str(path)], ids=files)
        row.add("memcpy", "lslm", job)
        for peer, environment, rounds in self._peers(encoding):
            row.add(peer, environment, self._job("decode", peer, encoding, ids=files), rounds)
        return row

    def _threads(self, name: str, corpus: str, encoding: str) -> Row:
        paths = self.corpora.halves(corpus)
        row = Row(name, {"bytes": n_bytes(*paths)}, "1 thread")
        for threads in (1, CORES):
            side = f"{threads} thread{'s' * (threads > 1)}"
            texts = [str(path) for path in paths]
            row.add(side, "lslm", self._job("encode", "lslm", encoding, threads, texts=texts))
        return row

    def _load(self, name: str, encoding: str, file: str) -> Row:
        kind = {"tiktoken": "ranks", "json": "json"}[file]
        row = Row(name, {"threads": 1}, "")
        for peer, environment, _ in self._peers(encoding):
            if hasattr(ENCODERS[peer], kind):
                row.add(peer, environment, self._job("load", peer, encoding, file=kind))
        return row

    def _tokenize(self, name: str, corpus: str, threads: str) -> Row:
        corpus, _, size = corpus.removesuffix("MB").partition("-")
        copies = int(size) // 60
        texts = self.corpora.large(corpus, 60_000_000)
        jsonl = self.corpora.jsonl(texts, copies)
        n = int(threads.removesuffix("-threads"))
        facts = {"bytes": [n_bytes(texts)[0] * copies], "file": jsonl.stat().st_size, "threads": n}
        facts["largest_document"] = max(len(text.encode()) for text in read(texts))
        output = self.folder / "tokenized"
        row = Row(name, facts, "", after=lambda: shutil.rmtree(output, ignore_errors=True))
        more = {"inputs": [str(jsonl)], "output": str(output)}
        job = self._job("tokenize", "lslm", "o200k_base", n, **more)
        row.add("files to shards", "lslm", job)
        row.add("read only", "lslm", self._job("read", "lslm", "o200k_base", n, **more))
        more = {"texts": [str(texts)], "copies": copies}
        row.add("encode only", "lslm", self._job("encode_all", "lslm", "o200k_base", n, **more))
        return row

    def _train(self, name: str, corpus: str, pattern: str) -> Row:
        texts = self.corpora.large(corpus, 65_000_000 if corpus == "english" else 20_000_000)
        facts = json.loads((self.vocabularies / f"{pattern}.meta.json").read_text())
        job = {
            "work": "train",
            "texts": str(texts),
            "jsonl": str(self.corpora.jsonl(texts)),
            "pattern": pattern,
            "regex": facts["pat"],
            "vocabulary": 32_000,
            "threads": CORES,
            "core": None,
        }
        row = Row(name, {"bytes": n_bytes(texts), "threads": CORES}, "tokenizers")
        for peer, trainer in TRAINERS.items():
            if trainer.any_pattern or pattern == "gpt2":
                output = str(self.folder / f"tokens-{peer}.json")
                more = {"peer": peer, "output": output}
                row.add(peer, trainer.environment, job | more, trainer.rounds)
        return row
