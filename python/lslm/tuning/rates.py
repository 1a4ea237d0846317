"""Learning rates that work: one short run whose rate rises from step to step (Smith 2017).

All rates are multiplied by one factor, which grows by equal ratios. Below the range the loss hardly
falls, above it rises; the range to search in lies between.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lslm.config import Config, load_config, replace
from lslm.files import write_atomically
from lslm.limits import MAX_COUNT, whole_number
from lslm.model import Transformer
from lslm.optim import build_optimizers, default_newton_schulz_steps
from lslm.parallel import resolve_device, resolve_dtype
from lslm.progress import reporting
from lslm.results import Result
from lslm.run_loader import run_loader
from lslm.training.loop import set_learning_rates
from lslm.training.run import TrainingData
from lslm.training.step import train_step

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from lslm.config import Setting
    from lslm.progress import Progress

__all__ = ["RangeTest", "RatePoint", "range_test"]

FACTORS = (1e-3, 1e2)
"""Of the rates of the configuration, at the first and at the last step."""
SMOOTHING = 0.9
"""Share of the mean loss so far in the next one."""
DIVERGED = 1.3
"""The test ends when the mean loss is so many times its lowest."""
MARGIN = 3.0
"""The range begins at the steepest rate divided by this."""


@dataclass(frozen=True, kw_only=True)
class RatePoint:
    """One step."""

    lr: float
    loss: float
    mean: float
    """Exponential mean of the losses so far, without bias."""


@dataclass(frozen=True, kw_only=True, repr=False)
class RangeTest(Result):
    """What rising rates did."""

    steepest: float
    """Rate at which the loss falls fastest."""
    highest: float
    """Rate at which it is lowest: beyond it rises."""
    points: tuple[RatePoint, ...]

    @property
    def low(self) -> float:
        """Return the lower end of the range to search in."""
        return min(self.steepest, self.highest) / MARGIN

    def toml(self) -> str:
        """Return the range as a space of :func:`lslm.tune` has it."""
        return f"[optim.lr]\nlow = {self.low:.2g}\nhigh = {self.highest:.2g}\nlog = true\n"

    def summary(self) -> dict[str, str]:
        """Return both rates, and the range."""
        return {
            "falls fastest at": f"{self.steepest:.3g}",
            "lowest at": f"{self.highest:.3g}",
            "range to search": f"{self.low:.2g} to {self.highest:.2g}, log = true",
        }


def range_test(
    config: Config | str | os.PathLike[str] | None = None,
    *,
    output: str | os.PathLike[str],
    n_steps: int = 150,
    progress: Progress = None,
    **settings: Setting,
) -> RangeTest:
    """Train ``n_steps`` steps with a rising rate; return the range of rates that is worth a search.

    Writes ``output/range-test.html``, and ``output/range-test.json`` with every step.
    """
    whole_number("n_steps", n_steps, 10, MAX_COUNT)
    config = config if isinstance(config, Config) else load_config(config)
    config = replace(config, **settings)
    folder = Path(output)
    points = _losses(config, n_steps, progress)
    result = RangeTest(steepest=_steepest(points), highest=_lowest(points), points=tuple(points))
    from lslm.report.rates import range_test_report

    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "range-test.json", json.dumps(result.as_dict()) + "\n")
    write_atomically(folder / "range-test.html", range_test_report(result))
    return result


def _losses(config: Config, n_steps: int, progress: Progress) -> list[RatePoint]:
    """Return the loss at each rate, to the step at which it has diverged."""
    data, settings = TrainingData.open(config), config.train
    device = resolve_device(settings.device)
    dtype = resolve_dtype(settings.dtype, device)
    config = replace(
        config,
        vocab_size=config.model.vocab_size or data.tokenizer.vocab_size,
        newton_schulz_steps=config.optim.newton_schulz_steps or default_newton_schulz_steps(device),
    )
    model = Transformer(config.model, settings.seed).to(device)
    optimizers = build_optimizers(model, config.optim)
    loader = run_loader(config, data.train, device=None if device == "cpu" else device)
    points: list[RatePoint] = []
    mean, low, high = 0.0, *FACTORS
    with reporting(progress) as reporter:
        for k, batch in zip(range(n_steps), loader, strict=False):
            factor = low * (high / low) ** (k / (n_steps - 1))
            set_learning_rates(optimizers, factor)
            try:
                loss, _ = train_step(
                    model,
                    optimizers,
                    batch.inputs,
                    batch.targets,
                    document_ids=batch.document_ids if config.data.document_mask else None,
                    micro_batch_size=settings.micro_batch_size or None,
                    max_grad_norm=settings.max_grad_norm or None,
                    dtype=dtype,
                )
            except FloatingPointError:
                break
            mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
            unbiased = mean / (1 - SMOOTHING ** (k + 1))
            points.append(RatePoint(lr=config.optim.lr * factor, loss=loss, mean=unbiased))
            if reporter is not None:
                reporter.update("range test", k + 1, n_steps, f"steps, loss {loss:.3f}")
            if unbiased > DIVERGED * min(point.mean for point in points):
                break
    return points


def _lowest(points: Sequence[RatePoint]) -> float:
    """Return the rate with the lowest mean loss."""
    return min(points, key=lambda point: point.mean).lr


def _steepest(points: Sequence[RatePoint]) -> float:
    """Return the rate where the mean loss falls most per ratio of the rate, up to its lowest."""
    end = min(range(len(points)), key=lambda k: points[k].mean)
    width = max(2, len(points) // 15)
    slopes = [
        (
            (points[k + width].mean - points[k].mean)
            / math.log(points[k + width].lr / points[k].lr),
            points[k + width // 2].lr,
        )
        for k in range(end + 1 - width)
    ]
    return min(slopes)[1] if slopes else points[end].lr
