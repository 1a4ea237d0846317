"""The score table: what a model gave each token of a text, as columns in a folder.

One run of the model writes it (``lslm eval --save-scores``), and whatever is computed from the
scores reads it: no second run. ``docs/scores.md`` is the format. Columns are ``.npy`` files, which
numpy maps without reading them; :meth:`ScoreTable.to_arrow` and :meth:`ScoreTable.to_pandas` hand
them on. Memory does not grow with the number of tokens, neither in writing nor in reading.
"""

from __future__ import annotations

import json
import shutil
import zlib
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from lslm.exceptions import FormatError
from lslm.files import sync, write_atomically
from lslm.protocol import Protocol
from lslm.scores import DocumentScores

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from numpy.typing import NDArray

__all__ = ["ScoreTable", "ScoreWriter", "TokenScores", "open_scores"]

MANIFEST = "scores.json"
"""Written last: a folder without it is not a score table."""
FORMAT, VERSION = "lslm-scores", 1
HEADER_BYTES = 128
"""Size of the header of each .npy file, large enough for any length."""
CHUNK_ROWS = 1 << 20
"""Rows that :meth:`ScoreTable.chunks` holds at a time: 32 MB."""

TOKEN_COLUMNS = ("id", "nats", "rank", "entropy", "top")
SPAN_COLUMNS = {"row": "<u8", "document": "<u4", "position": "<u8", "context": "<u4"}
DOCUMENT_COLUMNS = {
    "dataset": "<u2",
    "index": "<u8",
    "source": "<u4",
    "n_tokens": "<u8",
    "n_bytes": "<u8",
    "n_chars": "<u8",
    "n_words": "<u8",
    "nats": "<f8",
    "id_end": "<u8",
}


@dataclass(frozen=True)
class TokenScores:
    """Rows of consecutive tokens: one array each, of equal length."""

    id: NDArray[np.unsignedinteger[Any]]
    """The token that stands in the text."""
    nats: NDArray[np.float32]
    """−log p of it."""
    rank: NDArray[np.unsignedinteger[Any]]
    """Number of ids that the model gave a higher probability: 0 is the most likely."""
    entropy: NDArray[np.float32]
    """−Σ p log p of the distribution, in nats: the loss that the model expects here."""
    top: NDArray[np.float32]
    """−log p of the most likely id; equal to ``nats`` where ``rank`` is 0."""
    document: NDArray[np.uint32]
    """Row of the table's documents."""
    position: NDArray[np.uint64]
    """Position in the document, from 0."""
    context: NDArray[np.uint32]
    """Tokens that the model saw before it, those of a prefix included."""

    def __len__(self) -> int:
        return len(self.id)

    def as_dict(self) -> dict[str, NDArray[Any]]:
        """Return the columns by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


class _Column:
    """A one-dimensional .npy file that grows; its header is written again at the end."""

    def __init__(self, path: Path, dtype: str) -> None:
        self.path, self.dtype, self.rows, self.crc = path, np.dtype(dtype), 0, 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb")
        self._file.write(bytes(HEADER_BYTES))

    def append(self, values: NDArray[Any]) -> None:
        """Append ``values``, converted to the column's type."""
        data = np.ascontiguousarray(values, self.dtype).tobytes()
        self.crc = zlib.crc32(data, self.crc)
        self.rows += len(values)
        self._file.write(data)

    def finish(self) -> dict[str, Any]:
        """Write the header, sync, and return the column's entry in the manifest."""
        with self._file:
            self._file.seek(0)
            self._file.write(_npy_header(self.dtype, self.rows))
        sync(self.path)
        return {"dtype": self.dtype.str, "rows": self.rows, "crc32": f"{self.crc:08x}"}

    def close(self) -> None:
        """Close the file as it is."""
        self._file.close()


def _npy_header(dtype: np.dtype[Any], rows: int) -> bytes:
    """Return the header of a .npy file, version 1.0, of HEADER_BYTES."""
    text = f"{{'descr': {dtype.str!r}, 'fortran_order': False, 'shape': ({rows},), }}"
    size = HEADER_BYTES - 10
    return b"\x93NUMPY\x01\x00" + size.to_bytes(2, "little") + f"{text:<{size - 1}}\n".encode()


class ScoreWriter:
    """Writes a score table into the new folder ``path``, as a context.

    ::

        with ScoreWriter(folder, vocab_size=V) as writer:
            writer.add_tokens(id=…, nats=…, rank=…, entropy=…, top=…)  # in the order of the text
            writer.add_spans(row=…, document=…, position=…, context=…)
            writer.add_document(scores)                          # in order, once each is complete
            writer.finish(protocol=…, …)

    Without ``finish`` the folder is removed again. Raises ``ValueError`` for a folder that is there
    and not empty.
    """

    def __init__(self, path: str | os.PathLike[str], *, vocab_size: int) -> None:
        self.path = Path(path)
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise ValueError(f"{self.path} exists: name a new folder for the scores")
        narrow = "<u2" if vocab_size <= 1 << 16 else "<u4"
        tokens = dict.fromkeys(TOKEN_COLUMNS, "<f4") | {"id": narrow, "rank": narrow}
        groups = {"tokens": tokens, "spans": SPAN_COLUMNS, "documents": DOCUMENT_COLUMNS}
        self._columns = {
            f"{group}/{name}": _Column(self.path / group / f"{name}.npy", dtype)
            for group, columns in groups.items()
            for name, dtype in columns.items()
        }
        self._columns["documents/ids"] = _Column(self.path / "documents" / "ids.npy", "<u1")
        self._sources: dict[str, int] = {}
        self._datasets: dict[str, int] = {}
        self._documents: list[dict[str, Any]] = []
        self._finished = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for column in self._columns.values():
            column.close()
        if not self._finished:
            shutil.rmtree(self.path, ignore_errors=True)

    @property
    def n_tokens(self) -> int:
        """Rows of tokens so far."""
        return self._columns["tokens/id"].rows

    @property
    def n_documents(self) -> int:
        """Rows of documents so far."""
        return self._columns["documents/nats"].rows + len(self._documents)

    def add_tokens(self, **columns: NDArray[Any]) -> None:
        """Append rows: arrays of TOKEN_COLUMNS, of equal length."""
        for name, values in columns.items():
            self._columns[f"tokens/{name}"].append(values)

    def add_spans(self, **columns: NDArray[Any]) -> None:
        """Append spans, arrays of SPAN_COLUMNS: from ``row`` on, tokens that follow each other.

        In a span, position and context grow by one from row to row.
        """
        for name, values in columns.items():
            self._columns[f"spans/{name}"].append(values)

    def add_document(self, scores: DocumentScores) -> None:
        """Append the row of the next document."""
        name = (scores.id or "").encode()
        ids = self._columns["documents/ids"]
        ids.append(np.frombuffer(name, np.uint8))
        numbers = {
            "dataset": self._datasets.setdefault(scores.dataset, len(self._datasets)),
            "source": self._sources.setdefault(scores.source, len(self._sources)),
            "id_end": ids.rows,
        }
        row = {n: numbers[n] if n in numbers else getattr(scores, n) for n in DOCUMENT_COLUMNS}
        self._documents.append(row)
        if len(self._documents) == 4096:
            self._write_documents()

    def _write_documents(self) -> None:
        for name, dtype in DOCUMENT_COLUMNS.items():
            values = np.array([row[name] for row in self._documents], dtype)
            self._columns[f"documents/{name}"].append(values)
        self._documents.clear()

    def finish(self, *, protocol: Protocol, **facts: Any) -> None:
        """Write what is left and the manifest, with ``facts`` in it; the table is then complete."""
        self._write_documents()
        from lslm import __version__

        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "created_by": f"lslm {__version__}",
            "protocol": protocol.as_dict(),
            **facts,
            "datasets": list(self._datasets),
            "sources": list(self._sources),
            "columns": {name: column.finish() for name, column in self._columns.items()},
        }
        text = json.dumps(manifest, indent=1, ensure_ascii=False)
        write_atomically(self.path / MANIFEST, text + "\n")
        self._finished = True


class ScoreTable:
    """An open score table, from :func:`open_scores`: columns are mapped, not read.

    ``len(table)`` is the number of tokens.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.manifest = _read_manifest(self.path)
        self._columns = {
            name: _map_column(self.path / f"{name}.npy", entry)
            for name, entry in self.manifest["columns"].items()
        }
        self._check_lengths()

    def __len__(self) -> int:
        return self.n_tokens

    def __repr__(self) -> str:
        return (
            f"ScoreTable({str(self.path)!r}, n_tokens={self.n_tokens}, "
            f"n_documents={self.n_documents}, protocol={self.protocol.name!r})"
        )

    @property
    def n_tokens(self) -> int:
        """Rows: targets that were scored."""
        return len(self._columns["tokens/id"])

    @property
    def n_documents(self) -> int:
        """Documents with at least one target."""
        return len(self._columns["documents/nats"])

    @property
    def protocol(self) -> Protocol:
        """What was scored, with which context."""
        return Protocol.from_dict(self.manifest["protocol"])

    @property
    def fingerprints(self) -> dict[str, str]:
        """Identities of model, tokenizer, data and protocol, hexadecimal."""
        return dict(self.manifest["fingerprints"])

    @property
    def sources(self) -> list[str]:
        """The names that ``documents["source"]`` is an index into."""
        return list(self.manifest["sources"])

    @property
    def datasets(self) -> list[str]:
        """The names that ``documents["dataset"]`` is an index into."""
        return list(self.manifest["datasets"])

    @property
    def columns(self) -> dict[str, NDArray[Any]]:
        """The stored columns of the tokens, read-only and mapped: those of TOKEN_COLUMNS."""
        return {name: self._columns[f"tokens/{name}"] for name in TOKEN_COLUMNS}

    @property
    def documents(self) -> dict[str, NDArray[Any]]:
        """The columns of the documents, read-only and mapped; ``docs/scores.md`` lists them."""
        return {name: self._columns[f"documents/{name}"] for name in DOCUMENT_COLUMNS}

    def document_id(self, document: int) -> str | None:
        """Return the id of row ``document`` in its source, or None."""
        ends = self._columns["documents/id_end"]
        start = int(ends[document - 1]) if document else 0
        text = self._columns["documents/ids"][start : int(ends[document])].tobytes().decode()
        return text or None

    def document_scores(self) -> Iterator[DocumentScores]:
        """Yield the row of each document."""
        sources, datasets = self.sources, self.datasets
        columns = {name: self._columns[f"documents/{name}"] for name in DOCUMENT_COLUMNS}
        for row in range(self.n_documents):
            values = {name: column[row].item() for name, column in columns.items()}
            del values["id_end"]
            values |= {"source": sources[values["source"]], "dataset": datasets[values["dataset"]]}
            yield DocumentScores(id=self.document_id(row), **values)

    def tokens(self, start: int = 0, stop: int | None = None) -> TokenScores:
        """Return the rows ``start`` to ``stop`` (None: the end), with document and position.

        Raises ``ValueError`` if the table does not have these rows.
        """
        stop = self.n_tokens if stop is None else stop
        if not 0 <= start <= stop <= self.n_tokens:
            raise ValueError(f"rows {start} to {stop}: the table has {self.n_tokens}")
        spans = {name: self._columns[f"spans/{name}"] for name in SPAN_COLUMNS}
        first = max(0, int(np.searchsorted(spans["row"], start, "right")) - 1)
        last = int(np.searchsorted(spans["row"], stop, "left"))
        begin = np.maximum(spans["row"][first:last], start).astype(np.int64)
        sizes = np.diff(np.append(begin, stop))
        into = np.arange(start, stop) - np.repeat(spans["row"][first:last].astype(np.int64), sizes)
        expanded = {n: np.repeat(spans[n][first:last], sizes) for n in SPAN_COLUMNS if n != "row"}
        for name in ("position", "context"):
            expanded[name] += into.astype(expanded[name].dtype)
        stored = {name: np.array(column[start:stop]) for name, column in self.columns.items()}
        return TokenScores(**stored, **expanded)

    def chunks(self, rows: int = CHUNK_ROWS) -> Iterator[TokenScores]:
        """Yield all rows in order, ``rows`` at a time."""
        for start in range(0, self.n_tokens, rows):
            yield self.tokens(start, min(start + rows, self.n_tokens))

    def document_tokens(self, document: int) -> TokenScores:
        """Return the rows of one document."""
        ends = np.cumsum(self._columns["documents/n_tokens"][: document + 1])
        start = int(ends[document - 1]) if document else 0
        return self.tokens(start, int(ends[document]))

    def to_arrow(self) -> Any:
        """Return the tokens as a ``pyarrow.Table``; all in memory. Needs pyarrow."""
        return import_module("pyarrow").table(self.tokens().as_dict())

    def to_pandas(self) -> Any:
        """Return the tokens as a ``pandas.DataFrame``; all in memory. Needs pandas."""
        return import_module("pandas").DataFrame(self.tokens().as_dict())

    def verify(self) -> int:
        """Check the CRC-32 of every column; return the number of bytes.

        Raises ``FormatError`` for the first damaged file.
        """
        n_bytes = 0
        for name, entry in self.manifest["columns"].items():
            crc, column = 0, self._columns[name]
            for start in range(0, len(column), CHUNK_ROWS):
                crc = zlib.crc32(column[start : start + CHUNK_ROWS].tobytes(), crc)
            if f"{crc:08x}" != entry["crc32"]:
                path = self.path / f"{name}.npy"
                raise FormatError(f"{path}: damaged, its CRC-32 differs from {MANIFEST}", str(path))
            n_bytes += column.nbytes
        return n_bytes

    def _check_lengths(self) -> None:
        """Raise ``FormatError`` unless the columns that belong together are equally long."""
        groups: dict[str, set[int]] = {}
        for name, column in self._columns.items():
            if name != "documents/ids":
                groups.setdefault(name.partition("/")[0], set()).add(len(column))
        for group, lengths in groups.items():
            if len(lengths) > 1:
                text = f"{self.path}: the columns of {group} differ in length"
                raise FormatError(text, str(self.path))


def open_scores(path: str | os.PathLike[str]) -> ScoreTable:
    """Return the score table in the folder ``path``.

    Raises ``FileNotFoundError`` for a folder without one, ``FormatError`` for one that is damaged
    or of a later version.

    >>> table = lslm.open_scores("scores/web")
    >>> for rows in table.chunks():
    ...     total += rows.nats.sum(dtype="float64")
    """
    return ScoreTable(path)


def _read_manifest(folder: Path) -> dict[str, Any]:
    """Return the content of scores.json, checked."""
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(
            2, f"not a score table, it has no {MANIFEST}: write one with lslm eval --save-scores",
            str(folder),
        )  # fmt: skip
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        named, version = manifest["format"], manifest["version"]
        columns, _, _ = manifest["columns"], manifest["sources"], manifest["datasets"]
    except (ValueError, KeyError, TypeError) as error:
        text = f"{path}: not the manifest of a score table: {error}"
        raise FormatError(text, str(path)) from None
    if named != FORMAT or version != VERSION:
        raise FormatError(
            f"{path}: format {named!r} version {version}, but this lslm reads {FORMAT} {VERSION}",
            str(path),
        )
    wanted = {f"tokens/{name}" for name in TOKEN_COLUMNS}
    wanted |= {f"spans/{name}" for name in SPAN_COLUMNS} | {"documents/ids"}
    wanted |= {f"documents/{name}" for name in DOCUMENT_COLUMNS}
    if missing := sorted(wanted - columns.keys()):
        raise FormatError(
            f"{path}: has no column {missing[0]}: write it again with lslm eval --save-scores",
            str(path),
        )
    return {**manifest, "columns": {name: columns[name] for name in sorted(wanted)}}


def _map_column(path: Path, entry: Mapping[str, Any]) -> NDArray[Any]:
    """Return the column in ``path``, mapped; ``FormatError`` unless it is as ``entry`` says."""
    dtype, rows = np.dtype(entry["dtype"]), int(entry["rows"])
    if path.stat().st_size != HEADER_BYTES + rows * dtype.itemsize:
        raise FormatError(f"{path}: its size differs from {MANIFEST}: copy it again", str(path))
    with path.open("rb") as file:
        if file.read(HEADER_BYTES) != _npy_header(dtype, rows):
            raise FormatError(f"{path}: its header differs from {MANIFEST}", str(path), 0)
    if not rows:
        return np.empty(0, dtype)
    return np.memmap(path, dtype, "r", HEADER_BYTES, (rows,))
