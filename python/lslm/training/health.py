"""Whether a run is sound: steps that must not count, and the signs of a run that learns nothing.

    for each step, once its loss and gradient norm are known:
        not finite     the weights were not updated
        spike          loss or norm far above those of the last 128 steps
        dead           the gradient was exactly 0 for 20 steps
    and, as warnings: zero or collapsed gradient, a loss not below that of a uniform model, updates
    that round to nothing

What follows from a step that is not sound is the loop's, by ``train.on_bad_step``.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch

from lslm.training.step import Limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

    from lslm.config import Config

__all__ = ["Health", "Verdict", "WeightSample"]

WINDOW = 128
"""Steps that a spike is compared with, as in OLMo-core's skip-step optimizers."""
MIN_KNOWN = 32
"""Steps before the first that can be a spike: σ of fewer says little."""
SIGMAS = 6.0
"""Standard deviations above the mean from which on a value is a spike, as in OLMo-core."""
MIN_RISE = (0.1, 2.0)
"""A spike of the loss, of the norm is also this share of the mean above it: a flat window has
almost no σ, and norms have a long tail (docs/log.md)."""
ZERO_STEPS, DEAD_STEPS = 5, 20
"""Steps in a row with a gradient of exactly 0 until the warning, until the run is dead."""
COLLAPSED, COLLAPSED_STEPS = 1e-4, 20
"""Share of the window's median norm below which a gradient has collapsed, for so many steps."""
SMALL_LOSS = 0.05
"""Nats below which a small gradient is that of a model that has learned its text by heart."""
UNIFORM_STEPS, MIN_STEPS = 100, 20
"""Steps after which the loss must be below a uniform model's; at the end of a run, at least."""
UNIFORM = 0.99
"""Share of ln V from which on a mean loss is still that of a uniform model."""
SAMPLED = 256
"""Values of each parameter whose change is looked at."""
MIN_WEIGHT = 1e-6
"""Size of a value from which on its change counts: any step changes a weight that is 0."""


class Verdict(NamedTuple):
    """What one step was."""

    kind: Literal["sound", "spike", "not finite", "dead"]
    text: str = ""
    """Its figures and, of a spike, what they are compared with."""


@dataclass(kw_only=True)
class Health:
    """What is known of the last steps; saved with each checkpoint, since decisions follow from it.

    Only finite values enter the window, so none makes every later comparison false.
    """

    vocab_size: int
    warmup_steps: int = 0
    acts_on_spikes: bool = False
    """Whether a spike must not be applied, and not only be warned of."""
    window: deque[tuple[int, float, float]] = field(
        default_factory=lambda: deque(maxlen=WINDOW + 1)
    )
    """Step, loss and gradient norm of the last steps with finite ones."""
    n_zero: int = 0
    """Last steps in a row with a gradient of 0."""
    n_collapsed: int = 0
    """Last steps in a row with a collapsed gradient."""
    n_bad: int = 0
    """Last steps in a row that were not sound."""
    warned: set[str] = field(default_factory=set)
    """What the run was warned of and has not recovered from."""

    @classmethod
    def of(cls, config: Config) -> Health:
        """Return that of a new run."""
        return cls(
            vocab_size=config.model.vocab_size,
            warmup_steps=round(config.schedule.warmup_fraction * config.train.steps),
            acts_on_spikes=config.train.on_bad_step != "stop",
        )

    def record(self) -> dict[str, Any]:
        """Return what a checkpoint keeps, for :meth:`restore`: a text a column, short in JSON."""
        columns = list(zip(*self.window, strict=True)) or [(), (), ()]
        names = ("steps", "losses", "norms")
        texts = (" ".join(map(repr, column)) for column in columns)
        counts = {"n_zero": self.n_zero, "n_collapsed": self.n_collapsed, "n_bad": self.n_bad}
        return dict(zip(names, texts, strict=True)) | counts | {"warned": sorted(self.warned)}

    def restore(self, record: dict[str, Any]) -> None:
        """Continue from the record of a checkpoint."""
        columns = [record[name].split() for name in ("steps", "losses", "norms")]
        rows = ((int(s), float(x), float(y)) for s, x, y in zip(*columns, strict=True))
        self.window = deque(rows, maxlen=WINDOW + 1)
        for name in ("n_zero", "n_collapsed", "n_bad"):
            setattr(self, name, record[name])
        self.warned = set(record["warned"])

    def limits(self, step: int) -> Limits:
        """Return the limits with which ``step`` is launched."""
        return self._thresholds(step) if self.acts_on_spikes else Limits()

    def _thresholds(self, step: int) -> Limits:
        """Return from where on loss and norm of ``step`` are spikes.

        They follow from the steps up to the one before the last, which are known when it is
        launched, however often the loop waits for the last one.
        """
        known = [row for row in self.window if row[0] <= step - 2]
        if len(known) < MIN_KNOWN:
            return Limits()
        _, losses, norms = zip(*known[-WINDOW:], strict=True)
        return Limits(_threshold(losses, MIN_RISE[0]), _threshold(norms, MIN_RISE[1]))

    def judge(self, step: int, loss: float, norm: float) -> Verdict:
        """Return what ``step`` was, and count it."""
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self.n_bad += 1
            return Verdict("not finite", f"loss {loss}, gradient norm {norm}")
        limits = self._thresholds(step)
        self.window.append((step, loss, norm))
        self.n_zero = self.n_zero + 1 if norm == 0 else 0
        if self.n_zero >= DEAD_STEPS:
            return Verdict("dead", f"the gradient is 0 since step {step - self.n_zero + 1}")
        if loss > limits.loss or norm > limits.norm:
            self.n_bad += 1
            name, value, limit = ("loss", loss, limits.loss)
            if loss <= limits.loss:
                name, value, limit = ("gradient norm", norm, limits.norm)
            text = f"{name} {value:.4g} is a spike: the steps before it allow {limit:.4g}"
            return Verdict("spike", text)
        self.n_bad = 0
        return Verdict("sound")

    def signs(self, step: int, loss: float, norm: float, *, at_end: bool = False) -> list[str]:
        """Return what the run must be warned of after ``step``, once each until it recovers."""
        found = {
            "zero": self.n_zero >= ZERO_STEPS
            and f"the gradient is exactly 0 since step {step - self.n_zero + 1}, no weight changes "
            f"any more",
            "collapsed": self._has_collapsed(loss, norm)
            and f"the gradient norm has collapsed to {norm:.3g}",
            "uniform": self._is_uniform(step, at_end=at_end)
            and f"the loss, {loss:.3f}, is not below that of a model to which all "
            f"{self.vocab_size:,} tokens are equally likely, ln {self.vocab_size} = "
            f"{math.log(self.vocab_size):.3f}",
        }
        texts = [text for kind, text in found.items() if text and kind not in self.warned]
        kinds = {kind for kind, text in found.items() if text}
        self.warned = kinds | (self.warned & {"rounding"})
        return texts

    def _has_collapsed(self, loss: float, norm: float) -> bool:
        """Return whether the gradient has been tiny beside those of the window for some steps."""
        norms = sorted(row[2] for row in self.window)
        tiny = len(norms) >= MIN_KNOWN and norm < COLLAPSED * norms[len(norms) // 2]
        self.n_collapsed = self.n_collapsed + 1 if tiny and norm and loss > SMALL_LOSS else 0
        return self.n_collapsed >= COLLAPSED_STEPS

    def _is_uniform(self, step: int, *, at_end: bool) -> bool:
        """Return whether the loss has stayed at that of a uniform model, or above it."""
        enough = step >= max(UNIFORM_STEPS, self.warmup_steps) or (at_end and step >= MIN_STEPS)
        losses = [row[1] for row in self.window][-MIN_STEPS:]
        return enough and _mean(losses or [0.0]) >= UNIFORM * math.log(self.vocab_size)

    def rounding_sign(self, changed: float, factor: float) -> list[str]:
        """Return the warning that none of the sampled weights ``changed``, at most once.

        ``factor`` is that of the learning rate: at the ends of a schedule it is tiny by intent.
        """
        if changed or factor < 0.5 or "rounding" in self.warned:
            return []
        self.warned.add("rounding")
        return ["the update changed none of the sampled weights: it is lost in rounding"]


class WeightSample:
    """The first values of every parameter before an update, to see whether it changes any."""

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self._parameters = [p.detach() for p in parameters]
        self._before = self._values()

    @staticmethod
    def is_due(step: int) -> bool:
        """Return whether to look at ``step``: at 2, 4, 8, …; at 1 most gradients are zero."""
        return step > 1 and step & (step - 1) == 0

    def _values(self) -> Tensor:
        return torch.cat([p.reshape(-1)[:SAMPLED].to(torch.float32) for p in self._parameters])

    def changed(self) -> Tensor:
        """Return how many values of at least MIN_WEIGHT differ from before, on their device."""
        differs = self._values() != self._before
        return (differs & (self._before.abs() >= MIN_WEIGHT)).sum()


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _threshold(values: Sequence[float], rise: float) -> float:
    """Return the mean + SIGMAS · σ of ``values``, and at least their mean + its share ``rise``."""
    mean = _mean(values)
    sigma = math.sqrt(_mean([(value - mean) ** 2 for value in values]))
    return mean + max(SIGMAS * sigma, rise * abs(mean))
