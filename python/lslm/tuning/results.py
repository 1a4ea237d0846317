"""What a study found: its trials, how they compare, and what to train with."""

from __future__ import annotations

import contextlib
import json
import math
import warnings
from collections.abc import Mapping  # noqa: TC003  (as below)
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003  (from_dict reads the fields' types)
from typing import TYPE_CHECKING, Any

import numpy as np

from lslm.config import replace
from lslm.files import write_atomically
from lslm.results import Result
from lslm.tuning.noise import Comparison, Repeated, Row, compare
from lslm.tuning.plan import DEFAULT, REDUCTION, RUNGS, Plan
from lslm.tuning.slot import slot_of
from lslm.tuning.space import short_toml

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from lslm.config import Config
    from lslm.tuning.storage import Storage

__all__ = ["TrialRecord", "TuneResult", "collect", "verdict_on", "write_results"]

MIN_CORRELATED = 4
"""Finished trials below which a rank correlation says nothing."""


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """One trial, in plain values."""

    name: str
    """Also its folder in ``trials``."""
    outcome: str
    """finished, pruned, diverged, out of memory, invalid, or died; empty: it has none yet."""
    seed: int
    repeats: str = ""
    """The trial that this one repeats with another seed."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """What was drawn, by key."""
    bits_per_byte: float | None = None
    """Of the last validation."""
    loss: float | None = None
    """Of the last validation, nats per token."""
    n_tokens: int = 0
    """Targets trained on."""
    n_parameters: int = 0
    flops: float = 0.0
    """Spent on ``n_tokens``."""
    seconds: float = 0.0
    """Of the last attempt, from its start to its end."""
    n_attempts: int = 1
    """More than one: so many workers less one died, or were stopped, in it."""
    shape: str = ""
    """Layers × width."""
    reason: str = ""
    """Why it has no loss."""
    curve: Mapping[str, float] = field(default_factory=dict)
    """Bits per byte by the ninths of the budget after which they were measured."""


@dataclass(frozen=True, kw_only=True, repr=False)
class TuneResult(Result):
    """What :func:`lslm.tune` found."""

    study: Path
    """The folder: ``best.toml``, ``report.html``, ``trials.jsonl``, ``trials``, ``study.db``."""
    n_trials: int
    """Trials with a result, repetitions among them."""
    n_planned: int
    """All trials of the study."""
    outcomes: Mapping[str, int]
    """How many trials ended how."""
    best: str
    """The trial with the fewest bits per byte; after repetitions, on average."""
    recommended: str
    """The simplest trial that is not worse than ``best`` by more than one standard error."""
    bits_per_byte: float
    """Of ``recommended``."""
    default_bits_per_byte: float | None
    """Of the configuration that the study started from; None if it has no result."""
    sigma: float
    """Standard deviation of bits per byte from seed to seed; NaN without repetitions."""
    verdict: str
    """What the repetitions say about ``best`` and the configuration of the study."""
    trials: tuple[TrialRecord, ...]
    compared: tuple[Row, ...] = ()
    """The repeated configurations, the lowest mean first; empty without repetitions."""

    def summary(self) -> dict[str, str]:
        """Return the recommendation, σ, the verdict, and where the files are."""
        shown = {
            "recommended": f"{self.recommended}, {self.bits_per_byte:.4f} bits per byte",
            "verdict": self.verdict,
            "trials": ", ".join(f"{count:,} {name}" for name, count in self.outcomes.items()),
        }
        return shown | {"configuration": str(self.study / "best.toml")}


@dataclass(frozen=True, kw_only=True)
class Collected:
    """All results of a study, for its page and files."""

    plan: Plan
    folder: Path
    result: TuneResult
    comparison: Comparison | None
    """None without repetitions."""
    config: Config
    """The recommended configuration."""
    importances: Mapping[str, float] = field(default_factory=dict)
    """The share of each parameter in what makes a trial good, the largest first."""
    rank_correlation: float | None = None
    """Spearman's, between the order after a third of the budget and the order at the end."""


def collect(folder: Path, plan: Plan, storage: Storage) -> Collected:
    """Return what the study has found so far."""
    slots, results = storage.attempts(), storage.results()
    trials = tuple(_record(attempts, results.get(name)) for name, attempts in slots.items())
    by_name = {trial.name: trial for trial in trials}
    finished = [t for t in trials if t.outcome == "finished" and not t.repeats]
    if not finished:
        raise ValueError(
            f"{folder}: no trial has reached the end: see {folder / 'trials.jsonl'}, and give a "
            f"larger --budget or another --space"
        )
    best = min(finished, key=lambda t: (t.bits_per_byte or 0.0, t.name)).name
    comparison = _comparison(plan, by_name)
    recommended = best
    if comparison is not None:
        best, recommended = comparison.best, comparison.recommended
    outcomes: dict[str, int] = {}
    for trial in trials:
        outcomes[trial.outcome or "not run"] = outcomes.get(trial.outcome or "not run", 0) + 1
    default = by_name.get(DEFAULT)
    means = {} if comparison is None else {row.name: row.mean for row in comparison.rows}
    result = TuneResult(
        study=folder,
        n_trials=len(results),
        n_planned=len(slots),
        outcomes=outcomes,
        best=best,
        recommended=recommended,
        bits_per_byte=means.get(recommended, by_name[recommended].bits_per_byte or 0.0),
        default_bits_per_byte=means.get(DEFAULT, default.bits_per_byte if default else None),
        sigma=float("nan") if comparison is None else comparison.sigma,
        verdict="Not repeated: the difference between trials may be noise."
        if comparison is None
        else verdict_on(comparison),
        trials=trials,
        compared=() if comparison is None else comparison.rows,
    )
    config = plan.configure(
        by_name[recommended].values, folder=folder, slot=slot_of(slots[recommended][0])
    )
    return Collected(
        plan=plan,
        folder=folder,
        result=result,
        comparison=comparison,
        config=config,
        importances=_importances([results[trial.name] for trial in finished]),
        rank_correlation=_rank_correlation(finished),
    )


def write_results(collected: Collected) -> None:
    """Write trials.jsonl and best.toml."""
    folder = collected.folder
    rows = [json.dumps(row, ensure_ascii=False) for row in collected.result.as_dict()["trials"]]
    write_atomically(folder / "trials.jsonl", "".join(row + "\n" for row in rows))
    result = collected.result
    figure = f"{result.bits_per_byte:.4f} bits per byte"
    head = f"# Trial {result.recommended}: {figure}. {result.verdict}\n"
    config = replace(collected.config, out="", validate_every=0, checkpoint_every=0)
    config = replace(config, keep_last=2, keep_best=True, seed=collected.plan.config.train.seed)
    write_atomically(folder / "best.toml", head + short_toml(config))


def _importances(finished: list[FrozenTrial]) -> dict[str, float]:
    """Return the importance of each parameter by PED-ANOVA, which needs no other package."""
    import optuna

    keys = sorted({key for trial in finished for key in trial.params})
    shared = [key for key in keys if sum(key in trial.params for trial in finished) > 2]
    found: dict[str, float] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        for key in shared:  # one at a time: a conditional parameter is not in every trial
            own = optuna.create_study()
            own.add_trials([trial for trial in finished if key in trial.params])
            with contextlib.suppress(ValueError, RuntimeError):
                found |= evaluator.evaluate(own, params=[key])
    total = sum(found.values())
    ranked = sorted(found.items(), key=lambda item: -item[1])
    return {key: value / total for key, value in ranked} if total > 0 else {}


def _rank_correlation(finished: list[TrialRecord]) -> float | None:
    """Return Spearman's correlation of the losses after a third of the budget and at the end."""
    at = str(RUNGS // REDUCTION)
    pairs = [(t.curve[at], t.bits_per_byte) for t in finished if at in t.curve]
    if len(pairs) < MIN_CORRELATED:
        return None
    early, late = (np.argsort(np.argsort(column)) for column in zip(*pairs, strict=True))
    return float(np.corrcoef(early, late)[0, 1])


def _comparison(plan: Plan, trials: Mapping[str, TrialRecord]) -> Comparison | None:
    """Return how the repeated configurations compare; None without at least two seeds of one."""
    groups: dict[str, list[float]] = {}
    for trial in trials.values():
        if trial.repeats:
            losses = groups.setdefault(trial.repeats, [])
            if trial.outcome == "finished" and trial.bits_per_byte is not None:
                losses.append(trial.bits_per_byte)
    if not any(len(losses) > 1 for losses in groups.values()):
        return None
    base = plan.space.values_of(plan.config, plan.vocab_size)
    repeated = [
        Repeated(
            name=name,
            losses=tuple(losses),
            complexity=(
                0 if name == DEFAULT else _n_changes(trials[name].values, base),
                trials[name].n_parameters,
            ),
        )
        for name, losses in groups.items()
    ]
    return compare(repeated, DEFAULT)


def _n_changes(values: Mapping[str, Any], base: Mapping[str, Any]) -> int:
    """Return in how many parameters a trial differs from the configuration of the study."""
    return sum(base.get(key) != value for key, value in values.items())


def verdict_on(comparison: Comparison) -> str:
    """Return in words whether the best beats the configuration of the study, and by how many σ.

    If it does not, the sentences say which advantage the interval excludes.
    """
    best, *others = comparison.rows
    sigma = f"σ = {comparison.sigma:.4f} from seed to seed"
    if best.name == DEFAULT and not others:
        return f"No trial was better than the configuration itself; {sigma}."
    row = others[0] if best.name == DEFAULT else best
    low, high = row.interval
    shown = (
        f"{row.difference:+.4f} bits per byte{_in_sigmas(row.difference, comparison)}, "
        f"95 % interval {low:+.4f} to {high:+.4f}; {sigma}"
    )
    if row.verdict == "better":
        return f"Trial {row.name} is better than the configuration itself: {shown}."
    if best.name == DEFAULT:
        said = f"No trial was better than the configuration itself; the next is {row.name}: {shown}"
    else:
        said = f"Trial {row.name} and the configuration itself are a tie: {shown}"
    if not math.isfinite(low):
        return f"{said}."
    excluded = f"above {-low:.4f}{_in_sigmas(-low, comparison)} " if low < 0 else ""
    return f"{said}. An advantage {excluded}is excluded."


def _in_sigmas(difference: float, comparison: Comparison) -> str:
    """Return a difference as a number of σ in parentheses; empty without a σ."""
    count = comparison.sigmas(difference)
    return "" if math.isnan(count) else f" ({count:.1f} σ)"


def _record(attempts: list[FrozenTrial], result: FrozenTrial | None) -> TrialRecord:
    """Return a slot with its attempts as plain values."""
    slot, last = slot_of(attempts[0]), result or attempts[-1]
    facts = last.user_attrs
    tokens = int(facts.get("n_tokens", 0))
    return TrialRecord(
        name=slot.name,
        outcome=facts.get("outcome", "") if result is not None else "",
        seed=slot.seed,
        repeats=slot.repeats,
        values=dict(last.params),
        bits_per_byte=facts.get("bits_per_byte"),
        loss=facts.get("loss"),
        n_tokens=tokens,
        n_parameters=int(facts.get("n_parameters", 0)),
        flops=float(tokens * facts.get("flops_per_token", 0)),
        seconds=float(facts.get("seconds", 0.0)),
        n_attempts=len(attempts),
        shape=str(facts.get("shape", "")),
        reason=str(facts.get("reason", "")),
        curve={str(k): v for k, v in sorted(last.intermediate_values.items())},
    )
