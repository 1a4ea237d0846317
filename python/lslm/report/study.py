"""The page of a study: what to train with, how sure that is, and every trial that was made."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from lslm.report.charts import Bar, Series, bars, line_chart
from lslm.report.layout import Section, document, fact_list, tile
from lslm.report.markup import Child, Markup, details, element, table
from lslm.report.numbers import compact, duration
from lslm.report.parallel import Axis, Path, parallel_coordinates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lslm.tuning.results import Collected, TrialRecord

__all__ = ["study_report"]

MAX_SLICES = 12
"""Parameters with a chart of their own."""
MAX_CURVES = 60
"""Learning curves to draw; of more, those of the best and the last trials."""


def study_report(collected: Collected) -> str:
    """Return the page of a study."""
    result = collected.result
    first = [trial for trial in result.trials if not trial.repeats and trial.outcome]
    sections: list[Section] = [
        ("What to train with", "result", _recommendation(collected)),
        ("Noise", "noise", _noise_parts(collected)),
        ("History", "history", _history(first)),
        ("Importance", "importance", _importance(collected)),
        ("Slices", "slices", _slices(collected, first)),
        ("Parallel coordinates", "parallel", _parallel(collected, first)),
        ("Learning curves", "curves", _curves(collected, result.trials)),
        ("Trials", "trials", _trial_table(collected)),
        ("How", "how", _how(collected)),
    ]
    return document(f"Study {collected.folder.resolve().name}", _tiles(collected), sections)


def _tiles(collected: Collected) -> list[Markup]:
    result = collected.result
    tiles = [
        tile(f"{result.bits_per_byte:.4f}", "bits per byte", f"trial {result.recommended}"),
    ]
    if result.default_bits_per_byte is not None:
        shown = f"{result.default_bits_per_byte:.4f}"
        tiles.append(tile(shown, "the configuration itself", "bits per byte"))
    if not math.isnan(result.sigma):
        tiles.append(tile(f"{result.sigma:.4f}", "σ", "from seed to seed"))
    spent = sum(trial.n_tokens for trial in result.trials)
    tiles.append(tile(f"{result.n_trials:,}", "trials", f"of {result.n_planned:,}"))
    tiles.append(tile(compact(spent), "tokens", "trained on in all trials"))
    return tiles


def _recommendation(collected: Collected) -> list[Child]:
    result, best = collected.result, collected.folder / "best.toml"
    command = f"lslm train {best} out=RUN"
    parts: list[Child] = [
        element("p", element("b", result.verdict)),
        element(
            "p",
            f"Recommended is trial {result.recommended}: the simplest whose mean is within one "
            "standard error of the lowest. Simpler is: fewer values that differ from the "
            "configuration of the study, then fewer parameters.",
        ),
        element("pre", command),
    ]
    if best.is_file():
        parts.append(details("best.toml", element("pre", best.read_text("utf-8"))))
    return parts


def _noise_parts(collected: Collected) -> list[Child]:
    comparison = collected.comparison
    if comparison is None:
        note = "No configuration was repeated with another seed: differences may be noise."
        return [element("p", note, class_="note")]
    rows = [
        (
            row.name,
            f"{row.mean:.4f} ± {row.error:.4f}",
            f"{row.difference:+.4f}" if row.interval != (0.0, 0.0) else "",
            f"{comparison.sigmas(row.difference):+.1f}" if any(row.interval) else "",
            f"{row.interval[0]:+.4f} … {row.interval[1]:+.4f}" if any(row.interval) else "",
            "the best" if row.name == comparison.best else "a tie" if row.is_tie else "worse",
        )
        for row in comparison.rows
    ]
    head = ["trial", "mean ± standard error", "beside default", "in σ", "95 % interval"]
    head.append("beside the best")
    points = [(float(k), row.mean) for k, row in enumerate(comparison.rows, 1)]
    seeds = [
        (float(k), trial.bits_per_byte)
        for k, row in enumerate(comparison.rows, 1)
        for trial in collected.result.trials
        if trial.repeats == row.name and trial.bits_per_byte is not None
    ]
    chart = line_chart(
        [
            Series(label="each seed", points=seeds, style="points", colour=2),
            Series(
                label="mean ± standard error",
                points=points,
                style="points",
                errors=[row.error for row in comparison.rows],
            ),
        ],
        x_label="configuration, in the order of the table",
        y_label="bits per byte",
    )
    text = (
        f"The same configuration with another seed differs by σ = {comparison.sigma:.4f} bits per "
        f"byte ({comparison.degrees} degrees of freedom). The runs by which the best were chosen "
        "are left out here: they are best partly by luck."
    )
    return [element("p", text), table(head, rows, text_columns=(0, 5)), _row_of(chart)]


def _history(trials: Sequence[TrialRecord]) -> list[Child]:
    ends = {"finished": 0, "pruned": 1}
    points: dict[str, list[tuple[float, float]]] = {"finished": [], "pruned": []}
    best: list[tuple[float, float]] = []
    for number, trial in enumerate(trials):
        if trial.bits_per_byte is None or trial.outcome not in ends:
            continue
        points[trial.outcome].append((float(number), trial.bits_per_byte))
        if trial.outcome == "finished":
            lowest = min(trial.bits_per_byte, best[-1][1] if best else math.inf)
            best.append((float(number), lowest))
    series = [Series(label="best so far", points=best, colour=3)]
    series += [
        Series(label=name, points=points[name], style="points", colour=colour)
        for name, colour in ends.items()
    ]
    return [_row_of(line_chart(series, x_label="trial", y_label="bits per byte, last validation"))]


def _row_of(*charts: Markup) -> Markup:
    """Return charts side by side where the page is wide enough, each of the same size."""
    return element("div", charts, class_="charts")


def _importance(collected: Collected) -> list[Child]:
    if not collected.importances:
        note = "Too few trials reached the end to say which parameter matters."
        return [element("p", note, class_="note")]
    rows = [
        Bar(label=element("code", key), value=share, shown=f"{share:.0%}")
        for key, share in collected.importances.items()
    ]
    text = (
        "Share of the parameter in what sets the better half of the finished trials apart from all "
        "of them (PED-ANOVA, Watanabe et al. 2023). With few trials this is a hint."
    )
    return [element("p", text), bars(rows)]


def _slices(collected: Collected, trials: Sequence[TrialRecord]) -> list[Child]:
    charts = []
    for axis in _axes(collected)[:MAX_SLICES]:
        values = [(trial.values.get(axis.key), trial) for trial in trials]
        numbers = [(v, t) for v, t in values if isinstance(v, int | float)]
        if any(isinstance(value, str) for value, _ in values):
            charts.append(_choice_bars(axis, values))
        elif numbers:
            charts.append(_slice(axis, numbers))
    return [_row_of(*charts)]


def _slice(axis: Axis, numbers: Sequence[tuple[float, TrialRecord]]) -> Markup:
    series = [
        Series(
            label=outcome,
            points=sorted(
                (float(value), trial.bits_per_byte)
                for value, trial in numbers
                if trial.outcome == outcome and trial.bits_per_byte is not None
            ),
            style="points",
            colour=colour,
        )
        for colour, outcome in enumerate(("finished", "pruned"))
    ]
    return line_chart(series, x_label=axis.key, y_label=axis.key, log_x=axis.log)


def _choice_bars(axis: Axis, values: Sequence[tuple[Any, TrialRecord]]) -> Markup:
    """Return the best result with each choice, as bars."""
    best: dict[str, float] = {}
    for value, trial in values:
        if value is not None and trial.outcome == "finished" and trial.bits_per_byte is not None:
            best[str(value)] = min(trial.bits_per_byte, best.get(str(value), math.inf))
    rows = [
        Bar(label=element("code", name), value=bits, shown=f"{bits:.4f}")
        for name, bits in sorted(best.items(), key=lambda item: item[1])
    ]
    caption = element("figcaption", element("b", axis.key), element("span", "best of each choice"))
    return element("figure", caption, bars(rows), class_="chart")


def _axes(collected: Collected) -> list[Axis]:
    """Return the parameters that any trial has, the most important first."""
    order = list(collected.importances)
    found = [
        Axis(key=p.key, label=p.key.partition(".")[2], log=p.log)
        for p in collected.plan.space.parameters
        if any(p.key in trial.values for trial in collected.result.trials)
    ]
    return sorted(found, key=lambda a: order.index(a.key) if a.key in order else len(order))


def _parallel(collected: Collected, trials: Sequence[TrialRecord]) -> list[Child]:
    colours = {"finished": 0, "pruned": 1}
    axes = [*_axes(collected), Axis(key="bits", label="bits per byte")]
    paths = [
        Path(
            values={**trial.values, "bits": trial.bits_per_byte},
            title=f"{trial.name}: {trial.bits_per_byte:.4f} bits per byte",
            colour=colours.get(trial.outcome, 2),
            is_first=trial.name == collected.result.recommended,
        )
        for trial in trials
        if trial.bits_per_byte is not None
    ]
    note = (
        "Blue: finished; orange: pruned; thick: recommended. A line that leaves below an axis has "
        "no such parameter. The table of trials has the same values."
    )
    return [element("p", note, class_="note"), parallel_coordinates(axes, paths)]


def _curves(collected: Collected, trials: Sequence[TrialRecord]) -> list[Child]:
    with_curve = [trial for trial in trials if trial.curve]
    shown = sorted(with_curve, key=lambda t: t.bits_per_byte or math.inf)[:MAX_CURVES]
    colours = {"finished": 0, "pruned": 1}
    series = [
        Series(
            label=trial.name,
            points=[(float(k), bits) for k, bits in trial.curve.items()],
            style="faint" if trial.name != collected.result.recommended else "line",
            colour=colours.get(trial.outcome, 2),
        )
        for trial in shown
    ]
    chart = line_chart(
        series, x_label="ninths of the budget", y_label="bits per byte", legend=False
    )
    parts: list[Child] = [_row_of(chart)]
    if len(shown) < len(with_curve):
        text = f"The {len(shown)} best of {len(with_curve)} trials are drawn."
        parts.append(element("p", text, class_="note"))
    if collected.rank_correlation is not None:
        parts.append(
            element(
                "p",
                f"Between the order after a third of the budget and the order at the end the rank "
                f"correlation of the finished trials is {collected.rank_correlation:.2f} "
                "(Spearman): 1 means that pruning there loses nothing.",
            )
        )
    return parts


def _trial_table(collected: Collected) -> list[Child]:
    keys = [axis.key for axis in _axes(collected)]
    head = ["trial", "ended", "bits per byte", "tokens", "layers × width", "time", *keys]
    rows = [
        [
            trial.name,
            trial.outcome or "not run",
            "" if trial.bits_per_byte is None else f"{trial.bits_per_byte:.4f}",
            f"{trial.n_tokens:,}",
            trial.shape,
            duration(trial.seconds),
            *[_shown(trial.values.get(key)) for key in keys],
        ]
        for trial in collected.result.trials
    ]
    lost = [
        element("li", element("code", trial.name), f" {trial.outcome}: {trial.reason}")
        for trial in collected.result.trials
        if trial.reason
    ]
    restarted = sum(trial.n_attempts > 1 for trial in collected.result.trials)
    parts: list[Child] = [table(head, rows, text_columns=(0, 1))]
    if lost:
        parts += [element("h3", "Without a loss, and why"), element("ul", lost)]
    if restarted:
        text = f"{restarted} trials were continued after their worker was stopped or killed."
        parts.append(element("p", text, class_="note"))
    return parts


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return compact(value) if isinstance(value, float) else str(value)


def _how(collected: Collected) -> list[Child]:
    plan = collected.plan
    rows = {
        "Budget of a trial": str(plan.budget),
        "Sampler": f"{plan.sampler}, seed {plan.seed}",
        "Pruner": plan.pruner,
        "Repeated": f"the {plan.top} best and the configuration itself, {plan.n_seeds} seeds each",
        "Runs": f"{collected.folder}/trials: each is a run of lslm train",
        "Database": (plan.public_url and f"{plan.public_url}, study {plan.name_in_database}")
        or f"sqlite:///{collected.folder}/study.db (optuna-dashboard shows it)",
    }
    parts: list[Child] = [fact_list(rows)]
    if plan.budget.unit == "minutes":
        warning = (
            "Trials had equal time. On a machine that does other work meanwhile they are not "
            "comparable, nor with those of another machine: give the budget in tokens."
        )
        parts.append(element("p", element("b", warning)))
    return [*parts, details(f"space {plan.space.name}", element("pre", plan.space.text))]
