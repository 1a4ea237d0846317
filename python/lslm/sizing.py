"""A whole configuration from one number: the depth of a model, or about how many parameters.

    width   64 · heads, with as many heads as layers            nanochat's ratio of width to depth
    tokens  D = 20 · N, at most four passes over the data       Hoffmann et al. 2022; Muennighoff
                                                                et al. 2023
    batch   B = 0.292 · F^0.3271 tokens, F FLOPs of the run     DeepSeek-AI 2024, equation 1
    steps   D / B

N are the parameters of products: all but tables, unless the embedding is the head. Learning rates
stay the configuration's: Muon's step has the same size in every width, and the defaults of
embedding and head fall with its root (:class:`lslm.optim_config.OptimConfig`).
"""

from __future__ import annotations

import dataclasses
import logging
import math
from typing import TYPE_CHECKING, Any

from lslm._lslm import TokenDataset
from lslm.config import Config, replace
from lslm.limits import MAX_COUNT, whole_number
from lslm.planning import with_vocabulary
from lslm.tuning.budget import count_flops, count_parameters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lslm.model import ModelConfig

_logger = logging.getLogger("lslm.training")

__all__ = ["SHAPE_KEYS", "for_depth", "for_parameters"]

HEAD_SIZE = 64
"""Size of a head, and so the step of the width."""
TOKENS_PER_PARAMETER = 20
MAX_PASSES = 4
"""Over the data: up to four, repeated tokens are worth nearly as much as new ones."""
BATCH_FACTOR, BATCH_EXPONENT = 0.292, 0.3271
MAX_DEPTH = 1000
"""Of a model, beyond which a number is a mistake."""
MAX_ASPECT = 2
"""Times that a model of some number of parameters has more heads than layers, or fewer."""
ASPECT_WEIGHT = 0.2
"""What a factor in heads ÷ layers counts beside a factor in parameters: of a fifth's root."""

SHAPE_KEYS = frozenset(
    f"model.{name}" for name in ("layers", "width", "heads", "kv_heads", "head_size", "hidden")
)
"""The keys of the shape that the number decides."""


def for_depth(config: Config, depth: int, keep: frozenset[str] = frozenset()) -> Config:
    """Return ``config`` with the shape, batch and steps of a model of ``depth`` layers.

    The full keys ``keep`` stay as they are; shape keys cannot be among them. The vocabulary is
    that of the configuration, else of its dataset.
    """
    layers = whole_number("depth", depth, 1, MAX_DEPTH)
    shape = with_vocabulary(config)
    heads = _groups(shape) * max(1, round(layers / _groups(shape)))
    return _sized(config, shape, _shape_settings(shape, layers, heads), keep)


def for_parameters(config: Config, n_parameters: int, keep: frozenset[str] = frozenset()) -> Config:
    """Return ``config`` with the shape, batch and steps of about ``n_parameters``.

    Of the shapes with half to twice as many heads as layers, in steps of those that share keys and
    values: nearest in parameters, and in heads to layers; see :func:`for_depth`.
    """
    wanted = whole_number("parameters", n_parameters, 1, MAX_COUNT)
    shape = with_vocabulary(config)
    smallest = count_parameters(_reshaped(shape, 1, _groups(shape)))
    if wanted < smallest / 2:
        raise ValueError(
            f"parameters = {wanted:,}: the smallest model of {shape.vocab_size:,} ids has "
            f"{smallest:,}"
        )

    def distance(sizes: tuple[int, int]) -> float:
        layers, heads = sizes
        ratio = count_parameters(_reshaped(shape, layers, heads)) / wanted
        return abs(math.log(ratio)) + ASPECT_WEIGHT * abs(math.log(heads / layers))

    layers, heads = min(_sizes(shape, wanted), key=distance)
    return _sized(config, shape, _shape_settings(shape, layers, heads), keep)


def _sizes(shape: ModelConfig, wanted: int) -> Iterator[tuple[int, int]]:
    """Yield layers and heads of shapes, up to the depths that are too large with few heads."""
    step = _groups(shape)
    for layers in range(1, MAX_DEPTH + 1):
        low = step * math.ceil(layers / MAX_ASPECT / step)
        yield from (
            (layers, heads) for heads in range(low, max(low, MAX_ASPECT * layers) + 1, step)
        )
        if count_parameters(_reshaped(shape, layers, low)) > 2 * wanted:
            return


def _groups(shape: ModelConfig) -> int:
    """Return how many query heads share a head of keys and values, which stays as it is."""
    return shape.heads // (shape.kv_heads or shape.heads)


def _shape_settings(shape: ModelConfig, layers: int, heads: int) -> dict[str, Any]:
    """Return the keys of ``shape`` with ``layers`` and ``heads`` of 64, by name.

    A feed-forward width of its own keeps its ratio to the width, in steps of 64.
    """
    width, kv_heads = HEAD_SIZE * heads, heads // _groups(shape) if shape.kv_heads else 0
    hidden = max(64, 64 * round(shape.hidden / shape.width * width / 64)) if shape.hidden else 0
    sizes = {"layers": layers, "width": width, "heads": heads, "kv_heads": kv_heads}
    return sizes | {"head_size": 0, "hidden": hidden}


def _reshaped(shape: ModelConfig, layers: int, heads: int) -> ModelConfig:
    """Return ``shape`` with ``layers`` and ``heads``."""
    return dataclasses.replace(shape, **_shape_settings(shape, layers, heads))


def _sized(
    config: Config, shape: ModelConfig, sizes: dict[str, Any], keep: frozenset[str]
) -> Config:
    """Return ``config`` with the shape ``sizes`` and the batch and steps that follow."""
    both = sorted(keep & SHAPE_KEYS)
    if both:
        raise ValueError(f"{both[0]} follows from depth or parameters: leave one of them out")
    shape = dataclasses.replace(shape, **sizes)
    looked_up = shape.bigram_rows + (0 if shape.tied else shape.vocab_size)
    n = count_parameters(shape) - looked_up * shape.width
    n_tokens = TOKENS_PER_PARAMETER * n
    if config.data.path:
        there = TokenDataset(config.data.train_path()).n_tokens
        n_tokens = min(n_tokens, MAX_PASSES * there)
    flops = n_tokens * count_flops(shape)
    rows = BATCH_FACTOR * flops**BATCH_EXPONENT / shape.sequence_length
    settings: dict[str, Any] = {f"model.{name}": value for name, value in sizes.items()}
    if "train.batch_size" not in keep:
        settings["train.batch_size"] = 2 ** max(0, round(math.log2(rows)))
    rows = settings.get("train.batch_size", config.train.batch_size)
    if not keep & {"train.steps", "train.minutes"}:
        steps = max(1, round(n_tokens / (rows * shape.sequence_length)))
        settings |= {"train.steps": steps, "train.minutes": 0.0}
    sized = replace(config, **{key.replace(".", "__"): value for key, value in settings.items()})
    _logger.info(
        "%d layers of width %d, %d heads: %s parameters; %s of %s sequences",
        shape.layers,
        shape.width,
        shape.heads,
        f"{count_parameters(shape):,}",
        f"{sized.train.steps:,} steps" if sized.train.steps else "steps",
        f"{sized.train.batch_size:,}",
    )
    return sized
