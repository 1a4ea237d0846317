"""The options of a loader: their types and ranges."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal, Required, TypeAlias, TypedDict

from lslm.limits import MAX_COUNT, check_counts, check_seed, whole_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

__all__ = ["LoaderOptions", "OnChange", "Packing", "check_ranges", "from_environment"]

Packing: TypeAlias = Literal["concat", "best_fit", "document"]
"""How documents become rows."""

OnChange: TypeAlias = Literal["refuse", "new segment"]
"""What happens to a state that was saved with other sources, weights or lengths."""


class LoaderOptions(TypedDict, total=False):
    """The options of :class:`TokenLoader` besides ``output``, for its overloads."""

    batch_size: Required[int]
    sequence_length: Required[int]
    max_sequence_length: int | None
    packing: Packing
    mask_borders: bool
    seed: int
    rank: int | None
    world_size: int | None
    global_batch_size: int | None
    epochs: int | None
    steps: int | None
    shuffle: bool
    device: str | torch.device | None
    prefetch: int
    pin_memory: bool | None
    verify: bool
    access: Literal["auto", "map", "call"]


def check_ranges(arguments: Mapping[str, Any]) -> None:
    """Raise an error for a loader's argument that is out of its range."""
    lengths = ("sequence_length", "max_sequence_length")
    counts = (*lengths, "batch_size", "epochs", "steps", "global_batch_size", "world_size")
    check_counts(**{name: arguments[name] for name in counts})
    check_seed(arguments["seed"])
    for name in ("rank", "prefetch"):
        if arguments[name] is not None:
            whole_number(name, arguments[name], 0, MAX_COUNT)


def from_environment(name: str, default: int) -> int:
    """Return the number in environment variable ``name``; ``default`` where it is not set."""
    text = os.environ.get(name)
    if not text:
        return default
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise ValueError(
            f"environment variable {name} = {text!r} is not a number: give {name.lower()}="
        )
    return value
