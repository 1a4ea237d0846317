"""Where the loss is: every token of a score table in one slice of each dimension.

One pass over the table in chunks; the sums are exact, and memory does not grow with it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from lslm.analysis.kinds import KINDS, TokenKinds, UrlFinder
from lslm.analysis.sums import SliceSums

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from lslm import ScoreTable, Tokenizer
    from lslm.score_table import TokenScores

__all__ = ["DIMENSIONS", "Chunk", "Slicer", "band_names", "read_chunks"]

CHUNK_ROWS = 1 << 18
"""Tokens at a time: about 60 MB of arrays."""
RECENT = 256
"""A token is *seen* if it occurred in so many tokens before it, in its document."""
MAX_SOURCES = 40
"""Sources with a slice of their own: those with the most tokens."""
FREQUENCIES = (1, 10, 100, 1_000, 10_000, 100_000)
"""Bounds of the bands of how often a token occurs in the training data."""
POSITIONS = (1, 4, 16, 64, 256, 1024, 4096)
"""Bounds of the bands of positions in window and document."""
LENGTHS = (64, 256, 1024, 4096, 16_384)
"""Bounds of the bands of documents' lengths, in tokens."""
RANKS = (1, 2, 5, 10, 100, 1000)
"""Bounds of the bands of the rank of the true token, from 0: first, second, to fifth, …"""

DIMENSIONS = ("kind", "source", "frequency", "window", "document", "length", "seen", "rank")
"""What tokens are divided by."""


@dataclass(frozen=True)
class Chunk:
    """Some consecutive tokens with what the slices need."""

    first_row: int
    rows: TokenScores
    ids: NDArray[np.int64]
    before: NDArray[np.int64]
    """The id before each token in its document; −1 at the beginning."""
    is_seen: NDArray[np.bool_]
    """Whether the id occurred in the RECENT tokens before, in the document."""


def read_chunks(table: ScoreTable, chunk_rows: int = CHUNK_ROWS) -> Iterator[Chunk]:
    """Yield all tokens of ``table`` in order."""
    ids_before: NDArray[np.int64] = np.empty(0, np.int64)
    documents_before: NDArray[np.int64] = np.empty(0, np.int64)
    start = 0
    for rows in table.chunks(chunk_rows):
        ids, documents = rows.id.astype(np.int64), rows.document.astype(np.int64)
        all_ids = np.concatenate([ids_before, ids])
        all_documents = np.concatenate([documents_before, documents])
        n = len(ids_before)
        before = np.full(len(all_ids), -1, np.int64)
        same = all_documents[1:] == all_documents[:-1]
        before[1:][same] = all_ids[:-1][same]
        yield Chunk(start, rows, ids, before[n:], _seen(all_ids, all_documents)[n:])
        start += len(rows)
        ids_before, documents_before = all_ids[-RECENT:], all_documents[-RECENT:]


def _seen(ids: NDArray[np.int64], documents: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return whether the id of each token occurred in the RECENT tokens before, in its document."""
    order = np.argsort(ids, kind="stable")
    near = np.zeros(len(ids), np.bool_)
    same = (ids[order][1:] == ids[order][:-1]) & (documents[order][1:] == documents[order][:-1])
    near[order[1:]] = same & (order[1:] - order[:-1] <= RECENT)
    return near


def band_names(bounds: Sequence[int], *, first: str = "") -> list[str]:
    """Return the names of the bands between ``bounds``: below the first, …, the last and more."""
    names = [first or (f"0–{bounds[0] - 1:,}" if bounds[0] > 1 else "0")]
    for low, high in itertools.pairwise(bounds):
        names.append(f"{low:,}–{high - 1:,}" if high - 1 > low else f"{low:,}")
    return [*names, f"{bounds[-1]:,} and more"]


@dataclass
class Slicer:
    """Assigns tokens to slices and adds up ``n_values`` quantities in each.

    ``frequency`` is how often each id occurs in the training data (V), or None.
    """

    table: ScoreTable
    tokenizer: Tokenizer
    frequency: NDArray[np.int64] | None
    n_values: int = 1
    names: dict[str, list[str]] = field(init=False)
    """The slices of each dimension."""
    sums: dict[str, SliceSums] = field(init=False)

    def __post_init__(self) -> None:
        self._kinds = TokenKinds.of(self.tokenizer, self.tokenizer.eos_id)
        begins = [_begins_with_space(self.tokenizer, i) for i in range(self.tokenizer.vocab_size)]
        self._urls = UrlFinder(self._kinds, np.array(begins, np.bool_))
        self._sources, sources = _source_slices(self.table)
        self._assign: dict[str, Callable[[Chunk], NDArray[np.integer]]] = {
            "kind": self._kind,
            "source": lambda c: self._sources[c.rows.document],
            "window": lambda c: _bands(c.rows.context, POSITIONS),
            "document": lambda c: _bands(c.rows.position, POSITIONS),
            "length": lambda c: _bands(self.table.documents["n_tokens"][c.rows.document], LENGTHS),
            "seen": lambda c: c.is_seen.astype(np.int64),
            "rank": lambda c: _bands(c.rows.rank, RANKS),
        }
        self.names = {
            "kind": list(KINDS),
            "source": sources,
            "window": band_names(POSITIONS),
            "document": band_names(POSITIONS),
            "length": band_names(LENGTHS),
            "seen": [f"not in the last {RECENT} tokens", f"in the last {RECENT} tokens"],
            "rank": ["1", "2", "3–5", "6–10", "11–100", "101–1,000", "beyond 1,000"],
        }
        if self.frequency is not None:
            bands = _bands(self.frequency, FREQUENCIES)
            self._assign["frequency"] = lambda c: bands[c.ids]
            self.names["frequency"] = band_names(FREQUENCIES, first="never")
        self.names = {d: self.names[d] for d in DIMENSIONS if d in self.names}
        self.sums = {d: SliceSums(len(n), self.n_values) for d, n in self.names.items()}

    def add(self, chunk: Chunk, *values: NDArray[np.floating]) -> None:
        """Add the quantities of the tokens of ``chunk``."""
        for dimension, sums in self.sums.items():
            sums.add(self._assign[dimension](chunk), chunk.rows.document, *values)

    def _kind(self, chunk: Chunk) -> NDArray[np.integer]:
        in_url = self._urls.mark(chunk.ids, chunk.before < 0)
        return self._kinds.of_tokens(chunk.ids, chunk.before, in_url)


def _bands(values: NDArray[np.integer], bounds: Sequence[int]) -> NDArray[np.int64]:
    """Return the band of each value: 0 below the first bound."""
    return np.searchsorted(np.asarray(bounds), values, "right")


def _source_slices(table: ScoreTable) -> tuple[NDArray[np.int64], list[str]]:
    """Return the slice of each document, and the names: the largest sources, then all others."""
    index, n = table.documents["source"].astype(np.int64), table.documents["n_tokens"]
    sizes = np.bincount(index, n.astype(np.float64), max(len(table.sources), 1))
    largest = np.argsort(-sizes, kind="stable")[:MAX_SOURCES]
    slices = np.full(len(sizes), len(largest), np.int64)
    slices[largest] = np.arange(len(largest))
    names = [table.sources[i] or "unnamed" for i in largest]
    if len(sizes) > len(largest):
        names.append(f"{len(sizes) - len(largest):,} other sources")
    return slices[index], names


def _begins_with_space(tokenizer: Tokenizer, token: int) -> bool:
    try:
        return tokenizer.token_bytes(token)[:1].isspace()
    except KeyError:  # an unused id
        return False
