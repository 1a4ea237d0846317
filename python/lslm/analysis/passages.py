"""Which documents to show, and what the model would have written at each of their tokens.

Documents are the worst, the best, the median and drawn ones of each source, by their loss. Alone
these few thousand tokens are run through the model again, each window as the table's protocol had
it, for the five most likely ids at each place.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from lslm.parallel import autocast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lslm import ScoreTable
    from lslm.checkpoint import Run

__all__ = ["Alternatives", "Passage", "choose_passages", "find_alternatives"]

N_ALTERNATIVES = 5
MAX_PASSAGE_TOKENS = 400
"""Of a document to show, from its beginning."""
MIN_DOCUMENT_TOKENS = 16
"""Documents below this length are not chosen, if there are longer ones: their loss is that of a few
tokens."""
MAX_SOURCES = 4
"""Sources with passages of their own: those with the most tokens."""


@dataclass(frozen=True, kw_only=True)
class Passage:
    """The beginning of a document to show: rows ``start`` to ``stop`` of the table."""

    document: int
    why: str
    """worst, median, random or best; of two models, gained least, gained most or random."""
    source: str
    loss: float
    """Mean nats per token of the whole document; of two models, the difference."""
    start: int
    stop: int
    n_tokens: int
    """Of the whole document."""


@dataclass(frozen=True)
class Alternatives:
    """The most likely ids of each row of a passage, and their probabilities (N, 5)."""

    ids: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    difference: float
    """Largest |nats here − nats in the table|: the same model gives the same up to rounding."""


def choose_passages(
    table: ScoreTable, difference: NDArray[np.float64] | None = None, *, seed: int = 0
) -> list[Passage]:
    """Return the passages to show; ``difference`` is nats of another model less these, a document.

    With two models the documents with the largest gain and loss are chosen instead.
    """
    columns = table.documents
    n = columns["n_tokens"].astype(np.int64)
    loss = (
        columns["nats"] / np.maximum(n, 1) if difference is None else difference / np.maximum(n, 1)
    )
    starts = np.cumsum(n) - n
    sources = columns["source"].astype(np.int64)
    names = (
        ("worst", "median", "random", "best")
        if difference is None
        else ("gained least", "gained most", "random")
    )
    sizes = np.bincount(sources, n)
    rng, chosen = np.random.default_rng(seed), []
    for source in np.argsort(-sizes, kind="stable")[:MAX_SOURCES]:
        documents = np.flatnonzero((sources == source) & (n >= MIN_DOCUMENT_TOKENS))
        if not len(documents):  # all are short
            documents = np.flatnonzero(sources == source)
        order = documents[np.argsort(loss[documents], kind="stable")]
        places = {
            "worst": order[-1],
            "gained least": order[-1],
            "best": order[0],
            "gained most": order[0],
            "median": order[len(order) // 2],
            "random": rng.choice(documents),
        }
        taken: set[int] = set()
        for why in names:
            document = int(places[why])
            if document in taken:
                continue
            taken.add(document)
            start = int(starts[document])
            chosen.append(
                Passage(
                    document=document,
                    why=why,
                    source=table.sources[source],
                    loss=float(loss[document]),
                    start=start,
                    stop=start + int(min(n[document], MAX_PASSAGE_TOKENS)),
                    n_tokens=int(n[document]),
                )
            )
    return chosen


@torch.no_grad()
def find_alternatives(
    run: Run, table: ScoreTable, passages: Sequence[Passage]
) -> list[Alternatives]:
    """Return the alternatives of each passage, from the windows that the table was scored with."""
    model, n_ids = run.model, run.tokenizer.vocab_size
    device = str(next(model.parameters()).device)
    found = []
    with autocast(device, table.manifest["dtype"]):
        for passage in passages:
            rows = table.tokens(passage.start, passage.stop)
            nats = np.empty(len(rows), np.float32)
            ids = np.empty((len(rows), N_ALTERNATIVES), np.int64)
            probabilities = np.empty((len(rows), N_ALTERNATIVES), np.float32)
            for start, stop in _windows(rows.context):
                context = int(rows.context[start])
                inputs = _inputs(run, table, passage.start + start, passage.start + stop, context)
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


def _inputs(run: Run, table: ScoreTable, start: int, stop: int, context: int) -> NDArray[np.int64]:
    """Return the ids that the model read to score rows ``start`` to ``stop``.

    What is before the first row, or was not scored, is the end-of-document token of a prefix.
    """
    begin = max(0, start - context)
    ids = table.columns["id"][begin : stop - 1].astype(np.int64)
    missing = context + (stop - start) - 1 - len(ids)
    eos = run.tokenizer.eos_id
    return np.concatenate([np.full(missing, 0 if eos is None else eos, np.int64), ids])
