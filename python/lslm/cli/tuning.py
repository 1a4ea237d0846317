"""The verbs over many runs: tune, scaling."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

import lslm
from lslm.cli import show
from lslm.cli.options import AsJson, between, expand_options, refuse_options, require_torch
from lslm.limits import FAMILY_SIZES, MAX_MINUTES, MAX_WORKERS

__all__ = ["verbs"]

verbs = typer.Typer()

STUDY_OPTIONS = (
    *("space", "trials", "budget", "sampler", "pruner", "top", "seeds", "seed", "workers"),
    *("max_hours", "storage", "resume"),
)
"""What says how a study is made."""


@verbs.command(
    epilog="Example: lslm tune tiny data=data/web -o studies/web --budget 1M --trials 30"
)
@expand_options
def tune(
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CONFIG|KEY=VALUE",
            help="What to start from, as for train: it is the first trial.",
        ),
    ] = None,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the study.")],
    space: Annotated[
        str | None,
        typer.Option(help="What to vary: a TOML file, or default or rates, which the package has."),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(callback=between(1), help="Configurations to try; 20 by default.")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help="What each trial trains for: 2M (tokens), 1e15FLOPs, or 5min, which is not "
            "comparable on a machine that does other work. As long as CONFIG by default."
        ),
    ] = None,
    sampler: Annotated[
        Literal["tpe", "random"], typer.Option(help="How values are drawn.")
    ] = "tpe",
    pruner: Annotated[
        Literal["asha", "median", "none"],
        typer.Option(help="Which trials end after a third of their budget."),
    ] = "asha",
    top: Annotated[
        int, typer.Option(callback=between(0), help="Best trials to repeat with other seeds.")
    ] = 3,
    seeds: Annotated[
        int, typer.Option(callback=between(1), help="Repetitions of each of them, and of CONFIG.")
    ] = 4,
    seed: Annotated[int, typer.Option(callback=between(0), help="Seed of the sampler.")] = 0,
    workers: Annotated[
        int, typer.Option(callback=between(1, MAX_WORKERS), help="Processes that share the trials.")
    ] = 1,
    max_hours: Annotated[
        float | None,
        typer.Option(
            callback=between(0, MAX_MINUTES / 60),
            help="Begin no trial after so many hours of this call.",
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(help="URL of a database server, for several machines; SQLite by default."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue, or join, the study in the folder.")
    ] = False,
    range_test: Annotated[
        bool,
        typer.Option(
            "--range-test", help="Only find learning rates that work: one run of rising rate."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Try configurations, and say which one to train with."""
    require_torch()
    from lslm.config import load_config

    first = Path(settings[0]) if settings else Path("=")
    path = first if settings and ("=" not in settings[0] or first.is_file()) else None
    config = load_config(path, (settings or [])[path is not None :])
    if range_test:
        refuse_options("with --range-test", *STUDY_OPTIONS)
        from lslm.tuning.rates import range_test as find_range

        found = find_range(config, output=output)
        if as_json:
            show.print_json(found.as_dict())
        else:
            show.print_facts(f"{output}: learning rates", found.summary())
        return
    _require("optuna", "tune")
    result = lslm.tune(
        config,
        output=output,
        space=space,
        n_trials=trials,
        budget=budget,
        sampler=sampler,
        pruner=pruner,
        top=top,
        n_seeds=seeds,
        seed=seed,
        n_workers=workers,
        max_hours=max_hours,
        storage=storage,
        resume=resume,
    )
    if as_json:
        show.print_json(result.as_dict())
        return
    show.print_facts(str(output), result.summary() | {"report": str(output / "report.html")})


@verbs.command(
    epilog="Example: lslm scaling tiny data=data/web -o scaling/web --sizes 4 --tokens 1M"
)
@expand_options
def scaling(
    settings: Annotated[
        list[str],
        typer.Argument(
            metavar="CONFIG|KEY=VALUE|RUN", help="As for train; or at least 9 runs, to fit only."
        ),
    ],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")],
    sizes: Annotated[
        int, typer.Option(callback=between(*FAMILY_SIZES), help="Model sizes of the family.")
    ] = 4,
    tokens: Annotated[
        str,
        typer.Option(help="Tokens of the shortest runs; the others have 2 and 4 times as many."),
    ] = "500k",
    seed: Annotated[int, typer.Option(callback=between(0), help="Seed of the bootstrap.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Fit loss against parameters and tokens of small runs, and predict a larger one."""
    require_torch()
    from lslm.config import load_config
    from lslm.tuning.budget import parse_budget

    runs = [Path(name) for name in settings if (Path(name) / "config.toml").is_file()]
    if runs and len(runs) < len(settings):
        raise ValueError("give runs, or one configuration and settings, not both")
    if runs:
        refuse_options("on runs that are there", "sizes", "tokens")
        result = lslm.scaling(runs=runs, output=output, seed=seed)
    else:
        first = Path(settings[0])
        path = first if "=" not in settings[0] or first.is_file() else None
        config = load_config(path, settings if path is None else settings[1:])
        amount = parse_budget(tokens)
        if amount.unit != "tokens":
            raise ValueError(f"--tokens {tokens}: give a number of tokens, such as 500k")
        result = lslm.scaling(
            config, output=output, n_sizes=sizes, n_tokens=int(amount.amount), seed=seed
        )
    if as_json:
        show.print_json(result.as_dict())
        return
    show.print_facts(str(output), result.summary() | {"report": str(output / "report.html")})


def _require(package: str, extra: str) -> None:
    """Raise ``ImportError`` with the command that installs ``extra``."""
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise ImportError(f"this needs {package}: pip install 'lslm[{extra}]'")
