"""What one trial may use: tokens, floating-point operations, or time."""

from __future__ import annotations

import dataclasses
import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from lslm.config import Config, replace

if TYPE_CHECKING:
    from lslm.model import ModelConfig

__all__ = ["Budget", "count_flops", "count_parameters", "parse_budget"]

Unit: TypeAlias = Literal["tokens", "flops", "minutes"]

_UNITS: dict[str, tuple[Unit, float]] = {
    "": ("tokens", 1),
    "tokens": ("tokens", 1),
    "flops": ("flops", 1),
    "s": ("minutes", 1 / 60),
    "min": ("minutes", 1),
    "h": ("minutes", 60),
}
_PREFIXES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}


@dataclass(frozen=True, kw_only=True)
class Budget:
    """An amount of tokens, FLOPs or minutes."""

    amount: float
    unit: Unit

    def __str__(self) -> str:
        if self.unit == "tokens":
            return f"{self.amount:,.0f} tokens"
        return f"{self.amount:.3g} FLOPs" if self.unit == "flops" else f"{self.amount:g} minutes"

    def apply(self, config: Config, vocab_size: int) -> Config:
        """Return ``config`` with the steps that this pays for, at least one.

        Minutes become steps when the run starts, measured on the machine.
        """
        if self.unit == "minutes":
            return replace(config, steps=0, minutes=self.amount)
        tokens = self.amount
        if self.unit == "flops":
            tokens /= count_flops(replace(config, vocab_size=vocab_size).model)
        per_step = config.train.batch_size * config.model.sequence_length
        return replace(config, steps=max(1, round(tokens / per_step)), minutes=0.0)


def parse_budget(text: str) -> Budget:
    """Return ``2M``, ``2e6 tokens``, ``1e15 FLOPs``, ``90s``, ``5min`` or ``2h`` as a budget."""
    found = re.fullmatch(r"([0-9._]+(?:e[0-9]+)?)\s*([kMGTPE]?)\s*([A-Za-z]*)", text.strip())
    unit = None if found is None else _UNITS.get(found[3].lower())
    if found is None or unit is None:
        raise ValueError(
            f"{text!r} is not a budget: use e.g. 2M (tokens), 1e15FLOPs, 5min or 2h for each trial"
        )
    try:
        amount = float(found[1].replace("_", "")) * _PREFIXES[found[2]] * unit[1]
    except ValueError:
        amount = 0.0
    if not 0 < amount < 1e30:
        raise ValueError(f"{text!r} is not a budget: the number must be above 0")
    return Budget(amount=amount, unit=unit[0])


def count_flops(shape: ModelConfig) -> int:
    """Return the floating-point operations to train a model of ``shape`` on one token."""
    return _counted(shape)[0]


def count_parameters(shape: ModelConfig) -> int:
    """Return the number of trained values of a model of ``shape``."""
    return _counted(shape)[1]


@functools.lru_cache(maxsize=1024)
def _counted(shape: ModelConfig) -> tuple[int, int]:
    """Return both counts: those of no layer, and for each layer what one adds."""
    import torch

    from lslm.model import Transformer

    counts = []
    for layers in (0, 1):
        with torch.device("meta"):  # no memory: for counting only
            model = Transformer(dataclasses.replace(shape, layers=layers))
        counts.append((model.flops_per_token(), model.n_parameters()))
    (flops, parameters), (flops_of_one, parameters_of_one) = counts
    return (
        flops + shape.layers * (flops_of_one - flops),
        parameters + shape.layers * (parameters_of_one - parameters),
    )
