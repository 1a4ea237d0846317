"""Sums of the loss by slice, with errors clustered by document, in memory that does not grow.

With x_dk nats and t_dk tokens of document d in slice k, the mean is r_k = Σ x / Σ t, and its error
that of a ratio of sums over the D documents that have the slice, as in :mod:`lslm.scores`:

    SE(r_k) = √( D / (D − 1) · Σ_d (x_dk − r_k t_dk)² ) / Σ_d t_dk
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SliceSums"]


class SliceSums:
    """Running sums of ``n_values`` quantities over the tokens of each of ``n_slices`` slices.

    Tokens come in the order of their documents. A document that goes on in the next call is kept
    open: only a closed one has squares.
    """

    def __init__(self, n_slices: int, n_values: int = 1) -> None:
        self.n_tokens = np.zeros(n_slices, np.int64)
        self.totals = np.zeros((n_values, n_slices))
        self.n_documents = np.zeros(n_slices, np.int64)
        self._xx = np.zeros((n_values, n_slices))
        self._xt = np.zeros((n_values, n_slices))
        self._tt = np.zeros(n_slices)
        self._document = -1
        self._open_tokens = np.zeros(n_slices)
        self._open_values = np.zeros((n_values, n_slices))

    def add(
        self,
        slices: NDArray[np.integer],
        document: NDArray[np.integer],
        *values: NDArray[np.floating],
    ) -> None:
        """Add tokens: the slice and the document of each, and its quantities."""
        if not len(slices):
            return
        k = len(self.n_tokens)
        first = int(document[0])
        if first != self._document:
            self._close()
        local = document.astype(np.int64) - first
        keys, inverse = np.unique(local * k + slices, return_inverse=True)
        tokens = np.bincount(inverse).astype(np.float64)
        sums: NDArray[np.float64] = np.stack(
            [np.bincount(inverse, v.astype(np.float64), len(keys)) for v in values]
        )
        self.n_tokens += np.bincount(slices, minlength=k)
        for row, value in enumerate(sums):
            self.totals[row] += np.bincount(keys % k, value, k)
        last = int(local[-1])
        self._document = first
        self._add_open(keys < k, keys, tokens, sums)
        if last > 0:
            self._close()
            middle = (keys >= k) & (keys < last * k)
            self._add_squares(keys[middle] % k, tokens[middle], sums[:, middle])
            self._document = first + last
            self._add_open(keys >= last * k, keys, tokens, sums)

    def errors(self) -> NDArray[np.float64]:
        """Return the standard error of each mean; NaN with fewer than two documents."""
        self._close()
        n, t = self.n_documents, np.maximum(self.n_tokens, 1)
        mean = self.totals / t
        squares = np.maximum(self._xx - 2 * mean * self._xt + mean**2 * self._tt, 0)
        factor = np.where(n > 1, n / np.maximum(n - 1, 1), np.nan)
        return np.asarray(np.sqrt(squares * factor) / t)

    def _add_open(
        self,
        part: NDArray[np.bool_],
        keys: NDArray[np.int64],
        tokens: NDArray[np.float64],
        sums: NDArray[np.float64],
    ) -> None:
        """Add the tokens of the open document."""
        slices = keys[part] % len(self.n_tokens)
        self._open_tokens[slices] += tokens[part]
        self._open_values[:, slices] += sums[:, part]

    def _close(self) -> None:
        """Count the open document."""
        slices = np.flatnonzero(self._open_tokens)
        self._add_squares(slices, self._open_tokens[slices], self._open_values[:, slices])
        self._open_tokens[:] = 0
        self._open_values[:] = 0
        self._document = -1

    def _add_squares(
        self, slices: NDArray[np.integer], tokens: NDArray[np.float64], values: NDArray[np.float64]
    ) -> None:
        k = len(self.n_tokens)
        self.n_documents += np.bincount(slices, minlength=k)
        self._tt += np.bincount(slices, tokens**2, k)
        for row, value in enumerate(values):
            self._xx[row] += np.bincount(slices, value**2, k)
            self._xt[row] += np.bincount(slices, value * tokens, k)
