"""Attention inside documents: which positions of a row see each other.

row            a a a b b c      (three documents; each letter is a token)
begins         1 0 0 1 0 1
positions      0 1 2 0 1 0
visible        query i sees key j ≤ i of the same document
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DocumentMask"]


class DocumentMask(NamedTuple):
    """What keeps the documents of a row apart, so that each is as if it were alone."""

    visible: Tensor
    """Whether query i sees key j, bool (B, 1, T, T): a square for each row, shared by the heads."""
    begins: Tensor
    """Whether a position is the first of its document, bool (B, T, 1)."""
    positions: Tensor
    """The position in the document, int64 (B, T)."""

    @classmethod
    def of(cls, document_ids: Tensor) -> DocumentMask:
        """Return the mask of rows whose inputs are of the documents ``document_ids`` (B, T).

        Equal ids next to each other are one document; what the ids are does not matter.
        """
        T = document_ids.size(1)
        begins = torch.ones_like(document_ids, dtype=torch.bool)
        begins[:, 1:] = document_ids[:, 1:] != document_ids[:, :-1]
        index = torch.arange(T, device=document_ids.device)
        first = torch.where(begins, index, 0).cummax(1).values  # of its document
        visible = (first[:, :, None] <= index) & (index <= index[:, None])
        return cls(visible[:, None], begins[..., None], index - first)
