"""Loss over training: of all tokens and of chosen ids, one point for each checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lslm.analysis.findings import CurvePoint, LossCurve
from lslm.analysis.rows import clustered_error, finite, visible
from lslm.analysis.slices import CHUNK_ROWS
from lslm.analysis.sums import SliceSums
from lslm.checkpoint import find_run, list_checkpoints, read_state

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from lslm import ScoreTable, Tokenizer

__all__ = ["checkpoint_steps", "chosen_ids", "loss_curves"]

N_CHOSEN = 6
"""Ids with a curve where none are named: those with the most nats in all."""


def checkpoint_steps(run: str | os.PathLike[str], wanted: Sequence[int] | str) -> list[int]:
    """Return the steps of the checkpoints ``wanted`` of ``run``, "all" or a list, in order.

    Raises ``ValueError`` for a step that has no checkpoint, and for fewer than two.
    """
    folder = find_run(run).path
    there = [int(read_state(one)["step"]) for one in list_checkpoints(folder)]
    if isinstance(wanted, str) and wanted != "all":
        raise ValueError(f"checkpoints = {wanted!r}: give all, or a list of steps")
    steps = there if isinstance(wanted, str) else sorted(set(wanted))
    missing = [step for step in steps if step not in there]
    if missing:
        names = ", ".join(map(str, there))
        raise ValueError(f"{folder} has no checkpoint {missing[0]}: choose from {names}")
    if len(steps) < 2:
        raise ValueError(
            f"{folder} has {len(steps)} of the checkpoints: a curve needs two or more; train with "
            f"train.keep_every, which keeps them"
        )
    return steps


def chosen_ids(tokenizer: Tokenizer, tokens: Sequence[str], nats: NDArray[np.float64]) -> list[int]:
    """Return the ids of the texts ``tokens``; without any, those with the most ``nats`` (V).

    Raises ``ValueError`` for a text that is not one token.
    """
    if not tokens:
        order = np.argsort(-nats, kind="stable")[:N_CHOSEN]
        return [int(i) for i in order if nats[i] > 0]
    found = []
    for text in tokens:
        ids = tokenizer.encode(text, special="all").tolist()
        if len(ids) != 1:
            pieces = ", ".join(visible(tokenizer, token) for token in ids) or "nothing"
            raise ValueError(f"{text!r} is not one token but {len(ids)} ({pieces}): give one")
        found += ids
    return list(dict.fromkeys(found))


def loss_curves(
    tables: Mapping[int, ScoreTable], ids: Sequence[int], tokenizer: Tokenizer
) -> tuple[LossCurve, ...]:
    """Return the curve of all tokens, then one for each of ``ids`` that occurs.

    ``tables`` are those of the checkpoints by their step, over the same tokens.
    """
    slice_of = np.full(tokenizer.vocab_size, len(ids), np.int64)
    slice_of[list(ids)] = np.arange(len(ids))
    whole: list[CurvePoint] = []
    points: list[list[CurvePoint]] = [[] for _ in ids]
    counts = np.zeros(len(ids) + 1, np.int64)
    for step, table in tables.items():
        sums = SliceSums(len(ids) + 1)
        for rows in table.chunks(CHUNK_ROWS):
            sums.add(slice_of[rows.id.astype(np.int64)], rows.document, rows.nats)
        errors, counts = sums.errors()[0], sums.n_tokens
        error = clustered_error(table.documents["nats"], table.documents["n_tokens"])
        loss = float(sums.totals[0].sum()) / len(table)
        whole.append(CurvePoint(step=step, loss=loss, loss_error=error))
        for k, own in enumerate(points):
            if counts[k]:
                loss = float(sums.totals[0, k] / counts[k])
                own.append(CurvePoint(step=step, loss=loss, loss_error=finite(errors[k])))
    curves = [LossCurve(id=None, token="", n_tokens=int(counts.sum()), points=tuple(whole))]
    for k, (token, own) in enumerate(zip(ids, points, strict=True)):
        if own:
            name, n = visible(tokenizer, token), int(counts[k])
            curves.append(LossCurve(id=token, token=name, n_tokens=n, points=tuple(own)))
    return tuple(curves)
