"""The configuration of a run: frozen dataclasses, from TOML and ``key=value``, and back to TOML.

A key is ``section.name``, such as ``train.steps``. The name alone is enough where only one section
has it; ``data``, ``optim`` and ``schedule`` are short for ``data.path``, ``optim.name`` and
``schedule.name``.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from lslm.architecture import ModelConfig
from lslm.exceptions import FormatError
from lslm.limits import MAX_COUNT, MAX_MINUTES, MAX_THREADS
from lslm.mixture import find_part
from lslm.optim_config import OptimConfig, ScheduleConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = [
    "Config",
    "DataConfig",
    "Setting",
    "TrainConfig",
    "config_keys",
    "given_keys",
    "load_config",
    "replace",
    "to_toml",
]

CONFIGS = Path(__file__).with_name("configs")
"""The folder of the configurations that the package has."""

Setting: TypeAlias = str | float | bool | os.PathLike[str] | tuple[float, float]
"""The value of a key, or its text as on the command line."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The tokens to train and validate on."""

    path: str = ""
    """A folder made by ``lslm tokenize``, holding ``train`` and ``validation``, or one dataset."""
    validation: str = ""
    """The dataset to validate on, or several as ``NAME=DATASET,NAME=DATASET``; empty:
    ``validation`` in ``path`` if it is there."""
    packing: Literal["concat", "best_fit", "document"] = "concat"
    """What a row holds. concat: a window over all documents, one after the other; best_fit: whole
    documents, as many as fit; document: one, and padding."""
    mask_borders: bool = False
    """Do not train on the first token of a document after the end of another one in its row."""
    document_mask: bool = False
    """Let a position attend to its own document only; positions begin anew in each."""

    def train_path(self) -> Path:
        """Return the dataset to train on: ``train`` in ``path``, or ``path`` itself."""
        return find_part(self.path, "train") or Path(self.path)

    def validation_paths(self) -> dict[str, Path]:
        """Return the datasets to validate on by name; empty without any."""
        if self.validation:
            return {name: Path(path) for name, path in named_paths(self.validation).items()}
        beside = find_part(self.path, "validation")
        return {} if beside is None else {"validation": beside}


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How to train; the run's own config.toml holds the values that 0 and auto resolved to."""

    out: str = ""
    """The run's folder."""
    init_from: str = ""
    """Run, checkpoint or folder in Hugging Face's layout whose weights and shape training starts
    from; empty: drawn from ``seed``."""
    steps: int = 0
    """Updates of the parameters; 0: as many as fit into ``minutes``."""
    minutes: float = 0.0
    """Time for training with its validations and checkpoints, where ``steps`` is 0.

    The schedule follows the time, and the run ends within 10 % of it, however fast the machine is.
    """
    stop_after: int = 0
    """Save and stop this call after this step, on the schedule of all ``steps``; 0: do not."""
    batch_size: int = 16
    """Sequences per update, over all processes and micro-batches."""
    micro_batch_size: int = 0
    """Sequences per forward pass of one process; 0: all that it has. Halved on a GPU until they fit
    into its memory, before the run begins."""
    max_grad_norm: float = 0.0
    """Norm of all gradients together to which larger ones are scaled down; 0: no limit."""
    seed: int = 0
    """Decides the initial weights, the order of the data, and dropout."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps; auto: cuda if torch has a CUDA device, else cpu."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the forward pass; auto: bfloat16 on cuda, else float32. Weights are always float32."""
    compile: bool = False
    """Compile layers and loss, for a GPU in half a minute; a CPU needs a C++ compiler."""
    threads: int = 0
    """Of torch on a CPU; 0: torch's own choice."""
    autotune: bool = False
    """Choose ``threads`` and ``dtype`` on a CPU, where they are 0 and auto, by up to 5 s of steps;
    once for a machine and shape, see :func:`lslm.training.autotune.autotune`."""
    log_every: int = 1
    """Steps from one row of metrics.jsonl to the next."""
    validate_every: int = 0
    """Steps from one validation to the next; 0: a tenth of the run, as far as the time allows."""
    validation_tokens: int = 65_536
    """Tokens of a sample to score during training, whole documents of every source; 0: all. The
    last validation is over everything."""
    validation_seed: int = 0
    """Decides which documents the sample has."""
    checkpoint_every: int = 0
    """Steps from one checkpoint to the next; 0: a tenth of the run, as far as the time allows."""
    keep_last: int = 2
    """Number of newest checkpoints to keep."""
    keep_best: bool = True
    """Also keep the checkpoint with the lowest validation loss, on the sample."""
    keep_every: int = 0
    """Also keep every checkpoint whose step is a multiple of this; 0: none."""
    loggers: str = ""
    """Installed tools that get each row of metrics.jsonl too: tensorboard, wandb, or both with a
    comma; empty: none."""
    on_bad_step: Literal["stop", "skip", "rewind"] = "stop"
    """When loss or gradient is not finite. stop: end with an error; skip: leave that update out;
    rewind: go back to the last checkpoint and continue after the batch. The last two also act on
    spikes, of which stop only warns. None updates the weights with what is not finite."""

    def __post_init__(self) -> None:
        minimum = dict.fromkeys(("batch_size", "log_every", "keep_last"), 1)
        maximum = {"minutes": MAX_MINUTES, "threads": MAX_THREADS}
        for name, value in vars(self).items():
            low = minimum.get(name, 0)
            if isinstance(value, int | float) and not value >= low:
                raise ValueError(f"train.{name} = {value}: must be at least {low}")
            if name in maximum and value > maximum[name]:
                raise ValueError(f"train.{name} = {value}: must be at most {maximum[name]}")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides a run."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    given: frozenset[str] = field(default=frozenset(), compare=False, repr=False)
    """Full keys that were set by a file, by ``key=value`` or by :func:`replace`; see
    :func:`given_keys`."""


SECTIONS: dict[str, type[Any]] = {
    "data": DataConfig,
    "model": ModelConfig,
    "optim": OptimConfig,
    "schedule": ScheduleConfig,
    "train": TrainConfig,
}
_SHORT = {"data": "data.path", "optim": "optim.name", "schedule": "schedule.name"}
_SIMILARITY = 0.6
"""Lowest ``difflib`` ratio of a name that an error suggests; difflib's own default."""


def load_config(
    path: str | os.PathLike[str] | None = None, overrides: Iterable[str] = ()
) -> Config:
    """Return the configuration in a TOML file, with ``key=value`` overrides on top.

    ``path`` is a file, or the name of one in the package: ``char``, ``tiny``, ``small``,
    ``gpt2-124m``. Without it, the defaults with the overrides. Raises ``ValueError`` for an
    unknown key, with the nearest known one, and for a value of the wrong type; ``FormatError`` for
    a file that is not TOML.
    """
    config = Config() if path is None else _with_values(Config(), _read(path), f" (in {path})")
    pairs: dict[str, str] = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise ValueError(f"{override!r} is not a setting: give key=value, such as steps=100")
        pairs[key.strip()] = value.strip()
    return _with_values(config, pairs)


def replace(config: Config, **settings: Setting) -> Config:
    """Return ``config`` with some values changed; the key ``a.b`` is written ``a__b``.

    Raises ``ValueError`` as :func:`load_config` does.
    """
    return _with_values(config, {key.replace("__", "."): v for key, v in settings.items()})


def given_keys(config: Config) -> set[str]:
    """Return the full keys that were given, also with the value that is the default.

    In a configuration that was made field by field, ``Config(train=TrainConfig(…))``, these are
    the keys that differ from the default.
    """
    default = Config()
    return {key for key in config_keys() if get_value(config, key) != get_value(default, key)} | {
        *config.given
    }


def get_value(config: Config, key: str) -> Any:
    """Return the value of a full key."""
    section, name = key.split(".")
    return getattr(getattr(config, section), name)


def named_paths(text: str) -> dict[str, str]:
    """Return the paths in ``data.validation`` by name; a single path is named validation.

    Raises ``ValueError`` for a name that occurs twice, and for a part without a name.
    """
    if Path(text).exists() or "=" not in text:
        return {"validation": text}
    paths: dict[str, str] = {}
    for part in text.split(","):
        name, equals, path = (word.strip() for word in part.partition("="))
        if not equals or not name or not path:
            raise ValueError(f"data.validation = {text!r}: {part!r} is not NAME=DATASET")
        if name in paths:
            raise ValueError(f"data.validation = {text!r}: the name {name!r} occurs twice")
        paths[name] = path
    return paths


def _with_paths(text: str, change: Callable[[str], str]) -> str:
    """Return ``text``, a path or ``NAME=PATH,…``, with each path changed."""
    paths = named_paths(text)
    if list(paths.values()) == [text]:
        return change(text)
    return ",".join(f"{name}={change(path)}" for name, path in paths.items())


def with_absolute_paths(config: Config) -> Config:
    """Return ``config`` with absolute paths of its data and run, as config.toml has them."""
    return _with_values(config, _changed_paths(config, _absolute, "train.out"))


def _changed_paths(config: Config, change: Callable[[str], str], *others: str) -> dict[str, str]:
    """Return the paths of the datasets and of the keys ``others`` by key, each changed."""
    paths = {key: get_value(config, key) for key in ("data.path", *others)}
    changed = {key: change(path) for key, path in paths.items() if path}
    several = config.data.validation
    return changed | ({"data.validation": _with_paths(several, change)} if several else {})


def locate_data(config: Config, run: Path) -> Config:
    """Return ``config``, of the run in the folder ``run``, with its datasets where they are now.

    A dataset that is not at its path is looked for at the same path relative to the run's folder,
    where it is if both were moved together. A path that is at neither is left.
    """

    def located(path: str) -> str:
        moved = path if Path(path).exists() else str(moved_path(path, config, run))
        return moved if Path(moved).exists() else path

    return _with_values(config, _changed_paths(config, located))


def moved_path(path: str, config: Config, run: Path) -> Path:
    """Return where ``path`` of ``config`` is if it was moved together with the run to ``run``."""
    relative = os.path.relpath(path, config.train.out or run)
    return Path(_absolute(Path(run, relative)))


def missing_data(
    path: str, config: Config, run: Path, what: str, setting: str
) -> FileNotFoundError:
    """Return an error with ``path``, where it was looked for besides, and what to give."""
    moved = moved_path(path, config, run)
    also = "" if str(moved) == _absolute(path) else f", also at {moved}"
    return FileNotFoundError(2, f"{what} of {run} not found{also}: give {setting}", path)


def _absolute(path: str | Path) -> str:
    """Return ``path`` without ``..`` from the root; symbolic links stay."""
    return os.path.normpath(Path(path).absolute())


def config_keys() -> list[str]:
    """Return every full key, ``section.name``."""
    return [f"{s}.{item.name}" for s, kind in SECTIONS.items() for item in dataclasses.fields(kind)]


def to_toml(config: Config) -> str:
    """Return the TOML text that :func:`load_config` reads as ``config``."""
    lines = []
    for section in SECTIONS:
        lines.append(f"[{section}]")
        lines += [
            f"{key} = {_toml(value)}" for key, value in vars(getattr(config, section)).items()
        ]
        lines.append("")
    return "\n".join(lines)


def _toml(value: str | float | tuple[float, ...]) -> str:
    """Return a value as TOML."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _find(path: Path) -> Path:
    """Return ``path`` if it is a file, else the file of the package that it names.

    ``tiny``, ``tiny.toml`` and ``configs/tiny.toml`` are names of ``tiny``.
    """
    if path.is_file():
        return path
    shipped = {file.stem: file for file in sorted(CONFIGS.glob("*.toml"))}
    if path.suffix in {"", ".toml"} and path.parent in {Path(), Path("configs")}:
        file = shipped.get(path.stem)
        if file is not None:
            return file
    names = ", ".join(shipped)
    what = "is a folder" if path.is_dir() else "is missing"
    raise FileNotFoundError(2, f"the configuration {what}; the package has {names}", str(path))


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the values in a TOML file by key; those of a section as ``section.name``."""
    content = _find(Path(path)).read_bytes()
    try:
        table = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: not a TOML file: {error}", str(path)) from None
    values: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict) and key in SECTIONS:
            values |= {f"{key}.{name}": inner for name, inner in value.items()}
        else:
            values[key] = value
    return values


def _with_values(config: Config, values: Mapping[str, Any], where: str = "") -> Config:
    """Return ``config`` with ``values`` by key, each converted to the type of its field."""
    changes: dict[str, dict[str, Any]] = {}
    given = set(config.given)
    for key, value in values.items():
        full = _full_key(key, where, is_table=isinstance(value, dict))
        section, name = full.split(".")
        kind = get_type_hints(SECTIONS[section])[name]
        changes.setdefault(section, {})[name] = _convert(value, kind, full, where)
        given.add(full)
    parts = {
        section: dataclasses.replace(getattr(config, section), **fields)
        for section, fields in changes.items()
    }
    return dataclasses.replace(config, given=frozenset(given), **parts)


def _full_key(key: str, where: str, *, is_table: bool = False) -> str:
    """Return the full key that ``key`` is short for; ``is_table`` if its value is a TOML table."""
    every = config_keys()
    if key in every or key in _SHORT:
        return _SHORT.get(key, key)
    full = [name for name in every if name.split(".")[1] == key]
    if len(full) == 1:
        return full[0]
    if full:
        raise ValueError(f"the key {key!r} is ambiguous{where}: write {' or '.join(full)}")
    sections = difflib.get_close_matches(key, SECTIONS, 1, _SIMILARITY)
    if is_table and sections and "." not in key:
        raise ValueError(f"unknown section [{key}]{where}: did you mean [{sections[0]}]?")
    near = _nearest_key(key)
    hint = f"did you mean {near}?" if near else f"the sections are {', '.join(SECTIONS)}"
    raise ValueError(f"unknown key {key!r}{where}: {hint}")


def _nearest_key(key: str) -> str | None:
    """Return the full key most like ``key``: the same name elsewhere, else a similar spelling."""
    every, name = config_keys(), key.rpartition(".")[2]
    by_name = {full.split(".")[1]: full for full in reversed(every)}
    if name in by_name:
        return by_name[name]
    near = difflib.get_close_matches(key, every, 1, _SIMILARITY)
    if near:
        return near[0]
    # a short name beside a full key has a low ratio: "stpes" and "train.steps"
    names = difflib.get_close_matches(name, by_name, 1, 0.5)
    return by_name[names[0]] if names else None


def _convert(value: Any, kind: Any, key: str, where: str) -> Any:
    """Return ``value``, from TOML or as text from the command line, as the type ``kind``."""
    try:
        if get_origin(kind) is Literal:
            need = f"one of {', '.join(get_args(kind))}"
            return _choice(value, get_args(kind))
        if get_origin(kind) is tuple:
            need = "a pair of numbers, such as 0.9,0.95"
            return _pair(value)
        need, convert = _CONVERTERS[kind]
        converted: Any = convert(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{key} = {value!r}{where}: must be {need}") from None
    if kind is int and converted > MAX_COUNT:
        raise ValueError(f"{key} = {value!r}{where}: must be at most {MAX_COUNT}")
    return converted


def _choice(value: Any, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ValueError(value)
    return str(value)


def _pair(value: Any) -> tuple[float, float]:
    parts = value.strip("[]()").split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or len(parts) != 2:
        raise ValueError(value)
    return _number(parts[0]), _number(parts[1])


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}[_choice(value, ("true", "false"))]


def _text(value: Any) -> str:
    if not isinstance(value, str | os.PathLike):
        raise TypeError(value)
    return str(value)


def _number(value: Any) -> float:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise TypeError(value)
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def _whole(value: Any) -> int:
    """Return 65536, "65_536", 1e6 or "1e6" as an integer."""
    number = _number(value)
    if isinstance(value, int):
        return value
    try:
        return int(value) if isinstance(value, str) else int(str(value))
    except ValueError:
        if number != int(number):
            raise
        return int(number)


_CONVERTERS = {
    bool: ("true or false", _boolean),
    float: ("a finite number", _number),
    int: ("a whole number", _whole),
    str: ("text", _text),
}
"""What an error says is needed, and the conversion, by the type of a field."""
