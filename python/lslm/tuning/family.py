"""How loss falls with size and tokens: a family of small runs, a fit, and a larger run to check it.

A family has ``n_sizes`` widths from half to twice that of the configuration, in equal ratios, each
trained on one, two and four times ``n_tokens``: ordinary runs in ``output/runs``. The next size, on
eight times the tokens, is predicted from the others, then trained: the prediction is checked.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lslm.checkpoint import find_checkpoint, read_state
from lslm.config import Config, load_config, replace
from lslm.exceptions import MismatchError
from lslm.files import write_atomically
from lslm.limits import FAMILY_SIZES, check_counts, check_seed, whole_number
from lslm.progress import amount_of, reporting
from lslm.results import Result
from lslm.training import train
from lslm.tuning.budget import count_flops, count_parameters
from lslm.tuning.power_law import MIN_RUNS, PowerLaw, bootstrap, fit_power_law

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from lslm.config import Setting
    from lslm.progress import Progress

__all__ = ["Optimum", "ScalingResult", "ScalingRun", "scaling"]

MULTIPLES = (1, 2, 4)
"""Tokens of the runs of one size, in units of ``n_tokens``."""
HELD_OUT_MULTIPLE = 8
"""Tokens of the run that is predicted."""
PERCENTILES = (2.5, 97.5)
"""Of the bootstrap: 95 % intervals."""
N_BUDGETS = 4
"""Curves of the IsoFLOP figure."""

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class ScalingRun:
    """One run of the family."""

    run: Path
    n: float
    """FLOPs per token / 6: parameters, counted by the work they cause."""
    n_parameters: int
    n_tokens: int
    """Targets trained on (D)."""
    loss: float
    """Of the last validation, nats per token."""

    @property
    def flops(self) -> float:
        """Return 6 N D."""
        return 6 * self.n * self.n_tokens


@dataclass(frozen=True, kw_only=True)
class Optimum:
    """The best division of some FLOPs between size and tokens."""

    flops: float
    n: float
    n_interval: tuple[float, ...]
    n_tokens: float
    loss: float


@dataclass(frozen=True, kw_only=True, repr=False)
class ScalingResult(Result):
    """The fit L(N, D) = E + A / N^α + B / D^β, with 95 % intervals, and how it predicted."""

    output: Path
    runs: tuple[ScalingRun, ...]
    """Those that were fitted."""
    held_out: ScalingRun
    """The largest run, which was not."""
    predicted: float
    """Loss of ``held_out`` by the fit."""
    predicted_interval: tuple[float, ...]
    """With the noise of a run."""
    E: float
    A: float
    B: float
    alpha: float
    beta: float
    intervals: dict[str, tuple[float, ...]]
    """Of E, alpha, beta, and of the exponent of the best size, β / (α + β)."""
    optima: tuple[Optimum, ...]

    @property
    def is_within(self) -> bool:
        """Return whether the measured loss of ``held_out`` is in the interval."""
        low, high = self.predicted_interval
        return low <= self.held_out.loss <= high

    def summary(self) -> dict[str, str]:
        """Return the parameters with intervals, and the prediction beside the measurement."""
        shown = {
            name: f"{getattr(self, name):.4g} ({self.intervals[name][0]:.4g} … "
            f"{self.intervals[name][1]:.4g})"
            for name in ("E", "alpha", "beta")
        }
        low, high = self.predicted_interval
        inside = "inside" if self.is_within else "outside"
        shown["held out"] = (
            f"{self.held_out.loss:.4f} measured, {self.predicted:.4f} predicted "
            f"({low:.4f} … {high:.4f}): {inside} the interval"
        )
        return shown | {"runs": f"{len(self.runs):,} fitted"}


def scaling(
    config: Config | str | os.PathLike[str] | None = None,
    *,
    output: str | os.PathLike[str],
    data: str | os.PathLike[str] | None = None,
    runs: Sequence[str | os.PathLike[str]] = (),
    n_sizes: int = 4,
    n_tokens: int = 500_000,
    seed: int = 0,
    progress: Progress = None,
    **settings: Setting,
) -> ScalingResult:
    """Fit loss against size and tokens, and predict a larger run.

    ::

        lslm.scaling("tiny", data="data/web", output="scaling/web", n_tokens=1_000_000)

    Without ``runs`` the family around ``config`` is trained first, with the run that is predicted;
    a call that was stopped continues where it was. ``runs`` are folders of at least ten runs of
    one dataset instead, of which the one with the most FLOPs is predicted and not fitted.
    ``seed`` is that of the bootstrap. Writes ``output/report.html`` and ``output/scaling.json``.
    """
    whole_number("n_sizes", n_sizes, *FAMILY_SIZES)
    check_counts(n_tokens=n_tokens)
    check_seed(seed)
    folder = Path(output)
    if runs:
        family = [Path(run) for run in runs]
    else:
        own = config if isinstance(config, Config) else load_config(config)
        own = replace(own, **({} if data is None else {"data": data}), **settings)
        family = _train_family(own, folder, n_sizes, n_tokens, progress)
    result = _fitted(folder, _read_runs(family), seed)
    from lslm.report.scaling import scaling_report

    write_atomically(folder / "scaling.json", json.dumps(result.as_dict(), indent=1) + "\n")
    write_atomically(folder / "report.html", scaling_report(result))
    return result


def family_configs(config: Config, folder: Path, n_sizes: int, n_tokens: int) -> list[Config]:
    """Return the configurations of the family, the one to predict last."""
    heads, base = config.model.heads, config.model.width
    ratio = 4 ** (1 / (n_sizes - 1))  # of neighbours; from 1/2 to 2
    found = []
    for k in range(n_sizes + 1):
        width = max(1, round(base / 2 * ratio**k / (2 * heads))) * 2 * heads
        multiples = MULTIPLES if k < n_sizes else (HELD_OUT_MULTIPLE,)
        for multiple in multiples:
            per_step = config.train.batch_size * config.model.sequence_length
            found.append(
                replace(
                    config,
                    width=width,
                    steps=max(1, round(multiple * n_tokens / per_step)),
                    minutes=0.0,
                    out=folder / "runs" / f"width-{width}-tokens-{multiple * n_tokens}",
                    keep_last=1,
                    keep_best=False,
                )
            )
    if len({one.model.width for one in found}) < n_sizes + 1:
        raise ValueError(
            f"{n_sizes} sizes around model.width = {base} are not distinct: give fewer"
        )
    return found


def _train_family(
    config: Config, folder: Path, n_sizes: int, n_tokens: int, progress: Progress
) -> list[Path]:
    """Train the runs that are not finished; return their folders."""
    configs = family_configs(config, folder, n_sizes, n_tokens)
    with reporting(progress) as reporter:
        for k, one in enumerate(configs):

            def show(_stage: str, done: int, total: int | None, unit: str, k: int = k) -> None:
                if reporter is not None:
                    text = f"runs, {amount_of(done, total, unit)}"
                    reporter.update("scaling", k, len(configs), text)

            train(one, resume=True, progress=show)
    return [Path(one.train.out) for one in configs]


def _read_runs(folders: Sequence[Path]) -> list[ScalingRun]:
    """Return the runs in order of FLOPs; raise ``MismatchError`` unless they can be compared."""
    runs: list[ScalingRun] = []
    measured_on: dict[tuple[object, ...], Path] = {}
    for folder in folders:
        config, state = load_config(folder / "config.toml"), read_state(find_checkpoint(folder))
        validation = state.get("final_validation") or state.get("validation")
        if not validation:
            raise ValueError(
                f"{folder} has no validation at its last checkpoint: train it to its end"
            )
        on = (state["tokenizer"], state["validation_dataset"], validation["tokens"])
        measured_on.setdefault(on, folder)
        runs.append(
            ScalingRun(
                run=folder,
                n=count_flops(config.model) / 6,
                n_parameters=count_parameters(config.model),
                n_tokens=state["tokens"],
                loss=validation["loss"],
            )
        )
    if len(measured_on) > 1:
        one, other = list(measured_on.values())[:2]
        raise MismatchError(f"{one} and {other} were validated on different tokens")
    if len(runs) <= MIN_RUNS:
        raise ValueError(f"{len(runs)} runs: give at least {MIN_RUNS}, and a larger one to predict")
    return sorted(runs, key=lambda run: run.flops)


def _fitted(folder: Path, runs: list[ScalingRun], seed: int) -> ScalingResult:
    """Return the fit of all runs but the last, with intervals from the bootstrap."""
    fitted, held_out = runs[:-1], runs[-1]
    columns: Any = [[r.n for r in fitted], [r.n_tokens for r in fitted], [r.loss for r in fitted]]
    law = fit_power_law(*columns)
    laws, residuals = bootstrap(law, *columns, seed=seed)
    rng = np.random.default_rng(seed)
    noise = np.exp(rng.choice(residuals, len(laws)))
    drawn = np.array([one.loss(held_out.n, held_out.n_tokens) for one in laws]) * noise
    values = {name: [getattr(one, name) for one in laws] for name in ("E", "alpha", "beta")} | {
        "size_exponent": [one.beta / (one.alpha + one.beta) for one in laws]
    }
    budgets = np.geomspace(runs[0].flops, held_out.flops, N_BUDGETS)
    return ScalingResult(
        output=folder,
        runs=tuple(fitted),
        held_out=held_out,
        predicted=float(law.loss(held_out.n, held_out.n_tokens)),
        predicted_interval=_interval(drawn.tolist()),
        **vars(law),
        intervals={name: _interval(drawn) for name, drawn in values.items()},
        optima=tuple(_optimum(float(flops), law, laws) for flops in budgets),
    )


def _optimum(flops: float, law: PowerLaw, laws: list[PowerLaw]) -> Optimum:
    n = law.best_size(flops)
    return Optimum(
        flops=flops,
        n=n,
        n_interval=_interval([one.best_size(flops) for one in laws]),
        n_tokens=flops / (6 * n),
        loss=float(law.loss(n, flops / (6 * n))),
    )


def _interval(values: list[float]) -> Interval:
    low, high = np.percentile(values, PERCENTILES)
    return float(low), float(high)
