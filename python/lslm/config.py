"""The configuration of a run: frozen dataclasses, from TOML and ``key=value``, and back."""

from __future__ import annotations

import dataclasses
import difflib
import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from lslm.exceptions import FormatError
from lslm.model import ModelConfig
from lslm.optim import OptimConfig, ScheduleConfig

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Config", "DataConfig", "TrainConfig", "keys", "load", "replace", "to_toml"]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The tokens to learn from."""

    path: str = ""
    """A folder made by ``lslm tokenize``, holding ``train`` and ``validation``, or one dataset."""
    validation: str = ""
    """Another dataset to validate on; empty: ``validation`` beside ``train`` if there is one."""

    def train_path(self) -> Path:
        """The dataset to train on: ``train`` in ``path``, or ``path`` itself."""
        inner = Path(self.path) / "train"
        return inner if (inner / "manifest.json").is_file() else Path(self.path)

    def validation_path(self) -> Path | None:
        """The dataset to validate on, or None."""
        if self.validation:
            return Path(self.validation)
        inner = Path(self.path) / "validation"
        return inner if (inner / "manifest.json").is_file() else None


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The run; what 0 or auto stand for is written out in the run's own config.toml."""

    out: str = ""
    """The run's folder."""
    steps: int = 0
    """Updates; 0: as many as fit into ``minutes``, measured before the first one."""
    minutes: float = 0.0
    """Time for training with its validations and checkpoints, where ``steps`` is 0."""
    stop_after: int = 0
    """Save and stop after this step, with the schedule still that of ``steps``; 0: do not."""
    batch_size: int = 16
    """Sequences in one update, over all processes and micro-batches."""
    micro_batch_size: int = 0
    """Sequences of one process in one forward pass; 0: all of its share."""
    clip: float = 0.0
    """Largest norm of all gradients together; 0: no limit."""
    seed: int = 0
    """Of the first weights, the order of the data and dropout."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps; auto: cuda where there is one, else cpu."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the forward pass; auto: bfloat16 on cuda, else float32. Weights are float32 always."""
    compile: bool = False
    """Compile layers and loss: after seconds twice as fast on a GPU; a CPU needs a C++ compiler."""
    threads: int = 0
    """Of torch on a CPU; 0: torch's own choice."""
    log_every: int = 1
    """Steps between two rows of metrics.jsonl."""
    validate_every: int = 0
    """Steps between two validations; 0: a tenth of the run."""
    validation_tokens: int = 65_536
    """Length of the part of the validation set that is used while training; 0: all of it."""
    checkpoint_every: int = 0
    """Steps between two checkpoints; 0: a tenth of the run."""
    keep_last: int = 2
    """Number of newest checkpoints to keep."""
    keep_best: bool = True
    """Keep the checkpoint with the lowest validation loss as well."""
    keep_every: int = 0
    """Keep every checkpoint whose step is a multiple of this as well; 0: none."""

    def __post_init__(self) -> None:
        least = dict.fromkeys(("batch_size", "log_every", "keep_last"), 1)
        for name, value in vars(self).items():
            if isinstance(value, int | float) and not value >= least.get(name, 0):
                raise ValueError(f"train.{name} = {value}: must be at least {least.get(name, 0)}")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides a run."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


SECTIONS: dict[str, type[Any]] = {
    "data": DataConfig,
    "model": ModelConfig,
    "optim": OptimConfig,
    "schedule": ScheduleConfig,
    "train": TrainConfig,
}
_SHORT = {"data": "data.path", "optim": "optim.name", "schedule": "schedule.name"}


def load(path: str | Path | None = None, overrides: Iterable[str] = ()) -> Config:
    """Return the configuration of a TOML file with ``key=value`` overrides on top.

    A key is ``section.name``; ``name`` alone will do where one section has it, ``data``, ``optim``
    and ``schedule`` stand for ``data.path``, ``optim.name`` and ``schedule.name``. An unknown key
    or a value of the wrong type is a ``ValueError`` that names the nearest key.
    """
    values: dict[str, Any] = {}
    if path is not None:
        text = Path(path).read_bytes()
        try:
            table = tomllib.loads(text.decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise FormatError(f"{path}: not a TOML file: {error}", str(path)) from None
        for key, value in table.items():
            if isinstance(value, dict) and key in SECTIONS:
                values |= {f"{key}.{name}": inner for name, inner in value.items()}
            else:
                values[key] = value
    config = _build(Config(), values, f" (in {path})")
    pairs: dict[str, Any] = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise ValueError(f"{override!r}: give key=value, such as steps=100")
        pairs[key.strip()] = value.strip()
    return _build(config, pairs, "")


def replace(config: Config, **values: Any) -> Config:
    """Return ``config`` with some values changed; ``a.b`` is written ``a__b``, or short ``b``."""
    return _build(config, {key.replace("__", "."): value for key, value in values.items()}, "")


def keys() -> list[str]:
    """Return every full key, ``section.name``."""
    return [f"{s}.{item.name}" for s, kind in SECTIONS.items() for item in dataclasses.fields(kind)]


def to_toml(config: Config) -> str:
    """Return the TOML text that :func:`load` reads back as ``config``."""
    lines = []
    for section in SECTIONS:
        lines.append(f"[{section}]")
        lines += [
            f"{key} = {_toml(value)}" for key, value in vars(getattr(config, section)).items()
        ]
        lines.append("")
    return "\n".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _build(config: Config, values: Mapping[str, Any], where: str) -> Config:
    """``config`` with ``values`` by key, each checked against its field."""
    changes: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        section, name = _resolve(key, where, table=isinstance(value, dict)).split(".")
        kind = get_type_hints(SECTIONS[section])[name]
        changes.setdefault(section, {})[name] = _convert(value, kind, f"{section}.{name}", where)
    parts = {
        section: dataclasses.replace(getattr(config, section), **fields)
        for section, fields in changes.items()
    }
    return dataclasses.replace(config, **parts)


def _resolve(key: str, where: str, *, table: bool = False) -> str:
    """The full key that ``key`` means; ``table`` if a section's values stand there."""
    every = keys()
    full = [name for name in every if name.split(".")[1] == key]
    if key in every or key in _SHORT:
        return _SHORT.get(key, key)
    if len(full) == 1:
        return full[0]
    if full:
        raise ValueError(f"the key {key!r} is not clear{where}: write {' or '.join(full)}")
    sections = difflib.get_close_matches(key, SECTIONS, 1, 0.6)
    if table and sections and "." not in key:
        raise ValueError(f"unknown section [{key}]{where}: did you mean [{sections[0]}]?")
    leaf = key.rpartition(".")[2]
    near = [name for name in every if name.split(".")[1] == leaf]  # right name, wrong section
    near = near or difflib.get_close_matches(key, every, 1, 0.6)
    if not near:
        names = difflib.get_close_matches(leaf, [name.split(".")[1] for name in every], 1, 0.5)
        near = [name for name in every if names and name.split(".")[1] == names[0]]
    hint = f"did you mean {near[0]}?" if near else f"the sections are {', '.join(SECTIONS)}"
    raise ValueError(f"unknown key {key!r}{where}: {hint}")


def _convert(value: Any, kind: Any, key: str, where: str) -> Any:
    """``value``, from TOML or as text from the command line, as ``kind``."""
    need = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}.get(kind)
    text = value if isinstance(value, str) else None
    try:
        if get_origin(kind) is Literal:
            need = f"one of {', '.join(get_args(kind))}"
            if value in get_args(kind):
                return value
        elif get_origin(kind) is tuple:
            need = "a pair of numbers, such as 0.9,0.95"
            parts = text.strip("[]()").split(",") if text is not None else value
            if isinstance(parts, list | tuple) and len(parts) == 2:
                return tuple(_convert(part, float, key, where) for part in parts)
        elif kind is bool:
            if isinstance(value, bool) or text in {"true", "false"}:
                return value is True or text == "true"
        elif kind is str:
            if text is not None or isinstance(value, Path):
                return str(value)
        elif text is not None or (isinstance(value, int | float) and not isinstance(value, bool)):
            number = float(value)
            if kind is float:
                return number
            return int(value) if text is None and number == value else _whole(str(value))
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"{key} = {value!r}{where}: {need} is needed")


def _whole(text: str) -> int:
    """``text`` such as 65536, 65_536 or 1e6 as an integer."""
    try:
        return int(text)
    except ValueError:
        number = float(text)
        if number != int(number):
            raise ValueError(text) from None
        return int(number)
