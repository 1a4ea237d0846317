"""What a study varies: parameters with ranges, choices and conditions, from TOML.

::

    [optim.lr]                         # any key of a configuration
    low = 0.002
    high = 0.2
    log = true                         # steps of equal ratio; without it, of equal size

    [schedule.decay_fraction]
    low = 0.1
    high = 1.0
    when = { "schedule.name" = "wsd" } # only in trials where it counts

    [train.batch_size]
    choices = [4, 8, 16, 32]

    [model.layers]
    low = 1
    high = 6

    [model.width]
    hold = "flops"                     # the width at which a token costs what it costs in CONFIG;
                                       # or "parameters"

``tokenizer.vocab_size``, with choices, is the one key that no configuration has: a study learns
each vocabulary from its dataset (:mod:`lslm.tuning.vocabulary`).
"""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args, get_type_hints

from lslm.config import SECTIONS, Config, Setting, config_keys, get_value, given_keys, replace
from lslm.exceptions import FormatError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import optuna

__all__ = ["VOCABULARY", "Parameter", "Space", "Value", "load_space", "space_names"]

VOCABULARY = "tokenizer.vocab_size"
"""The key of the number of tokens to learn."""
SPACES = Path(__file__).with_name("spaces")
"""The folder of the spaces that the package has."""
_RUN_KEYS = frozenset(
    {
        "train.out",
        "train.steps",
        "train.minutes",
        "train.stop_after",
        "train.seed",
        "model.vocab_size",
    }
)
"""Keys that the study sets for each trial, or that follow from its data."""

Value: TypeAlias = str | float | bool
"""A value of a parameter; int is a float here."""
Hold: TypeAlias = Literal["flops", "parameters"]


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter: a range, or choices, or a value that follows from the others (``hold``)."""

    key: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    """Draw from steps of equal ratio."""
    step: float | None = None
    """Distance of the values of a range."""
    choices: tuple[Value, ...] = ()
    hold: Hold | None = None
    """Of ``model.width``: what stays as in the configuration of the study."""
    when: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    """Keys and the values with which this parameter exists."""

    @property
    def is_whole(self) -> bool:
        """Whether the values are whole numbers."""
        section, name = self.key.split(".")
        return self.key == VOCABULARY or get_type_hints(SECTIONS[section])[name] is int

    def contains(self, value: Value) -> bool:
        """Return whether ``value`` can be drawn."""
        if self.choices:
            return value in self.choices
        if self.low is None or self.high is None or isinstance(value, str):
            return False
        return self.low <= value <= self.high

    def suggest(self, trial: optuna.Trial) -> Value:
        """Return the value of this parameter in ``trial``."""
        if self.choices:
            return trial.suggest_categorical(self.key, self.choices)  # type: ignore[return-value]
        assert self.low is not None
        assert self.high is not None
        if self.is_whole:
            low, high, step = int(self.low), int(self.high), int(self.step or 1)
            return trial.suggest_int(self.key, low, high, log=self.log, step=step)
        return trial.suggest_float(self.key, self.low, self.high, log=self.log, step=self.step)


@dataclass(frozen=True, kw_only=True)
class Space:
    """The parameters of a study, those that others depend on first."""

    name: str
    parameters: tuple[Parameter, ...]
    text: str
    """The TOML that it is from."""

    def __contains__(self, key: str) -> bool:
        return any(parameter.key == key for parameter in self.parameters)

    @property
    def hold(self) -> Hold | None:
        """What the width follows from, if it does."""
        return next((p.hold for p in self.parameters if p.hold), None)

    def suggest(self, trial: optuna.Trial, config: Config) -> dict[str, Value]:
        """Return the values of ``trial`` by key; conditions refer to them, or to ``config``."""
        values: dict[str, Value] = {}
        for parameter in self.parameters:
            if parameter.hold is None and _exists(parameter, values, config):
                values[parameter.key] = parameter.suggest(trial)
        return values

    def values_of(self, config: Config, vocab_size: int) -> dict[str, Value]:
        """Return the values of ``config`` that the space can draw, by key."""
        values: dict[str, Value] = {}
        for parameter in self.parameters:
            if parameter.hold is None and _exists(parameter, values, config):
                value = _value(config, parameter.key, vocab_size)
                if parameter.contains(value):
                    values[parameter.key] = value
        return values


def load_space(path: str | Path | None = None) -> Space:
    """Return the space in a TOML file, or the one of this name in the package.

    Names are those of :func:`space_names`; None is ``default``. Raises ``ValueError`` for a key
    that is not one of a configuration and for a range without two ends, ``FormatError`` for a file
    that is not TOML.
    """
    path = Path("default" if path is None else path)
    if not path.is_file():
        shipped = {file.stem: file for file in sorted(SPACES.glob("*.toml"))}
        if str(path) not in shipped:
            names = ", ".join(shipped)
            raise FileNotFoundError(2, f"no such space; the package has {names}", str(path))
        path = shipped[str(path)]
    try:
        return parse_space(path.read_text(encoding="utf-8"), path.stem)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: not a TOML file: {error}", str(path)) from None


def space_names() -> list[str]:
    """Return the names of the spaces in the package."""
    return [file.stem for file in sorted(SPACES.glob("*.toml"))]


def parse_space(text: str, name: str) -> Space:
    """Return the space that ``text``, TOML, describes."""
    parameters: dict[str, Parameter] = {}
    for section, table in tomllib.loads(text).items():
        if not isinstance(table, dict):
            raise ValueError(f"{name}: {section} = {table!r} is not a table: write [section.key]")  # noqa: TRY004
        for key, entries in table.items():
            parameter = _parameter(f"{section}.{key}", entries, name)
            for other in parameter.when:
                if other not in parameters and other not in config_keys():
                    raise ValueError(f"{name}: [{parameter.key}] when {other}: no such key")
            parameters[parameter.key] = parameter
    if not parameters:
        raise ValueError(f"{name} has no parameter: write [optim.lr] with low and high")
    order = {key: k for k, key in enumerate(parameters)}
    for parameter in parameters.values():
        for other in parameter.when:
            if order.get(other, -1) > order[parameter.key]:
                raise ValueError(f"{name}: [{other}] must stand before [{parameter.key}]")
    return Space(name=name, parameters=tuple(parameters.values()), text=text)


def _parameter(key: str, entries: Any, where: str) -> Parameter:
    """Return the parameter of one table."""
    if not isinstance(entries, dict):
        raise ValueError(  # noqa: TRY004
            f"{where}: {key} = {entries!r} is not a table: give low and high, or choices"
        )
    known = {item.name for item in dataclasses.fields(Parameter)} - {"key"}
    for name in entries:
        if name not in known:
            raise ValueError(f"{where}: [{key}] {name}: not one of {', '.join(sorted(known))}")
    if key not in {*config_keys(), VOCABULARY} or key in _RUN_KEYS:
        raise ValueError(f"{where}: {key} cannot be tuned: use a key of a configuration")
    when = {
        other: tuple(value if isinstance(value, list) else [value])
        for other, value in entries.get("when", {}).items()
    }
    found = Parameter(
        key=key,
        **entries | {"choices": tuple(entries.get("choices", ())), "when": when},
    )
    _check(found, where)
    return found


def _check(parameter: Parameter, where: str) -> None:
    """Raise ``ValueError`` unless ``parameter`` is exactly one of range, choices and hold."""
    key = f"{where}: [{parameter.key}]"
    is_range = parameter.low is not None or parameter.high is not None
    if is_range + bool(parameter.choices) + (parameter.hold is not None) != 1:
        raise ValueError(f"{key} must have low and high, or choices, or hold: exactly one of them")
    if parameter.hold is not None:
        if parameter.key != "model.width" or parameter.hold not in get_args(Hold):
            raise ValueError(f'{key} hold: only model.width can hold "flops" or "parameters"')
        return
    if parameter.key == VOCABULARY and not parameter.choices:
        raise ValueError(f"{key} must have choices: each is a vocabulary to learn")
    if not is_range:
        return
    low, high = parameter.low, parameter.high
    if low is None or high is None or not low <= high:
        raise ValueError(f"{key} low = {low}, high = {high}: give both, low first")
    if parameter.log and (low <= 0 or parameter.step is not None):
        raise ValueError(f"{key} log needs low > 0 and no step")


def _exists(parameter: Parameter, values: Mapping[str, Value], config: Config) -> bool:
    """Return whether the conditions of ``parameter`` hold."""
    return all(
        (values[key] if key in values else get_value(config, key)) in allowed
        for key, allowed in parameter.when.items()
    )


def _value(config: Config, key: str, vocab_size: int) -> Value:
    return vocab_size if key == VOCABULARY else get_value(config, key)


def apply(config: Config, values: Mapping[str, Value]) -> Config:
    """Return ``config`` with ``values`` of a trial; the vocabulary is not among them."""
    settings: dict[str, Setting] = {
        key.replace(".", "__"): value for key, value in values.items() if key != VOCABULARY
    }
    return replace(config, **settings)


def changes(config: Config, base: Config, keys: Sequence[str]) -> dict[str, Any]:
    """Return the values of ``keys`` in which ``config`` differs from ``base``."""
    return {
        key: get_value(config, key)
        for key in keys
        if key != VOCABULARY and get_value(config, key) != get_value(base, key)
    }


def short_toml(config: Config) -> str:
    """Return the TOML of the keys that were given, without the run's folder."""
    from lslm.config import to_toml

    given = given_keys(config) - {"train.out", "train.stop_after"}
    section, header = "", ""
    kept: list[str] = []
    for line in to_toml(config).splitlines():
        if line.startswith("["):
            section, header = line.strip("[]"), line
        elif line and f"{section}.{line.partition(' =')[0]}" in given:
            if header:
                kept += ["", header] if kept else [header]
                header = ""
            kept.append(line)
    return "\n".join(kept) + "\n"
