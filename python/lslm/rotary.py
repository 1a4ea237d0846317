"""Rotary positions: each pair of channels of a query or key is turned by its position's angle."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from torch import Tensor

    from lslm.architecture import ModelConfig

__all__ = ["frequencies", "rotary", "rotate"]


def frequencies(config: ModelConfig, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the angle per position of each pair (D/2): b^(−2i/D) (Su et al. 2021).

    b is ``rope_base``. With ``rope_scaling`` = linear all are divided by ``rope_factor``. llama3
    divides those of few turns in ``rope_original_length`` positions, keeps those of many, and
    blends along a line between ``rope_low`` and ``rope_high`` turns (Dubey et al. 2024). Below a
    ``rope_fraction`` of 1, D is that of the rotated part, and the other pairs have the angle 0.
    """
    pairs = config.resolved().head_size // 2
    size = 2 * round(config.rope_fraction * pairs)
    angles = config.rope_base ** -(torch.arange(0, size, 2, device=device, dtype=dtype) / size)
    if config.rope_scaling == "none":
        return F.pad(angles, (0, pairs - size // 2))
    kept = torch.zeros_like(angles)
    if config.rope_scaling == "llama3":
        turns = angles * (config.rope_original_length / (2 * math.pi))
        kept = ((turns - config.rope_low) / (config.rope_high - config.rope_low)).clamp(0, 1)
    angles = angles * (kept + (1 - kept) / config.rope_factor)
    return F.pad(angles, (0, pairs - size // 2))


def rotary(positions: Tensor, angles: Tensor) -> list[Tensor]:
    """Return cosine and sine (T, D/2) of position · angle, see :func:`frequencies`."""
    turned = positions[:, None].to(angles.dtype) * angles
    return [turned.cos(), turned.sin()]


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return ``x`` (B, H, T, D) with (x_i, x_{i + D/2}) turned by its position's angle."""
    cos, sin, wide = torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1), x.to(cos.dtype)
    return (wide * cos + wide.roll(x.size(-1) // 2, -1) * sin).to(x.dtype)
