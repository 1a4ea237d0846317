"""Which ids can be among the k most likely, from a copy of the head in bfloat16.

One position costs little arithmetic: what takes time is reading the head, 77 MB for 50,304 ids of
width 384. For the k most likely ids, half of that is enough:

    once:     w̃ = w in bfloat16,  r_i = ‖w_i‖
    a step:   z̃ = w̃ x̃,  e_i = r_i ‖x‖ · 3 · 2⁻⁹ (1 + …)      |z_i − z̃_i| ≤ e_i, see below
              t = the k-th largest z̃_i − e_i                  so k ids or more have z_i ≥ t
              candidates: all i with z̃_i + e_i ≥ t
              z_i of the candidates, from the head itself

The result is not approximate: an id that is left out has k others before it. A test compares the
ids with those of all logits. Rounding to bfloat16 changes a number by 2⁻⁹ of itself at most, and
three are rounded: w, x and the sum. By Cauchy and Schwarz the error is up to 3 · 2⁻⁹ ‖w_i‖ ‖x‖, and
a little for the sums in float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

__all__ = ["Shortlist"]

MIN_IDS = 8192
"""Below so many ids the head is in the processor's cache, and nothing is gained."""
MIN_TOKENS = 32
"""Below so many tokens the copy costs more than it saves: it takes as long as some 10 steps."""
MAX_SHARE = 16
"""The k most likely are sought here if they are at most this part of all ids (a sixteenth)."""
ROUNDING = 2.0**-9
"""Largest error of rounding to bfloat16, relative."""


def _capabilities() -> Mapping[str, Any]:
    """Return what the CPU can do by torch's names; nothing where torch does not say."""
    found: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return found


class Shortlist:
    """The head (V, C) in bfloat16, for the k most likely ids of a hidden state; see above."""

    def __init__(self, weight: Tensor) -> None:
        self.weight, self.rounded = weight, weight.bfloat16()
        sums = 2 * weight.size(1) * torch.finfo(weight.dtype).eps  # here, and in the head itself
        norms = torch.linalg.vector_norm(weight, dim=1)
        self.error = norms * (3 * ROUNDING * (1 + 4 * ROUNDING) + sums)

    @staticmethod
    def pays(weight: Tensor, k: int, n_tokens: int) -> bool:
        """Return whether ``n_tokens`` steps with the ``k`` most likely ids are faster with one.

        On a CPU that multiplies bfloat16; another one would convert all numbers first.
        """
        return (
            weight.device.type == "cpu"
            and weight.dtype == torch.float32
            and len(weight) >= MIN_IDS
            and k * MAX_SHARE <= len(weight)
            and n_tokens >= MIN_TOKENS
            and bool(_capabilities().get("avx512_bf16"))
        )

    def candidates(self, x: Tensor, k: int) -> Tensor:
        """Return ids, ascending, that the ``k`` largest logits of ``x`` (C) are among."""
        logits = F.linear(x.bfloat16()[None], self.rounded)[0].float()
        error = self.error * torch.linalg.vector_norm(x)
        least = (logits - error).topk(k).values[-1]
        # not "≥ least": a NaN stays a candidate, so that it is found
        return torch.nonzero(~(logits + error < least))[:, 0]

    def logits(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Return the logits of the candidates and their ids: the ``k`` largest and some more."""
        ids = self.candidates(x, k)
        return torch.mv(self.weight[ids], x), ids
