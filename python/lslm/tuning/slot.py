"""A slot of a study: one configuration to measure once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lslm.tuning.space import Value

__all__ = ["Slot", "slot_of"]


class _Trial(Protocol):
    """An attempt, as Optuna has it."""

    @property
    def user_attrs(self) -> dict[str, Any]: ...


@dataclass(frozen=True, kw_only=True)
class Slot:
    """What is to be measured once."""

    name: str
    """``default``, ``0001``, …, or ``0007-seed-3``: also the run's folder."""
    seed: int
    values: Mapping[str, Value] | None = None
    """The values of the parameters; None: the sampler draws them."""
    is_fixed: bool = False
    """Not pruned, and with exactly ``values``: the default and repetitions."""
    repeats: str = ""
    """The slot that this one repeats with another seed."""

    def as_dict(self) -> dict[str, Any]:
        """Return the slot as JSON has it."""
        return {**vars(self), "values": None if self.values is None else dict(self.values)}


def slot_of(trial: _Trial) -> Slot:
    """Return the slot that a trial is an attempt of."""
    return Slot(**trial.user_attrs["slot"])
