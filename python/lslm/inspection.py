"""What a file or folder is, with its counts and samples; and whether it is undamaged."""

from __future__ import annotations

import json
import os
import warnings
from collections import Counter
from collections.abc import Mapping  # noqa: TC003  (Result reads the types of its fields)
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import lslm
from lslm.bin_files import is_bin, open_bin
from lslm.files import not_found
from lslm.limits import MAX_COUNT, whole_number
from lslm.report import TokenizerFigures
from lslm.results import Reading, Result, for_people, label
from lslm.score_table import MANIFEST as SCORES

if TYPE_CHECKING:
    from collections.abc import Callable

    from lslm.progress import Progress

__all__ = ["Inspection", "inspect", "kind_of", "tokenizer_facts", "verify"]

MAX_TOKENS_AT_ONCE = 1 << 24
"""Tokens of a token file read at once: 64 MB at most."""

Kind: TypeAlias = Literal["tokenizer", "dataset", "run", "scores", "tokens", "documents"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Inspection(Result):
    """What :func:`inspect` found."""

    kind: Kind
    path: Path
    """What was inspected; of a corpus of several files, the folder that has them all."""
    facts: Mapping[str, Any]
    """Counts and properties by name, such as ``n_tokens``; which ones, depends on ``kind``."""
    samples: tuple[str, ...] = ()
    """The first documents, shortened to a few lines."""

    def as_dict(self) -> dict[str, Any]:
        """Return kind and path, then all facts, then the samples, as plain data."""
        plain = super().as_dict()
        facts, samples = plain.pop("facts"), plain.pop("samples")
        return {**plain, **facts, "samples": samples}

    def summary(self) -> dict[str, str]:
        """Return what it is and its facts; of documents only what there is."""
        facts = dict(self.facts)
        shown = {"what": f"{self.kind} {self.path}"}
        if self.kind == "documents":
            skipped = {f"skipped: {why}": n for why, n in facts.pop("skipped").items()}
            shown |= Reading.from_dict(facts).summary()
            facts = skipped
        elif self.kind == "tokenizer":
            facts["longest_tokens"] = " ".join(map(repr, facts["longest_tokens"]))
        return shown | {label(name): for_people(value) for name, value in facts.items()}


def inspect(path: str | os.PathLike[str] | lslm.Corpus, *, n_samples: int = 2) -> list[Inspection]:
    """Return what ``path`` is: one entry, or one for each dataset in a folder of them.

    ``n_samples`` documents are shown of a dataset or of files of documents. A :class:`lslm.Corpus`
    in place of the path is documents, read as it says. Raises ``FileNotFoundError`` if ``path``
    does not exist, ``lslm.FormatError`` if it is neither a tokenizer, a dataset, a run, a score
    table, a token file of nanoGPT or llm.c nor files of documents.
    """
    whole_number("n_samples", n_samples, 0, MAX_COUNT)
    if isinstance(path, lslm.Corpus):
        return [_inspect_documents(path, _common_path(path), n_samples)]
    path = Path(path)
    kinds: dict[Kind, Callable[[], list[Inspection]]] = {
        "dataset": lambda: [_inspect_dataset(folder, n_samples) for folder in _datasets(path)],
        "run": lambda: [_inspect_run(path)],
        "scores": lambda: [_inspect_scores(path)],
        "tokens": lambda: [_inspect_tokens(path)],
        "tokenizer": lambda: [_inspect_tokenizer(path)],
        "documents": lambda: [_inspect_documents(lslm.Corpus(path), path, n_samples)],
    }
    return kinds[kind_of(path)]()


def kind_of(path: str | os.PathLike[str]) -> Kind:
    """Return what ``path`` looks like: "documents" if nothing else.

    "tokens" is a token file of nanoGPT or llm.c, everything else what lslm has written.

    Raises ``FileNotFoundError`` if ``path`` does not exist.
    """
    path = Path(path)
    if not path.exists():
        raise not_found(path)
    if _datasets(path):
        return "dataset"
    if (path / "config.toml").exists() and (path / "checkpoints").is_dir():
        return "run"
    if (path / SCORES).is_file():
        return "scores"
    if is_bin(path):
        return "tokens"
    return "tokenizer" if _is_tokenizer(path) else "documents"


def verify(path: str | os.PathLike[str], *, progress: Progress = None) -> list[str]:
    """Check every checksum at ``path``; return the folders that were checked.

    ``path`` is a dataset, a folder of datasets, a run, a checkpoint, or a score table. Raises
    ``lslm.FormatError`` for the first damaged file, with the position of the damage if it is known,
    and ``ValueError`` if nothing at ``path`` has checksums.
    """
    path = Path(path)
    if not path.exists():
        raise not_found(path)
    datasets = _datasets(path)
    for folder in datasets:
        lslm.TokenDataset(folder).verify(progress=progress)
    if datasets:
        return [str(folder) for folder in datasets]
    if (path / SCORES).is_file():
        lslm.open_scores(path).verify()
        return [str(path)]
    checkpoints = [path] if (path / "state.json").exists() else []
    checkpoints += sorted(p.parent for p in path.glob("checkpoints/*/state.json"))
    if not checkpoints:
        raise ValueError(
            f"{path} is neither a dataset, a run, a checkpoint nor a score table: only these have "
            f"checksums"
        )
    from lslm.checkpoint import check_checkpoint

    for checkpoint in checkpoints:
        check_checkpoint(checkpoint)
    return [str(checkpoint) for checkpoint in checkpoints]


def tokenizer_facts(tokenizer: lslm.Tokenizer) -> dict[str, Any]:
    """Return size, pattern, engine, special tokens, fingerprint, longest tokens, as plain data."""
    longest = TokenizerFigures.of(tokenizer, n_longest=8).longest
    return {
        "vocab_size": tokenizer.vocab_size,
        "pattern": tokenizer.pattern,
        "engine": tokenizer.engine,
        "special_tokens": tokenizer.special_tokens,
        "eos_id": tokenizer.eos_id,
        "fingerprint": tokenizer.fingerprint,
        "longest_tokens": [token.decode("utf-8", "backslashreplace") for token in longest],
    }


def _common_path(corpus: lslm.Corpus) -> Path:
    """Return the file of a corpus, or the folder that has all of its files."""
    try:
        return Path(os.path.commonpath(corpus.inputs))
    except ValueError:  # some are relative and some absolute, or on several drives
        return Path(corpus.inputs[0])


def _inspect_documents(corpus: lslm.Corpus, path: Path, n_samples: int) -> Inspection:
    """Count the documents, those that cannot be read, and the files that are skipped."""
    skipped = Counter(skipped.reason for skipped in corpus.skipped)
    facts = corpus.count_documents().as_dict() | {"skipped": dict(skipped)}
    with warnings.catch_warnings(action="ignore"):  # the bad documents are among the facts
        first = list(islice(corpus, n_samples))
    samples = tuple(_shortened(document.text) for document in first)
    return Inspection(kind="documents", path=path, facts=facts, samples=samples)


def _datasets(path: Path) -> list[Path]:
    """Return the dataset folders at ``path``: itself, or its parts such as train and validation."""
    if (path / "manifest.json").exists():
        return [path]
    return sorted(p.parent for p in path.glob("*/manifest.json")) if path.is_dir() else []


def _is_tokenizer(path: Path) -> bool:
    """Return whether ``path`` is a tokenizer's file or folder."""
    if path.is_dir():
        names = ("tokenizer.json", "vocab.json", "tekken.json")
        return any((path / name).exists() for name in names)
    if path.suffix == ".tiktoken":
        return True
    if path.suffix != ".json":
        return False
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    if not isinstance(content, dict):
        return False
    return "model" in content or {"config", "vocab"} <= content.keys()  # the second: tekken.json


def _inspect_dataset(folder: Path, n_samples: int) -> Inspection:
    ds = lslm.TokenDataset(folder)
    ds.check_shards()  # a missing or truncated one is an error that names it
    manifest = ds.manifest
    facts = {
        "n_tokens": ds.n_tokens,
        "n_documents": ds.n_documents,
        "n_bytes": manifest["bytes"],
        "bytes_per_token": round(manifest["bytes"] / max(ds.n_tokens, 1), 3),
        "n_shards": len(manifest["shards"]),
        "n_sources": len(manifest["sources"]),
        "vocab_size": manifest["vocab_size"],
        "token_dtype": manifest["token_dtype"],
        "eos_id": ds.eos_id,
        "bos_id": ds.bos_id,
        "fingerprint": ds.fingerprint,
    }
    if "hold_out" in manifest:
        facts["held_out"] = manifest["hold_out"]["by"]
        facts["n_divided_documents"] = manifest["hold_out"]["divided_documents"]
    samples = []
    if (folder / "tokenizer.json").exists():
        tokenizer = lslm.Tokenizer.load(folder)
        samples = [
            _shortened(tokenizer.decode(ds.document(i)[:400]))
            for i in range(min(n_samples, ds.n_documents))
        ]
    return Inspection(kind="dataset", path=folder, facts=facts, samples=tuple(samples))


def _inspect_tokenizer(path: Path) -> Inspection:
    facts = tokenizer_facts(lslm.Tokenizer.load(path))
    return Inspection(kind="tokenizer", path=path, facts=facts)


def _inspect_tokens(path: Path) -> Inspection:
    """Return format, counts and largest id of a token file, which is read once.

    What has no header is taken for nanoGPT's by its name and its ids, and that is said.
    """
    format_name = open_bin(path).manifest["format"]
    is_wide = open_bin(path).dtype == "uint32"
    tokens = open_bin(path, vocab_size=2**32 - 1 if is_wide else 2**16)
    starts = range(0, tokens.n_tokens, MAX_TOKENS_AT_ONCE)
    stops = [min(start + MAX_TOKENS_AT_ONCE, tokens.n_tokens) for start in starts]
    largest = [tokens.tokens(*span).max() for span in zip(starts, stops, strict=True)]
    facts = {
        "format": format_name,
        "recognised_by": "header" if format_name == "llm.c" else "name and ids",
        "n_tokens": tokens.n_tokens,
        "token_dtype": tokens.dtype,
        "largest_id": int(max(largest, default=0)),
        "fingerprint": tokens.fingerprint,
    }
    return Inspection(kind="tokens", path=path, facts=facts)


def _inspect_run(run: Path) -> Inspection:
    """Return the checkpoints of a run, and the last value of everything in metrics.jsonl."""
    rows = []
    metrics = run / "metrics.jsonl"
    if metrics.exists():
        with metrics.open(encoding="utf-8") as file:
            rows = [json.loads(line) for line in file if line.endswith("\n")]
    facts: dict[str, Any] = {
        "checkpoints": sorted(p.parent.name for p in run.glob("checkpoints/*/state.json"))
    }
    for row in rows:
        facts |= {name: value for name, value in row.items() if isinstance(value, int | float)}
    return Inspection(kind="run", path=run, facts=facts)


def _inspect_scores(folder: Path) -> Inspection:
    """Return the counts of a score table, its protocol, and what it is of."""
    table = lslm.open_scores(folder)
    facts: dict[str, Any] = {
        "n_tokens": table.n_tokens,
        "n_documents": table.n_documents,
        "n_bytes": int(table.documents["n_bytes"].sum()),
        "nats": float(table.documents["nats"].sum()),
        "protocol": table.protocol.name,
        "window": table.protocol.window,
        "stride": table.protocol.stride,
        "dtype": table.manifest.get("dtype", ""),
        "n_sources": len(table.sources),
        "fingerprints": dict(table.fingerprints),
    }
    return Inspection(kind="scores", path=folder, facts=facts)


def _shortened(text: str, lines: int = 8, width: int = 300) -> str:
    """Return the first ``lines`` lines of ``text``, each cut to ``width`` characters."""
    first = text.splitlines()[: lines + 1]
    shown = [line if len(line) <= width else line[:width] + " …" for line in first[:lines]]
    return "\n".join(shown + (["…"] if len(first) > lines else []))
