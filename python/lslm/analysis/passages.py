"""Which documents to show: of each source the worst, the best, the median and a drawn one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lslm import ScoreTable

__all__ = ["Alternatives", "Passage", "choose_passages"]

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
