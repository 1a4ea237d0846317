"""The choice of the next token: temperature, filters of the unlikely, and one number drawn.

    logits of ids that occurred, if repetition_penalty ≠ 1: l / r where l > 0, else l · r
    temperature 0: the largest. Else
    top_k   keep the k largest logits                        (Fan et al. 2018)
    p = softmax(logits / temperature)
    min_p   keep p ≥ min_p · max p                           (Nguyen et al. 2024)
    top_p   keep the fewest largest p that reach top_p of Σp (Holtzman et al. 2020)
    draw u from [0, 1); the token is the first with Σ_{i ≤ token} p_i > u · Σp

Only what a filter needs is sorted: the k largest, or as many as reach ``top_p``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from lslm.limits import MAX_COUNT, whole_number

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Sampling", "sample"]

FIRST_SORTED = 64
"""Most likely ids that are sorted first for ``top_p``; then eight times as many, until enough."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are chosen; see this module's text."""

    temperature: float = 1.0
    """0: always the most likely token."""
    top_k: int | None = None
    """None: all."""
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    """Above 1 makes ids that occurred less likely (Keskar et al. 2019)."""

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise ValueError(f"temperature = {self.temperature}: must be at least 0, and finite")
        if self.top_k is not None:
            whole_number("top_k", self.top_k, 1, MAX_COUNT)
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p = {self.top_p}: must be above 0 and at most 1")
        if not 0 <= self.min_p <= 1:
            raise ValueError(f"min_p = {self.min_p}: must be from 0 to 1")
        if not 0 < self.repetition_penalty < math.inf:
            raise ValueError(
                f"repetition_penalty = {self.repetition_penalty}: must be above 0, and finite"
            )

    def choose(
        self,
        logits: Tensor,
        generator: torch.Generator | None = None,
        occurred: list[int] | None = None,
        of: Tensor | None = None,
    ) -> int:
        """Return an id for ``logits`` (V); ``occurred`` are the ids before it.

        ``of`` are the ids that ``logits`` are of, ascending, where they are not those of all:
        :attr:`n_candidates` says when they need not be. Raises ``FloatingPointError`` if a logit is
        NaN or +∞, or all are −∞.
        """
        if of is None and occurred and self.repetition_penalty != 1:
            logits = penalised(logits, occurred, self.repetition_penalty)
        largest = logits.max().item()
        if not math.isfinite(largest):
            raise FloatingPointError(
                f"the largest logit is {largest}: the weights are damaged, or training diverged"
            )
        if self.temperature == 0:
            index = logits.argmax()
            return int(index if of is None else of[index])
        values, ids = logits, of
        if self.top_k is not None and (of is not None or self.top_k < len(logits)):
            values, index = logits.topk(min(self.top_k, len(logits)))
            ids = index if of is None else of[index]
        scaled = (values.cpu().double() - largest) / self.temperature
        p = scaled.softmax(0)
        if self.min_p:
            p = p * (p >= self.min_p * p.max())
        if self.top_p < 1:
            p = _most_likely(p, self.top_p)
        token = _drawn(p, generator)
        return token if ids is None else int(ids[token])

    @property
    def n_candidates(self) -> int | None:
        """How many of the most likely ids decide the choice; None: all ids do."""
        if self.repetition_penalty != 1:
            return None  # logits of ids that occurred change, and with them the order
        return 1 if self.temperature == 0 else self.top_k


def sample(
    logits: Tensor,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    min_p: float = 0.0,
    generator: torch.Generator | None = None,
) -> int:
    """Return an id drawn from softmax(``logits`` / ``temperature``), logits (V).

    The filters and errors are those of :class:`Sampling`.
    """
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    return sampling.choose(logits, generator)


def penalised(logits: Tensor, occurred: list[int], penalty: float) -> Tensor:
    """Return ``logits`` with those of the ids ``occurred`` made smaller by ``penalty`` once."""
    ids = torch.tensor(sorted(set(occurred)), device=logits.device)
    ids = ids[ids < len(logits)]
    chosen = logits[ids]
    return logits.index_put((ids,), torch.where(chosen > 0, chosen / penalty, chosen * penalty))


def _most_likely(p: Tensor, share: float) -> Tensor:
    """Return ``p`` with zeros but for the fewest largest that reach ``share`` of the sum."""
    total, n = p.sum(), FIRST_SORTED
    while True:
        largest, ids = p.topk(min(n, len(p)))
        before = largest.cumsum(0) - largest  # probability of all ids that are more likely
        if n >= len(p) or before[-1] + largest[-1] >= share * total:
            break
        n *= 8
    kept = before < share * total
    return torch.zeros_like(p).index_put((ids[kept],), largest[kept])


def _drawn(p: Tensor, generator: torch.Generator | None) -> int:
    """Return an index with probability ``p`` / Σp, from one uniform number."""
    sums = p.cumsum(0)
    u = torch.rand((), generator=generator, dtype=torch.float64)
    index = int(torch.searchsorted(sums, u * sums[-1], right=True))
    return index if index < len(p) else int(p.nonzero()[-1])
