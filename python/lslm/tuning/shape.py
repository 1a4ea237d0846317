"""The width of a model that costs what another one costs, at another depth or vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lslm.config import Config, replace
from lslm.tuning.budget import count_flops, count_parameters

if TYPE_CHECKING:
    from lslm.tuning.space import Hold

__all__ = ["with_held_width"]


def with_held_width(
    config: Config, base: Config, hold: Hold, *, vocab_size: int, base_vocab_size: int
) -> Config:
    """Return ``config`` with the width at which it costs what ``base`` does.

    ``hold`` says what the cost is: FLOPs per token or parameters. Heads keep their size, so the
    width is a multiple of it, the one whose cost is nearest; the number of heads follows. Heads of
    keys and values keep their ratio if it divides, else each query head has its own.
    """
    count = count_flops if hold == "flops" else count_parameters
    size = base.model.width // base.model.heads
    groups = base.model.heads // (base.model.kv_heads or base.model.heads)
    goal = count(replace(base, vocab_size=base_vocab_size).model)

    def of(heads: int) -> Config:
        return replace(
            config,
            vocab_size=vocab_size,
            width=heads * size,
            heads=heads,
            kv_heads=heads // groups if groups > 1 and heads % groups == 0 else 0,
        )

    low, high = 1, 1
    while count(of(high).model) < goal:
        low, high = high, 2 * high
    while high - low > 1:  # cost(low) < goal ≤ cost(high)
        middle = (low + high) // 2
        low, high = (middle, high) if count(of(middle).model) < goal else (low, middle)
    nearest = min((low, high), key=lambda heads: abs(count(of(heads).model) - goal))
    return replace(of(nearest), vocab_size=config.model.vocab_size)
