"""One pass over a score table: the sums of slices, of ids, of calibration, and the worst tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lslm.analysis.slices import Slicer, read_chunks
from lslm.analysis.sums import SliceSums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lslm import ScoreTable, Tokenizer
    from lslm.analysis.slices import Chunk
    from lslm.config import Config
    from lslm.progress import Reporter

__all__ = ["ENTROPY_BINS", "N_PROBABILITY_BINS", "TableSums", "sum_table"]

ENTROPY_BINS = (0.05, 0.1, 0.25, 0.5, 1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 10)
"""Bounds of the bins of entropy, nats."""
N_PROBABILITY_BINS = 10
"""Bins of the probability of the first choice, of equal width."""
N_WORST = 100
"""Tokens with the highest loss to list."""
COUNTED_AT_ONCE = 1 << 22
"""Training tokens that are counted at a time: 16 MB of ids."""


class TableSums:
    """What one pass over a table adds up; with a second table, of pairs."""

    def __init__(self, slicer: Slicer, vocab_size: int, n_documents: int) -> None:
        self.slicer = slicer
        self.count = np.zeros(vocab_size, np.int64)
        """How often each id occurs (V)."""
        self.nats = np.zeros(vocab_size)
        """The nats of each id (V)."""
        self.entropy = SliceSums(len(ENTROPY_BINS) + 1, 2)
        """By bin of entropy: Σ entropy and Σ nats."""
        self.first_choice = SliceSums(N_PROBABILITY_BINS, 2)
        """By bin of the first choice's probability: Σ probability, and how often it is right."""
        self.worst: NDArray[np.float64] = np.empty((2, 0))
        """Nats and row of the tokens with the highest loss, the highest first (2, N)."""
        self.difference = np.zeros(n_documents)
        """Nats of the second model less those of the first, of each document."""

    def add(self, chunk: Chunk, other: NDArray[np.float64] | None) -> None:
        """Add one chunk; ``other`` are the nats of the second model."""
        rows, document = chunk.rows, chunk.rows.document
        nats, entropy = rows.nats.astype(np.float64), rows.entropy.astype(np.float64)
        values = [nats, entropy] + ([] if other is None else [other - nats])
        self.slicer.add(chunk, *values)
        self.count += np.bincount(chunk.ids, minlength=len(self.count))
        self.nats += np.bincount(chunk.ids, nats, len(self.nats))
        bins = np.searchsorted(ENTROPY_BINS, entropy, "right")
        self.entropy.add(bins, document, entropy, nats)
        p = np.exp(-rows.top.astype(np.float64))
        bins = np.minimum((p * N_PROBABILITY_BINS).astype(np.int64), N_PROBABILITY_BINS - 1)
        self.first_choice.add(bins, document, p, (rows.rank == 0).astype(np.float64))
        if other is not None:
            first = int(document[0])
            sums = np.bincount(document.astype(np.int64) - first, other - nats)
            self.difference[first : first + len(sums)] += sums
        both = np.stack([nats, chunk.first_row + np.arange(len(nats))])
        both = np.concatenate([self.worst, both], axis=1)
        self.worst = both[:, np.argsort(-both[0], kind="stable")[:N_WORST]]


def sum_table(
    table: ScoreTable,
    other: ScoreTable | None,
    tokenizer: Tokenizer,
    config: Config,
    reporter: Reporter | None,
) -> TableSums:
    """Return what one pass over ``table``, and ``other`` beside it, adds up.

    ``config`` is that of the run: its training data say how often each id occurs.
    """
    frequency = training_frequency(config, tokenizer.vocab_size)
    slicer = Slicer(table, tokenizer, frequency, n_values=2 if other is None else 3)
    found = TableSums(slicer, tokenizer.vocab_size, table.n_documents)
    for chunk in read_chunks(table):
        stop, nats = chunk.first_row + len(chunk.rows), None
        if other is not None:
            nats = other.columns["nats"][chunk.first_row : stop].astype(np.float64)
        found.add(chunk, nats)
        if reporter is not None:
            reporter.update("analyze", stop, len(table), "tokens")
    return found


def training_frequency(config: Config, vocab_size: int) -> NDArray[np.int64] | None:
    """Return how often each id occurs in the training data (V); None if they are not there."""
    from lslm import TokenDataset

    where = config.data
    if not where.path or not where.train_path().exists():
        return None
    dataset = TokenDataset(where.train_path())
    counts = np.zeros(vocab_size, np.int64)
    for start in range(0, dataset.n_tokens, COUNTED_AT_ONCE):
        ids = dataset.tokens(start, min(start + COUNTED_AT_ONCE, dataset.n_tokens))
        counts += np.bincount(ids, minlength=vocab_size)
    return counts
