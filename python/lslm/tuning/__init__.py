"""Which parameters to turn: studies over configurations, with Optuna.

``space`` says what varies, ``plan`` what a study does, ``storage`` who runs which trial, ``trial``
what one trial is, ``noise`` whether a difference is one; ``family`` fits loss against size and
tokens, and ``rates`` finds learning rates that work at all.
"""

from __future__ import annotations

import dataclasses
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from lslm.config import Config, load_config, replace
from lslm.exceptions import Interrupted
from lslm.files import write_atomically
from lslm.limits import MAX_MINUTES, MAX_WORKERS, check_number, whole_number
from lslm.progress import reporting
from lslm.tuning.budget import Budget, parse_budget
from lslm.tuning.family import ScalingResult, scaling
from lslm.tuning.plan import STUDY_NAME, Plan, PrunerName, SamplerName
from lslm.tuning.rates import RangeTest, range_test
from lslm.tuning.results import TrialRecord, TuneResult
from lslm.tuning.space import Space, load_space

if TYPE_CHECKING:
    import os

    from lslm.config import Setting
    from lslm.progress import Progress

__all__ = [
    "RangeTest",
    "ScalingResult",
    "TrialRecord",
    "TuneResult",
    "range_test",
    "scaling",
    "tune",
]


def tune(  # noqa: PLR0913  (the options of a study, by keyword)
    config: Config | str | os.PathLike[str] | None = None,
    *,
    output: str | os.PathLike[str],
    data: str | os.PathLike[str] | None = None,
    space: Space | str | os.PathLike[str] | None = None,
    n_trials: int | None = None,
    budget: str | None = None,
    sampler: SamplerName = "tpe",
    pruner: PrunerName = "asha",
    top: int = 3,
    n_seeds: int = 4,
    seed: int = 0,
    n_workers: int = 1,
    max_hours: float | None = None,
    storage: str | None = None,
    resume: bool = False,
    progress: Progress = None,
    **settings: Setting,
) -> TuneResult:
    """Try ``n_trials`` configurations around ``config``, and say which one to train with.

    ::

        lslm.tune("tiny", data="data/web", output="studies/first", n_trials=30, budget="1M")

    Each trial is an ordinary run in ``output/trials`` that may use ``budget``: tokens ("2M"),
    floating-point operations ("1e15FLOPs"), or time ("5min"), which is not comparable on a machine
    that does other work as well; None: the steps or minutes of ``config``. The first trial is
    ``config`` itself. ``space`` is a TOML file, or the name of one in the package
    (:mod:`lslm.tuning.space`). What is compared is bits per byte on the validation set.

    ``pruner`` ends trials that are worse than two thirds of the others after a third of their
    budget. The ``top`` best and ``config`` are then trained with ``n_seeds`` fresh seeds each:
    what is within the noise is a tie, and the simplest configuration within one standard error is
    recommended (:mod:`lslm.tuning.noise`). ``max_hours`` begins no trial after that time.

    ``n_workers`` processes share the work; more may join, also on other machines, by the same call
    with ``resume`` and ``storage``, the URL of a database server. Killed workers lose nothing but
    the steps since their last checkpoint. ``resume`` continues a study; ``n_trials`` may be larger
    then. Running out of memory and divergence are results, not errors.

    Writes ``best.toml`` for :func:`lslm.train`, ``report.html``, ``trials.jsonl``, and Optuna's
    ``study.db``. Needs ``lslm[tune]``.
    """
    whole_number("n_workers", n_workers, 1, MAX_WORKERS)
    if max_hours is not None:
        check_number("max_hours", max_hours, 0, MAX_MINUTES / 60)
    folder = Path(output)
    given = {} if data is None else {"data": data}
    own = config if isinstance(config, Config) else load_config(config)
    own = replace(own, **given, **settings)
    if resume and (folder / "study.json").is_file():
        plan = _resumed(folder, own, space, n_trials=n_trials, budget=budget, url=storage)
    else:
        plan = _new_plan(
            folder,
            own,
            space,
            n_trials=20 if n_trials is None else n_trials,
            budget=budget,
            resume=resume,
            sampler=sampler,
            pruner=pruner,
            top=top,
            n_seeds=n_seeds,
            seed=seed,
            url=storage or "",
            name_in_database=_name_in_database(folder) if storage else STUDY_NAME,
        )
    plan.save(folder)
    deadline = None if max_hours is None else time.monotonic() + 3600 * max_hours
    return _run(folder, plan, n_workers, deadline, progress)


def _run(
    folder: Path, plan: Plan, n_workers: int, deadline: float | None, progress: Progress
) -> TuneResult:
    """Run the study, and write what it found."""
    from lslm.report.study import study_report
    from lslm.tuning.results import collect, write_results
    from lslm.tuning.worker import open_storage, work, work_with_processes

    with reporting(progress) as reporter:
        try:
            if n_workers == 1:
                work(folder, plan, deadline=deadline, reporter=reporter)
            else:
                work_with_processes(folder, plan, n_workers, deadline=deadline, reporter=reporter)
        except KeyboardInterrupt as reason:
            storage = "" if plan.url == plan.public_url else " --storage URL"
            raise Interrupted(
                f"saved in {folder}: resume with `lslm tune --resume -o {folder}{storage}`",
                getattr(reason, "signal_number", 2),
            ) from None
    collected = collect(folder, plan, open_storage(folder, plan))
    write_results(collected)
    write_atomically(folder / "report.html", study_report(collected))
    return collected.result


def _new_plan(
    folder: Path,
    config: Config,
    space: Space | str | os.PathLike[str] | None,
    *,
    budget: str | None,
    resume: bool,
    **choices: object,
) -> Plan:
    """Return the plan of a new study; check what can be checked before work begins."""
    from lslm.training.run import TrainingData

    if (folder / "study.json").is_file():
        raise ValueError(f"{folder} already holds a study: resume it, or choose another output")
    if resume and not folder.is_dir():
        raise FileNotFoundError(2, "no study to resume", str(folder))
    opened = TrainingData.open(config)
    if opened.validation is None:
        raise ValueError("tuning compares losses on a validation set and there is none: give one")
    plan = Plan(
        config=config,
        space=space if isinstance(space, Space) else load_space(_path(space)),
        budget=_budget(config) if budget is None else parse_budget(budget),
        vocab_size=opened.tokenizer.vocab_size,
        **choices,  # type: ignore[arg-type]
    )
    folder.mkdir(parents=True, exist_ok=True)
    return plan


def _resumed(
    folder: Path,
    config: Config,
    space: Space | str | os.PathLike[str] | None,
    *,
    n_trials: int | None,
    budget: str | None,
    url: str | None,
) -> Plan:
    """Return the plan of the study in ``folder``, with more trials if they are given."""
    plan = Plan.load(folder)
    changed: dict[str, object] = {}
    if config.given:
        changed["config"] = replace(
            plan.config, **{key.replace(".", "__"): _value(config, key) for key in config.given}
        )
    if space is not None:
        changed["space"] = space if isinstance(space, Space) else load_space(_path(space))
    if budget is not None:
        changed["budget"] = parse_budget(budget)
    plan.check_resumable(dataclasses.replace(plan, **changed), folder)  # type: ignore[arg-type]
    if n_trials is not None and n_trials < plan.n_trials:
        raise ValueError(f"n_trials = {n_trials}: the study has {plan.n_trials} already")
    return dataclasses.replace(
        plan,
        n_trials=plan.n_trials if n_trials is None else n_trials,
        url=plan.url if url is None else url,
    )


def _name_in_database(folder: Path) -> str:
    """Return a new name for the study in ``folder``, which no other study on a server has."""
    return f"{STUDY_NAME}-{folder.resolve().name}-{uuid.uuid4().hex[:8]}"


def _value(config: Config, key: str) -> Setting:
    from lslm.config import get_value, with_absolute_paths

    value: Setting = get_value(with_absolute_paths(config), key)
    return value


def _path(space: str | os.PathLike[str] | None) -> Path | None:
    return None if space is None else Path(space)


def _budget(config: Config) -> Budget:
    """Return what a run of ``config`` uses."""
    if config.train.steps:
        per_step = config.train.batch_size * config.model.sequence_length
        return Budget(amount=config.train.steps * per_step, unit="tokens")
    if config.train.minutes:  # in tokens: trials of equal time are not comparable
        from lslm.planning import estimate

        tokens = 60 * config.train.minutes * estimate(config).tokens_per_second
        return Budget(amount=float(f"{tokens:.2g}"), unit="tokens")
    raise ValueError("no budget for a trial: give budget=, such as 2M tokens")
