"""The loader of a run: what its configuration says of rows, in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lslm.data import TokenLoader

if TYPE_CHECKING:
    from pathlib import Path

    from lslm import TokenDataset
    from lslm.config import Config

__all__ = ["run_loader"]


def run_loader(
    config: Config,
    data: TokenDataset | Path,
    *,
    rank: int = 0,
    world_size: int = 1,
    **options: Any,
) -> TokenLoader[Any]:
    """Return the loader with which a run of ``config`` reads ``data``, at its first batch.

    ``options`` are those of :class:`lslm.data.TokenLoader` that change no row: ``device``,
    ``output``, ``prefetch``.
    """
    return TokenLoader(
        data,
        batch_size=config.train.batch_size // world_size,
        sequence_length=config.model.sequence_length,
        packing=config.data.packing,
        mask_borders=config.data.mask_borders,
        seed=config.train.seed,
        rank=rank,
        world_size=world_size,
        **options,
    )
