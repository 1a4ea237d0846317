"""What a model remembers of the positions so far, so that the next one costs one, not all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Cache"]


class Cache:
    """Keys and values of the positions so far: the next token costs one position, not all."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.length = capacity, 0
        self.layers: list[tuple[Tensor, Tensor]] = []
        self.last: dict[int, Tensor] = {}
        """The last vector (B, 1, C) that each token shift saw, by its number; and the last ids
        (B, 1) that a table of bigrams saw."""

    def extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Append (B, H, T, D) keys and values of ``layer``; return those of all positions so far.

        The caller adds T to ``length`` after the last layer.
        """
        if layer == len(self.layers):
            B, H, _, D = key.shape
            self.layers.append(
                (key.new_empty(B, H, self.capacity, D), value.new_empty(B, H, self.capacity, D))
            )
        end = self.length + key.size(2)
        for store, new in zip(self.layers[layer], (key, value), strict=True):
            store[:, :, self.length : end] = new
        keys, values = self.layers[layer]
        return keys[:, :, :end], values[:, :, :end]

    def swap_last(self, number: int, x: Tensor) -> Tensor:
        """Return what came before ``x`` (B, T, ...) of ``number``, or zeros; keep its last one."""
        before = self.last.get(number)
        self.last[number] = x[:, -1:]
        return torch.zeros_like(x[:, :1]) if before is None else before
