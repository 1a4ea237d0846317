"""What a study does: its configuration, space and budget, and the trials that follow from them."""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from lslm.config import Config, load_config, replace, to_toml, with_absolute_paths
from lslm.exceptions import FormatError, MismatchError
from lslm.files import write_atomically
from lslm.limits import MAX_COUNT, whole_number
from lslm.tuning.budget import Budget
from lslm.tuning.slot import Slot, slot_of
from lslm.tuning.space import VOCABULARY, Space, apply, parse_space

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import optuna

    from lslm.tuning.space import Value

__all__ = [
    "DEFAULT",
    "RUNGS",
    "STUDY_NAME",
    "Plan",
    "PrunerName",
    "SamplerName",
    "without_password",
]

SamplerName: TypeAlias = Literal["tpe", "random"]
PrunerName: TypeAlias = Literal["asha", "median", "none"]

DEFAULT = "default"
"""The slot of the study's own configuration."""
RUNGS = 9
"""Validations of a trial; the pruner looks after a third of them. Earlier, at a rate that has not
begun to fall, the order of the losses says little about the end (docs/design.md)."""
REDUCTION = 3
"""ASHA lets one of so many trials pass."""
MIN_MEDIAN_TRIALS = 5
"""Trials that reach the end before the median prunes."""
STUDY_NAME = "lslm"
"""Optuna's name of a study in a database of its own."""
_SECRETS = frozenset({"password", "passwd", "sslpassword"})
"""Parameters in the query of a URL that are passwords: those of libpq, and of MySQL's drivers."""
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that decides a study, as ``study.json`` has it."""

    config: Config
    space: Space
    budget: Budget
    vocab_size: int
    """Of the tokenizer of the data."""
    n_trials: int
    """Configurations to try, the study's own among them."""
    sampler: SamplerName = "tpe"
    pruner: PrunerName = "asha"
    top: int = 3
    """Best configurations to repeat; 0: no repetition."""
    n_seeds: int = 4
    """Repetitions of each, and of the study's own configuration."""
    seed: int = 0
    """Of the sampler; runs have ``train.seed``."""
    url: str = field(default="", compare=False, repr=False)
    """Of the database; empty: SQLite in the folder. study.json has it without its password."""
    name_in_database: str = field(default=STUDY_NAME, compare=False)
    """Optuna's name of the study: a server may hold several."""

    def __post_init__(self) -> None:
        for name, low in (("n_trials", 1), ("top", 0), ("n_seeds", 1), ("seed", 0)):
            whole_number(name, getattr(self, name), low, MAX_COUNT)
        for name, kind in (("sampler", SamplerName), ("pruner", PrunerName)):
            if getattr(self, name) not in get_args(kind):
                known = ", ".join(get_args(kind))
                raise ValueError(f"{name} = {getattr(self, name)!r}: use one of {known}")
        _ = self.public_url  # raises unless it is the URL of a database

    def save(self, folder: Path) -> None:
        """Write study.json."""
        plan = {
            "version": VERSION,
            **{item.name: getattr(self, item.name) for item in dataclasses.fields(self)},
            "config": to_toml(with_absolute_paths(self.config)),
            "given": sorted(self.config.given),
            "space": {"name": self.space.name, "toml": self.space.text},
            "budget": vars(self.budget),
            "url": self.public_url,
        }
        write_atomically(folder / "study.json", json.dumps(plan, indent=1) + "\n")

    @property
    def public_url(self) -> str:
        """The URL of the database without its password; empty: SQLite in the folder."""
        return without_password(self.url) if self.url else ""

    @classmethod
    def load(cls, folder: Path) -> Plan:
        """Return the plan of the study in ``folder``."""
        path = folder / "study.json"
        try:
            plan: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            version, given, space = plan.pop("version"), plan.pop("given"), plan.pop("space")
            config = load_config(None, _overrides(plan.pop("config")))
            return cls(
                config=dataclasses.replace(config, given=frozenset(given)),
                space=parse_space(space["toml"], space["name"]),
                budget=Budget(**plan.pop("budget")),
                **plan,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{path}: not a study of this lslm: {error}", str(path)) from None
        finally:
            del version  # one so far

    def slots(self) -> list[Slot]:
        """Return the configurations to try: the study's own, then those that the sampler draws."""
        seed = self.config.train.seed
        own = self.space.values_of(self.config, self.vocab_size)
        return [Slot(name=DEFAULT, seed=seed, values=own, is_fixed=True)] + [
            Slot(name=f"{k:04d}", seed=seed) for k in range(1, self.n_trials)
        ]

    def repetitions(self, results: Mapping[str, optuna.trial.FrozenTrial]) -> list[Slot]:
        """Return the runs of the best configurations, and the study's own, with fresh seeds."""
        if not self.top:
            return []
        first = [
            (trial.value, name)
            for name, trial in results.items()
            if trial.value is not None and not slot_of(trial).repeats
        ]
        chosen = {name for _, name in sorted(first)[: self.top]}
        chosen |= {name for _, name in first if name == DEFAULT}
        seed = self.config.train.seed
        return [
            Slot(
                name=f"{name}-seed-{seed + k}",
                seed=seed + k,
                values=results[name].params,
                is_fixed=True,
                repeats=name,
            )
            for name in sorted(chosen)
            for k in range(1, self.n_seeds + 1)
        ]

    def configure(self, values: Mapping[str, Value], *, folder: Path, slot: Slot) -> Config:
        """Return the configuration of one trial; a missing vocabulary is learned first."""
        from lslm.tuning.shape import with_held_width
        from lslm.tuning.vocabulary import with_vocabulary

        config, vocab_size = apply(self.config, values), self.vocab_size
        if VOCABULARY in self.space:
            vocab_size = int(values.get(VOCABULARY, vocab_size))
            data = with_vocabulary(
                self.config.data,
                vocab_size,
                folder / "data" / f"vocab-{vocab_size}",
                n_validation_tokens=self.config.train.validation_tokens,
            )
            config = replace(config, data=data, data__validation="", validation_tokens=0)
        if self.space.hold is not None:
            config = with_held_width(
                config,
                self.config,
                self.space.hold,
                vocab_size=vocab_size,
                base_vocab_size=self.vocab_size,
            )
        config = self.budget.apply(config, vocab_size)
        settings: dict[str, Any] = {"out": folder / "trials" / slot.name, "seed": slot.seed}
        if config.train.steps:
            ninth = math.ceil(config.train.steps / RUNGS)
            settings |= {"validate_every": ninth, "checkpoint_every": 3 * ninth}
        return replace(config, keep_last=1, keep_best=False, stop_after=0, **settings)

    def build_sampler(self, slot: Slot) -> optuna.samplers.BaseSampler:
        """Return the sampler of ``slot``; its draws depend on the seed and the slot's name."""
        import optuna

        seed = self.seed * 1_000_003 + (int(slot.name) if slot.name.isdecimal() else 0)
        if self.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.TPESampler(
                seed=seed,
                multivariate=True,
                group=True,
                constant_liar=True,
                n_startup_trials=max(5, self.n_trials // 4),
            )

    def build_pruner(self) -> optuna.pruners.BasePruner:
        """Return the pruner."""
        import optuna

        first = RUNGS // REDUCTION
        if self.pruner == "asha":
            return optuna.pruners.SuccessiveHalvingPruner(
                min_resource=first, reduction_factor=REDUCTION
            )
        if self.pruner == "median":
            return optuna.pruners.MedianPruner(
                n_startup_trials=MIN_MEDIAN_TRIALS, n_warmup_steps=first - 1
            )
        return optuna.pruners.NopPruner()

    def check_resumable(self, other: Plan, folder: Path) -> None:
        """Raise ``MismatchError`` unless ``other`` differs in nothing but the number of trials."""
        for item in dataclasses.fields(self):
            mine, theirs = getattr(self, item.name), getattr(other, item.name)
            if item.compare and item.name != "n_trials" and mine != theirs:
                raise MismatchError(
                    f"{folder} was started with another {item.name}: leave it out, or start "
                    f"another study"
                )


def without_password(url: str) -> str:
    """Return the URL of a database as files and pages may have it."""
    from sqlalchemy.engine import URL, make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ValueError(
            "storage is not the URL of a database: give e.g. postgresql+psycopg://user@host/name"
        ) from None
    query = {key: value for key, value in parsed.query.items() if key not in _SECRETS}
    public = URL.create(
        parsed.drivername,
        username=parsed.username,
        host=parsed.host,
        port=parsed.port,
        database=parsed.database,
        query=query,
    )
    return public.render_as_string(hide_password=False)


def _overrides(text: str) -> list[str]:
    """Return TOML text of a whole configuration as ``key=value``."""
    return [
        f"{section}.{key}={','.join(map(str, value)) if isinstance(value, list) else _text(value)}"
        for section, table in tomllib.loads(text).items()
        for key, value in table.items()
    ]


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
