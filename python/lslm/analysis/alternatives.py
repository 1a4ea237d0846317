"""What the model would have written at each token of the passages shown.

Alone these few thousand tokens are run through the model again, each window as the table's protocol
had it, for the five most likely ids at each place.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import torch

from lslm.analysis.passages import Alternatives
from lslm.parallel import autocast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from lslm import ScoreTable
    from lslm.analysis.passages import Passage
    from lslm.checkpoint import Run

__all__ = ["find_alternatives"]

N_ALTERNATIVES = 5


@torch.no_grad()
def find_alternatives(
    run: Run,
    table: ScoreTable,
    passages: Sequence[Passage],
    prefixes: Mapping[str, int | None],
) -> list[Alternatives]:
    """Return the alternatives of each passage, from the windows that the table was scored with.

    ``prefixes`` are the ids before a sequence, by dataset.
    """
    model, n_ids = run.model, run.tokenizer.vocab_size
    device = str(next(model.parameters()).device)
    found = []
    with autocast(device, table.manifest["dtype"]):
        for passage in passages:
            rows = table.tokens(passage.start, passage.stop)
            dataset = table.datasets[int(table.documents["dataset"][passage.document])]
            prefix = prefixes.get(dataset) or 0
            nats = np.empty(len(rows), np.float32)
            ids = np.empty((len(rows), N_ALTERNATIVES), np.int64)
            probabilities = np.empty((len(rows), N_ALTERNATIVES), np.float32)
            for start, stop in _windows(rows.context):
                context = int(rows.context[start])
                first, last = passage.start + start, passage.start + stop
                inputs = _inputs(table, prefix, first, last, context)
                batch = torch.from_numpy(inputs)[None].to(device)
                logits = model(batch, n_ids=n_ids)[0, -(stop - start) :].float()
                log_p = logits.log_softmax(-1)
                top = log_p.topk(min(N_ALTERNATIVES, n_ids), -1)
                targets = torch.from_numpy(rows.id[start:stop].astype(np.int64)).to(device)
                nats[start:stop] = -log_p.gather(1, targets[:, None])[:, 0].cpu().numpy()
                ids[start:stop] = top.indices.cpu().numpy()
                probabilities[start:stop] = top.values.exp().cpu().numpy()
            difference = float(np.abs(nats - rows.nats).max(initial=0.0))
            found.append(Alternatives(ids, probabilities, difference))
    return found


def _windows(context: NDArray[np.uint32]) -> list[tuple[int, int]]:
    """Return the ranges of rows that were scored in one window: there the context grows by one."""
    cuts = np.flatnonzero(np.diff(context.astype(np.int64)) != 1) + 1
    bounds = [0, *cuts.tolist(), len(context)]
    return list(itertools.pairwise(bounds))


def _inputs(
    table: ScoreTable, prefix: int, start: int, stop: int, context: int
) -> NDArray[np.int64]:
    """Return the ids that the model read to score rows ``start`` to ``stop``.

    What is before the first row, or was not scored, is ``prefix``.
    """
    begin = max(0, start - context)
    ids = table.columns["id"][begin : stop - 1].astype(np.int64)
    missing = context + (stop - start) - 1 - len(ids)
    return np.concatenate([np.full(missing, prefix, np.int64), ids])
