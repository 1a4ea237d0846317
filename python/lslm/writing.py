"""Writing a dataset from documents that are ids already."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, overload

import numpy as np

from lslm._lslm import DatasetWriter, TokenDataset, Tokenizer
from lslm.limits import check_counts, whole_number
from lslm.progress import reporting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import ArrayLike, NDArray

    from lslm.progress import Progress

__all__ = ["TokenizedDocument", "write_dataset"]

REPORT_SECONDS = 0.05
"""Shortest time between two progress reports."""


class TokenizedDocument(NamedTuple):
    """A document as ids, for :func:`write_dataset`."""

    tokens: ArrayLike
    """Its ids, including those that open and close it; one-dimensional."""
    n_bytes: int = 0
    """Bytes of its text in UTF-8, without special tokens; 0: unknown."""
    source: str | None = None
    """The name of the input it is from."""
    id: str | None = None
    """Its name in that input."""


class _Tokenizer(Protocol):
    """What :func:`write_dataset` needs of a tokenizer."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def fingerprint(self) -> str: ...
    def save(self, path: Path) -> object: ...


def write_dataset(
    path: str | os.PathLike[str],
    documents: Iterable[ArrayLike | TokenizedDocument] | NDArray[Any],
    *,
    offsets: ArrayLike | None = None,
    vocab_size: int | None = None,
    tokenizer: _Tokenizer | str | os.PathLike[str] | None = None,
    eos_id: int | None = None,
    bos_id: int | None = None,
    split: str | None = None,
    shard_bytes: int = 1 << 28,
    progress: Progress = None,
) -> TokenDataset:
    """Write documents that are ids already as a dataset, in the new folder ``path``; return it.

    ``documents`` are one-dimensional arrays of ids, or :class:`TokenizedDocument` where more is
    known; or, with ``offsets``, one array of the ids of all documents, which may be a memory map:
    document i is ``documents[offsets[i] : offsets[i + 1]]``, and the offsets begin with 0 and end
    with the number of ids. Each id must be below ``vocab_size``, by default that of ``tokenizer``
    (or its path), which is saved in the folder. ``eos_id`` and ``bos_id`` state what closes and
    opens every document; they are checked, not added. ``split`` is recorded in the manifest:
    "train" or "validation". A new shard starts once one has ``shard_bytes``; memory does not grow
    with the number of tokens. The folder is a dataset only when all is written.
    """
    if isinstance(tokenizer, str | os.PathLike):
        tokenizer = Tokenizer.load(tokenizer)
    if vocab_size is None:
        if tokenizer is None:
            raise ValueError("vocab_size and tokenizer are both None: give one of them")
        vocab_size = tokenizer.vocab_size
    whole_number("vocab_size", vocab_size, 1, 2**32 - 1)
    check_counts(shard_bytes=shard_bytes)
    for name, token_id in (("eos_id", eos_id), ("bos_id", bos_id)):
        if token_id is not None:
            whole_number(name, token_id, 0, vocab_size - 1)
    documents = documents if offsets is None else _Slices(documents, offsets)
    path = Path(path)
    writer = DatasetWriter(
        path,
        vocab_size=vocab_size,
        shard_bytes=shard_bytes,
        eos_id=eos_id,
        bos_id=bos_id,
        split=split,
        tokenizer_file="tokenizer.json" if tokenizer is not None else None,
        tokenizer_fingerprint=tokenizer.fingerprint if tokenizer is not None else None,
    )
    try:
        with reporting(progress) as reporter:
            if tokenizer is not None:
                tokenizer.save(path / "tokenizer.json")
            total = len(documents) if isinstance(documents, Sequence) else None
            count, reported = 0, 0.0
            for item in documents:
                document = item if isinstance(item, TokenizedDocument) else TokenizedDocument(item)
                ids = _checked_ids(document.tokens, count, eos_id=eos_id, bos_id=bos_id)
                writer.push(ids, document.n_bytes, document.source, document.id)
                count += 1
                if reporter is not None and time.monotonic() - reported > REPORT_SECONDS:
                    reported = time.monotonic()
                    reporter.update("write", count, total, "documents")
            writer.finish()
            if reporter is not None:
                reporter.update("write", count, count, "documents")
    finally:
        writer.close()
    return TokenDataset(path)


class _Slices(Sequence[Any]):
    """The documents of one array of ids, by their offsets."""

    def __init__(self, ids: Any, offsets: ArrayLike) -> None:
        self._ids, self._offsets = np.asanyarray(ids), np.asarray(offsets)
        if self._ids.ndim != 1 or self._offsets.ndim != 1 or self._offsets.dtype.kind not in "iu":
            raise ValueError("offsets: give one array of ids and one of whole numbers")
        n_ids = len(self._ids)
        is_whole = len(self._offsets) > 0 and (self._offsets[0], self._offsets[-1]) == (0, n_ids)
        if not is_whole or (self._offsets[1:] < self._offsets[:-1]).any():
            raise ValueError(
                f"offsets: must begin with 0, not decrease, and end with the {n_ids} ids"
            )

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Any: ...
    def __getitem__(self, index: Any) -> Any:
        return self._ids[self._offsets[index] : self._offsets[index + 1]]

    def __iter__(self) -> Iterator[Any]:
        for index in range(len(self)):
            yield self[index]


def _checked_ids(
    tokens: ArrayLike, index: int, *, eos_id: int | None, bos_id: int | None
) -> NDArray[np.uint32]:
    """Return the ids of document ``index``; ``ValueError`` if they are not ids."""
    array = np.asarray(tokens)
    if array.size == 0:
        array = array.astype(np.uint32)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(
            f"document {index} has {array.ndim} dimensions of {array.dtype}: give a "
            f"one-dimensional array of whole numbers"
        )
    if array.dtype.kind == "i" and array.size and array.min() < 0:
        raise ValueError(f"document {index}: id {array.min()} is negative")
    if array.dtype.itemsize == 8 and array.size and array.max() >= 2**32:
        raise ValueError(f"document {index}: id {array.max()} does not fit in 32 bits")
    ids = np.ascontiguousarray(array, dtype=np.uint32)
    for name, expected, at in (("eos_id", eos_id, -1), ("bos_id", bos_id, 0)):
        if expected is not None and (not ids.size or ids[at] != expected):
            side = "end" if at else "begin"
            raise ValueError(
                f"document {index} does not {side} with {name} = {expected}: add it, or leave "
                f"{name} out if documents do not {side} with one"
            )
    return ids
