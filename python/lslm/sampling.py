"""A sample of documents that is fair to every source, for scores that are needed often."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["stratified_sample"]

MAX_SHARE = 8
"""A document longer than this part of the sample (an eighth) is cut, unless there are too few."""


def stratified_sample(
    sources: ArrayLike, lengths: ArrayLike, n_tokens: int, *, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the documents of a sample of about ``n_tokens``, and how many tokens of each.

    ``sources`` and ``lengths`` have an entry for each document. Each source has its share of the
    documents, short and long ones alike, and at least one document while there are few sources:

        cut        ← max(n_tokens / 8, the length at which all documents together are n_tokens)
        share      ← n_tokens / Σ min(length, cut), at most 1
        documents in the order of source and length; take one whenever the running sum of share
        passes a whole number, from a start that ``seed`` decides
        a source that was missed gets its document of middle length

    A document is whole unless it is longer than ``cut``. The same arguments give the same sample.
    """
    sources, lengths = np.asarray(sources), np.asarray(lengths, np.int64)
    cut = max(n_tokens // MAX_SHARE, _level(lengths, n_tokens), 1)
    used = np.minimum(lengths, cut)
    total = int(used.sum())
    if total <= n_tokens:
        chosen = np.arange(len(lengths))
        return chosen, used
    share = n_tokens / total
    order = np.lexsort((np.arange(len(lengths)), lengths, sources))
    start = np.random.default_rng(seed).random()
    passed = np.floor(np.arange(1, len(order) + 1) * share + start)
    taken = order[np.diff(passed, prepend=np.floor(start)) > 0]
    missed = np.setdiff1d(sources, sources[taken])
    mean = total / len(lengths)
    if len(missed) * mean <= n_tokens / 4:
        middle = [members[len(members) // 2] for members in _members(sources, order, missed)]
        taken = np.concatenate([taken, np.array(middle, np.int64)])
    chosen = np.sort(taken)
    return chosen, used[chosen]


def _level(lengths: NDArray[np.int64], n_tokens: int) -> int:
    """Return the largest c with Σ min(length, c) ≤ ``n_tokens``; the longest length if all fit."""
    ordered = np.sort(lengths)
    left = len(ordered) - np.arange(len(ordered))
    filled = np.concatenate([[0], np.cumsum(ordered)[:-1]]) + left * ordered
    fits = int(np.searchsorted(filled, n_tokens, "right"))  # documents that are whole
    if fits == len(ordered):
        return int(ordered[-1]) if len(ordered) else 0
    return int((n_tokens - ordered[:fits].sum()) // (len(ordered) - fits))


def _members(
    sources: NDArray[np.generic], order: NDArray[np.int64], wanted: NDArray[np.generic]
) -> list[NDArray[np.int64]]:
    """Return the documents of each of the ``wanted`` sources, in ``order``."""
    ordered = sources[order]
    starts = np.searchsorted(ordered, wanted, "left")
    ends = np.searchsorted(ordered, wanted, "right")
    return [order[start:end] for start, end in zip(starts, ends, strict=True)]
