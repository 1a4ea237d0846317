"""What a position sees of the one before it without attention: a token shift, a table of bigrams.

Both are named options of the shape (``token_shift``, ``bigram_rows``), off by default: no published
architecture has them, so what uses them cannot be exported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lslm.embedding import embedding

if TYPE_CHECKING:
    from lslm.architecture import ModelConfig
    from lslm.cache import Cache
    from lslm.document_mask import DocumentMask

__all__ = ["Bigrams", "TokenShift"]


class TokenShift(nn.Module):
    """x_t + w · x_{t−1} with a w for each channel, 0 at first (after RWKV, Peng et al. 2023)."""

    def __init__(self, width: int, number: int) -> None:
        super().__init__()
        self.weight, self.number = nn.Parameter(torch.zeros(width)), number

    def forward(self, x: Tensor, cache: Cache | None, mask: DocumentMask | None = None) -> Tensor:
        """Return (B, T, C) for ``x`` (B, T, C); before the first position there is nothing."""
        first = torch.zeros_like(x[:, :1]) if cache is None else cache.swap_last(self.number, x)
        before = torch.cat([first, x[:, :-1]], 1)
        if mask is not None:
            before = before.masked_fill(mask.begins, 0)
        return x + self.weight.to(x.dtype) * before


class Bigrams(nn.Module):
    """A vector for each id and the one before it, from a table whose rows pairs share by a hash.

    The row of a pair is ⌊rows · h / 2³²⌋ with h = φ · (before · V + id) mod 2³² and φ = 2654435769
    (Fibonacci hashing, Knuth 1973). Before the first position is the id 0.
    """

    NUMBER = -1  # of its last id in a cache

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_ids = config.vocab_size
        self.table = embedding(config.bigram_rows, config.width)

    def forward(self, ids: Tensor, cache: Cache | None, mask: DocumentMask | None = None) -> Tensor:
        """Return (B, T, C) for ``ids`` (B, T)."""
        first = torch.zeros_like(ids[:, :1]) if cache is None else cache.swap_last(self.NUMBER, ids)
        before = torch.cat([first, ids[:, :-1]], 1)
        if mask is not None:
            before = before.masked_fill(mask.begins[..., 0], 0)
        return self.vectors(before, ids)

    def vectors(self, before: Tensor, ids: Tensor) -> Tensor:
        """Return (..., C) for ``ids`` (...) after ``before`` (...)."""
        pairs = (before * self.n_ids + ids) & 0xFFFFFFFF  # as much of it as h depends on
        h = (pairs * 2654435769) & 0xFFFFFFFF
        return self.table((h * self.table.num_embeddings) >> 32)  # type: ignore[no-any-return]
