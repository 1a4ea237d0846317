"""From sums to rows: slices, calibration bins, ids and worst tokens in plain values."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from lslm.analysis.findings import CalibrationBin, SliceRow, TokenRow, WorstToken
from lslm.analysis.table_sums import ENTROPY_BINS, N_PROBABILITY_BINS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lslm import ScoreTable, Tokenizer
    from lslm.analysis.findings import Shown
    from lslm.analysis.slices import Slicer
    from lslm.analysis.sums import SliceSums
    from lslm.analysis.table_sums import TableSums

__all__ = [
    "calibration_error",
    "clustered_error",
    "entropy_bins",
    "finite",
    "first_choice_bins",
    "repeated_rows",
    "slice_rows",
    "top_rows",
    "visible",
    "worst_rows",
]

N_TOKENS = 40
"""Ids to list."""
CONTEXT_BEFORE, CONTEXT_AFTER = 24, 8
"""Tokens around a worst one."""


def finite(value: float) -> float | None:
    """Return ``value``, or None if it is not finite."""
    return float(value) if math.isfinite(value) else None


def clustered_error(nats: NDArray[np.floating], n_tokens: NDArray[np.integer]) -> float | None:
    """Return the standard error of Σ nats / Σ tokens over documents; None with fewer than two."""
    x, t = np.asarray(nats, np.float64), n_tokens.astype(np.float64)
    if len(x) < 2:
        return None
    squares = ((x - x.sum() / t.sum() * t) ** 2).sum()
    return float(math.sqrt(squares * len(x) / (len(x) - 1)) / t.sum())


def slice_rows(slicer: Slicer, all_nats: float, n_tokens: int) -> tuple[SliceRow, ...]:
    """Return all slices that have tokens; in each dimension those with most to win first."""
    rows: list[SliceRow] = []
    for dimension, names in slicer.names.items():
        sums, errors = slicer.sums[dimension], slicer.sums[dimension].errors()
        own = []
        for k, name in enumerate(names):
            t, x = int(sums.n_tokens[k]), float(sums.totals[0, k])
            if not t:
                continue
            others = (all_nats - x) / (n_tokens - t) if n_tokens > t else x / t
            has_other = len(sums.totals) > 2
            own.append(
                SliceRow(
                    dimension=dimension,
                    name=name,
                    n_tokens=t,
                    nats=x,
                    n_documents=int(sums.n_documents[k]),
                    loss=x / t,
                    loss_error=finite(errors[0, k]),
                    entropy=float(sums.totals[1, k]) / t,
                    share=x / all_nats if all_nats else 0.0,
                    excess=max(0.0, x - others * t),
                    difference=float(sums.totals[2, k]) / t if has_other else None,
                    difference_error=finite(errors[2, k]) if has_other else None,
                )
            )
        rows += sorted(own, key=lambda row: (-row.excess, -row.nats))
    return tuple(rows)


def entropy_bins(found: TableSums) -> tuple[CalibrationBin, ...]:
    """Return loss against entropy, over all tokens."""
    return _bins(found.entropy, (0.0, *ENTROPY_BINS, math.inf))


def first_choice_bins(found: TableSums) -> tuple[CalibrationBin, ...]:
    """Return how often the first choice is right by its probability, over all tokens."""
    n = N_PROBABILITY_BINS
    return _bins(found.first_choice, tuple(k / n for k in range(n + 1)))


def _bins(sums: SliceSums, bounds: Sequence[float]) -> tuple[CalibrationBin, ...]:
    """Return the bins that have tokens; the first quantity is expected, the second observed."""
    errors = sums.errors()[1]
    return tuple(
        CalibrationBin(
            low=low,
            high=high,
            n_tokens=int(sums.n_tokens[k]),
            expected=float(sums.totals[0, k] / sums.n_tokens[k]),
            observed=float(sums.totals[1, k] / sums.n_tokens[k]),
            error=finite(errors[k]),
        )
        for k, (low, high) in enumerate(itertools.pairwise(bounds))
        if sums.n_tokens[k]
    )


def calibration_error(bins: Sequence[CalibrationBin]) -> float:
    """Return the mean |observed − expected| of ``bins`` by their tokens; NaN without any."""
    total = sum(one.n_tokens for one in bins)
    off = sum(one.n_tokens * abs(one.observed - one.expected) for one in bins)
    return off / total if total else math.nan


def top_rows(
    found: TableSums, shown: Sequence[Shown], tokenizer: Tokenizer
) -> tuple[TokenRow, ...]:
    """Return the ids with the most nats in all."""
    return _token_rows(found, shown, tokenizer, np.argsort(-found.nats)[:N_TOKENS])


def repeated_rows(
    found: TableSums, shown: Sequence[Shown], tokenizer: Tokenizer
) -> tuple[TokenRow, ...]:
    """Return the ids that are the first choice more often than they occur, in the passages."""
    predicted, occurs = _choices(found, shown)
    surplus = predicted - occurs
    order = np.argsort(-surplus, kind="stable")[: N_TOKENS // 2]
    return _token_rows(found, shown, tokenizer, order[surplus[order] > 0])


def _token_rows(
    found: TableSums, shown: Sequence[Shown], tokenizer: Tokenizer, ids: NDArray[np.int64]
) -> tuple[TokenRow, ...]:
    predicted, occurs = _choices(found, shown)
    return tuple(
        TokenRow(
            id=int(i),
            token=visible(tokenizer, int(i)),
            n_tokens=int(found.count[i]),
            nats=float(found.nats[i]),
            loss=float(found.nats[i] / max(found.count[i], 1)),
            predicted=int(predicted[i]),
            shown=int(occurs[i]),
        )
        for i in ids
        if found.count[i] or predicted[i]
    )


def _choices(
    found: TableSums, shown: Sequence[Shown]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how often each id is the first choice in the passages, and how often it occurs."""
    size = len(found.count)
    first = [one.alternatives.ids[:, 0] for one in shown]
    predicted = np.bincount(np.concatenate(first), minlength=size) if first else np.zeros(size, int)
    ids = [np.array(one.ids, np.int64) for one in shown]
    occurs = np.bincount(np.concatenate(ids), minlength=size) if ids else np.zeros(size, int)
    return predicted, occurs


def worst_rows(
    found: TableSums, table: ScoreTable, shown: Sequence[Shown], tokenizer: Tokenizer
) -> tuple[WorstToken, ...]:
    """Return the tokens with the highest loss, with the text around each."""
    first = {
        one.passage.start + k: int(choice)
        for one in shown
        for k, choice in enumerate(one.alternatives.ids[:, 0])
    }
    rows = []
    ids, documents = table.columns["id"], table.documents
    ends = np.cumsum(documents["n_tokens"].astype(np.int64))
    for nats, place in found.worst.T:
        row = int(place)
        document = int(np.searchsorted(ends, row, "right"))
        begin = int(ends[document - 1]) if document else 0
        before = ids[max(begin, row - CONTEXT_BEFORE) : row]
        after = ids[row + 1 : min(int(ends[document]), row + 1 + CONTEXT_AFTER)]
        rows.append(
            WorstToken(
                row=row,
                document=document,
                nats=float(nats),
                token=visible(tokenizer, int(ids[row])),
                before=_text(tokenizer, before),
                after=_text(tokenizer, after),
                best=visible(tokenizer, first[row]) if row in first else "",
            )
        )
    return tuple(rows)


def _text(tokenizer: Tokenizer, ids: NDArray[Any]) -> str:
    special = set(tokenizer.special_tokens.values())
    plain = [int(i) for i in ids if int(i) not in special]
    return tokenizer.decode_bytes(plain).decode("utf-8", "replace")


def visible(tokenizer: Tokenizer, token: int) -> str:
    """Return a token on one line, white space visible and bytes beyond UTF-8 as ⟨e4⟩."""
    for name, special in tokenizer.special_tokens.items():
        if token == special:
            return name
    from lslm.report.vocabulary import visible_token

    try:
        return visible_token(tokenizer.token_bytes(token))
    except KeyError:
        return f"⟨unused id {token}⟩"
