"""A table with a vector for each id, whose values are drawn or loaded later."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["embedding"]


def embedding(n_ids: int, width: int) -> nn.Embedding:
    """Return a table (n_ids, width) without values.

    ``nn.Embedding(n_ids, width)`` draws them, for nothing, and on the device ``meta``, on which
    models are built before their weights are loaded, torch's formula of a normal distribution
    imports its compiler: 2 s of CPU and 160 MB (torch 2.15).
    """
    return nn.Embedding(n_ids, width, _weight=torch.empty(n_ids, width))
