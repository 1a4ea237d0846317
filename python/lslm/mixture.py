"""The datasets that a loader reads: one at a path, or several mixed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from lslm._lslm import TokenDataset

if TYPE_CHECKING:
    import os

__all__ = ["DatasetLike", "Mixture", "Weights", "find_part", "open_dataset"]

DatasetLike: TypeAlias = "str | os.PathLike[str] | TokenDataset"
"""A dataset, or the path of one, or of a folder with ``train`` in it."""

Weights: TypeAlias = "Mapping[str, float] | Mapping[Path, float] | Mapping[TokenDataset, float]"
"""Datasets and their weights."""


class Mixture:
    """Several datasets, mixed in given proportions of tokens.

    ``datasets`` is a mapping from dataset to weight, or a sequence beside ``weights``. Weights need
    not sum to one; without them a dataset counts by its tokens. After each run of samples (1,024,
    more for very small weights) every dataset's count is within one sample of its share; the order
    inside a run is random. Each dataset has its own epochs, each in a new order.

    ``names`` decide the orders: one for each dataset, by default its content. So weights times a
    factor and datasets in another order are the same mixture, and a dataset that is added moves no
    other. A name lets a dataset grow: see :meth:`TokenLoader.load_state_dict`.
    """

    def __init__(
        self,
        datasets: Weights | Sequence[DatasetLike],
        *,
        weights: Sequence[float] | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        if isinstance(datasets, Mapping):
            if weights is not None:
                raise ValueError("weights: the mapping of datasets has them; leave weights out")
            weights = [float(weight) for weight in datasets.values()]
        self.datasets = [open_dataset(dataset) for dataset in datasets]
        self.weights = None if weights is None else [float(weight) for weight in weights]
        self.names = None if names is None else list(names)
        for what, given in (("weights", self.weights), ("names", self.names)):
            if given is not None and len(given) != len(self.datasets):
                raise ValueError(
                    f"{len(given)} {what} for {len(self.datasets)} datasets: give one per dataset"
                )

    def __repr__(self) -> str:
        paths = ", ".join(repr(str(dataset.path)) for dataset in self.datasets)
        names = "" if self.names is None else f", names={self.names}"
        return f"Mixture([{paths}], weights={self.weights}{names})"


def open_dataset(dataset: DatasetLike) -> TokenDataset:
    """Return the dataset at a path, or the ``train`` in it if it is a folder of both parts."""
    if isinstance(dataset, TokenDataset):
        return dataset
    return TokenDataset(find_part(dataset, "train") or dataset)


def find_part(folder: str | os.PathLike[str], part: Literal["train", "validation"]) -> Path | None:
    """Return the dataset ``part`` in ``folder``, or None if there is none."""
    inner = Path(folder) / part
    return inner if (inner / "manifest.json").is_file() else None
