"""Measure every stage, from text to training, and keep a dated record.

    python benches/stages.py                      # into benches/record/DATE-MACHINE.json
    python benches/stages.py --print-only encode  # some stages, nothing written

The text is the sources of the running Python's own library and, if they are present, the corpora
of ../shared/data. Each figure is the median of several runs, with the lowest and highest beside it;
results are checked before they are timed. Figures hold for the machine that the record names.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from machine import DATA, record_path, write_record

import lslm

RUNS = 5
"""Runs of one figure."""


def median_rate(amount: float, unit: str, work: Callable[[], object], runs: int = RUNS) -> dict:
    """Return ``amount`` per second of ``work``: median, lowest and highest of ``runs`` runs."""
    rates = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        rates.append(amount / (time.perf_counter() - start))
    return {
        "median": round(statistics.median(rates), 3),
        "min": round(min(rates), 3),
        "max": round(max(rates), 3),
        "unit": unit,
        "runs": runs,
    }


def texts() -> dict[str, list[str]]:
    """Return documents of about 4 kB: English, Chinese and code."""
    found = {"code": _documents(_library_sources())}
    if DATA.is_dir():
        import zstandard

        for name, path in (
            ("english", "english/novels.txt.zst"),
            ("chinese", "chinese/modern_prose.txt.zst"),
        ):
            with (DATA / path).open("rb") as file:
                reader = zstandard.ZstdDecompressor().stream_reader(file)
                text = io.TextIOWrapper(reader, encoding="utf-8", newline="").read(20_000_000)
            found[name] = _documents(text)
    return found


def _library_sources() -> str:
    folder = Path(sysconfig.get_path("stdlib"))
    files = sorted(p for p in folder.rglob("*.py") if "site-packages" not in p.parts)
    return "\n".join(p.read_text(encoding="utf-8", errors="replace") for p in files)[:20_000_000]


def _documents(text: str, size: int = 4096, total: int = 10_000_000) -> list[str]:
    """Return documents of about ``size`` bytes, cut at line ends, of ``total`` bytes in all."""
    documents: list[str] = []
    lines: list[str] = []
    length = done = 0
    for line in text.splitlines(keepends=True):
        lines.append(line)
        length += len(line.encode())
        if length >= size:
            documents.append("".join(lines))
            done += length
            lines, length = [], 0
            if done >= total:
                break
    return documents


def n_bytes(documents: list[str]) -> int:
    return sum(len(text.encode()) for text in documents)


class Stages:
    """One method a stage; each returns the figures of that stage by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.texts = texts()
        self.tokenizer: lslm.Tokenizer | None = None

    def files(self, name: str) -> Path:
        """Return the documents ``name`` as a JSONL file."""
        path = self.folder / f"{name}.jsonl"
        if not path.exists():
            with path.open("w", encoding="utf-8") as file:
                for text in self.texts[name]:
                    file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
        return path

    def learned(self) -> lslm.Tokenizer:
        if self.tokenizer is None:
            self.tokenizer = lslm.train_tokenizer(
                [str(self.files("code"))], vocab_size=8192, progress=False
            )
        return self.tokenizer

    def clean(self) -> Iterator[tuple[str, dict]]:
        for name, documents in self.texts.items():
            profile = {"english": "fineweb", "chinese": "chinese", "code": "code"}[name]
            cleaner = lslm.Cleaner(profile)
            size = n_bytes(documents) / 1e6
            yield (
                f"clean/{profile}/{name}/1 thread",
                median_rate(
                    size, "MB/s", lambda c=cleaner, d=documents: c.clean_batch(d, threads=1)
                ),
            )

    def train_tokenizer(self) -> Iterator[tuple[str, dict]]:
        for name, documents in self.texts.items():
            path = str(self.files(name))
            yield (
                f"train-tokenizer/o200k_base/8192/{name}",
                median_rate(
                    n_bytes(documents) / 1e6,
                    "MB/s",
                    lambda p=path: lslm.train_tokenizer([p], vocab_size=8192, progress=False),
                    runs=3,
                ),
            )

    def encode(self) -> Iterator[tuple[str, dict]]:
        tok = self.learned()
        for name, documents in self.texts.items():
            ids, offsets = tok.encode_batch(documents)
            assert tok.decode_batch(ids, offsets) == documents
            size = n_bytes(documents) / 1e6
            for threads in (1, os.cpu_count() or 1):
                yield (
                    f"encode/{name}/{threads} threads",
                    median_rate(
                        size, "MB/s", lambda d=documents, t=threads: tok.encode_batch(d, threads=t)
                    ),
                )
            yield f"decode/{name}", median_rate(size, "MB/s", lambda i=ids: tok.decode_bytes(i))

    def tokenize(self) -> Iterator[tuple[str, dict]]:
        tok = self.learned()
        for name, documents in self.texts.items():
            counter = iter(range(1_000))

            def work(path: str = str(self.files(name)), name: str = name) -> None:
                out = self.folder / f"data-{name}-{next(counter)}"  # noqa: B023
                lslm.tokenize([path], output=out, tokenizer=tok, progress=False)

            yield f"tokenize files/{name}", median_rate(n_bytes(documents) / 1e6, "MB/s", work)

    def loader(self) -> Iterator[tuple[str, dict]]:
        from lslm.data import TokenLoader

        tok = self.learned()
        out = self.folder / "data-loader"
        lslm.tokenize([str(self.files("code"))], output=out, tokenizer=tok, progress=False)
        for output in ("numpy", "torch"):
            loader = TokenLoader(
                out / "train", batch_size=32, sequence_length=1024, seed=0, output=output
            )
            batches = iter(loader)
            first = next(batches)
            assert np.array_equal(
                np.asarray(first.inputs)[:, 1:], np.asarray(first.targets)[:, :-1]
            )

            def work(batches: Iterator = batches) -> None:
                for _ in range(500):
                    next(batches)

            yield (
                f"loader/{output}/32 x 1024",
                median_rate(500 * 32 * 1024 / 1e6, "million tokens/s", work),
            )

    def training(self) -> Iterator[tuple[str, dict]]:
        from lslm.config import load_config
        from lslm.report import read_metrics

        tok = self.learned()
        out = self.folder / "data-training"
        lslm.tokenize([str(self.files("code"))], output=out, tokenizer=tok, progress=False)
        run = self.folder / "run"
        overrides = [f"data={out}", f"out={run}", "steps=60"]
        lslm.train(load_config("tiny", overrides), progress=False)
        rates = [row.tokens_per_second for row in read_metrics(run / "metrics.jsonl")][1:]
        yield (
            "train/configs/tiny.toml",
            {
                "median": round(statistics.median(rates)),
                "min": round(min(rates)),
                "max": round(max(rates)),
                "unit": "tokens/s",
                "runs": len(rates),
            },
        )
        result = lslm.evaluate(run, progress=False)
        yield (
            "evaluate/configs/tiny.toml",
            median_rate(result.n_tokens, "tokens/s", lambda: lslm.evaluate(run), runs=3),
        )


def main() -> None:
    names = [name for name, value in vars(Stages).items() if callable(value) and name[0] != "_"]
    names = [name for name in names if name not in ("files", "learned")]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("stages", nargs="*", choices=[*names, []], help="all if none is named")
    parser.add_argument("--print-only", action="store_true", help="write no record")
    arguments = parser.parse_args()
    path = None if arguments.print_only else record_path()
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        stages = Stages(Path(folder))
        for name in arguments.stages or names:
            for title, figure in getattr(stages, name)():
                figures[title] = figure
                print(
                    f"{title:<44} {figure['median']:>12,.1f} {figure['unit']:<18}"
                    f" [{figure['min']:,.1f} – {figure['max']:,.1f}]",
                    flush=True,
                )
    if path is not None:
        write_record(path, {"figures": figures})


if __name__ == "__main__":
    main()
